"""The twelve properties of QM9 that models are compared on, with their units.

Energies are in eV. The four thermochemical energies are taken relative to the free atoms of
the molecule (``u0``, ``u``, ``h``, ``g`` minus the sums of `Target.references`): the raw totals
are near -411 hartree, where float32 cannot resolve a meV.

References:
  Ramakrishnan et al., "Quantum chemistry structures and properties of 134 kilo molecules",
  Scientific Data 1, 140022 (2014), doi:10.1038/sdata.2014.22.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Integer

logger = logging.getLogger("eqattn")

HARTREE_IN_EV = 27.211386
ELEMENTS: Mapping[str, int] = MappingProxyType({"H": 1, "C": 6, "N": 7, "O": 8, "F": 9})
"""Atomic numbers of the elements that occur, by symbol."""


@dataclass(frozen=True)
class Target:
    """One property of a molecule.

    Attributes:
      name: The key it is asked for by, such as ``"gap"``.
      symbol: How it is written in the literature.
      description: What it is, in words.
      unit: The unit of the values in the data.
      column: The column of the source table it is read from.
      factor: What one unit of that column is in ``unit``.
      references: Energy of a free atom by atomic number, in the unit of the column; the sum
        over the atoms is subtracted before ``factor`` is applied. None: nothing subtracted.
      form: Form of the sum over atoms that it is, see :class:`eqattn.models.AtomSum`; None of an
        intensive one.
    """

    name: str
    symbol: str
    description: str
    unit: str
    column: str
    factor: float = 1.0
    references: Mapping[int, float] | None = None
    form: str | None = None

    def convert(self, raw: float, numbers: Integer[np.ndarray, "N"]) -> float:
        """Returns the value in ``unit`` of a raw table entry of a molecule with these atoms."""
        if self.references is not None:
            raw -= sum(self.references[int(number)] for number in numbers)
        return raw * self.factor


def _free_atoms(*energies: float) -> Mapping[int, float]:
    return MappingProxyType(dict(zip(ELEMENTS.values(), energies, strict=True)))


_U0_ATOMS = _free_atoms(-0.500273, -37.846772, -54.583861, -75.064579, -99.718730)
_U_ATOMS = _free_atoms(-0.498857, -37.845355, -54.582445, -75.063163, -99.717314)
_H_ATOMS = _free_atoms(-0.497912, -37.844411, -54.581501, -75.062219, -99.716370)
_G_ATOMS = _free_atoms(-0.510927, -37.861317, -54.598897, -75.079532, -99.733544)

# "Enthalphy" is spelled so in the table.
_TABLE = (
    Target("mu", "μ", "dipole moment", "D", "Dipole_debye", form="dipole"),
    Target("alpha", "α", "isotropic polarizability", "bohr^3", "Polarizability_bohr3", form="sum"),
    Target("homo", "ε_HOMO", "highest occupied orbital energy", "eV", "HOMO_au", HARTREE_IN_EV),
    Target("lumo", "ε_LUMO", "lowest unoccupied orbital energy", "eV", "LUMO_au", HARTREE_IN_EV),
    Target("gap", "Δε", "HOMO-LUMO gap", "eV", "HOMO_LUMO_gap_au", HARTREE_IN_EV),
    Target("r2", "⟨R²⟩", "electronic spatial extent", "bohr^2", "R2_bohr2", form="moment"),
    Target(
        "zpve", "ZPVE", "zero-point vibrational energy", "eV", "ZPVE_au", HARTREE_IN_EV, form="sum"
    ),
    Target(
        "u0",
        "U₀",
        "internal energy at 0 K, minus free atoms",
        "eV",
        "InternalEnergy_0K_au",
        HARTREE_IN_EV,
        _U0_ATOMS,
        "sum",
    ),
    Target(
        "u",
        "U",
        "internal energy at 298.15 K, minus free atoms",
        "eV",
        "InternalEnergy_298K_au",
        HARTREE_IN_EV,
        _U_ATOMS,
        "sum",
    ),
    Target(
        "h",
        "H",
        "enthalpy at 298.15 K, minus free atoms",
        "eV",
        "Enthalphy_298K_au",
        HARTREE_IN_EV,
        _H_ATOMS,
        "sum",
    ),
    Target(
        "g",
        "G",
        "free energy at 298.15 K, minus free atoms",
        "eV",
        "GibbsFreeEnergy_298K_au",
        HARTREE_IN_EV,
        _G_ATOMS,
        "sum",
    ),
    Target(
        "cv",
        "c_v",
        "heat capacity at 298.15 K",
        "cal/(mol K)",
        "Heatcapacity_Cv_cal_mol_K",
        form="sum",
    ),
)

TARGETS: Mapping[str, Target] = MappingProxyType({target.name: target for target in _TABLE})
"""The targets by name, in the usual order."""


def target_units(names: Sequence[str], given: Sequence[str], *, is_named: bool) -> tuple[str, ...]:
    """Returns the unit of each target.

    What is not said is taken from `TARGETS`: a property of a file that has the name of one of them
    is in its unit, and any other has the unit "1".

    Example:
      >>> target_units(["charge", "dipole"], ["e", "D"], is_named=False)
      ('e', 'D')
      >>> target_units(["gap", "charge"], [], is_named=False)
      ('eV', '1')

    Args:
      names: Names of targets.
      given: What the run says of a file: one unit for all, one for each, or nothing.
      is_named: Whether the data have a name, so that their units are known.

    Raises:
      ValueError: If units are given for data that have a name, or neither one nor one for each.
    """
    if given and is_named:
        raise ValueError(f"unit must be given for a file only, got {', '.join(given)}.")
    if len(given) not in (0, 1, len(names)):
        raise ValueError(
            f"unit must be one for all or one for each of the {len(names)} targets, "
            f"got {', '.join(given)}."
        )
    if not given:
        for name in (name for name in names if name in TARGETS and not is_named):
            logger.info(
                "%s is taken to be in %s, as in QM9; --options.unit says another unit.",
                name,
                TARGETS[name].unit,
            )
        return tuple(TARGETS[name].unit if name in TARGETS else "1" for name in names)
    return tuple(given) if len(given) > 1 else (given[0],) * len(names)


def check_form(names: Sequence[str], form: str) -> None:
    """Makes sure that targets of QM9 are the sums over atoms that a model gives.

    Args:
      names: Names of targets.
      form: Form of the model.

    Raises:
      ValueError: For a target that is another sum, or none.
    """
    for name in names:
        target = TARGETS.get(name)
        if target is not None and target.form is None:
            raise ValueError(
                f"targets: {name!r} is intensive, and no sum over atoms; take a model that pools."
            )
        if target is not None and target.form != form:
            raise ValueError(f"form must be {target.form!r} for the target {name!r}, got {form!r}.")

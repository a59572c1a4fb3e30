"""Atoms with their energies and forces: embedded trajectories, or a file of one's own.

Embedded is ``"ethanol"`` at 500 K by GFN2-xTB, a semi-empirical method (made by
``tools/make_trajectories.py``; a record of versions and settings lies beside it). Everything here
is in eV, Å, eV/Å and eV/Å³.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from eqattn.data.atoms import Configurations, read_configurations
from eqattn.data.atoms.archives import KCAL_PER_MOL_IN_EV
from eqattn.data.atoms.splits import (
    SPLITS,
    split_in_order,
    split_trajectories,
    trajectory_numbers,
)
from eqattn.tasks.core.atoms import configuration_examples
from eqattn.tasks.forces.stresses import STRESS, select_stresses

__all__ = [
    "NAMES",
    "UNITS",
    "EnergyUnit",
    "Labeled",
    "examples",
    "load",
    "select_labels",
    "split",
]

logger = logging.getLogger("eqattn")

NAMES = ("ethanol",)
EnergyUnit = Literal["eV", "meV", "kcal/mol", "kJ/mol", "hartree"]
UNITS: Mapping[str, float] = MappingProxyType(
    {
        "eV": 1.0,
        "meV": 1e-3,
        "kcal/mol": KCAL_PER_MOL_IN_EV,
        "kJ/mol": KCAL_PER_MOL_IN_EV / 4.184,
        "hartree": 27.211386245988,
    }
)
"""Units that energies of a file may have, in eV."""
LARGE_FORCE = 10.0
"""Mean modulus of forces in eV/Å above which the unit is doubted: at 500 K it is about 1."""
NUM_BLOCKS = 20
_EMBEDDED = Path(__file__).parent / "embedded"


@dataclass(frozen=True, eq=False)
class Labeled:
    """M configurations of A atoms in all with their energies, forces and stresses.

    Attributes:
      configurations: The atoms.
      energies: In eV; NaN where one is not known.
      forces: In eV/Å; NaN where one is not known.
      stresses: In eV/Å³, in Voigt's order; NaN where one is not known.
    """

    configurations: Configurations
    energies: Float[np.ndarray, "M"]
    forces: Float[np.ndarray, "A 3"]
    stresses: Float[np.ndarray, "M 6"]

    def __len__(self) -> int:
        return len(self.configurations)

    def __getitem__(self, indices: Int[np.ndarray, "B"]) -> "Labeled":
        """Returns those at these places, in this order."""
        rows, atoms = self.configurations.places(indices)
        energies, stresses = self.energies[rows], self.stresses[rows]
        return Labeled(self.configurations[rows], energies, self.forces[atoms], stresses)


def load(source: str | os.PathLike[str]) -> Configurations:
    """Returns a data set with all that is known of it.

    Args:
      source: The name of an embedded set, or the path of a file that
        :func:`eqattn.data.atoms.read_configurations` reads.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If it does not hold configurations; the message names what is wrong.
    """
    if str(source) in NAMES:
        return read_configurations(_EMBEDDED / f"{source}.npz")
    return read_configurations(source)


def examples(source: str | os.PathLike[str] = "ethanol") -> Iterator[dict[str, Any]]:
    """Yields the configurations of a data set one at a time.

    Args:
      source: The name of an embedded set, or the path of a file, as for :func:`load`.

    Yields:
      What :func:`eqattn.tasks.core.atoms.configuration_examples` yields, ``cell`` [3, 3] in
      ångström, zeros where there is none, and ``periodic`` [3], whether it repeats along each row.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If it does not hold configurations; the message names what is wrong.
    """
    found = load(source)
    for index, example in enumerate(configuration_examples(found)):
        yield {**example, "cell": found.cells[index], "periodic": found.periodic[index]}


def select_labels(
    configurations: Configurations,
    *,
    energy_key: str,
    forces_key: str,
    unit: str,
    stress_key: str = STRESS,
    virial_key: str = "",
) -> Labeled:
    """Returns energies, forces and stresses of configurations, in eV, eV/Å and eV/Å³.

    Args:
      configurations: What a file holds.
      energy_key: Name of the energies there.
      forces_key: Name of the forces.
      unit: Unit of the energies there; forces are in it per Å.
      stress_key: Name of the stresses, which need not be there where it is "stress".
      virial_key: Name of virials, which are taken instead; "" for none.

    Raises:
      ValueError: If no configuration has such a property, it is of another shape, or nothing of an
        energy or force is known.
    """
    names = configurations.property_names
    for option, key, held in (
        ("energy_key", energy_key, configurations.properties),
        ("forces_key", forces_key, configurations.atom_properties),
    ):
        if key not in held:
            raise ValueError(
                f"{option}: no configuration has {key!r}; known are {', '.join(names) or 'none'}."
            )
    energies = configurations.properties[energy_key]
    forces = configurations.atom_properties[forces_key]
    if energies.ndim != 1:
        raise ValueError(
            f"{energy_key!r} must be one number of each configuration, "
            f"got {list(energies.shape[1:])}."
        )
    if forces.shape[1:] != (3,):
        raise ValueError(
            f"{forces_key!r} must be three numbers of each atom, got {list(forces.shape[1:])}."
        )
    for key, values in ((energy_key, energies), (forces_key, forces)):
        if np.isnan(values).all():
            raise ValueError(f"{key!r} is known of no configuration (NaN).")
    factor = UNITS[unit]
    stresses = select_stresses(
        configurations, stress_key=stress_key, virial_key=virial_key, factor=factor
    )
    found = Labeled(configurations, factor * energies, factor * forces, stresses)
    mean = float(np.nanmean(np.linalg.norm(found.forces, axis=-1)))
    if mean > LARGE_FORCE:
        logger.warning(
            "forces are %.3g eV/Å on average, which is much: are they in another unit than %s/Å? "
            "See the option unit.",
            mean,
            unit,
        )
    return found


def split(configurations: Configurations, source: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Returns which configurations are for training, for validation and for the test.

    Embedded sets say which of their trajectories. Of a file, whole trajectories are in one split
    (:func:`eqattn.data.atoms.splits.split_trajectories`); where it does not number them by the
    property ``trajectory``, its 20 blocks of neighboring configurations stand for trajectories.

    Args:
      configurations: All configurations of the data set.
      source: Source that they were loaded from.

    Returns:
      Indices under "train", "validation" and "test".

    Raises:
      ValueError: If there are fewer than three trajectories or configurations.
    """
    numbers = trajectory_numbers(configurations)
    if numbers is None:
        num_blocks = min(NUM_BLOCKS, len(configurations))
        numbers = np.arange(len(configurations)) * num_blocks // max(1, len(configurations)) * 1.0
    if str(source) not in NAMES:
        return split_trajectories(numbers, source)
    record = json.loads((_EMBEDDED / f"{source}.json").read_text(encoding="utf-8"))
    sizes = [record["splits"][name] for name in SPLITS]
    return split_in_order(numbers, np.arange(sum(sizes)), sizes)

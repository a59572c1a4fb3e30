"""Runs of the task "forces" as calculators of ASE, which is the extra ``ase``.

With one, all of ASE is at hand: optimizers, molecular dynamics, vibrations, reaction paths.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any, ClassVar

import ase
import jax
import numpy as np
from ase.calculators import calculator

from eqattn.checks import check_option
from eqattn.neighbors import NeighborList, VerletList
from eqattn.simulation.potential import (
    Potential,
    Precision,
    evaluate,
    evaluate_in_cell,
    load_potential,
)
from eqattn.typing import Float, Int

__all__ = ["Calculator"]

SKIN = 0.5
"""Distance in Å beyond the cutoff up to which neighbors in a cell are listed; see
:class:`eqattn.neighbors.VerletList`."""
SLACK = 1.25
"""Atoms are padded to a size that was compiled already if it is at most so many times theirs."""

Folder = str | os.PathLike[str]


class Calculator(calculator.Calculator):
    """Energies and forces of a run, or their means over several models.

    Energies are in eV and contain the references of the elements, forces are in eV/Å. Results are
    ``energy``, ``free_energy`` (the same), ``energies`` of atoms and ``forces``; of several models
    (several runs, or a run that was trained with ``--ensemble``) also ``energy_std`` and
    ``forces_std``, the standard deviations over the models, in ``results``. They tell where the
    models disagree, which is where none of them was trained.

    Atoms of a cell that repeats are seen with their images, up to the cutoff of the model; where it
    repeats along all of its vectors there is ``stress`` too, in eV/Å³. Which atoms are near is
    looked up again where one has moved by a quarter of an ångström.

    A program is compiled for a number of atoms, not for positions. The first number is compiled as
    it is; later ones are padded to one of a few sizes, so that atoms that come and go compile
    rarely.

    Example::

      atoms = ase.io.read("start.xyz")
      atoms.calc = Calculator("runs/ethanol")
      ase.optimize.BFGS(atoms).run(fmax=0.01)

    Args:
      runs: A run folder, or several.
      dtype: ``"float32"`` or ``"float64"``; by default that of the run. Optimizers to small forces
        and vibrations by finite differences want float64, which needs no setting of jax.
      **options: Other arguments of a calculator of ASE, such as ``label``.

    Raises:
      FileNotFoundError: If there is no such run folder.
      ValueError: If there is no run, or one has no forces; in a calculation, if a cell repeats and
        a run sees atoms at any distance, or an element is not known to a run.
    """

    implemented_properties: ClassVar[list[str]] = [
        "energy", "free_energy", "energies", "forces", "stress",
    ]  # fmt: skip

    def __init__(
        self, runs: Folder | Sequence[Folder], *, dtype: Precision | None = None, **options: Any
    ):
        super().__init__(**options)
        if dtype is not None:
            check_option("dtype", dtype, Precision)
        folders = [runs] if isinstance(runs, str | os.PathLike) else list(runs)
        if not folders:
            raise ValueError("runs must be a run folder or several, got none")
        self._is_float64 = dtype == "float64"
        with self._precision():
            loaded = [load_potential(folder, dtype) for folder in folders]
            self.potentials = tuple(one for potential in loaded for one in potential.members())
        self._sizes: list[int] = []
        self._lists: dict[int, VerletList] = {}

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = calculator.all_changes,
    ) -> None:
        """Computes everything at once; called by ASE.

        Args:
          atoms: The atoms.
          properties: What is asked for; what is known comes with it.
          system_changes: Not needed: nothing is kept.

        Raises:
          CalculationFailed: If an energy or force is not finite.
          PropertyNotImplementedError: If stress is asked for, and the cell does not repeat along
            all of its vectors.
          ValueError: If a cell repeats and a run sees atoms at any distance, or an element is not
            known to a run.
        """
        super().calculate(atoms, properties, system_changes)
        given: Any = self.atoms  # a copy, which ASE compares the next atoms with
        if "stress" in properties and not np.all(given.pbc):
            raise calculator.PropertyNotImplementedError(
                f"stress needs a cell that repeats along all vectors, got pbc={given.pbc}"
            )
        numbers = np.asarray(given.numbers, np.int32)
        positions = given.positions - np.mean(given.positions, axis=0)
        neighbors = self._listed(given) if np.any(given.pbc) else None
        rows = [
            self._evaluated(potential, numbers, positions, neighbors)
            for potential in self.potentials
        ]
        energies, forces, stresses = (np.stack(parts) for parts in zip(*rows, strict=True))
        if not (np.isfinite(energies).all() and np.isfinite(forces).all()):
            raise calculator.CalculationFailed("energies or forces are not finite")
        totals = np.sum(energies, axis=1)
        self.results = {
            "energy": float(np.mean(totals)),
            "free_energy": float(np.mean(totals)),
            "energies": np.mean(energies, axis=0),
            "forces": np.mean(forces, axis=0),
        }
        if np.all(given.pbc):
            self.results["stress"] = np.mean(stresses, axis=0)
        if len(rows) > 1:
            self.results["energy_std"] = float(np.std(totals))
            self.results["forces_std"] = np.std(forces, axis=0)

    def _evaluated(
        self,
        potential: Potential,
        numbers: Int[np.ndarray, " N"],
        positions: Float[np.ndarray, "N 3"],
        neighbors: NeighborList | None,
    ) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, "N 3"], Float[np.ndarray, 6]]:
        """Energies of atoms with their references, forces and stresses, in float64."""
        references = potential.atom_references(numbers)
        missing = self._size(len(numbers)) - len(numbers)
        with self._precision():
            padded = (
                np.pad(numbers, (0, missing)),
                np.pad(positions, ((0, missing), (0, 0))).astype(potential.dtype),
            )
            stress: Any = np.full(6, np.nan)
            if neighbors is None:
                energies, forces = evaluate(potential, *padded)
            else:
                energies, forces, stress = evaluate_in_cell(potential, *padded, neighbors)
        energies, forces = (np.asarray(x, np.float64)[: len(numbers)] for x in (energies, forces))
        return references + energies, forces, np.asarray(stress, np.float64)

    def _listed(self, atoms: Any) -> NeighborList:
        """The list of periodic atoms, with a skin, so that it is used again as they move."""
        cutoffs = [potential.cutoff for potential in self.potentials]
        if None in cutoffs:
            raise ValueError(
                f"atoms must not be periodic, got pbc={atoms.pbc}: a run sees atoms at any "
                "distance, since its layer has no cutoff"
            )
        size = self._size(len(atoms))
        if size not in self._lists:
            reach = max(cutoff for cutoff in cutoffs if cutoff is not None)
            self._lists[size] = VerletList(reach, SKIN, num_points=size)
        with self._precision():
            return self._lists[size].update(atoms.positions, atoms.cell.array, atoms.pbc)

    def _size(self, num_atoms: int) -> int:
        """The size that so many atoms are padded to."""
        fitting = [size for size in self._sizes if num_atoms <= size <= SLACK * num_atoms]
        if fitting:
            return min(fitting)
        size = ladder_size(num_atoms) if self._sizes else num_atoms
        self._sizes.append(size)
        return size

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        """Lets jax compute in float64 where that was asked for, and nowhere else."""
        return jax.enable_x64(True) if self._is_float64 else contextlib.nullcontext()


def ladder_size(num_atoms: int) -> int:
    """Returns the smallest of 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, … that holds so many atoms.

    Example:
      >>> [ladder_size(n) for n in (1, 9, 17, 1_000)]
      [4, 10, 20, 1024]

    Args:
      num_atoms: Number of atoms.
    """
    step = 1
    while 7 * step < num_atoms:
        step *= 2
    return max(4, -(-num_atoms // step)) * step

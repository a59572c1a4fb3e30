"""From configurations of a file to the rows of a simulation, and from trajectories back."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import numpy as np

from eqattn.data.atoms import Configurations
from eqattn.data.atoms.writing import append_xyz
from eqattn.simulation.trajectory import Trajectory
from eqattn.typing import Bool, Float, Int

__all__ = ["configurations_of", "recorded", "rows_of"]


def rows_of(
    configurations: Configurations,
) -> tuple[Int[np.ndarray, "M N"], Float[np.ndarray, "M N 3"]]:
    """Returns atomic numbers and positions as equally long rows; 0 where there is no atom.

    Args:
      configurations: M configurations of up to N atoms.
    """
    mask = np.arange(int(configurations.num_atoms.max())) < configurations.num_atoms[:, None]
    numbers, positions = np.zeros(mask.shape, np.int32), np.zeros((*mask.shape, 3))
    numbers[mask], positions[mask] = configurations.numbers, configurations.positions
    return numbers, positions


def configurations_of(
    trajectory: Trajectory,
    numbers: Int[np.ndarray, "M N"],
    references: Float[np.ndarray, "M N"],
    cells: Float[np.ndarray, "M 3 3"] | None = None,
    periodic: Bool[np.ndarray, "M 3"] | None = None,
) -> Configurations:
    """Returns all states of a trajectory, start by start, with what is known of them.

    Properties are ``energy`` with the references, ``kinetic_energy`` (both in eV), ``temperature``
    in kelvin, ``time`` in fs and ``trajectory``, the number of the start, by which a training run
    splits them; of atoms ``forces`` in eV/Å and ``velocities`` in Å/fs.

    Args:
      trajectory: States [S, M].
      numbers: Atomic numbers, 0 where there is no atom.
      references: Reference energies of the atoms in eV.
      cells: Lattice vectors as rows, in Å; by default there are none.
      periodic: Whether configurations repeat along each of them; by default they do not.
    """
    num_states, num_starts = trajectory.temperatures.shape
    mask = np.broadcast_to(numbers != 0, (num_states, *numbers.shape)).swapaxes(0, 1)
    energies = trajectory.potential_energies.astype(np.float64) + references.sum(axis=-1)

    def of_states(x: np.ndarray) -> np.ndarray:
        return x.swapaxes(0, 1).reshape(-1).astype(np.float64)

    def of_atoms(x: np.ndarray) -> np.ndarray:
        return x.swapaxes(0, 1)[mask].astype(np.float64)

    num = num_states * num_starts
    cells = np.zeros((num_starts, 3, 3)) if cells is None else cells
    periodic = np.zeros((num_starts, 3), bool) if periodic is None else periodic
    return Configurations(
        ids=np.arange(num),
        num_atoms=np.repeat((numbers != 0).sum(axis=-1), num_states).astype(np.int32),
        numbers=np.broadcast_to(numbers[:, None], mask.shape)[mask].astype(np.uint8),
        positions=of_atoms(trajectory.positions),
        cells=np.repeat(cells, num_states, axis=0),
        periodic=np.repeat(periodic, num_states, axis=0),
        properties={
            "energy": of_states(energies),
            "kinetic_energy": of_states(trajectory.kinetic_energies),
            "temperature": of_states(trajectory.temperatures),
            "time": np.tile(trajectory.times, num_starts),
            "trajectory": np.repeat(np.arange(num_starts), num_states).astype(np.float64),
        },
        atom_properties={
            "forces": of_atoms(trajectory.forces),
            "velocities": of_atoms(trajectory.velocities),
        },
    )


def recorded(
    parts: Iterable[Trajectory],
    path: str | os.PathLike[str],
    numbers: Int[np.ndarray, "M N"],
    references: Float[np.ndarray, "M N"],
    cells: Float[np.ndarray, "M 3 3"] | None = None,
    periodic: Bool[np.ndarray, "M 3"] | None = None,
) -> Iterator[Trajectory]:
    """Yields the same trajectories, each of which is at the end of a file by then.

    A simulation that is interrupted leaves what it did until then. The file is one of extended xyz,
    which can be read at any time, with the properties of :func:`configurations_of`. Configurations
    are in the order of their times, those of all starts at one time together.

    Args:
      parts: Trajectories that follow each other, as of :func:`simulated_states`.
      path: The file; to one that is there already is added.
      numbers: Atomic numbers, 0 where there is no atom.
      references: Reference energies of the atoms in eV.
      cells: Lattice vectors as rows, in Å; by default there are none.
      periodic: Whether configurations repeat along each of them; by default they do not.

    Raises:
      OSError: If the file cannot be written.
    """
    for part in parts:
        append_xyz(path, configurations_of(part, numbers, references, cells, periodic))
        yield part

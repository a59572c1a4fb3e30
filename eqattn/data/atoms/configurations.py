"""Atoms in space and what is known of them: molecules, frames of trajectories, crystals."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

LARGEST = float(np.finfo(np.float32).max)
"""The largest number of batches, which hold float32."""


@dataclass(frozen=True, eq=False)
class Configurations:
    """M configurations of A atoms in all, packed one after the other: molecules, frames, crystals.

    What is known of them has the names and the units of the file that it comes from. NaN stands
    where a number is not known.

    Attributes:
      ids: Number of each configuration.
      num_atoms: Atoms of each configuration.
      numbers: Atomic number of each atom.
      positions: Where it is, in ångström.
      cells: Lattice vectors of each configuration as rows, in ångström; zeros where it has none.
      periodic: Whether it repeats along each of them.
      properties: Numbers that are known of each configuration, by name, such as its energy.
      atom_properties: Numbers that are known of each atom, by name, such as the force on it.
    """

    ids: Int[np.ndarray, "M"]
    num_atoms: Int[np.ndarray, "M"]
    numbers: UInt8[np.ndarray, "A"]
    positions: Float[np.ndarray, "A 3"]
    cells: Float[np.ndarray, "M 3 3"]
    periodic: Bool[np.ndarray, "M 3"]
    properties: Mapping[str, Float[np.ndarray, "M ..."]] = field(default_factory=dict)
    atom_properties: Mapping[str, Float[np.ndarray, "A ..."]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.num_atoms)

    @functools.cached_property
    def offsets(self) -> Int[np.ndarray, "_"]:
        """Where the atoms of each configuration begin, and at last A."""
        return np.concatenate([[0], np.cumsum(self.num_atoms, dtype=np.int64)])

    @property
    def owners(self) -> Int[np.ndarray, "A"]:
        """The place of the configuration that each atom belongs to."""
        return np.repeat(np.arange(len(self)), self.num_atoms)

    @property
    def property_names(self) -> list[str]:
        """What is known of configurations, and then of atoms, as messages list it."""
        return [*self.properties, *(f"{name} of atoms" for name in self.atom_properties)]

    def places(
        self, indices: Int[np.ndarray, "B"] | slice
    ) -> tuple[Int[np.ndarray, "B"], Int[np.ndarray, "_"]]:
        """Returns indices of configurations as numbers, and those of their atoms, in this order.

        Args:
          indices: Places of configurations.
        """
        indices = np.arange(len(self))[indices]
        num_atoms = self.num_atoms[indices]
        ends = np.cumsum(num_atoms)
        # The atoms of one configuration are consecutive in the source and in the result.
        shift = np.repeat(self.offsets[indices] - (ends - num_atoms), num_atoms)
        return indices, shift + np.arange(len(shift))

    def __getitem__(self, indices: Int[np.ndarray, "B"] | slice) -> "Configurations":
        """Returns those at these places, in this order."""
        rows, atoms = self.places(indices)
        return Configurations(
            ids=self.ids[rows],
            num_atoms=self.num_atoms[rows],
            numbers=self.numbers[atoms],
            positions=self.positions[atoms],
            cells=self.cells[rows],
            periodic=self.periodic[rows],
            properties={name: x[rows] for name, x in self.properties.items()},
            atom_properties={name: x[atoms] for name, x in self.atom_properties.items()},
        )

    def centered_positions(self) -> Float[np.ndarray, "A 3"]:
        """Returns the positions from the centroid of each configuration, in float64.

        Batches hold float32, which resolves 0.06 Å at 1e6 Å from the origin: positions are to be
        centered first, and cast then.
        """
        if not len(self):
            return self.positions.astype(np.float64)
        sums = np.add.reduceat(self.positions.astype(np.float64), self.offsets[:-1])
        return self.positions - np.repeat(sums / self.num_atoms[:, None], self.num_atoms, axis=0)


def from_frames(frames: Sequence["Frame"], place: Callable[[int], str]) -> Configurations:
    """Packs frames, whose ids are 0, 1, 2, …; what one of them does not have is NaN there.

    Args:
      frames: Frames, one or more.
      place: Where a frame stands in its file, for the message.

    Raises:
      ValueError: If a property has another shape than in the frames before.
    """
    num_atoms = np.array([len(frame.numbers) for frame in frames], np.int32)
    properties = [frame.properties for frame in frames]
    atom_properties = [frame.atom_properties for frame in frames]
    return Configurations(
        ids=np.arange(len(frames)),
        num_atoms=num_atoms,
        numbers=np.concatenate([frame.numbers for frame in frames]).astype(np.uint8),
        positions=np.concatenate([frame.positions for frame in frames]).astype(np.float64),
        cells=np.stack([frame.cell for frame in frames]).astype(np.float64),
        periodic=np.stack([frame.periodic for frame in frames]),
        properties={name: np.stack(rows) for name, rows in _rows(properties, None, place).items()},
        atom_properties={
            name: np.concatenate(rows)
            for name, rows in _rows(atom_properties, num_atoms, place).items()
        },
    )


def _no_cell() -> np.ndarray:
    return np.zeros((3, 3))


def _not_periodic() -> np.ndarray:
    return np.zeros(3, bool)


@dataclass(frozen=True, eq=False)
class Frame:
    """One configuration of N atoms; see :class:`Configurations`.

    Attributes:
      numbers: Atomic numbers.
      positions: Where the atoms are, in ångström.
      cell: Lattice vectors as rows, in ångström.
      periodic: Whether it repeats along each of them.
      properties: What is known of the configuration, by name.
      atom_properties: What is known of its atoms, by name.
    """

    numbers: UInt8[np.ndarray, "N"]
    positions: Float[np.ndarray, "N 3"]
    cell: Float[np.ndarray, "3 3"] = field(default_factory=_no_cell)
    periodic: Bool[np.ndarray, "3"] = field(default_factory=_not_periodic)
    properties: Mapping[str, Float[np.ndarray, "..."]] = field(default_factory=dict)
    atom_properties: Mapping[str, Float[np.ndarray, "N ..."]] = field(default_factory=dict)


def _rows(
    held: Sequence[Mapping[str, np.ndarray]],
    num_atoms: Int[np.ndarray, "M"] | None,
    place: Callable[[int], str],
) -> dict[str, list[np.ndarray]]:
    """Returns what each frame holds under each name, NaN where it does not.

    Args:
      held: Arrays of each frame by name.
      num_atoms: Atoms of each frame, where arrays have a row for each.
      place: Where a frame stands in its file.
    """
    found: dict[str, list[np.ndarray]] = {}
    for name in dict.fromkeys(name for frame in held for name in frame):
        start = 0 if num_atoms is None else 1
        first = next(i for i, frame in enumerate(held) if name in frame)
        shape, rows = held[first][name].shape[start:], []
        for index, frame in enumerate(held):
            if name not in frame:
                size = () if num_atoms is None else (int(num_atoms[index]),)
                rows.append(np.full((*size, *shape), np.nan))
                continue
            row = np.asarray(frame[name], np.float64)
            if row.shape[start:] != shape:
                raise ValueError(
                    f"{place(index)}: {name!r} has the shape {list(row.shape[start:])}, and in "
                    f"frame {first} {list(shape)}."
                )
            rows.append(row)
        found[name] = rows
    return found

"""What of molecules is compared with the training examples of a run: sizes, pairs and distances."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from eqattn.data.atoms import Configurations
from eqattn.data.atoms.elements import element_symbol
from eqattn.tasks.core.ranges import Quantity
from eqattn.typing import Float, Int

__all__ = ["molecule_quantities"]

UNIT = "Å"
ROWS = 1_000
"""Molecules whose distances are held at once."""


def molecule_quantities(molecules: Configurations) -> tuple[Quantity, ...]:
    """Returns the number of atoms, distances to the nearest atom, and those of pairs of elements.

    A pair of elements that never occurs in one molecule has no quantity: the quantities also say
    which elements were seen, and which of them together.

    Args:
      molecules: Any number of them.
    """
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def enter(name: str, rows: np.ndarray, smallest: np.ndarray, largest: np.ndarray) -> None:
        lows, highs = found.setdefault(name, (_missing(molecules), _missing(molecules)))
        lows[rows], highs[rows] = smallest, largest

    for rows, numbers, distances in _distances(molecules):
        size = np.full(len(rows), float(numbers.shape[1]))
        enter("atoms", rows, size, size)
        if numbers.shape[1] < 2:
            continue
        nearest = np.nanmin(distances, axis=2)
        enter("distance to the nearest atom", rows, nearest.min(axis=1), nearest.max(axis=1))
        for first, second in itertools.combinations_with_replacement(np.unique(numbers), 2):
            is_pair = (numbers[:, :, None] == first) & (numbers[:, None, :] == second)
            pairs = np.where(is_pair, distances, np.nan)
            has_pair = ~np.isnan(pairs).all(axis=(1, 2))
            if has_pair.any():
                pairs = pairs[has_pair]
                name = f"distance {element_symbol(int(first))}-{element_symbol(int(second))}"
                lows, highs = np.nanmin(pairs, axis=(1, 2)), np.nanmax(pairs, axis=(1, 2))
                enter(name, rows[has_pair], lows, highs)
    return tuple(
        Quantity(name, "" if name == "atoms" else UNIT, *found[name]) for name in sorted(found)
    )


def _missing(molecules: Configurations) -> Float[np.ndarray, " M"]:
    return np.full(len(molecules), np.nan)


def _distances(
    molecules: Configurations,
) -> Iterator[tuple[Int[np.ndarray, " B"], Int[np.ndarray, "B N"], Float[np.ndarray, "B N N"]]]:
    """Yields places, atomic numbers and distances of molecules of one size; NaN on the diagonal."""
    positions = molecules.centered_positions()
    for size in np.unique(molecules.num_atoms).tolist():
        places = np.flatnonzero(molecules.num_atoms == size)
        for rows in np.split(places, range(ROWS, len(places), ROWS)):
            atoms = molecules.offsets[rows][:, None] + np.arange(size)
            points = positions[atoms]
            differences = points[:, :, None] - points[:, None, :]
            distances = np.sqrt(np.sum(differences**2, axis=-1))
            distances[:, range(size), range(size)] = np.nan
            yield rows, molecules.numbers[atoms].astype(np.int64), distances

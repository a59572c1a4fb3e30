"""Configurations whose cells repeat: the neighbors of each atom, as rows of batches.

In a cell the atoms that an atom sees are listed beforehand, with the lattice vectors that take them
there; a model sees no others. Configurations without a cell, which may stand beside them, have all
pairs within the same distance listed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from eqattn.data.atoms import Configurations
from eqattn.models import ModelConfig
from eqattn.models.neighbor_lists import distance_seen
from eqattn.neighbors import NeighborList, find_edges
from eqattn.tasks.core.task import Batch

__all__ = ["ListedNeighbors", "check_sees_cells"]

PLACES = 8
"""Numbers of places of a list are multiples of this."""
_SHIFT = np.int16


class ListedNeighbors:
    """Neighbors of the atoms of configurations, with as many places for all.

    Args:
      configurations: Sets of configurations by name; at least one has a cell that repeats.
      cutoff: Distance in ångström up to which atoms see each other.
    """

    def __init__(self, configurations: dict[str, Configurations], cutoff: float):
        self.cutoff = cutoff
        found = {name: _lists(whole, cutoff) for name, whole in configurations.items()}
        widths = [x.indices.shape[1] for lists in found.values() for x in lists]
        self.num_places = PLACES * -(-max(widths) // PLACES)
        self._lists, self._configurations = found, configurations

    def rows(self, name: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Returns what batches hold of each configuration, and of each atom.

        Args:
          name: Name of a set of configurations.
        """
        lists, whole = self._lists[name], self._configurations[name]

        def wide(array: Any) -> np.ndarray:
            array = np.asarray(array)
            missing = self.num_places - array.shape[1]
            return np.pad(array, ((0, 0), (0, missing), *((0, 0),) * (array.ndim - 2)))

        shifts = [
            np.zeros((*x.indices.shape, 3), _SHIFT) if x.shifts is None else x.shifts for x in lists
        ]
        repeats = np.asarray(whole.periodic.any(axis=1))
        cells = np.where(repeats[:, None, None], whole.cells, 0)
        atom_rows = {
            "neighbors": np.concatenate([wide(x.indices) for x in lists]).astype(np.int32),
            "is_neighbor": np.concatenate([wide(x.mask) for x in lists]),
            "shifts": np.concatenate([wide(x) for x in shifts]).astype(_SHIFT),
        }
        return {"cells": cells.astype(np.float32)}, atom_rows

    def of_batch(self, batch: Batch, dtype: Any) -> NeighborList:
        """Returns the lists of a batch.

        Args:
          batch: A batch with the rows of :meth:`rows`.
          dtype: Data type of the cells.
        """
        return NeighborList(
            indices=jnp.asarray(batch["neighbors"]),
            mask=jnp.asarray(batch["is_neighbor"]),
            shifts=jnp.asarray(batch["shifts"], jnp.int32),
            cells=jnp.asarray(batch["cells"], dtype),
            reach=self.cutoff,
        )


def check_sees_cells(source: str | Path, whole: Configurations, model: ModelConfig) -> float | None:
    """Returns the distance that a model sees where cells repeat; None where none does.

    Args:
      source: Where the configurations come from, for the message.
      whole: The configurations.
      model: The model.

    Raises:
      ValueError: If the model sees atoms at any distance: in a cell there are infinitely many.
    """
    if not whole.periodic.any():
        return None
    cutoff = distance_seen(model.network)
    if cutoff is None:
        place = int(np.argmax(whole.periodic.any(axis=1)))
        raise ValueError(
            f"{source}: the cell of configuration {whole.ids[place]} repeats, so that the model "
            "must not see beyond some distance: its layer needs a cutoff."
        )
    return cutoff


def _lists(whole: Configurations, cutoff: float) -> list[NeighborList]:
    """The list of each configuration, with the places that it needs."""
    found = []
    for index in range(len(whole)):
        begin, end = whole.offsets[index : index + 2]
        periodic = whole.periodic[index]
        cell = whole.cells[index] if periodic.any() else None
        edges = find_edges(whole.positions[begin:end], cutoff, cell=cell, periodic=periodic)
        shifts = None if cell is None else edges.shifts
        found.append(
            NeighborList.from_edges(
                edges.senders, edges.receivers, int(end - begin), shifts=shifts, cell=cell
            )
        )
    return found

"""A list with a skin, which is used again until points have moved too far."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from eqattn.checks import check_numbers, check_option, check_sizes
from eqattn.neighbors.cells import Cell, read_cell
from eqattn.neighbors.lists import NeighborList
from eqattn.neighbors.search import SearchBackend, find_edges

MARGIN = 1.1
"""How many times as many places as are taken a new list has, so that counts may grow."""
PLACES = 8
"""Numbers of places are multiples of this."""


class VerletList:
    """The neighbor list of points that move, searched anew only when it may be wrong.

    Pairs are listed up to ``cutoff + skin``. While no point has moved by more than half the skin,
    no pair within the cutoff is missing, and a layer whose weights vanish at its own cutoff gives
    the same with the old list as with a new one. In a cell that is strained, what counts is how far
    points move beside the strain, and how much the strain shortens distances.

    A list has places for some more neighbors than there are, and never fewer than the list before,
    so that a program is compiled again only when the points of a trajectory get more crowded than
    ever before.

    Args:
      cutoff: Distance up to which a model sees, in the length unit of the points.
      skin: Distance beyond it up to which pairs are listed too, in the same unit.
      num_points: Rows of the lists, where points are padded; by default as many as there are.
      num_neighbors: Places of a row to begin with, the point itself among them; the first list
        chooses by default.
      backend: What searches; see :func:`find_edges`.

    Raises:
      TypeError: For a ``cutoff`` or ``skin`` that is not a number, or sizes that are not integers.
      ValueError: For a cutoff not above 0, a negative skin, an unknown backend or a size below 1.

    >>> listed = VerletList(cutoff=1.5, skin=0.5)
    >>> lists = [listed.update(np.array([[0.0], [1.0 + step]])) for step in (0.0, 0.2, 0.6)]
    >>> listed.num_searches, [int(found.mask.sum()) for found in lists]
    (2, [4, 4, 4])
    """

    def __init__(
        self,
        cutoff: float,
        skin: float = 1.0,
        *,
        num_points: int | None = None,
        num_neighbors: int | None = None,
        backend: SearchBackend = "numpy",
    ):
        check_numbers({"cutoff": cutoff, "skin": skin})
        check_option("backend", backend, SearchBackend)
        for name, size in {"num_points": num_points, "num_neighbors": num_neighbors}.items():
            if size is not None:
                check_sizes({name: size})
        if not 0.0 < cutoff < math.inf:
            raise ValueError(f"cutoff must be finite and above 0, got {cutoff}")
        if not 0.0 <= skin < math.inf:
            raise ValueError(f"skin must be finite and not negative, got {skin}")
        self.cutoff, self.skin = float(cutoff), float(skin)
        self.backend: SearchBackend = backend
        self.num_points, self.num_neighbors = num_points, num_neighbors
        self.num_searches = 0
        """Lists that were made so far."""
        self._list: NeighborList | None = None
        self._positions: Float[np.ndarray, "N D"] = np.zeros((0, 0))
        self._cell: Cell | None = None

    def update(self, positions: Any, cell: Any = None, periodic: Any = False) -> NeighborList:
        """The list of points where they are now, of one example.

        Args:
          positions: Coordinates [N D] of the points that exist.
          cell: Lattice vectors as rows [D D]; None where nothing repeats.
          periodic: Whether points repeat along each lattice vector: one flag for all, or D of them.

        Raises:
          ValueError: For more points than ``num_points``, and as :func:`find_edges`.
        """
        positions = np.asarray(positions, np.float64)
        if self._list is None or self.is_outdated(positions, cell, periodic):
            return self.search(positions, cell, periodic)
        if self._list.cells is None:
            return self._list
        return dataclasses.replace(self._list, cells=jnp.asarray(np.asarray(cell, np.float64)))

    def search(self, positions: Any, cell: Any = None, periodic: Any = False) -> NeighborList:
        """A new list of points where they are now, whether the last one would do or not.

        Args:
          positions: Coordinates [N D] of the points that exist.
          cell: Lattice vectors as rows [D D]; None where nothing repeats.
          periodic: Whether points repeat along each lattice vector: one flag for all, or D of them.

        Raises:
          ValueError: As of :meth:`update`.
        """
        positions = np.asarray(positions, np.float64)
        self._list = self._made(positions, cell, periodic)
        self._positions = positions.copy()
        self._cell = read_cell(cell, periodic, positions.shape[1])
        return self._list

    def is_outdated(self, positions: Any, cell: Any = None, periodic: Any = False) -> bool:
        """Whether a pair within the cutoff may be missing in the last list.

        Args:
          positions: Coordinates [N D] of the points that exist.
          cell: Lattice vectors as rows [D D]; None where nothing repeats.
          periodic: Whether points repeat along each lattice vector.
        """
        positions, before = np.asarray(positions, np.float64), self._cell
        if before is None or positions.shape != self._positions.shape:
            return True
        now = read_cell(cell, periodic, positions.shape[1])
        if (now.periodic != before.periodic).any():
            return True
        strain = np.linalg.inv(before.vectors) @ now.vectors
        shortened = np.linalg.svd(strain, compute_uv=False)[-1] * (self.cutoff + self.skin)
        moved = np.linalg.norm(positions - self._positions @ strain, axis=1).max(initial=0.0)
        # A rounding of positions is no move.
        return bool(2.0 * moved > shortened - self.cutoff + 1e-9 * self.cutoff)

    def _made(self, positions: np.ndarray, cell: Any, periodic: Any) -> NeighborList:
        rows = len(positions) if self.num_points is None else self.num_points
        if rows < len(positions):
            raise ValueError(f"positions must be of at most {rows} points, got {len(positions)}")
        edges = find_edges(
            positions,
            self.cutoff + self.skin,
            cell=cell,
            periodic=periodic,
            backend=self.backend,
        )
        is_periodic = cell is not None and bool(np.any(periodic))
        most = 1 + int(np.bincount(edges.receivers, minlength=1).max())
        if self.num_neighbors is None or most > self.num_neighbors:
            self.num_neighbors = PLACES * math.ceil(MARGIN * most / PLACES)
        self.num_searches += 1
        return NeighborList.from_edges(
            edges.senders,
            edges.receivers,
            rows,
            shifts=edges.shifts if is_periodic else None,
            cell=np.asarray(cell, np.float64) if is_periodic else None,
            num_neighbors=self.num_neighbors,
            reach=self.cutoff,
        )

"""Cells as a search needs them: bases of space, periodic along some of their vectors."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float


class Cell(NamedTuple):
    """A basis of space.

    Attributes:
      vectors: Basis vectors as rows; along those that are not periodic, unit vectors across all
        others that are.
      periodic: Whether points repeat along each of them.
    """

    vectors: Float[np.ndarray, "D D"]
    periodic: Bool[np.ndarray, "D"]

    @property
    def heights(self) -> Float[np.ndarray, "D"]:
        """Distances between the two faces across each vector."""
        return 1.0 / np.linalg.norm(np.linalg.inv(self.vectors), axis=0)


def read_cell(cell: Any, periodic: Any, dim: int) -> Cell:
    """A cell from what is known of it.

    Args:
      cell: Lattice vectors as rows [D D]; None where nothing repeats.
      periodic: Whether points repeat along each vector: one flag for all, or D of them.
      dim: Dimension D of space.

    Raises:
      ValueError: For another shape, a missing cell, or periodic vectors that span no cell.
    """
    flags = np.asarray(periodic)
    if flags.dtype != bool or flags.shape not in ((), (dim,)):
        raise ValueError(f"periodic must be True or False, or {dim} of them, got {periodic!r}")
    flags = np.broadcast_to(flags, (dim,)).copy()
    if cell is None:
        if flags.any():
            raise ValueError(f"cell must be given where periodic is {flags.tolist()}, got None")
        return Cell(np.eye(dim), flags)
    given = np.asarray(cell, np.float64)
    if given.shape != (dim, dim) or not np.isfinite(given).all():
        raise ValueError(
            f"cell must be {dim} finite lattice vectors as rows, got "
            f"{given.tolist() if given.shape == (dim, dim) else f'shape {given.shape}'}"
        )
    lengths = np.linalg.norm(given, axis=1)
    kept = given[flags]
    _, sizes, across = np.linalg.svd(kept / np.where(lengths > 0, lengths, 1.0)[flags, None])
    if len(kept) and sizes.min() < 1e-6:
        raise ValueError(
            "cell must have independent lattice vectors where it is periodic, got "
            f"{given.tolist()} with periodic {flags.tolist()}"
        )
    vectors = given.copy()
    vectors[~flags] = across[len(kept) :]
    return Cell(vectors, flags)

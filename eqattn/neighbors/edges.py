"""The edges of a graph as flat arrays, and their checks."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int


class Edges(NamedTuple):
    """The edges of a graph: each receiver sees its senders.

    Attributes:
      senders: Points that are seen.
      receivers: Points that see them.
      shifts: Lattice vectors, as integers, that the sender is moved by: the receiver sees it at
        ``positions[sender] + shift @ cell``.
    """

    senders: Int[np.ndarray, "M"]
    receivers: Int[np.ndarray, "M"]
    shifts: Int[np.ndarray, "M D"]


def checked_indices(name: str, given: Any, num_points: int) -> Int[np.ndarray, "M"]:
    """Indices of points, one for each edge.

    Args:
      name: Name of the argument.
      given: What was given.
      num_points: Number of points.

    Raises:
      TypeError: For numbers that are not integers.
      ValueError: For another shape, or an index that is none of a point.
    """
    indices = np.asarray(given)
    if indices.size == 0:
        indices = indices.astype(np.int64)
    if not np.issubdtype(indices.dtype, np.integer):
        raise TypeError(f"{name} must be integers, got {indices.dtype}")
    if indices.ndim != 1:
        raise ValueError(f"{name} must have one index for each edge, got shape {indices.shape}")
    wrong = np.flatnonzero((indices < 0) | (indices >= num_points))
    if len(wrong):
        raise ValueError(
            f"{name} must be indices of the {num_points} points, from 0 to {num_points - 1}, got "
            f"{indices[wrong[0]]} at edge {wrong[0]}"
        )
    return indices.astype(np.int64)


def checked_rows(name: str, given: Any, num_edges: int) -> np.ndarray:
    """A row of numbers for each edge.

    Args:
      name: Name of the argument.
      given: What was given.
      num_edges: Number of edges.

    Raises:
      ValueError: For another shape.
    """
    rows = np.asarray(given)
    if rows.ndim != 2 or len(rows) != num_edges:
        raise ValueError(
            f"{name} must have shape ({num_edges}, …), a row for each edge, got {rows.shape}"
        )
    return rows


def checked_shifts(given: Any, num_edges: int) -> Int[np.ndarray, "M D"]:
    """Lattice vectors as integers, also where another package gives them as floats.

    Args:
      given: What was given.
      num_edges: Number of edges.

    Raises:
      ValueError: For another shape, or numbers that are not whole.
    """
    shifts = checked_rows("shifts", given, num_edges)
    whole = np.rint(shifts).astype(np.int32)
    if (whole != shifts).any():
        raise ValueError(
            "shifts must be whole numbers of lattice vectors, got "
            f"{shifts[(whole != shifts).any(axis=1)][0].tolist()}; divide vectors by the cell first"
        )
    return whole

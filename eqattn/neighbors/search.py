"""The package's own search: all pairs within a distance, in cells of any shape, on the host."""

import itertools
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from eqattn.checks import check_numbers, check_option, install_hint
from eqattn.neighbors.cells import Cell, read_cell
from eqattn.neighbors.edges import Edges

SearchBackend = Literal["numpy", "vesin"]
"""What searches: this file, or the package vesin (the extra ``neighbors``)."""


def find_edges(
    positions: Any,
    cutoff: float,
    *,
    cell: Any = None,
    periodic: Any = False,
    backend: SearchBackend = "numpy",
) -> Edges:
    """All pairs of points closer than a cutoff, with all their images, in float64.

    Points are binned, so that the cost grows like their number: 1,000 atoms take less than 0.1 s.
    Points may lie outside of the cell, which may be triclinic, smaller than the cutoff, and
    periodic along some of its vectors only. A point and itself are no pair, a point and its image
    are one.

    Args:
      positions: Coordinates [N D] of points, in any length unit.
      cutoff: Distance below which points see each other, in the same unit.
      cell: Lattice vectors as rows [D D], in the same unit; None where nothing repeats.
      periodic: Whether points repeat along each lattice vector: one flag for all, or D of them.
      backend: ``"numpy"``, or ``"vesin"`` for the package of that name, which knows three
        dimensions alone.

    Returns:
      The edges in both directions, sorted by receiver, sender and shift: a receiver is less than
      ``cutoff`` away from ``positions[sender] + shift @ cell``.

    Raises:
      ImportError: If the package of the backend is not installed.
      TypeError: For a cutoff that is not a number.
      ValueError: For a cutoff that is not finite and above 0, positions that are not finite, or
        periodic lattice vectors that span no cell.

    >>> chain = find_edges([[0.0], [1.0]], 1.5, cell=[[3.0]], periodic=True)
    >>> list(zip(chain.receivers.tolist(), chain.senders.tolist(), chain.shifts[:, 0].tolist()))
    [(0, 1, 0), (1, 0, 0)]
    >>> len(find_edges([[0.0], [1.0]], 3.5, cell=[[3.0]], periodic=True).senders)
    8
    """
    check_numbers({"cutoff": cutoff})
    check_option("backend", backend, SearchBackend)
    if not 0.0 < cutoff < np.inf:
        raise ValueError(f"cutoff must be finite and above 0, got {cutoff}")
    positions = np.asarray(positions, np.float64)
    if positions.ndim != 2 or positions.shape[1] == 0:
        raise ValueError(f"positions must have shape [N D], got {positions.shape}")
    if not np.isfinite(positions).all():
        row = int(np.flatnonzero(~np.isfinite(positions).all(axis=1))[0])
        raise ValueError(f"positions must be finite, got {positions[row].tolist()} of point {row}")
    box = read_cell(cell, periodic, positions.shape[1])
    found = _by_bins if backend == "numpy" else _by_vesin
    edges = found(positions, float(cutoff), box)
    keys = (*edges.shifts.T[::-1], edges.senders, edges.receivers)
    order = np.lexsort(keys)
    return Edges(*(x[order] for x in edges))


def _by_bins(positions: Float[np.ndarray, "N D"], cutoff: float, cell: Cell) -> Edges:
    """Pairs of points in bins that are near: those of each step from one bin to another."""
    num_points, dim = positions.shape
    if num_points == 0:
        none = np.zeros(0, np.int64)
        return Edges(none, none, np.zeros((0, dim), np.int64))
    shares = positions @ np.linalg.inv(cell.vectors)
    # Whole cells that points lie outside by; along what does not repeat, bins begin at the least.
    wraps = np.where(cell.periodic, np.floor(shares), 0.0)
    starts = np.where(cell.periodic, 0.0, shares.min(axis=0))
    shares = shares - wraps - starts
    extents = np.where(cell.periodic, 1.0, np.maximum(shares.max(axis=0), 1e-12))
    widths = extents * cell.heights
    most = max(1, round(num_points ** (1.0 / dim)))  # bins along a vector: no more than points
    num_bins = np.clip(np.floor(widths / cutoff), 1, 2 * most).astype(np.int64)
    bins = np.clip(np.floor(shares / extents * num_bins).astype(np.int64), 0, num_bins - 1)
    strides = np.concatenate([np.cumprod(num_bins[:0:-1])[::-1], [1]]).astype(np.int64)
    flat = bins @ strides
    order = np.argsort(flat, kind="stable")
    counts = np.bincount(flat, minlength=int(np.prod(num_bins)))
    firsts = np.cumsum(counts) - counts
    inside = (shares + starts) @ cell.vectors
    steps = np.ceil(cutoff / (widths / num_bins)).astype(np.int64)
    steps = np.where(cell.periodic, steps, np.minimum(steps, num_bins - 1))
    parts = []
    for step in itertools.product(*(range(-m, m + 1) for m in steps.tolist())):
        target = bins + np.array(step)
        shift = np.where(cell.periodic, target // num_bins, 0)
        target = target - shift * num_bins
        there = ((target >= 0) & (target < num_bins)).all(axis=1)
        near = np.where(there, np.clip(target, 0, num_bins - 1) @ strides, 0)
        sizes = np.where(there, counts[near], 0)
        receivers = np.repeat(np.arange(num_points), sizes)
        places = np.arange(len(receivers)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        senders = order[firsts[near][receivers] + places]
        vectors = inside[senders] + (shift @ cell.vectors)[receivers] - inside[receivers]
        is_near = np.einsum("md,md->m", vectors, vectors) < cutoff**2
        if not any(step):
            is_near &= senders != receivers
        parts.append((senders[is_near], receivers[is_near], shift[receivers[is_near]]))
    senders, receivers, shifts = (np.concatenate(x) for x in zip(*parts, strict=True))
    shifts = shifts + (wraps[receivers] - wraps[senders]).astype(np.int64)
    return Edges(senders, receivers, shifts)


def _by_vesin(positions: Float[np.ndarray, "N D"], cutoff: float, cell: Cell) -> Edges:
    """The same by the package vesin."""
    if positions.shape[1] != 3:
        raise ValueError(f"backend 'vesin' needs positions [N 3], got shape {positions.shape}")
    try:
        import vesin  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(f"backend 'vesin' needs vesin: {install_hint('neighbors')}") from error
    if len(positions) == 0:
        return _by_bins(positions, cutoff, cell)
    search = vesin.NeighborList(cutoff=cutoff, full_list=True)
    receivers, senders, shifts = search.compute(
        points=positions, box=cell.vectors, periodic=cell.periodic, quantities="ijS"
    )
    whole: Int[np.ndarray, "M D"] = np.asarray(shifts, np.int64)
    return Edges(np.asarray(senders, np.int64), np.asarray(receivers, np.int64), whole)

"""The list that a model takes: for each point so many places for the points that it sees."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from eqattn.checks import check_numbers, check_sizes
from eqattn.neighbors.edges import checked_indices, checked_rows, checked_shifts
from eqattn.pytrees import register_dataclass
from eqattn.typing import Array, Bool, Float, Int


@register_dataclass
@dataclasses.dataclass(frozen=True)
class NeighborList:
    """Which points each point sees, in K places for each; a pytree, which programs take as data.

    A key may be seen where a group element γ takes it: pairs are g_i⁻¹ γ g_j. In a periodic cell γ
    is a translation by a lattice vector, ``shifts @ cells``. The point itself is (i, γ = 1), and
    its images are keys like any others, so that a cell may be smaller than what a point sees.

    Attributes:
      indices: Indices of the points that are seen.
      mask: Marks the places that are taken; the others mean nothing.
      shifts: Lattice vectors, as integers, that keys are moved by; None where they stay.
      cells: Lattice vectors as rows, in the length unit of the points; with ``shifts`` alone.
        Zeros for examples without.
      moves: Other group elements γ that keys are moved by, as the group of the model's space stores
        them; None for none.
      pair_data: Numbers that are known of each pair, such as a kind of bond.
      is_truncated: Points of which neighbors were left out, for want of places; None for none.
      reach: Distance up to which all points are listed, in the length unit of the points; None
        where pairs are not chosen by distance. A model that sees farther refuses the list.
    """

    indices: Int[Array, "*B N K"]
    mask: Bool[Array, "*B N K"]
    shifts: Int[Array, "*B N K D"] | None = None
    cells: Float[Array, "*B D D"] | None = None
    moves: Float[Array, "*B N K E"] | None = None
    pair_data: Float[Array, "*B N K P"] | None = None
    is_truncated: Bool[Array, "*B N"] | None = None
    reach: float | None = dataclasses.field(default=None, metadata={"static": True})

    @classmethod
    def from_edges(
        cls,
        senders: Any,
        receivers: Any,
        num_points: int,
        *,
        shifts: Any = None,
        cell: Any = None,
        edge_features: Any = None,
        adds_itself: bool = True,
        num_neighbors: int | None = None,
        reach: float | None = None,
    ) -> "NeighborList":
        """The list of one example from the edges of a graph.

        Each receiver sees its senders, in the order of the edges. Edges that come twice count
        twice.

        Args:
          senders: Indices [M] of the points that are seen.
          receivers: Indices [M] of the points that see them.
          num_points: Number N of points.
          shifts: Lattice vectors [M D], as integers, that senders are moved by: a receiver sees its
            sender at ``positions[sender] + shift @ cell``.
          cell: Lattice vectors as rows [D D]; with ``shifts`` alone.
          edge_features: Numbers [M P] that are known of each edge, the data of pairs.
          adds_itself: Whether each point sees itself too, first, where no edge says so; its data
            are zeros.
          num_neighbors: Number K of places of each point, itself among them; by default as many as
            the point with the most neighbors takes. What does not fit is left out and flagged.
          reach: Distance up to which all points are listed; None where edges are not chosen so.

        Raises:
          TypeError: For indices that are not integers.
          ValueError: For indices that are none of a point, or arrays that do not fit together.

        >>> found = NeighborList.from_edges([1, 2], [0, 0], 3, edge_features=[[5.0], [7.0]])
        >>> found.indices.tolist(), found.mask.sum(-1).tolist()
        ([[0, 1, 2], [1, 0, 0], [2, 0, 0]], [3, 1, 1])
        >>> found.pair_data[0, :, 0].tolist()
        [0.0, 5.0, 7.0]
        """
        check_sizes({"num_points": num_points}, minimum=0)
        if reach is not None:
            check_numbers({"reach": reach})
        senders = checked_indices("senders", senders, num_points)
        receivers = checked_indices("receivers", receivers, num_points)
        if len(senders) != len(receivers):
            raise ValueError(
                f"senders and receivers must be as many, got {len(senders)} and {len(receivers)}"
            )
        rows: dict[str, np.ndarray] = {"senders": senders}
        if shifts is not None:
            rows["shifts"] = checked_shifts(shifts, len(senders))
        if edge_features is not None:
            features = checked_rows("edge_features", edge_features, len(senders))
            rows["pair_data"] = features.astype(np.result_type(features.dtype, np.float32))
        checked_cell = _checked_cell(cell, rows.get("shifts"))
        if adds_itself:
            rows, receivers = _with_itself(rows, receivers, num_points)
        arrays, mask, is_truncated = _in_places(rows, receivers, num_points, num_neighbors)
        return cls(
            indices=arrays.pop("senders").astype(jnp.int32),
            mask=mask,
            cells=None if checked_cell is None else jnp.asarray(checked_cell),
            is_truncated=is_truncated,
            reach=None if reach is None else float(reach),
            **arrays,
        )

    @classmethod
    def stack(
        cls,
        lists: Sequence["NeighborList"],
        *,
        num_points: int | None = None,
        num_neighbors: int | None = None,
    ) -> "NeighborList":
        """Lists of single examples as one of a batch, periodic ones beside others.

        Args:
          lists: Lists of one example each, at least one.
          num_points: Number N of rows; by default as many as the largest example has.
          num_neighbors: Number K of places; by default as many as the widest list has.

        Raises:
          ValueError: For lists of batches, lists that are too large, or data of pairs or moves that
            only some of them have.
        """
        if not lists or any(x.indices.ndim != 2 for x in lists):
            shapes = [x.indices.shape for x in lists]
            raise ValueError(f"lists must be of one example each, [N K], got {shapes}")
        sizes = []
        for axis, (name, wanted) in enumerate(
            {"num_points": num_points, "num_neighbors": num_neighbors}.items()
        ):
            largest = max(x.indices.shape[axis] for x in lists)
            if wanted is not None and wanted < largest:
                raise ValueError(f"{name} must be at least {largest}, got {wanted}")
            sizes.append(largest if wanted is None else wanted)

        def padded(x: Any, axes: int) -> np.ndarray:
            widths = [(0, n - m) for n, m in zip(sizes[:axes], x.shape, strict=False)]
            return np.pad(np.asarray(x), [*widths, *[(0, 0)] * (x.ndim - axes)])

        def all_of(name: str) -> Array | None:
            found = [getattr(x, name) for x in lists]
            if all(x is None for x in found):
                return None
            if any(x is None or x.shape[2] != found[0].shape[2] for x in found):
                raise ValueError(f"lists must all have {name} of one width, or none of them")
            return jnp.asarray(np.stack([padded(x, 2) for x in found]))

        lists = _alike(lists)
        flags = [np.zeros(len(x.mask), bool) if (t := x.is_truncated) is None else t for x in lists]
        cells = [x.cells for x in lists if x.cells is not None]
        return cls(
            indices=jnp.asarray(np.stack([padded(x.indices, 2) for x in lists])),
            mask=jnp.asarray(np.stack([padded(x.mask, 2) for x in lists])),
            shifts=all_of("shifts"),
            cells=jnp.asarray(np.stack(cells)) if cells else None,
            moves=all_of("moves"),
            pair_data=all_of("pair_data"),
            is_truncated=jnp.asarray(np.stack([padded(x, 1) for x in flags])),
            reach=min((x.reach for x in lists if x.reach is not None), default=None),
        )

    @property
    def vectors(self) -> Float[Array, "*B N K D"] | None:
        """Lattice vectors that keys are moved by, ``shifts @ cells``; None where they stay."""
        if self.shifts is None or self.cells is None:
            return None
        cells = self.cells[..., None, None, :, :]
        # A product of matrices would lose digits on accelerators.
        return jnp.sum(self.shifts[..., None].astype(cells.dtype) * cells, axis=-2)


def _checked_cell(cell: Any, shifts: np.ndarray | None) -> np.ndarray | None:
    if (cell is None) != (shifts is None):
        raise ValueError("shifts and cell must be given both or neither")
    if cell is None or shifts is None:
        return None
    dim = shifts.shape[1]
    cell = np.asarray(cell)
    if cell.shape != (dim, dim):
        raise ValueError(
            f"cell must have shape ({dim}, {dim}), lattice vectors as rows, got {cell.shape}"
        )
    return cell.astype(np.result_type(cell.dtype, np.float32))


def _with_itself(
    rows: dict[str, np.ndarray], receivers: np.ndarray, num_points: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The same edges, and before them those of points with themselves that are missing."""
    is_loop = rows["senders"] == receivers
    if "shifts" in rows:
        is_loop &= (rows["shifts"] == 0).all(axis=1)
    missing = np.setdiff1d(np.arange(num_points), receivers[is_loop])
    added = {
        name: missing if name == "senders" else np.zeros((len(missing), *x.shape[1:]), x.dtype)
        for name, x in rows.items()
    }
    joined = {name: np.concatenate([added[name], x]) for name, x in rows.items()}
    return joined, np.concatenate([missing, receivers])


def _in_places(
    rows: dict[str, np.ndarray], receivers: np.ndarray, num_points: int, num_places: int | None
) -> tuple[dict[str, Any], Any, Any]:
    """Rows of edges [M ...] in the places [N K ...] of their receivers, mask, and overflow."""
    counts = np.bincount(receivers, minlength=num_points)
    if num_places is None:
        num_places = int(counts.max(initial=1))
    check_sizes({"num_neighbors": num_places})
    order = np.argsort(receivers, kind="stable")
    row = receivers[order]
    starts = np.cumsum(counts) - counts
    column = np.arange(len(row)) - starts[row]
    fits = column < num_places
    row, column, order = row[fits], column[fits], order[fits]
    mask = np.zeros((num_points, num_places), bool)
    mask[row, column] = True
    arrays = {}
    for name, x in rows.items():
        arrays[name] = np.zeros((*mask.shape, *x.shape[1:]), x.dtype)
        arrays[name][row, column] = x[order]
    placed = {name: jnp.asarray(x) for name, x in arrays.items()}
    return placed, jnp.asarray(mask), jnp.asarray(counts > num_places)


def _alike(lists: Sequence[NeighborList]) -> list[NeighborList]:
    """The same lists, all with shifts where some have them: zeros, in a cell of zeros."""
    found = next((x for x in lists if x.shifts is not None and x.cells is not None), None)
    if found is None or found.shifts is None or found.cells is None:
        return list(lists)
    dim, dtype = found.shifts.shape[-1], found.cells.dtype
    return [
        x
        if x.shifts is not None
        else dataclasses.replace(
            x,
            shifts=jnp.zeros((*x.indices.shape, dim), jnp.int32),
            cells=jnp.zeros((dim, dim), dtype),
        )
        for x in lists
    ]

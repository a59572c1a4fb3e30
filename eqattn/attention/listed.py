"""Neighbor lists of points as neighborhoods of attention: tokens, weights, moved elements."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from eqattn.attention.neighborhoods import (
    Neighborhood,
    NeighborhoodKind,
    RadiusNeighbors,
    over_samples,
    squared_distances,
)
from eqattn.attention.terms.location import TokenBlock
from eqattn.checks import check_instance
from eqattn.groups.base import stack, unstack
from eqattn.lift import Lifted
from eqattn.neighbors import NeighborList
from eqattn.sharding import on_any_mesh
from eqattn.spaces.base import Space
from eqattn.typing import Array, Float


@on_any_mesh("lifted", 3)
def list_to_neighborhood(
    space: Space,
    lifted: Lifted,
    neighbors: NeighborList,
    kind: NeighborhoodKind | None = None,
) -> Neighborhood:
    """The neighborhood that attention takes, from a list of points: with all samples of each.

    Keys are moved by the group elements of the list: functions on the group that are the same at g
    and γ g, as those of periodic data are, have the features there that they have at the key.

    Equivariance: exact where the list moves with the points: with elements replaced by u g, and
    moves γ by u γ u⁻¹ (cells turned), pairs g_i⁻¹ γ g_j are what they were.

    Args:
      space: Where the points live.
      lifted: Points and samples.
      neighbors: List of the points that each point sees.
      kind: Rule of a model, which then says what weight a listed point has by its distance: a
        :class:`RadiusNeighbors`. By default all have the same. Its ``num_neighbors`` is not used,
        since the list says how many there are.

    Raises:
      TypeError: For a list of another type.
      ValueError: For a list of other points, shifts on a space without translations, moves that are
        no elements of its group, or another kind.
    """
    check_instance("neighbors", neighbors, NeighborList)
    check_list(neighbors, lifted.mask.shape)
    if kind is not None and not isinstance(kind, RadiusNeighbors):
        raise ValueError(
            f"neighborhood must be None or RadiusNeighbors where neighbors are given, got {kind}: "
            "a list says itself which points are seen"
        )
    *batch, num_points, size = neighbors.indices.shape
    num_samples = lifted.elements.shape[-2]
    indices = jnp.where(neighbors.mask, neighbors.indices, 0).astype(jnp.int32)
    flat = indices.reshape(*batch, num_points * size)

    def take(x: Array) -> Array:
        """What points have, for the neighbors of each."""
        where = flat.reshape(*flat.shape, *(1,) * (x.ndim - len(batch) - 1))
        found = jnp.take_along_axis(x, where, axis=len(batch), mode="clip")
        return found.reshape(*indices.shape, *x.shape[len(batch) + 1 :])

    known = jnp.where(lifted.mask[..., None, None], lifted.elements, 1)
    elements = take(known)
    moves = elements_of_moves(space, neighbors, elements.dtype)
    if moves is not None:
        moved = space.group.compose_components(unstack(moves[..., None, :]), unstack(elements))
        elements = stack(moved, elements.shape[:-1], elements.dtype)
    weights = jnp.where(neighbors.mask, jnp.ones((), elements.dtype), 0)
    mask = neighbors.mask
    if isinstance(kind, RadiusNeighbors):
        orbits = jnp.where(lifted.mask[..., None], lifted.orbit_invariants, 1)
        rows = TokenBlock(unstack(known[..., None, 0, :]), unstack(orbits[..., None, :]))
        columns = TokenBlock(unstack(elements[..., 0, :]), unstack(take(orbits)))
        ratio = squared_distances(space, rows, columns) / kind.radius**2
        # A distance that is not finite is no reason to leave a point out.
        inside = ~(ratio >= 1.0)
        mask = mask & inside
        weights = jnp.where(mask, (1.0 - jnp.where(mask, ratio, 0.0)) ** 3 if kind.smooth else 1, 0)
    is_truncated = neighbors.is_truncated
    if is_truncated is None:
        is_truncated = jnp.zeros(lifted.mask.shape, bool)
    found = Neighborhood(indices, mask, weights, is_truncated, num_points)
    spread = over_samples(found, num_samples, num_samples)
    return dataclasses.replace(spread, elements=_over_queries(elements, num_samples))


def elements_of_moves(
    space: Space, neighbors: NeighborList, dtype: Any
) -> Float[Array, "*B N K E"] | None:
    """The group elements that a list moves keys by; None where they stay.

    Args:
      space: Where the points live.
      neighbors: The list.
      dtype: Data type of the elements.

    Raises:
      ValueError: For shifts on a space without translations, or moves that are no elements of its
        group.
    """
    vectors = neighbors.vectors
    if vectors is not None:
        if vectors.shape[-1] != space.vector_dim:
            raise ValueError(
                f"neighbors must have shifts of {space.vector_dim} numbers on {space}, got shape "
                f"{vectors.shape}"
            )
        # Empty places may hold anything, and a NaN there would reach derivatives by the cell.
        vectors = jnp.where(neighbors.mask[..., None], vectors, 0)
        return space.translation(vectors.astype(dtype)).astype(dtype)
    if neighbors.moves is None:
        return None
    if neighbors.moves.shape[-1] != space.group.element_dim:
        raise ValueError(
            f"neighbors must have moves that are elements of {space.group}, of "
            f"{space.group.element_dim} numbers, got shape {neighbors.moves.shape}"
        )
    one = space.group.identity((), dtype)
    return jnp.where(neighbors.mask[..., None], neighbors.moves.astype(dtype), one)


def check_list(neighbors: NeighborList, shape: tuple[int, ...]) -> None:
    """Makes sure that a list is one of these points.

    Args:
      neighbors: The list.
      shape: Shape [*B N] of the points.

    Raises:
      ValueError: For another batch or number of points, parts that do not fit, or shifts beside
        moves.
    """
    if neighbors.indices.shape[:-1] != shape:
        raise ValueError(
            f"neighbors must be of the points {shape}, with indices of shape {shape} + (K,), got "
            f"{neighbors.indices.shape}"
        )
    pairs = neighbors.indices.shape
    for name, part in (
        ("mask", neighbors.mask[..., None]),
        ("shifts", neighbors.shifts),
        ("moves", neighbors.moves),
        ("pair_data", neighbors.pair_data),
    ):
        if part is not None and part.shape[:-1] != pairs:
            raise ValueError(
                f"neighbors must have {name} of each of the pairs {pairs}, got shape {part.shape}"
            )
    shifts, cells = neighbors.shifts, neighbors.cells
    if (shifts is None) != (cells is None):
        raise ValueError("neighbors must have both shifts and cells, or neither")
    if shifts is not None and neighbors.moves is not None:
        raise ValueError("neighbors must have shifts or moves, not both")
    if shifts is not None and cells is not None:
        dim = shifts.shape[-1]
        if cells.shape != (*shape[:-1], dim, dim):
            raise ValueError(
                f"neighbors must have cells of shape {(*shape[:-1], dim, dim)}, got {cells.shape}"
            )


def _over_queries(elements: Array, num_samples: int) -> Float[Array, "*B T K E"]:
    """Elements [*B N K S E] of the neighbors, for each sample of the queries."""
    *batch, num_points, size, num_key_samples, dim = elements.shape
    shape = (*batch, num_points, num_samples, size, num_key_samples, dim)
    spread = jnp.broadcast_to(elements[..., :, None, :, :, :], shape)
    return spread.reshape(*batch, num_points * num_samples, size * num_key_samples, dim)

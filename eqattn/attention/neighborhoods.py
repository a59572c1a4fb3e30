"""Neighborhoods: which keys each query attends to, at cost O(T K) for K keys of each query.

Neighbors are chosen by base point, with the space's left-invariant distance, and keep all samples
of each: what is chosen depends on no choice in the stabilizer.
"""

import abc
import dataclasses
import functools
import math

import jax
import jax.numpy as jnp

from eqattn.attention.terms.location import TokenBlock, pair_blocks
from eqattn.checks import check_flags, check_key, check_numbers, check_sizes
from eqattn.groups.base import unstack
from eqattn.lift import Lifted, point_keys
from eqattn.pytrees import register_dataclass
from eqattn.sharding import num_parts, on_any_mesh
from eqattn.spaces.base import Space
from eqattn.specification import Named
from eqattn.typing import Array, Bool, Float, Int, Key

TIE = 1e-6
"""Distances closer than this, or than rounding tells apart, count as equal."""


@register_dataclass
@dataclasses.dataclass(frozen=True)
class Neighborhood:
    """Keys of each query.

    Attributes:
      indices: Indices of key tokens.
      mask: Marks the indices that are neighbors; the others mean nothing.
      weights: Factors of the attention weights, from 1 down to 0 at a smooth cutoff.
      num_keys: How many key tokens there are to choose from.
      is_truncated: Queries for which a choice was made that the geometry does not make: a point
        within 1e-6 of the distance of the last neighbor, or inside the ball, was left out.
      elements: Elements of the neighbors as their query sees them, γ g_j for a key that a group
        element γ moves; None for all keys where they are.
    """

    indices: Int[Array, "*B T K"]
    mask: Bool[Array, "*B T K"]
    weights: Float[Array, "*B T K"]
    is_truncated: Bool[Array, "*B T"]
    num_keys: int = dataclasses.field(metadata={"static": True})
    elements: Float[Array, "*B T K E"] | None = None


@dataclasses.dataclass(frozen=True, repr=False)
class NeighborhoodKind(Named, abc.ABC):
    """Which points are neighbors."""

    @property
    @abc.abstractmethod
    def is_stochastic(self) -> bool:
        """Whether neighbors depend on a key, where one is given."""

    @property
    def is_continuous(self) -> bool:
        """Whether what is summed over neighbors changes continuously where a point comes in."""
        return False


@dataclasses.dataclass(frozen=True, repr=False)
class NearestNeighbors(NeighborhoodKind):
    """The nearest points, the point itself among them; or a random subset of the nearest.

    Equivariance: exact, except where points tie at the last place (see
    :attr:`Neighborhood.is_truncated`). Not continuous in the points: forces want
    :class:`RadiusNeighbors`.
    Points are counted whatever their weights: one that is split into two halves takes two places.

    Args:
      num_neighbors: Points that each point attends to.
      candidates: Number of nearest points; with a key, they are drawn from this many nearest (the
        point itself always stays); without a key they are the nearest. None for no draw.

    Raises:
      TypeError: For a number that is not an integer.
      ValueError: If ``num_neighbors`` is below 1, or ``candidates`` below it.
    """

    num_neighbors: int
    candidates: int | None = None

    def __post_init__(self):
        check_sizes({"num_neighbors": self.num_neighbors})
        if self.candidates is None:
            return
        check_sizes({"candidates": self.candidates})
        if self.candidates < self.num_neighbors:
            raise ValueError(
                f"candidates must be at least num_neighbors={self.num_neighbors}, "
                f"got {self.candidates}"
            )

    @property
    def is_stochastic(self) -> bool:
        """Whether neighbors depend on a key, where one is given."""
        return self.candidates is not None


@dataclasses.dataclass(frozen=True, repr=False)
class RadiusNeighbors(NeighborhoodKind):
    """The points within a radius, at most so many; smooth at its surface.

    Equivariance: exact, unless more points than ``num_neighbors`` are inside: then the nearest are
    kept (see :attr:`Neighborhood.is_truncated`).

    Args:
      radius: Radius of the ball, in the length unit of the points.
      num_neighbors: Places for the points inside, the point itself among them.
      smooth: Whether attention weights carry the factor (1 - d²/radius²)³, which makes attention
        twice continuously differentiable in the points; 1 inside the ball otherwise.

    Raises:
      TypeError: For a radius that is not a number, or ``num_neighbors`` that is not an integer.
      ValueError: For a radius that is not finite and above 0, or ``num_neighbors`` below 1.
    """

    radius: float
    num_neighbors: int
    smooth: bool = True

    def __post_init__(self):
        check_sizes({"num_neighbors": self.num_neighbors})
        check_numbers({"radius": self.radius})
        check_flags({"smooth": self.smooth})
        if not 0.0 < self.radius < math.inf:
            raise ValueError(f"radius must be finite and above 0, got {self.radius}")

    @property
    def is_stochastic(self) -> bool:
        """Whether neighbors depend on a key: they never do."""
        return False

    @property
    def is_continuous(self) -> bool:
        """Whether weights vanish at the surface of the ball: where they are smooth."""
        return self.smooth


@on_any_mesh("lifted", 3)
def find_neighbors(
    space: Space,
    lifted: Lifted,
    kind: NeighborhoodKind,
    key: Key[Array, ""] | None = None,
    example_ids: Int[Array, "*B"] | None = None,
    *,
    queries: Lifted | None = None,
) -> Neighborhood:
    """Finds the neighbors of each point, as indices of its tokens (point-major) and theirs.

    Makes an array of distances over pairs of points, and none over pairs of tokens.

    Args:
      space: Where the points live.
      lifted: Points and samples.
      kind: Rule that says which points are neighbors.
      key: Random key of a random subset of the nearest; without one it is the nearest.
      example_ids: Identity of each example, which draws are keyed by; 0 by default.
      queries: Points whose neighbors among those of ``lifted`` are found, such as
        :func:`~eqattn.attention.subsample` keeps; by default those of ``lifted``.

    Raises:
      ValueError: For another kind, a lift of another space or batch, or ``example_ids`` of another
        shape than the batch.
    """
    if not isinstance(kind, NearestNeighbors | RadiusNeighbors):
        raise ValueError(f"kind must be a NearestNeighbors or a RadiusNeighbors, got {kind!r}")
    batch = lifted.mask.shape[:-1]
    if queries is not None and queries.mask.shape[:-1] != batch:
        raise ValueError(
            f"queries must have the batch {batch} of lifted, got {queries.mask.shape[:-1]}"
        )
    chosen_by = lifted if queries is None else queries
    rows, columns = pair_blocks(point_block(space, chosen_by), point_block(space, lifted))
    squared = squared_distances(space, rows, columns)
    # A point that is not finite is near to all, so that no neighborhood hides it; so is a query.
    is_finite = [jnp.isfinite(c) for part in (*rows, *columns) for c in part]
    squared = jnp.where(functools.reduce(jnp.logical_and, is_finite, True), squared, 0.0)
    squared = jnp.where(point_exists(lifted)[..., None, :], squared, jnp.inf)
    candidates = kind.num_neighbors
    if isinstance(kind, NearestNeighbors) and kind.candidates is not None and key is not None:
        candidates = kind.candidates
    order, squares, next_square = _sort(squared, candidates, itself_first=queries is None)
    if isinstance(kind, RadiusNeighbors):
        radius_sq = kind.radius**2
        inside = squares < radius_sq
        truncated = next_square < radius_sq
        ratio_sq = jnp.where(inside, squares / radius_sq, 1.0)
        weights = (1.0 - ratio_sq) ** 3 if kind.smooth else jnp.where(inside, 1.0, 0.0)
    else:
        inside = squares < jnp.inf
        last = jnp.max(squares, axis=-1, initial=0.0)
        gap = jnp.sqrt(next_square) - jnp.sqrt(last)
        truncated = (next_square < jnp.inf) & (gap <= _tie(lifted, last))
        weights = jnp.ones_like(squares)
    found = Neighborhood(order, inside, weights, truncated, lifted.mask.shape[-1])
    if candidates > kind.num_neighbors and key is not None and order.shape[-1] > kind.num_neighbors:
        found = _subset(found, kind.num_neighbors, key, example_ids)
    return over_samples(found, chosen_by.elements.shape[-2], lifted.elements.shape[-2])


def _tie(lifted: Lifted, last_square: Array) -> Array:
    """How close distances count as equal: 1e-6, or what rounding of the elements makes of them."""
    sizes = jnp.where(lifted.mask[..., None, None], jnp.abs(lifted.elements), 0)
    size = jnp.max(sizes, axis=(-3, -2, -1), initial=1)[..., None]
    rounding = 4.0 * jnp.finfo(lifted.elements.dtype).eps
    return TIE + rounding * (size + jnp.sqrt(last_square))


def point_exists(lifted: Lifted) -> Bool[Array, "*B N"]:
    """Which points have a valid sample."""
    return jnp.any(lifted.valid, axis=-1)


def point_block(space: Space, lifted: Lifted) -> TokenBlock:
    """Components of one sample of each point, any of which stands for the point.

    Raises:
      ValueError: For a lift of another space.
    """
    if lifted.elements.shape[-1] != space.group.element_dim:
        raise ValueError(
            f"lifted must have elements of {space.group} with {space.group.element_dim} "
            f"components, got shape {lifted.elements.shape}"
        )
    # Masked points hold anything; ones are harmless.
    return TokenBlock(
        unstack(jnp.where(lifted.mask[..., None], lifted.elements[..., 0, :], 1)),
        unstack(jnp.where(lifted.mask[..., None], lifted.orbit_invariants, 1)),
    )


def squared_distances(space: Space, query: TokenBlock, key: TokenBlock) -> Array:
    """Squared distances of the points of two blocks, which broadcast."""
    pair = space.pair(query.elements, key.elements)
    return space.squared_distance_components(pair, query.orbits, key.orbits)


def _sort(
    squared: Float[Array, "*B M N"], size: int, *, itself_first: bool
) -> tuple[Array, Array, Array]:
    """Indices and squared distances of the nearest, and that of the next one, or infinity.

    With ``itself_first`` the i-th point is the first for the i-th query, whoever is as near.
    """
    num_points = squared.shape[-1]
    ranked = squared - jnp.eye(num_points, dtype=squared.dtype) if itself_first else squared
    order = _smallest(ranked, min(size + 1, num_points))
    ascending = jnp.take_along_axis(squared, order, axis=-1)
    if size < num_points:
        return order[..., :size], ascending[..., :size], ascending[..., size]
    return order, ascending, jnp.full(squared.shape[:-1], jnp.inf, squared.dtype)


def _smallest(x: Float[Array, "*B N"], size: int) -> Int[Array, "*B K"]:
    """Places of the smallest numbers of the last axis, in order; of equal ones the first.

    ``top_k`` is fast, but XLA gathers a batch that is spread over devices for it, and not for sort.
    """
    if num_parts(x, x.size) == 1:
        return jax.lax.top_k(-x, size)[1]
    places = jax.lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 1)
    return jax.lax.sort((x, places), num_keys=1)[1][..., :size]


def _subset(
    found: Neighborhood, size: int, key: Key[Array, ""], example_ids: Int[Array, "*B"] | None
) -> Neighborhood:
    """A random subset, keyed by example id and point; the nearest, the point itself, stays."""
    check_key(key)
    *batch, num_points, candidates = found.indices.shape

    def draw(point_key: Array) -> Array:
        return jax.random.uniform(point_key, (candidates,), jnp.float32)

    for _ in found.indices.shape[:-1]:
        draw = jax.vmap(draw)
    keys = point_keys(key, tuple(batch), jnp.arange(num_points), example_ids)
    priority = draw(keys).at[..., 0].set(-1.0)
    priority = jnp.where(found.mask, priority, 2.0)
    chosen = _smallest(priority, size)

    def take(x: Array) -> Array:
        return jnp.take_along_axis(x, chosen, axis=-1)

    return dataclasses.replace(
        found,
        indices=take(found.indices),
        mask=take(found.mask),
        weights=take(found.weights),
    )


def over_samples(found: Neighborhood, num_samples: int, num_key_samples: int) -> Neighborhood:
    """From points to tokens: each sample of a point attends to all samples of its neighbors.

    Args:
      found: Neighbors of points, without elements.
      num_samples: Samples of each query.
      num_key_samples: Samples of each key.
    """
    *batch, num_points, size = found.indices.shape

    def expand(x: Array) -> Array:
        shape = (*batch, num_points, num_samples, size, num_key_samples)
        return jnp.broadcast_to(x[..., :, None, :, None], shape).reshape(
            *batch, num_points * num_samples, size * num_key_samples
        )

    indices = expand(found.indices * num_key_samples)
    samples = jnp.tile(jnp.arange(num_key_samples), size)
    return Neighborhood(
        indices=indices + samples,
        mask=expand(found.mask),
        weights=expand(found.weights),
        is_truncated=jnp.repeat(found.is_truncated, num_samples, axis=-1),
        num_keys=found.num_keys * num_key_samples,
    )

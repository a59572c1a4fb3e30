"""Farthest-point subsampling: a few points spread over all, each with the weight of its cell."""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from eqattn.attention.neighborhoods import point_block, point_exists, squared_distances
from eqattn.attention.terms.location import TokenBlock, pair_blocks
from eqattn.checks import check_option, check_sizes
from eqattn.lift.lifted import Lifted
from eqattn.lift.weights import log_sum_exp, normalized_weights
from eqattn.sharding import on_any_mesh
from eqattn.spaces.base import Space
from eqattn.typing import Array, Bool, Float, Int

Start = Literal["eccentric", "first"]


class FarthestPoints(NamedTuple):
    """Points in the order in which they were chosen.

    Attributes:
      indices: Indices of the chosen points.
      mask: Marks the indices that exist; the others mean nothing.
      nearest: Place among the chosen points of the one nearest to each point.
    """

    indices: Int[Array, "*B M"]
    mask: Bool[Array, "*B M"]
    nearest: Int[Array, "*B N"]


@on_any_mesh("lifted", 3)
def farthest_points(
    space: Space, lifted: Lifted, num_points: int, *, start: Start = "eccentric"
) -> FarthestPoints:
    """Chooses points one by one, each the farthest from those before it.

    Equivariance: exact to the group, since only left-invariant distances are compared, and to
    permutations of the points (with the start ``"first"``: of all but the first); except where
    distances tie within rounding. Independent of padding, and constant between ties, so that it
    has no derivative.

    Costs O(N M) distances, and the start ``"eccentric"`` N² more.

    Args:
      space: Where the points live.
      lifted: Points; those without a valid sample do not count.
      num_points: How many to choose; of fewer points all, and if N is less, the result is N long.
      start: The first point: ``"eccentric"``, the one of the largest weighted mean square distance
        to all; or ``"first"``, the first that exists.

    Raises:
      TypeError: For ``num_points`` that is not an integer.
      ValueError: For ``num_points`` below 1, an unknown ``start``, or a lift of another space.
    """
    check_sizes({"num_points": num_points})
    check_option("start", start, Start)
    lifted = jax.lax.stop_gradient(lifted)
    block, exists = point_block(space, lifted), point_exists(lifted)
    *batch, size = exists.shape
    if size == 0:
        nothing = jnp.zeros((*batch, 0), jnp.int32)
        return FarthestPoints(nothing, exists, nothing)
    dtype = jnp.result_type(*block.elements)
    first = jnp.zeros(exists.shape, dtype)
    if start == "eccentric":
        weights = normalized_weights(_point_log_weights(lifted), exists, axis=-1)
        squared = squared_distances(space, *pair_blocks(block, block))
        first = jnp.sum(squared * weights[..., None, :], axis=-1).astype(dtype)
    steps = min(num_points, size)

    def choose(state: tuple[Array, ...], place: Array) -> tuple[tuple[Array, ...], Array]:
        remaining, score, squares, nearest = state
        index = jnp.argmax(jnp.where(remaining, score, -1.0), axis=-1, keepdims=True)
        chosen = TokenBlock(
            *(tuple(jnp.take_along_axis(c, index, axis=-1) for c in part) for part in block)
        )
        distances = squared_distances(space, chosen, block)
        # A chosen point is its own nearest, whoever lies in the same place.
        itself = jnp.arange(size) == index
        closer = itself | (remaining & (distances < squares))
        nearest = jnp.where(closer & jnp.any(remaining, -1, keepdims=True), place, nearest)
        squares = jnp.minimum(squares, distances)
        return (remaining & ~itself, squares, squares, nearest), index[..., 0]

    unreached = jnp.full(exists.shape, jnp.inf, dtype)
    state = exists, first, unreached, jnp.zeros(exists.shape, jnp.int32)
    (_, _, _, nearest), indices = jax.lax.scan(choose, state, jnp.arange(steps, dtype=jnp.int32))
    return FarthestPoints(
        jnp.moveaxis(indices, 0, -1),
        jnp.arange(steps) < jnp.sum(exists, axis=-1, keepdims=True),
        nearest,
    )


@on_any_mesh("lifted", 3)
def subsample(
    space: Space, lifted: Lifted, num_points: int, *, start: Start = "eccentric"
) -> Lifted:
    """Keeps the farthest points, with all their samples; each gets the weight of its cell.

    A point's quadrature weight goes to the kept point nearest to it (its Voronoi cell), which
    shares it out to its samples in proportion to their own. The features are those of the kept
    points: to pool the others into them, let a layer attend from the kept points to all.

    Equivariance, cost and arguments: as :func:`farthest_points`; likewise splitting a point into
    two of half weight changes nothing. Examples of fewer points are masked at the end.

    >>> import eqattn, jax
    >>> from flax import nnx
    >>> from eqattn.attention import NearestNeighbors, find_neighbors, subsample
    >>> space = eqattn.spaces.euclidean(eqattn.groups.SE(3))
    >>> points = jax.random.normal(jax.random.key(0), (2, 30, 3))
    >>> layer = eqattn.layers.LieConv(3, space, rngs=nnx.Rngs(0))
    >>> def pooled(points):
    ...     all_of = eqattn.lift.lift(space, points, points, key=jax.random.key(1))
    ...     kept = subsample(space, all_of, 10)
    ...     near = find_neighbors(space, all_of, NearestNeighbors(5), queries=kept)
    ...     return layer(kept, near, keys=all_of)
    >>> out = jax.jit(pooled)(points)
    >>> out.shape, bool(out.std() > 0.01)
    ((2, 10, 1, 3), True)
    """
    chosen = farthest_points(space, lifted, num_points, start=start)
    axis = chosen.mask.ndim - 1

    def take(x: Array) -> Array:
        index = chosen.indices.reshape(*chosen.indices.shape, *(1,) * (x.ndim - axis - 1))
        return jnp.take_along_axis(x, index, axis=axis)

    own = _point_log_weights(lifted)
    places = jnp.arange(chosen.indices.shape[-1])[:, None]
    in_cell = (chosen.nearest[..., None, :] == places) & point_exists(lifted)[..., None, :]
    gain = log_sum_exp(own[..., None, :], in_cell) - take(own)
    # Whether axes were drawn is said of examples, not of points.
    kept = jax.tree.map(take, dataclasses.replace(lifted, fallback=None))
    return dataclasses.replace(
        kept,
        fallback=lifted.fallback,
        mask=chosen.mask,
        log_weights=kept.log_weights + jnp.where(chosen.mask, gain, 0.0)[..., None],
    )


def _point_log_weights(lifted: Lifted) -> Float[Array, "*B N"]:
    """Logarithms of the total weights of points; 0 for those without a valid sample."""
    return log_sum_exp(lifted.log_weights, lifted.valid)

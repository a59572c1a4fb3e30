"""Stabilizer samples: drawn for each point, or the same for all points of an example."""

import jax
import jax.numpy as jnp

from eqattn.groups.base import uniform_angle
from eqattn.lift.conditions import check_strategy
from eqattn.lift.finite import finite_elements, grid_elements
from eqattn.lift.prng import point_keys
from eqattn.lift.strategies import Grid, Haar, Subgroup
from eqattn.spaces.base import Space
from eqattn.typing import Array, DType, Float, Int, Key


def sample_stabilizers(
    space: Space,
    points: Float[Array, "*B N D"],
    strategy: Haar,
    key: Key[Array, ""],
    example_ids: Int[Array, "*B"] | None = None,
) -> Float[Array, "*B N S E"]:
    """Stabilizer samples h_ik, keyed by example id, point index and sample index.

    The sample of a point therefore depends on neither padding nor the other examples of a batch.

    Raises:
      ValueError: where the strategy is biased or has nothing to draw from.
    """
    check_strategy(space, strategy)

    def sample(point_key: Key[Array, ""], point: Array) -> Array:
        keys = jax.vmap(lambda k: jax.random.fold_in(point_key, k))(
            jnp.arange(strategy.num_samples)
        )
        return jax.vmap(lambda k: space.sample_stabilizer(k, point))(keys)

    *batch, num_points, _ = points.shape
    indices = jnp.where(strategy.shared, 0, jnp.arange(num_points))
    draw = sample
    for _ in points.shape[:-1]:
        draw = jax.vmap(draw)
    return draw(point_keys(key, tuple(batch), indices, example_ids), points)


def fixed_stabilizers(
    space: Space,
    strategy: Grid | Subgroup,
    key: Key[Array, ""] | None,
    batch: tuple[int, ...],
    example_ids: Int[Array, "*B"] | None = None,
    dtype: DType = float,
) -> Float[Array, "*B #N S E"]:
    """Stabilizer elements that all points of an example share: a finite group, or a turned grid.

    Args:
      space: where the points live.
      strategy: names the elements.
      key: for a random offset, keyed as the shared samples of ``Haar`` are; None for offset 0.
      batch: shape of the batch.
      example_ids: identity of each example; 0 by default.
      dtype: of the elements.
    """
    group = space.stabilizer
    if isinstance(strategy, Subgroup):
        found = finite_elements(group, strategy.name, reflections=strategy.reflections)
        elements = jnp.asarray(found, dtype)
    else:
        elements = jnp.asarray(grid_elements(group, strategy.num_angles), dtype)
        if strategy.offset == "random" and key is not None:
            keys = point_keys(key, batch, jnp.zeros(1, int), example_ids)

            def draw(point_key: Key[Array, ""]) -> Array:
                return uniform_angle(point_key, (), elements.dtype)

            for _ in keys.shape:
                draw = jax.vmap(draw)
            offset = draw(keys)
        else:
            offset = jnp.asarray(0.0 if strategy.offset == "random" else strategy.offset, dtype)
        others = jnp.zeros((*offset.shape, group.algebra_dim - 1), elements.dtype)
        turn = group.exp(jnp.concatenate([offset[..., None], others], -1))
        elements = group.compose(turn[..., None, :], elements)
    elements = space.embed_stabilizer(elements)
    return jnp.broadcast_to(elements, (*batch, 1, *elements.shape[-2:]))

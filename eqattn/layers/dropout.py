"""Dropout of tokens' channels, keyed by example and point."""

import jax
import jax.numpy as jnp

from eqattn.lift import point_keys
from eqattn.typing import Array, Bool, Float, Int, Key


def dropout(
    features: Float[Array, "*B N S C"],
    rate: float,
    key: Key[Array, ""] | None,
    example_ids: Int[Array, "*B"] | None = None,
) -> Float[Array, "*B N S C"]:
    """Sets a random share of the channels to 0, and enlarges the others so that the mean stays.

    What is drawn for a point depends on neither padding nor the other examples of a batch.

    Equivariance: exact for each key, since what is dropped depends on no group element.

    Args:
      features: Features of the elements of a lift.
      rate: Share of the channels, from 0 to below 1.
      key: Key of the draw; None for no dropout, as in evaluation.
      example_ids: Identity of each example, which its draws are keyed by; 0 by default.
    """
    if key is None or rate == 0:
        return features
    *batch, num_points, num_samples, num_channels = features.shape
    kept = draw_kept((num_samples, num_channels), rate, key, (*batch, num_points), example_ids)
    return jnp.where(kept, features / (1 - rate), 0).astype(features.dtype)


def draw_kept(
    shape: tuple[int, ...],
    rate: float,
    key: Key[Array, ""],
    points: tuple[int, ...],
    example_ids: Int[Array, "*B"] | None,
) -> Bool[Array, "..."]:
    """Which channels are kept, drawn for each point by its example and its number.

    Args:
      shape: Shape of the channels of a point.
      rate: Share of them that is dropped.
      key: Key of the draw.
      points: Shape of the batch, and the number of points.
      example_ids: Identity of each example; 0 by default.
    """
    keys = point_keys(key, points[:-1], jnp.arange(points[-1]), example_ids)

    def draw(point_key: Key[Array, ""]) -> Array:
        # In float32 whatever the precision, so that all precisions drop the same.
        return jax.random.uniform(point_key, shape, jnp.float32) >= rate

    for _ in keys.shape:
        draw = jax.vmap(draw)
    return draw(keys)

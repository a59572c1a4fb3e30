"""The keys of attention as a back end gets them: all of them, or those of each query."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from eqattn.attention.location import TokenBlock
from eqattn.attention.neighborhoods import Neighborhood
from eqattn.typing import Array, Bool, Float


class Keys(NamedTuple):
    """Keys shared by all queries, or (after :func:`gather`) with a query axis T of their own.

    Attributes:
      features: [*B K H C] or [*B T K H C]; None without content.
      values: [*B K H V] or [*B T K H V].
      tokens: components [*B K] or [*B T K].
      valid: [*B K] or [*B T K].
      log_weights: [*B K] or [*B T K].
      weights: factors of the attention weights, [*B T K], where each query has keys of its own;
        None where it does not.
    """

    features: Float[Array, "..."] | None
    values: Float[Array, "..."]
    tokens: TokenBlock
    valid: Bool[Array, "..."]
    log_weights: Float[Array, "..."]
    weights: Float[Array, "*B T K"] | None = None


def gather(keys: Keys, neighborhood: Neighborhood) -> Keys:
    """The keys of each query's neighborhood."""
    indices = neighborhood.indices
    *batch, num_queries, size = indices.shape
    flat = indices.reshape(*batch, num_queries * size)

    def take(x: Array) -> Array:
        rest = x.shape[len(batch) + 1 :]
        where = flat.reshape(*flat.shape, *(1,) * len(rest))
        # Indices that are masked may be any; filled with NaN, they would be kept by 0 times it.
        found = jnp.take_along_axis(x, where, axis=len(batch), mode="clip")
        return found.reshape(*indices.shape, *rest)

    return Keys(
        *jax.tree.map(take, (keys.features, keys.values, keys.tokens)),
        valid=take(keys.valid) & neighborhood.mask,
        log_weights=take(keys.log_weights),
        weights=neighborhood.weights,
    )

"""Queries and keys as a back end gets them; keys are the same for all queries, or of each."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from eqattn.attention.neighborhoods import Neighborhood
from eqattn.attention.terms.location import TokenBlock
from eqattn.groups.base import unstack
from eqattn.typing import Array, Bool, Components, Float


class Queries(NamedTuple):
    """The queries.

    Attributes:
      features: [*B T H C]; None without content.
      tokens: Components [*B T].
      failed: NaN for queries whose result is NaN, because something that they see is not finite;
        0 for the others.
      data: What is known of the pairs with keys [*B T K P], or with neighbors; None if nothing is.
      pair_values: Values [*B T K V] of the pairs with neighbors, the same for all heads, which are
        summed beside those of the keys; None for none.
    """

    features: Float[Array, "..."] | None
    tokens: TokenBlock
    failed: Float[Array, "*B T"]
    data: Float[Array, "..."] | None = None
    pair_values: Float[Array, "..."] | None = None

    @property
    def pair_data(self) -> Components:
        """The data of the pairs as components."""
        return () if self.data is None else unstack(self.data)


class Keys(NamedTuple):
    """Keys shared by all queries, or (after :func:`gather`) with a query axis T of their own.

    Attributes:
      features: [*B K H C] or [*B T K H C]; None without content.
      values: [*B K H V] or [*B T K H V].
      tokens: Components [*B K] or [*B T K].
      valid: [*B K] or [*B T K].
      log_weights: [*B K] or [*B T K].
      weights: Factors of the attention weights, [*B T K], where each query has keys of its own;
        None where it does not.
    """

    features: Float[Array, "..."] | None
    values: Float[Array, "..."]
    tokens: TokenBlock
    valid: Bool[Array, "..."]
    log_weights: Float[Array, "..."]
    weights: Float[Array, "*B T K"] | None = None


def gather(
    keys: Keys, neighborhood: Neighborhood, pair_values: Float[Array, "*B T K V"] | None = None
) -> Keys:
    """The keys of each query's neighborhood, moved where it says so.

    Args:
      keys: Keys shared by all queries.
      neighborhood: Keys that each query sees, and where.
      pair_values: Values of pairs, which come after those of keys, the same for all heads.
    """
    # In a type that holds the number of keys, which stands for none.
    wide = jnp.promote_types(neighborhood.indices.dtype, jnp.int32)
    indices = jnp.where(neighborhood.mask, neighborhood.indices.astype(wide), keys.valid.shape[-1])
    *batch, num_queries, size = indices.shape
    flat = indices.reshape(*batch, num_queries * size)

    def take(x: Array, fill: int = 0) -> Array:
        """Keys, and a number at places without: 0 times NaN would keep one that is not seen."""
        rest = x.shape[len(batch) + 1 :]
        where = flat.reshape(*flat.shape, *(1,) * len(rest))
        axis = len(batch)
        found = jnp.take_along_axis(x, where, axis=axis, mode="fill", fill_value=fill)
        return found.reshape(*indices.shape, *rest)

    features, values = jax.tree.map(take, (keys.features, keys.values))
    if pair_values is not None:
        spread = (*values.shape[:-1], pair_values.shape[-1])
        own = jnp.broadcast_to(pair_values[..., None, :], spread)
        values = jnp.concatenate([values, own.astype(values.dtype)], axis=-1)
    tokens = keys.tokens
    if neighborhood.elements is not None:
        tokens = tokens._replace(elements=())
    tokens = jax.tree.map(lambda x: take(x, 1), tokens)
    if neighborhood.elements is not None:
        tokens = tokens._replace(elements=unstack(neighborhood.elements))
    return Keys(
        features,
        values,
        tokens=tokens,
        valid=take(keys.valid),
        log_weights=take(keys.log_weights),
        weights=neighborhood.weights,
    )

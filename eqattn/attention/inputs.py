"""What attention is given: shapes are checked, and what is masked is cleaned."""

import jax.numpy as jnp

from eqattn import numerics
from eqattn.attention.neighborhoods import Neighborhood
from eqattn.attention.terms.location import TokenBlock
from eqattn.checks import check_real
from eqattn.groups.base import unstack
from eqattn.typing import Array, Bool, Float


def clean(array, mask: Array | None, fill: int = 0):
    """The array with another number at masked tokens: padding may hold NaN, which 0 times it keeps.

    Elements are filled with ones, at which every formula is finite.
    """
    if array is None or mask is None:
        return array
    mask = mask.reshape(*mask.shape, *(1,) * (array.ndim - mask.ndim))
    return jnp.where(mask, array, jnp.asarray(fill, array.dtype))


def token_block(elements: Array, orbits: Array | None) -> TokenBlock:
    """Components of tokens."""
    return TokenBlock(unstack(elements), () if orbits is None else unstack(orbits))


def failures(
    features: tuple[Array | None, ...], components: tuple[Array | None, ...]
) -> Float[Array, "*B N"]:
    """NaN for tokens of which anything is not finite, else 0."""
    arrays = [numerics.flat(x) for x in features if x is not None]
    return numerics.nan_unless_finite(*arrays, *components)


def seen_failures(
    failed: Float[Array, "*B K"], neighborhood: Neighborhood | None
) -> Float[Array, "*B #T"]:
    """The sum over the keys that a query sees."""
    if neighborhood is None:
        return jnp.sum(failed, axis=-1, keepdims=True)
    found = of_neighbors(failed, neighborhood)
    return jnp.sum(found, axis=-1, where=neighborhood.mask)


def of_neighbors(x: Array, neighborhood: Neighborhood) -> Array:
    """What keys [*B K] have, for the neighbors of each query [*B T _]."""
    *batch, num_queries, size = neighborhood.indices.shape
    indices = neighborhood.indices.reshape(*batch, num_queries * size)
    found = jnp.take_along_axis(x, indices, axis=-1, mode="clip")
    return found.reshape(neighborhood.indices.shape)


def seen_pairs(
    valid: Bool[Array, "*B K"],
    query_mask: Bool[Array, "*B T"] | None,
    neighborhood: Neighborhood | None,
) -> Bool[Array, "*B #T _"]:
    """Which pairs of a query with a key, or with a neighbor, count."""
    seen = valid[..., None, :]
    if neighborhood is not None:
        seen = neighborhood.mask & of_neighbors(valid, neighborhood)
    return seen if query_mask is None else seen & query_mask[..., None]


def validity(
    shape: tuple[int, ...], key_mask: Array | None, log_weights: Array | None
) -> tuple[Array, Array]:
    """Valid keys and finite log-weights: -inf goes the way of the mask."""
    valid = jnp.ones(shape, bool) if key_mask is None else key_mask
    if log_weights is None:
        return valid, jnp.zeros(shape, jnp.float32)
    return valid & (log_weights != -jnp.inf), log_weights


def check_shapes(query, key, value, query_elements, key_elements, content) -> None:
    """Makes sure that queries, keys, values and elements fit together.

    Args:
      query: Features of the queries.
      key: Features of the keys.
      value: Values of the keys.
      query_elements: Group elements of the queries.
      key_elements: Group elements of the keys.
      content: Content term.

    Raises:
      ValueError: For shapes or types that do not.
    """
    if value.ndim < 3:
        raise ValueError(f"value must have shape [*B K H V], got {value.shape}")
    for name, array in (("query", query), ("key", key), ("value", value)):
        if array is not None and not jnp.issubdtype(array.dtype, jnp.floating):
            raise ValueError(f"{name} must be of a floating point type, got {array.dtype}")
        if array is not None and 0 in array.shape[-2:]:
            raise ValueError(f"{name} must have heads and channels, got shape {array.shape}")
    sizes = query_elements.shape[-1:], key_elements.shape[-1:]
    if sizes[0] != sizes[1] or query_elements.shape[:-2] != value.shape[:-3]:
        raise ValueError(
            f"query_elements must have shape {value.shape[:-3]} + (T,) + {sizes[1]} of the batch "
            f"and of key_elements, got {query_elements.shape}"
        )
    if (query is None) != (key is None):
        raise ValueError("query and key must be given both or neither")
    if key_elements.shape[:-1] != value.shape[:-2]:
        raise ValueError(
            f"key_elements must have leading shape {value.shape[:-2]} of value, "
            f"got shape {key_elements.shape}"
        )
    if query is None:
        return
    if key.shape[:-1] != value.shape[:-1]:
        raise ValueError(f"key must have shape {value.shape[:-1]} + (C,), got {key.shape}")
    width_of = getattr(content, "query_channels", None)
    width = key.shape[-1] if width_of is None else width_of(key.shape[-1])
    expected = (*query_elements.shape[:-1], key.shape[-2], width)
    if query.shape != expected:
        raise ValueError(f"query must have shape {expected}, got {query.shape}")


def check_leading(expected: tuple[int, ...], arrays: dict[str, Array | None]) -> None:
    """Makes sure that there are numbers of each token.

    Args:
      expected: Shape of the tokens.
      arrays: What is known of tokens, by the name of the argument: that of a mask ends with "mask",
        that of orbit invariants with "orbits".

    Raises:
      ValueError: For other shapes, or a mask that is not boolean.
    """
    for name, array in arrays.items():
        if array is None:
            continue
        shape = array.shape[:-1] if name.endswith("orbits") else array.shape
        if shape != expected:
            raise ValueError(f"{name} must have leading shape {expected}, got shape {array.shape}")
        if name.endswith("mask") and array.dtype != bool:
            raise ValueError(f"{name} must be boolean, got {array.dtype}")


def check_neighborhood(neighborhood: Neighborhood, query_elements: Array, value: Array) -> None:
    """Makes sure that a neighborhood is one of these queries and keys.

    Args:
      neighborhood: The neighborhood.
      query_elements: Elements of the queries [*B T E].
      value: Values of the keys [*B K H V].

    Raises:
      ValueError: For other shapes.
    """
    shape, num_keys = query_elements.shape[:-1], value.shape[-3]
    if neighborhood.indices.shape[:-1] != shape:
        raise ValueError(
            f"neighborhood must have the leading shape {shape} of the queries, "
            f"got {neighborhood.indices.shape}"
        )
    if neighborhood.num_keys != num_keys:
        raise ValueError(f"neighborhood must be of {num_keys} keys, got {neighborhood.num_keys}")
    moved, expected = neighborhood.elements, (*neighborhood.indices.shape, query_elements.shape[-1])
    if moved is not None and moved.shape != expected:
        raise ValueError(f"neighborhood must have elements of shape {expected}, got {moved.shape}")


def check_pairs(expected: tuple[int, ...], arrays: dict[str, Array | None]) -> None:
    """Makes sure that numbers are real, and of these pairs.

    Args:
      expected: Shape of the pairs.
      arrays: Numbers of each pair, by the name of the argument.

    Raises:
      TypeError: For complex numbers.
      ValueError: For another shape.
    """
    for name, array in arrays.items():
        if array is None:
            continue
        check_real(name, array)
        if array.shape[:-1] != expected:
            raise ValueError(f"{name} must have leading shape {expected}, got shape {array.shape}")

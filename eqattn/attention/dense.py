"""The dense back end: obviously right, it defines what every other back end computes."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from eqattn.attention.combine import Combine, combine_logits
from eqattn.attention.content import Content
from eqattn.attention.key_tokens import Keys, Queries, gather
from eqattn.attention.location import Location, pair_blocks
from eqattn.attention.neighborhoods import Neighborhood
from eqattn.typing import Array, Bool, Float


class Terms(NamedTuple):
    """What attention does with a query and a key; see :func:`eqattn.attention.attend`.

    Attributes:
      content: The content term, where there are features.
      location: The location term.
      basis: Basis of the values.
      combine: Combination of content and location.
      normalize: Normalization of the logits.
      precision: Precision of the products with query, key and value.
    """

    content: Content | None
    location: Location | None
    basis: Location | None
    combine: Combine
    normalize: str
    precision: jax.lax.Precision | None


def attend(
    queries: Queries, keys: Keys, neighborhood: Neighborhood | None, terms: Terms
) -> Float[Array, "*B T H _"]:
    """Attention with all logits at once; see :func:`eqattn.attention.attend`.

    Args:
      queries: The queries.
      keys: The keys, the same for all queries.
      neighborhood: Keys that each query sees; all by default.
      terms: What is done with them.
    """
    if neighborhood is not None:
        keys = gather(keys, neighborhood)
    logits, functions = pair_terms(queries, keys, terms)
    valid, log_weights = (x[..., None, :, :] for x in per_query(keys))
    factors = None if keys.weights is None else keys.weights[..., None, :, :]
    failed = queries.failed[..., None, :, None]
    weights = normalize_logits(logits, valid, log_weights, factors, terms.normalize, failed)
    out = weighted_values(weights, functions, keys.values, terms.precision)
    return out.astype(keys.values.dtype)


def pair_terms(
    queries: Queries, keys: Keys, terms: Terms
) -> tuple[Float[Array, "*B H T K"], Float[Array, "M *B #H T K"] | None]:
    """Logits of all pairs of a block, and the basis functions where there are any."""
    batch = keys.values.shape[: -3 if keys.weights is None else -4]
    num_queries = queries.failed.shape[-1]
    shape = (*batch, keys.values.shape[-2], num_queries, keys.values.shape[-3])
    features = term_features(queries, keys, terms)
    content, location, functions = (
        None if term is None else features_of_pairs(name, term, shape)
        for name, term in zip(("content", "location", "basis"), features, strict=True)
    )
    logits = combine_logits(content, location, terms.combine)
    if logits is None:
        logits = jnp.zeros((), jnp.promote_types(keys.values.dtype, jnp.float32))
    return jnp.broadcast_to(logits, shape), functions


def features_of_pairs(name: str, term: Array, shape: tuple[int, ...]) -> Array:
    """The features of a term for all pairs, also where it is the same for some of them.

    Raises:
      ValueError: For features of another shape.
    """
    fits = term.ndim == len(shape) + 1 and all(
        n in (1, size) for n, size in zip(term.shape[1:], shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"{name} must return features with shape [F *B H T K] for logits {shape}, "
            f"got {term.shape}"
        )
    *batch, _, num_queries, num_keys = shape
    return jnp.broadcast_to(term, (term.shape[0], *batch, term.shape[-3], num_queries, num_keys))


def term_features(
    queries: Queries, keys: Keys, terms: Terms
) -> tuple[Array | None, Array | None, Array | None]:
    """Features of all pairs of a block by content, location and basis, where there are such."""
    pair = pair_blocks(queries.tokens, keys.tokens)
    content, location, functions = None, None, None
    query, key = queries.features, keys.features
    if terms.content is not None and query is not None and key is not None:
        content = terms.content(query, key, *pair, terms.precision)
    if terms.location is not None:
        location = terms.location(*pair)
    if terms.basis is not None:
        functions = terms.basis(*pair)
    return content, location, functions


def per_query(keys: Keys) -> tuple[Bool[Array, "*B #T K"], Float[Array, "*B #T K"]]:
    """Which keys are valid and their log-weights, with an axis of queries."""
    if keys.weights is not None:  # each query has keys of its own
        return keys.valid, keys.log_weights
    return keys.valid[..., None, :], keys.log_weights[..., None, :]


def normalize_logits(
    logits: Float[Array, "..."],
    valid: Bool[Array, "..."],
    log_weights: Float[Array, "..."],
    factors: Float[Array, "..."] | None,
    normalize: str,
    failed: Float[Array, "..."],
    axis: int = -1,
) -> Float[Array, "..."]:
    """Attention weights of the keys of each query.

    ======================  ==================================
    ``softmax``             ω exp(logit) / Σ ω exp(logit)
    ``mean``                ω logit / Σ ω
    ``exponential_mean``    ω exp(logit) / Σ ω
    ======================  ==================================

    ω is the factor times the exponential of the log-weight. Sums run over valid keys, which are
    that axis; without one all weights are 0. Where ``failed`` is NaN, so are all weights of the
    query. All arrays broadcast to the logits.
    """
    log_omega = jnp.where(valid, log_weights.astype(logits.dtype), 0.0)
    logits = jnp.where(valid, logits, 0.0)
    factor = jnp.where(valid, 1.0, 0.0)
    if factors is not None:
        factor = jnp.where(valid, factors.astype(logits.dtype), 0.0)
    # Relative to the largest exponent, which the quotient does not change.
    exponent = logits + log_omega if normalize == "softmax" else log_omega
    top = jnp.max(jnp.where(valid, exponent, -jnp.inf), axis, keepdims=True, initial=-jnp.inf)
    top = jax.lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0.0))
    omega = factor * jnp.exp(jnp.where(valid, exponent - top, 0.0))
    total = jnp.sum(omega, axis, keepdims=True)
    weights = omega
    if normalize != "softmax":
        weights = omega * (jnp.exp(logits) if normalize == "exponential_mean" else logits)
    return weights / (jnp.where(total > 0, total, 1.0) + failed.astype(total.dtype))


def weighted_values(
    weights: Float[Array, "*B H T K"],
    functions: Float[Array, "M *B #H T K"] | None,
    value: Float[Array, "..."],
    precision: jax.lax.Precision | None,
) -> Float[Array, "*B T H _"]:
    """Sums of values [*B K H V], or [*B T K H V], under attention weights.

    With basis functions it is one sum for each, in one product: functions first, then channels.
    The sums are float32 or wider.
    """
    keys = "tkhv" if value.ndim > weights.ndim else "khv"
    rows, sums = "htk", "thv"
    if functions is not None:
        weights = jnp.moveaxis(weights * functions, 0, -2)
        rows, sums = "htmk", "thmv"
    out = jnp.einsum(
        f"...{rows},...{keys}->...{sums}",
        weights.astype(value.dtype),
        value,
        precision=precision,
        preferred_element_type=jnp.promote_types(value.dtype, jnp.float32),
    )
    return out if functions is None else out.reshape(*out.shape[:-2], math.prod(out.shape[-2:]))

"""The dense back end: obviously right, it defines what every other back end computes."""

import math

import jax
import jax.numpy as jnp

from eqattn.attention.combine import Combine, combine_logits
from eqattn.attention.content import Content
from eqattn.attention.keys import Keys
from eqattn.attention.location import Location, TokenBlock
from eqattn.typing import Array, Bool, Float


def attend(
    query: Float[Array, "*B T H C"] | None,
    query_tokens: TokenBlock,
    key_tokens: TokenBlock,
    keys: Keys,
    content: Content | None,
    location: Location | None,
    basis: Location | None,
    *,
    shape: tuple[int, ...],
    combine: Combine,
    normalize: str,
    precision: jax.lax.Precision | None,
) -> Float[Array, "*B T H _"]:
    """Attention with all logits at once; see :func:`eqattn.attention.attend`.

    Args:
      query: features of the queries.
      query_tokens: components of the queries, [*B T 1].
      key_tokens: components of the keys, [*B 1 K] or [*B T K].
      keys: the keys.
      content: the content term, where there are features.
      location: the location term.
      basis: of the values.
      shape: of the logits, [*B H T K].
      combine: of the two.
      normalize: of the logits.
      precision: of the products with query, key and value.
    """
    terms = None, None if location is None else location(query_tokens, key_tokens)
    if content is not None and query is not None and keys.features is not None:
        terms = content(query, keys.features, query_tokens, key_tokens, precision), terms[1]
    functions = None if basis is None else basis(query_tokens, key_tokens)
    for name, term in (("content", terms[0]), ("location", terms[1]), ("basis", functions)):
        if term is not None and term.ndim != len(shape) + 1:
            raise ValueError(
                f"{name} must return features with shape [F *B H T K] for logits {shape}, "
                f"got {term.shape}"
            )
    logits = combine_logits(*terms, combine)
    if logits is None:
        logits = jnp.zeros((), jnp.promote_types(keys.values.dtype, jnp.float32))
    weights = normalize_logits(
        jnp.broadcast_to(logits, shape), keys.valid, keys.log_weights, keys.weights, normalize
    )
    return weighted_values(weights, functions, keys.values, precision)


def normalize_logits(
    logits: Float[Array, "*B H T K"],
    valid: Bool[Array, "*B #T K"],
    log_weights: Float[Array, "*B #T K"],
    factors: Float[Array, "*B T K"] | None,
    normalize: str,
) -> Float[Array, "*B H T K"]:
    """Attention weights of the keys of each query.

    ======================  ==================================
    ``softmax``             ω exp(logit) / Σ ω exp(logit)
    ``mean``                ω logit / Σ ω
    ``exponential_mean``    ω exp(logit) / Σ ω
    ======================  ==================================

    ω is the factor times the exponential of the log-weight. Sums run over valid keys; without one
    all weights are 0.
    """
    valid = valid[..., None, :, :]
    log_omega = jnp.where(valid, log_weights[..., None, :, :].astype(logits.dtype), 0.0)
    logits = jnp.where(valid, logits, 0.0)
    factor = jnp.where(valid, 1.0, 0.0)
    if factors is not None:
        factor = jnp.where(valid, factors[..., None, :, :].astype(logits.dtype), 0.0)
    # Relative to the largest exponent, which the quotient does not change.
    exponent = logits + log_omega if normalize == "softmax" else log_omega
    top = jnp.max(jnp.where(valid, exponent, -jnp.inf), axis=-1, keepdims=True, initial=-jnp.inf)
    top = jax.lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0.0))
    omega = factor * jnp.exp(jnp.where(valid, exponent - top, 0.0))
    total = jnp.sum(omega, axis=-1, keepdims=True)
    weights = omega
    if normalize != "softmax":
        weights = omega * (jnp.exp(logits) if normalize == "exponential_mean" else logits)
    return weights / jnp.where(total > 0, total, 1.0)


def weighted_values(
    weights: Float[Array, "*B H T K"],
    functions: Float[Array, "M *B #H T K"] | None,
    value: Float[Array, "..."],
    precision: jax.lax.Precision | None,
) -> Float[Array, "*B T H _"]:
    """Sums of values [*B K H V], or [*B T K H V], under attention weights.

    With basis functions it is one sum for each, in one product: functions first, then channels.
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
    ).astype(value.dtype)
    return out if functions is None else out.reshape(*out.shape[:-2], math.prod(out.shape[-2:]))

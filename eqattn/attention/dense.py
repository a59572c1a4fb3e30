"""The dense back end: obviously right, it defines what every other back end computes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from eqattn.attention.combine import combine_logits
from eqattn.attention.location import Location, TokenBlock
from eqattn.typing import Array, Bool, Float


def attend(
    query: Float[Array, "*B T H C"] | None,
    key: Float[Array, "*B K H C"] | None,
    value: Float[Array, "*B K H V"],
    query_tokens: TokenBlock,
    key_tokens: TokenBlock,
    location: Location | None,
    *,
    valid: Bool[Array, "*B K"],
    log_weights: Float[Array, "*B K"],
    combine: str | Callable[[Array, Array], Array],
    normalize: str,
    precision: jax.lax.Precision | None,
) -> Float[Array, "*B T H V"]:
    """Attention with all logits at once; arguments as in :func:`eqattn.attention.attend`."""
    content = None
    if query is not None and key is not None:
        content = content_logits(query, key, precision)
    where = None if location is None else location(query_tokens, key_tokens)
    logits = combine_logits(content, where, combine)
    if logits is None:
        num_queries = query_tokens.elements[0].shape[-1]
        shape = (*value.shape[:-3], value.shape[-2], num_queries, value.shape[-3])
        logits = jnp.zeros(shape, jnp.promote_types(value.dtype, jnp.float32))
    weights = normalize_logits(logits, valid, log_weights, normalize)
    return weighted_values(weights, value, precision)


def content_logits(
    query: Float[Array, "*B T H C"],
    key: Float[Array, "*B K H C"],
    precision: jax.lax.Precision | None,
) -> Float[Array, "*B H T K"]:
    """Dot products q·k / sqrt(C), accumulated in float32 or wider."""
    dtype = jnp.promote_types(query.dtype, jnp.float32)
    logits = jnp.einsum(
        "...thc,...khc->...htk", query, key, precision=precision, preferred_element_type=dtype
    )
    return logits / jnp.sqrt(jnp.asarray(query.shape[-1], dtype))


def normalize_logits(
    logits: Float[Array, "*B H T K"],
    valid: Bool[Array, "*B K"],
    log_weights: Float[Array, "*B K"],
    normalize: str,
) -> Float[Array, "*B H T K"]:
    """Attention weights of the keys of each query.

    ======================  ==================================
    ``softmax``             ω exp(logit) / Σ ω exp(logit)
    ``mean``                ω logit / Σ ω
    ``exponential_mean``    ω exp(logit) / Σ ω
    ======================  ==================================

    Sums run over valid keys; without one all weights are 0.
    """
    valid = valid[..., None, None, :]
    log_omega = jnp.where(valid, log_weights[..., None, None, :].astype(logits.dtype), 0.0)
    logits = jnp.where(valid, logits, 0.0)
    if normalize == "softmax":
        logits = jnp.where(valid, logits + log_omega, -jnp.inf)
        top = jnp.max(logits, axis=-1, keepdims=True, initial=-jnp.inf)
        top = jax.lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0.0))
        weights = jnp.where(valid, jnp.exp(jnp.where(valid, logits - top, 0.0)), 0.0)
        total = jnp.sum(weights, axis=-1, keepdims=True)
    else:
        # ω relative to the largest, which the quotient does not change.
        top = jnp.max(
            jnp.where(valid, log_omega, -jnp.inf), axis=-1, keepdims=True, initial=-jnp.inf
        )
        top = jax.lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0.0))
        omega = jnp.where(valid, jnp.exp(jnp.where(valid, log_omega - top, 0.0)), 0.0)
        weights = omega * (jnp.exp(logits) if normalize == "exponential_mean" else logits)
        total = jnp.sum(omega, axis=-1, keepdims=True)
    return weights / jnp.where(total > 0, total, 1.0)


def weighted_values(
    weights: Float[Array, "*B H T K"],
    value: Float[Array, "*B K H V"],
    precision: jax.lax.Precision | None,
) -> Float[Array, "*B T H V"]:
    """Sums of values under attention weights."""
    return jnp.einsum(
        "...htk,...khv->...thv",
        weights.astype(value.dtype),
        value,
        precision=precision,
        preferred_element_type=jnp.promote_types(value.dtype, jnp.float32),
    ).astype(value.dtype)

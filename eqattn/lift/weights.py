"""Quadrature weights from their logarithms."""

import jax.numpy as jnp

from eqattn.typing import Array, Bool, Float


def normalized_weights(
    log_weights: Float[Array, "*B"], mask: Bool[Array, "*#B"], axis: int | tuple[int, ...]
) -> Float[Array, "*B"]:
    """exp(log_weights) normalized over an axis and 0 where masked; all 0 where all is masked."""
    valid = mask & (log_weights != -jnp.inf)
    top = jnp.max(
        jnp.where(valid, log_weights, -jnp.inf), axis=axis, keepdims=True, initial=-jnp.inf
    )
    shift = jnp.where(jnp.isfinite(top), top, 0.0)
    weights = jnp.where(valid, jnp.exp(jnp.where(valid, log_weights - shift, 0.0)), 0.0)
    total = jnp.sum(weights, axis=axis, keepdims=True)
    return weights / jnp.where(total > 0, total, 1.0)

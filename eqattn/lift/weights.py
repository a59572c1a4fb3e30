"""Exponentials of logarithmic weights that some entries do not count in."""

import jax
import jax.numpy as jnp

from eqattn.typing import Array, Bool, Float

Axis = int | tuple[int, ...]


def masked_exp(
    x: Float[Array, "*#B"], mask: Bool[Array, "*#B"], axis: Axis
) -> tuple[Float[Array, "*B"], Float[Array, "*#B"]]:
    """exp(x - top) where valid and 0 elsewhere; and top, the largest valid entry along an axis.

    Quotients of such sums do not depend on top, through which no derivative goes. Where nothing is
    valid it is the lowest number of the type, so that sums can be merged by their tops. No infinity
    is made, which derivatives would turn to NaN.

    Args:
      x: Exponents; those that do not count may hold anything.
      mask: Marks the entries that count.
      axis: Axis, or axes, of which top is the largest entry.
    """
    lowest = jnp.finfo(x.dtype).min
    top = jnp.max(jnp.where(mask, x, lowest), axis=axis, keepdims=True, initial=lowest)
    top = jax.lax.stop_gradient(top)
    return jnp.where(mask, jnp.exp(jnp.where(mask, x - top, 0.0)), 0.0), top


def normalized_weights(
    log_weights: Float[Array, "*B"], mask: Bool[Array, "*#B"], axis: Axis
) -> Float[Array, "*B"]:
    """exp(log_weights) normalized over an axis and 0 where masked; all 0 where all is masked."""
    weights, _ = masked_exp(log_weights, mask & (log_weights != -jnp.inf), axis)
    return weights / positive(jnp.sum(weights, axis=axis, keepdims=True))


def log_sum_exp(x: Float[Array, "*#B"], mask: Bool[Array, "*B"]) -> Float[Array, "..."]:
    """Logarithm of Σ exp(x) over valid entries of the last axis; 0 without any."""
    exps, top = masked_exp(x, mask, -1)
    total = jnp.sum(exps, axis=-1)
    return jnp.where(total == 0, 0.0, top[..., 0] + jnp.log(positive(total)))


def positive(total: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """A sum of weights that can be divided by: 1 where there is none, and NaN where it is NaN."""
    return jnp.where(total <= 0, 1.0, total)

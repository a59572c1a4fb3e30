"""What is done for XLA's CPU back end alone; on other devices these are the plain operations.

Its fusions compute again what several results need, and know neither threads nor vectors for some
sums. Each function here keeps one of them apart, with the same result and derivatives.
"""

import functools

import jax
import jax.numpy as jnp

from eqattn.typing import Array, Float

NUM_ONES = 8
"""Columns of ones, all alike; with a single one, XLA fuses the product as it does the sum."""


def is_cpu() -> bool:
    """Whether programs run on a CPU by default."""
    return jax.default_backend() == "cpu"


def spread(parameter: Float[Array, " C"], num_rows: int) -> Float[Array, "R C"]:
    """Copies of a parameter, one for each row, whose gradient is summed as a product with ones.

    The sum of a gradient over rows XLA's CPU back end fuses with all that makes its terms: it is
    then computed without vectors, and all of the backward pass above it is computed again.

    Args:
      parameter: Parameter added to, or multiplied with, rows of channels.
      num_rows: Number of rows R.
    """
    return _spread(parameter, num_rows) if is_cpu() else _copies(parameter, num_rows)


def computed_once(x: Float[Array, "*B C"]) -> Float[Array, "*B C"]:
    """x, behind a product that the compiler does not look through.

    XLA's CPU back end would fuse sines and cosines into what uses them, and compute them for each
    head and each of query, key, value and result again: 32 times of what they take.
    """
    if not is_cpu():
        return x
    return jnp.matmul(x, jnp.eye(x.shape[-1], dtype=x.dtype), precision=jax.lax.Precision.HIGHEST)


def _copies(parameter: Array, num_rows: int) -> Array:
    return jnp.broadcast_to(parameter, (num_rows, *parameter.shape))


_spread = functools.partial(jax.custom_jvp, nondiff_argnums=(1,))(_copies)


@_spread.defjvp
def _spread_jvp(
    num_rows: int, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    (slope,) = tangents
    ones = jnp.full((num_rows, NUM_ONES), 1 / NUM_ONES, slope.dtype)
    copies = jnp.broadcast_to(slope, (NUM_ONES, *slope.shape))
    product = jnp.matmul(ones, copies, precision=jax.lax.Precision.HIGHEST)
    return _spread(*primals, num_rows), product

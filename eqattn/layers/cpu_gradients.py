"""Parameters added to, or multiplied with, rows of channels."""

import functools

import jax
import jax.numpy as jnp

from eqattn.typing import Array, Float

NUM_ONES = 8
"""Columns of ones, all alike; with a single one, XLA fuses the product as it does the sum."""


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def spread(parameter: Float[Array, " C"], num_rows: int) -> Float[Array, "R C"]:
    """Copies of a parameter, one for each row, whose gradient is summed as a product with ones.

    The sum of a gradient over rows XLA's CPU back end fuses with all that makes its terms: it is
    then computed without vectors, and all of the backward pass above it is computed again.
    """
    return jnp.broadcast_to(parameter, (num_rows, *parameter.shape))


@spread.defjvp
def _spread_jvp(
    num_rows: int, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    (slope,) = tangents
    ones = jnp.full((num_rows, NUM_ONES), 1 / NUM_ONES, slope.dtype)
    copies = jnp.broadcast_to(slope, (NUM_ONES, *slope.shape))
    product = jnp.matmul(ones, copies, precision=jax.lax.Precision.HIGHEST)
    return spread(*primals, num_rows), product

"""The linear map of every layer."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.custom_derivatives import SymbolicZero

from eqattn.typing import Array, Float

NUM_ONES = 8
"""Rows of ones, all alike; with a single one, XLA fuses the product as it does the sum."""


class Linear(nnx.Linear):
    """``flax.nnx.Linear``: the same map and parameters, made for derivatives on CPU.

    XLA's CPU back end sums the gradients of kernel and bias over rows. Of more than one leading
    axis it would write transposed copies of both factors for the kernel's, so that there is one
    axis of rows here. The sum for the bias it would fuse with all that makes its terms, without
    vectors, and again in the gradient of every layer below; as a product with ones it is fast.
    """

    def __call__(self, inputs: Float[Array, "*B C"]) -> Float[Array, "*B _"]:
        """Applies the map along the last axis."""
        rows = inputs.reshape(math.prod(inputs.shape[:-1]), inputs.shape[-1])
        bias = None if self.bias is None else self.bias[...]
        rows, kernel, bias = self.promote_dtype((rows, self.kernel[...], bias), dtype=self.dtype)
        out = jnp.matmul(rows, kernel, precision=self.precision)
        out = out if bias is None else _add_bias(out, bias)
        return out.reshape(*inputs.shape[:-1], self.out_features)


@jax.custom_jvp
def _add_bias(rows: Float[Array, "R C"], bias: Float[Array, " C"]) -> Float[Array, "R C"]:
    return rows + bias


def _add_bias_jvp(primals: tuple[Array, Array], tangents: tuple[Any, Any]) -> tuple[Array, Any]:
    """The same sum, with a product in place of the broadcast, whose transpose is then one too."""
    rows, _ = primals
    slope, bias_slope = tangents
    if not isinstance(bias_slope, SymbolicZero):
        ones = jnp.full((rows.shape[0], NUM_ONES), 1 / NUM_ONES, rows.dtype)
        copies = jnp.broadcast_to(bias_slope, (NUM_ONES, *bias_slope.shape))
        from_bias = jnp.matmul(ones, copies, precision=jax.lax.Precision.HIGHEST)
        slope = from_bias if isinstance(slope, SymbolicZero) else slope + from_bias
    return _add_bias(*primals), slope


_add_bias.defjvp(_add_bias_jvp, symbolic_zeros=True)

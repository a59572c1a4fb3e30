"""The layer norm of residual blocks."""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from eqattn.cpu import spread
from eqattn.sharding import on_any_mesh
from eqattn.typing import Array, DType, Float

EPSILON = 1e-5


class LayerNorm(nnx.LayerNorm):
    """``flax.nnx.LayerNorm`` along the last axis: the same map and parameters, with epsilon 1e-5.

    It is made for derivatives on CPU, as :class:`eqattn.layers.linear.Linear` is.

    Args:
      dim: Channels.
      param_dtype: Data type of the parameters; the norm computes in float32 or wider.
      rngs: Random streams of the initial values.
    """

    def __init__(self, dim: int, *, param_dtype: DType = float, rngs: nnx.Rngs):
        super().__init__(dim, epsilon=EPSILON, param_dtype=param_dtype, rngs=rngs)

    @on_any_mesh("x", 1)
    def __call__(self, x: Float[Array, "*B C"]) -> Float[Array, "*B C"]:
        """The normalized rows, in the wider of their type and float32."""
        rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
        rows = rows.astype(jnp.promote_types(x.dtype, jnp.float32))
        centered = rows - jnp.mean(rows, axis=-1, keepdims=True)
        variance = jnp.mean(centered**2, axis=-1, keepdims=True)
        normal = centered * jax.lax.rsqrt(variance + self.epsilon)
        scale, bias = (
            spread(parameter[...].astype(rows.dtype), rows.shape[0])
            for parameter in (self.scale, self.bias)
            if parameter is not None  # which only Flax's own norm may be without
        )
        return (normal * scale + bias).reshape(x.shape)

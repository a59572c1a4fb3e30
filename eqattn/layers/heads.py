"""Heads: from pooled features to outputs."""

import jax
from flax import nnx

from eqattn.activations import activation_fn
from eqattn.checks import check_sizes
from eqattn.layers.linear import Linear
from eqattn.typing import Activation, Array, DType, Float


class Head(nnx.Module):
    """Activation and linear map, repeated: act, Linear, act, Linear, act, Linear for depth 3.

    Args:
      dim: Channels in, and between the linear maps.
      out_features: Channels out.
      depth: Number of linear maps, at least 1.
      activation: Activation function, or its name in ``jax.nn``.
      dtype: Data type of the products.
      param_dtype: Data type of the parameters.
      precision: Precision of the products.
      rngs: Random streams of the initial values.

    Raises:
      TypeError: For a size that is not an integer.
      ValueError: For a size below 1.
    """

    def __init__(
        self,
        dim: int,
        out_features: int,
        *,
        depth: int = 3,
        activation: Activation = "swish",
        dtype: DType | None = None,
        param_dtype: DType = float,
        precision: jax.lax.Precision | None = None,
        rngs: nnx.Rngs,
    ):
        check_sizes({"dim": dim, "out_features": out_features, "depth": depth})
        self.activation = activation
        widths = (dim,) * (depth - 1) + (out_features,)
        self.linears = nnx.List(
            [
                Linear(dim, w, dtype=dtype, param_dtype=param_dtype, precision=precision, rngs=rngs)
                for w in widths
            ]
        )

    def __call__(self, x: Float[Array, "*B C"]) -> Float[Array, "*B O"]:
        """Applies the head along the last axis."""
        for linear in self.linears:
            x = linear(activation_fn(self.activation)(x))
        return x

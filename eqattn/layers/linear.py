"""The linear map of every layer."""

import math

from flax import nnx

from eqattn.typing import Array, Float


class Linear(nnx.Linear):
    """``flax.nnx.Linear`` of one axis of rows: the same map and parameters, made for derivatives.

    The gradient of the kernel sums over all leading axes. Where there are more than one, XLA's CPU
    back end first writes transposed copies of both factors; of one axis of rows it makes none.
    """

    def __call__(self, inputs: Float[Array, "*B C"]) -> Float[Array, "*B _"]:
        """Applies the map along the last axis."""
        rows = inputs.reshape(math.prod(inputs.shape[:-1]), inputs.shape[-1])
        return super().__call__(rows).reshape(*inputs.shape[:-1], self.out_features)

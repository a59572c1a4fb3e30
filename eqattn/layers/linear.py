"""The linear map of every layer."""

import math
from collections.abc import Callable
from typing import Any

from flax import nnx

from eqattn.cpu import spread
from eqattn.initial import lecun_normal
from eqattn.sharding import on_any_mesh
from eqattn.typing import Array, Float


class Linear(nnx.Linear):
    """``flax.nnx.Linear``: the same map and parameters, made for derivatives on CPU.

    The gradient of the kernel sums over all leading axes. Where there are more than one, XLA's CPU
    back end first writes transposed copies of both factors, so that here they are one axis of rows.
    For the gradient of the bias see :func:`eqattn.cpu.spread`.

    Args:
      in_features: Channels of the input.
      out_features: Channels of the output.
      kernel_init: Initial values of the kernel, from key, shape and data type.
      **options: Other arguments of ``flax.nnx.Linear``.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        kernel_init: Callable[..., Array] = lecun_normal,
        **options: Any,
    ):
        super().__init__(in_features, out_features, kernel_init=kernel_init, **options)

    @on_any_mesh("inputs", 1)
    def __call__(self, inputs: Float[Array, "*B C"]) -> Float[Array, "*B _"]:
        """Applies the map along the last axis."""
        rows = inputs.reshape(math.prod(inputs.shape[:-1]), inputs.shape[-1])
        bias = None if self.bias is None else self.bias[...]
        rows, kernel, bias = self.promote_dtype((rows, self.kernel[...], bias), dtype=self.dtype)
        options: dict[str, Any] = {"precision": self.precision}
        if self.preferred_element_type is not None:
            options["preferred_element_type"] = self.preferred_element_type
        out = self.dot_general(rows, kernel, (((1,), (0,)), ((), ())), **options)
        out = out if bias is None else out + spread(bias, rows.shape[0])
        return out.reshape(*inputs.shape[:-1], self.out_features)

"""Array types and the library's one code of dimension letters.

========  =====================================================
letter    meaning
========  =====================================================
``*B``    any number of leading batch axes
``N``     points of one example
``S``     lift samples of one point
``T``     query tokens (``T = N * S``, point-major)
``K``     key tokens (the same order)
``H``     attention heads
``C``     channels
``D``     dimension of the space the points live in
``A``     dimension of the Lie algebra
``E``     components of a stored group element
``Q``     orbit invariants of a point
``#X``    the axis ``X``, or 1
========  =====================================================

Shapes stand in signatures, and are checked in every test run.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

import jax
from jaxtyping import Array, Bool, Float, Int, Key

Components: TypeAlias = tuple[jax.Array, ...]
"""Equally shaped (or broadcastable) arrays, one for each component of an element or a vector."""

DType: TypeAlias = jax.typing.DTypeLike

ActivationName: TypeAlias = Literal[
    "celu", "elu", "gelu", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "leaky_relu",
    "log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_sign", "softplus",
    "squareplus", "swish", "tanh",
]  # fmt: skip
"""Names of activation functions, as in ``jax.nn``."""

Activation: TypeAlias = str | Callable[[jax.Array], jax.Array]
"""An activation function, or the name of one."""

__all__ = [
    "Activation",
    "ActivationName",
    "Array",
    "Bool",
    "Components",
    "DType",
    "Float",
    "Int",
    "Key",
]

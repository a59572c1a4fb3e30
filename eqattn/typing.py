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

from typing import TypeAlias

import jax
from jaxtyping import Array, Bool, Float, Int, Key

Components: TypeAlias = tuple[jax.Array, ...]
"""Equally shaped (or broadcastable) arrays, one for each component of an element or a vector."""

DType: TypeAlias = jax.typing.DTypeLike

__all__ = ["Array", "Bool", "Components", "DType", "Float", "Int", "Key"]

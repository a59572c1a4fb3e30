"""Random numbers of initial parameters: those of ``jax.random``, from few programs.

A program that draws numbers takes XLA longer than all else that makes a layer, and each shape has
its own. Numbers of the default generator depend on the key and their place alone. So the first of
more numbers than are asked for are the same, and a few sizes are enough for all parameters.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from eqattn.typing import Array, DType, Float, Key

MIN_SIZE, RATIO = 256, 4
"""Sizes of programs: the least, and what each is of the one before."""
_STANDARD_DEVIATION = 0.87962566103423978
"""That of a standard normal number that is cut at ±2."""


def uniform(
    key: Key[Array, ""], shape: tuple[int, ...], dtype: DType, low: float, high: float
) -> Float[Array, "..."]:
    """The numbers of :func:`jax.random.uniform`.

    Args:
      key: Random key.
      shape: Shape of the result.
      dtype: Data type of the result.
      low: Least value.
      high: Bound of the values, which none reaches.
    """
    draw = functools.partial(jax.random.uniform, key, dtype=dtype, minval=low, maxval=high)
    return _first(lambda size: draw(shape=size), key, shape)


def lecun_normal(
    key: Key[Array, ""], shape: tuple[int, int], dtype: DType = float, out_sharding: Any = None
) -> Float[Array, "I O"]:
    """The numbers of ``jax.nn.initializers.lecun_normal()``: flax's for the kernel of a linear map.

    Args:
      key: Random key.
      shape: Sizes of the input and of the output.
      dtype: Data type of the result.
      out_sharding: How the result is spread over devices.
    """
    if out_sharding is not None:
        return jax.nn.initializers.lecun_normal()(key, shape, dtype, out_sharding=out_sharding)
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    variance = np.asarray(1 / max(shape[0], 1), dtype)
    scale = np.sqrt(variance) / np.asarray(_STANDARD_DEVIATION, dtype)
    draw = functools.partial(jax.random.truncated_normal, key, -2, 2, dtype=dtype)
    return _first(lambda size: draw(shape=size), key, shape, scale)


def _first(
    draw: Callable[[tuple[int, ...]], Array],
    key: Key[Array, ""],
    shape: tuple[int, ...],
    scale: Any = 1,
) -> Array:
    """What ``draw`` gives for a shape, scaled; if that is the same, the first of a longer row."""
    config: Any = jax.config
    if not (config.jax_threefry_partitionable and _is_threefry(key)):
        return draw(shape) * scale
    size, padded = math.prod(shape), MIN_SIZE
    while padded < size:
        padded *= RATIO
    row = draw((padded,))
    if isinstance(row, Tracer):  # within a program, which is compiled as one anyway
        return draw(shape) * scale
    return jax.device_put(jax.device_get(row)[:size].reshape(shape) * scale)


def _is_threefry(key: Key[Array, ""]) -> bool:
    return str(jax.random.key_impl(key)) == "threefry2x32"

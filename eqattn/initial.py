"""Random numbers of initial parameters: those of ``jax.random``, from few programs.

A program that draws numbers takes XLA longer than all else that makes a layer, and each shape has
its own. Numbers of the default generator depend on the key and their place alone. So the first of
more numbers than are asked for are the same, and a few sizes are enough for all parameters.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
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
    return _first(lambda size: jax.random.uniform(key, size, dtype, low, high), key, shape)


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
    numbers = _first(lambda size: jax.random.truncated_normal(key, -2, 2, size, dtype), key, shape)
    variance = np.asarray(1 / max(shape[0], 1), numbers.dtype)
    return numbers * (np.sqrt(variance) / np.asarray(_STANDARD_DEVIATION, numbers.dtype))


def _first(
    draw: Callable[[tuple[int, ...]], Array], key: Key[Array, ""], shape: tuple[int, ...]
) -> Array:
    """What ``draw`` gives for a shape; by the default generator as the first of a longer row."""
    config: Any = jax.config
    is_default = config.jax_threefry_partitionable and _is_threefry(key)
    if isinstance(key, Tracer) or not is_default:
        return draw(shape)
    size = math.prod(shape)
    padded = MIN_SIZE
    while padded < size:
        padded *= RATIO
    return jnp.asarray(np.asarray(draw((padded,)))[:size].reshape(shape))


def _is_threefry(key: Key[Array, ""]) -> bool:
    return str(jax.random.key_impl(key)) == "threefry2x32"

"""Checks of arguments: one clear error that names the argument and what it was."""

import numbers
from collections.abc import Mapping
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np


def check_option(name: str, value: Any, options: Any) -> None:
    """Raises a ValueError unless the value is one of a ``Literal``.

    Args:
      name: Name of the argument.
      value: What was given.
      options: The ``Literal`` of what may be given.
    """
    allowed = get_args(options)
    if value not in allowed:
        raise ValueError(f"{name} must be one of {allowed}, got {value!r}")


def check_sizes(sizes: Mapping[str, int], minimum: int = 1) -> None:
    """Raises an error for the first of the named sizes that cannot be one.

    Args:
      sizes: Values by the name of the argument.
      minimum: Smallest value that is allowed.

    Raises:
      TypeError: For one that is not an integer; True and False are none.
      ValueError: For one below the minimum.
    """
    for name, size in sizes.items():
        if not isinstance(size, numbers.Integral) or isinstance(size, bool):
            raise TypeError(f"{name} must be an integer, got {size!r}")
        if size < minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {size}")


def check_numbers(values: Mapping[str, float]) -> None:
    """Raises a TypeError for the first of the named values that is not a real number.

    Args:
      values: Values by the name of the argument; True and False are no numbers.
    """
    for name, value in values.items():
        if not isinstance(value, numbers.Real) or isinstance(value, bool):
            raise TypeError(f"{name} must be a real number, got {value!r}")


def check_flags(values: Mapping[str, bool]) -> None:
    """Raises a TypeError for the first of the named values that is neither True nor False.

    Args:
      values: Values by the name of the argument; numbers and strings are no flags.
    """
    for name, value in values.items():
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{name} must be True or False, got {value!r}")


def check_real(name: str, array: Any) -> None:
    """Raises a TypeError for an array of complex numbers, whose imaginary parts a cast would drop.

    Args:
      name: Name of the argument.
      array: What was given, such as an array or nested lists.
    """
    dtype = jnp.result_type(array) if hasattr(array, "dtype") else np.asarray(array).dtype
    if jnp.issubdtype(dtype, jnp.complexfloating):
        raise TypeError(f"{name} must be real, got {dtype}")


def check_mask(mask: Any, shape: tuple[int, ...]) -> None:
    """Raises a ValueError unless a mask is boolean, of the shape of the points; numbers are none.

    Args:
      mask: What was given; None for no mask.
      shape: Shape of the points, without their coordinates.
    """
    if mask is None:
        return
    if mask.dtype != bool:
        raise ValueError(f"mask must be boolean, got {mask.dtype}")
    if mask.shape != shape:
        raise ValueError(f"mask must have shape {shape}, got {mask.shape}")


def check_instance(name: str, value: Any, kinds: Any) -> None:
    """Raises a TypeError unless the value is an instance of a class, or of one of a union.

    Args:
      name: Name of the argument.
      value: What was given.
      kinds: The class, or the union; None may be one of a union.
    """
    if isinstance(value, kinds):
        return
    allowed = get_args(kinds) or (kinds,)
    *names, last = ("None" if kind is type(None) else kind.__name__ for kind in allowed)
    choice = f"{', '.join(names)} or {last}" if names else last
    # Of an array, every number would be printed.
    is_array = hasattr(value, "shape") and hasattr(value, "dtype")
    given = f"an array of {value.dtype} of shape {value.shape}" if is_array else repr(value)
    raise TypeError(f"{name} must be a {choice}, got {given}")


def check_features(features: Any, num_channels: int) -> None:
    """Raises an error unless features are an array of that many channels.

    Args:
      features: What was given.
      num_channels: Number of channels that is expected.

    Raises:
      TypeError: For None.
      ValueError: For another number of channels.
    """
    if features is None:
        raise TypeError("features must be an array [*B N C], got None")
    features = jnp.asarray(features)
    if features.shape[-1:] != (num_channels,):
        hint = ""
        if jnp.issubdtype(features.dtype, jnp.integer):
            hint = "; for integers such as species see jax.nn.one_hot"
        raise ValueError(
            f"features must have {num_channels} channels, got shape {features.shape}{hint}"
        )


def install_hint(extra: str) -> str:
    """Says how what an extra of this package needs is installed, wherever the package came from.

    Args:
      extra: Name of the extra in ``pyproject.toml``.
    """
    return f"pip install -e '.[{extra}]' in the folder of eqattn, or require eqattn[{extra}]"


def check_key(key: Any) -> None:
    """Raises unless the argument ``key`` is None or one key, as ``jax.random.key`` makes it.

    Integers, and arrays of integers as ``jax.random.PRNGKey`` makes them, are not: of those, a
    batch cannot be told from one key.

    Args:
      key: What was given.

    Raises:
      TypeError: For anything else.
      ValueError: For an array of keys.
    """
    if key is None:
        return
    if not isinstance(key, jax.Array) or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        shape = getattr(key, "shape", None)
        given = repr(key) if shape is None else f"an array of {key.dtype} of shape {shape}"
        raise TypeError(f"key must be made by jax.random.key, got {given}")
    if key.shape:
        raise ValueError(f"key must be one key, got an array of keys of shape {key.shape}")

"""Checks of arguments: one clear error that names the argument and what it was."""

from collections.abc import Mapping
from typing import Any, get_args


def check_option(name: str, value: Any, options: Any) -> None:
    """Raises a ValueError unless the value is one of a ``Literal``.

    Args:
      name: of the argument.
      value: what was given.
      options: the ``Literal`` of what may be given.
    """
    allowed = get_args(options)
    if value not in allowed:
        raise ValueError(f"{name} must be one of {allowed}, got {value!r}")


def check_sizes(sizes: Mapping[str, int], minimum: int = 1) -> None:
    """Raises a ValueError for the first of the named sizes that is below the minimum."""
    for name, size in sizes.items():
        if size < minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {size}")

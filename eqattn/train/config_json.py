"""Configuration dataclasses as JSON, and back, with every mistake named."""

from __future__ import annotations

import dataclasses
import math
import reprlib
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING
from typing import Any, TypeVar

__all__ = ["from_json", "to_json"]

Config = TypeVar("Config")

_TOO_LARGE = 10**308


def to_json(config: Any) -> dict[str, Any]:
    """Returns a configuration dataclass as nested dictionaries and lists.

    Example:
        >>> from eqattn.config import OptimizerConfig
        >>> to_json(OptimizerConfig())["warmup_steps"]
        100

    Args:
        config: An instance of a dataclass of :mod:`eqattn.config`.
    """
    return dataclasses.asdict(
        config, dict_factory=lambda items: {name: _plain(value) for name, value in items}
    )


def from_json(cls: type[Config], data: Any, where: str = "config") -> Config:
    """Returns the configuration that :func:`to_json` wrote; fields left out keep their defaults.

    Args:
        cls: A dataclass of :mod:`eqattn.config`.
        data: What the JSON text held.
        where: What to call it in messages.

    Raises:
        TypeError: If a value is of another type than its field.
        ValueError: If a name is unknown, a value is not one of a field's choices, or a number is
            not finite or too large.
    """
    return _convert(cls, data, where)


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _convert(expected: Any, value: Any, where: str) -> Any:
    """Returns ``value`` as the annotated type, or raises with the place named."""
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if dataclasses.is_dataclass(expected):
        return _convert_dataclass(expected, value, where)
    if origin is types.UnionType:  # with None, the only one there is
        return None if value is None else _convert(arguments[0], value, where)
    if origin is typing.Literal:
        if value not in arguments:
            raise ValueError(f"{where} must be one of {', '.join(arguments)}, got {_shown(value)}.")
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return {k: _convert(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if expected is float and isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value) if abs(value) < _TOO_LARGE else math.inf
        if not math.isfinite(number):
            raise ValueError(f"{where} must be a finite number, got {_shown(value)}.")
        return number
    if expected is int and type(value) is int and abs(value) >= 2**63:
        raise ValueError(f"{where} must be less than 2**63, got {_shown(value)}.")
    if isinstance(expected, type) and type(value) is expected:
        return value
    raise TypeError(f"{where} must be {_describe(expected)}, got {_shown(value)}.")


def _convert_dataclass(cls: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise TypeError(f"{where} must be an object, got {_shown(value)}.")
    types_by_name = typing.get_type_hints(cls)
    known = {field.name for field in dataclasses.fields(cls)}
    for name in value:
        if name not in known:
            raise ValueError(f"{where}.{name} is unknown.")
    for field in dataclasses.fields(cls):
        has_default = field.default is not MISSING or field.default_factory is not MISSING
        if field.name not in value and not has_default:
            raise ValueError(f"{where} lacks {field.name!r}.")
    return cls(**{k: _convert(types_by_name[k], v, f"{where}.{k}") for k, v in value.items()})


def _shown(value: Any) -> str:
    return reprlib.repr(value)  # shortened: a message is one line


def _describe(expected: Any) -> str:
    names = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}
    if typing.get_origin(expected) in (tuple, dict, types.GenericAlias):
        return "a list" if typing.get_origin(expected) is tuple else "an object"
    return names.get(expected, str(expected))

"""Configuration dataclasses as JSON, and back, with every mistake named."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from eqattn.models import ModelConfig
from eqattn.specification import Named, convert

__all__ = ["from_json", "to_json"]

Config = TypeVar("Config")


def to_json(config: Any) -> Any:
    """Returns a configuration dataclass as nested dictionaries and lists.

    Specifications become their full text, but models stay open: ``{"class": …, "dim": …}``.

    Example:
      >>> from eqattn.config import OptimizerConfig
      >>> to_json(OptimizerConfig())["warmup_steps"]
      100

    Args:
      config: An instance of a dataclass, such as those of :mod:`eqattn.config`.

    Raises:
      ValueError: For a function in place of a name, which no file can hold.
    """
    if isinstance(config, Named) and not isinstance(config, ModelConfig):
        return config.full_text()
    if dataclasses.is_dataclass(config):
        names = [field.name for field in dataclasses.fields(config)]
        body = {name: to_json(getattr(config, name)) for name in names}
        return {"class": type(config).__name__, **body} if isinstance(config, Named) else body
    if isinstance(config, Mapping):
        return {name: to_json(value) for name, value in config.items()}
    if isinstance(config, tuple | list):
        return [to_json(value) for value in config]
    if callable(config):
        raise ValueError(
            f"activation must be a name of jax.nn to be saved, got {config!r}; a model with "
            "another function can be used, and its parameters kept with orbax."
        )
    return config


def from_json(cls: type[Config], data: Any, where: str = "config") -> Config:
    """Returns the configuration that :func:`to_json` wrote; fields left out keep their defaults.

    Args:
      cls: A dataclass, such as those of :mod:`eqattn.config`.
      data: What the JSON text held.
      where: What to call it in messages.

    Raises:
      TypeError: If a value is of another type than its field.
      ValueError: If a name is unknown, a value is not one of a field's choices, or a number is
        not finite or too large.
    """
    return convert(cls, data, where)

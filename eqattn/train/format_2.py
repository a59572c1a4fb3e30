"""Configurations of format 2, where all frames of an example saw each other.

Then ``Frames`` had no choice of pairs, and was what ``Frames(pairs="across")`` is now.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from eqattn.lift import Frames
from eqattn.specification import convert

__all__ = ["from_format_2"]


def from_format_2(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the entries of a ``config.json`` of format 2 as those of today.

    Args:
      content: Entries of the file but for the format.

    Raises:
      TypeError: If a value of ``Frames`` is of a wrong type.
      ValueError: If there is an unknown name or value of ``Frames``.
    """
    return {name: _converted(value, name) for name, value in content.items()}


def _converted(value: Any, where: str) -> Any:
    """An entry, with the lift of every network in it as it was meant."""
    if not isinstance(value, Mapping):
        return value
    return {
        name: _across(inner, f"{where}.{name}")
        if name == "lift"
        else _converted(inner, f"{where}.{name}")
        for name, inner in value.items()
    }


def _across(lift: Any, where: str) -> Any:
    """The lift, which is written as a text or an object; others than ``Frames`` are the same."""
    name = lift.get("class") if isinstance(lift, Mapping) else str(lift).partition("(")[0].strip()
    if name != Frames.__name__:
        return lift
    return dataclasses.replace(convert(Frames, lift, where), pairs="across").full_text()

"""Options that are specifications: set as a whole by their text, or field by field.

``--model.lift 'Haar(num_samples=4)'`` sets one as a whole, ``--model.lift.num-samples 8`` one value
of it. What is set as a whole counts first, wherever it stands.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import tyro

from eqattn.cli.errors import UsageError
from eqattn.groups import LieGroup
from eqattn.spaces import Space
from eqattn.specification import Named, convert, names_of
from eqattn.typing import Activation

__all__ = ["REGISTRY", "describe_choices", "take_choices"]

Config = TypeVar("Config")

REGISTRY = tyro.constructors.ConstructorRegistry()


@REGISTRY.primitive_rule
def _one_word(info: tyro.constructors.PrimitiveTypeInfo) -> Any:
    """How tyro reads what is one word: a space or group, and an activation."""
    is_space = isinstance(info.type, type) and issubclass(info.type, Space | LieGroup)
    if not is_space and info.type != Activation:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="SPACE" if is_space else "NAME",
        instance_from_str=lambda words: convert(info.type, words[0], "value"),
        is_instance=lambda value: isinstance(value, Space | LieGroup | str),
        str_from_instance=lambda value: [str(value)],
    )


def _choices(config: Any, prefix: str = "--") -> Iterator[tuple[str, Any, Any]]:
    """The flag, the annotation and the value of each specification inside a dataclass."""
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        hint, value = hints[field.name], getattr(config, field.name)
        flag = prefix + field.name.replace("_", "-")
        if _kind(hint) is not None:
            yield flag, hint, value
        if dataclasses.is_dataclass(value) and not isinstance(value, Space | LieGroup):
            yield from _choices(value, f"{flag}.")


def _kind(hint: Any) -> type | None:
    """The class of specifications that an annotation allows, if it allows any."""
    kinds = (kind for kind in (hint, *typing.get_args(hint)) if isinstance(kind, type))
    return next((kind for kind in kinds if issubclass(kind, Named)), None)


def describe_choices(config: Any) -> str:
    """What can be set as a whole, for a help text: each flag, its value, and what else there is.

    Args:
      config: The dataclass of the options.
    """
    lines = ["What is set as a whole, as --model.lift 'Haar(num_samples=4)':"]
    for flag, hint, value in _choices(config):
        kind = _kind(hint)
        names = names_of(kind) if kind is not None else []
        names += ["None"] if type(None) in typing.get_args(hint) else []
        lines += [f"  {flag} (default: {value})", f"      one of {', '.join(names)}"]
    return "\n".join(lines)


def take_choices(config: Config, arguments: list[str]) -> tuple[Config, list[str]]:
    """Returns a dataclass with what words set as a whole, and the words that are left.

    Args:
      config: The dataclass of the options.
      arguments: Words of a command line.

    Raises:
      TypeError: For a value of another type than its field.
      UsageError: If an option has no value, or is given twice.
      ValueError: If a text is no such specification.
    """
    taken: set[str] = set()
    while True:
        hints = {flag: hint for flag, hint, _ in _choices(config)}
        places = {
            index: flag
            for index, word in enumerate(arguments)
            if (flag := word.partition("=")[0].replace("_", "-")) in hints
        }
        if not places:
            return config, arguments
        # Together what is of the same dataclass: one may fit the new value of another only.
        outer = min(places.values(), key=lambda flag: flag.count(".")).rpartition(".")[0]
        changes: dict[str, Any] = {}
        used: set[int] = set()
        for index, flag in places.items():
            parent, _, name = flag.removeprefix("--").rpartition(".")
            if parent != outer.removeprefix("--"):
                continue
            text, used_here = _value(arguments, index)
            if flag in taken or not text:
                problem = "must be given once" if flag in taken else "needs a value"
                raise UsageError(f"{flag} {problem}.")
            taken.add(flag)
            used |= used_here
            value = convert(hints[flag], None if text == "None" else text, flag)
            changes[name.replace("-", "_")] = value
        arguments = [word for index, word in enumerate(arguments) if index not in used]
        path = outer.removeprefix("--").replace("-", "_")
        config = _replaced(config, path.split(".") if path else [], changes)


def _value(arguments: list[str], index: int) -> tuple[str, set[int]]:
    """The value of the flag at a place, "" for none, and the places of both."""
    _, equals, text = arguments[index].partition("=")
    if equals:
        return text, {index}
    following = "".join(arguments[index + 1 : index + 2])
    return ("" if following.startswith("--") else following), {index, index + 1}


def _replaced(config: Any, path: list[str], changes: Mapping[str, Any]) -> Any:
    if path:
        first, *rest = path
        changes = {first: _replaced(getattr(config, first), rest, changes)}
    return dataclasses.replace(config, **changes)

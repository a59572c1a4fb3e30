"""From the words of a command line to the dataclass that describes a command."""

from __future__ import annotations

import contextlib
import io
from typing import Any, TypeVar

import tyro

from eqattn.cli.choices import REGISTRY, describe_choices, take_choices
from eqattn.cli.errors import UsageError

__all__ = ["first_paragraph", "parse", "value_of"]

Arguments = TypeVar("Arguments")


def parse(
    kind: type[Arguments],
    command: str,
    arguments: list[str],
    default: Arguments | None = None,
    topic: str = "",
) -> Arguments:
    """Returns the parsed arguments; what tyro says in a box is reduced to its first paragraph.

    Args:
      kind: The dataclass of the command.
      command: Name of the command.
      arguments: The words after it.
      default: Values of the fields that no word names.
      topic: First of the words, where the help depends on it.

    Raises:
      SystemExit: After the help was printed.
      UsageError: If the words cannot be understood.
    """
    errors = io.StringIO()
    options: dict[str, Any] = {}
    if default is not None:
        default, arguments = take_choices(default, arguments)
        options = {"default": default}
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(
                kind,
                prog=f"eqattn {command}",
                args=arguments,
                config=(tyro.conf.AvoidSubcommands,),
                registry=REGISTRY,
                **options,
            )
    except SystemExit as stop:
        if not stop.code:
            if default is not None:
                print(describe_choices(default))
            raise
        message = first_paragraph(errors.getvalue())
        asked = " ".join(word for word in (command, topic) if word)
        raise UsageError(f"{message} (see eqattn {asked} --help)") from None


def first_paragraph(box: str) -> str:
    """Returns the text of a drawn box up to its first ruler, on one line."""
    lines: list[str] = []
    for line in box.splitlines()[1:]:
        text = line.strip("│| \t")  # tyro draws with ASCII where the terminal has nothing else
        if not text or set(text) <= set("─╰╯+-"):
            break
        lines.append(text)
    return " ".join(lines) or " ".join(box.split())


def value_of(flag: str, arguments: list[str]) -> str | None:
    """Returns the value of a flag that decides how the others are parsed; None without one.

    Raises:
      UsageError: If the flag is given more than once.
    """
    places = [i for i, word in enumerate(arguments) if word.partition("=")[0] == flag]
    if len(places) > 1:
        raise UsageError(f"{flag} must be given once, got it {len(places)} times.")
    for place in places:
        _, equals, value = arguments[place].partition("=")
        if equals:
            return value
        following = arguments[place + 1 : place + 2]
        if following and not following[0].startswith("-"):
            return following[0]
    return None

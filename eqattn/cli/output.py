"""Where a command writes: the result to stdout, everything for people to stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import sys
from collections.abc import Iterator
from typing import Any

__all__ = ["logging_to_stderr", "print_result"]


def print_result(result: dict[str, Any]) -> None:
    """Prints one line of JSON; numbers that are not finite become null."""
    print(json.dumps(_finite(result), allow_nan=False), flush=True)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


@contextlib.contextmanager
def logging_to_stderr(level: int) -> Iterator[None]:
    """Shows the library's log while a command runs.

    Each line is shown once, also where a package has set up the root of all logs to print.
    What orbax has to say about its own work (logger "absl") is shown only to those who ask for
    everything: its errors come back as exceptions too.
    """
    ours, orbax = logging.getLogger("eqattn"), logging.getLogger("absl")
    handler = logging.StreamHandler(sys.stderr)
    levels = ours.level, orbax.level
    propagates, ours.propagate = ours.propagate, False
    ours.addHandler(handler)
    ours.setLevel(level)
    if level > logging.DEBUG:
        orbax.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        ours.removeHandler(handler)
        ours.propagate = propagates
        ours.setLevel(levels[0])
        orbax.setLevel(levels[1])

"""The log of a run, ``metrics.jsonl``: one JSON object per line.

A line holds "step", "split" ("train", "validation" or "test"), "loss", "metrics", "lr" and
"seconds". A run that was killed may leave half a line at the end; readers skip it, and the run
drops it when it goes on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from eqattn.files import written_aside

__all__ = ["MetricsLog", "keep_metrics", "read_metrics"]

METRICS_NAME = "metrics.jsonl"

Row = dict[str, Any]


class MetricsLog:
    """Appends lines to ``metrics.jsonl``; each is complete on disk before the call returns.

    Args:
      directory: A run folder.
    """

    def __init__(self, directory: Path):
        self._file = (directory / METRICS_NAME).open("a", encoding="utf-8")

    def write(self, **entries: Any) -> None:
        """Writes one line; numbers that are not finite become null.

        Args:
          **entries: Values by name.
        """
        self._file.write(_line(entries))
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def read_metrics(directory: Path) -> list[Row]:
    """Returns the lines of ``metrics.jsonl``; none where there is no such file.

    Args:
      directory: A run folder.

    Raises:
      ValueError: If a line is damaged, other than by being cut short at the end of the file.
    """
    path = directory / METRICS_NAME
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    rows: list[Row] = []
    for number, line in enumerate(lines[:-1], start=1):  # the last is empty, or cut short
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: line {number} is not JSON that can be read.") from error
        if not isinstance(row, dict) or type(row.get("step")) is not int:
            raise ValueError(f"{path}: line {number} is not a row of metrics, it has no step.")
        rows.append(row)
    return rows


def keep_metrics(directory: Path, keep: Callable[[Row], bool]) -> None:
    """Drops every line but those to keep; a kill leaves the old file or the new one.

    Args:
      directory: A run folder.
      keep: Says of a line whether it stays.

    Raises:
      ValueError: If a line is damaged, other than by being cut short at the end of the file.
    """
    text = "".join(_line(row) for row in read_metrics(directory) if keep(row))
    with written_aside(directory / METRICS_NAME) as aside:
        aside.write_text(text, encoding="utf-8")


def _line(entries: Row) -> str:
    return json.dumps(_finite(entries), allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value

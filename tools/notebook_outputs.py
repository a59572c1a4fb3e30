"""What a notebook shows: what must not be stored of it, and whether two runs state the same.

Text is compared line by line, and the numbers in it with a tolerance. Pictures are compared by kind
and size in pixels, because their bytes depend on the versions of fonts and libraries.
"""

import base64
import re
import struct
from collections.abc import Iterator, Mapping

from nbformat import NotebookNode

MAX_PICTURE_BYTES = 60 * 1024
ROUNDING = 1e-5
"""Largest stored number that counts as an error of rounding: float32 rounds by 6e-8 of a number,
and what a model adds up is off by some 1e-6."""
MAX_GROWTH = 10.0
"""An error of rounding may be larger elsewhere by this factor, or up to ``ROUNDING``."""
TOLERANCE = 0.01
"""Relative tolerance of numbers that follow from seeds without training. Rounding changes them by
some 1e-6, and a wrong formula by more than this."""

_FLOAT = re.compile(r"[-+]?\d+\.\d+(?:e[-+]?\d+)?|[-+]?\d+e[-+]?\d+")
_FORBIDDEN = {
    "an absolute path": re.compile(r"(?<![\w.])/(?:[\w.~+-]+/)+[\w.~+-]*|\b[A-Z]:\\"),
    "a memory address": re.compile(r"\b0x[0-9a-fA-F]{6,}\b"),
    "a carriage return": re.compile(r"\r"),
    "a time": re.compile(
        r"\b\d{1,2}:\d{2}(?::\d{2})?\b|\b\d{4}-\d{2}-\d{2}\b|\b\d+(?:\.\d+)?(?:e[-+]\d+)? *"
        r"(?:[mµn]?s|sec(?:onds?)?|min(?:utes?)?|hours?)\b"
    ),
}


def problems(notebook: NotebookNode) -> list[str]:
    """Returns what must not be stored of a notebook's outputs, one sentence for each.

    Args:
      notebook: Notebook after a run.
    """
    found = []
    for cell in _code_cells(notebook):
        if cell.execution_count is not None:
            found.append(f"cell {cell.id} has a count of executions")
        if "execution" in cell.metadata:
            found.append(f"cell {cell.id} has times of execution")
        for output in cell.outputs:
            kind = _kind(output)
            if kind in ("stderr", "error"):
                found.append(f"cell {cell.id} shows {kind}: {_text(output).strip()}")
            found += [
                f"cell {cell.id} shows {what}: {match[0]!r}"
                for what, pattern in _FORBIDDEN.items()
                if (match := pattern.search(_text(output)))
            ]
            size = len(base64.b64decode(output.get("data", {}).get("image/png", "")))
            if size > MAX_PICTURE_BYTES:
                found.append(f"cell {cell.id} shows a picture of {size:,} bytes")
    return found


def differences(
    stored: NotebookNode, fresh: NotebookNode, tolerances: Mapping[str, float] | None = None
) -> list[str]:
    """Returns where two runs of a notebook state different things, one sentence for each.

    A stored number of at most ``ROUNDING`` is an error of rounding: it must stay one, and may
    vanish. Other numbers may differ by the tolerance, relative to the smaller of the two, and by
    one unit of the last digit. Whole numbers must be the same, as words must.

    Args:
      stored: Notebook with the outputs that are expected.
      fresh: The same notebook after another run.
      tolerances: Relative tolerance of the numbers of a cell, by the id of the cell; ``TOLERANCE``
        elsewhere.
    """
    tolerances = tolerances or {}
    return [
        f"cell {before.id}: {difference}"
        for before, after in zip(_code_cells(stored), _code_cells(fresh), strict=True)
        for difference in _cell_differences(before, after, tolerances.get(before.id, TOLERANCE))
    ]


def pixels(picture: str) -> tuple[int, int]:
    """Returns width and height of a PNG, from its header.

    Args:
      picture: The PNG in base64.
    """
    width, height = struct.unpack(">II", base64.b64decode(picture)[16:24])
    return width, height


def _code_cells(notebook: NotebookNode) -> Iterator[NotebookNode]:
    return (cell for cell in notebook.cells if cell.cell_type == "code")


def _kind(output: NotebookNode) -> str:
    """The name of a stream, the types of what is displayed, or ``"error"``."""
    if output.output_type == "stream":
        return output.name
    return " ".join(sorted(output.data)) if "data" in output else output.output_type


def _text(output: NotebookNode) -> str:
    if output.output_type == "stream":
        return output.text
    if output.output_type == "error":
        return f"{output.ename}: {output.evalue}"
    return "\n".join(output.data[kind] for kind in sorted(output.data) if kind.startswith("text/"))


def _cell_differences(stored: NotebookNode, fresh: NotebookNode, tolerance: float) -> Iterator[str]:
    kinds, new_kinds = (list(map(_kind, cell.outputs)) for cell in (stored, fresh))
    if kinds != new_kinds:
        yield f"shows {new_kinds}, not {kinds}"
        yield from (_text(output).strip() for output in fresh.outputs if _kind(output) == "stderr")
        return
    for old, new in zip(stored.outputs, fresh.outputs, strict=True):
        yield from _text_differences(_text(old), _text(new), tolerance)
        if "image/png" in old.get("data", {}):
            size, new_size = (pixels(output.data["image/png"]) for output in (old, new))
            if size != new_size:
                yield f"a picture of {new_size} pixels, not {size}"


def _text_differences(stored: str, fresh: str, tolerance: float) -> Iterator[str]:
    old_lines, new_lines = stored.splitlines(), fresh.splitlines()
    if len(old_lines) != len(new_lines):
        yield f"{len(new_lines)} lines, not {len(old_lines)}"
    for old, new in zip(old_lines, new_lines, strict=False):
        old_words, new_words = (_FLOAT.sub("#", line).split() for line in (old, new))
        numbers = zip(_FLOAT.findall(old), _FLOAT.findall(new), strict=False)
        if old_words != new_words or not all(_close(*pair, tolerance) for pair in numbers):
            yield f"{new.strip()!r}, not {old.strip()!r}"


def _close(stored: str, fresh: str, tolerance: float) -> bool:
    old, new = float(stored), float(fresh)
    if abs(old) <= ROUNDING:
        return abs(new) <= max(ROUNDING, MAX_GROWTH * abs(old))
    allowed = tolerance * min(abs(old), abs(new)) + 1.01 * _last_digit(stored)
    return old * new >= 0 and abs(new - old) <= allowed


def _last_digit(number: str) -> float:
    """One unit of the last digit that is written: 0.01 of 1.25, and 1e-4 of 1.2e-3."""
    mantissa, _, exponent = number.partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))

"""Reads molecules from xyz text, and says in which line of which frame something is wrong.

A frame is a line with the number N of atoms, a line of comment, and N lines that begin with an
element (symbol or atomic number) and three coordinates in ångström; whatever follows them is
skipped. Frames follow each other, and empty lines may end the file. Where the comment says
``Properties=…``, as in extended xyz, the columns are those it names.
"""

import logging
import re
from pathlib import Path

import numpy as np

from eqattn.data.molecules import Molecules
from eqattn.data.targets import ELEMENTS, TARGETS

logger = logging.getLogger("eqattn")

_PROPERTIES = re.compile(r'(?:^|\s)Properties\s*=\s*"?([^\s"]+)', re.IGNORECASE)
_LATTICE = re.compile(r"(?:^|\s)Lattice\s*=", re.IGNORECASE)
_NUMBERS = {str(number): number for number in ELEMENTS.values()}
_LARGEST = float(np.finfo(np.float32).max)


def read_xyz(path: Path) -> Molecules:
    """Returns the frames of an xyz file as molecules whose ids are 0, 1, 2, …; targets are NaN.

    Args:
        path: The file.

    Raises:
        OSError: If there is no such file.
        ValueError: If it does not hold molecules; the message names the line and the frame.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not an xyz file: it is not text.") from error
    lines = text.rstrip().splitlines()
    if not lines:
        raise ValueError(f"{path} is empty.")
    sizes: list[int] = []
    numbers: list[int] = []
    positions: list[tuple[float, ...]] = []
    while (start := sum(sizes) + 2 * len(sizes)) < len(lines):
        place = f"{path}, line {start + 1} (frame {len(sizes)})"
        size = _size(lines, start, place)
        element_at, position_at = _columns(lines[start + 1], place)
        for row in range(start + 2, start + 2 + size):
            place = f"{path}, line {row + 1} (frame {len(sizes)})"
            words = lines[row].split()
            if len(words) <= max(element_at, position_at + 2):
                raise ValueError(
                    f"{place}: an element and three coordinates are needed, got "
                    f"{_shown(lines[row])}."
                )
            numbers.append(_element(words[element_at], place))
            positions.append(_position(words[position_at : position_at + 3], place))
        sizes.append(size)
    if any(_LATTICE.search(line) for line in lines if "=" in line):
        warn_of_cells(path)
    return Molecules(
        ids=np.arange(len(sizes)),
        num_atoms=np.array(sizes, np.int32),
        numbers=np.array(numbers, np.uint8),
        positions=np.array(positions, np.float32),
        targets=np.full((len(sizes), len(TARGETS)), np.nan),
    )


def warn_of_cells(path: Path) -> None:
    """Says that the cells of a file are not seen."""
    logger.warning("%s has periodic cells, which are not seen: molecules are in vacuum.", path)


def _size(lines: list[str], start: int, place: str) -> int:
    words = lines[start].split()
    if len(words) != 1 or not words[0].isdecimal():
        raise ValueError(f"{place}: the number of atoms is needed, got {_shown(lines[start])}.")
    if len(words[0]) > 18 or int(words[0]) < 1:
        raise ValueError(f"{place}: the number of atoms is {_shown(words[0])}.")
    size, left = int(words[0]), max(len(lines) - start - 2, 0)
    if size > left:
        raise ValueError(f"{place}: {size} atoms are announced, and {left} lines are left.")
    return size


def _columns(comment: str, place: str) -> tuple[int, int]:
    """Returns where the element and the first coordinate are in the lines of a frame."""
    match = _PROPERTIES.search(comment)
    if match is None:
        return 0, 1
    words, found, column = match[1].split(":"), {}, 0
    for name, kind, width in zip(words[::3], words[1::3], words[2::3], strict=False):
        found[name.lower(), kind.upper()] = column
        column += int(width) if width.isdecimal() and len(width) < 5 else 1
    element = found.get(("species", "S"), found.get(("z", "I")))
    position = found.get(("pos", "R"))
    if element is None or position is None:
        raise ValueError(f"{place}: Properties={match[1]} names no species:S:1 and pos:R:3.")
    return element, position


def _element(word: str, place: str) -> int:
    number = ELEMENTS.get(word.capitalize(), _NUMBERS.get(word))
    if number is None:
        raise ValueError(
            f"{place}: unknown element {_shown(word)}; known are {', '.join(ELEMENTS)}."
        )
    return number


def _position(words: list[str], place: str) -> tuple[float, ...]:
    try:
        position = tuple(float(word) for word in words)
    except ValueError as error:
        raise ValueError(f"{place}: {_shown(' '.join(words))} are not coordinates.") from error
    if not all(abs(value) <= _LARGEST for value in position):
        raise ValueError(f"{place}: {_shown(' '.join(words))} is not finite in float32.")
    return position


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}…")

"""Reads molecules from xyz text, and says in which line of which frame something is wrong.

A frame is a line with the number N of atoms, a line of comment, which may be empty, and N lines
that begin with an element (see `eqattn.tasks.molecules.elements.atomic_number`) and three
coordinates in ångström; whatever follows them is skipped. A line of five words of which the first
two may both be atomic numbers, and only they, is refused: other programs number the atoms there.
Frames follow each other. Empty lines before, between and after the lines of atoms are passed over.
Where the comment says ``Properties=…``, as in extended xyz, the columns are those it names, in its
order. In the files that QM9 is published as, three lines (frequencies, SMILES, InChI) follow the
atoms of a frame; they are skipped.
"""

import logging
import re
from pathlib import Path

import numpy as np

from eqattn.data.text import read_text, to_floats
from eqattn.tasks.molecules.data import Molecules
from eqattn.tasks.molecules.elements import atomic_number
from eqattn.tasks.molecules.targets import TARGETS

logger = logging.getLogger("eqattn")

_KEY = r'(?:^|\s){}\s*=\s*(?:"([^"]*)"|(\S+))'
_PROPERTIES = re.compile(_KEY.format("Properties"), re.IGNORECASE)
_PERIODIC = re.compile(_KEY.format("pbc"), re.IGNORECASE)
_LATTICE = re.compile(_KEY.format("Lattice"), re.IGNORECASE)
_NOT_PERIODIC = re.compile(r"[\[\s]*(?:(?:F|False|\.false\.|0)[\s,\]]*)+", re.IGNORECASE)
_ELEMENT_COLUMNS = ("species", "symbols", "symbol", "element", "elements", "z", "numbers")
_POSITION_COLUMNS = ("pos", "positions", "position", "coordinates")
_LARGEST = float(np.finfo(np.float32).max)
_TAIL_OF_QM9 = 3
_PLAIN_COLUMNS = 0, 1, 4


def read_xyz(path: Path) -> Molecules:
    """Returns the frames of an xyz file as molecules whose ids are 0, 1, 2, …; targets are NaN.

    Args:
      path: The file.

    Raises:
      OSError: If there is no such file.
      ValueError: If it does not hold molecules; the message names the line and the frame.
    """
    lines = read_text(path, "an xyz file").rstrip().split("\n")
    if not lines[-1]:
        raise ValueError(f"{path} is empty.")
    sizes: list[int] = []
    numbers: list[int] = []
    positions: list[list[float]] = []
    has_cells, start = False, 0
    while start < len(lines):
        if not lines[start].strip():
            start += 1
            continue
        frame, begin = len(sizes), start
        size = _size(lines[start], f"{path}, line {start + 1} (frame {frame})")
        comment = lines[start + 1] if start + 1 < len(lines) else ""
        columns = _columns(comment, f"{path}, line {start + 2} (frame {frame})")
        rows, start = _rows(lines, start + 2, size)
        if len(rows) < size:
            raise ValueError(
                f"{path}, line {begin + 1} (frame {frame}): {size} atoms are announced, and "
                f"{len(rows)} lines are left."
            )
        for row in rows:
            place = f"{path}, line {row + 1} (frame {frame})"
            number, position = _atom(lines[row], columns, place)
            numbers.append(number)
            positions.append(position)
        sizes.append(size)
        has_cells = has_cells or _is_periodic(comment)
        if _has_tail_of_qm9(lines, start):
            start += _TAIL_OF_QM9
    if has_cells:
        warn_of_cells(path)
    return Molecules(
        ids=np.arange(len(sizes)),
        num_atoms=np.array(sizes, np.int32),
        numbers=np.array(numbers, np.uint8),
        positions=np.array(positions, np.float64),
        targets=np.full((len(sizes), len(TARGETS)), np.nan),
    )


def warn_of_cells(path: Path) -> None:
    """Says that the cells of a file are not seen."""
    logger.warning("%s has periodic cells, which are not seen: molecules are in vacuum.", path)


def _size(line: str, place: str) -> int:
    words = line.split()
    if len(words) != 1 or not (words[0].isascii() and words[0].isdigit()):
        raise ValueError(f"{place}: the number of atoms is needed, got {_shown(line)}.")
    if len(words[0]) > 18 or int(words[0]) < 1:
        raise ValueError(f"{place}: the number of atoms is {_shown(words[0])}.")
    return int(words[0])


def _rows(lines: list[str], start: int, size: int) -> tuple[list[int], int]:
    """Returns the next lines that are not empty, at most as many as atoms, and the line after."""
    rows: list[int] = []
    while len(rows) < size and start < len(lines):
        if lines[start].strip():
            rows.append(start)
        start += 1
    return rows, start


def _columns(comment: str, place: str) -> tuple[int, int, int]:
    """Returns where the element and the first coordinate are in a frame, and how many columns."""
    match = _PROPERTIES.search(comment)
    if match is None:
        return _PLAIN_COLUMNS
    text = match[1] or match[2] or ""
    words, num_columns = text.split(":"), 0
    element = position = None
    for name, kind, width in zip(words[::3], words[1::3], words[2::3], strict=False):
        is_width = re.fullmatch("[1-9][0-9]{0,3}", width)
        if len(words) % 3 or kind.upper() not in ("S", "R", "I", "L") or not is_width:
            raise ValueError(f"{place}: Properties={_shown(text)} is not name:kind:columns:….")
        what = name.lower(), kind.upper(), width
        if what[0] in _ELEMENT_COLUMNS and what[1] in ("S", "I") and width == "1":
            element = num_columns if element is None else element
        elif what[0] in _POSITION_COLUMNS and what[1:] == ("R", "3"):
            position = num_columns if position is None else position
        num_columns += int(width)
    if element is None or position is None:
        raise ValueError(f"{place}: Properties={_shown(text)} names no species:S:1 and pos:R:3.")
    return element, position, num_columns


def _atom(line: str, columns: tuple[int, int, int], place: str) -> tuple[int, list[float]]:
    """Returns the atomic number and the coordinates in a line."""
    element_at, position_at, num_columns = columns
    words = line.split()
    if len(words) < num_columns:
        needed = "an element and three coordinates are"
        if num_columns > 4:
            needed = f"{num_columns} columns, as Properties names them, are"
        raise ValueError(f"{place}: {needed} needed, got {_shown(line)}.")
    if _begins_with_a_count(words) and columns == _PLAIN_COLUMNS:
        raise ValueError(
            f"{place}: {_shown(line)} may begin with the number of the atom, or with its element; "
            "write the symbol of the element first."
        )
    try:
        number = atomic_number(words[element_at])
    except ValueError as error:
        raise ValueError(f"{place}: {error}.") from error
    coordinates = words[position_at : position_at + 3]
    try:
        position = to_floats(coordinates)
    except ValueError as error:
        raise ValueError(
            f"{place}: {_shown(' '.join(coordinates))} are not coordinates."
        ) from error
    if not all(abs(value) <= _LARGEST for value in position):
        raise ValueError(f"{place}: {_shown(' '.join(coordinates))} is not finite in float32.")
    return number, position


def _begins_with_a_count(words: list[str]) -> bool:
    """Returns whether the second of five words may be an element, and no coordinate beside it is.

    Some programs print tables in which the number of the atom comes first.
    """
    count, element, *others = words
    is_number = all(re.fullmatch("[1-9][0-9]*", word) for word in (count, element))
    return is_number and len(others) == 3 and all("." in word for word in others)


def _is_periodic(comment: str) -> bool:
    """Returns whether a frame repeats: it has a lattice, or says so, and does not deny it."""
    stated = _PERIODIC.search(comment)
    if stated is None:
        return _LATTICE.search(comment) is not None
    return not _NOT_PERIODIC.fullmatch(stated[1] or stated[2] or "")


def _has_tail_of_qm9(lines: list[str], start: int) -> bool:
    """Returns whether frequencies, SMILES and InChI stand here, as in the files of QM9."""
    tail = lines[start : start + _TAIL_OF_QM9]
    if len(tail) < _TAIL_OF_QM9 or not tail[2].strip().startswith("InChI="):
        return False
    try:
        return bool(to_floats(tail[0].split())) and len(tail[1].split()) == 2
    except ValueError:
        return False


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}…")

"""Reads configurations from xyz text, and says in which line of which frame something is wrong.

A frame is a line with the number N of atoms, a line of comment, which may be empty, and N lines
that begin with an element (see :func:`eqattn.data.atoms.elements.atomic_number`) and three
coordinates in ångström; whatever follows them is skipped. A line of five words of which the first
two may both be atomic numbers, and only they, is refused: other programs number the atoms there.
Frames follow each other. Empty lines before, between and after the lines of atoms are passed over.
In the files that QM9 is published as, three lines (frequencies, SMILES, InChI) follow the atoms of
a frame; they are skipped.

In extended xyz the comment says more, as ``key=value``: ``Properties=…`` names the columns, in
their order, and those of numbers are properties of atoms; ``Lattice`` and ``pbc`` are the cell.
Every other key whose value is a number, or several, is a property of the configuration. A number
that is not known may be written as nan; keys whose values are words are passed over.
"""

import re
from pathlib import Path

import numpy as np

from eqattn.data.atoms.comments import PLAIN_COLUMNS, Columns, Comment, label, read_comment
from eqattn.data.atoms.configurations import LARGEST, Configurations, Frame, from_frames
from eqattn.data.atoms.elements import atomic_number
from eqattn.data.text import read_text, to_floats

_TAIL_OF_QM9 = 3


def read_xyz(path: Path) -> Configurations:
    """Returns the frames of an xyz file as configurations whose ids are 0, 1, 2, ….

    Args:
      path: The file.

    Raises:
      OSError: If there is no such file.
      ValueError: If it does not hold configurations; the message names the line and the frame.
    """
    lines = read_text(path, "an xyz file").rstrip().split("\n")
    if not lines[-1]:
        raise ValueError(f"{path} is empty.")
    frames: list[Frame] = []
    places: list[str] = []
    start = 0
    while start < len(lines):
        if not lines[start].strip():
            start += 1
            continue
        number = f"(frame {len(frames)})"
        begin = f"{path}, line {start + 1} {number}"
        size = _size(lines[start], begin)
        places.append(f"{path}, line {start + 2} {number}")
        try:
            comment = read_comment(lines[start + 1] if start + 1 < len(lines) else "")
        except ValueError as error:
            raise ValueError(f"{places[-1]}: {error}.") from error
        rows, start = _rows(lines, start + 2, size)
        if len(rows) < size:
            raise ValueError(
                f"{begin}: {size} atoms are announced, and {len(rows)} lines are left."
            )
        atoms = [
            _atom(lines[row], comment.columns, f"{path}, line {row + 1} {number}") for row in rows
        ]
        frames.append(_frame(atoms, comment))
        if _has_tail_of_qm9(lines, start):
            start += _TAIL_OF_QM9
    return from_frames(frames, lambda index: places[index])


def _frame(atoms: list[tuple[int, list[float], list[float]]], comment: Comment) -> Frame:
    numbers, positions, labels = zip(*atoms, strict=True)
    known, start = {}, 0
    values = np.array(labels, np.float64).reshape(len(numbers), -1)
    for name, (_, width) in comment.columns.others.items():
        column = values[:, start : start + width]
        known[name] = column[:, 0] if width == 1 else column
        start += width
    return Frame(
        np.array(numbers, np.uint8),
        np.array(positions, np.float64),
        comment.cell,
        comment.periodic,
        comment.properties,
        known,
    )


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


def _atom(line: str, columns: Columns, place: str) -> tuple[int, list[float], list[float]]:
    """Returns the atomic number, the coordinates and the properties in a line."""
    words = line.split()
    if len(words) < columns.size:
        needed = "an element and three coordinates are"
        if columns.size > PLAIN_COLUMNS.size:
            needed = f"{columns.size} columns, as Properties names them, are"
        raise ValueError(f"{place}: {needed} needed, got {_shown(line)}.")
    if columns is PLAIN_COLUMNS and _begins_with_a_count(words):
        raise ValueError(
            f"{place}: {_shown(line)} may begin with the number of the atom, or with its element; "
            "write the symbol of the element first."
        )
    try:
        number = atomic_number(words[columns.element])
    except ValueError as error:
        raise ValueError(f"{place}: {error}.") from error
    coordinates = words[columns.position : columns.position + 3]
    try:
        position = to_floats(coordinates)
    except ValueError as error:
        raise ValueError(
            f"{place}: {_shown(' '.join(coordinates))} are not coordinates."
        ) from error
    if not all(abs(value) <= LARGEST for value in position):
        raise ValueError(f"{place}: {_shown(' '.join(coordinates))} is not finite in float32.")
    labels: list[float] = []
    for name, (start, width) in columns.others.items():
        try:
            labels += map(label, words[start : start + width])
        except ValueError as error:
            raise ValueError(f"{place}: {name}: {error}.") from error
    return number, position, labels


def _begins_with_a_count(words: list[str]) -> bool:
    """Returns whether the second of five words may be an element, and no coordinate beside it is.

    Some programs print tables in which the number of the atom comes first.
    """
    count, element, *others = words
    is_number = all(re.fullmatch("[1-9][0-9]*", word) for word in (count, element))
    return is_number and len(others) == 3 and all("." in word for word in others)


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

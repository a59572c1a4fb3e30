"""The line of comment of extended xyz: columns, cell and properties of a frame.

It holds ``key=value`` pairs; a value of several words stands in quotes or brackets. The format is
that of `ASE <https://wiki.fysik.dtu.dk/ase/ase/io/formatoptions.html#extxyz>`_.
"""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from eqattn.data.atoms.configurations import LARGEST
from eqattn.data.text import to_float, to_floats

_PAIR = re.compile(
    r"""(?:^|(?<=\s))([A-Za-z_][\w.\-]*)\s*=\s*   # a key
    (?:"([^"]*)"|'([^']*)'|(\[[^=]*\]|\{[^=]*\})|([^\s"'=]+)(?=\s|$))""",
    re.VERBOSE,
)
_BRACKETS = re.compile(r"[\[\](){},]")
_WIDTH = re.compile("[1-9][0-9]{0,3}")
_TRUE, _FALSE = ("t", "true", ".true.", "1"), ("f", "false", ".false.", "0")
_UNKNOWN = ("nan", "+nan", "-nan")
_ELEMENT_COLUMNS = ("species", "symbols", "symbol", "element", "elements", "z", "numbers")
_POSITION_COLUMNS = ("pos", "positions", "position", "coordinates")


class Columns(NamedTuple):
    """Where what stands in the line of an atom.

    Attributes:
      element: Column of the element.
      position: Column of the first coordinate.
      size: How many columns there are.
      others: First column and width of each property of atoms, by name.
    """

    element: int
    position: int
    size: int
    others: Mapping[str, tuple[int, int]]


PLAIN_COLUMNS = Columns(0, 1, 4, {})


class Comment(NamedTuple):
    """What a comment says.

    Attributes:
      columns: Columns of the lines of atoms.
      cell: Lattice vectors as rows [3 3]; zeros where there is none.
      periodic: Whether the frame repeats along each of them [3].
      properties: Numbers by key: [] of a single one, [K] of several.
    """

    columns: Columns
    cell: np.ndarray
    periodic: np.ndarray
    properties: Mapping[str, np.ndarray]


def read_comment(text: str) -> Comment:
    """Reads the comment of a frame; in one without keys, columns are those of plain xyz.

    Args:
      text: The line.

    Raises:
      ValueError: For columns, a cell or numbers that are none, or a key with two values.
    """
    found: dict[str, str] = {}
    for key, *values in _PAIR.findall(text):
        value = next((value for value in values if value), "")
        if found.setdefault(key, value) != value:
            raise ValueError(f"the key {key!r} stands there twice, with different values")
    reserved = {name: _taken(found, name) for name in ("properties", "lattice", "pbc")}
    lattice, periodic = reserved["lattice"], reserved["pbc"]
    cell = np.zeros((3, 3)) if lattice is None else _cell(lattice)
    columns = reserved["properties"]
    return Comment(
        PLAIN_COLUMNS if columns is None else _columns(columns),
        cell,
        np.full(3, lattice is not None) if periodic is None else _flags(periodic),
        {key: x for key, value in found.items() if (x := _numbers(key, value)) is not None},
    )


def label(word: str) -> float:
    """Returns a number that is known, or NaN for "nan".

    Args:
      word: Letters of the word, without white space.

    Raises:
      ValueError: If it is no number, or none that is finite in float32.
    """
    if word.lower() in _UNKNOWN:
        return math.nan
    number = to_float(word)
    if not abs(number) <= LARGEST:
        raise ValueError(f"{word[:60]!r} is not finite in float32")
    return number


def _taken(found: dict[str, str], name: str) -> str | None:
    """Takes a key out, whatever the case of its letters."""
    return next((found.pop(key) for key in list(found) if key.lower() == name), None)


def _words(value: str) -> list[str]:
    return _BRACKETS.sub(" ", value).split()


def _numbers(key: str, value: str) -> np.ndarray | None:
    """The numbers of a value; None where it holds a word that is none."""
    words, numbers = _words(value), []
    for word in words:
        try:
            numbers.append(label(word))
        except ValueError as error:
            if "finite" in str(error) or word.lower().lstrip("+-") in ("inf", "infinity"):
                raise ValueError(f"{key}={value[:60]!r} is not finite in float32") from None
            return None
    return (np.array(numbers) if len(numbers) > 1 else np.array(numbers[0])) if numbers else None


def _cell(value: str) -> np.ndarray:
    try:
        cell = np.array(to_floats(_words(value)))
    except ValueError:
        cell = np.zeros(0)
    if cell.size != 9 or not (np.abs(cell) <= LARGEST).all():
        raise ValueError(f"Lattice={value[:60]!r} is not three vectors of three numbers")
    return cell.reshape(3, 3)


def _flags(value: str) -> np.ndarray:
    words = [word.lower() for word in _words(value)]
    if len(words) == 1:
        words *= 3
    if len(words) != 3 or not {*words} <= {*_TRUE, *_FALSE}:
        raise ValueError(f"pbc={value[:60]!r} is not three of T and F")
    return np.array([word in _TRUE for word in words])


def _columns(text: str) -> Columns:
    words, size = text.split(":"), 0
    element = position = None
    others: dict[str, tuple[int, int]] = {}
    for name, kind, width in zip(words[::3], words[1::3], words[2::3], strict=False):
        kind = kind.upper()
        if len(words) % 3 or kind not in ("S", "R", "I", "L") or not _WIDTH.fullmatch(width):
            raise ValueError(f"Properties={text[:60]!r} is not name:kind:columns:…")
        is_element = name.lower() in _ELEMENT_COLUMNS and kind in ("S", "I") and width == "1"
        is_position = name.lower() in _POSITION_COLUMNS and (kind, width) == ("R", "3")
        if is_element and element is None:
            element = size
        elif is_position and position is None:
            position = size
        elif kind in ("R", "I"):
            if name in others:
                raise ValueError(f"Properties={text[:60]!r} names {name!r} twice")
            others[name] = (size, int(width))
        size += int(width)
    if element is None or position is None:
        raise ValueError(f"Properties={text[:60]!r} names no species:S:1 and pos:R:3")
    return Columns(element, position, size, others)

"""Writes configurations as extended xyz, so that nothing of them is lost."""

import os
import re
from pathlib import Path

import numpy as np

from eqattn.data.atoms.configurations import Configurations
from eqattn.data.atoms.elements import element_symbol
from eqattn.files import written_aside

_NAME = re.compile(r"[A-Za-z_][\w.\-]*")


def write_xyz(path: str | os.PathLike[str], configurations: Configurations) -> None:
    """Writes extended xyz; :func:`eqattn.data.atoms.read_configurations` reads the same numbers.

    Ids are not written. A property that is not known of a configuration is left out of its comment,
    and one that is not known of an atom is nan.

    Args:
      path: The file, which is written whole or not at all.
      configurations: What is written.

    Raises:
      ValueError: If the name of a property cannot be a key.
    """
    text = _text(path, configurations)
    with written_aside(path) as aside:
        aside.write_bytes(text)


def append_xyz(path: str | os.PathLike[str], configurations: Configurations) -> None:
    """Adds configurations to the end of a file of extended xyz, which is made if need be.

    So that the file can be read at any time, all are added or none: an error or an interrupt in
    the middle takes away what was written.

    Args:
      path: The file.
      configurations: What is written, as by :func:`write_xyz`.

    Raises:
      OSError: If the file cannot be written.
      ValueError: If the name of a property cannot be a key.
    """
    left = memoryview(_text(path, configurations))
    with Path(path).open("ab", buffering=0) as file:
        size = file.tell()
        try:
            while left:
                left = left[file.write(left) :]
        except BaseException as error:
            file.truncate(size)
            if isinstance(error, OSError) and error.filename is None:
                error.filename = str(path)
            raise


def _text(path: str | os.PathLike[str], configurations: Configurations) -> bytes:
    for name in (*configurations.properties, *configurations.atom_properties):
        if not _NAME.fullmatch(name):
            raise ValueError(f"{path}: {name!r} cannot be a key of extended xyz")
    lines = []
    columns = ["species:S:1:pos:R:3"]
    for name, values in configurations.atom_properties.items():
        columns.append(f"{name}:R:{int(np.prod(values.shape[1:]))}")
    bounds = zip(configurations.offsets[:-1], configurations.offsets[1:], strict=True)
    for index, (begin, end) in enumerate(bounds):
        lines += [str(end - begin), _comment(configurations, index, ":".join(columns))]
        rows = [configurations.positions[begin:end]]
        for values in configurations.atom_properties.values():
            rows.append(values[begin:end].reshape(end - begin, -1))
        symbols = [element_symbol(int(number)) for number in configurations.numbers[begin:end]]
        for symbol, row in zip(symbols, np.concatenate(rows, axis=1).tolist(), strict=True):
            lines.append(" ".join([symbol, *map(repr, row)]))
    return ("\n".join(lines) + "\n").encode()


def _comment(configurations: Configurations, index: int, columns: str) -> str:
    words = [f"Properties={columns}"]
    cell, periodic = configurations.cells[index], configurations.periodic[index]
    if cell.any():
        words.append(f'Lattice="{_numbers(cell)}"')
    words.append(f'pbc="{" ".join("FT"[int(flag)] for flag in periodic)}"')
    for name, values in configurations.properties.items():
        value = np.asarray(values[index])
        if not np.isnan(value).all():
            text = _numbers(value)
            words.append(f'{name}="{text}"' if value.ndim else f"{name}={text}")
    return " ".join(words)


def _numbers(values: np.ndarray) -> str:
    return " ".join(map(repr, np.ravel(values).tolist()))

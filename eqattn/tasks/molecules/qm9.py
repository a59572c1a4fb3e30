"""Reads QM9 from the tables of the package qm9pack (the extra ``qm9``).

The package is located, never imported: importing it needs setuptools. Its tables hold the
130,831 molecules of QM9 that passed the consistency check, in the original order.
"""

import ast
import csv
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from eqattn.checks import install_hint
from eqattn.data.atoms.configurations import Frame
from eqattn.data.text import to_float, to_floats, to_integer
from eqattn.tasks.molecules.targets import ELEMENTS, TARGETS

PACKAGE = "qm9pack"
NUM_MOLECULES = 130_831
_PARTS = tuple(f"{PACKAGE}/data/qm9_part{part}.csv" for part in (1, 2, 3))


def package_version() -> str:
    """Returns the version of the installed source package.

    Raises:
      ModuleNotFoundError: If it is not installed.
    """
    return _distribution().version


def table_paths() -> list[Path]:
    """Returns the paths of the tables, in order.

    Raises:
      ModuleNotFoundError: If the package is not installed.
      FileNotFoundError: If one of its tables is missing.
    """
    distribution = _distribution()
    paths = [Path(str(distribution.locate_file(part))) for part in _PARTS]
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(
                f"{PACKAGE} {distribution.version} has no table {path}; reinstall it: "
                'pip install --force-reinstall "eqattn[qm9]".'
            )
    return paths


def read_tables(paths: list[Path]) -> Iterator[tuple[int, Frame]]:
    """Yields the id and the molecule of each row of the tables, with the properties of `TARGETS`.

    Args:
      paths: Tables in the layout of qm9pack, read one after the other.

    Raises:
      ValueError: If a column is missing, or a row cannot be read.
    """
    needed = ["Index", "Elements", "XYZ_Ang", *(target.column for target in TARGETS.values())]
    for path in paths:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            missing = [name for name in needed if name not in (rows.fieldnames or ())]
            if missing:
                raise ValueError(f"{path} has no column {missing[0]!r}.")
            for row in rows:
                try:
                    yield _molecule(row)
                except (KeyError, SyntaxError, TypeError, ValueError) as error:
                    raise ValueError(
                        f"{path}, line {rows.line_num}: cannot read molecule "
                        f"{row['Index']!r} ({error})."
                    ) from error


def _molecule(row: dict[str, str]) -> tuple[int, Frame]:
    symbols = ast.literal_eval(row["Elements"])
    numbers = np.array([ELEMENTS[symbol] for symbol in symbols], np.uint8)
    # Much faster than a general parser: the nesting is always atoms x 3.
    flat = row["XYZ_Ang"].replace("[", "").replace("]", "").split(",")
    positions = np.array(to_floats(flat), np.float32)
    known = {
        name: np.array(target.convert(to_float(row[target.column]), numbers))
        for name, target in TARGETS.items()
    }
    return to_integer(row["Index"]), Frame(
        numbers, positions.reshape(len(numbers), 3), properties=known
    )


def _distribution() -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise ModuleNotFoundError(
            f"the data set 'qm9' needs the package {PACKAGE}, which is not installed: "
            f"{install_hint('qm9')}."
        ) from None

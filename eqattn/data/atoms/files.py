"""Reads and writes configurations in the files that people keep them in."""

import os
from pathlib import Path

from eqattn.data.atoms.archives import read_npz, write_npz
from eqattn.data.atoms.configurations import Configurations
from eqattn.data.atoms.with_ase import read_with_ase
from eqattn.data.atoms.writing import write_xyz
from eqattn.data.atoms.xyz import read_xyz

WRITTEN = (".xyz", ".extxyz", ".npz")
"""Endings of the files that :func:`write_configurations` writes."""


def read_configurations(path: str | os.PathLike[str]) -> Configurations:
    """Returns the configurations in a file, with all numbers that it holds of them.

    Args:
      path: An ``.xyz`` or ``.extxyz`` file with any number of frames; an ``.npz`` file in one of
        the layouts of :mod:`eqattn.data.atoms.archives`; or, where ASE is installed, whatever ASE
        reads. Only an ``.npz`` file brings ids of its own, else frames are counted from 0.

    Raises:
      FileNotFoundError: If there is no such file.
      ModuleNotFoundError: If ASE is needed and not installed.
      ValueError: If the file does not hold configurations; the message names what is wrong.
    """
    path = existing_file(path)
    kind = path.suffix.lower()
    if kind == ".npz":
        return read_npz(path)
    return read_xyz(path) if kind in (".xyz", ".extxyz") else read_with_ase(path)


def write_configurations(path: str | os.PathLike[str], configurations: Configurations) -> None:
    """Writes configurations in the format that the name of the file tells.

    Args:
      path: A file that ends in ``.xyz``, ``.extxyz`` or ``.npz``; it is written whole or not at
        all.
      configurations: What is written.

    Raises:
      ValueError: If the file has another ending, or a property a name that the format does not
        allow.
    """
    check_written(path)
    write = write_npz if Path(path).suffix.lower() == ".npz" else write_xyz
    write(path, configurations)


def check_written(path: str | os.PathLike[str]) -> None:
    """Makes sure that :func:`write_configurations` writes files of this name.

    Args:
      path: The file.

    Raises:
      ValueError: If it has another ending.
    """
    if Path(path).suffix.lower() not in WRITTEN:
        raise ValueError(f"{path}: configurations are written as {', '.join(WRITTEN)}.")


def existing_file(path: str | os.PathLike[str]) -> Path:
    """Returns the path of a file that is there, with ``~`` expanded.

    Args:
      path: The file.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If it is not a file.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    if not path.is_file():
        raise ValueError(f"{path} is not a file.")
    return path

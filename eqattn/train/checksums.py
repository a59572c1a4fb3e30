"""Checksums of the files of a checkpoint or a saved model: what was damaged is not loaded.

Each process that writes a checkpoint lists the files that it wrote itself, in
``checksums-<process>.sha256``, as ``sha256sum`` would. A list is compared as a whole with what the
files give now, so that no byte of the list can change either.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from eqattn.files import checksum_lines

__all__ = ["verify_checksums", "write_checksums"]

_LIST = re.compile(r"checksums-(\d+)\.sha256")
_PROCESS = re.compile(r"ocdbt\.process_(\d+)")
"""Where orbax has a process write its part of the arrays; everything else is by process 0."""


def write_checksums(folder: Path, process: int = 0) -> None:
    """Writes the list of the files that a process has written to a folder.

    Args:
      folder: A checkpoint, complete but for the lists.
      process: Index of the process.

    Raises:
      OSError: If a file cannot be read, or the list not be written.
    """
    names = _names_by_process(folder).get(process, [])
    _list_path(folder, process).write_bytes(checksum_lines(folder, names))


def verify_checksums(folder: Path) -> None:
    """Raises unless each file of a folder is what a process wrote.

    Args:
      folder: A checkpoint.

    Raises:
      OSError: If a file cannot be read.
      ValueError: If a file was changed, added or removed since; the message names one.
    """
    for process, names in sorted(_names_by_process(folder).items()):
        path = _list_path(folder, process)
        if not path.is_file():
            raise ValueError(f"it has no {path.name}")
        held, expected = path.read_bytes(), checksum_lines(folder, names)
        if held != expected:
            raise ValueError(f"{_first_difference(held, expected)} is not what was written")


def _list_path(folder: Path, process: int) -> Path:
    return folder / f"checksums-{process}.sha256"


def _names_by_process(folder: Path) -> dict[int, list[str]]:
    """The files of each process in the order of their names; the lists themselves are none."""
    names: dict[int, list[str]] = {0: []}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        found = _LIST.fullmatch(name)
        if found is not None:
            names.setdefault(int(found[1]), [])
        elif path.is_file():
            parts = (_PROCESS.fullmatch(part) for part in PurePosixPath(name).parts)
            owner = next((int(part[1]) for part in parts if part is not None), 0)
            names.setdefault(owner, []).append(name)
    return names


def _first_difference(held: bytes, expected: bytes) -> str:
    """The name of a file whose line differs, or the list itself where that is damaged."""
    lines = [set(text.decode(errors="replace").splitlines()) for text in (held, expected)]
    names = sorted(line.partition("  ")[2] for line in lines[1] - lines[0])
    return names[0] if len(names) == 1 else "its list of checksums, or more than one file,"

"""Files that stand whole under their names, and who is to blame where one cannot be used."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["checksum_lines", "fingerprint", "is_fault_of_environment", "remove", "written_aside"]

ASIDE_SUFFIX = ".tmp"
"""Ends the name of whatever is being written, or was when its process was killed."""

_FAULTS_OF_INPUT = frozenset(
    getattr(errno, name)
    for name in ("ENOENT", "ENOTDIR", "EISDIR", "EEXIST", "ENAMETOOLONG", "ELOOP", "EINVAL")
)
"""Errors of a place that somebody named. All others come from the machine: a full disk, a quota,
rights that are lacking, a device that fails."""


@contextlib.contextmanager
def written_aside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a place to write to, beside the final one; what is written there is then renamed.

    So there is never half a file under the final name, whatever interrupts the writing: an error
    removes what was written, and a kill leaves a name that ends in ".tmp". A file replaces the one
    that was there; a folder needs a name that is free.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "scores.txt"
      >>> with written_aside(path) as aside:
      ...     _ = aside.write_text("0.5")
      >>> path.read_text()
      '0.5'

    Args:
      path: Where the file or folder is to be.

    Yields:
      The path to write to, in the same folder.

    Raises:
      OSError: If it cannot be written, or renamed.
    """
    path = Path(path)
    aside = path.with_name(f"{path.name}.{os.getpid()}{ASIDE_SUFFIX}")
    try:
        yield aside
        os.replace(aside, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)  # of a write to an open file, which knows no name
        # Some writers add an ending of their own.
        for left in path.parent.glob(f"{glob.escape(aside.name)}*"):
            remove(left)
        raise


def checksum_lines(folder: Path, names: Iterable[str]) -> bytes:
    """Returns one line for each file: its SHA-256 in hexadecimal, and its name.

    Args:
      folder: Where the files are.
      names: Paths of the files in the folder.
    """
    return "".join(f"{_sha256(folder / name)}  {name}\n" for name in names).encode()


def fingerprint(path: str | os.PathLike[str]) -> str:
    """Returns what tells the content of a file or folder from any other, in hexadecimal.

    Of a folder that is the names and contents of all files in it, hidden ones left out; where the
    file or folder stands, and when it was written, does not matter.

    Args:
      path: The file or folder.

    Raises:
      OSError: If it cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        files = (file.relative_to(path) for file in path.rglob("*") if file.is_file())
        shown = (file for file in files if not any(part.startswith(".") for part in file.parts))
        names = sorted(file.as_posix() for file in shown)
        return hashlib.sha256(checksum_lines(path, names)).hexdigest()
    return _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove(path: Path) -> None:
    """Removes a file, or a folder with all it holds, as far as that is possible.

    Args:
      path: The file or folder.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def is_fault_of_environment(error: BaseException) -> bool:
    """Returns whether an error comes from the machine, and not from a place that somebody named.

    Errors that the library raises itself have no error number: they are about what was asked for.

    Example:
      >>> is_fault_of_environment(OSError(errno.ENOSPC, "No space left on device"))
      True
      >>> is_fault_of_environment(FileNotFoundError(errno.ENOENT, "No such file or directory"))
      False

    Args:
      error: Any exception.
    """
    if not isinstance(error, OSError) or error.errno is None:
        return False
    return error.errno not in _FAULTS_OF_INPUT

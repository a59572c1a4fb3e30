"""Tables on disk, as comma-separated values."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from eqattn.files import written_aside

__all__ = ["check_new_file", "write_csv"]


def check_new_file(path: str | os.PathLike[str]) -> Path:
    """Returns the absolute path of a file that may be created.

    Args:
      path: Where something is to be written.

    Raises:
      FileExistsError: If there is something already; nothing is ever overwritten.
      OSError: If its folder is missing or cannot be written.
    """
    path = Path(path).expanduser().absolute()
    if path.exists():
        raise FileExistsError(f"{path} exists already; choose another place.")
    if not path.parent.is_dir():
        raise NotADirectoryError(f"{path} cannot be created: {path.parent} is not a folder.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"{path} cannot be created: {path.parent} is not writable.")
    return path


def write_csv(path: str | os.PathLike[str], columns: Mapping[str, np.ndarray]) -> None:
    """Writes columns to a new file, with a header; numbers come back as they were.

    Args:
      path: A place that :func:`check_new_file` accepts.
      columns: Equally long columns by header.

    Raises:
      OSError: If there is something already, or the place cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    with written_aside(check_new_file(path)) as aside:
        aside.write_text(text.getvalue(), encoding="utf-8")

"""Checkpoints on disk, through orbax: each is written aside, with checksums, and then renamed.

A save that was cut short leaves a folder that readers ignore and the next store removes, so a run
killed at any moment keeps the one before. A save has succeeded when it returns, or raises at once.
Paths are made absolute, and arrays are copied to the host, before orbax sees them.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np

from eqattn.files import ASIDE_SUFFIX, remove, written_aside
from eqattn.train.checksums import verify_checksums, write_checksums

__all__ = ["Checkpoint", "CheckpointStore", "read_latest"]

_ARRAYS = "arrays"
_RECORD = "record"
_OVERHEAD = 64 * 1024
"""Bytes that a checkpoint takes beside its arrays, at most some two hundred for each."""
_OS_ERROR = re.compile(r"\[os_error_code='(\d+)'\]")
"""How tensorstore says inside a ValueError why a file could not be written."""


@dataclass(frozen=True)
class Checkpoint:
    """What one checkpoint holds.

    Attributes:
      step: Steps taken when it was written.
      arrays: Arrays by name (see :func:`eqattn.train.named_leaves.to_named`).
      record: Plain values: position in the data, best score, seconds.
    """

    step: int
    arrays: Mapping[str, np.ndarray]
    record: Mapping[str, Any]


class CheckpointStore:
    """A folder of checkpoints, of which the latest are kept; use it in a ``with`` statement.

    Args:
      directory: The folder; created if missing.
      keep: How many checkpoints to keep. An older one is removed only after a newer one stands.

    Raises:
      OSError: If the folder cannot be written.
    """

    def __init__(self, directory: str | os.PathLike[str], *, keep: int):
        self._path, self._keep = Path(directory).absolute(), keep
        self._path.mkdir(parents=True, exist_ok=True)
        for left in self._path.glob(f"*{ASIDE_SUFFIX}*"):
            remove(left)
        self._checkpointer = _checkpointer()

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint; one of the same step is left as it is.

        Args:
          checkpoint: What to write.

        Raises:
          OSError: If it cannot be written; what stood before still stands.
        """
        import orbax.checkpoint as ocp

        if checkpoint.step in _steps(self._path):
            return
        final = self._path / str(checkpoint.step)
        self._check_space(checkpoint)
        items = {
            _ARRAYS: ocp.args.StandardSave(dict(checkpoint.arrays)),
            _RECORD: ocp.args.JsonSave(dict(checkpoint.record)),
        }
        with written_aside(final) as aside:
            try:
                self._checkpointer.save(aside, ocp.args.Composite(**items))
            except (ValueError, RuntimeError) as error:
                raise _cause_of(error, self._path) from error
            write_checksums(aside, jax.process_index())
        for old in _steps(self._path)[: -self._keep]:
            self._delete(old)

    def discard_after(self, step: int) -> None:
        """Removes the checkpoints of later steps, beside which an earlier one cannot be saved.

        Args:
          step: The last step to keep.
        """
        for later in _steps(self._path):
            if later > step:
                self._delete(later)

    def _delete(self, step: int) -> None:
        """Removes a checkpoint, of which a kill leaves nothing under its name."""
        aside = self._path / f"{step}{ASIDE_SUFFIX}"
        os.replace(self._path / str(step), aside)
        remove(aside)

    def _check_space(self, checkpoint: Checkpoint) -> None:
        """Raises as a full disk would; orbax would also print a trace for each array."""
        needed = _OVERHEAD + sum(array.nbytes for array in checkpoint.arrays.values())
        free = shutil.disk_usage(self._path).free
        if free < needed:
            raise OSError(
                errno.ENOSPC,
                f"{os.strerror(errno.ENOSPC)} for a checkpoint of {needed:,} bytes "
                f"({free:,} are free)",
                str(self._path),
            )

    def __enter__(self) -> CheckpointStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._checkpointer.close()


def read_latest(directory: str | os.PathLike[str]) -> Checkpoint | None:
    """Returns the newest checkpoint of a folder, or None if it has none.

    Args:
      directory: A folder that a `CheckpointStore` wrote.

    Raises:
      ValueError: If a file of the checkpoint is not what was written, or cannot be read.
    """
    import orbax.checkpoint as ocp

    path = Path(directory).absolute()
    steps = _steps(path)
    if not steps:
        return None
    step = steps[-1]
    # Without a template the arrays come back on the host, whatever device wrote them.
    items = {_ARRAYS: ocp.args.StandardRestore(), _RECORD: ocp.args.JsonRestore()}
    try:
        verify_checksums(path / str(step))
        with _checkpointer() as checkpointer:
            restored = checkpointer.restore(path / str(step), ocp.args.Composite(**items))
        arrays, record = restored[_ARRAYS], restored[_RECORD]
        if not isinstance(arrays, Mapping) or not isinstance(record, Mapping):
            raise ValueError("it holds something else")
    except (ValueError, KeyError, FileNotFoundError) as error:
        raise ValueError(
            f"{path / str(step)} cannot be read: the checkpoint is damaged ({error})."
        ) from error
    return Checkpoint(step, arrays, record)


def _checkpointer() -> Any:
    import orbax.checkpoint as ocp  # slow to import, and only needed here

    return ocp.Checkpointer(
        ocp.CompositeCheckpointHandler(
            **{_ARRAYS: ocp.StandardCheckpointHandler(), _RECORD: ocp.JsonCheckpointHandler()}
        )
    )


def _steps(path: Path) -> list[int]:
    """The steps of the checkpoints that stand in a folder, in order."""
    if not path.is_dir():
        return []
    return sorted(int(entry.name) for entry in path.iterdir() if entry.name.isdecimal())


def _cause_of(error: Exception, path: Path) -> Exception:
    """The error of the operating system behind one of orbax; the same one where there is none."""
    found = _OS_ERROR.search(str(error))
    if found is None:
        return error
    number = int(found[1])
    return OSError(number, os.strerror(number), str(path))

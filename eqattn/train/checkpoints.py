"""Checkpoints on disk, through orbax: a save counts once it is committed.

A save that was cut short leaves a folder that readers ignore and the next store removes, so a run
killed at any moment keeps the one before. Paths are made absolute, and arrays are copied to the
host, before orbax sees them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

__all__ = ["Checkpoint", "CheckpointStore", "read_latest"]

_ARRAYS = "arrays"
_RECORD = "record"


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

    Saving goes on in the background; leaving the ``with`` statement waits for it.

    Args:
        directory: The folder; created if missing.
        keep: How many committed checkpoints to keep. An older one is removed only after a newer
            one is committed.
    """

    def __init__(self, directory: str | os.PathLike[str], *, keep: int):
        import orbax.checkpoint as ocp  # slow to import, and only needed here

        self._ocp = ocp
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, create=True, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(Path(directory).absolute(), options=options)

    def save(self, checkpoint: Checkpoint) -> None:
        """Begins to write a checkpoint; one of the same step is left as it is.

        Args:
            checkpoint: What to write.
        """
        if checkpoint.step in self._manager.all_steps():
            return
        args = self._ocp.args
        self._manager.save(
            checkpoint.step,
            args=args.Composite(
                **{
                    _ARRAYS: args.StandardSave(dict(checkpoint.arrays)),
                    _RECORD: args.JsonSave(dict(checkpoint.record)),
                }
            ),
        )

    def discard_after(self, step: int) -> None:
        """Removes the checkpoints of later steps, beside which an earlier one cannot be saved.

        Args:
            step: The last step to keep.
        """
        for later in self._manager.all_steps():
            if later > step:
                self._manager.delete(later)

    def wait(self) -> None:
        """Returns once everything is committed."""
        self._manager.wait_until_finished()

    def __enter__(self) -> CheckpointStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._manager.wait_until_finished()
        self._manager.close()


def read_latest(directory: str | os.PathLike[str]) -> Checkpoint | None:
    """Returns the newest committed checkpoint of a folder, or None if it has none.

    Args:
        directory: A folder that a `CheckpointStore` wrote.

    Raises:
        ValueError: If the checkpoint cannot be read.
    """
    import orbax.checkpoint as ocp

    path = Path(directory).absolute()
    if not path.is_dir():
        return None
    options = ocp.CheckpointManagerOptions(create=False)
    with ocp.CheckpointManager(path, options=options) as manager:
        step = manager.latest_step()
        if step is None:
            return None
        try:
            # Without a template the arrays come back on the host, whatever device wrote them.
            restored = manager.restore(
                step,
                args=ocp.args.Composite(
                    **{
                        _ARRAYS: ocp.args.StandardRestore(),
                        _RECORD: ocp.args.JsonRestore(),
                    }
                ),
            )
            arrays, record = restored[_ARRAYS], restored[_RECORD]
            if not isinstance(arrays, Mapping) or not isinstance(record, Mapping):
                raise ValueError("it holds something else")
        except (ValueError, KeyError, OSError) as error:
            raise ValueError(
                f"{path / str(step)} cannot be read: the checkpoint is damaged."
            ) from error
    return Checkpoint(step, arrays, record)

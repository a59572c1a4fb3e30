"""One process at a time writes to a run folder."""

from __future__ import annotations

import contextlib
import errno
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from eqattn.train.run_folder import CONFIG_NAME

__all__ = ["locked"]

logger = logging.getLogger("eqattn")


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keeps other processes from the run folder while the ``with`` statement lasts.

    The lock is on ``config.json``, which is never replaced, and belongs to the process: it goes
    with it, however that ends. File systems without locks, and Windows, are trusted to be used
    with care.

    Args:
      directory: A run folder.

    Raises:
      BlockingIOError: If another process is at work in it.
      OSError: If it cannot be written.
    """
    with (directory / CONFIG_NAME).open("r+b") as file:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BlockingIOError(
                    f"run folder {directory} is in use by another process; wait for it to end."
                ) from error
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP):
                    raise
                logger.warning("%s: its file system has no locks; use one process.", directory)
        yield

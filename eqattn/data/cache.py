"""Where data sets are cached, and how a cache file is written.

A cache file is written beside its place and then renamed, so that a reader never meets half a
file, whatever was interrupted.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from eqattn.files import written_aside


def cache_folder(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Returns the folder for caches: ``cache_dir``, ``$EQATTN_DATA`` or ``~/.cache/eqattn``."""
    chosen = cache_dir or os.environ.get("EQATTN_DATA") or Path("~/.cache/eqattn")
    return Path(chosen).expanduser()


def save_arrays(
    path: Path, arrays: Mapping[str, np.ndarray], *, use_compression: bool = False
) -> None:
    """Writes arrays to an npz file, aside and then renamed into place.

    Args:
      path: Where the file is to be; its folder is made if need be.
      arrays: The arrays by name.
      use_compression: Whether to compress them.

    Raises:
      OSError: If the folder or the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    save: Callable[..., None] = np.savez_compressed if use_compression else np.savez
    with written_aside(path) as aside, aside.open("wb") as file:
        save(file, **dict(arrays))

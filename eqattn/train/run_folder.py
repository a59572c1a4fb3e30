"""The folder of a run, and of any saved model.

::

    config.json      format, task, data, seed, model, optimizer, standardization, versions
    metrics.jsonl    one JSON object per line: step, split, loss, metrics, lr, seconds
    checkpoints/     everything needed to go on: parameters, average, optimizer, key, data position
    best/            averaged parameters with the best validation score; all that a saved model has,
                     beside config.json and its checksum, config.json.sha256
    baseline/        the run of a baseline, of the same layout; only where a task trains one
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from eqattn._version import __version__
from eqattn.config import SavedConfig
from eqattn.files import ASIDE_SUFFIX, checksum_lines, remove, written_aside
from eqattn.tasks import get_task
from eqattn.train.config_json import from_json
from eqattn.train.format_1 import from_format_1
from eqattn.train.format_2 import from_format_2

__all__ = [
    "FORMAT",
    "check_new_folder",
    "clear_unfinished",
    "create_folder",
    "package_versions",
    "parse_config",
    "read_config",
    "read_run_config",
    "verify_config",
    "write_config_checksum",
]

FORMAT = 3
"""Version of the layout; a folder with a larger number is refused, one with a smaller is read."""

CONFIG_NAME = "config.json"
CHECKSUM_NAME = "config.json.sha256"
CHECKPOINTS_NAME = "checkpoints"
BEST_NAME = "best"

logger = logging.getLogger("eqattn")


def package_versions() -> dict[str, str]:
    """Returns the versions of the packages that decide what a run computes."""
    packages = ("jax", "jaxlib", "flax", "optax", "numpy", "grain", "orbax-checkpoint")
    return {"eqattn": __version__} | {name: metadata.version(name) for name in packages}


def check_new_folder(directory: str | os.PathLike[str]) -> Path:
    """Returns the absolute path of a folder that may be created, or is empty.

    One whose creation was cut short, so that it holds no more than half a ``config.json``, counts
    as empty.

    Args:
      directory: Where a run or a model is to be written.

    Raises:
      FileExistsError: If there is something already; nothing is ever overwritten.
      NotADirectoryError: If a parent is a file.
    """
    path = Path(directory).expanduser().absolute()
    if path.is_dir() and all(_is_unfinished(held.name) for held in path.iterdir()):
        return path
    if path.exists():
        kind = "run folder" if (path / CONFIG_NAME).exists() else "file or folder"
        raise FileExistsError(f"{kind} {path} exists already; choose another place.")
    parent = next(p for p in path.parents if p.exists())
    if not parent.is_dir():
        raise NotADirectoryError(f"{path} cannot be created: {parent} is not a folder.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise PermissionError(f"{path} cannot be created: {parent} is not writable.")
    return path


def clear_unfinished(path: Path) -> None:
    """Removes what a process that was killed while it created a folder has left in it.

    Args:
      path: A place that :func:`check_new_folder` accepts.
    """
    for left in path.iterdir() if path.is_dir() else ():
        if _is_unfinished(left.name):
            remove(left)


def write_config_checksum(path: Path) -> None:
    """Writes the checksum of ``config.json`` beside it: nobody is to edit that of a saved model.

    Args:
      path: The folder of a saved model.
    """
    with written_aside(path / CHECKSUM_NAME) as aside:
        aside.write_bytes(checksum_lines(path, [CONFIG_NAME]))


def verify_config(path: Path) -> None:
    """Raises unless ``config.json`` is what was written, where its checksum is there.

    Args:
      path: A run folder, which has none, or a saved model.

    Raises:
      ValueError: If one of the two files was changed.
    """
    file = path / CHECKSUM_NAME
    if file.is_file() and file.read_bytes() != checksum_lines(path, [CONFIG_NAME]):
        raise ValueError(
            f"{path} is damaged: {CONFIG_NAME} is not what was written, or {CHECKSUM_NAME} is not."
        )


def _is_unfinished(name: str) -> bool:
    """Whether it is what a process that was killed while it created a folder leaves in it."""
    return name.startswith(CONFIG_NAME) and name.endswith(ASIDE_SUFFIX)


def create_folder(directory: str | os.PathLike[str], content: Mapping[str, Any]) -> Path:
    """Creates the folder and its ``config.json``; returns its absolute path.

    Args:
      directory: A place that :func:`check_new_folder` accepts.
      content: Entries of ``config.json``.

    Raises:
      FileExistsError: If there is something already.
      OSError: If the place cannot be written.
    """
    path = check_new_folder(directory)
    text = json.dumps({"format": FORMAT, **content}, indent=2, allow_nan=False)
    path.mkdir(parents=True, exist_ok=True)  # only now, so that a refusal leaves no folder
    clear_unfinished(path)
    with written_aside(path / CONFIG_NAME) as aside:
        aside.write_text(text + "\n", encoding="utf-8")
    return path


def read_config(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns what ``config.json`` of a run folder holds, after checking its format.

    Args:
      directory: A run folder, or a saved model.

    Raises:
      FileNotFoundError: If it is not a run folder.
      ValueError: If the file is damaged, or was written by a newer format.
    """
    path = Path(directory).expanduser().absolute()
    file = path / CONFIG_NAME
    if not path.is_dir():
        raise FileNotFoundError(f"{path} does not exist, or is not a folder.")
    if not file.is_file():
        raise FileNotFoundError(f"{path} is not a run folder: it has no {CONFIG_NAME}.")
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:  # also of integers with thousands of digits
        raise ValueError(f"{file} is not JSON that can be read: {error}.") from error
    version = content.get("format") if isinstance(content, Mapping) else None
    if type(version) is not int or version < 1:
        raise ValueError(f"{file} is not the configuration of a run: it has no format number.")
    if version > FORMAT:
        raise ValueError(
            f"{file} has format {version}, newer than {FORMAT}, the newest that eqattn "
            f"{__version__} reads; upgrade eqattn."
        )
    found = {name: value for name, value in content.items() if name != "format"}
    if version == FORMAT:
        return found
    try:
        return from_format_1(found) if version == 1 else from_format_2(found)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{file}: {error}") from error


def read_run_config(directory: str | os.PathLike[str]) -> SavedConfig:
    """Returns the configuration of a run folder.

    Args:
      directory: A run folder.

    Raises:
      FileNotFoundError: If it is not a run folder.
      TypeError: If an entry of its ``config.json`` is of a wrong type.
      ValueError: If that file is damaged, of a newer format, or of a saved model without a task.
    """
    content = read_config(directory)
    path = Path(directory).expanduser().absolute()
    if "task" not in content:
        raise ValueError(f"{path} is a saved model without a task; it belongs to no run.")
    return parse_config(content, str(path / CONFIG_NAME))


def parse_config(content: Mapping[str, Any], where: str = CONFIG_NAME) -> SavedConfig:
    """Returns the configuration of a run from what :func:`read_config` returned.

    Args:
      content: Entries of ``config.json``.
      where: What to call it in messages, such as its path.

    Raises:
      TypeError: If an entry is of a wrong type.
      ValueError: If an entry is unknown, or the entries about the targets contradict each other.
    """
    get_task(content["task"])  # which may have models and lifts of its own
    config = from_json(SavedConfig, content, where)
    named = tuple(constants.target for constants in config.standardization)
    if named != config.targets:
        raise ValueError(
            f"{where}: standardization must be of the targets {list(config.targets)}, "
            f"got {list(named)}."
        )
    # Of energies beyond references forces are the derivative: one output serves both.
    num_outputs = 1 if config.references else len(config.targets)
    if config.out_features < num_outputs:
        raise ValueError(
            f"{where}: out_features must be at least {num_outputs}, one for each target, "
            f"got {config.out_features}."
        )
    for constants in config.standardization:
        if constants.scale <= 0:
            raise ValueError(
                f"{where}: the scale of {constants.target!r} must be above 0, "
                f"got {constants.scale}."
            )
    return config

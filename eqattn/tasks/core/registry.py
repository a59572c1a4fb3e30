"""The names of the tasks, and the room each one lives in.

A task of the library is a folder of `eqattn.tasks` with a module ``task`` that has a ``TASK``. One
of your own is an entry point of the group ``eqattn.tasks`` of an installed package, which names an
object, or its class, that keeps the protocol `eqattn.tasks.Task`. A task is imported when it is
asked for, so listing names costs nothing. Names of the library win.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

from eqattn.config import RunConfig
from eqattn.tasks.core.task import Task

__all__ = ["ENTRY_POINTS", "TASKS", "find_tasks", "get_preset", "get_task"]

ENTRY_POINTS = "eqattn.tasks"
"""Group of the entry points by which packages add tasks."""
_FOLDER = Path(__file__).parents[1]


def find_tasks() -> Mapping[str, tuple[str, str]]:
    """Returns the module and the attribute of each task that is installed, by its name."""
    folders = [module.name for module in pkgutil.iter_modules([str(_FOLDER)]) if module.ispkg]
    own = [name for name in folders if (_FOLDER / name / "task.py").is_file()]
    found = {name: (f"eqattn.tasks.{name}.task", "TASK") for name in own if name != "core"}
    others = metadata.entry_points(group=ENTRY_POINTS)
    added = {point.name: (point.module, point.attr) for point in others}
    return MappingProxyType({**added, **found})


TASKS: Mapping[str, tuple[str, str]] = find_tasks()
"""Module and attribute of each task, by name."""


def get_task(name: str) -> Task:
    """Returns the task with this name.

    Example:
      >>> get_task("molecules").name
      'molecules'

    Args:
      name: A key of `TASKS`.

    Raises:
      ValueError: If there is no such task, or it cannot be loaded.
    """
    if name not in TASKS:
        raise ValueError(f"task {name!r} is unknown; known are {', '.join(TASKS)}.")
    module, attribute = TASKS[name]
    try:
        found = getattr(importlib.import_module(module), attribute)
        task = found() if isinstance(found, type) else found
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        raise ValueError(f"task {name!r} of {module} cannot be loaded ({problem}).") from error
    if not isinstance(task, Task):
        raise ValueError(f"task {name!r} of {module} is no eqattn.tasks.Task.")
    return task


def get_preset(task: str, preset: str) -> RunConfig:
    """Returns the configuration of a task's preset.

    Args:
      task: A key of `TASKS`.
      preset: The name of one of its presets.

    Raises:
      ValueError: If there is no such task or preset.
    """
    presets = get_task(task).presets
    if preset not in presets:
        raise ValueError(f"preset {preset!r} is unknown; the task {task} has {', '.join(presets)}.")
    return presets[preset]

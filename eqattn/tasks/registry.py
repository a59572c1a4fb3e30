"""The names of the tasks, and the room each one lives in.

A task is imported when it is asked for, so listing names costs nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from eqattn.config import RunConfig
from eqattn.tasks.task import Task

__all__ = ["TASKS", "get_preset", "get_task"]

TASKS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "molecules": ("eqattn.tasks.molecules", "MoleculesTask"),
        "springs": ("eqattn.tasks.springs", "SpringsTask"),
        "shapes": ("eqattn.tasks.shapes", "ShapesTask"),
        "constellations": ("eqattn.tasks.constellations", "ConstellationsTask"),
        "images": ("eqattn.tasks.images", "ImagesTask"),
        "winds": ("eqattn.tasks.winds", "WindsTask"),
    }
)
"""Module and class of each task, by name."""


def get_task(name: str) -> Task:
    """Returns the task with this name.

    Example:
        >>> get_task("molecules").name
        'molecules'

    Args:
        name: A key of `TASKS`.

    Raises:
        ValueError: If there is no such task.
    """
    if name not in TASKS:
        raise ValueError(f"task {name!r} is unknown; known are {', '.join(TASKS)}.")
    module, attribute = TASKS[name]
    return getattr(importlib.import_module(module), attribute)()


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

"""Values of a run that a task does not use: changing one is an error, not a surprise."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from eqattn.config import RunConfig
from eqattn.tasks.registry import TASKS

__all__ = ["reject_unused"]


def reject_unused(config: RunConfig, names: Sequence[str] = ()) -> None:
    """Raises unless the named values, and what other tasks ask for, are as in a fresh run.

    Example:
        >>> reject_unused(RunConfig(buckets=(9,)), ["buckets"])
        Traceback (most recent call last):
        ValueError: buckets is not used by the task molecules, got (9,).

    Args:
        config: The run.
        names: Fields that its task does not use.

    Raises:
        ValueError: For the first of them that was changed.
    """
    fresh = RunConfig()
    others = (task for task in TASKS if hasattr(fresh, task) and task != config.task)
    for name in (*names, *others):
        value, default = getattr(config, name), getattr(fresh, name)
        if value == default:
            continue
        if dataclasses.is_dataclass(value):
            changed = (
                field.name
                for field in dataclasses.fields(value)
                if getattr(value, field.name) != getattr(default, field.name)
            )
            inner = next(changed)
            name, value = f"{name}.{inner}", getattr(value, inner)
        raise ValueError(f"{name} is not used by the task {config.task}, got {value!r}.")

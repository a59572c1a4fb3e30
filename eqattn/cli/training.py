"""``eqattn tasks`` and ``eqattn train``."""

from __future__ import annotations

import dataclasses
import datetime
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from eqattn.cli.compilation import keep_compiled_programs
from eqattn.cli.errors import RunFailedError, UsageError
from eqattn.cli.output import print_result
from eqattn.cli.parsing import parse, value_of
from eqattn.cli.scoring import enable_x64, prepare_precision, summary
from eqattn.config import RunConfig

if TYPE_CHECKING:
    from eqattn.train import RunResult

__all__ = ["tasks", "train"]

logger = logging.getLogger("eqattn")


@dataclass(frozen=True)
class TrainArguments(RunConfig):
    """Train a model on a task; every value of the preset can be changed."""

    task: Annotated[str, tyro.conf.Positional] = "molecules"
    """Name of the task (`eqattn tasks` lists them)."""
    out: Path | None = None
    """Run folder, which must not exist yet; by default runs/<task>-<preset>-<UTC time>."""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Go on with the run in this folder, as it was configured; no other option is taken."""
    x64: bool = False
    """Compute in float64 (sets jax_enable_x64 and the dtype of the model)."""


@dataclass(frozen=True)
class TasksArguments:
    """List the tasks, with their presets, targets and units."""


def tasks(arguments: list[str]) -> None:
    """Lists the tasks."""
    from eqattn.tasks import TASKS, get_task

    parse(TasksArguments, "tasks", arguments)
    known = []
    for name in TASKS:
        try:
            known.append(get_task(name))
        except ValueError as error:  # of a package that is not the library's
            logger.warning("%s", error)
    for task in known:
        targets = ", ".join(f"{name} [{unit}]" for name, unit in task.targets.items())
        logger.info("%s: %s", task.name, task.description)
        logger.info("  presets  %s", ", ".join(task.presets))
        logger.info("  targets  %s", targets)
    print_result(
        {
            task.name: {"presets": list(task.presets), "targets": dict(task.targets)}
            for task in known
        }
    )


def train(arguments: list[str]) -> None:
    """Trains, or goes on with a run that was stopped."""
    is_help = "-h" in arguments or "--help" in arguments
    if any(word.partition("=")[0] == "--resume" for word in arguments) and not is_help:
        _resume(arguments)
    else:
        _train(arguments, is_help=is_help)


def _train(arguments: list[str], *, is_help: bool) -> None:
    from eqattn.tasks import TASKS, get_preset

    if not arguments or (arguments[0].startswith("-") and not is_help):
        raise UsageError(f"TASK is missing; known are {', '.join(TASKS)}: eqattn train TASK …")
    task = next((a for a in arguments[:1] if not a.startswith("-")), RunConfig.task)
    preset = get_preset(task, value_of("--preset", arguments) or "demo")
    default = TrainArguments(**_run_fields(preset))
    parsed = parse(TrainArguments, "train", arguments, default, topic=task)
    config = RunConfig(**_run_fields(parsed))
    if parsed.x64:
        dtype = config.model.network.dtype
        if dtype in ("bfloat16", "float16"):
            raise UsageError(f"--x64 and the dtype {dtype} of the model contradict each other.")
        enable_x64()
        config = dataclasses.replace(config, model=config.model.replace_network(dtype="float64"))
    now = datetime.datetime.now(datetime.UTC)
    name = f"{config.task}-{config.preset}-{now:%Y%m%dT%H%M%SZ}"
    out = parsed.out if parsed.out is not None else Path("runs") / name

    from eqattn.train import TerminalReporter, train

    _report(config.task, out, lambda: train(config, out, reporter=TerminalReporter()))


def _resume(arguments: list[str]) -> None:
    directory = value_of("--resume", arguments)
    if not directory:
        raise UsageError("--resume needs the folder of a run: eqattn train --resume DIR.")
    others = [word for word in arguments if word.partition("=")[0] != "--resume"]
    if f"--resume={directory}" not in arguments:
        others.remove(directory)
    task = next((word for word in others[:1] if not word.startswith("-")), None)
    if others[task is not None :]:
        raise UsageError(
            f"--resume goes on with the configuration in {directory}, and takes no other option; "
            f"got {' '.join(others[task is not None :])}."
        )

    from eqattn.train import TerminalReporter, resume

    content = prepare_precision(directory)
    if task is not None and content.get("task") != task:
        raise UsageError(f"{directory} is a run of the task {content.get('task')!r}, not {task!r}.")
    _report(
        content.get("task"), Path(directory), lambda: resume(directory, reporter=TerminalReporter())
    )


def _report(task: Any, out: Path, work: Callable[[], RunResult]) -> None:
    """Does the work and prints its result; whoever stops it is told how to go on."""
    from eqattn.train import TrainingDivergedError

    keep_compiled_programs()
    try:
        result = work()
    except TrainingDivergedError as error:
        raise RunFailedError(str(error)) from error
    except KeyboardInterrupt as error:
        if (out / "config.json").is_file():
            error.args = (
                f"interrupted; eqattn train --resume {out} goes on from the last checkpoint.",
            )
        raise
    print_result(summary(task, "test", result))


def _run_fields(config: RunConfig) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(RunConfig)}

"""The command line: ``eqattn tasks``, ``eqattn train``, ``eqattn evaluate``.

The last line of stdout is one JSON object, for programs; everything for people goes to stderr.
Exit codes: 0 done, 1 the run failed (the loss diverged, memory ran out, or something unexpected
went wrong inside), 2 bad input, 130 interrupted. Whatever goes wrong is one line on stderr; the
trace goes to the logger "eqattn" at level DEBUG. Packages that are slow to import are imported by
the commands that need them.
"""

from __future__ import annotations

import _thread
import contextlib
import dataclasses
import datetime
import io
import json
import logging
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import tyro

from eqattn._version import __version__
from eqattn.config import RunConfig

if TYPE_CHECKING:
    from eqattn.train import RunResult

__all__ = ["main", "run"]

Arguments = TypeVar("Arguments")

RUN_FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
logger = logging.getLogger("eqattn")

USAGE = """\
usage: eqattn COMMAND …

  eqattn tasks                                  what can be learned, with presets and targets
  eqattn train TASK [--preset P] [--out DIR] [--x.y VALUE …]
                                                train; the result is one JSON line on stdout
  eqattn evaluate DIR [--split S] [--num-lifts N]
                                                score a run again, on any split
  eqattn --version

`eqattn COMMAND --help` lists the options of a command (for train: of a task, at its preset).
"""


@dataclass(frozen=True)
class TrainArguments(RunConfig):
    """Train a model on a task; every value of the preset can be changed."""

    task: Annotated[str, tyro.conf.Positional] = "molecules"
    """Name of the task (`eqattn tasks` lists them)."""
    out: Path | None = None
    """Run folder, which must not exist yet; by default runs/<task>-<preset>-<UTC time>."""
    x64: bool = False
    """Compute in float64 (sets jax_enable_x64 and model.dtype)."""


@dataclass(frozen=True)
class TasksArguments:
    """List the tasks, with their presets, targets and units."""


@dataclass(frozen=True)
class EvaluateArguments:
    """Score the best parameters of a run."""

    directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """Run folder."""
    split: str = "test"
    """Split to score: train, validation or test."""
    num_lifts: int | None = None
    """Lifts whose predictions are averaged; by default the run's own number."""


class UsageError(ValueError):
    """The command line cannot be understood."""


class RunFailedError(Exception):
    """The input was good, and the run failed all the same."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: Arguments after the program's name; by default those of the process.

    Returns:
        The exit code: 0 done, 1 the run failed, 2 bad input, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with _logging_to_stderr():
            _dispatch(arguments)
    except SystemExit:  # after the help of a command
        return 0
    except RunFailedError as error:
        return _fail(error, RUN_FAILED)
    except (ValueError, TypeError, OSError, ImportError, NotImplementedError) as error:
        logger.debug("this went wrong:", exc_info=True)
        return _fail(error, BAD_INPUT)
    except KeyboardInterrupt:
        return _fail(KeyboardInterrupt("interrupted."), INTERRUPTED)
    except Exception as error:  # the last resort: a trace helps nobody at a terminal
        logger.debug("this went wrong:", exc_info=True)
        return _fail(_explained(error), RUN_FAILED)
    return 0


def run() -> None:
    """Runs the command line as a program, and ends the process with its exit code."""
    sys.unraisablehook = _interrupt_again
    code = main()
    if code == INTERRUPTED:
        # Threads that were interrupted anywhere may crash the interpreter while it shuts down.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _interrupt_again(unraisable: Any) -> None:
    """Repeats an interrupt that came inside a callback of the garbage collector, which drops it."""
    if unraisable.exc_type is KeyboardInterrupt:
        threading.Timer(0.05, _thread.interrupt_main).start()  # after the callback is over
    else:
        sys.__unraisablehook__(unraisable)


def _explained(error: Exception) -> Exception:
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return RunFailedError(
            f"not enough memory for this model, batch size or data ({error or 'host memory'})."
        )
    return RunFailedError(f"internal error: {type(error).__name__}: {error}")


def _dispatch(arguments: list[str]) -> None:
    commands: dict[str, Callable[[list[str]], None]] = {
        "tasks": _tasks,
        "train": _train,
        "evaluate": _evaluate,
    }
    command = arguments[0] if arguments else ""
    if command in ("-h", "--help"):
        print(USAGE, end="")
    elif command == "--version":
        print(f"eqattn {__version__}")
    elif command in commands:
        commands[command](arguments[1:])
    else:
        problem = f"unknown command {command!r}" if command else "a command is missing"
        raise UsageError(f"{problem}; known are {', '.join(commands)} (see eqattn --help).")


def _tasks(arguments: list[str]) -> None:
    from eqattn.tasks import TASKS, get_task

    _parse(TasksArguments, "tasks", arguments)
    tasks = [get_task(name) for name in TASKS]
    for task in tasks:
        targets = ", ".join(f"{name} [{unit}]" for name, unit in task.targets.items())
        logger.info("%s: %s", task.name, task.description)
        logger.info("  presets  %s", ", ".join(task.presets))
        logger.info("  targets  %s", targets)
    _print_result(
        {
            task.name: {"presets": list(task.presets), "targets": dict(task.targets)}
            for task in tasks
        }
    )


def _train(arguments: list[str]) -> None:
    from eqattn.tasks import TASKS, get_preset

    if not arguments or (arguments[0].startswith("-") and not _asks_help(arguments)):
        raise UsageError(f"TASK is missing; known are {', '.join(TASKS)}: eqattn train TASK …")
    times = sum(argument.partition("=")[0] == "--preset" for argument in arguments)
    if times > 1:
        raise UsageError(f"--preset must be given once, got it {times} times.")
    task = next((a for a in arguments[:1] if not a.startswith("-")), next(iter(TASKS)))
    preset = get_preset(task, _value_of("--preset", arguments, default="demo"))
    parsed = _parse(TrainArguments, "train", arguments, TrainArguments(**_run_fields(preset)))
    config = RunConfig(**_run_fields(parsed))
    if parsed.x64:
        _enable_x64()
        if config.model.dtype == "float32":
            model = dataclasses.replace(config.model, dtype="float64")
            config = dataclasses.replace(config, model=model)
    now = datetime.datetime.now(datetime.UTC)
    name = f"{config.task}-{config.preset}-{now:%Y%m%dT%H%M%SZ}"
    out = parsed.out if parsed.out is not None else Path("runs") / name

    from eqattn.train import TerminalReporter, TrainingDivergedError, train

    try:
        result = train(config, out, reporter=TerminalReporter())
    except TrainingDivergedError as error:
        raise RunFailedError(str(error)) from error
    _print_result(_summary(config.task, "test", result))


def _evaluate(arguments: list[str]) -> None:
    parsed = _parse(EvaluateArguments, "evaluate", arguments)

    from eqattn.train import evaluate
    from eqattn.train.run_folder import read_config

    content = read_config(parsed.directory)
    model = content.get("model")
    if isinstance(model, dict) and model.get("dtype") == "float64":
        _enable_x64()
    result = evaluate(parsed.directory, split=parsed.split, num_lifts=parsed.num_lifts)
    _print_result(_summary(content["task"], parsed.split, result))


def _summary(task: str, split: str, result: RunResult) -> dict[str, Any]:
    """Returns what the last line of stdout says; the top level is about the first target."""
    scores = [dataclasses.asdict(score) for score in result.scores]
    firsts = {score["target"]: score for score in reversed(scores)}
    return {
        "task": task,
        **dataclasses.asdict(result.scores[0]),
        "params": result.num_params,
        "steps": result.steps,
        "seconds": round(result.seconds, 3),
        "out": str(result.directory),
        "split": split,
        "targets": {
            name: {key: score[key] for key in ("metric", "value", "baseline", "unit")}
            for name, score in reversed(firsts.items())
        },
        "scores": scores,
        "baselines": dict(result.baselines),
    }


def _parse(
    kind: type[Arguments], command: str, arguments: list[str], default: Arguments | None = None
) -> Arguments:
    """Returns the parsed arguments; what tyro says in a box is reduced to its first paragraph."""
    errors = io.StringIO()
    options: dict[str, Any] = {} if default is None else {"default": default}
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(kind, prog=f"eqattn {command}", args=arguments, **options)
    except SystemExit as stop:
        if not stop.code:
            raise
        message = _first_paragraph(errors.getvalue())
        raise UsageError(f"{message} (see eqattn {command} --help)") from None


def _first_paragraph(box: str) -> str:
    """Returns the text of a drawn box up to its first ruler, on one line."""
    lines: list[str] = []
    for line in box.splitlines()[1:]:
        text = line.strip("│| \t")  # tyro draws with ASCII where the terminal has nothing else
        if not text or set(text) <= set("─╰╯+-"):
            break
        lines.append(text)
    return " ".join(lines) or " ".join(box.split())


def _run_fields(config: RunConfig) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(RunConfig)}


def _asks_help(arguments: list[str]) -> bool:
    return "-h" in arguments or "--help" in arguments


def _value_of(flag: str, arguments: list[str], *, default: str) -> str:
    """Returns the value of a flag that decides how the others are parsed."""
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == flag and equals:
            return value
        following = arguments[index + 1 : index + 2]
        if argument == flag and following and not following[0].startswith("-"):
            return following[0]
    return default


def _enable_x64() -> None:
    import jax

    jax.config.update("jax_enable_x64", True)


def _print_result(result: dict[str, Any]) -> None:
    print(json.dumps(_finite(result), allow_nan=False), flush=True)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


@contextlib.contextmanager
def _logging_to_stderr() -> Iterator[None]:
    handler = logging.StreamHandler(sys.stderr)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def _fail(error: BaseException, code: int) -> int:
    message = str(error)
    if isinstance(error, OSError) and error.strerror and error.filename:
        message = f"{error.filename}: {error.strerror}"
    print(f"eqattn: error: {' '.join(message.split())}", file=sys.stderr)
    return code

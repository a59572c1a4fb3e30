"""What the benchmarks that train models share: their options, and runs that are kept."""

import contextlib
import dataclasses
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import tyro

from eqattn.cli.parsing import value_of
from eqattn.config import RunConfig
from eqattn.tasks import get_preset
from eqattn.train import RunResult, resume, train
from eqattn.train.loop import absolute_data
from eqattn.train.progress import LogReporter, Reporter, Update
from eqattn.train.run_folder import read_run_config

CLOCK_NAME = "clock.json"
"""File of a run folder in which :class:`Clock` may keep its count."""


class Clock(LogReporter):
    """Counts CPU seconds of the steps of a run, also over several processes.

    The first steps of a process compile, and evaluations come between others: neither counts, but
    all steps count as much as those that were timed.

    Args:
      path: File that keeps the count.
    """

    def __init__(self, path: Path):
        self._path = path
        self.seconds, self.steps = json.loads(path.read_text()) if path.is_file() else (0.0, 0)
        self._since: tuple[float, int] | None = None

    @property
    def seconds_per_step(self) -> float:
        """CPU seconds of a step, in the mean."""
        return self.seconds / max(self.steps, 1)

    def update(self, update: Update) -> None:
        """Counts the steps since the last update, unless something else came between."""
        now = time.process_time()
        if self._since is not None:
            self.seconds += now - self._since[0]
            self.steps += update.step - self._since[1]
        self._since = now, update.step

    def note(self, text: str) -> None:
        """Stops the clock for an evaluation, and keeps the count."""
        super().note(text)
        self._since = None
        if self.steps:
            self._path.write_text(json.dumps((self.seconds, self.steps)))


def parse_run(name: str, task: str, fixed: Sequence[str], words: Sequence[str]) -> RunConfig:
    """Returns the run that the words describe, with the options of ``eqattn train``.

    Args:
      name: Name of the benchmark.
      task: Name of the task.
      fixed: Fields that the benchmark sets itself, with dots.
      words: Words of the command line.

    Raises:
      SystemExit: If a word changes one of those, or cannot be understood.
    """
    words = list(words)
    preset = get_preset(task, value_of("--preset", words) or "demo")
    prog = f"python -m benchmarks.{name}"
    config = tyro.cli(RunConfig, default=preset, args=words, prog=prog)
    for field in ("task", *fixed):
        given, own = _get(config, field), _get(preset, field)
        if given != own:
            raise SystemExit(f"{field} is set by this benchmark, got {given!r}.")
    return config


def _get(config: RunConfig, field: str) -> object:
    value: object = config
    for part in field.split("."):
        value = getattr(value, part)
    return value


def check_at_least(minimum: float, **values: float) -> None:
    """Makes sure that options of a benchmark are large enough.

    Args:
      minimum: The smallest value that is allowed.
      **values: Values by the name of the option.

    Raises:
      SystemExit: For the first that is smaller, or not a number.
    """
    for name, value in values.items():
        if not value >= minimum:
            raise SystemExit(f"--{name.replace('_', '-')} must be at least {minimum}, got {value}.")


def with_steps(config: RunConfig, steps: int | None) -> RunConfig:
    """Returns a run with another number of steps and as many evaluations.

    Args:
      config: The run.
      steps: Number of steps; None for those of the run.
    """
    if steps is None:
        return config
    every = max(1, config.eval_every * steps // config.steps)
    return dataclasses.replace(config, steps=steps, eval_every=every)


def out_folder(words: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Returns the value of ``--out``, None without it, and the other words.

    Args:
      words: Words of the command line.

    Raises:
      SystemExit: If ``--out`` has no value.
    """
    words = list(words)
    if "--out" not in words:
        return None, words
    place = words.index("--out")
    if place + 1 == len(words):
        raise SystemExit("--out needs a folder.")
    return Path(words[place + 1]), words[:place] + words[place + 2 :]


@contextlib.contextmanager
def folder_of_runs(out: Path | None) -> Iterator[Path]:
    """Gives the folder that run folders are made in: a temporary one where none is to be kept.

    Args:
      out: Value of ``--out``.
    """
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch)


def train_once(config: RunConfig, folder: Path, reporter: Reporter | None = None) -> RunResult:
    """Trains a model, or goes on with the run that is in the folder, to its end.

    Args:
      config: The run.
      folder: The run folder.
      reporter: Receives progress; by default the logger "eqattn".

    Raises:
      SystemExit: If the folder holds a run of another configuration.
    """
    if not (folder / "config.json").is_file():
        return train(config, folder, reporter=reporter)
    check_same_run(config, folder)
    return resume(folder, reporter=reporter)


def check_same_run(config: RunConfig, folder: Path) -> None:
    """Makes sure that the run in a folder is the one that is wanted.

    Args:
      config: The run that is wanted.
      folder: The run folder.

    Raises:
      SystemExit: If the folder holds a run of another configuration.
    """
    saved = read_run_config(folder)
    config = dataclasses.replace(config, data=absolute_data(config))
    for field in dataclasses.fields(config):
        wanted, there = getattr(config, field.name), getattr(saved, field.name)
        if wanted != there:
            raise SystemExit(
                f"--out: {folder} holds a run with {field.name} {there!r}, not {wanted!r}; take "
                "another folder."
            )

"""How a run tells the person waiting for it how it goes."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

__all__ = ["LogReporter", "Reporter", "TerminalReporter", "Update"]

logger = logging.getLogger("eqattn")


@dataclass(frozen=True)
class Update:
    """Where a run stands.

    Attributes:
      step: Steps taken.
      steps: Steps of the whole run.
      loss: Mean training loss since the last update.
      steps_per_second: Rate since the last update.
      examples_per_second: Rate since the last update.
    """

    step: int
    steps: int
    loss: float
    steps_per_second: float
    examples_per_second: float

    @property
    def seconds_left(self) -> float:
        """Time left at this rate, in seconds, evaluations not counted."""
        return (self.steps - self.step) / max(self.steps_per_second, 1e-9)

    @property
    def summary(self) -> str:
        """What is said of it where the time left is shown in another way."""
        return (
            f"step {self.step}/{self.steps}  loss {self.loss:#.4g}  "
            f"{self.examples_per_second:,.0f} examples/s  {self.steps_per_second:.1f} steps/s"
        )

    def __str__(self) -> str:
        minutes, seconds = divmod(round(self.seconds_left), 60)
        return f"{self.summary}  {minutes}:{seconds:02d} left"


@runtime_checkable
class Reporter(Protocol):
    """Receives news of a run."""

    def update(self, update: Update) -> None:
        """Takes the state of training, every few steps."""
        ...

    def note(self, text: str) -> None:
        """Takes a line worth keeping, such as the scores of an evaluation."""
        ...

    def close(self) -> None:
        """Ends the report."""
        ...


class LogReporter:
    """Reports to the logger "eqattn": what the library does when nobody asks for more."""

    def update(self, update: Update) -> None:
        """Logs at level DEBUG."""
        logger.debug("%s", update)

    def note(self, text: str) -> None:
        """Logs at level INFO."""
        logger.info("%s", text)

    def close(self) -> None:
        """Does nothing."""


class TerminalReporter:
    """Reports for people to read: a live bar on a terminal, else a plain line every few seconds.

    Args:
      console: Where to write; by default stderr.
      seconds: Time between two plain lines.
    """

    def __init__(self, console: Console | None = None, *, seconds: float = 10.0):
        self._console = Console(stderr=True) if console is None else console
        self._seconds = seconds
        self._next_line = time.monotonic() + seconds
        self._progress: Progress | None = None
        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._bar = self._progress.add_task("compiling", total=None)
            self._progress.start()

    def update(self, update: Update) -> None:
        """Moves the bar, or writes a line if the last one is old enough."""
        if self._progress is not None:
            self._progress.update(
                self._bar, description=update.summary, completed=update.step, total=update.steps
            )
        elif time.monotonic() >= self._next_line or update.step == update.steps:
            self._next_line = time.monotonic() + self._seconds
            self.note(str(update))

    def note(self, text: str) -> None:
        """Writes a line, above the bar if there is one."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Takes the bar down."""
        if self._progress is not None:
            self._progress.stop()

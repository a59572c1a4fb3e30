"""The baseline that some tasks train beside the model, in the same way and for the same time.

It is an ordinary run in the folder ``baseline`` of the run, so that whatever reads, evaluates or
goes on with a run does so with the baseline's too.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path

import jax
from flax import nnx

from eqattn.config import RunConfig
from eqattn.tasks import HasBaseline, Score, get_task
from eqattn.train.building import build_model
from eqattn.train.checkpoints import read_latest
from eqattn.train.config_json import from_json
from eqattn.train.progress import Reporter, Update
from eqattn.train.run_folder import CHECKPOINTS_NAME, CONFIG_NAME, parse_config, read_config
from eqattn.train.run_record import RunRecord, has_lost_patience
from eqattn.train.state import init_state, make_step

__all__ = ["OpenReporter", "baseline_folder", "baselines_by_name", "beside", "fit_to_seconds"]

BASELINE_NAME = "baseline"
WARM_UP_STEPS = 5
"""Steps before the clock is started; the first one compiles."""
MEASURED_WINDOWS, MEASURED_SECONDS = 4, 1.0
"""The rate of steps is the highest over some windows of about so long: a machine that is busy for a
moment must not shorten the baseline's training."""


def fit_to_seconds(config: RunConfig, seconds: float, num_evaluations: int) -> RunConfig:
    """Returns the run with as many steps as fit into a time, its schedule with them.

    The rate is measured on steps whose results are thrown away. Compilation and evaluations come
    on top of the time.

    Args:
      config: Configuration of the run.
      seconds: Seconds that its steps may take.
      num_evaluations: How many evaluations it is to have.

    Raises:
      ValueError: If the configuration is wrong.
    """
    problem = get_task(config.task).prepare(config)
    sizes = problem.in_features, problem.out_features
    graphdef, params = nnx.split(build_model(config, *sizes), nnx.Param)
    state, step_fn = init_state(params, config), make_step(graphdef, problem, config)
    batches = problem.training_batches()
    for index in range(WARM_UP_STEPS):
        state, _ = step_fn(state, batches[index])
    jax.block_until_ready(state)
    index, rate = WARM_UP_STEPS, 0.0
    for _ in range(MEASURED_WINDOWS):
        began, first = time.monotonic(), index
        while index == first or time.monotonic() - began < MEASURED_SECONDS:
            state, _ = step_fn(state, batches[index])
            jax.block_until_ready(state)
            index += 1
        rate = max(rate, (index - first) / (time.monotonic() - began))
    steps = max(1, round(seconds * rate))
    return dataclasses.replace(
        config, steps=steps, eval_every=math.ceil(steps / max(1, num_evaluations))
    )


def baseline_folder(directory: str | os.PathLike[str]) -> Path | None:
    """Returns the folder of a run's baseline if that has been trained to its end, else None.

    Args:
      directory: A run folder.
    """
    path = Path(directory).expanduser().absolute() / BASELINE_NAME
    if not (path / CONFIG_NAME).is_file():
        return None
    latest = read_latest(path / CHECKPOINTS_NAME)
    if latest is None:
        return None
    config = parse_config(read_config(path))
    stand = from_json(RunRecord, latest.record, str(path / CHECKPOINTS_NAME))
    is_over = has_lost_patience(config, stand.validated_step, stand.best)
    return path if is_over or latest.step >= config.steps else None


def beside(scores: Sequence[Score], baseline: Sequence[Score]) -> tuple[Score, ...]:
    """Returns the scores with those of the trained baseline in place of the trivial one's.

    Args:
      scores: Scores of the model.
      baseline: Scores of the baseline; where it lacks one, the trivial one's stays.
    """
    values = {(other.target, other.metric): other.value for other in baseline}
    return tuple(
        dataclasses.replace(
            score, baseline=values.get((score.target, score.metric), score.baseline)
        )
        for score in scores
    )


def baselines_by_name(task: object, baseline: Sequence[Score]) -> dict[str, float]:
    """Returns the first score of the trivial and of the trained baseline.

    Args:
      task: The task.
      baseline: Scores of the trained baseline.
    """
    if not isinstance(task, HasBaseline):
        return {}
    trivial, trained = task.baseline_names
    return {trivial: baseline[0].baseline, trained: baseline[0].value}


class OpenReporter:
    """A reporter that a run inside another leaves open.

    Args:
      reporter: Receives what this one does, except its end.
    """

    def __init__(self, reporter: Reporter):
        self._reporter = reporter

    def update(self, update: Update) -> None:
        """Passes the update on."""
        self._reporter.update(update)

    def note(self, text: str) -> None:
        """Passes the line on, marked."""
        self._reporter.note(f"baseline: {text}")

    def close(self) -> None:
        """Does nothing."""

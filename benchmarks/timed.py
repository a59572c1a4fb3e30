"""Runs that take as many steps as fit into a CPU time, with their schedule."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn.config import RunConfig
from eqattn.tasks import Score
from eqattn.train.building import build_model
from eqattn.train.evaluation import Predictor, make_predictor, predict_split
from eqattn.train.state import NO_STEP, init_state, make_step

NUM_EVALUATIONS = 20
WARM_UP, MEASURED = 5, 100

Choice = Callable[[tuple[Score, ...]], float]


@dataclass(frozen=True)
class TimedRun:
    """What a run amounts to.

    Attributes:
      graphdef: The model without its parameters.
      params: The averaged parameters that are best on validation.
      predictor: Predicts with parameters.
      num_params: How many there are.
      steps: Steps that fitted into the time.
      seconds: CPU seconds of these steps, without compilation and evaluations.
      validation: The smallest error on validation.
      curve: Seconds so far and the error on validation, evaluation after evaluation.
    """

    graphdef: nnx.GraphDef
    params: Any
    predictor: Predictor
    num_params: int
    steps: int
    seconds: float
    validation: float
    curve: list[tuple[float, float]]


class _Clock:
    """Counts CPU seconds of the process while it is held."""

    def __init__(self):
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._began = time.process_time()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.process_time() - self._began


def _take_steps(state: Any, step_fn: Any, batches: Any, begin: int, end: int) -> Any:
    """The state after some steps, once they are done."""
    for index in range(begin, end):
        state, _ = step_fn(state, batches[index])
    return jax.block_until_ready(state)


def seconds_per_step(state: Any, step_fn: Any, batches: Any) -> float:
    """Returns the CPU seconds of a step of training, in the mean over the first of them.

    Args:
      state: State before the first step, which must not be used again.
      step_fn: The step; compiled ahead, where batches are of several shapes.
      batches: Batches by the number of the step.
    """
    state = _take_steps(state, step_fn, batches, 0, WARM_UP)
    clock = _Clock()
    with clock:
        _take_steps(state, step_fn, batches, WARM_UP, WARM_UP + MEASURED)
    return clock.seconds / MEASURED


def scores_of(predictor: Predictor, params: Any, problem: Any, split: str) -> tuple[Score, ...]:
    """Returns the scores of parameters on a split.

    Args:
      predictor: Predicts with them.
      params: The parameters.
      problem: Examples of the task.
      split: "train", "validation" or "test".
    """
    return problem.score(split, predict_split(predictor, params, problem, split))


def first_value(scores: tuple[Score, ...]) -> float:
    """Returns the first score.

    Args:
      scores: Scores of a split.
    """
    return scores[0].value


def train_for(
    config: RunConfig, problem: Any, seconds: float, choice: Choice = first_value
) -> TimedRun:
    """Trains for as many steps as fit into a CPU time, as fast as the first of them go.

    Args:
      config: Configuration of the run, whose number of steps does not count.
      problem: Examples of the task.
      seconds: CPU seconds that its steps may take.
      choice: The error on validation, of its scores, by which parameters are chosen.
    """
    graphdef, params = nnx.split(
        build_model(config, problem.in_features, problem.out_features), nnx.Param
    )
    batches = problem.training_batches()
    state, step_fn = init_state(params, config), make_step(graphdef, problem, config)
    each = max(1, int(seconds / seconds_per_step(state, step_fn, batches) / NUM_EVALUATIONS))
    config = dataclasses.replace(config, steps=each * NUM_EVALUATIONS)
    state, step_fn = init_state(params, config), make_step(graphdef, problem, config)
    _take_steps(state, step_fn, batches, 0, 1)  # compiles
    state = init_state(params, config)
    predictor = make_predictor(graphdef, problem, 1)
    clock, curve, best = _Clock(), [], (np.inf, params)
    for number in range(NUM_EVALUATIONS):
        with clock:
            state = _take_steps(state, step_fn, batches, number * each, (number + 1) * each)
        if int(state.failed_step) != NO_STEP:
            break
        error = choice(scores_of(predictor, state.average, problem, "validation"))
        curve.append((round(clock.seconds, 1), error))
        if error < best[0]:
            best = (error, jax.tree.map(jnp.array, state.average))
    return TimedRun(
        graphdef=graphdef,
        params=best[1],
        predictor=predictor,
        num_params=sum(leaf.size for leaf in jax.tree.leaves(params)),
        steps=config.steps,
        seconds=round(clock.seconds, 1),
        validation=best[0],
        curve=curve,
    )

"""What a training run carries from step to step, and the one jitted step.

The step owns its state (the buffers are donated), draws the lifts and the augmentation inside from
a key folded with the step number, and never leaves a good state for a bad one: once the loss or the
gradient is not finite, the state stays as it was and remembers the step at which that happened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from eqattn.config import RunConfig
from eqattn.pytrees import register_dataclass
from eqattn.tasks import AugmentingProblem, Batch, Problem
from eqattn.train.devices import DataParallel
from eqattn.train.optimizer import make_optimizer, make_schedule, update_average
from eqattn.typing import Array, Int, Key

__all__ = ["TrainState", "TrainStep", "init_state", "make_step"]

NO_STEP = -1


@register_dataclass
@dataclass(frozen=True)
class TrainState:
    """Everything that changes during a run, apart from the position in the data.

    Attributes:
      params: Parameters.
      average: Exponential moving average of the parameters; evaluation uses it.
      optimizer: State of the optimizer.
      step: Steps taken.
      key: Key of the run; it never changes, steps fold their number into it.
      failed_step: First step whose loss or gradient was not finite, or -1.
    """

    params: Any
    average: Any
    optimizer: Any
    step: Int[Array, ""]
    key: Key[Array, ""]
    failed_step: Int[Array, ""]


StepMetrics = dict[str, jax.Array]
TrainStep = Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]]


def init_state(params: Any, config: RunConfig) -> TrainState:
    """Returns the state before the first step.

    Args:
      params: Fresh parameters; copied, since the step donates what it is given.
      config: Configuration of the run.

    Raises:
      ValueError: If a value of the optimizer's configuration is out of range.
    """
    optimizer = make_optimizer(config.optimizer, make_schedule(config.optimizer, config.steps))
    params = jax.tree.map(jnp.array, params)
    return TrainState(
        params=params,
        average=jax.tree.map(jnp.array, params),
        optimizer=optimizer.init(params),
        step=jnp.zeros((), jnp.int32),
        key=jax.random.fold_in(jax.random.key(config.seed), 1),
        failed_step=jnp.full((), NO_STEP, jnp.int32),
    )


def make_step(
    graphdef: nnx.GraphDef,
    problem: Problem,
    config: RunConfig,
    devices: Sequence[Any] | None = None,
) -> TrainStep:
    """Returns the training step; each shape of batch is compiled once.

    Args:
      graphdef: The model without its parameters.
      problem: Gives the loss.
      config: Configuration of the run.
      devices: Devices that share the rows of a batch; by default all that the process has.

    Returns:
      A function of a state and a batch that returns the next state and the step's "loss",
      "gradient_norm" and "lr". The state it is given must not be used again.

    Raises:
      ValueError: If a value of the optimizer's configuration is out of range.
    """
    schedule = make_schedule(config.optimizer, config.steps)
    optimizer = make_optimizer(config.optimizer, schedule)

    parallel = DataParallel(config.accumulate, devices)

    def sum_fn(params: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return problem.loss(nnx.merge(graphdef, params), batch, key)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        key = jax.random.fold_in(state.key, state.step)
        if isinstance(problem, AugmentingProblem):
            batch = problem.augment(batch, key)
        loss, gradient = parallel.value_and_gradient(sum_fn, state.params, batch, key)
        norm = optax.tree.norm(gradient)
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        advanced = TrainState(
            params=params,
            average=update_average(state.average, params, state.step, config.optimizer.ema_decay),
            optimizer=optimizer_state,
            step=state.step + 1,
            key=state.key,
            failed_step=state.failed_step,
        )
        good = (state.failed_step == NO_STEP) & jnp.isfinite(loss) & jnp.isfinite(norm)
        failed = jnp.where(state.failed_step == NO_STEP, state.step + 1, state.failed_step)
        kept = TrainState(
            state.params, state.average, state.optimizer, state.step, state.key, failed
        )
        next_state = jax.tree.map(lambda new, old: jnp.where(good, new, old), advanced, kept)
        return next_state, {
            "loss": loss,
            "gradient_norm": norm,
            "lr": jnp.asarray(schedule(state.step)),
        }

    jitted = jax.jit(step, donate_argnums=0)
    return lambda state, batch: jitted(state, parallel.spread(batch))

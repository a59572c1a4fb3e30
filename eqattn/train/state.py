"""What a training run carries from step to step, and the one jitted step.

The step owns its state (the buffers are donated), draws the lifts and the augmentation inside from
a key folded with the step number, and never leaves a good state for a bad one: once the loss or the
gradient is not finite, the state stays as it was and remembers the step at which that happened.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from eqattn.config import RunConfig
from eqattn.models import Ensemble
from eqattn.pytrees import register_dataclass
from eqattn.tasks import AugmentingProblem, Batch, Problem
from eqattn.train.devices import DataParallel
from eqattn.train.optimizer import make_optimizer, make_schedule, update_average

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
      step: Steps taken, an integer.
      key: Key of the run; it never changes, steps fold their number into it.
      failed_step: First step whose loss or gradient was not finite, or -1.
    """

    # As a tree it also holds descriptions of arrays, so that the types of arrays do not fit.

    params: Any
    average: Any
    optimizer: Any
    step: Any
    key: Any
    failed_step: Any


StepMetrics = dict[str, jax.Array]


class TrainStep:
    """The jitted step: a function of a state and a batch, compiled once for each shape of batch.

    It returns the next state and the step's "loss", "gradient_norm" and "lr". The state that it is
    given must not be used again.

    Args:
      step: The function.
      parallel: How the rows of a batch are spread over devices.
    """

    def __init__(
        self,
        step: Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]],
        parallel: DataParallel,
    ):
        self._jitted, self._parallel = jax.jit(step, donate_argnums=0), parallel
        self._compiled: dict[Any, Callable[..., tuple[TrainState, StepMetrics]]] = {}

    def compile_ahead(self, state: TrainState, batches: Sequence[Batch]) -> None:
        """Compiles the step for batches of such shapes, side by side.

        Args:
          state: A state of the run, which stays as it is; later ones must lie on the same devices.
          batches: A batch of each shape.
        """
        spread = [self._parallel.spread(batch) for batch in batches]
        lowered = [self._jitted.lower(state, batch) for batch in spread]
        pool = ThreadPoolExecutor(os.cpu_count())
        try:
            programs = list(pool.map(lambda program: program.compile(), lowered))
        finally:  # a signal ends it without those that have not begun
            pool.shutdown(wait=False, cancel_futures=True)
        self._compiled |= dict(zip(map(_shapes, spread), programs, strict=True))

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        """Takes the step."""
        batch = self._parallel.spread(batch)
        return self._compiled.get(_shapes(batch), self._jitted)(state, batch)


def _shapes(batch: Batch) -> tuple[Any, ...]:
    dtype = jax.dtypes.canonicalize_dtype
    return tuple((name, array.shape, dtype(array.dtype)) for name, array in sorted(batch.items()))


def init_state(params: Any, config: RunConfig) -> TrainState:
    """Returns the state before the first step.

    Args:
      params: Fresh parameters; copied, since the step donates what it is given. The state holds
        their arrays without Flax's variables around them, which would cost each call of a step
        milliseconds.
      config: Configuration of the run.

    Raises:
      ValueError: If a value of the optimizer's configuration is out of range.
    """
    optimizer = _optimizer(config, make_schedule(config.optimizer, config.steps))
    params = jax.tree.map(_array, params, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))
    return TrainState(
        params=params,
        average=jax.tree.map(jnp.array, params),
        optimizer=optimizer.init(params),
        step=jnp.zeros((), jnp.int32),
        key=jax.random.fold_in(jax.random.key(config.seed), 1),
        failed_step=jnp.full((), NO_STEP, jnp.int32),
    )


def _array(leaf: Any) -> jax.Array:
    """A copy of an array, out of the variable that may hold it."""
    return jnp.array(leaf[...])


def make_step(
    graphdef: nnx.GraphDef,
    problem: Problem,
    config: RunConfig,
    devices: Sequence[Any] | None = None,
) -> TrainStep:
    """Returns the training step.

    Args:
      graphdef: The model without its parameters.
      problem: Gives the loss.
      config: Configuration of the run.
      devices: Devices that share the rows of a batch; by default all that the process has.

    Raises:
      ValueError: If a value of the optimizer's configuration is out of range.
    """
    schedule = make_schedule(config.optimizer, config.steps)
    optimizer = _optimizer(config, schedule)
    parallel = DataParallel(config.accumulate, devices)

    def sum_fn(params: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        model = nnx.merge(graphdef, params)
        if isinstance(model, Ensemble):
            return _sum_over_members(problem, model, batch, key)
        return problem.loss(model, batch, key)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        key = jax.random.fold_in(state.key, state.step)
        if isinstance(problem, AugmentingProblem):
            batch = problem.augment(batch, key)
        loss, gradient = parallel.value_and_gradient(sum_fn, state.params, batch, key)
        loss = loss / config.ensemble
        norm = optax.tree.norm(gradient) / config.ensemble**0.5
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

    return TrainStep(step, parallel)


def _optimizer(config: RunConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    """The optimizer of a run, which treats each member of an ensemble as if it were alone."""
    optimizer = make_optimizer(config.optimizer, schedule)
    if config.ensemble == 1:
        return optimizer
    return optax.GradientTransformation(jax.vmap(optimizer.init), jax.vmap(optimizer.update))


def _sum_over_members(
    problem: Problem, ensemble: Ensemble, batch: Batch, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Losses of all members, each with draws of its own, whose gradients are those of each alone.

    The first member draws what a run without an ensemble does.
    """
    keys = jnp.stack([key, *jax.random.split(key, ensemble.size - 1)])
    losses, weights = ensemble.of_members(lambda model, key: problem.loss(model, batch, key), keys)
    return jnp.sum(losses), weights[0]

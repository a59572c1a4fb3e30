"""Springs as a model sees them, in training and in prediction for new ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from eqattn.config import SavedConfig
from eqattn.data.streams import Rows, batches_once
from eqattn.models import AccelerationNetwork, HamiltonianNetwork
from eqattn.models.intervals import Times, intervals_between
from eqattn.tasks.core.config_checks import task_options
from eqattn.tasks.core.ranges import reasons_outside
from eqattn.tasks.core.task import Batch, Predictions
from eqattn.tasks.springs.data import TIMES
from eqattn.tasks.springs.models import SpringsOptions, knows_origin
from eqattn.tasks.springs.ranges import spring_quantities
from eqattn.tasks.springs.states import SpringStates
from eqattn.typing import Array, Float

__all__ = ["NewSprings", "roll_out"]

LARGEST_STEPS = 100_000
"""Of a roll-out with fixed steps: two hundred times as long as the record."""


class NewSprings:
    """Systems of springs that no run has seen; see :class:`eqattn.tasks.NewExamples`.

    They are followed with the solver of the run, in steps that are no longer than those it was
    trained with.

    Args:
      states: The systems.
      config: The run whose model predicts.

    Raises:
      ValueError: If their times ask for too many steps, or are the same in the run's precision.
    """

    def __init__(self, states: SpringStates, config: SavedConfig):
        self._states = states
        self._config = config
        self._dtype = np.dtype(jnp.promote_types(jnp.float32, config.model.network.dtype))
        self._options = task_options(config, SpringsOptions)
        self._solver = solver = self._options.solver
        self._intervals = intervals_between(states.times, self._dtype, solver=solver)
        self._num_substeps = self._choose_substeps()
        # Models that see no origin get positions from the middle of each system, so that the cast
        # to float32 loses nothing far away.
        self._centers = states.positions.mean(axis=1, keepdims=True)
        if knows_origin(config.model):
            self._centers = np.zeros_like(self._centers)

    def batches(self) -> Iterable[Batch]:
        """Returns each system once."""
        states, config = self._states, self._config
        first = np.concatenate([states.positions - self._centers, states.momenta], axis=-1)
        features = np.stack([states.masses, states.spring_constants], axis=-1)

        def gather(rows: Rows) -> dict[str, np.ndarray]:
            return {
                "state": first[rows].astype(self._dtype),
                "features": features[rows].astype(self._dtype),
                "id": states.ids[rows].astype(np.int32),
            }

        size = min(config.batch_size, len(states))
        return batches_once(gather, len(states), batch_size=size)

    def predict(self, model: Any, batch: Batch, num_lifts: int) -> dict[str, Float[Array, "B ..."]]:
        """Returns the roll-out of each system.

        Args:
          model: The network.
          batch: A batch of :meth:`batches`.
          num_lifts: Lifts whose forces are averaged, drawn with the fixed key of evaluation.
        """
        states = roll_out(
            model,
            batch,
            batch["state"],
            self._intervals,
            solver=self._solver,
            num_substeps=self._num_substeps,
            num_lifts=num_lifts,
        )
        return {"states": states}

    def table(self, predictions: Predictions) -> dict[str, np.ndarray]:
        """Returns one row for each system, time and particle, dimensionless like the file.

        The columns are "id" of the system, "time", "particle" (counted from 0), "x", "y", "px" and
        "py".

        Args:
          predictions: What :meth:`predict` returned, over all systems.

        Raises:
          ValueError: If a state is not finite.
        """
        states, ids, times = predictions["states"], self._states.ids, self._states.times
        if not np.isfinite(states).all():
            system, time = np.argwhere(~np.isfinite(states))[0, :2]
            raise ValueError(
                f"system {ids[system]}: the roll-out is not finite at time {times[time]:g}; is its "
                "state sensible?"
            )
        states = states.astype(np.float64)
        states[..., :2] += self._centers[:, None]
        shape = states.shape[:-1]
        places = np.broadcast_arrays(ids[:, None, None], times[:, None], np.arange(shape[-1]))
        columns = {
            name: np.broadcast_to(place, shape).ravel()
            for name, place in zip(("id", "time", "particle"), places, strict=True)
        }
        return columns | {
            name: states[..., axis].ravel() for axis, name in enumerate(("x", "y", "px", "py"))
        }

    def outside_training(self) -> Mapping[int, str]:
        """Returns the ids of systems whose particles or first states are new, and what is."""
        states = self._states
        quantities = spring_quantities(states, self._config.model)
        reasons = reasons_outside(quantities, self._config.training_ranges)
        return {int(states.ids[place]): reason for place, reason in reasons.items()}

    def _choose_substeps(self) -> int | None:
        """Returns how many steps an interval of the times needs; None if the solver chooses."""
        if self._solver == "adaptive":
            return None
        longest = float(np.max(np.diff(self._states.times), initial=0.0))
        step = float(TIMES[1] - TIMES[0]) / self._options.num_substeps
        ratio = longest / step
        num_intervals = max(1, len(self._intervals))
        if ratio * num_intervals > LARGEST_STEPS:
            raise ValueError(
                f"times must not ask for more than {LARGEST_STEPS:,} steps of "
                f"{step:.3g} or less, got {num_intervals:,} intervals of up to "
                f"{longest:g}."
            )
        return max(1, math.ceil(ratio * (1 - 1e-9)))  # rounding makes no step of its own


def roll_out(
    model: Any,
    batch: Batch,
    first: Float[np.ndarray, "B N 4"] | Float[Array, "B N 4"],
    times: Times,
    **options: Any,
) -> Float[Array, "B T N 4"]:
    """Returns the motion from given states, at all times, the first included.

    Args:
      model: The network.
      batch: Holds "features" and "id" of the systems.
      first: Positions and momenta at the first of the times.
      times: Increasing times, or the intervals between them.
      **options: Further arguments of :meth:`eqattn.models.HamiltonianNetwork.roll_out`.

    Raises:
      TypeError: For another model.
    """
    if not isinstance(model, HamiltonianNetwork | AccelerationNetwork):
        raise TypeError(
            "model must be a HamiltonianNetwork or an AccelerationNetwork, got "
            f"{type(model).__name__}."
        )
    first = jnp.asarray(first)
    return model.roll_out(
        first[..., :2],
        first[..., 2:],
        jnp.asarray(batch["features"]),
        times,
        example_ids=jnp.asarray(batch["id"]),
        **options,
    )

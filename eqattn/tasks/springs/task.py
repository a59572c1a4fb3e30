"""The task "springs": the motion of particles coupled by springs, learned from short chunks of it.

A network starts from the first state of a chunk of 5 consecutive times, and is trained by the mean
squared error of positions and momenta at all of them. It is a Hamiltonian network (a learned
potential and the known kinetic energy), or with the architecture "field_model" one that takes
positions and velocities to accelerations: vectors to vectors.

Scores of a split, all dimensionless:

* ``mse5``: the same error, of one fixed chunk of each trajectory;
* ``mse100``: that of a roll-out over the first 100 times;
* ``energy_drift``: the largest change of the true energy along that roll-out, relative to its
  start, in the mean over trajectories;
* ``momentum_drift``: the largest change of total momentum along it, in the mean likewise.

Two baselines: a predictor without motion, and a Hamiltonian MLP that knows no symmetry, trained in
the same run, in the same way and for the same time.

References:
  Hutchinson et al., "LieTransformer: Equivariant self-attention for Lie groups",
  arXiv:2012.10885; Finzi et al., arXiv:2002.12880.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn.checks import check_sizes
from eqattn.config import (
    RunConfig,
    SavedConfig,
    Standardization,
    TrainingRange,
)
from eqattn.models import (
    AccelerationNetworkConfig,
    HamiltonianNetworkConfig,
    PotentialNetworkConfig,
)
from eqattn.tasks.core.config_checks import check_model, task_options
from eqattn.tasks.core.frames import drawn_score
from eqattn.tasks.core.ranges import training_ranges
from eqattn.tasks.core.task import Batch, Panel, Predictions, Score, weighted_sums
from eqattn.tasks.springs import batches as spring_batches
from eqattn.tasks.springs import data as springs
from eqattn.tasks.springs.figures import drifts, spring_figures
from eqattn.tasks.springs.inputs import NewSprings, roll_out
from eqattn.tasks.springs.models import (
    SpringsOptions,
    drawn_along,
    feature_sizes,
    knows_origin,
    sees_velocities,
)
from eqattn.tasks.springs.presets import (
    DEMO,
    DROPIN,
    DROPIN_CONVOLUTION,
    MLP,
    PAPER,
    PRECISE,
    TARGET,
)
from eqattn.tasks.springs.ranges import spring_quantities
from eqattn.tasks.springs.states import read_states
from eqattn.typing import Array, Float, Key

__all__ = ["SpringsTask"]


class SpringsTask:
    """Motion of particles coupled by springs, through a learned potential."""

    name = "springs"
    options = SpringsOptions
    data_names = ("generated",)
    description = "motion of particles in the plane that are coupled by springs"
    targets: Mapping[str, str] = MappingProxyType({TARGET: "1"})
    presets: Mapping[str, RunConfig] = MappingProxyType(
        {
            "demo": DEMO,
            "dropin": DROPIN,
            "dropin_convolution": DROPIN_CONVOLUTION,
            "paper": PAPER,
            "precise": PRECISE,
        }
    )
    baseline_names = ("zero_motion", "hamiltonian_mlp")

    def read_examples(self, path: Path, config: SavedConfig) -> NewSprings:
        """Returns the systems in a file, to roll the model of a run out for.

        Args:
          path: An npz file as :func:`eqattn.tasks.springs.states.read_states` takes it.
          config: Configuration of the run.

        Raises:
          OSError: If the file cannot be read.
          ValueError: If it does not hold states of springs; the message names what is wrong.
        """
        return NewSprings(read_states(path), config)

    def prepare(
        self, config: RunConfig, standardization: Sequence[Standardization] | None = None
    ) -> SpringsProblem:
        """Makes the trajectories, or reads them from the cache.

        Args:
          config: Configuration of the run.
          standardization: Standardization of an earlier run; states are never changed.

        Raises:
          ValueError: If a value is out of range or not used by this task.
        """
        options = task_options(config, SpringsOptions)
        if config.data != "generated":
            raise ValueError(f"data must be 'generated' for springs, got {config.data!r}.")
        if config.targets != (TARGET,):
            raise ValueError(f"targets must be {(TARGET,)} for springs, got {config.targets}.")
        if standardization is not None and tuple(standardization) != UNCHANGED:
            raise ValueError(f"standardization must be {UNCHANGED} for springs.")
        is_field, kinds = (
            sees_velocities(config.model),
            HamiltonianNetworkConfig | AccelerationNetworkConfig,
        )
        is_sum = isinstance(getattr(config.model, "potential", None), PotentialNetworkConfig)
        output = "per_point" if is_field or is_sum else "invariant"
        check_model(config, point_dim=2, output=output, kinds=kinds)
        if is_field and options.solver == "symplectic":
            raise ValueError(
                "solver must be 'rk4' or 'adaptive' for an AccelerationNetworkConfig, "
                "whose accelerations depend on velocities; got 'symplectic'."
            )
        options.substeps()  # checks them
        splits = ("train", "validation", "test")
        sizes = {split: getattr(options, f"num_{split}") for split in splits}
        check_sizes({f"num_{split}": size for split, size in sizes.items()})
        return SpringsProblem(
            config, {split: springs.load(size, split=split) for split, size in sizes.items()}
        )

    def baseline(self, config: RunConfig) -> RunConfig | None:
        """Returns the run that trains the Hamiltonian MLP on the same data, if one is wanted.

        Args:
          config: The run of the model.
        """
        options = task_options(config, SpringsOptions)
        if options.baseline == "none" or knows_origin(config.model):
            return None
        model = MLP.replace_network(dtype=config.model.network.dtype)
        return dataclasses.replace(config, model=model, num_lifts=1)


UNCHANGED = (Standardization(TARGET, "1", 0.0, 1.0),)
"""States are learned as they are: the kinetic energy is known in these units."""


class SpringsProblem:
    """Trajectories in memory, ready to train on; see :class:`eqattn.tasks.Problem`.

    Args:
      config: Configuration of the run.
      systems: Trajectories of each split.
    """

    standardization = UNCHANGED

    def __init__(self, config: RunConfig, systems: Mapping[str, springs.Springs]):
        self.config = config
        self.options = task_options(config, SpringsOptions)
        self.in_features, self.out_features = feature_sizes(config.model)
        self.num_examples = {split: len(part) for split, part in systems.items()}
        self._systems = systems
        self._dtype = np.dtype(jnp.promote_types(jnp.float32, config.model.network.dtype))

    def training_ranges(self) -> tuple[TrainingRange, ...]:
        """Returns what particles and states there are in the training split."""
        return training_ranges(spring_quantities(self._systems["train"], self.config.model))

    def training_batches(self) -> Any:
        """Returns the endless stream of training batches; batch ``i`` is seen by step ``i``."""
        return spring_batches.training_batches(
            self._systems["train"],
            batch_size=self.config.batch_size,
            seed=self.config.seed,
            dtype=self._dtype,
        )

    def evaluation_batches(self, split: str) -> Iterable[Batch]:
        """Returns each trajectory of a split once.

        Args:
          split: "train", "validation" or "test".
        """
        return spring_batches.evaluation_batches(
            self._systems[split], batch_size=self.config.batch_size, dtype=self._dtype
        )

    def loss(
        self, model: nnx.Module, batch: Batch, key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Returns the summed squared errors of roll-outs of the chunks, each under a fresh lift.

        Args:
          model: The network.
          batch: A training batch.
          key: Draws the lifts, one for each trajectory.
        """
        states = self._roll_out(model, batch, batch["chunk"], key=key, training=True)
        errors = jnp.mean((states - batch["chunk"]) ** 2, axis=(1, 2, 3))
        return weighted_sums(errors, batch)

    def predict(
        self, model: nnx.Module, batch: Batch, num_lifts: int
    ) -> dict[str, Float[Array, "B ..."]]:
        """Returns both roll-outs of each trajectory, what they should be, and the loss.

        Args:
          model: The network.
          batch: An evaluation batch.
          num_lifts: Lifts whose forces are averaged, drawn with the fixed key of evaluation.
        """
        chunk = self._roll_out(model, batch, batch["chunk"], num_lifts=num_lifts)
        start = self._roll_out(model, batch, batch["start"], num_lifts=num_lifts)
        return {
            "chunk": chunk,
            "chunk_target": jnp.asarray(batch["chunk"]),
            "start": start,
            "start_target": jnp.asarray(batch["start"]),
            "features": jnp.asarray(batch["features"]),
            "loss": jnp.mean((chunk - batch["chunk"]) ** 2, axis=(1, 2, 3)),
            **drawn_along(model, start),
        }

    def score(self, split: str, predictions: Predictions) -> tuple[Score, ...]:
        """Returns the errors of both roll-outs and the drifts of the long one.

        The baseline is a predictor without motion. The share of states whose axes were drawn
        follows, of a network with the lift ``Frames``.

        Args:
          split: "train", "validation" or "test".
          predictions: What :meth:`predict` returned, over the whole split.
        """
        del split  # its examples are in the predictions
        chunk, chunk_target, start, start_target, features = (
            predictions[name].astype(np.float64)
            for name in ("chunk", "chunk_target", "start", "start_target", "features")
        )
        pairs = {"mse5": (chunk, chunk_target), "mse100": (start, start_target)}
        errors = [
            Score(TARGET, name, _mse(states, target), _mse(target[:, :1], target), "1")
            for name, (states, target) in pairs.items()
        ]
        return (
            *errors,
            *(
                Score(TARGET, f"{name}_drift", float(np.mean(np.max(drift, axis=1))), 0.0, "1")
                for name, drift in drifts(start, features).items()
            ),
            *drawn_score(TARGET, predictions),
        )

    def figures(self, split: str, predictions: Predictions) -> Mapping[str, Sequence[Panel]]:
        """Returns ``roll_outs``, the paths of a few systems, and ``drift``, errors against time.

        Args:
          split: "train", "validation" or "test".
          predictions: What :meth:`predict` returned, over the whole split.
        """
        del split  # its examples are in the predictions
        return spring_figures(predictions)

    def _roll_out(self, model: nnx.Module, batch: Batch, states: Any, **options: Any) -> Array:
        """Returns the roll-out from the first of these states, at as many times."""
        times = springs.TIMES[: states.shape[1]]
        solver = {"solver": self.options.solver, "num_substeps": self.options.substeps()}
        return roll_out(model, batch, states[:, 0], times, **solver, **options)


def _mse(states: Float[np.ndarray, "M _ 6 4"], target: Float[np.ndarray, "M T 6 4"]) -> float:
    return float(np.mean((states - target) ** 2))


TASK = SpringsTask()

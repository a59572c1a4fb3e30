"""The task "nbody": where charged particles in space are after a thousand steps.

A model sees positions, velocities and charges of the particles of a system, and the products of the
charges of each pair; it gives the displacement of each particle. Its training loss is the squared
error.

Scores of a split, dimensionless: ``mse``, the mean squared error of positions, as published (arXiv
2102.09844). Two baselines: linear motion, along the velocities for a time that fits the training
set best; and an E(n)-equivariant graph network, trained in the same run and for the same time, of
the width and learning rate that validation chose among six (``python -m benchmarks.nbody``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn.checks import check_sizes
from eqattn.config import (
    OptimizerConfig,
    RunConfig,
    SavedConfig,
    Standardization,
    TaskOptions,
    TrainingRange,
)
from eqattn.data.streams import Rows, batches_once, endless_batches
from eqattn.fields import FieldType
from eqattn.groups import E
from eqattn.layers import MLPLocation
from eqattn.layers.steerable import FieldLayer
from eqattn.models import FieldModelConfig, FieldNetworkConfig
from eqattn.spaces import euclidean
from eqattn.tasks.core.config_checks import check_model, task_options
from eqattn.tasks.core.ranges import training_ranges
from eqattn.tasks.core.task import Batch, Panel, Predictions, Score, Series, weighted_sums
from eqattn.tasks.nbody import data
from eqattn.tasks.nbody.data import Interaction, Systems
from eqattn.tasks.nbody.egnn import EGNNConfig
from eqattn.tasks.nbody.inputs import NewSystems, inputs, nbody_quantities, predict, read_systems
from eqattn.typing import Array, Float, Key

__all__ = ["NBodyTask"]

TARGET = "positions"
INPUT, OUTPUT = "vector + scalar", "vector"
UNCHANGED = (Standardization(TARGET, "1", 0.0, 1.0),)
"""Displacements are learned as they are: they are of size 1."""


@dataclass(frozen=True, repr=False, kw_only=True)
class NBodyOptions(TaskOptions):
    """What the task "nbody" asks for beside what all runs have."""

    num_bodies: int = 5
    """Particles of a system."""
    interaction: Interaction = "charges"
    """Whether particles have charges, or masses that attract."""
    num_train: int = 3_000
    """Systems to train on."""
    num_validation: int = 2_000
    """Systems to choose the best parameters by."""
    num_test: int = 2_000
    """Systems to score."""
    data_seed: int = 43
    """Seed of the data set; that of the published one by default."""
    baseline: Literal["egnn", "none"] = "egnn"
    """Whether an E(n)-equivariant graph network is trained after the model, for the same time."""


DEMO = RunConfig(
    task="nbody",
    preset="demo",
    data="generated",
    targets=(TARGET,),
    batch_size=100,
    steps=12_000,
    eval_every=600,
    model=FieldNetworkConfig(
        space=euclidean(E(3)),
        input_field=INPUT,
        output_field=OUTPUT,
        hidden_field="16x scalar + 16x vector",
        num_layers=3,
        layer=FieldLayer(location=MLPLocation(dim=32, num_layers=2, num_radial=16, cutoff=6.0)),
        num_pair_data=1,
        norm="none",
        mlp_ratio=1.0,
        dropout=0.05,
    ),
    optimizer=OptimizerConfig(learning_rate=3e-3, weight_decay=1e-4),
    options=NBodyOptions(),
)
"""Vectors without norms, and dropout: a minute or two on two CPU cores. With norms the training
error fell further and the validation error less: how far a particle moves is a matter of sizes,
which norms take away."""

BASELINE = EGNNConfig(dim=32)
BASELINE_OPTIMIZER = OptimizerConfig(learning_rate=2e-3, weight_decay=1e-8)
"""Of two widths and three learning rates the best on validation; see ``benchmarks/nbody.py``."""


class NBodyTask:
    """Positions of charged particles after a thousand steps."""

    name = "nbody"
    options = NBodyOptions
    data_names = ("generated",)
    description = "where charged or heavy particles in space are after a thousand steps"
    targets: Mapping[str, str] = MappingProxyType({TARGET: "1"})
    presets: Mapping[str, RunConfig] = MappingProxyType({"demo": DEMO})
    baseline_names = ("linear_motion", "egnn")

    def prepare(
        self, config: RunConfig, standardization: Sequence[Standardization] | None = None
    ) -> NBodyProblem:
        """Makes the systems, or reads them from the cache.

        Args:
          config: Configuration of the run.
          standardization: Standardization of an earlier run; displacements are never changed.

        Raises:
          ValueError: If a value is out of range or not used by this task.
        """
        options = task_options(config, NBodyOptions)
        if config.data != "generated":
            raise ValueError(f"data must be 'generated' for nbody, got {config.data!r}.")
        if config.targets != (TARGET,):
            raise ValueError(f"targets must be {(TARGET,)} for nbody, got {config.targets}.")
        if standardization is not None and tuple(standardization) != UNCHANGED:
            raise ValueError(f"standardization must be {UNCHANGED} for nbody.")
        check_network(config)
        sizes = {split: getattr(options, f"num_{split}") for split in data.DRAWN}
        check_sizes({f"num_{split}": size for split, size in sizes.items()})
        systems = {
            split: data.load(
                size,
                split=split,
                num_bodies=options.num_bodies,
                interaction=options.interaction,
                seed=options.data_seed,
            )
            for split, size in sizes.items()
        }
        return NBodyProblem(config, systems)

    def baseline(self, config: RunConfig) -> RunConfig | None:
        """Returns the run that trains the graph network on the same data, if one is wanted.

        Args:
          config: The run of the model.
        """
        options = task_options(config, NBodyOptions)
        if options.baseline == "none" or isinstance(config.model, EGNNConfig):
            return None
        model = BASELINE.replace_network(dtype=config.model.network.dtype)
        return dataclasses.replace(config, model=model, optimizer=BASELINE_OPTIMIZER, num_lifts=1)

    def read_examples(self, path: Path, config: SavedConfig) -> NewSystems:
        """Returns the systems in a file, to predict for.

        Args:
          path: An npz file as :func:`eqattn.tasks.nbody.inputs.read_systems` takes it.
          config: Configuration of the run.

        Raises:
          OSError: If the file cannot be read.
          ValueError: If it does not hold systems of particles; the message names what is wrong.
        """
        return NewSystems(read_systems(path), config)


def check_network(config: RunConfig) -> None:
    """Makes sure that a model takes velocities and charges to displacements in space.

    Args:
      config: Configuration of the run.

    Raises:
      ValueError: If it does not.
    """
    kinds = FieldNetworkConfig | FieldModelConfig | EGNNConfig
    check_model(config, point_dim=3, output="per_point", kinds=kinds)
    model = config.model
    for name, wanted in (("input_field", INPUT), ("output_field", OUTPUT)):
        given = getattr(model, name, wanted)
        if FieldType.read(given) != FieldType.parse(wanted):
            raise ValueError(f"{name} must be {wanted!r} for nbody, got {given!r}.")
    num_pair_data = getattr(model, "num_pair_data", 1)
    if num_pair_data != 1 and (num_pair_data != 0 or isinstance(model, EGNNConfig)):
        raise ValueError(
            "num_pair_data must be 1 for nbody, the product of two charges, or 0 for a network of "
            f"fields that is not to see it, got {num_pair_data}."
        )


class NBodyProblem:
    """Systems in memory, ready to train on; see :class:`eqattn.tasks.Problem`.

    Args:
      config: Configuration of the run.
      systems: Systems of each split.
    """

    standardization = UNCHANGED
    in_features, out_features = 4, 3

    def __init__(self, config: RunConfig, systems: Mapping[str, Systems]):
        self.config = config
        self.num_examples = {split: len(part) for split, part in systems.items()}
        self._systems = systems
        self._dtype = np.dtype(jnp.promote_types(jnp.float32, config.model.network.dtype))
        train = systems["train"]
        moved, velocities = train.targets - train.positions, train.velocities
        self._linear_time = float(np.sum(moved * velocities) / np.sum(velocities**2))

    def training_ranges(self) -> tuple[TrainingRange, ...]:
        """Returns what particles and states there are in the training split."""
        return training_ranges(nbody_quantities(self._systems["train"]))

    def training_batches(self) -> Any:
        """Returns the endless stream of training batches; batch ``i`` is seen by step ``i``."""
        part = self._systems["train"]
        size, seed = self.config.batch_size, self.config.seed
        return endless_batches(
            lambda rows, _: self._gather(part, rows), len(part), batch_size=size, seed=seed
        )

    def evaluation_batches(self, split: str) -> Iterable[Batch]:
        """Returns each system of a split once.

        Args:
          split: "train", "validation" or "test".
        """
        part = self._systems[split]
        size = min(self.config.batch_size, len(part))
        return batches_once(lambda rows: self._gather(part, rows), len(part), batch_size=size)

    def _gather(self, part: Systems, rows: Rows) -> dict[str, np.ndarray]:
        moved = part.targets[rows] - part.positions[rows]
        return {**inputs(part, rows, self._dtype), "targets": moved.astype(self._dtype)}

    def loss(
        self, model: nnx.Module, batch: Batch, key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Returns the summed squared errors of systems.

        Args:
          model: The model.
          batch: A training batch.
          key: Key of the dropout, and of lifts where the model draws some.
        """
        moved = predict(model, batch, key=key, training=True)
        return weighted_sums(jnp.mean((moved - batch["targets"]) ** 2, axis=(1, 2)), batch)

    def predict(
        self, model: nnx.Module, batch: Batch, num_lifts: int
    ) -> dict[str, Float[Array, "B ..."]]:
        """Returns displacements, what they should be, velocities and losses.

        Args:
          model: The model.
          batch: An evaluation batch.
          num_lifts: Lifts to average, of a model that draws some.
        """
        moved, targets = predict(model, batch, num_lifts=num_lifts), jnp.asarray(batch["targets"])
        return {
            "displacement": moved,
            "target": targets,
            "velocity": jnp.asarray(batch["features"])[..., :3],
            "loss": jnp.mean((moved - targets) ** 2, axis=(1, 2)),
        }

    def score(self, split: str, predictions: Predictions) -> tuple[Score, ...]:
        """Returns the mean squared error, beside that of linear motion.

        Args:
          split: "train", "validation" or "test".
          predictions: What :meth:`predict` returned, over the whole split.
        """
        del split  # its systems are in the predictions
        moved, target, velocity = (
            predictions[name].astype(np.float64) for name in ("displacement", "target", "velocity")
        )
        error = float(np.mean((moved - target) ** 2))
        linear = float(np.mean((self._linear_time * velocity - target) ** 2))
        return (Score(TARGET, "mse", error, linear, "1"),)

    def figures(self, split: str, predictions: Predictions) -> Mapping[str, Sequence[Panel]]:
        """Returns ``displacements``, predicted against true ones, and the errors of systems.

        Args:
          split: "train", "validation" or "test".
          predictions: What :meth:`predict` returned, over the whole split.
        """
        moved, target = (
            predictions[name].astype(np.float64) for name in ("displacement", "target")
        )
        errors = np.sort(np.mean((moved - target) ** 2, axis=(1, 2)))
        shares = (1 + np.arange(len(errors))) / len(errors)
        return {
            "displacements": (
                Panel(
                    f"displacements, {split}",
                    "true",
                    "predicted",
                    (Series("", target.ravel(), moved.ravel(), "dots"),),
                    note=f"mean squared error {errors.mean():.4f}",
                    is_comparison=True,
                ),
                Panel(
                    "systems in the order of their errors",
                    "share of systems",
                    "mean squared error",
                    (Series("", shares, errors),),
                    log_y=True,
                ),
            )
        }


TASK = NBodyTask()

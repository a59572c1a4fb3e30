"""The task "points": classes or numbers of point sets of one's own, in any space of the library.

What a file holds is in :mod:`eqattn.tasks.points.data`. Point sets with ``labels`` are told apart;
of those with ``values`` numbers are predicted. A model is a network of scalars with the output
"invariant"; where points have vectors, a pooled FieldModel, whose input field is the scalars and
then the vectors. The default data, "generated", are points in space with forces, and their virials.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn.config import (
    OptimizerConfig,
    RunConfig,
    SavedConfig,
    Standardization,
    TaskOptions,
)
from eqattn.data.streams import Rows, batches_once, endless_batches
from eqattn.fields import FieldType
from eqattn.groups import E
from eqattn.layers import Attention, MLPLocation, MultiplyLogits
from eqattn.lift import Frames
from eqattn.models import FieldModelConfig, LieTransformerConfig, LiftedModelConfig
from eqattn.spaces import euclidean
from eqattn.tasks.core.classification import ClassificationProblem, unchanged
from eqattn.tasks.core.config_checks import singles, task_options
from eqattn.tasks.core.frames import drawn_frames, drawn_score
from eqattn.tasks.core.standardization import fit, standardize, unstandardize
from eqattn.tasks.core.task import Batch, Predictions, Score, weighted_sums
from eqattn.tasks.points import data
from eqattn.tasks.points.data import PointSets
from eqattn.tasks.points.inputs import CLASS, NewPoints, inputs, predict
from eqattn.typing import Array, Float, Key

__all__ = ["TASK", "PointsTask"]


@dataclass(frozen=True, repr=False, kw_only=True)
class PointsOptions(TaskOptions):
    """What the task "points" asks for beside what all runs have."""

    label_smoothing: float = 0.0
    """Share of the probability that training spreads evenly over all classes."""


DEMO = RunConfig(
    task="points",
    preset="demo",
    data=data.GENERATED,
    targets=("value",),
    batch_size=32,
    steps=600,
    eval_every=200,
    options=PointsOptions(),
    model=FieldModelConfig(
        model=LieTransformerConfig(
            space=euclidean(E(3)),
            lift=Frames(),
            dim=32,
            num_layers=2,
            layer=Attention(
                num_heads=4,
                location=MLPLocation(dim=16, num_layers=2, num_radial=16, cutoff=3.0),
                combine=MultiplyLogits(),
                normalize="mean",
            ),
            output="per_point",
        ),
        input_field="scalar + vector",
        output_field="scalar",
        pooled=True,
    ),
    optimizer=OptimizerConfig(learning_rate=2e-3, ema_decay=0.99),
)
"""The virial of six points with forces, in frames of principal axes; a minute on two CPU cores."""


class PointsTask:
    """Classes or numbers of point sets of one's own."""

    name = "points"
    options = PointsOptions
    description = "classes or numbers of point sets of one's own, with scalars and vectors"
    targets: Mapping[str, str] = MappingProxyType({CLASS: "1", "value": "1"})
    presets: Mapping[str, RunConfig] = MappingProxyType({"demo": DEMO})
    data_names = (data.GENERATED,)

    def prepare(
        self, config: RunConfig, standardization: Sequence[Standardization] | None = None
    ) -> ClassificationProblem | RegressionProblem:
        """Reads the point sets and splits them.

        Args:
          config: Configuration of the run.
          standardization: Standardization of an earlier run; by default from the training split.

        Raises:
          FileNotFoundError: If the data are missing.
          ValueError: If the data are wrong, or the model does not fit them.
        """
        options = task_options(config, PointsOptions)
        sets = data.load(config.data)
        parts = {name: sets[places] for name, places in data.split(sets).items()}
        check_sets(config, sets)
        names = targets_of(sets, config.data)
        if config.targets != names:
            raise ValueError(
                f"targets must be {' '.join(names)} for the data {config.data!r}, "
                f"got {' '.join(config.targets)}."
            )
        if sets.labels is not None:
            if not sets.labels.any():
                raise ValueError(f"data {config.data!r}: all 'labels' are 0, which tells nothing.")
            if standardization is not None and tuple(standardization) != unchanged(CLASS):
                raise ValueError(f"standardization must be {unchanged(CLASS)} for classes.")
            return ClassificationProblem(
                config,
                CLASS,
                parts,
                num_classes=1 + int(sets.labels.max()),
                in_features=sets.features.shape[-1],
                label_smoothing=options.label_smoothing,
            )
        if options.label_smoothing:
            raise ValueError(
                f"label_smoothing is for classes, got {options.label_smoothing} for values."
            )
        if standardization is None:
            values: Any = parts["train"].values
            standardization = fit(values, names, ["1"] * len(names))
        return RegressionProblem(config, parts, tuple(standardization))

    def read_examples(self, path: Path, config: SavedConfig) -> NewPoints:
        """Returns the point sets in a file, to predict for.

        Args:
          path: An npz file as :mod:`eqattn.tasks.points.data` describes it.
          config: Configuration of the run.

        Raises:
          OSError: If the file cannot be read.
          ValueError: If it does not hold such point sets; the message names what is wrong.
        """
        sets = data.read(str(path))
        check_sets(config, sets)
        if sets.features.shape[-1] != config.in_features:
            raise ValueError(
                f"{path}: points must have {config.in_features} features, scalars and components "
                f"of vectors together, got {sets.features.shape[-1]}."
            )
        return NewPoints(sets, config)


def targets_of(sets: PointSets, source: str) -> tuple[str, ...]:
    """Returns the names of what is to be learned.

    Args:
      sets: The point sets.
      source: What to call them in messages.

    Raises:
      ValueError: If there is nothing, or both labels and values.
    """
    if (sets.labels is None) == (sets.values is None):
        held = "neither" if sets.labels is None else "both"
        raise ValueError(f"data {source!r} must hold 'labels' or 'values', got {held}.")
    return (CLASS,) if sets.labels is not None else tuple(data.names_of_values(sets))


def check_sets(config: RunConfig, sets: PointSets) -> None:
    """Raises a ValueError unless point sets are of the space and the fields of a model.

    Args:
      config: Configuration of the run.
      sets: The point sets.
    """
    model, network = config.model, config.model.network
    is_known = isinstance(model, LiftedModelConfig | FieldModelConfig)
    if not is_known or not isinstance(network, LiftedModelConfig):
        raise ValueError(
            "model must lift points, as LieTransformerConfig or a FieldModelConfig around it, got "
            f"{type(model).__name__}."
        )
    space = network.space
    points, mask = jnp.asarray(sets.points), jnp.asarray(sets.mask)
    space.check_points(points)
    space.check_domain(points, mask)
    if isinstance(model, FieldModelConfig):
        if not model.pooled:
            raise ValueError("pooled must be True for points, whose sets have one answer each.")
        check_fields(model, sets)
        return
    if sets.num_vectors:
        raise ValueError(
            "model must be a FieldModelConfig for points with vectors, such as --model "
            "\"FieldModelConfig(input_field='scalar + vector', output_field='scalar', "
            'pooled=True)".'
        )
    if network.output != "invariant":
        raise ValueError(f"output must be 'invariant' for points, got {network.output!r}.")


def check_fields(model: FieldModelConfig, sets: PointSets) -> None:
    """Raises a ValueError unless the input field is the scalars, and then the vectors.

    Args:
      model: The model.
      sets: The point sets.
    """
    network: Any = model.network
    num_scalars = sets.features.shape[-1] - sets.num_vectors * sets.vector_dim
    if sets.num_vectors and sets.vector_dim != network.space.vector_dim:
        raise ValueError(
            f"'vectors' must have {network.space.vector_dim} components on '{network.space}', "
            f"got {sets.vector_dim}."
        )
    kinds = singles(FieldType.read(model.input_field))
    if kinds != ["scalar"] * num_scalars + ["vector"] * sets.num_vectors:
        raise ValueError(
            f"input_field must be '{num_scalars}x scalar + {sets.num_vectors}x vector', as the "
            f"points have them, got {model.input_field!r}."
        )


class RegressionProblem:
    """Point sets with numbers in memory, ready to train on; see :class:`eqattn.tasks.Problem`.

    Args:
      config: Configuration of the run.
      parts: Point sets of each split.
      standardization: Constants of each number.
    """

    def __init__(
        self,
        config: RunConfig,
        parts: Mapping[str, PointSets],
        standardization: tuple[Standardization, ...],
    ):
        self.config, self.standardization = config, standardization
        self.num_examples = {name: len(part) for name, part in parts.items()}
        self.in_features = parts["train"].features.shape[-1]
        self.out_features = len(standardization)
        self._parts = parts
        self._dtype = np.dtype(jnp.promote_types(jnp.float32, config.model.network.dtype))

    def training_batches(self) -> Any:
        """Returns the endless stream of training batches; batch ``i`` is seen by step ``i``."""
        part = self._parts["train"]
        size, seed = self.config.batch_size, self.config.seed
        return endless_batches(
            lambda rows, _: self._gather(part, rows), len(part), batch_size=size, seed=seed
        )

    def evaluation_batches(self, split: str) -> Iterable[Batch]:
        """Returns each point set of a split once.

        Args:
          split: "train", "validation" or "test".
        """
        part = self._parts[split]
        size = min(self.config.batch_size, len(part))
        return batches_once(lambda rows: self._gather(part, rows), len(part), batch_size=size)

    def _gather(self, part: PointSets, rows: Rows) -> dict[str, np.ndarray]:
        values: Any = part.values
        targets = standardize(values[rows], self.standardization).astype(self._dtype)
        return {**inputs(part, rows, self._dtype), "targets": targets}

    def loss(
        self, model: nnx.Module, batch: Batch, key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Returns the summed squared errors of standardized numbers, under fresh lifts.

        Args:
          model: The model.
          batch: A training batch.
          key: Key of the lifts.
        """
        found = predict(model, batch, key=key, training=True)
        return weighted_sums(jnp.mean((found - batch["targets"]) ** 2, axis=-1), batch)

    def predict(
        self, model: nnx.Module, batch: Batch, num_lifts: int
    ) -> dict[str, Float[Array, "B ..."]]:
        """Returns standardized predictions and targets, and the losses.

        Args:
          model: The model.
          batch: An evaluation batch.
          num_lifts: Lifts to average, drawn with the fixed key of evaluation.
        """
        found, targets = predict(model, batch, num_lifts=num_lifts), jnp.asarray(batch["targets"])
        points, mask = jnp.asarray(batch["points"]), jnp.asarray(batch["mask"])
        return {
            "prediction": found,
            "target": targets,
            "loss": jnp.mean((found - targets) ** 2, axis=-1),
            **drawn_frames(model, points, mask),
        }

    def score(self, split: str, predictions: Predictions) -> tuple[Score, ...]:
        """Returns the mean absolute error of each number, beside that of the training median.

        Args:
          split: "train", "validation" or "test".
          predictions: What :meth:`predict` returned, over the whole split.
        """
        del split  # its targets are in the predictions
        found, true = (
            unstandardize(predictions[name], self.standardization)
            for name in ("prediction", "target")
        )
        median = np.median(np.asarray(self._parts["train"].values), axis=0)
        scores = [
            Score(constants.target, "mae", float(error), float(trivial), constants.unit)
            for constants, error, trivial in zip(
                self.standardization,
                np.mean(np.abs(found - true), axis=0),
                np.mean(np.abs(median - true), axis=0),
                strict=True,
            )
        ]
        return (*scores, *drawn_score(self.standardization[0].target, predictions))


TASK = PointsTask()

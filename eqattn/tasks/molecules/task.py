"""The task "molecules": properties of small organic molecules (QM9) from atoms in space.

Models learn standardized targets by mean absolute error, and are scored by the mean absolute error
in physical units. A target that is not known of a molecule has no loss and no score; a molecule of
which none is known is left out. The baseline is the constant that is best for that metric: the
median of the training split, scored on the same examples.

References:
  Hutchinson et al., "LieTransformer: Equivariant self-attention for Lie groups",
  arXiv:2012.10885; Ramakrishnan et al., doi:10.1038/sdata.2014.22.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn.config import (
    RunConfig,
    SavedConfig,
    Standardization,
    TrainingRange,
)
from eqattn.data.atoms.padding import whole_buckets
from eqattn.fields import scalars
from eqattn.models import FieldNetworkConfig, LiftedModelConfig
from eqattn.tasks.core.config_checks import check_fields, check_model, task_options
from eqattn.tasks.core.frames import drawn_frames, drawn_score
from eqattn.tasks.core.ranges import training_ranges
from eqattn.tasks.core.rotations import rotate_points
from eqattn.tasks.core.standardization import fit, standardize, unstandardize
from eqattn.tasks.core.task import Batch, Panel, Predictions, Score, Series
from eqattn.tasks.molecules import (
    TARGETS,
    Molecules,
    choose_max_pairs,
    evaluation_batches,
    load,
    read_structures,
    split,
    training_batches,
)
from eqattn.tasks.molecules.batches import batch_of_each_shape
from eqattn.tasks.molecules.data import NUM_FEATURES
from eqattn.tasks.molecules.inputs import (
    NewMolecules,
    check_elements,
    model_inputs,
    predict_standardized,
)
from eqattn.tasks.molecules.labels import absolute_errors, check_finite, check_known, count_unknown
from eqattn.tasks.molecules.presets import DEMO, FIELDS, PAPER, MoleculesOptions
from eqattn.tasks.molecules.ranges import molecule_quantities
from eqattn.typing import Array, Float, Key

__all__ = ["MoleculesTask"]


class MoleculesTask:
    """Properties of molecules: invariant regression, one or several targets at once."""

    name = "molecules"
    options = MoleculesOptions
    data_names = ("embedded", "qm9")
    description = "properties of QM9 molecules from atoms in space"
    targets: Mapping[str, str] = MappingProxyType({t.name: t.unit for t in TARGETS.values()})
    presets: Mapping[str, RunConfig] = MappingProxyType(
        {"demo": DEMO, "fields": FIELDS, "paper": PAPER}
    )

    def read_examples(self, path: Path, config: SavedConfig) -> NewMolecules:
        """Returns the molecules in a file, to predict the targets of a run for.

        Args:
          path: A file as :func:`eqattn.tasks.molecules.read_structures` takes it.
          config: Configuration of the run.

        Raises:
          OSError: If the file cannot be read.
          ValueError: If it does not hold molecules; the message names what is wrong.
        """
        molecules = read_structures(path)
        check_elements(path, molecules)
        return NewMolecules(molecules, config)

    def prepare(
        self, config: RunConfig, standardization: Sequence[Standardization] | None = None
    ) -> MoleculesProblem:
        """Loads, splits and standardizes the molecules.

        Args:
          config: Configuration of the run.
          standardization: Constants to use; by default those of the training split.

        Raises:
          FileNotFoundError: If the data are missing.
          ModuleNotFoundError: If the data need an extra that is not installed.
          ValueError: If the data, the split or the targets are wrong, or a value is not used;
            the message says what.
        """
        options = task_options(config, MoleculesOptions)
        check_model(config, point_dim=3, kinds=LiftedModelConfig | FieldNetworkConfig)
        molecules = load(config.data)
        parts = split(molecules, config.data, options.split)
        values = molecules.select_targets(config.targets)
        check_fields(config, scalars(NUM_FEATURES), scalars(len(config.targets)))
        check_finite(values, values, config.targets, molecules.ids)
        check_known(values, parts, config.targets)
        if standardization is None:
            units = [self.targets[name] for name in config.targets]
            standardization = fit(values[parts["train"]], config.targets, units)
        return MoleculesProblem(config, molecules, values, parts, tuple(standardization))


class MoleculesProblem:
    """Molecules in memory, ready to train on; see :class:`eqattn.tasks.Problem`.

    Args:
      config: Configuration of the run.
      molecules: All molecules of the data set.
      values: Targets in physical units; NaN where one is not known.
      parts: Indices of each split.
      standardization: Constants of each target.

    Raises:
      ValueError: If a bucket or a scale is not positive, or a standardized target is not finite.
    """

    def __init__(
        self,
        config: RunConfig,
        molecules: Molecules,
        values: Float[np.ndarray, "M K"],
        parts: Mapping[str, np.ndarray],
        standardization: tuple[Standardization, ...],
    ):
        options = task_options(config, MoleculesOptions)
        self.options = options
        self.config = config
        self.in_features = NUM_FEATURES
        self.out_features = len(config.targets)
        self.standardization = standardization
        known = ~np.isnan(values)
        self.unknown_labels = count_unknown(known, parts, config.targets)
        parts = {name: indices[known[indices].any(axis=1)] for name, indices in parts.items()}
        self.num_examples = {name: len(indices) for name, indices in parts.items()}
        self._dtype = jnp.promote_types(jnp.float32, config.model.network.dtype)
        self._medians = np.nanmedian(values[parts["train"]], axis=0)
        self._molecules = {name: molecules[indices] for name, indices in parts.items()}
        self._values = {name: values[indices] for name, indices in parts.items()}
        for constants in standardization:
            if not (np.isfinite(constants.mean) and 0 < constants.scale < np.inf):
                raise ValueError(
                    f"standardization: {constants.target!r} must have a finite mean and a finite "
                    f"scale above 0, got {constants.mean} and {constants.scale}."
                )
        standardized = standardize(values, standardization)
        check_finite(standardized, values, config.targets, molecules.ids)
        self._standardized = {name: standardized[indices] for name, indices in parts.items()}
        self._buckets = whole_buckets(options.buckets, molecules.num_atoms)
        self._max_pairs = choose_max_pairs(molecules.num_atoms, self._buckets, config.batch_size)

    def training_ranges(self) -> tuple[TrainingRange, ...]:
        """Returns sizes and distances in the training split, the latter by pairs of elements."""
        return training_ranges(molecule_quantities(self._molecules["train"]))

    def training_batches(self) -> Any:
        """Returns the endless stream of training batches; batch ``i`` is seen by step ``i``."""
        return training_batches(**self._padded("train"), seed=self.config.seed)

    def batch_of_each_shape(self) -> Sequence[Batch]:
        """Returns a training batch of each bucket."""
        return batch_of_each_shape(**self._padded("train"))

    def evaluation_batches(self, split: str) -> Iterable[Batch]:
        """Returns each molecule of a split once.

        Args:
          split: "train", "validation" or "test".
        """
        return evaluation_batches(**self._padded(split))

    def _padded(self, split: str) -> dict[str, Any]:
        """The molecules of a split, and how batches of them are padded."""
        return {
            "molecules": self._molecules[split],
            "targets": self._standardized[split],
            "batch_size": self.config.batch_size,
            "buckets": self._buckets,
            "max_pairs": self._max_pairs,
        }

    def augment(self, batch: Batch, key: Key[Array, ""]) -> Batch:
        """Returns the batch with its "share" of a full one, turned at random if the run says so.

        A batch of fewer molecules than a full one counts for as much less, so that each molecule
        has the same weight in a pass.

        Args:
          batch: A training batch.
          key: Key of the rotations.
        """
        points, weight = jnp.asarray(batch["points"], self._dtype), jnp.asarray(batch["weight"])
        if self.options.augment_rotations:
            points = rotate_points(jax.random.split(key)[1], points, jnp.asarray(batch["id"]))
        share = jnp.full_like(weight, jnp.sum(weight) / self.config.batch_size)
        return {**batch, "points": points, "share": share}

    def loss(
        self, model: nnx.Module, batch: Batch, key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Returns the summed absolute errors of standardized targets, and how many are known.

        Args:
          model: The model.
          batch: What :meth:`augment` made of a training batch.
          key: Key of the lifts.
        """
        points, features = model_inputs(batch, self._dtype)
        key, ids = jax.random.split(key)[0], jnp.asarray(batch["id"])
        prediction = model(points, features, batch["mask"], key, example_ids=ids, training=True)
        errors, known = absolute_errors(prediction, batch)
        weight = jnp.asarray(batch["weight"])[:, None]
        share = jnp.asarray(batch["share"])[:, None]
        return jnp.sum(share * weight * errors), jnp.sum(weight * known)

    def predict(
        self, model: nnx.Module, batch: Batch, num_lifts: int
    ) -> dict[str, Float[Array, "B ..."]]:
        """Returns standardized predictions and targets, which are known, and the losses.

        Args:
          model: The model.
          batch: An evaluation batch.
          num_lifts: Lifts to average, drawn with the fixed key of evaluation.
        """
        prediction = predict_standardized(model, batch, num_lifts, self._dtype)
        errors, known = absolute_errors(prediction, batch)
        num_known = jnp.sum(known, axis=-1)
        points, _ = model_inputs(batch, self._dtype)
        return {
            "prediction": prediction,
            "target": batch["targets"],
            "known": known,
            "num_known": num_known,
            "loss": jnp.sum(errors, axis=-1) / jnp.maximum(num_known, 1),
            **drawn_frames(model, points, jnp.asarray(batch["mask"])),
        }

    def score(self, split: str, predictions: Predictions) -> tuple[Score, ...]:
        """Returns the mean absolute error of each target, and that of the constant median.

        Of a model with the lift ``Frames``, the share of molecules whose axes were drawn follows.

        Args:
          split: "train", "validation" or "test".
          predictions: What :meth:`predict` returned, over the whole split.
        """
        predicted = unstandardize(predictions["prediction"], self.standardization)
        expected = unstandardize(predictions["target"], self.standardization)
        values = np.mean(np.abs(predicted - expected), axis=0, where=predictions["known"])
        baselines = np.nanmean(np.abs(self._values[split] - self._medians), axis=0)
        errors = tuple(
            Score(constants.target, "mae", float(value), float(baseline), constants.unit)
            for constants, value, baseline in zip(
                self.standardization, values, baselines, strict=True
            )
        )
        return errors + drawn_score(self.standardization[0].target, predictions)

    def figures(self, split: str, predictions: Predictions) -> dict[str, tuple[Panel, ...]]:
        """Returns the figure "predictions": predicted against true values, target by target.

        Args:
          split: "train", "validation" or "test".
          predictions: What :meth:`predict` returned, over the whole split.
        """
        predicted = unstandardize(predictions["prediction"], self.standardization)
        expected = unstandardize(predictions["target"], self.standardization)
        panels = []
        for constants, ours, true, known in zip(
            self.standardization, predicted.T, expected.T, predictions["known"].T, strict=True
        ):
            ours, true = ours[known], true[known]
            target = TARGETS[constants.target]
            error = float(np.mean(np.abs(ours - true)))
            panels.append(
                Panel(
                    title=f"{target.name}: {target.description}",
                    x_label=f"true {target.symbol} [{constants.unit}]",
                    y_label=f"predicted {target.symbol} [{constants.unit}]",
                    series=(Series("", true, ours, "dots"),),
                    note=f"MAE {error:.3g} {constants.unit}\n{len(true):,} {split} molecules",
                    is_comparison=True,
                )
            )
        return {"predictions": tuple(panels)}


TASK = MoleculesTask()

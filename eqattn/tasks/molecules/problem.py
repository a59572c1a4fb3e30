"""Molecules in memory, ready to train on: batches, loss, predictions and scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn.config import RunConfig, Standardization, TrainingRange
from eqattn.data.atoms.padding import choose_max_pairs, whole_buckets
from eqattn.tasks.core.atom_ranges import molecule_quantities
from eqattn.tasks.core.atoms import widened
from eqattn.tasks.core.config_checks import task_options
from eqattn.tasks.core.frames import drawn_frames, drawn_score
from eqattn.tasks.core.ranges import training_ranges
from eqattn.tasks.core.rotations import rotate_points
from eqattn.tasks.core.standardization import standardize, unstandardize
from eqattn.tasks.core.task import Batch, Panel, Predictions, Score, Series
from eqattn.tasks.molecules.batches import (
    batch_of_each_shape,
    evaluation_batches,
    training_batches,
)
from eqattn.tasks.molecules.constants import formula_sums
from eqattn.tasks.molecules.features import num_features
from eqattn.tasks.molecules.inputs import model_inputs, predict_standardized
from eqattn.tasks.molecules.labels import Labeled, absolute_errors, check_finite, unknown_labels
from eqattn.tasks.molecules.presets import MoleculesOptions
from eqattn.tasks.molecules.targets import TARGETS
from eqattn.typing import Array, Bool, Float, Key

__all__ = ["MoleculesProblem"]


class MoleculesProblem:
    """Molecules in memory, ready to train on; see :class:`eqattn.tasks.Problem`.

    Args:
      config: Configuration of the run.
      parts: Molecules of each split with their targets, in physical units.
      elements: Elements of the one-hot; none for the features of arXiv:2012.10885.
      standardization: Constants of each target.

    Raises:
      ValueError: If a bucket or a scale is not positive, or a standardized target is not finite.
    """

    def __init__(
        self,
        config: RunConfig,
        parts: Mapping[str, Labeled],
        elements: tuple[str, ...],
        standardization: tuple[Standardization, ...],
    ):
        self.config, self.options = config, task_options(config, MoleculesOptions)
        self.elements, self.standardization = elements, standardization
        self.in_features, self.out_features = num_features(elements), len(config.targets)
        self.unknown_labels = unknown_labels(parts, config.targets)
        self._parts = {name: part.without_unlabeled() for name, part in parts.items()}
        self.num_examples = {name: len(part) for name, part in self._parts.items()}
        self._dtype = jnp.promote_types(jnp.float32, config.model.network.dtype)
        for constants in standardization:
            if not (np.isfinite(constants.mean) and 0 < constants.scale < np.inf):
                raise ValueError(
                    f"standardization: {constants.target!r} must have a finite mean and a finite "
                    f"scale above 0, got {constants.mean} and {constants.scale}."
                )
        self._formulas = {
            name: formula_sums(part.molecules, standardization)
            for name, part in self._parts.items()
        }
        self._left = {
            name: part.values if part.of_atoms else part.values - self._formulas[name]
            for name, part in self._parts.items()
        }
        self._medians = np.nanmedian(self._left["train"], axis=0)
        self._standardized = {
            name: standardize(left, standardization) for name, left in self._left.items()
        }
        for name, part in self._parts.items():
            check_finite(self._standardized[name], part, config.targets)
        sizes = np.concatenate([part.molecules.num_atoms for part in parts.values()])
        self._buckets = whole_buckets(self.options.buckets, sizes)
        self._max_pairs = choose_max_pairs(sizes, self._buckets, config.batch_size)

    def training_ranges(self) -> tuple[TrainingRange, ...]:
        """Returns sizes and distances in the training split, the latter by pairs of elements."""
        return training_ranges(molecule_quantities(self._parts["train"].molecules))

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
            "molecules": self._parts[split].molecules,
            "targets": self._standardized[split],
            "batch_size": self.config.batch_size,
            "buckets": self._buckets,
            "max_pairs": self._max_pairs,
            "elements": self.elements,
            "of_atoms": self._of_atoms,
        }

    @property
    def _of_atoms(self) -> bool:
        return self._parts["train"].of_atoms

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
        shape = (-1, *[1] * (errors.ndim - 1))
        weight, share = (jnp.asarray(batch[name]).reshape(shape) for name in ("weight", "share"))
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
        axes = tuple(range(1, errors.ndim))
        num_known = jnp.sum(known, axis=axes)
        labels = {"prediction": prediction, "target": batch["targets"], "known": known}
        if self._of_atoms:  # whose batches are of several lengths
            labels = {name: widened(x, self._buckets[-1]) for name, x in labels.items()}
        points, _ = model_inputs(batch, self._dtype)
        return {
            **labels,
            "id": batch["id"],
            "num_known": num_known,
            "loss": jnp.sum(errors, axis=axes) / jnp.maximum(num_known, 1),
            **drawn_frames(model, points, jnp.asarray(batch["mask"])),
        }

    def score(self, split: str, predictions: Predictions) -> tuple[Score, ...]:
        """Returns the mean absolute error of each target, and that of the constant median.

        Where references of the elements are taken off, the median is that of what they leave.
        Of a model with the lift ``Frames``, the share of molecules whose axes were drawn follows.

        Args:
          split: "train", "validation" or "test".
          predictions: What :meth:`predict` returned, over the whole split.
        """
        predicted, expected, known = self._rows(predictions)
        values = np.mean(np.abs(predicted - expected), axis=0, where=known)
        baselines = np.nanmean(np.abs(self._left[split] - self._medians), axis=0)
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
        panels, formulas = [], self._formula_rows(split, predictions)
        for constants, ours, true, known, formula in zip(
            self.standardization, *(x.T for x in (*self._rows(predictions), formulas)), strict=True
        ):
            ours, true = (ours + formula)[known], (true + formula)[known]
            error = float(np.mean(np.abs(ours - true)))
            target = TARGETS.get(constants.target)
            title, symbol, unit = constants.target, constants.target, ""
            if target is not None and not self._of_atoms:
                title, symbol = f"{target.name}: {target.description}", target.symbol
            if constants.unit != "1":
                unit = f" [{constants.unit}]"
            counted = "atoms" if self._of_atoms else "molecules"
            note = f"MAE {error:.3g}{unit}".replace("[", "").replace("]", "")
            panels.append(
                Panel(
                    title=title,
                    x_label=f"true {symbol}{unit}",
                    y_label=f"predicted {symbol}{unit}",
                    series=(Series("", true, ours, "dots"),),
                    note=f"{note}\n{len(true):,} {split} {counted}",
                    is_comparison=True,
                )
            )
        return {"predictions": tuple(panels)}

    def _formula_rows(self, split: str, predictions: Predictions) -> Float[np.ndarray, "R K"]:
        """What references say of the rows of :meth:`_rows`; a single row of zeros for atoms."""
        if self._of_atoms:
            return np.zeros((1, self.out_features))
        ids = self._parts[split].molecules.ids
        order = np.argsort(ids)
        return self._formulas[split][order[np.searchsorted(ids, predictions["id"], sorter=order)]]

    def _rows(
        self, predictions: Predictions
    ) -> tuple[Float[np.ndarray, "R K"], Float[np.ndarray, "R K"], Bool[np.ndarray, "R K"]]:
        """Predicted and true values beyond references, and where these are known; atom by atom."""
        predicted, expected, known = (
            predictions[name].reshape(-1, self.out_features)
            for name in ("prediction", "target", "known")
        )
        constants = self.standardization
        return unstandardize(predicted, constants), unstandardize(expected, constants), known

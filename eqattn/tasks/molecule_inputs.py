"""Molecules as a model sees them, in training and in prediction for new ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np

from eqattn.config import SavedConfig
from eqattn.data import Molecules, evaluation_batches, target_columns
from eqattn.tasks.standardization import unstandardize
from eqattn.tasks.task import Batch, Predictions
from eqattn.typing import Array, Float

__all__ = ["NewMolecules", "centered", "model_inputs", "predict_standardized"]


class NewMolecules:
    """Molecules that no run has seen; see :class:`eqattn.tasks.NewExamples`.

    Args:
        molecules: The molecules.
        config: The run whose model predicts.
    """

    def __init__(self, molecules: Molecules, config: SavedConfig):
        self._molecules = centered(molecules)
        self._config = config
        self._dtype = jnp.promote_types(jnp.float32, config.model.dtype)

    def batches(self) -> Iterable[Batch]:
        """Returns each molecule once."""
        return evaluation_batches(
            self._molecules,
            np.zeros((len(self._molecules), len(self._config.targets))),
            batch_size=min(self._config.batch_size, len(self._molecules)),
        )

    def predict(self, model: Any, batch: Batch, num_lifts: int) -> dict[str, Float[Array, "B ..."]]:
        """Returns standardized predictions, beside the id of each molecule.

        Args:
            model: The model.
            batch: One of :meth:`batches`.
            num_lifts: Lifts to average, drawn with the fixed key of evaluation.
        """
        prediction = predict_standardized(model, batch, num_lifts, self._dtype)
        return {"prediction": prediction, "id": jnp.asarray(batch["id"])}

    def table(self, predictions: Predictions) -> dict[str, np.ndarray]:
        """Returns ids and predicted targets, and the true ones where the file has them.

        A column is called by its target and its unit, such as ``gap_eV`` and ``gap_eV_true``.

        Args:
            predictions: What :meth:`predict` returned, over all molecules.

        Raises:
            ValueError: If a prediction is not finite.
        """
        constants, ids = self._config.standardization, self._molecules.ids
        order = np.argsort(predictions["id"])[np.argsort(np.argsort(ids))]
        values = unstandardize(predictions["prediction"][order], constants)
        if not np.isfinite(values).all():
            index = int(np.argmin(np.isfinite(values).all(axis=1)))
            raise ValueError(
                f"molecule {ids[index]}: the prediction is not finite; are its positions sensible?"
            )
        known = self._molecules.targets[:, target_columns(self._config.targets)]
        columns = {"id": ids}
        for column, target in enumerate(constants):
            columns[f"{target.target}_{target.unit}"] = values[:, column]
        for column, target in enumerate(constants):
            if np.isfinite(known[:, column]).any():  # NaN where it is not known
                columns[f"{target.target}_{target.unit}_true"] = known[:, column]
        return columns


def model_inputs(batch: Batch, dtype: Any) -> tuple[Float[Array, "B N 3"], Float[Array, "B N C"]]:
    """Returns the positions and the features of a batch, as arrays of this type."""
    return jnp.asarray(batch["points"], dtype), jnp.asarray(batch["features"], dtype)


def predict_standardized(
    model: Any, batch: Batch, num_lifts: int, dtype: Any
) -> Float[Array, "B K"]:
    """Returns what a model predicts for an evaluation batch, in standardized units."""
    points, features = model_inputs(batch, dtype)
    return model(
        points, features, batch["mask"], None, example_ids=batch["id"], num_lifts=num_lifts
    )


def centered(molecules: Molecules) -> Molecules:
    """Returns the molecules with their centroids at the origin, about which they are rotated.

    Groups without translations need a definite place; with them it only spares float32 digits.
    """
    sums = np.add.reduceat(molecules.positions.astype(np.float64), molecules.offsets[:-1])
    centroids = np.repeat(sums / molecules.num_atoms[:, None], molecules.num_atoms, axis=0)
    positions = (molecules.positions - centroids).astype(np.float32)
    return dataclasses.replace(molecules, positions=positions)

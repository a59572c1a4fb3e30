"""Molecules as a model sees them, in training and in prediction for new ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from eqattn.config import SavedConfig
from eqattn.data.atoms.elements import element_symbol
from eqattn.tasks.core.ranges import reasons_outside
from eqattn.tasks.core.standardization import unstandardize
from eqattn.tasks.core.task import Batch, Predictions
from eqattn.tasks.molecules import Molecules, evaluation_batches, target_columns
from eqattn.tasks.molecules.ranges import molecule_quantities
from eqattn.tasks.molecules.targets import ELEMENTS
from eqattn.typing import Array, Float

__all__ = ["NewMolecules", "check_elements", "model_inputs", "predict_standardized"]


class NewMolecules:
    """Molecules that no run has seen; see :class:`eqattn.tasks.NewExamples`.

    Args:
      molecules: The molecules.
      config: The run whose model predicts.
    """

    def __init__(self, molecules: Molecules, config: SavedConfig):
        self._molecules = molecules
        self._config = config
        self._dtype = jnp.promote_types(jnp.float32, config.model.network.dtype)

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
          batch: A batch of :meth:`batches`.
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

    def outside_training(self) -> Mapping[int, str]:
        """Returns the ids of molecules whose sizes, elements or distances are new, and what is."""
        quantities, ids = molecule_quantities(self._molecules), self._molecules.ids
        reasons = reasons_outside(quantities, self._config.training_ranges)
        return {int(ids[place]): reason for place, reason in reasons.items()}


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


def check_elements(path: Path, molecules: Molecules) -> None:
    """Raises a ValueError if a molecule has an element that models of this task do not know.

    Args:
      path: Where the molecules come from, for the message.
      molecules: What is to be predicted for.
    """
    known = np.isin(molecules.numbers, list(ELEMENTS.values()))
    if not known.all():
        atom = int(np.argmin(known))
        owner = int(np.searchsorted(molecules.offsets, atom, side="right")) - 1
        symbol = element_symbol(int(molecules.numbers[atom]))
        raise ValueError(
            f"{path}: molecule {molecules.ids[owner]} holds the element {symbol}, which models of "
            f"this task do not know; they know {', '.join(ELEMENTS)}."
        )

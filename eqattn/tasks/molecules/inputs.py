"""Molecules as a model sees them, in training and in prediction for new ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from eqattn.config import RunConfig, SavedConfig
from eqattn.data.atoms import Configurations
from eqattn.data.atoms.elements import element_symbol
from eqattn.tasks.core.atom_ranges import molecule_quantities
from eqattn.tasks.core.atoms import widened
from eqattn.tasks.core.ranges import reasons_outside
from eqattn.tasks.core.standardization import unstandardize
from eqattn.tasks.core.task import Batch, Predictions
from eqattn.tasks.molecules.batches import evaluation_batches
from eqattn.tasks.molecules.constants import formula_sums
from eqattn.typing import Array, Float

__all__ = ["NewMolecules", "is_of_atoms", "model_inputs", "predict_standardized"]

SPREAD = "prediction_spread"
"""Name under which predictions hold how far the members of an ensemble differ."""


class NewMolecules:
    """Molecules that no run has seen; see :class:`eqattn.tasks.NewExamples`.

    Args:
      molecules: The molecules.
      config: The run whose model predicts.
    """

    def __init__(self, molecules: Configurations, config: SavedConfig):
        self._molecules = molecules
        self._config = config
        self._of_atoms = is_of_atoms(config)
        self._dtype = jnp.promote_types(jnp.float32, config.model.network.dtype)

    def batches(self) -> Iterable[Batch]:
        """Returns each molecule once."""
        num = len(self._molecules.numbers) if self._of_atoms else len(self._molecules)
        return evaluation_batches(
            self._molecules,
            np.zeros((num, len(self._config.targets))),
            batch_size=min(self._config.batch_size, len(self._molecules)),
            elements=self._config.elements,
            of_atoms=self._of_atoms,
        )

    def predict(self, model: Any, batch: Batch, num_lifts: int) -> dict[str, Float[Array, "B ..."]]:
        """Returns standardized predictions, beside the id of each molecule.

        Args:
          model: The model.
          batch: A batch of :meth:`batches`.
          num_lifts: Lifts to average, drawn with the fixed key of evaluation.
        """
        prediction = predict_standardized(model, batch, num_lifts, self._dtype)
        if self._of_atoms:
            prediction = widened(prediction, int(self._molecules.num_atoms.max()))
        return {"prediction": prediction, "id": jnp.asarray(batch["id"])}

    def table(self, predictions: Predictions) -> dict[str, np.ndarray]:
        """Returns ids and predicted targets, and the true ones where the file has them.

        A column is called by its target and its unit, such as ``gap_eV`` and ``gap_eV_true``.
        Of targets of atoms there is a row for each atom, with its number in the molecule, counted
        from 0, and its element. Of an ensemble, columns such as ``gap_eV_spread`` follow.

        Args:
          predictions: What :meth:`predict` returned, over all molecules.

        Raises:
          ValueError: If a prediction is not finite.
        """
        molecules, constants = self._molecules, self._config.standardization
        owners = molecules.owners if self._of_atoms else np.arange(len(molecules))
        values = unstandardize(self._rows(predictions["prediction"], predictions), constants)
        if not self._of_atoms:
            values = values + formula_sums(molecules, constants)
        if not np.isfinite(values).all():
            owner = owners[int(np.argmin(np.isfinite(values).all(axis=1)))]
            raise ValueError(
                f"molecule {molecules.ids[owner]}: the prediction is not finite; are its positions "
                "sensible?"
            )
        columns = {"id": molecules.ids[owners]}
        if self._of_atoms:
            columns["atom"] = np.arange(len(owners)) - molecules.offsets[owners]
            columns["element"] = np.array([element_symbol(int(z)) for z in molecules.numbers])
        names = [c.target if c.unit == "1" else f"{c.target}_{c.unit}" for c in constants]
        columns |= dict(zip(names, values.T, strict=True))
        if SPREAD in predictions:
            spreads = self._rows(predictions[SPREAD], predictions).T
            for name, spread, c in zip(names, spreads, constants, strict=True):
                columns[f"{name}_spread"] = c.scale * spread
        held = molecules.atom_properties if self._of_atoms else molecules.properties
        for name, target in zip(names, self._config.targets, strict=True):
            known = held.get(target)
            if known is not None and known.ndim == 1 and np.isfinite(known).any():
                columns[f"{name}_true"] = known  # NaN where it is not known
        return columns

    def _rows(
        self, values: Float[np.ndarray, "M *N K"], predictions: Predictions
    ) -> Float[np.ndarray, "R K"]:
        """The values of molecules, or of their atoms, in the order of the file."""
        ids, num_atoms = self._molecules.ids, self._molecules.num_atoms
        ordered = values[np.argsort(predictions["id"])[np.argsort(np.argsort(ids))]]
        if not self._of_atoms:
            return ordered
        return ordered[np.arange(ordered.shape[1]) < num_atoms[:, None]]

    def outside_training(self) -> Mapping[int, str]:
        """Returns the ids of molecules whose sizes, elements or distances are new, and what is."""
        quantities, ids = molecule_quantities(self._molecules), self._molecules.ids
        reasons = reasons_outside(quantities, self._config.training_ranges)
        return {int(ids[place]): reason for place, reason in reasons.items()}


def is_of_atoms(config: RunConfig) -> bool:
    """Returns whether the model of a run gives its targets for each atom.

    Args:
      config: Configuration of the run.
    """
    return getattr(config.model, "output", None) == "per_point"


def model_inputs(batch: Batch, dtype: Any) -> tuple[Float[Array, "B N 3"], Float[Array, "B N C"]]:
    """Returns the positions and the features of a batch, as arrays of this type."""
    return jnp.asarray(batch["points"], dtype), jnp.asarray(batch["features"], dtype)


def predict_standardized(
    model: Any, batch: Batch, num_lifts: int, dtype: Any
) -> Float[Array, "B *N K"]:
    """Returns what a model predicts for an evaluation batch, in standardized units."""
    points, features = model_inputs(batch, dtype)
    return model(
        points, features, batch["mask"], None, example_ids=batch["id"], num_lifts=num_lifts
    )

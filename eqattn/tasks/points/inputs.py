"""Point sets as a model sees them, in training and in prediction for new ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from eqattn.config import SavedConfig
from eqattn.data.streams import Rows, batches_once, int32_ids
from eqattn.tasks.core.standardization import unstandardize
from eqattn.tasks.core.task import Batch, Predictions
from eqattn.tasks.points.data import PointSets
from eqattn.typing import Array, Float

__all__ = ["CLASS", "NewPoints", "inputs", "predict"]

CLASS = "class"
"""Name of the target where point sets are told apart."""


class NewPoints:
    """Point sets that no run has seen; see :class:`eqattn.tasks.NewExamples`.

    Args:
      sets: The point sets.
      config: The run whose model predicts.
    """

    def __init__(self, sets: PointSets, config: SavedConfig):
        self._sets, self._config = sets, config
        self._dtype = np.dtype(jnp.promote_types(jnp.float32, config.model.network.dtype))

    def batches(self) -> Iterable[Batch]:
        """Returns each point set once."""
        size = min(self._config.batch_size, len(self._sets))
        return batches_once(
            lambda rows: inputs(self._sets, rows, self._dtype), len(self._sets), batch_size=size
        )

    def predict(self, model: Any, batch: Batch, num_lifts: int) -> dict[str, Float[Array, "B ..."]]:
        """Returns what the model says of each point set.

        Args:
          model: The model.
          batch: A batch of :meth:`batches`.
          num_lifts: Lifts to average, drawn with the fixed key of evaluation.
        """
        return {"prediction": predict(model, batch, num_lifts=num_lifts)}

    def table(self, predictions: Predictions) -> dict[str, np.ndarray]:
        """Returns ids and predicted numbers, or the likeliest class and the probability of each.

        Args:
          predictions: What :meth:`predict` returned, over all point sets.

        Raises:
          ValueError: If a prediction is not finite.
        """
        found, ids = predictions["prediction"].astype(np.float64), self._sets.ids
        if not np.isfinite(found).all():
            place = int(np.argmin(np.isfinite(found).all(axis=1)))
            raise ValueError(f"point set {ids[place]}: the prediction is not finite.")
        constants = self._config.standardization
        if self._config.targets != (CLASS,):
            values = unstandardize(found, constants)
            return {"id": ids} | {c.target: values[:, k] for k, c in enumerate(constants)}
        odds = np.exp(found - found.max(axis=1, keepdims=True))
        probabilities = odds / odds.sum(axis=1, keepdims=True)
        columns = {f"probability_{k}": column for k, column in enumerate(probabilities.T)}
        return {"id": ids, CLASS: probabilities.argmax(axis=1), **columns}

    def outside_training(self) -> Mapping[int, str]:
        """Returns nothing: what point sets are alike in is not known."""
        return {}


def inputs(part: PointSets, rows: Rows, dtype: np.dtype) -> dict[str, np.ndarray]:
    """Returns what a model sees of some point sets.

    Args:
      part: Point sets.
      rows: Places of those that are wanted.
      dtype: Data type of the points and features.
    """
    return {
        "points": part.points[rows].astype(dtype),
        "features": part.features[rows].astype(dtype),
        "mask": part.mask[rows],
        "id": int32_ids(part.ids[rows]),
    }


def predict(model: Any, batch: Batch, **options: Any) -> Float[Array, "B K"]:
    """Returns what a model says of each point set of a batch.

    Args:
      model: The model.
      batch: What :func:`inputs` gives.
      **options: Further arguments of the model.
    """
    points, features, mask = (jnp.asarray(batch[n]) for n in ("points", "features", "mask"))
    return model(points, features, mask, example_ids=jnp.asarray(batch["id"]), **options)

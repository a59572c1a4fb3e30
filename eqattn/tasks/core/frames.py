"""How often a model with the lift ``Frames`` had to draw its axes, for the scores of a run."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.lift import lift
from eqattn.tasks.core.task import Predictions, Score
from eqattn.typing import Array, Bool, Float

__all__ = ["DRAWN", "drawn_frames", "drawn_score"]

DRAWN = "frames_drawn"
"""Name of the prediction and of the score: the share of examples whose axes were drawn."""


def drawn_frames(
    model: Any, points: Float[Array, "*B N D"], mask: Bool[Array, "*B N"] | None
) -> dict[str, Float[Array, "*B"]]:
    """Returns 1 for the examples whose principal axes are not separated, else 0, under its name.

    For these the lift is equivariant in expectation only. Of a model with another lift there is
    nothing to say, and the result is empty.

    Args:
      model: The model that sees the points.
      points: Points of the examples.
      mask: Marks those that exist; by default all do.
    """
    of_model = getattr(model, "lift", None)
    if of_model is None or not of_model.has_fallback:
        return {}
    features = jnp.zeros((*points.shape[:-1], 1), points.dtype)
    key = jax.random.key(0)  # which axes are drawn does not matter
    lifted = lift(model.space, points, features, mask, key=key, lift=of_model)
    return {DRAWN: jnp.asarray(lifted.fallback, jnp.float32)}


def drawn_score(target: str, predictions: Predictions) -> tuple[Score, ...]:
    """Returns the share of examples whose axes were drawn as a score, if the model has such axes.

    Args:
      target: The target it stands beside.
      predictions: Predictions, with those of :func:`drawn_frames`.
    """
    if DRAWN not in predictions:
        return ()
    return (Score(target, DRAWN, float(np.mean(predictions[DRAWN])), 0.0, "1"),)

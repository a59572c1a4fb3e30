"""Predictions and scores of a whole split."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn.checks import check_sizes
from eqattn.models import Ensemble
from eqattn.tasks import Batch, NewExamples, PartlyLabeled, Predictions, Problem, Score
from eqattn.train.packing import PackedTree

__all__ = [
    "Predictor",
    "make_predictor",
    "predict_batches",
    "predict_split",
    "score_split",
    "unknown_labels",
]

Predictor = Callable[[Any, Batch], dict[str, jax.Array]]
"""A jitted function of parameters, packed or not, and a batch; see :func:`make_predictor`."""


def make_predictor(
    graphdef: nnx.GraphDef, problem: Problem | NewExamples, num_lifts: int
) -> Predictor:
    """Returns the jitted prediction; each shape of batch is compiled once.

    Args:
      graphdef: The model without its parameters.
      problem: Says how to predict.
      num_lifts: Lifts whose predictions are averaged.

    Raises:
      TypeError: If ``num_lifts`` is not an integer.
      ValueError: If it is not positive.
    """
    check_sizes({"num_lifts": num_lifts})

    def predict(params: Any, batch: Batch) -> dict[str, jax.Array]:
        model = nnx.merge(graphdef, params.tree if isinstance(params, PackedTree) else params)
        if isinstance(model, Ensemble):
            return _over_members(model.of_members(lambda m: problem.predict(m, batch, num_lifts)))
        return problem.predict(model, batch, num_lifts)

    return jax.jit(predict)


def _over_members(predictions: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Means of what the members of an ensemble predict, and their standard deviations."""
    found: dict[str, jax.Array] = {}
    for name, values in predictions.items():
        if not jnp.issubdtype(values.dtype, jnp.inexact):
            found[name] = values[0]  # no prediction: the same of all members
            continue
        found[name] = jnp.mean(values, axis=0)
        found[spread_of(name)] = jnp.std(values, axis=0)
    return found


def spread_of(name: str) -> str:
    """Returns the name under which predictions hold how far the members of an ensemble differ.

    Args:
      name: Name of the predicted quantity.
    """
    return f"{name}_spread"


def predict_split(predictor: Predictor, params: Any, problem: Problem, split: str) -> Predictions:
    """Returns the predictions for every example of a split, each once, as arrays on the host.

    Args:
      predictor: What :func:`make_predictor` returned.
      params: Parameters to predict with.
      problem: Gives the batches.
      split: "train", "validation" or "test".

    Raises:
      ValueError: If there is no such split.
    """
    if split not in problem.num_examples:
        raise ValueError(
            f"split {split!r} is unknown; known are {', '.join(problem.num_examples)}."
        )
    return predict_batches(predictor, params, problem.evaluation_batches(split))


def predict_batches(predictor: Predictor, params: Any, batches: Iterable[Batch]) -> Predictions:
    """Returns the predictions for the rows of weight above 0, as arrays on the host.

    Args:
      predictor: What :func:`make_predictor` returned.
      params: Parameters to predict with.
      batches: Batches with "weight".
    """
    parts: list[dict[str, np.ndarray]] = []
    for batch in batches:
        kept = np.asarray(batch["weight"]) > 0
        parts.append({name: np.asarray(v)[kept] for name, v in predictor(params, batch).items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def score_split(
    predictor: Predictor, params: Any, problem: Problem, split: str
) -> tuple[tuple[Score, ...], float]:
    """Returns the metrics of a split in physical units, and the mean of the training loss on it.

    Args:
      predictor: What :func:`make_predictor` returned.
      params: Parameters to predict with.
      problem: Gives the batches and the metrics.
      split: "train", "validation" or "test".

    Raises:
      ValueError: If there is no such split.
    """
    predictions = predict_split(predictor, params, problem, split)
    loss = np.average(predictions["loss"], weights=predictions.get("num_known"))
    return problem.score(split, predictions), float(loss)


def unknown_labels(problem: Problem) -> dict[str, dict[str, int]]:
    """Returns how many labels of a problem are not known, by split and target, where any is not.

    Args:
      problem: The problem.
    """
    if not isinstance(problem, PartlyLabeled):
        return {}
    return {split: dict(counts) for split, counts in problem.unknown_labels.items()}

"""Scores of a finished run, on any split."""

from __future__ import annotations

import os
import time
from pathlib import Path

import jax
from flax import nnx

from eqattn.config import SavedConfig
from eqattn.tasks import get_task
from eqattn.train.baseline import baseline_folder, baselines_by_name, beside
from eqattn.train.evaluation import make_predictor, score_split, unknown_labels
from eqattn.train.loop import RunResult, check_data
from eqattn.train.model_files import load_checkpoint

__all__ = ["evaluate"]


def evaluate(
    directory: str | os.PathLike[str], *, split: str = "test", num_lifts: int | None = None
) -> RunResult:
    """Scores the best averaged parameters of a run, with the standardization it was trained with.

    A baseline that was trained with it is scored likewise.

    Args:
      directory: A run folder.
      split: "train", "validation" or "test".
      num_lifts: Lifts whose predictions are averaged; by default the run's own number.

    Returns:
      The scores; ``steps`` is the training steps behind the parameters, ``seconds`` the time
      of the evaluation.

    Raises:
      FileNotFoundError: If it is not a run folder, or its data are missing.
      ValueError: If it is damaged, of a newer format, the file or folder of its data was
        changed, or there is no such split.
    """
    began = time.monotonic()
    model, config, step = load_checkpoint(directory)
    if not isinstance(config, SavedConfig):
        raise ValueError(f"{directory} is a saved model without a task; there is no data to score.")
    check_data(config)
    task = get_task(config.task)
    problem = task.prepare(config, standardization=config.standardization)
    graphdef, params = nnx.split(model, nnx.Param)
    predictor = make_predictor(
        graphdef, problem, config.num_lifts if num_lifts is None else num_lifts
    )
    scores, _ = score_split(predictor, params, problem, split)
    baselines: dict[str, float] = {}
    folder = baseline_folder(directory)
    if folder is not None:
        other = evaluate(folder, split=split)
        scores = beside(scores, other.scores)
        baselines = baselines_by_name(task, other.scores)
    return RunResult(
        scores=scores,
        num_params=sum(leaf.size for leaf in jax.tree.leaves(params)),
        steps=step,
        seconds=time.monotonic() - began,
        directory=Path(directory).expanduser().absolute(),
        baselines=baselines,
        unknown_labels=unknown_labels(problem),
    )

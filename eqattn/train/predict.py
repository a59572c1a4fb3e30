"""Predictions of a run for examples it has never seen."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flax import nnx

from eqattn.config import SavedConfig
from eqattn.tasks import PredictingTask, get_task
from eqattn.train.evaluation import make_predictor, predict_batches
from eqattn.train.model_files import load_checkpoint

__all__ = ["PredictionTable", "predict"]


@dataclass(frozen=True)
class PredictionTable:
    """Predictions for the examples of a file.

    Attributes:
        columns: Equally long columns by header: "id", then what the task predicts. Molecules have
            one row each, with each target and its unit ("gap_eV"), and what the file says of it
            ("gap_eV_true") where it does; springs a row for each time and particle, with "time",
            "particle", "x", "y", "px", "py".
        num_examples: Examples that the file holds.
        steps: Training steps behind the parameters.
        seconds: Wall time, compilation included.
    """

    columns: Mapping[str, np.ndarray]
    num_examples: int
    steps: int
    seconds: float

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self.columns["id"])


def predict(
    directory: str | os.PathLike[str],
    file: str | os.PathLike[str],
    *,
    num_lifts: int | None = None,
) -> PredictionTable:
    """Predicts with the best averaged parameters of a run, in physical units.

    Predictions are of the quantities the run was trained on; the thermochemical energies of
    molecules are relative to the free atoms (see :data:`eqattn.data.TARGETS`).

    Args:
        directory: A run folder.
        file: The examples; what can be read depends on the task (molecules:
            :func:`eqattn.data.read_structures`; springs: the layout at the top of
            :mod:`eqattn.data.spring_states`).
        num_lifts: Lifts whose predictions are averaged; by default the run's own number.

    Raises:
        FileNotFoundError: If it is not a run folder, or there is no such file.
        ModuleNotFoundError: If the file needs a package that is not installed.
        NotImplementedError: If the task does not predict for files.
        ValueError: If the folder or the file is damaged, or a prediction is not finite.
    """
    began = time.monotonic()
    model, config, step = load_checkpoint(directory)
    if not isinstance(config, SavedConfig):
        raise ValueError(f"{directory} is a saved model without a task; it knows no targets.")
    task = get_task(config.task)
    if not isinstance(task, PredictingTask):
        raise NotImplementedError(
            f"the task {task.name!r} does not predict for the examples of a file."
        )
    examples = task.read_examples(Path(file), config)
    graphdef, params = nnx.split(model, nnx.Param)
    predictor = make_predictor(
        graphdef, examples, config.num_lifts if num_lifts is None else num_lifts
    )
    predictions = predict_batches(predictor, params, examples.batches())
    return PredictionTable(
        columns=examples.table(predictions),
        num_examples=len(next(iter(predictions.values()))),
        steps=step,
        seconds=time.monotonic() - began,
    )

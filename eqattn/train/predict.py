"""Predictions of a run for examples it has never seen."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flax import nnx

from eqattn.config import SavedConfig
from eqattn.data.atoms import Configurations
from eqattn.tasks import HasConfigurations, NewExamples, PredictingTask, get_task
from eqattn.train.evaluation import make_predictor, predict_batches
from eqattn.train.model_files import load_checkpoint

__all__ = ["OUTSIDE", "PredictionTable", "predict"]

OUTSIDE = "outside_training"
"""Header of the column that says why an example is unlike those that the run was trained on."""

logger = logging.getLogger("eqattn")


@dataclass(frozen=True)
class PredictionTable:
    """Predictions for the examples of a file.

    Attributes:
      columns: Equally long columns by header: "id", then what the task predicts. Molecules have
        one row each, with each target and its unit ("gap_eV"), and what the file says of it
        ("gap_eV_true") where it does, or one for each atom, with "atom" and "element"; springs a
        row for each time and particle, with "time", "particle", "x", "y", "px", "py"; forces a row
        for each atom, with "atom", "element", the energy of the configuration and the force on the
        atom. The last column, "outside_training", is text: why the example lies outside what the
        run was trained on, empty where it does not. Runs of earlier versions have no record of
        that, and their tables no such column.
      num_examples: Examples that the file holds.
      steps: Training steps behind the parameters.
      seconds: Wall time, compilation included.
      configurations: The examples with what is predicted of them, where they are configurations of
        atoms.
    """

    columns: Mapping[str, np.ndarray]
    num_examples: int
    steps: int
    seconds: float
    configurations: Configurations | None = None

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
    molecules are relative to the free atoms (see :data:`eqattn.tasks.molecules.TARGETS`).

    Args:
      directory: A run folder.
      file: The examples; what can be read depends on the task (molecules:
        :func:`eqattn.data.atoms.read_configurations`, and so of forces; springs: the layout at the
        top of :mod:`eqattn.tasks.springs.states`).
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
    columns = examples.table(predictions)
    if config.training_ranges:
        columns |= {OUTSIDE: _reasons(examples, columns["id"])}
    else:
        logger.warning(
            "%s has no record of what it was trained on: whether these examples lie outside is "
            "not known.",
            directory,
        )
    return PredictionTable(
        columns=columns,
        num_examples=len(next(iter(predictions.values()))),
        steps=step,
        seconds=time.monotonic() - began,
        configurations=(
            examples.configurations(predictions)
            if isinstance(examples, HasConfigurations)
            else None
        ),
    )


def _reasons(examples: NewExamples, ids: np.ndarray) -> np.ndarray:
    """Returns why the example of each row lies outside, and says in one line that some do."""
    outside = examples.outside_training()
    if outside:
        first, reason = next(iter(outside.items()))
        logger.warning(
            "%d of %d examples lie outside what the run was trained on, where predictions may mean "
            "nothing; the column %s says why. Example %d: %s.",
            *(len(outside), len(np.unique(ids)), OUTSIDE, first, reason),
        )
    return np.array([outside.get(identity, "") for identity in ids.tolist()])

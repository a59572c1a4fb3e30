"""Accuracy on the embedded shapes over 5 folds and 3 seeds, model beside model and a random forest.

Run by ``python -m benchmarks.shapes [--models NAME …] [--protocol NAME] [--seeds N] [--steps N]
[--out DIR] [--json-path FILE]``. Models are the presets ``demo`` and ``fields``, and ``vectors``, a
network of fields like the latter whose points know the same scalars as those of ``demo``. One JSON
object for each run goes to stdout:

* ``accuracy``, ``forest`` and ``majority``: shares of the test shapes that the model, a random
  forest on features that no rotation changes, and the commonest class get right;
* ``turned``: the largest change of a log probability of a test shape between the protocols z/z and
  z/SO(3), where the shapes were turned about the vertical axis and by any rotation;
* ``cpu_seconds``: processor time of all threads for the steps of training, without compilation and
  evaluations;

and after the runs of a model one with means over its runs. From the second model on, it tells by
how much the accuracy is above that of the first model, in the mean over pairs of runs of the same
fold and seed (``gain``), and the interval that Student's t gives this mean with 95 % (``low`` and
``high``). Seeds of a fold have the same test shapes, so that runs are not quite independent.

With ``--out`` the runs are kept, and those that are there are gone on with.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import numpy as np
import scipy.stats
import tyro
from flax import nnx

from benchmarks.runs import (
    CLOCK_NAME,
    Clock,
    check_at_least,
    folder_of_runs,
    train_once,
    with_steps,
)
from eqattn.config import RunConfig
from eqattn.tasks import get_preset, get_task
from eqattn.tasks.shapes import baseline as shape_baseline
from eqattn.tasks.shapes import data as shapes
from eqattn.tasks.shapes.task import INPUT_FIELDS
from eqattn.train import load
from eqattn.train.evaluation import make_predictor, predict_split
from eqattn.train.run_folder import read_run_config

FOLDS = (0, 1, 2, 3, 4)


def all_models() -> dict[str, RunConfig]:
    """Returns the runs that are compared, by name."""
    demo, fields = (get_preset("shapes", name) for name in ("demo", "fields"))
    held: Any = fields.model
    network = dataclasses.replace(
        held,
        input_field=INPUT_FIELDS[demo.options.features],
        hidden_field="64x scalar + 16x vector",
    )
    vectors = dataclasses.replace(fields, model=network, options=demo.options)
    return {"demo": demo, "fields": fields, "vectors": vectors}


def score_run(config: RunConfig, folder: Path) -> dict[str, float]:
    """Trains one model, or goes on with it, and returns its figures on the test.

    Args:
      config: The run.
      folder: The run folder.
    """
    clock = Clock(folder / CLOCK_NAME)
    result = train_once(config, folder, reporter=clock)
    return {
        "fold": config.options.fold,
        "seed": config.seed,
        "accuracy": 1 - result.scores[0].value,
        "majority": 1 - result.scores[0].baseline,
        "turned": largest_change(folder),
        "parameters": result.num_params,
        "cpu_seconds": round(clock.seconds_per_step * config.steps, 1),
    }


def largest_change(folder: Path) -> float:
    """Returns how far a trained model tells shapes turned about z from shapes turned freely.

    Args:
      folder: The run folder.
    """
    model, saved = load(folder)[0], read_run_config(folder)
    graphdef, params = nnx.split(model, nnx.Param)
    found = []
    for protocol in ("z/z", "z/SO(3)"):
        options = dataclasses.replace(saved.options, protocol=protocol)
        problem = get_task("shapes").prepare(dataclasses.replace(saved, options=options))
        predictor = make_predictor(graphdef, problem, saved.num_lifts)
        predictions = predict_split(predictor, params, problem, "test")
        found.append(predictions["log_probabilities"])
    return float(np.max(np.abs(found[0] - found[1])))


def measure(
    models: Mapping[str, RunConfig],
    seeds: int,
    out: Path,
    folds: Sequence[int] = FOLDS,
    num_trees: int = 500,
) -> list[dict[str, Any]]:
    """Prints the figures of each run and the means of each model, and returns the latter.

    Args:
      models: Runs by name, but for fold and seed.
      seeds: Number of seeds.
      out: Folder of the run folders.
      folds: Folds to test on.
      num_trees: Trees of the random forest.
    """
    held = shapes.load("embedded")
    features = shape_baseline.invariant_features(held.points)

    @functools.cache
    def forest(fold: int, seed: int) -> float:
        return shape_baseline.forest_accuracy(
            held, fold=fold, seed=seed, num_trees=num_trees, features=features
        )

    means, first = [], np.zeros(0)
    for name, model in models.items():
        rows = []
        for fold in folds:
            options = dataclasses.replace(model.options, fold=fold)
            for seed in range(seeds):
                config = dataclasses.replace(model, seed=seed, options=options)
                folder = out / f"{name}-fold{fold}-seed{seed}-steps{config.steps}"
                row = score_run(config, folder) | {"forest": forest(fold, seed)}
                print(json.dumps({"model": name} | row), flush=True)
                rows.append(row)
        columns = ("accuracy", "forest", "majority", "cpu_seconds")
        mean: dict[str, Any] = {"model": name, "runs": len(rows)}
        mean |= {column: fmean(row[column] for row in rows) for column in columns}
        mean["turned"] = max(row["turned"] for row in rows)
        accuracies = np.array([row["accuracy"] for row in rows])
        if means:
            mean |= paired_gain(accuracies - first)
        else:
            first = accuracies
        print(json.dumps(mean), flush=True)
        means.append(mean)
    return means


def paired_gain(differences: np.ndarray) -> dict[str, float]:
    """Returns the mean of differences, and the interval of 95 % that Student's t gives it.

    Args:
      differences: One of each pair of runs; at least two.
    """
    mean = float(np.mean(differences))
    error = float(np.std(differences, ddof=1) / np.sqrt(len(differences)))
    reach = float(scipy.stats.t.ppf(0.975, len(differences) - 1)) * error
    return {"gain": mean, "low": mean - reach, "high": mean + reach}


def main(
    models: tuple[Literal["demo", "fields", "vectors"], ...] = ("demo", "fields"),
    protocol: Literal["z/z", "z/SO(3)", "SO(3)/SO(3)"] = "SO(3)/SO(3)",
    seeds: int = 3,
    steps: int | None = None,
    out: Path | None = None,
    json_path: Path | None = None,
) -> None:
    """Trains models of shapes, and compares them fold by fold and seed by seed.

    Args:
      models: Models to train; the others are compared with the first.
      protocol: How shapes are turned in training / in the test.
      seeds: Number of seeds.
      steps: Steps of each run; by default those of the presets.
      out: Folder to keep the runs in.
      json_path: File to write the means to.
    """
    check_at_least(1, seeds=seeds, steps=1 if steps is None else steps)
    known = all_models()
    chosen = {}
    for name in models:
        options = dataclasses.replace(known[name].options, protocol=protocol)
        chosen[name] = dataclasses.replace(with_steps(known[name], steps), options=options)
    with folder_of_runs(out) as folder:
        means = measure(chosen, seeds, folder)
    if json_path is not None:
        json_path.write_text(json.dumps(means, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)

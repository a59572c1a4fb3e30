"""Accuracy on the embedded shapes over 5 folds and 3 seeds, beside the random forest's.

Run by ``python -m benchmarks.shapes [--out DIR] [--x.y VALUE …]``; the options are those of
``eqattn train shapes``, but for fold and seed. One JSON object per run goes to stdout, and a last
one with means:

* ``accuracy``, ``forest`` and ``majority``: shares of the test shapes that the model, a random
  forest on features that no rotation changes, and the commonest class get right;
* ``turned``: the largest change of a log probability of a test shape between the protocols z/z and
  z/SO(3), where the shapes were turned about the vertical axis and by any rotation.

With ``--out`` the runs are kept, and those that are there are gone on with.
"""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from flax import nnx

from benchmarks.runs import out_folder, parse_run, train_once
from eqattn.config import RunConfig
from eqattn.tasks import get_task
from eqattn.tasks.shapes import baseline as shape_baseline
from eqattn.tasks.shapes import data as shapes
from eqattn.train import load
from eqattn.train.evaluation import make_predictor, predict_split
from eqattn.train.run_folder import read_run_config

FOLDS, SEEDS = (0, 1, 2, 3, 4), (0, 1, 2)


def score_run(config: RunConfig, folder: Path) -> dict[str, float]:
    """Trains one model, or goes on with it, and returns its figures on the test.

    Args:
      config: The run.
      folder: The run folder.
    """
    result = train_once(config, folder)
    return {
        "fold": config.options.fold,
        "seed": config.seed,
        "accuracy": 1 - result.scores[0].value,
        "majority": 1 - result.scores[0].baseline,
        "turned": largest_change(folder),
        "seconds": result.seconds,
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark.

    Args:
      arguments: Words of the command line; by default those of the process.
    """
    out, words = out_folder(sys.argv[1:] if arguments is None else arguments)
    config = parse_run("shapes", "shapes", ("seed", "options.fold"), words)
    with tempfile.TemporaryDirectory() as scratch:
        print(json.dumps(measure(config, Path(scratch) if out is None else out)))


def measure(
    config: RunConfig,
    out: Path,
    folds: Sequence[int] = FOLDS,
    seeds: Sequence[int] = SEEDS,
    num_trees: int = 500,
) -> dict[str, Any]:
    """Prints the figures of each run, and returns the means over runs.

    Args:
      config: The run, but for fold and seed.
      out: Folder of the run folders.
      folds: Folds to test on.
      seeds: Seeds to train with.
      num_trees: Trees of the random forest.
    """
    held = shapes.load(config.data, num_points=config.options.num_points or None)
    features = shape_baseline.invariant_features(held.points)
    rows = []
    for fold in folds:
        options = dataclasses.replace(config.options, fold=fold)
        for seed in seeds:
            run = dataclasses.replace(config, seed=seed, options=options)
            row = score_run(run, out / f"fold{fold}-seed{seed}")
            row["forest"] = shape_baseline.forest_accuracy(
                held, fold=fold, seed=seed, num_trees=num_trees, features=features
            )
            print(json.dumps({name: round(value, 7) for name, value in row.items()}), flush=True)
            rows.append(row)
    means = {name: fmean(row[name] for row in rows) for name in ("accuracy", "forest", "majority")}
    return {
        "protocol": config.options.protocol,
        "runs": len(rows),
        **{name: round(value, 4) for name, value in means.items()},
        "turned": max(row["turned"] for row in rows),
        "seconds": round(sum(row["seconds"] for row in rows), 1),
    }


if __name__ == "__main__":
    main()

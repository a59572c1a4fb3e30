"""Accuracy on constellations in the six columns of training and test that arXiv:2012.10885 reports.

Run by ``python -m benchmarks.constellations [--out DIR] [--x.y VALUE …]``; the options are those of
``eqattn train constellations``, but for the motions. One model is trained for each motion of the
training examples, and scored on the test as it is, translated (T2), and rotated and translated
(SE2). One JSON object per column goes to stdout:

* ``accuracy``: the share of right counts, in the mean over the four kinds of patterns;
* ``published``: what the publication reports for its LieTransformer; there the best of T(2) and
  SE(2). Its examples are not ours, see :mod:`eqattn.tasks.constellations.data`;
* ``majority``: what always giving the commonest counts gets right;
* ``seconds``: how long the training took.

With ``--out`` the runs are kept, and those that are there are gone on with.
"""

import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flax import nnx

from benchmarks.runs import folder_of_runs, out_folder, parse_run, train_once
from eqattn.config import RunConfig
from eqattn.tasks import get_task
from eqattn.train import load
from eqattn.train.evaluation import make_predictor, predict_split
from eqattn.train.run_folder import read_run_config

PUBLISHED = {
    ("none", "none"): 0.75,
    ("none", "T2"): 0.75,
    ("none", "SE2"): 0.69,
    ("T2", "T2"): 0.75,
    ("T2", "SE2"): 0.69,
    ("SE2", "SE2"): 0.72,
}
"""Published accuracies by the motions of training and test."""


def accuracy(folder: Path, test_motion: str) -> float:
    """Returns the share of right counts of a trained model.

    Args:
      folder: The run folder.
      test_motion: What moves the examples of the test: "none", "T2" or "SE2".
    """
    model, saved = load(folder)[0], read_run_config(folder)
    graphdef, params = nnx.split(model, nnx.Param)
    options = dataclasses.replace(saved.options, test_motion=test_motion)
    problem = get_task(saved.task).prepare(dataclasses.replace(saved, options=options))
    predictor = make_predictor(graphdef, problem, saved.num_lifts)
    scores = problem.score("test", predict_split(predictor, params, problem, "test"))
    return 1 - scores[0].value


def measure(config: RunConfig, out: Path) -> Iterator[dict[str, Any]]:
    """Yields the figures of each column.

    Args:
      config: The run, but for the motions.
      out: Folder of the run folders.
    """
    results = {}
    for train_motion, test_motion in PUBLISHED:
        folder = out / f"train-{train_motion}"
        if train_motion not in results:
            options = dataclasses.replace(
                config.options, train_motion=train_motion, test_motion=train_motion
            )
            run = dataclasses.replace(config, options=options)
            results[train_motion] = train_once(run, folder)
        yield {
            "train": train_motion,
            "test": test_motion,
            "accuracy": round(accuracy(folder, test_motion), 4),
            "published": PUBLISHED[train_motion, test_motion],
            "majority": round(1 - results[train_motion].scores[0].baseline, 4),
            "seconds": round(results[train_motion].seconds, 1),
        }


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark.

    Args:
      arguments: Words of the command line; by default those of the process.
    """
    out, words = out_folder(sys.argv[1:] if arguments is None else arguments)
    motions = ("options.train_motion", "constellations.test_motion")
    config = parse_run("constellations", "constellations", motions, words)
    with folder_of_runs(out) as folder:
        for row in measure(config, folder):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()

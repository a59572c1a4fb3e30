"""Errors of springs against the number of trajectories, beside the published curve.

Run by ``python -m benchmarks.springs [--sizes N …] [--seeds N] [--steps N] [--out DIR] [--json-path
FILE]``.
One model of the preset ``precise`` is trained for each number of training trajectories and each
seed, with the same steps for all, and the parameters that are best on validation are scored on the
test once. One JSON object per run goes to stdout:

* ``mse5`` and ``mse100``: squared errors of the test over 5 steps and over 100; ``validation``: the
  first of them on validation, by which the parameters were chosen;
* ``cpu_seconds``: processor time of all threads for the steps of training, without compilation and
  evaluations.

A first object gives the ``solver``'s own errors, those of the true potential with the same steps.
With ``--out`` the runs are kept: one that was stopped is gone on with, and one that has ended is
not run again. The figure is made of the file of ``--json-path`` by ``python -m
benchmarks.springs_figure``.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import tyro
from flax import nnx

from benchmarks.runs import (
    CLOCK_NAME,
    Clock,
    check_at_least,
    check_same_run,
    folder_of_runs,
    train_once,
    with_steps,
)
from eqattn.config import RunConfig
from eqattn.models import HamiltonianNetwork
from eqattn.tasks import Score, get_preset, get_task
from eqattn.train.evaluation import make_predictor, predict_split

SIZES = (100, 400, 1_000, 3_000, 10_000)
PRESET = "precise"
ROW_NAME = "row.json"


class TruePotential(nnx.Module):
    """The potential that the trajectories are made with; see :mod:`eqattn.tasks.springs.data`."""

    in_features, out_features, is_stochastic = 2, 1, False

    def __call__(self, points: Any, features: Any, *_: Any, **__: Any) -> Any:
        """Returns half the sum of k_i k_j |q_i - q_j|² over ordered pairs."""
        constants = features[..., 1]
        differences = points[..., :, None, :] - points[..., None, :, :]
        stiffness = constants[..., :, None] * constants[..., None, :]
        return 0.5 * jnp.sum(stiffness * jnp.sum(differences**2, -1), (-2, -1))[..., None]


def solver_errors(config: RunConfig) -> dict[str, float]:
    """Returns the errors of the true potential on the test, with the solver of a run.

    Args:
      config: The run.
    """
    problem = get_task(config.task).prepare(config)
    graphdef, params = nnx.split(HamiltonianNetwork(TruePotential()), nnx.Param)
    predictions = predict_split(make_predictor(graphdef, problem, 1), params, problem, "test")
    return _errors(problem.score("test", predictions))


def _errors(scores: Iterable[Score]) -> dict[str, float]:
    return {score.metric: score.value for score in scores if score.metric.startswith("mse")}


def run_config(size: int, seed: int, preset: RunConfig | None = None) -> RunConfig:
    """Returns the run of a number of trajectories and a seed.

    Args:
      size: Number of training trajectories.
      seed: Seed of the run; the trajectories are the same for all.
      preset: What else the run is; by default the preset of the benchmark.
    """
    preset = get_preset("springs", PRESET) if preset is None else preset
    options = dataclasses.replace(preset.options, num_train=size, baseline="none")
    return dataclasses.replace(preset, seed=seed, options=options)


def score_run(config: RunConfig, folder: Path) -> dict[str, Any]:
    """Trains one model, or goes on with it, or reads what it came to.

    Args:
      config: The run.
      folder: The run folder.

    Raises:
      SystemExit: If the folder holds a run of another configuration.
    """
    kept = folder / ROW_NAME
    if kept.is_file():
        check_same_run(config, folder)
        return json.loads(kept.read_text())
    clock = Clock(folder / CLOCK_NAME)
    result = train_once(config, folder, reporter=clock)
    row = {
        "trajectories": config.options.num_train,
        "seed": config.seed,
        **_errors(result.scores),
        "validation": best_validation(folder),
        "parameters": result.num_params,
        "steps": result.steps,
        "cpu_seconds": round(clock.seconds_per_step * result.steps, 1),
    }
    kept.write_text(json.dumps(row))
    return row


def best_validation(folder: Path) -> float:
    """Returns the smallest error over 5 steps that a run had on validation.

    Args:
      folder: The run folder.
    """
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    rows = [row["metrics"]["springs"]["mse5"] for row in lines if row["split"] == "validation"]
    return min(rows)


def measure(
    out: Path, sizes: Sequence[int], seeds: Iterable[int], preset: RunConfig | None = None
) -> Iterator[dict[str, Any]]:
    """Yields the figures of each run: all sizes with the first seed, then with the next.

    Args:
      out: Folder of the run folders.
      sizes: Numbers of training trajectories.
      seeds: Seeds of the runs.
      preset: What else the runs are; by default the preset of the benchmark.
    """
    for seed in seeds:
        for size in sizes:
            config = run_config(size, seed, preset)
            yield score_run(config, out / f"size{size}-seed{seed}-steps{config.steps}")


def main(
    sizes: tuple[int, ...] = SIZES,
    seeds: int = 3,
    steps: int | None = None,
    out: Path | None = None,
    json_path: Path | None = None,
) -> None:
    """Trains springs on more and more trajectories, and prints the errors of each run.

    Args:
      sizes: Numbers of training trajectories.
      seeds: Number of seeds.
      steps: Steps of each run; by default those of the preset.
      out: Folder of the run folders; by default nothing is kept.
      json_path: File to record the results in; those of other runs stay in it.
    """
    check_at_least(1, seeds=seeds, sizes=min(sizes, default=0), steps=1 if steps is None else steps)
    preset = with_steps(get_preset("springs", PRESET), steps)
    found = {"solver": solver_errors(run_config(min(sizes), 0, preset))}
    print(json.dumps(found), flush=True)
    with folder_of_runs(out) as folder:
        for row in measure(folder, sizes, range(seeds), preset):
            print(json.dumps(row), flush=True)
            if json_path is not None:
                record(found | {"runs": [row]}, json_path)


def record(found: dict[str, Any], path: Path) -> None:
    """Writes results to a file, in which those of other runs stay.

    Args:
      found: Errors of the solver, and figures of runs.
      path: The file.
    """
    held = json.loads(path.read_text())["runs"] if path.is_file() else []
    names = ("steps", "seed", "trajectories")
    rows = {tuple(row[name] for name in names): row for row in [*held, *found["runs"]]}
    found = found | {"runs": [rows[key] for key in sorted(rows)]}
    path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)

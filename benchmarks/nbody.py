"""Charged particles: the field network beside EGNN, for the same CPU time, over several seeds.

Run by ``python -m benchmarks.nbody [--seconds S] [--seeds N] [--json-path FILE]``. Each run takes
as many steps as fit into so many seconds of CPU time of the process, with its schedule; compilation
and evaluation are not counted. The best parameters are chosen on validation, as in training. EGNN's
width and learning rate are those of the six that do best on validation with the first seed. One
JSON object for each run goes to stdout: the mean squared error on validation and on the test, that
on the test turned, and the errors on the way.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from flax import nnx

from benchmarks.runs import check_at_least
from benchmarks.timed import first_value, scores_of, train_for
from eqattn.config import RunConfig
from eqattn.tasks import get_preset, get_task
from eqattn.tasks.nbody.egnn import EGNNConfig
from eqattn.tasks.nbody.task import BASELINE_OPTIMIZER

RATES, WIDTHS = (5e-4, 1e-3, 2e-3), (64, 32)


def candidates(config: RunConfig) -> dict[str, RunConfig]:
    """Returns EGNN in two widths and three learning rates, by name.

    Args:
      config: The run of the field network.
    """
    return {
        f"{dim} channels, {rate:g}": dataclasses.replace(
            config,
            model=EGNNConfig(dim=dim),
            optimizer=dataclasses.replace(BASELINE_OPTIMIZER, learning_rate=rate),
        )
        for dim in WIDTHS
        for rate in RATES
    }


def train_for_seconds(config: RunConfig, problem: Any, seconds: float) -> dict[str, Any]:
    """Returns what a run amounts to that takes as many steps as fit into a CPU time.

    Args:
      config: Configuration of the run.
      problem: The systems.
      seconds: CPU seconds that its steps may take.
    """
    run = train_for(config, problem, seconds)
    return {
        "parameters": run.num_params,
        "steps": run.steps,
        "seconds": run.seconds,
        "validation": run.validation,
        "test": first_value(scores_of(run.predictor, run.params, problem, "test")),
        "test_turned": _error_turned(run.graphdef, run.params.tree, problem),
        "curve": run.curve,
    }


def random_rotation() -> np.ndarray:
    """Returns the matrix of some rotation."""
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3))).Q
    return (q * np.linalg.det(q)).astype(np.float32)


def _error_turned(graphdef: Any, params: Any, problem: Any) -> float:
    """The mean squared error on the test, all systems of which are turned by a rotation."""
    turn = random_rotation()
    run = jax.jit(lambda batch: problem.predict(nnx.merge(graphdef, params), batch, 1)["loss"])
    total, count = 0.0, 0.0
    for batch in problem.evaluation_batches("test"):
        features = batch["features"]
        turned = np.concatenate([features[..., :3] @ turn.T, features[..., 3:]], axis=-1)
        moved = {name: batch[name] @ turn.T for name in ("points", "targets")}
        losses = run({**batch, **moved, "features": turned})
        total += float(np.sum(np.asarray(losses) * batch["weight"]))
        count += float(np.sum(batch["weight"]))
    return total / count


def main(
    seconds: float = 90.0,
    seeds: int = 3,
    presets: tuple[str, ...] = ("demo",),
    json_path: Path | None = None,
) -> None:
    """Trains the field network and EGNN for the same CPU time, and prints their errors.

    Args:
      seconds: CPU seconds of each run, without compilation and evaluation.
      seeds: Number of seeds.
      presets: Presets of the field network.
      json_path: File to write all results to.
    """
    check_at_least(1, seconds=seconds, seeds=seeds)
    found: list[dict[str, Any]] = []

    def record(name: str, config: RunConfig) -> dict[str, Any]:
        problem: Any = get_task("nbody").prepare(config)
        row = {"model": name, "seed": config.seed, **train_for_seconds(config, problem, seconds)}
        found.append(row)
        print(json.dumps(row), flush=True)
        return row

    demo = get_preset("nbody", "demo")
    grid = candidates(demo)
    rows = [record(f"EGNN {name}", config) for name, config in grid.items()]
    best = min(rows, key=lambda row: row["validation"])["model"]
    chosen = grid[best.removeprefix("EGNN ")]
    for seed in range(seeds):
        for preset in presets:
            config = dataclasses.replace(get_preset("nbody", preset), seed=seed)
            record(preset, config)
        if seed:
            record("EGNN, chosen", dataclasses.replace(chosen, seed=seed))
    if json_path is not None:
        json_path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)

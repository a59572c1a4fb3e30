"""Models of molecules, trained on the embedded set and scored on 10,000 other molecules of QM9.

Run by ``python -m benchmarks.molecules [--models NAME …] [--seeds N] [--steps N] [--out DIR]
[--json-path FILE]``; it needs the extra ``qm9``. Models are the presets ``demo`` and ``fields``,
and those that tell what pays: ``fields`` with scalars alone, and each of them without the envelope.
The 10,000 molecules are drawn once from those of QM9 that are not among the embedded 3,000. One
JSON object for each run goes to stdout, with mean absolute errors in the unit of the target: on
validation, by which presets are chosen, on the test, and on the 10,000 (``others``). From the
second model on, ``over_first`` is the difference of the latter from the first model with that seed,
and ``standard_error`` that of the difference over molecules. ``cpu_seconds`` is processor time of
all threads for the steps of training, without compilation and evaluations.

With ``--out`` the runs are kept, and those that are there are gone on with.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
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
from eqattn.data.atoms import Configurations
from eqattn.tasks import get_preset
from eqattn.tasks.molecules import load
from eqattn.tasks.molecules.inputs import NewMolecules
from eqattn.train import evaluate
from eqattn.train import load as load_run
from eqattn.train.evaluation import make_predictor, predict_batches
from eqattn.train.run_folder import read_run_config

NUM_MOLECULES, DRAW_SEED = 10_000, 0


def all_models() -> dict[str, RunConfig]:
    """Returns the runs that are compared, by name."""
    demo, fields = (get_preset("molecules", name) for name in ("demo", "fields"))
    scalars = _replace(fields, {"differences": False}, hidden_field="64x scalar")
    none = {"cutoff": None}
    return {
        "demo": demo,
        "demo_no_envelope": _replace(demo, none),
        "fields": fields,
        "fields_no_envelope": _replace(fields, none),
        "scalars": scalars,
        "scalars_no_envelope": _replace(scalars, none),
    }


def _replace(run: RunConfig, layer: dict[str, Any], **network: Any) -> RunConfig:
    held: Any = run.model
    layer = dataclasses.replace(held.layer, **layer)
    return dataclasses.replace(run, model=dataclasses.replace(held, layer=layer, **network))


def get_model(name: str) -> RunConfig:
    """Returns the run of that name.

    Args:
      name: Name of a model.

    Raises:
      SystemExit: If there is no such model.
    """
    models = all_models()
    if name not in models:
        raise SystemExit(f"--models: one of {', '.join(models)}, got {name!r}.")
    return models[name]


def molecules_beside(
    everything: Configurations, known: Configurations, num_molecules: int
) -> Configurations:
    """Returns molecules that are not among the known ones, drawn at random.

    Args:
      everything: Molecules to draw from.
      known: Molecules that a run may have seen.
      num_molecules: How many are drawn.
    """
    others = np.flatnonzero(~np.isin(everything.ids, known.ids))
    chosen = np.random.default_rng(DRAW_SEED).choice(others, num_molecules, replace=False)
    return everything[np.sort(chosen)]


def errors_of(folder: Path, molecules: Configurations) -> np.ndarray:
    """Returns the absolute error of each molecule, for the run's only target in its unit.

    Args:
      folder: The run folder.
      molecules: Molecules whose target is known.
    """
    model, saved = load_run(folder)[0], read_run_config(folder)
    graphdef, params = nnx.split(model, nnx.Param)
    examples = NewMolecules(molecules, saved)
    predictor = make_predictor(graphdef, examples, saved.num_lifts)
    table = examples.table(predict_batches(predictor, params, examples.batches()))
    (name,) = (f"{constants.target}_{constants.unit}" for constants in saved.standardization)
    return np.abs(table[name] - table[f"{name}_true"])


def measure(
    models: Mapping[str, RunConfig], seeds: int, out: Path, molecules: Configurations
) -> list[dict[str, Any]]:
    """Trains each model with each seed, prints its row, and returns all rows.

    Args:
      models: Runs by name.
      seeds: Number of seeds.
      out: Folder of the run folders.
      molecules: Molecules that no run has seen.
    """
    rows, first = [], {}
    for name, model in models.items():
        for seed in range(seeds):
            config = dataclasses.replace(model, seed=seed)
            folder = out / f"{name}-seed{seed}-steps{config.steps}"
            clock = Clock(folder / CLOCK_NAME)
            result = train_once(config, folder, reporter=clock)
            errors = errors_of(folder, molecules)
            row: dict[str, Any] = {
                "model": name,
                "seed": seed,
                "steps": config.steps,
                "parameters": result.num_params,
                "cpu_seconds": round(clock.seconds_per_step * config.steps, 1),
                "validation": evaluate(folder, split="validation").scores[0].value,
                "test": result.scores[0].value,
                "others": float(np.mean(errors)),
            }
            difference = errors - first.setdefault(seed, errors)
            if name != next(iter(models)):
                row["over_first"] = float(np.mean(difference))
                row["standard_error"] = float(np.std(difference) / np.sqrt(len(difference)))
            print(json.dumps(row), flush=True)
            rows.append(row)
    return rows


def main(
    models: tuple[str, ...] = ("demo_no_envelope", "demo", "fields"),
    seeds: int = 3,
    steps: int | None = None,
    out: Path | None = None,
    json_path: Path | None = None,
) -> None:
    """Trains models of molecules, and scores them on molecules beside.

    Args:
      models: Models to train; the others are compared with the first.
      seeds: Number of seeds.
      steps: Steps of each run; by default those of the presets.
      out: Folder to keep the runs in.
      json_path: File to write all rows to.
    """
    check_at_least(1, seeds=seeds, steps=1 if steps is None else steps)
    chosen = {name: with_steps(get_model(name), steps) for name in models}
    molecules = molecules_beside(load("qm9"), load("embedded"), NUM_MOLECULES)
    with folder_of_runs(out) as folder:
        rows = measure(chosen, seeds, folder, molecules)
    if json_path is not None:
        json_path.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)

"""Presets of the task "molecules", trained on the embedded set, on 10,000 molecules of QM9 beside.

Run by ``python -m benchmarks.molecules [--presets NAME …] [--seeds N] [--out DIR] [--json-path
FILE]``; it needs the extra ``qm9``. The 10,000 molecules are drawn once from those of QM9 that are
not among the embedded 3,000. One JSON object for each run goes to stdout, with mean absolute errors
in the unit of the target: on validation, by which presets are chosen, on the test, and on the
10,000 (``others``). From the second preset on, ``over_first`` is the difference of the latter from
the first preset with that seed, and ``standard_error`` that of the difference over molecules.

With ``--out`` the runs are kept, and those that are there are gone on with.
"""

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from flax import nnx

from benchmarks.runs import train_once
from eqattn.tasks import get_preset
from eqattn.tasks.molecules import Molecules, load
from eqattn.tasks.molecules.inputs import NewMolecules
from eqattn.train import evaluate
from eqattn.train import load as load_run
from eqattn.train.evaluation import make_predictor, predict_batches
from eqattn.train.run_folder import read_run_config

NUM_MOLECULES, DRAW_SEED = 10_000, 0


def molecules_beside(everything: Molecules, known: Molecules, num_molecules: int) -> Molecules:
    """Returns molecules that are not among the known ones, drawn at random.

    Args:
      everything: Molecules to draw from.
      known: Molecules that a run may have seen.
      num_molecules: How many are drawn.
    """
    others = np.flatnonzero(~np.isin(everything.ids, known.ids))
    chosen = np.random.default_rng(DRAW_SEED).choice(others, num_molecules, replace=False)
    return everything[np.sort(chosen)]


def errors_of(folder: Path, molecules: Molecules) -> np.ndarray:
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
    presets: Sequence[str], seeds: int, out: Path, molecules: Molecules, changes: dict[str, Any]
) -> list[dict[str, Any]]:
    """Trains each preset with each seed, prints its row, and returns all rows.

    Args:
      presets: Presets of the task.
      seeds: Number of seeds.
      out: Folder of the run folders.
      molecules: Molecules that no run has seen.
      changes: Fields of the runs that are not those of the presets.
    """
    rows, first = [], {}
    for preset in presets:
        for seed in range(seeds):
            config = dataclasses.replace(get_preset("molecules", preset), seed=seed, **changes)
            folder = out / f"{preset}-seed{seed}"
            result = train_once(config, folder)
            errors = errors_of(folder, molecules)
            row: dict[str, Any] = {
                "preset": preset,
                "seed": seed,
                "steps": config.steps,
                "seconds": round(result.seconds, 1),
                "validation": evaluate(folder, split="validation").scores[0].value,
                "test": result.scores[0].value,
                "others": float(np.mean(errors)),
            }
            if preset == presets[0]:
                first[seed] = errors
            else:
                difference = errors - first[seed]
                row["over_first"] = float(np.mean(difference))
                row["standard_error"] = float(np.std(difference) / np.sqrt(len(difference)))
            print(json.dumps(row), flush=True)
            rows.append(row)
    return rows


def main(
    presets: tuple[str, ...] = ("demo", "fields"),
    seeds: int = 3,
    out: Path | None = None,
    json_path: Path | None = None,
) -> None:
    """Trains presets of the task "molecules", and scores them on molecules beside.

    Args:
      presets: Presets to train; the others are compared with the first.
      seeds: Number of seeds.
      out: Folder to keep the runs in.
      json_path: File to write all rows to.
    """
    molecules = molecules_beside(load("qm9"), load("embedded"), NUM_MOLECULES)
    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(presets, seeds, Path(scratch) if out is None else out, molecules, {})
    if json_path is not None:
        json_path.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)

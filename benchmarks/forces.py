"""Energies and forces: the presets beside the baseline, for the same CPU time, over several seeds.

Run by ``python -m benchmarks.forces [--minutes M …] [--seeds N] [--data NAME] [--models NAME …]
[--json-path FILE]``. Each run takes as many steps as fit into so many minutes of CPU time of the
process, with its schedule; compilation and evaluation are not counted. The best parameters are
chosen on validation, as in training. The baseline, a PaiNN, is trained with three learning rates;
of each time that rate counts which is best on validation with the first seed. One JSON object for
each run goes to stdout: mean absolute errors in meV/Å and meV.

With ``--json-path`` results are added to the file, and runs that it holds are not made again. With
``--write-splits DIR`` nothing is trained: the splits are written as extended xyz, for a model of
another library, such as that of ``benchmarks/mace_forces.py``.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import tyro

from benchmarks.runs import check_at_least
from benchmarks.timed import scores_of, train_for
from eqattn.config import RunConfig
from eqattn.data.atoms.files import write_configurations
from eqattn.tasks import get_preset, get_task, objective
from eqattn.tasks.forces.data import load
from eqattn.tasks.forces.data import split as split_trajectories
from eqattn.tasks.forces.presets import BASELINE, BASELINE_OPTIMIZER

RATES = (1e-3, 2e-3, 4e-3)
PAINN = "painn"


def all_models() -> dict[str, RunConfig]:
    """Returns the runs that are compared, by name: presets, and the baseline by its rate."""
    presets = {name: get_preset("forces", name) for name in ("demo", "fields")}
    baselines = {
        f"{PAINN} {rate:g}": dataclasses.replace(
            presets["fields"],
            model=BASELINE,
            optimizer=dataclasses.replace(BASELINE_OPTIMIZER, learning_rate=rate),
        )
        for rate in RATES
    }
    return presets | baselines


def measure(config: RunConfig, minutes: float) -> dict[str, Any]:
    """Returns what a run amounts to that takes as many steps as fit into a CPU time.

    Args:
      config: Configuration of the run.
      minutes: CPU minutes that its steps may take.
    """
    problem: Any = get_task("forces").prepare(config)
    run = train_for(config, problem, 60 * minutes, objective)
    row: dict[str, Any] = {
        "parameters": run.num_params, "steps": run.steps, "seconds": run.seconds,
    }  # fmt: skip
    for split in ("validation", "test"):
        scores = scores_of(run.predictor, run.params, problem, split)
        row[split] = {score.target: 1e3 * score.value for score in scores}
        row[f"{split}_constant"] = {score.target: 1e3 * score.baseline for score in scores}
    return row


def write(data: str, folder: Path) -> None:
    """Writes the splits of a data set as files of extended xyz.

    Args:
      data: Data set, or file.
      folder: Folder that the files are put into.
    """
    configurations = load(data)
    places = split_trajectories(configurations, data)
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in places.items():
        write_configurations(folder / f"{name}.extxyz", configurations[rows])


def main(
    minutes: tuple[float, ...] = (1.0, 3.0),
    seeds: int = 3,
    data: str = "ethanol",
    models: tuple[str, ...] = ("demo", "fields", PAINN),
    json_path: Path | None = None,
    write_splits: Path | None = None,
) -> None:
    """Trains models for the same CPU time, and prints their errors.

    Args:
      minutes: CPU minutes of the runs, without compilation and evaluation.
      seeds: Number of seeds.
      data: Data set, or file.
      models: Names of models: presets, and "painn".
      json_path: File to add all results to.
      write_splits: Folder to write the splits to, instead of training.
    """
    if write_splits is not None:
        write(data, write_splits)
        return
    check_at_least(0, minutes=min(minutes))
    check_at_least(1, seeds=seeds)
    runs = all_models()
    known = (*(name for name in runs if not name.startswith(PAINN)), PAINN)
    for name in models:
        if name not in known:
            raise SystemExit(f"--models: one of {', '.join(known)}, got {name!r}.")
    found = json.loads(json_path.read_text()) if json_path and json_path.is_file() else []

    def record(name: str, time: float, seed: int) -> dict[str, Any]:
        wanted = {"model": name, "data": data, "minutes": time, "seed": seed}
        held = next((row for row in found if wanted.items() <= row.items()), None)
        if held is not None:
            return held
        config = dataclasses.replace(runs[name], seed=seed, data=data)
        row = {**wanted, **measure(config, time)}
        found.append(row)
        print(json.dumps(row), flush=True)
        if json_path is not None:
            json_path.write_text(json.dumps(found, indent=1) + "\n")
        return row

    for time in minutes:
        for name in models:
            chosen = name
            if name == PAINN:
                rows = [record(other, time, 0) for other in runs if other.startswith(PAINN)]
                chosen = min(rows, key=lambda row: row["validation"]["forces"])["model"]
            for seed in range(seeds):
                record(chosen, time, seed)


if __name__ == "__main__":
    tyro.cli(main)

"""Properties of QM9, learned from all its training molecules for a stated CPU time.

Run by ``python -m benchmarks.qm9 [--targets NAME …] [--cpu-hours H] [--steps N] [--seed N] [--out
DIR] [--json-path FILE]``; it needs the extra ``qm9``. The preset ``qm9`` takes as many steps as fit
into the time at the speed that is measured first, and its learning rate ends with them. What is
extensive, a dipole moment or ⟨R²⟩ is learned by a sum over atoms of the same network; targets of
one run are of one kind. One JSON object for each target goes to stdout:

* ``test`` and ``validation``: mean absolute errors of the parameters that were best on validation,
  in the mean over the targets of the run, on the standard split (100,000 molecules to train on,
  17,748 and 13,083);
* ``curve``: CPU hours so far, passes over the training molecules, and the error on validation;
* ``cpu_hours``: processor time of all threads from the start to the score of the test, with data,
  compilation and evaluations, over all the processes that worked on it;
* ``together``: the targets of the run; ``cores``, ``device``, ``versions``, ``parameters``, and
  what the schedule was.

With ``--out`` the run is kept: one that was stopped, or killed, is gone on with, and its CPU time
with it; one that has ended is not run again. The figure is made of the file of ``--json-path`` by
``python -m benchmarks.qm9_figure``.
"""

import dataclasses
import json
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import tyro
from flax import nnx

from benchmarks.measuring import device, versions
from benchmarks.runs import check_at_least, check_same_run, folder_of_runs, train_once
from benchmarks.timed import scores_of, seconds_per_step
from eqattn.config import RunConfig
from eqattn.models import AtomSumConfig
from eqattn.models.atom_sum import Form
from eqattn.tasks import BucketedProblem, Problem, Score, get_preset, get_task
from eqattn.tasks.molecules.targets import TARGETS
from eqattn.train.building import build_model
from eqattn.train.checkpoints import Checkpoint, read_latest
from eqattn.train.evaluation import make_predictor
from eqattn.train.metrics import read_metrics
from eqattn.train.progress import LogReporter, Update
from eqattn.train.run_folder import BEST_NAME, read_run_config
from eqattn.train.state import init_state, make_step

NUM_EVALUATIONS = 25
PRESET = "qm9"
TIME_NAME, ROWS_NAME = "cpu.json", "rows.json"
KEPT_EVERY = 5.0
"""CPU seconds between two records of the time, of which a run that is killed loses the last."""


class CpuTime(LogReporter):
    """Counts all CPU seconds of the processes of a run, and those until each of its evaluations.

    Args:
      began: Reading of ``time.process_time`` from which the seconds of this process count.
    """

    def __init__(self, began: float):
        self._began, self._held, self._kept = began, 0.0, began
        self._path: Path | None = None
        self._every = 1
        self.at_step: dict[int, float] = {}

    @property
    def seconds(self) -> float:
        """CPU seconds so far."""
        return self._held + time.process_time() - self._began

    def open(self, path: Path, every: int) -> None:
        """Adds what the file says of earlier processes, and keeps the count in it from now on.

        Args:
          path: The file, in the folder of the run.
          every: Steps between two evaluations.
        """
        self._path, self._every = path, every
        if path.is_file():
            held = json.loads(path.read_text())
            self._held = held["seconds"]
            self.at_step = {int(step): seconds for step, seconds in held["at_step"].items()}

    def update(self, update: Update) -> None:
        """Notes the time before an evaluation, and keeps the count now and then."""
        super().update(update)
        evaluates = update.step % self._every == 0 or update.step == update.steps
        if evaluates:
            self.at_step[update.step] = self.seconds
        if evaluates or time.process_time() - self._kept > KEPT_EVERY:
            self.close()

    def close(self) -> None:
        """Writes the count."""
        self._kept = time.process_time()
        if self._path is not None and self._path.parent.is_dir():
            held = {"seconds": self.seconds, "at_step": self.at_step}
            beside = self._path.with_suffix(".new")
            beside.write_text(json.dumps(held))
            beside.replace(self._path)  # a kill must not leave half a file


def run_config(targets: Sequence[str], seed: int = 0, preset: RunConfig | None = None) -> RunConfig:
    """Returns the run of some targets, whose model is of the form that they have.

    Args:
      targets: Names of properties of QM9.
      seed: Seed of the run.
      preset: What else the run is; by default the preset of the benchmark.

    Raises:
      SystemExit: If there is no target, an unknown one, or they are of several forms.
    """
    if not targets or not set(targets) <= TARGETS.keys():
        given = ", ".join(targets)
        raise SystemExit(f"--targets: some of {', '.join(TARGETS)}, got {given!r}.")
    forms = {TARGETS[name].form for name in targets}
    if len(forms) > 1:
        kinds = ", ".join(f"{name} {TARGETS[name].form or 'intensive'}" for name in targets)
        raise SystemExit(f"--targets must be of one form, got {kinds}.")
    preset = get_preset("molecules", PRESET) if preset is None else preset
    model, (form,) = preset.model, forms
    if form is not None:
        model = AtomSumConfig(
            atoms=model.replace_network(output="per_point"), form=cast(Form, form)
        )
    return dataclasses.replace(preset, targets=tuple(targets), seed=seed, model=model)


def with_schedule(config: RunConfig, steps: int) -> RunConfig:
    """Returns the run with as many steps, and evaluations spread over them.

    Args:
      config: The run.
      steps: Number of steps.
    """
    return dataclasses.replace(config, steps=steps, eval_every=-(-steps // NUM_EVALUATIONS))


def steps_within(config: RunConfig, problem: Problem, seconds: float, spent: CpuTime) -> int:
    """Returns how many steps fit into a CPU time, beside compilation and evaluations.

    Args:
      config: The run.
      problem: Its examples.
      seconds: CPU seconds of the whole run.
      spent: What was spent before, which this function adds to.

    Raises:
      SystemExit: If there is no time for any.
    """
    model = build_model(config, problem.in_features, problem.out_features)
    graphdef, params = nnx.split(model, nnx.Param)
    began = time.process_time()
    state, step_fn = init_state(params, config), make_step(graphdef, problem, config)
    if isinstance(problem, BucketedProblem):
        step_fn.compile_ahead(state, problem.batch_of_each_shape())
    predictor = make_predictor(graphdef, problem, 1)
    scores_of(predictor, params, problem, "validation")
    overhead = time.process_time() - began  # once more by the run itself, the evaluation with it
    began = time.process_time()
    scores_of(predictor, params, problem, "validation")
    overhead += NUM_EVALUATIONS * (time.process_time() - began)
    each = seconds_per_step(state, step_fn, problem.training_batches())
    steps = int((seconds - spent.seconds - overhead) / each)
    if steps < 1:
        least = (spent.seconds + overhead) / 3600
        raise SystemExit(f"--cpu-hours must be more than {least:.3f}, which no step is in.")
    return steps


def measure(
    config: RunConfig, seconds: float, steps: int | None, folder: Path
) -> list[dict[str, Any]]:
    """Trains one model, or goes on with it, or reads what it came to; a row for each target.

    Args:
      config: The run, whose number of steps does not count.
      seconds: CPU seconds of the whole run.
      steps: Number of steps; None for what fits into the time.
      folder: The run folder.

    Raises:
      SystemExit: If the folder holds a run of another configuration, or no step fits.
    """
    spent = CpuTime(time.process_time())
    if (folder / "config.json").is_file():
        steps = read_run_config(folder).steps if steps is None else steps
        check_same_run(with_schedule(config, steps), folder)
        if (folder / ROWS_NAME).is_file():
            return json.loads((folder / ROWS_NAME).read_text())
    problem = get_task(config.task).prepare(config)
    if steps is None:
        steps = steps_within(config, problem, seconds, spent)
    config = with_schedule(config, steps)
    spent.open(folder / TIME_NAME, config.eval_every)
    result = train_once(config, folder, reporter=spent)
    passes = config.batch_size / problem.num_examples["train"]
    same = {
        "cpu_hours": round(spent.seconds / 3600, 4),
        "together": config.targets,
        "seed": config.seed,
        "steps": config.steps,
        "batch_size": config.batch_size,
        "passes": round(config.steps * passes, 2),
        "learning_rate": config.optimizer.learning_rate,
        "parameters": result.num_params,
        "cores": len(os.sched_getaffinity(0)),
        "device": device(),
        "versions": versions(),
    }
    rows = [_errors(score, folder, spent, passes) | same for score in result.scores]
    (folder / ROWS_NAME).write_text(json.dumps(rows))
    return rows


def _errors(score: Score, folder: Path, spent: CpuTime, passes: float) -> dict[str, Any]:
    """The errors of one target, along the run and at its end; energies in meV."""
    factor, unit = (1e3, "meV") if score.unit == "eV" else (1.0, score.unit)
    errors = {
        row["step"]: factor * row["metrics"][score.target][score.metric]
        for row in read_metrics(folder)
        if row["split"] == "validation"
    }
    best = cast(Checkpoint, read_latest(folder / BEST_NAME))  # of a run that has ended
    return {
        "target": score.target,
        "unit": unit,
        "test": factor * score.value,
        "validation": errors[best.step],
        "constant": factor * score.baseline,
        "curve": [
            (round(spent.at_step[step] / 3600, 5), round(step * passes, 3), error)
            for step, error in errors.items()
        ],
    }


def record(rows: Iterable[dict[str, Any]], path: Path) -> None:
    """Writes rows to a file, in which those of other runs stay.

    Args:
      rows: Figures of runs.
      path: The file.
    """
    held = json.loads(path.read_text()) if path.is_file() else []
    found = {
        (row["target"], *row["together"], row["steps"], row["seed"]): row for row in [*held, *rows]
    }
    path.write_text(json.dumps(list(found.values()), indent=1) + "\n")


def main(
    targets: tuple[str, ...] = ("gap", "homo", "lumo"),
    cpu_hours: float = 4.0,
    steps: int | None = None,
    seed: int = 0,
    out: Path | None = None,
    json_path: Path | None = None,
) -> None:
    """Learns properties of QM9 for a stated CPU time, and prints the errors and the curves.

    Args:
      targets: Names of the properties, which one model learns at once.
      cpu_hours: CPU hours of the whole run, over all cores.
      steps: Number of steps, in place of what fits into the time.
      seed: Seed of the run.
      out: Folder of the run folders; by default nothing is kept.
      json_path: File to record the results in; those of other runs stay in it.
    """
    check_at_least(0, cpu_hours=cpu_hours)
    check_at_least(1, steps=1 if steps is None else steps)
    config = run_config(targets, seed)
    length = f"{cpu_hours:g}h" if steps is None else f"steps{steps}"
    with folder_of_runs(out) as folder:
        name = f"{'-'.join(targets)}-seed{seed}-{length}"
        rows = measure(config, 3600 * cpu_hours, steps, folder / name)
    for row in rows:
        print(json.dumps(row), flush=True)
    if json_path is not None:
        record(rows, json_path)


if __name__ == "__main__":
    tyro.cli(main)

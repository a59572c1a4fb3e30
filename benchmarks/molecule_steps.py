"""Times training steps of molecules: what vectors, the envelope and frames cost.

Run by ``python -m benchmarks.molecule_steps [--json-path FILE]``. All models take the same batch of
32 molecules of the embedded set, and take turns. One JSON object for each goes to stdout: the
milliseconds of a step with its update, and ``over``, the median ratio of its turns to those of the
model that is named beside it.

* ``demo``, ``fields`` and ``scalars``, with the envelope and without it: as in
  :mod:`benchmarks.molecules`;
* ``one_frame``: the preset ``demo`` with one drawn element at each atom, without frames;
* ``frames``: four frames of each molecule, which see themselves alone; ``frames_drawn``: one of
  them, drawn at each step; ``frames_across``: four that see each other.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import jax
import tyro
from flax import nnx

from benchmarks.measuring import device, interleaved, versions
from benchmarks.molecules import all_models
from eqattn.config import RunConfig
from eqattn.lift import Frames, Haar, Lift
from eqattn.tasks import get_task
from eqattn.train.state import init_state, make_step

NUM_ROUNDS = 11
OVER = {
    "demo": "demo_no_envelope",
    "scalars": "scalars_no_envelope",
    "fields_no_envelope": "scalars_no_envelope",
    "fields": "scalars",
    "frames": "one_frame",
    "frames_drawn": "one_frame",
    "frames_across": "one_frame",
}
"""What each model is compared with."""
LIFTS: dict[str, Lift] = {
    "one_frame": Haar(1),
    "frames": Frames(),
    "frames_drawn": Frames(training_frames=1),
    "frames_across": Frames(pairs="across"),
}


def runs() -> dict[str, RunConfig]:
    """Returns the runs whose steps are timed, by name."""
    models = all_models()
    demo: Any = models["demo"].model
    lifted = {name: dataclasses.replace(demo, lift=lift) for name, lift in LIFTS.items()}
    return models | {
        name: dataclasses.replace(models["demo"], model=model) for name, model in lifted.items()
    }


def training_step(run: RunConfig) -> Callable[[], Any]:
    """Returns a call that takes the next step on the first batch, each time that it is called.

    Args:
      run: The run.
    """
    problem = get_task(run.task).prepare(run)
    model = run.model.build(problem.in_features, problem.out_features, rngs=nnx.Rngs(run.seed))
    graphdef, params = nnx.split(model, nnx.Param)
    batch, step = problem.training_batches()[0], make_step(graphdef, problem, run)
    state = init_state(params, run)

    def call() -> Any:
        nonlocal state
        state, _ = step(state, batch)
        return jax.tree.leaves(state.average)

    return call


def measure(models: dict[str, RunConfig]) -> list[dict[str, Any]]:
    """Returns a row for each model; all take turns.

    Args:
      models: Runs by name; those that others are compared with are among them.
    """
    calls = {name: training_step(run) for name, run in models.items()}
    times = interleaved(calls, NUM_ROUNDS)
    rows = []
    for name, turns in times.items():
        row: dict[str, Any] = {"model": name, "step_ms": round(median(turns), 2)}
        if name in OVER:
            pairs = zip(turns, times[OVER[name]], strict=True)
            ratio = median(mine / other for mine, other in pairs)
            row |= {"compared_with": OVER[name], "over": round(ratio, 3)}
        rows.append(row)
    return rows


def main(json_path: Path | None = None) -> None:
    """Times steps of all models, and prints a row for each.

    Args:
      json_path: File to write the rows to, with the versions and the device.
    """
    rows = measure(runs())
    for row in rows:
        print(json.dumps(row))
    if json_path is not None:
        record = {"device": device(), "versions": versions(), "rows": rows}
        json_path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)

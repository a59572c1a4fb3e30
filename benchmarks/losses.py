"""The first losses of each task's presets, to see that a change of the code changes no run.

Runs are those of ``eqattn train TASK --preset PRESET``, ended after so many steps. Without
``--json`` they are compared with the recorded ones; in float32 roundings grow from step to step,
so that the comparison in float64 (``--dtype float64``) is the sharper one.
"""

import dataclasses
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import jax
import tyro

from eqattn.config import RunConfig
from eqattn.tasks import TASKS, get_preset, get_task
from eqattn.train import run, train
from eqattn.train.progress import Update

RECORDED = Path(__file__).parent / "results" / "losses-cpu.json"
NUM_STEPS = 100
TOO_LONG = ("paper",)
Precision = Literal["float32", "float64"]


class _EnoughError(Exception):
    """Ends a run from its reporter."""


class _Losses:
    """A reporter that keeps the loss of each step, and ends the run after so many."""

    def __init__(self, num_steps: int):
        self.losses: list[float] = []
        self._num_steps = num_steps

    def update(self, update: Update) -> None:
        self.losses.append(update.loss)
        if update.step == self._num_steps:
            raise _EnoughError

    def note(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


def first_losses(config: RunConfig, num_steps: int) -> list[float]:
    """Returns the losses of the first steps of a run, which is then given up.

    Args:
      config: The run.
      num_steps: The number of steps.
    """
    # Evaluations and checkpoints change no parameters.
    config = dataclasses.replace(config, eval_every=config.steps, checkpoint_every=0.0)
    reporter, every = _Losses(min(num_steps, config.steps)), run.FETCH_EVERY
    run.FETCH_EVERY = 1
    try:
        with tempfile.TemporaryDirectory() as folder:
            train(config, Path(folder) / "run", reporter=reporter)
    except _EnoughError:
        return reporter.losses
    finally:
        run.FETCH_EVERY = every
    raise AssertionError("a run of that many steps reports them all")


def measure(
    names: Sequence[str], precision: Precision, num_steps: int
) -> dict[str, dict[str, list[float]]]:
    """Returns the losses by run, such as "springs demo", and precision.

    Args:
      names: Names of the tasks.
      precision: Data type of the parameters and activations.
      num_steps: The number of steps of each run.
    """
    jax.config.update("jax_enable_x64", precision == "float64")
    found = {}
    for task in names:
        for preset in get_task(task).presets:
            if preset in TOO_LONG:
                continue
            config = get_preset(task, preset)
            model = config.model.replace_network(dtype=precision)
            config = dataclasses.replace(config, model=model)
            found[f"{task} {preset}"] = {precision: first_losses(config, num_steps)}
            print(f"{task} {preset}: {found[f'{task} {preset}'][precision][-1]:.9g}", flush=True)
    return found


def deviation(losses: Sequence[float], recorded: Sequence[float]) -> float:
    """Returns the greatest relative difference between two series of the same length.

    Args:
      losses: Losses of this code.
      recorded: Losses of another.
    """
    pairs = list(zip(losses, recorded, strict=True))
    return max(abs(loss - other) / abs(other) for loss, other in pairs)


def main(
    tasks: tuple[str, ...] = (),
    dtype: Precision = "float32",
    steps: int = NUM_STEPS,
    json_path: Path | None = None,
    margin: float = 1e-5,
) -> None:
    """Compares the first losses of each task's presets with the recorded ones, or records them.

    Args:
      tasks: Names of the tasks; all by default.
      dtype: Data type of the parameters and activations.
      steps: Number of steps of each run; comparisons are of that many recorded losses.
      json_path: File to record the losses in; those of other runs and precisions stay in it.
      margin: Relative difference of two losses above which the exit status is 1.
    """
    found = measure(tasks or tuple(TASKS), dtype, steps)
    path = json_path or RECORDED
    recorded = json.loads(path.read_text()) if path.is_file() else {}
    if json_path is not None:
        path.write_text(json.dumps(merged(recorded, found), indent=1) + "\n")
        return
    worst = 0.0
    for name, losses in found.items():
        if dtype not in recorded.get(name, {}):
            print(f"{name}: no losses are recorded in {dtype}")
            continue
        own = deviation(losses[dtype], recorded[name][dtype][:steps])
        print(f"{name}: losses differ by {own:.1e} at most")
        worst = max(worst, own)
    raise SystemExit(worst > margin)


def merged(
    recorded: Mapping[str, Mapping[str, list[float]]],
    found: Mapping[str, Mapping[str, list[float]]],
) -> dict[str, dict[str, list[float]]]:
    """Returns what was recorded, with what was found in its place.

    Args:
      recorded: Losses by run and precision.
      found: The same of other runs or precisions.
    """
    return {
        name: {**recorded.get(name, {}), **found.get(name, {})}
        for name in dict.fromkeys((*recorded, *found))
    }


if __name__ == "__main__":
    tyro.cli(main)

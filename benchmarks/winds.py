"""Errors of a run of the task "winds" and of all that it is compared with, upright and rotated.

Run by ``python -m benchmarks.winds DIR [--keys N]``, where DIR is the folder of a run and of the
baseline that was trained with it. One JSON object per forecast goes to stdout, of the months of the
test:

* ``rms`` (m/s) and ``r2`` of the scenes as they are;
* ``rms_rotated`` (m/s): the same where points and vectors of each month are rotated by a rotation
  of its own; in the mean over N keys (8 by default), each with other rotations and other samples of
  a lift;
* ``largest_change``: the largest of |rms_rotated / rms - 1| over these keys;
* ``over_plain`` (m/s): of the model, how much larger its RMS error of a month is than that of the
  baseline, in the mean over the months, and ``over_plain_rotated`` the same of rotated scenes; a
  ``standard_error`` beside each is that of the mean over months.

Persistence and climatology, and the departure from the climatology that lives on damped, are the
same wherever the globe is.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import jax
import numpy as np
import scipy.spatial.transform
from flax import nnx

from eqattn.tasks.winds import data as winds
from eqattn.tasks.winds import forecasts as wind_forecasts
from eqattn.tasks.winds.task import WindsTask
from eqattn.train import load
from eqattn.train.baseline import baseline_folder
from eqattn.train.run_folder import read_run_config

NUM_KEYS = 8


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark.

    Args:
      arguments: Words of the command line; by default those of the process.
    """
    parser = argparse.ArgumentParser("python -m benchmarks.winds")
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--keys", type=int, default=NUM_KEYS, metavar="N")
    options = parser.parse_args(arguments)
    if options.keys < 1:
        parser.error(f"--keys must be at least 1, got {options.keys}")
    if read_run_config(options.folder).task != "winds":
        parser.error(f"{options.folder} is not a run of the task winds")
    for name, row in measure(options.folder, options.keys).items():
        print(json.dumps({"forecast": name, **{key: float(f"{v:.7g}") for key, v in row.items()}}))


def measure(folder: Path, num_keys: int = NUM_KEYS) -> dict[str, dict[str, float]]:
    """Returns the figures of each forecast.

    Args:
      folder: The run folder.
      num_keys: How many rotations of each month, and draws of a lift.
    """
    config = read_run_config(folder)
    record = winds.load(config.data, step=config.options.step or None)
    data = {part: wind_forecasts.forecasts(record, part) for part in ("train", "test")}
    test = data["test"]
    rows, months = {}, {}
    rows["model"], months["model"] = score_run(folder, test, num_keys)
    other = baseline_folder(folder)
    if other is not None:
        rows["plain"], months["plain"] = score_run(other, test, num_keys)
        for end in ("", "_rotated"):
            pairs = (months[name][f"rms{end}"] for name in ("model", "plain"))
            difference = np.subtract(*pairs)
            rows["model"] |= {
                f"over_plain{end}": float(np.mean(difference)),
                f"standard_error{end}": float(np.std(difference) / np.sqrt(len(difference) - 1)),
            }
    damping = wind_forecasts.fit_damping(data["train"])
    simple = {
        "persistence": wind_forecasts.persistence(test),
        "climatology": wind_forecasts.climatology(test),
        "damped_persistence": wind_forecasts.damped_persistence(test, damping),
    }
    for name, forecast in simple.items():
        upright = _score(forecast, test)
        rows[name] = {**upright, "rms_rotated": upright["rms"], "largest_change": 0.0}
    return rows


def score_run(
    folder: Path, test: wind_forecasts.Forecasts, num_keys: int = NUM_KEYS
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Returns the figures of the best parameters of a run, and errors of each month.

    Args:
      folder: The run folder.
      test: The months of the test.
      num_keys: How many rotations of each month, and draws of a lift.
    """
    model, config = load(folder)[0], read_run_config(folder)
    problem = WindsTask().prepare(config, standardization=config.standardization)
    graphdef, params = nnx.split(model, nnx.Param)

    def predict(params: nnx.State, batch: Mapping[str, np.ndarray], key: jax.Array):
        return problem.predict(nnx.merge(graphdef, params), batch, config.num_lifts, key)

    jitted = jax.jit(predict)
    upright, rotated, monthly = [], [], {"rms": [], "rms_rotated": []}
    for seed in range(num_keys):
        random = np.random.default_rng(seed)
        found = {"prediction": [], "rotated": []}
        for batch in problem.evaluation_batches("test"):
            turns = scipy.spatial.transform.Rotation.random(len(batch["id"]), random_state=random)
            out = jitted(params, batch | {"rotation": turns.as_matrix()}, jax.random.key(seed))
            kept = batch["weight"] > 0
            for name, parts in found.items():
                parts.append(np.asarray(out[name])[kept])
        forecasts = {name: np.concatenate(parts) for name, parts in found.items()}
        upright.append(_score(forecasts["prediction"], test))
        rotated.append(_score(forecasts["rotated"], test))
        monthly["rms"].append(_monthly(forecasts["prediction"], test))
        monthly["rms_rotated"].append(_monthly(forecasts["rotated"], test))
    pairs = list(zip(upright, rotated, strict=True))
    row = {
        "rms": fmean(scores["rms"] for scores in upright),
        "r2": fmean(scores["r2"] for scores in upright),
        "rms_rotated": fmean(scores["rms"] for scores in rotated),
        "largest_change": max(abs(there["rms"] / here["rms"] - 1) for here, there in pairs),
    }
    return row, {name: np.mean(of_keys, axis=0) for name, of_keys in monthly.items()}


def _monthly(forecast: np.ndarray, test: wind_forecasts.Forecasts) -> np.ndarray:
    errors = forecast - test.targets
    return np.array([wind_forecasts.rms(of_month[None], test.areas) for of_month in errors])


def _score(forecast: np.ndarray, test: wind_forecasts.Forecasts) -> dict[str, float]:
    return {
        "rms": wind_forecasts.rms(forecast - test.targets, test.areas),
        "r2": wind_forecasts.r_squared(forecast, test.targets, test.areas),
    }


if __name__ == "__main__":
    main()

"""How simulations with a trained potential hold: energy, step, temperature, bonds and time.

Run by ``python -m benchmarks.simulations RUN [--num-starts N] [--picoseconds T]
[--bath-picoseconds T] [--dtype float64] [--json-path FILE]``, where RUN is a run folder of the task
``forces``, such as ``eqattn train forces --out RUN`` makes of the embedded ethanol. One JSON object
for each part goes to stdout:

* ``conserved``: motion without friction from frames of the test split, with velocities of 500 K,
  at 0.5 and 0.25 fs from the same starts. ``drift`` is the slope of the energy against time in
  meV/atom/ps: that of the means of ten blocks, and of all starts the mean. ``drift_error`` is its
  standard error over starts. ``swing`` is the standard deviation of the energy in meV, the mean
  over starts, and ``swing_ratio`` that at the long step over that at the short one, which an
  integrator of second order makes 4.
* ``bath``: Langevin motion at 500 K. ``bonds_lost`` counts pairs bonded at the start that were
  apart by more than 1.5 times their distance there at any time, ``temperature`` is the mean.
* ``call``: milliseconds of one call of energies and forces in float32, processor time of all
  threads, the median, and the ratio to a product of two matrices of 512 x 512 that took turns with
  it. Run with ``taskset -c 0`` for one core.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.runs import check_at_least
from eqattn.simulation import Potential, Trajectory, load_potential, simulate
from eqattn.simulation.potential import evaluate
from eqattn.tasks.forces import data
from eqattn.train.run_folder import read_run_config

TEMPERATURE, LONG_STEP, NUM_BLOCKS, SEED = 500.0, 0.5, 10, 0
EVERY = 10
MATRIX = 512


def starts(run: Path, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns numbers [S, N] and positions [S, N, 3] of frames that are spread over the test split.

    Args:
      run: A run folder.
      num: How many frames.

    Raises:
      SystemExit: If frames are of several sizes.
    """
    config = read_run_config(run)
    whole = data.load(config.data)
    test = whole[data.split(whole, config.data)["test"]]
    some = test[np.linspace(0, len(test) - 1, num).astype(int)]
    if len({*some.num_atoms.tolist()}) > 1:
        raise SystemExit(f"{config.data}: frames must have one number of atoms.")
    shape = (num, int(some.num_atoms[0]))
    return some.numbers.reshape(shape).astype(np.int32), some.positions.reshape(*shape, 3)


def drift(trajectory: Trajectory, num_atoms: int) -> tuple[float, float]:
    """Returns the mean slope of the energies of all starts in meV/atom/ps, and its standard error.

    Args:
      trajectory: States [S, B].
      num_atoms: Atoms of a configuration.
    """
    energies, times = trajectory.total_energies[1:], trajectory.times[1:]
    size = len(times) // NUM_BLOCKS
    blocks = energies[: size * NUM_BLOCKS].reshape(NUM_BLOCKS, size, -1).mean(axis=1)
    middles = times[: size * NUM_BLOCKS].reshape(NUM_BLOCKS, size).mean(axis=1)
    slopes = np.polyfit(middles, blocks, 1)[0] * 1e6 / num_atoms  # eV/fs = 1e6 meV/ps
    return float(np.mean(slopes)), float(np.std(slopes, ddof=1) / np.sqrt(len(slopes)))


def conserved(
    potential: Potential, run: Path, num_starts: int, picoseconds: float
) -> dict[str, Any]:
    """Returns drift and swing of the energy at two steps.

    Args:
      potential: The potential.
      run: Its run folder.
      num_starts: Number of starts.
      picoseconds: Time of each.
    """
    numbers, positions = starts(run, num_starts)
    row: dict[str, Any] = {"part": "conserved", "dtype": str(potential.dtype)}
    row |= {"starts": num_starts, "picoseconds": picoseconds}
    swings = []
    for step in (LONG_STEP, LONG_STEP / 2):
        num_steps = EVERY * round(1e3 * picoseconds / step / EVERY)
        trajectory = simulate(
            potential, numbers, positions, jax.random.key(SEED), num_steps=num_steps, every=EVERY,
            time_step=step, temperature=TEMPERATURE, friction=0.0,
        )  # fmt: skip
        swings.append(1e3 * float(np.mean(np.std(trajectory.total_energies, axis=0))))
        slope, error = drift(trajectory, numbers.shape[1])
        row[f"{step:g} fs"] = {
            "drift": slope,
            "drift_error": error,
            "swing": swings[-1],
            "temperature": float(np.mean(trajectory.temperatures)),
        }
    return row | {"swing_ratio": swings[0] / swings[1]}


def bath(potential: Potential, run: Path, num_starts: int, picoseconds: float) -> dict[str, Any]:
    """Returns what became of bonds and of the temperature in a bath.

    Args:
      potential: The potential.
      run: Its run folder.
      num_starts: Number of starts.
      picoseconds: Time of each.
    """
    numbers, positions = starts(run, num_starts)
    num_steps = EVERY * round(1e3 * picoseconds / LONG_STEP / EVERY)
    trajectory = simulate(
        potential, numbers, positions, jax.random.key(SEED), num_steps=num_steps, every=EVERY,
        time_step=LONG_STEP, temperature=TEMPERATURE,
    )  # fmt: skip
    return {
        "part": "bath",
        "dtype": str(potential.dtype),
        "starts": num_starts,
        "picoseconds": picoseconds,
        "temperature": float(np.mean(trajectory.temperatures[len(trajectory) // 10 :])),
        "bonds_lost": bonds_lost(numbers, trajectory.positions),
    }


def bonds_lost(numbers: np.ndarray, positions: np.ndarray) -> int:
    """Returns how many bonds of the first state were longer by half at any later time.

    Pairs up to 1.3 Å are bonds where one is hydrogen, up to 1.9 Å else.

    Args:
      numbers: Atomic numbers [B, N].
      positions: Positions [S, B, N, 3].
    """
    lost = 0
    for first in range(numbers.shape[1]):
        for second in range(first):
            lengths = np.linalg.norm(positions[:, :, first] - positions[:, :, second], axis=-1)
            has_hydrogen = (numbers[:, first] == 1) | (numbers[:, second] == 1)
            bonded = lengths[0] < np.where(has_hydrogen, 1.3, 1.9)
            lost += int(np.sum(bonded & (lengths.max(axis=0) > 1.5 * lengths[0])))
    return lost


def call(run: Path, num_calls: int = 200) -> dict[str, Any]:
    """Returns the median time of one call in ms, and its ratio to a product of matrices.

    Args:
      run: A run folder.
      num_calls: Number of calls.
    """
    potential = load_potential(run, "float32")
    numbers, positions = (x[0] for x in starts(run, 1))
    points = positions.astype(np.float32)
    matrix = jnp.ones((MATRIX, MATRIX), jnp.float32)
    multiply = jax.jit(jnp.matmul)
    ours: list[float] = []
    others: list[float] = []
    for place in range(num_calls + 1):
        for times, work in (
            (ours, lambda: evaluate(potential, numbers, points)),
            (others, lambda: multiply(matrix, matrix)),
        ):
            seconds = _seconds(work)
            if place:  # the first one compiles
                times.append(seconds)
    return {
        "part": "call",
        "atoms": len(numbers),
        "milliseconds": 1e3 * float(np.median(ours)),
        "fastest": 1e3 * float(np.min(ours)),
        "over_matmul": float(np.median(ours) / np.median(others)),
    }


def _seconds(work: Callable[[], Any]) -> float:
    began = time.process_time()
    jax.block_until_ready(work())
    return time.process_time() - began


def main(
    run: tyro.conf.Positional[Path],
    num_starts: int = 10,
    picoseconds: float = 10.0,
    bath_picoseconds: float = 20.0,
    dtype: Literal["float32", "float64"] = "float64",
    json_path: Path | None = None,
) -> None:
    """Prints a row for each part.

    Args:
      run: A run folder of the task forces.
      num_starts: Starts without a bath; half as many are in one.
      picoseconds: Time of each without a bath.
      bath_picoseconds: Time of each in a bath.
      dtype: Data type of the simulations.
      json_path: File for the rows.
    """
    check_at_least(2, num_starts=num_starts)
    check_at_least(0.1, picoseconds=picoseconds, bath_picoseconds=bath_picoseconds)
    rows = [call(run)]
    print(json.dumps(rows[-1]), flush=True)
    with jax.enable_x64(dtype == "float64"):
        potential = load_potential(run, dtype)
        for part, num, time_of_each in (
            (conserved, num_starts, picoseconds),
            (bath, num_starts // 2, bath_picoseconds),
        ):
            began = time.process_time()
            row = part(potential, run, num, time_of_each)
            rows.append(row | {"cpu_seconds": round(time.process_time() - began, 1)})
            print(json.dumps(rows[-1]), flush=True)
    if json_path is not None:
        json_path.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)

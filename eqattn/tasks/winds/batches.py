"""Batches of forecasts of the wind.

A batch is a dict of arrays of B examples at N points; vectors are tangent to the sphere, in R³ and
in m/s:

* ``points`` [B, N, 3]: unit vectors;
* ``wind`` [B, N, 3] and ``climatology`` [B, N, 3] of the month before;
* ``target_climatology`` [B, N, 3] and ``target`` [B, N, 3] of the month asked for;
* ``phase`` [B, 2]: cos and sin of 2π (month - 1) / 12 for the month asked for, 1 to 12;
* ``relief`` [B, N, 2]: height in km and part of land of each cell;
* ``log_weights`` [B, N]: logarithms of the areas that the points stand for, in units of their mean;
* ``id`` [B] int32, which keys what is sampled for an example;
* in evaluation also ``weight`` [B] float32: 0 for the rows that merely fill the last batch.

With ``num_points`` an example has a random subset of its points. Each is drawn with a probability
that is proportional to its area, and none twice; so all drawn points stand for equal areas, and
their ``log_weights`` are 0. The mean over the subset is then the mean over the globe on average.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int

from eqattn.checks import check_sizes
from eqattn.data.streams import (
    Batch,
    Rows,
    batches_once,
    endless_batches,
    int32_ids,
    random_state,
)
from eqattn.tasks.winds.forecasts import Forecasts

if TYPE_CHECKING:
    import grain

VECTORS = ("points", "wind", "climatology", "target_climatology", "target")
"""The arrays of a batch whose last axis is R³."""


def training_batches(
    data: Forecasts,
    *,
    batch_size: int,
    num_points: int | None = None,
    seed: int = 0,
    dtype: npt.DTypeLike = np.float32,
) -> "grain.MapDataset[Batch]":
    """Returns endless batches that depend on the seed alone.

    Every example comes once in a pass, with new points each time where these are drawn.
    ``batches[step]`` gives any batch at once: to resume exactly, go on with the next step.

    Args:
      data: Examples to train on.
      batch_size: Examples in a batch.
      num_points: How many points to draw for each example; by default all are taken.
      seed: Seed of the order and of the points, not negative.
      dtype: Data type of all but ``id``.

    Raises:
      ValueError: If a number is out of range, or there is no example.
    """
    _check_num_points(data, num_points)

    def gather(rows: Rows, index: int) -> Batch:
        first = index * batch_size
        cells = _cells(data, num_points, [(seed, first + i) for i in range(batch_size)])
        return _gather(data, rows, cells, dtype)

    return endless_batches(gather, len(data), batch_size=batch_size, seed=seed)


def evaluation_batches(
    data: Forecasts,
    *,
    batch_size: int,
    num_points: int | None = None,
    dtype: npt.DTypeLike = np.float32,
) -> Iterator[Batch]:
    """Returns batches that hold each example once; the last one is filled with repeats.

    Args:
      data: Examples to score.
      batch_size: Examples in a batch.
      num_points: How many points to draw for each example, always the same ones; by default all
        are taken.
      dtype: Data type of all but ``id`` and ``weight``.

    Raises:
      ValueError: If a number is out of range.
    """
    _check_num_points(data, num_points)

    def gather(rows: Rows) -> Batch:
        cells = _cells(data, num_points, [(number,) for number in data.ids[rows].tolist()])
        return _gather(data, rows, cells, dtype)

    return batches_once(gather, len(data), batch_size=batch_size)


def rotate(batch: Batch, rotation: Float[np.ndarray, "3 3"]) -> Batch:
    """Returns a batch with its points and all its vectors rotated, everything else as it was.

    Args:
      batch: Batch as the module describes it.
      rotation: An orthogonal matrix of determinant 1.

    Raises:
      ValueError: If it is not, to 1e-5.
    """
    error = np.abs(rotation @ rotation.T - np.eye(3)).max()
    # The third row of a rotation is the cross product of the others.
    error = max(error, np.abs(np.cross(rotation[0], rotation[1]) - rotation[2]).max())
    if not error < 1e-5:
        raise ValueError(
            f"rotation must be orthogonal with determinant 1, got a deviation of {error:.1e}."
        )
    rotated = {
        name: (batch[name].astype(np.float64) @ rotation.T).astype(batch[name].dtype)
        for name in VECTORS
    }
    return batch | rotated


def _check_num_points(data: Forecasts, num_points: int | None) -> None:
    if num_points is None:
        return
    check_sizes({"num_points": num_points})
    most = int(data.areas.sum() / data.areas.max())
    if num_points > most:
        raise ValueError(
            f"num_points must be at most {most}, so that none is drawn twice, or None "
            f"(0 among the options of a run) for all {len(data.areas)}, got {num_points}."
        )


def _cells(
    data: Forecasts, num_points: int | None, seeds: list[tuple[int, ...]]
) -> Int[np.ndarray, "B N"] | None:
    """Returns the cells that are drawn for each example; None for all."""
    if num_points is None:
        return None
    return np.stack([_draw(data.areas, num_points, *seed) for seed in seeds])


def _draw(areas: Float[np.ndarray, "N"], num_points: int, *seed: int) -> Int[np.ndarray, "_"]:
    """Returns distinct cells, each drawn with a probability proportional to its area.

    The cells are laid end to end in random order, and those are taken that evenly spaced marks
    fall on; marks are farther apart than the largest cell is long.
    """
    random = random_state(*seed)
    order = random.permutation(len(areas))
    ends = np.cumsum(areas[order])
    marks = (np.arange(num_points) + random.uniform()) * (ends[-1] / num_points)
    return order[np.searchsorted(ends[:-1], marks, side="right")]


def _gather(
    data: Forecasts,
    rows: Int[np.ndarray, "B"],
    cells: Int[np.ndarray, "B N"] | None,
    dtype: npt.DTypeLike,
) -> Batch:
    """Returns the examples of these rows, at these points or at all."""
    at = np.arange(len(data.areas))[None] if cells is None else cells
    at = np.broadcast_to(at, (len(rows), at.shape[1]))
    logarithms = np.log(data.areas / data.areas.mean())
    angle = 2 * np.pi / 12 * (data.months[rows, 1] - 1)
    batch = {
        "points": data.points[at],
        "wind": data.winds[rows[:, None], at],
        "climatology": data.climatology[rows[:, None], at],
        "target_climatology": data.target_climatology[rows[:, None], at],
        "target": data.targets[rows[:, None], at],
        "phase": np.stack([np.cos(angle), np.sin(angle)], axis=-1),
        "relief": data.relief[at],
        "log_weights": logarithms[at] if cells is None else np.zeros(at.shape),
    }
    return {name: array.astype(dtype) for name, array in batch.items()} | {
        "id": int32_ids(data.ids[rows])
    }

"""Forecasts of the next month's wind: the examples of the task "winds", and what to beat.

An example has the wind of one month, the climatology of that month and of the next, and asks for
the wind of the next month. The climatology is that of the months of training; where a month is
itself one of them, it is left out of its own climatology
(`eqattn.tasks.winds.data.climatology_without`), so that no example can read what is asked for from
its input.

An example belongs to the split of the month that it asks for. The first one of validation sees the
last month of training, and that of the test the last of validation, as any forecast would; no month
is asked for in two splits, and the climatology knows of the months of training only.
"""

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int

from eqattn.tasks.winds.data import Winds, climatology_without, load, split

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Forecasts:
    """E examples on the same N points; vectors are tangent to the sphere, in R³ and in m/s.

    Attributes:
      points: Unit vectors.
      areas: Areas of the cells around the points, in steradian.
      relief: Height in km and part of land of each cell, see `eqattn.tasks.winds.data.Winds`.
      ids: Number of the month asked for, 12 · year + month - 1.
      months: Year and month (1 to 12) of the month asked for.
      winds: Winds of the month before.
      climatology: Climatology of the month before.
      target_climatology: Climatology of the month asked for.
      targets: Wind of the month asked for.
    """

    points: Float[np.ndarray, "N 3"]
    areas: Float[np.ndarray, "N"]
    relief: Float32[np.ndarray, "N 2"]
    ids: Int[np.ndarray, "E"]
    months: Int[np.ndarray, "E 2"]
    winds: Float32[np.ndarray, "E N 3"]
    climatology: Float32[np.ndarray, "E N 3"]
    target_climatology: Float32[np.ndarray, "E N 3"]
    targets: Float32[np.ndarray, "E N 3"]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, indices: Int[np.ndarray, "B"] | slice) -> "Forecasts":
        """Returns the examples at these places, in this order."""
        arrays = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        rows = {name: arrays[name][indices] for name in arrays if name not in _SHARED}
        return Forecasts(**(arrays | rows))


_SHARED = ("points", "areas", "relief")
"""What all examples of a record have in common."""


def forecasts(winds: Winds, part: str = "train") -> Forecasts:
    """Returns the examples of a split, in order of time.

    The first month of the record is asked for in none, as nothing comes before it.

    Args:
      winds: The record, at least 60 months.
      part: "train", "validation" or "test", see `eqattn.tasks.winds.data.split`.

    Raises:
      ValueError: If there is no such split, or the record is too short.
    """
    if part not in SPLITS:
        raise ValueError(f"part must be one of {SPLITS}, got {part!r}")
    parts = split(winds)
    asked = parts[part][parts[part] > 0]
    months = winds.months[asked]
    return Forecasts(
        points=winds.points,
        areas=winds.areas,
        relief=winds.relief,
        ids=12 * months[:, 0] + months[:, 1] - 1,
        months=months,
        winds=winds.winds[asked - 1],
        climatology=climatology_without(winds, parts["train"], asked - 1),
        target_climatology=climatology_without(winds, parts["train"], asked),
        targets=winds.winds[asked],
    )


def examples(
    source: str | os.PathLike[str] = "embedded", part: str = "train", *, step: float | None = None
) -> Iterator[dict[str, Any]]:
    """Yields the examples of a split one at a time: the definition of the data set.

    Args:
      source: ``"embedded"`` or the path of a netCDF file, as for `eqattn.tasks.winds.data.load`.
      part: "train", "validation" or "test".
      step: Degrees between points, to average to fewer; by default those of the source.

    Yields:
      ``id``, ``year`` and ``month`` of the month asked for (int), ``points`` [N, 3] and ``areas``
      [N] float64, ``relief`` [N, 2], and ``wind``, ``climatology``, ``target_climatology`` and
      ``target`` [N, 3] float32; see `Forecasts`.

    Raises:
      FileNotFoundError: If the file is missing.
      ValueError: If the file does not hold monthly winds, ``step`` does not fit them, or there
        is no such split.
    """
    data = forecasts(load(source, step=step), part)
    for index in range(len(data)):
        yield {
            "id": int(data.ids[index]),
            "year": int(data.months[index, 0]),
            "month": int(data.months[index, 1]),
            "points": data.points,
            "areas": data.areas,
            "relief": data.relief,
            "wind": data.winds[index],
            "climatology": data.climatology[index],
            "target_climatology": data.target_climatology[index],
            "target": data.targets[index],
        }


def persistence(data: Forecasts) -> Float32[np.ndarray, "E N 3"]:
    """Returns the forecast that the next month's wind is this month's.

    Args:
      data: The examples.
    """
    return data.winds


def climatology(data: Forecasts) -> Float32[np.ndarray, "E N 3"]:
    """Returns the forecast that the next month's wind is its climatology.

    In training too it is an honest forecast, since no month is part of its own climatology.

    Args:
      data: The examples.
    """
    return data.target_climatology


def damped_persistence(data: Forecasts, damping: float) -> Float32[np.ndarray, "E N 3"]:
    """Returns the forecast that this month's departure from its climatology lives on, damped.

    It is the strongest of the three forecasts that know of no more than one place at a time.

    Args:
      data: The examples.
      damping: How much of the departure lives on, see :func:`fit_damping`.
    """
    departure = data.winds - data.climatology
    return data.target_climatology + np.float32(damping) * departure


def fit_damping(data: Forecasts) -> float:
    """Returns the damping with which :func:`damped_persistence` has the least RMS.

    Args:
      data: The examples of training.

    Raises:
      ValueError: If there is no example, or no wind departs from its climatology.
    """
    before = (data.winds - data.climatology).astype(np.float64)
    after = (data.targets - data.target_climatology).astype(np.float64)
    size = np.einsum("enc,enc,n->", before, before, data.areas)
    if not size > 0:
        raise ValueError(f"data: no wind of its {len(data)} examples departs from its climatology.")
    return float(np.einsum("enc,enc,n->", before, after, data.areas) / size)


def rms(errors: Float[np.ndarray, "E N 3"], areas: Float[np.ndarray, "N"]) -> float:
    """Returns the root of the mean square length of vectors, (mean_e Σ_n a_n |e_n|² / Σ_n a_n)^½.

    It does not change when all points and vectors are rotated.

    Args:
      errors: Vectors, such as predictions minus targets, in m/s.
      areas: Areas of the cells.
    """
    squares = np.sum(errors.astype(np.float64) ** 2, axis=-1) @ (areas / areas.sum())
    return float(np.sqrt(squares.mean()))


def r_squared(
    predictions: Float[np.ndarray, "E N 3"],
    targets: Float[np.ndarray, "E N 3"],
    areas: Float[np.ndarray, "N"],
) -> float:
    """Returns the part of the variance of the targets that the predictions explain.

    R² = 1 - Σ a_n |prediction - target|² / Σ a_n |target - μ|², with sums over the examples and
    the points, and with the one vector μ = Σ a_n target / Σ a_n of R³, the mean over all of them.
    So the variance is that over the globe and over time together, and the prediction of no wind
    at all has an R² near 0 (a mean over tangent vectors that point everywhere is small). It does
    not change when all points and vectors are rotated.

    Args:
      predictions: Predicted winds in m/s.
      targets: True winds in m/s.
      areas: Areas of the cells.
    """
    mean = np.einsum("enc,n->c", targets.astype(np.float64), areas) / (areas.sum() * len(targets))
    return 1.0 - (rms(predictions - targets, areas) / rms(targets - mean, areas)) ** 2

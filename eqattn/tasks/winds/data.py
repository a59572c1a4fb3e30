"""Monthly mean winds on the globe, as tangent vectors in R³: the data of the task "winds".

Two sources are known:

* ``"embedded"``: the winds of 1982 to 1992 of the Fleet Numerical Oceanography Center of the US
  Navy, which come with the package, averaged to 5°: 132 months at 2,522 points;
* the path of a netCDF file of monthly winds: these same at 2.5°, ``monthly_navy_winds.cdf`` of the
  Debian package ferret-datasets, or others (`eqattn.tasks.winds.grids`).
"""

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int

from eqattn.tasks.winds.grids import GridWinds, average, decode, read
from eqattn.tasks.winds.sphere_grid import Grid

EMBEDDED_PATH = Path(__file__).parent / "embedded" / "winds_5deg.npz"
NUM_TEST = 24
"""Months of the test, the last ones."""
NUM_VALIDATION = 12
"""Months of the validation, before those of the test."""
_KILOMETER = 1_000.0


@dataclass(frozen=True, eq=False)
class Winds:
    """Winds of M months at N points of the unit sphere.

    Attributes:
      points: Unit vectors.
      areas: Areas of the cells around the points, in steradian; 4π in all.
      relief: Two scalars of each cell: the mean height of its surface above the sea in km, where
        the sea counts as 0; and the part of its area that is land, which is above sea level in
        ETOPO's means over 2°.
      months: Year and month (1 to 12) of each, one after the other without gaps.
      winds: Tangent vectors in R³, in m/s.
    """

    points: Float[np.ndarray, "N 3"]
    areas: Float[np.ndarray, "N"]
    relief: Float32[np.ndarray, "N 2"]
    months: Int[np.ndarray, "M 2"]
    winds: Float32[np.ndarray, "M N 3"]

    def __len__(self) -> int:
        return len(self.months)


def load(source: str | os.PathLike[str] = "embedded", *, step: float | None = None) -> Winds:
    """Returns the winds of a source.

    Example:
      >>> load(step=10.0).winds.shape
      (132, 614, 3)

    Args:
      source: ``"embedded"`` or the path of a netCDF file.
      step: Degrees between points, to average to fewer; by default those of the source.

    Raises:
      FileNotFoundError: If the file is missing.
      ValueError: If the file does not hold monthly winds, or ``step`` is finer than they are or
        does not divide 90.
    """
    winds = _embedded() if source == "embedded" else read(Path(source).expanduser())
    if step is not None:
        winds = average(winds, step)
    grid = winds.grid
    return Winds(grid.points, grid.areas, _relief(grid), winds.months, winds.winds)


def split(winds: Winds) -> dict[str, Int[np.ndarray, "_"]]:
    """Returns which months are for training, for validation and for the test, in order of time.

    The last 24 are for the test, the 12 before them for validation, all others for training.

    Args:
      winds: Winds of at least 60 months, so that each month of the year comes twice in training.

    Returns:
      Indices of months under ``"train"``, ``"validation"`` and ``"test"``.

    Raises:
      ValueError: If there are fewer.
    """
    rest = NUM_TEST + NUM_VALIDATION
    if len(winds) < rest + 24:
        raise ValueError(f"winds must be of at least {rest + 24} months, got {len(winds)}.")
    train, validation, test = np.split(np.arange(len(winds)), [-rest, -NUM_TEST])
    return {"train": train, "validation": validation, "test": test}


def climatology(winds: Winds, months: Int[np.ndarray, "_"]) -> Float32[np.ndarray, "12 N 3"]:
    """Returns the mean wind of each month of the year, January first, in m/s.

    Args:
      winds: The record.
      months: Indices of the months to take the means of, such as ``split(winds)["train"]``.

    Raises:
      ValueError: If a month of the year is not among them.
    """
    of_year = winds.months[months, 1]
    missing = np.setdiff1d(np.arange(1, 13), of_year)
    if missing.size:
        raise ValueError(f"months must hold each month of the year, but month {missing[0]} is not.")
    means = [winds.winds[months[of_year == month]].mean(0, np.float64) for month in range(1, 13)]
    return np.stack(means).astype(np.float32)


def climatology_without(
    winds: Winds, months: Int[np.ndarray, "_"], at: Int[np.ndarray, "E"]
) -> Float32[np.ndarray, "E N 3"]:
    """Returns the :func:`climatology` at some months of the record, each left out of its own.

    The climatology at a month is the mean over the same month of the year in all years of
    ``months`` but its own. Seen from training it is then what it is later: a mean that knows
    nothing of the wind of that very month.

    Args:
      winds: The record.
      months: Indices of the months to take the means of, such as ``split(winds)["train"]``.
      at: Indices of the months whose climatology is wanted.

    Raises:
      ValueError: If no other year is left for one of them.
    """
    of_year = winds.months[months, 1]
    means = []
    for index in at.tolist():
        year, month = winds.months[index]
        others = months[(of_year == month) & (months != index)]
        if others.size == 0:
            raise ValueError(f"months must hold another year for {year}-{month:02d}.")
        means.append(winds.winds[others].mean(0, np.float64).astype(np.float32))
    return np.stack(means) if means else np.zeros((0, *winds.points.shape), np.float32)


@functools.cache
def coasts() -> Float[np.ndarray, "P 2"]:
    """Returns lines along the cells of 2° that are land, for maps: longitude and latitude in °.

    They follow the edges of cells between land and sea; NaN stands between two lines. Longitudes
    are in [-180, 180].
    """
    arrays = _arrays()
    grid = Grid(arrays["relief_latitudes"], arrays["relief_longitudes"])
    is_land = arrays["relief"] > 0
    south, west = grid.edges
    across, along = [], []
    for row, column in np.argwhere(is_land != np.roll(is_land, 1, axis=1)):
        across.append([(west[column], south[row]), (west[column], south[row + 1])])
    for row, column in np.argwhere(is_land[1:] != is_land[:-1]):
        along.append([(west[column], south[row + 1]), (west[column + 1], south[row + 1])])
    lines = np.array(across + along)
    middle = lines[..., 0].mean(axis=1, keepdims=True)
    lines[..., 0] -= 360 * np.round(middle / 360)
    return np.insert(lines, 2, np.nan, axis=1).reshape(-1, 2)


@functools.cache
def _arrays() -> Mapping[str, np.ndarray]:
    with np.load(EMBEDDED_PATH, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _embedded() -> GridWinds:
    arrays = _arrays()
    grid = Grid(arrays["latitudes"], arrays["longitudes"])
    return GridWinds(grid, arrays["months"], decode(grid.points, arrays["components"]))


def _relief(grid: Grid) -> Float32[np.ndarray, "N 2"]:
    arrays = _arrays()
    heights = arrays["relief"].astype(np.float64)
    scalars = np.stack([np.maximum(heights, 0.0) / _KILOMETER, heights > 0.0], axis=-1)
    source = Grid(arrays["relief_latitudes"], arrays["relief_longitudes"])
    return grid.merge(source.average(scalars, grid)).astype(np.float32)

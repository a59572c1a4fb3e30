"""Winds on a grid of latitude and longitude: read from a file, averaged, stored in few bytes.

A wind (u to the east, v to the north) at a point of the unit sphere is the tangent vector u·east +
v·north of R³ (`eqattn.tasks.winds.sphere_grid`). Averages are taken of these vectors, over cells
with their exact areas, and then made tangent again; components in frames that differ from point to
point are never averaged.

At each pole there is one point with one vector. The rows that a file has there are not read: in
the navy winds they hold one (u, v) for all longitudes until 1987 and afterwards components that
turn the wrong way round, so that no one convention makes them vectors. The mean vector of the row
beside the pole stands for them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int, Int16

from eqattn.tasks.winds.netcdf import read_fields
from eqattn.tasks.winds.sphere_grid import (
    Grid,
    from_components,
    regular_grid,
    tangent,
    to_components,
)

RESOLUTION = 0.01
MAX_COMPONENT = 327.67
"""Of stored components, in m/s."""
_NAMES = (("uwnd", "vwnd"), ("u10", "v10"), ("u", "v"))
_UNITS = ("m/s", "m s-1", "m s^-1", "m s**-1", "meter/sec", "meters/second")


@dataclass(frozen=True, eq=False)
class GridWinds:
    """Winds of M months at the N points of a grid.

    Attributes:
      grid: Where they are.
      months: Year and month (1 to 12) of each, one after the other without gaps.
      winds: Tangent vectors in R³, in m/s.
    """

    grid: Grid
    months: Int[np.ndarray, "M 2"]
    winds: Float32[np.ndarray, "M N 3"]


def read(path: Path) -> GridWinds:
    """Returns the winds of a netCDF file.

    Args:
      path: A file that `eqattn.tasks.winds.netcdf` reads, with variables called uwnd and vwnd,
        u10 and v10, or u and v, in m/s.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If it does not hold monthly winds; the message names what is wrong.
    """
    fields = read_fields(path, _NAMES)
    for units in fields.units:
        if units.lower() not in _UNITS:
            raise ValueError(f"{path}: winds must be in m/s, got {units!r}.")
    if len(fields.months) == 0:
        raise ValueError(f"{path}: the winds have no times.")
    gaps = np.diff(12 * fields.months[:, 0] + fields.months[:, 1]) != 1
    if gaps.any():
        year, month = fields.months[int(np.argmax(gaps))]
        raise ValueError(f"{path}: the time after {year}-{month:02d} is not in the next month.")
    winds = np.stack(
        [_vectors(fields.grid, east, north) for east, north in zip(*fields.values, strict=True)]
    )
    largest = float(np.abs(winds).max())
    if largest > MAX_COMPONENT:
        raise ValueError(
            f"{path}: winds must be within ±{MAX_COMPONENT} m/s, got {largest:g} m/s; is that a "
            "fill value that _FillValue does not name?"
        )
    return GridWinds(fields.grid, fields.months, winds)


def average(winds: GridWinds, step: float) -> GridWinds:
    """Returns the mean winds over the cells of a regular grid.

    Args:
      winds: Winds on a grid that is no coarser.
      step: Degrees between the parallels and meridians of the new grid.

    Raises:
      ValueError: If ``step`` is finer than the winds are, or does not divide 90.
    """
    onto = regular_grid(step)
    if step < winds.grid.spacing - 1e-3:
        raise ValueError(f"step={step} is finer than the {winds.grid.spacing:g}° of the winds.")
    months = []
    for month in winds.winds.astype(np.float64):
        means = onto.merge(winds.grid.average(winds.grid.spread(month), onto))
        months.append(tangent(onto.points, means).astype(np.float32))
    return GridWinds(onto, winds.months, np.stack(months))


def encode(
    points: Float[np.ndarray, "N 3"], winds: Float[np.ndarray, "*B N 3"]
) -> Int16[np.ndarray, "*B N 2"]:
    """Returns the components to the east and north as multiples of `RESOLUTION`.

    Args:
      points: Unit vectors.
      winds: Tangent vectors, in m/s.

    Raises:
      ValueError: If a component does not fit in 16 bits, within ±327.67 m/s.
    """
    components = to_components(points, winds)
    multiples = np.rint(components / RESOLUTION)
    if not (np.abs(multiples) <= np.iinfo(np.int16).max).all():
        largest = np.abs(components).max()
        raise ValueError(
            f"winds must be within ±{MAX_COMPONENT} m/s, got a component of {largest:g} m/s."
        )
    return multiples.astype(np.int16)


def decode(
    points: Float[np.ndarray, "N 3"], multiples: Int16[np.ndarray, "*B N 2"]
) -> Float32[np.ndarray, "*B N 3"]:
    """Returns the tangent vectors, in m/s, that :func:`encode` has stored.

    Args:
      points: Unit vectors.
      multiples: Components to the east and north, in units of `RESOLUTION`.
    """
    return from_components(points, RESOLUTION * multiples).astype(np.float32)


def _vectors(
    grid: Grid, east: Float32[np.ndarray, "R L"], north: Float32[np.ndarray, "R L"]
) -> Float32[np.ndarray, "N 3"]:
    """Returns the vectors of one month, those at the poles from the rows beside."""
    vectors = from_components(grid.spread(grid.points), np.stack([east, north], axis=-1))
    for is_pole, place, beside in zip(grid.poles, (0, -1), (1, -2), strict=True):
        if is_pole:
            vectors[place] = vectors[beside].mean(axis=0)
    return tangent(grid.points, grid.merge(vectors)).astype(np.float32)

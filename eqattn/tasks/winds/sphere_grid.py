"""Grids of latitude and longitude: their cells on the sphere, and vectors in their directions.

A point of a row at a pole stands for the same place at every longitude, so the row is one point.
The N points of a grid come from south to north, and within a row in the order of its longitudes.

At a point of latitude φ and longitude λ

    p = (cos φ cos λ, cos φ sin λ, sin φ),  east = (-sin λ, cos λ, 0),  north = p x east

is a right-handed frame (east, north, up = p); at the poles, where no direction is east, λ = 0.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

_TOLERANCE = 1e-4
"""In degrees, for coordinates that were stored in float32."""
_POLE = 1e-7
"""Distance from the axis below which a point of the unit sphere is a pole."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Cells around the crossings of R parallels with L meridians; they cover the sphere.

    A cell reaches halfway to the next parallels and meridians; the outermost reach the poles.

    Attributes:
      latitudes: Latitudes in degrees, increasing, from -90 to 90; the poles are within a step of
        them.
      longitudes: Longitudes in degrees, increasing in equal steps once around the globe.

    Raises:
      ValueError: If these are no such latitudes or longitudes.
    """

    latitudes: Float[np.ndarray, "R"]
    longitudes: Float[np.ndarray, "L"]

    def __post_init__(self) -> None:
        lat, lon = self.latitudes, self.longitudes
        if len(lat) < 2 or not (np.diff(lat) > 0).all() or not -90 <= lat[0] < lat[-1] <= 90:
            raise ValueError(
                f"latitudes must be two or more, increasing, from -90 to 90, got {_ends(lat)}."
            )
        if (
            lat[0] + 90 > lat[1] - lat[0] + _TOLERANCE
            or 90 - lat[-1] > lat[-1] - lat[-2] + _TOLERANCE
        ):
            raise ValueError(f"latitudes must reach both poles but for a step, got {_ends(lat)}.")
        step = 360 / max(len(lon), 1)
        if len(lon) < 3 or not np.allclose(np.diff(lon), step, rtol=0, atol=_TOLERANCE):
            raise ValueError(
                "longitudes must be three or more, increasing by equal steps of 360/L, got "
                f"{_ends(lon)}."
            )
        if not -360 <= lon[0] < 360:
            raise ValueError(f"longitudes must begin in [-360, 360), got {_ends(lon)}.")

    @property
    def poles(self) -> tuple[bool, bool]:
        """Whether the first row is the south pole, and whether the last is the north pole."""
        return bool(self.latitudes[0] == -90), bool(self.latitudes[-1] == 90)

    @property
    def spacing(self) -> float:
        """The larger of the steps in latitude and longitude, in degrees."""
        return max(float(np.diff(self.latitudes).max()), 360 / len(self.longitudes))

    @property
    def points(self) -> Float[np.ndarray, "N 3"]:
        """The unit vector of each point."""
        lat, lon = np.radians(self.latitudes)[:, None], np.radians(self.longitudes)
        rows = np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat) + 0 * lon
        points = self.merge(np.stack(rows, axis=-1))
        for is_pole, place, height in zip(self.poles, (0, -1), (-1.0, 1.0), strict=True):
            if is_pole:
                points[place] = (0.0, 0.0, height)
        return points

    @property
    def areas(self) -> Float[np.ndarray, "N"]:
        """The area of each cell on the unit sphere, in steradian; 4π in all."""
        heights = np.diff(np.sin(np.radians(self._latitude_edges())))
        zones = np.broadcast_to(2 * np.pi * heights[:, None, None], (*self.shape, 1))
        areas = self.merge(zones)[:, 0]
        south, north = self.poles
        areas[int(south) : len(areas) - int(north)] /= self.shape[1]  # a cap is a whole zone
        return areas

    @property
    def shape(self) -> tuple[int, int]:
        """R and L."""
        return len(self.latitudes), len(self.longitudes)

    @property
    def edges(self) -> tuple[Float[np.ndarray, "_"], Float[np.ndarray, "_"]]:
        """Latitudes and longitudes between the cells, R + 1 and L + 1, in degrees."""
        return self._latitude_edges(), self._longitude_edges()

    def merge(self, rows: Float[np.ndarray, "*B R L C"]) -> Float[np.ndarray, "*B N C"]:
        """Returns the values at the points, where a row at a pole becomes its mean.

        Args:
          rows: Values at the crossings; components of vectors in R³, never of a frame.
        """
        south, north = self.poles
        inner = rows[..., int(south) : self.shape[0] - int(north), :, :]
        parts = [inner.reshape(*rows.shape[:-3], -1, rows.shape[-1])]
        if south:
            parts.insert(0, rows[..., 0, :, :].mean(axis=-2, keepdims=True))
        if north:
            parts.append(rows[..., -1, :, :].mean(axis=-2, keepdims=True))
        return np.concatenate(parts, axis=-2)

    def spread(self, values: Float[np.ndarray, "*B N C"]) -> Float[np.ndarray, "*B R L C"]:
        """Returns the values at the crossings, the same for a whole row at a pole.

        Args:
          values: Values at the points.
        """
        south, north = self.poles
        parts = [values[..., int(south) : values.shape[-2] - int(north), :]]
        if south:
            parts.insert(0, np.repeat(values[..., :1, :], self.shape[1], axis=-2))
        if north:
            parts.append(np.repeat(values[..., -1:, :], self.shape[1], axis=-2))
        rows = np.concatenate(parts, axis=-2)
        return rows.reshape(*values.shape[:-2], *self.shape, values.shape[-1])

    def average(
        self, rows: Float[np.ndarray, "*B R L C"], onto: "Grid"
    ) -> Float[np.ndarray, "*B R2 L2 C"]:
        """Returns the means over the cells of another grid, with the exact areas of overlap.

        The integral over the sphere is unchanged.

        Args:
          rows: Values at the crossings, taken to be constant in each cell; components of
            vectors in R³, never of a frame.
          onto: The other grid.
        """
        # Area is the product of the height sin φ and the longitude.
        heights = [np.sin(np.radians(grid._latitude_edges())) for grid in (onto, self)]
        across = _overlaps(*heights)
        edges = [grid._longitude_edges() for grid in (onto, self)]
        turns = 360.0 * np.arange(-2, 3)
        along = np.sum([_overlaps(edges[0], edges[1] + turn) for turn in turns], axis=0)
        across /= across.sum(axis=1, keepdims=True)
        along /= along.sum(axis=1, keepdims=True)
        return np.einsum("pr,...rlc,ql->...pqc", across, rows, along, optimize=True)

    def _latitude_edges(self) -> Float[np.ndarray, "_"]:
        between = (self.latitudes[1:] + self.latitudes[:-1]) / 2
        return np.concatenate([[-90.0], between, [90.0]])

    def _longitude_edges(self) -> Float[np.ndarray, "_"]:
        columns = len(self.longitudes)
        return self.longitudes[0] + 360 / columns * (np.arange(columns + 1) - 0.5)


def regular_grid(step: float) -> Grid:
    """Returns the grid whose parallels and meridians are all ``step`` degrees apart.

    It holds the equator, both poles and the meridian of Greenwich, where its rows begin.

    Example:
      >>> grid = regular_grid(30.0)
      >>> grid.shape, grid.points.shape
      ((7, 12), (62, 3))

    Args:
      step: Step in degrees; must divide 90.

    Raises:
      ValueError: If it does not.
    """
    steps = round(90 / step) if step > 0 else 0
    if steps < 1 or abs(steps * step - 90) > _TOLERANCE:
        raise ValueError(f"step must be positive and divide 90 degrees, got {step}.")
    return Grid(
        np.linspace(-90.0, 90.0, 2 * steps + 1),
        np.linspace(0.0, 360.0, 4 * steps, endpoint=False),
    )


def frames(
    points: Float[np.ndarray, "*B 3"],
) -> tuple[Float[np.ndarray, "*B 3"], Float[np.ndarray, "*B 3"]]:
    """Returns the unit vectors to the east and to the north, see the top of this file.

    Args:
      points: Unit vectors.
    """
    x, y, z = (points[..., axis].astype(np.float64) for axis in range(3))
    radius = np.hypot(x, y)
    at_pole = radius < _POLE
    safe = np.where(at_pole, 1.0, radius)
    cos, sin = np.where(at_pole, 1.0, x / safe), np.where(at_pole, 0.0, y / safe)
    east = np.stack([-sin, cos, np.zeros_like(z)], axis=-1)
    north = np.stack([-z * cos, -z * sin, radius], axis=-1)
    return east, north


def to_components(
    points: Float[np.ndarray, "*#B 3"], vectors: Float[np.ndarray, "*B 3"]
) -> Float[np.ndarray, "*B 2"]:
    """Returns the components of tangent vectors to the east and to the north, in float64.

    Args:
      points: Unit vectors.
      vectors: Vectors in R³; what points up is left out.
    """
    return np.stack([np.sum(axis * vectors, axis=-1) for axis in frames(points)], axis=-1)


def from_components(
    points: Float[np.ndarray, "*#B 3"], components: Float[np.ndarray, "*B 2"]
) -> Float[np.ndarray, "*B 3"]:
    """Returns the tangent vectors in R³ that have these components, in float64.

    Example:
      >>> from_components(np.array([[0.6, 0.8, 0.0]]), np.array([[5.0, 2.0]]))
      array([[-4.,  3.,  2.]])

    Args:
      points: Unit vectors.
      components: Components to the east and to the north.
    """
    east, north = frames(points)
    return components[..., :1] * east + components[..., 1:] * north


def tangent(
    points: Float[np.ndarray, "*#B 3"], vectors: Float[np.ndarray, "*B 3"]
) -> Float[np.ndarray, "*B 3"]:
    """Returns the part of vectors that is tangent to the sphere.

    Args:
      points: Unit vectors.
      vectors: Vectors in R³.
    """
    return vectors - np.sum(points * vectors, axis=-1, keepdims=True) * points


def _overlaps(
    targets: Float[np.ndarray, "_"], sources: Float[np.ndarray, "_"]
) -> Float[np.ndarray, "_ _"]:
    """Returns the length that intervals, given by their consecutive ends, have in common."""
    ends = np.minimum(targets[1:, None], sources[None, 1:])
    return np.maximum(ends - np.maximum(targets[:-1, None], sources[None, :-1]), 0.0)


def _ends(values: Float[np.ndarray, "_"]) -> str:
    """Names an axis by its size and its ends."""
    if len(values) == 0:
        return "none"
    return f"{len(values)} from {values[0]:g} to {values[-1]:g}"

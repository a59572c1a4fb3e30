"""What a run of the task "winds" shows: maps of arrows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from eqattn.tasks.core.task import Panel, Predictions, Series
from eqattn.tasks.winds.data import coasts
from eqattn.tasks.winds.forecasts import Forecasts
from eqattn.tasks.winds.sphere_grid import to_components
from eqattn.typing import Float

__all__ = ["wind_maps"]

MOST_ARROWS = 700
POLEWARD = 75.0
"""Degrees of latitude beyond which a plate carrée shows no arrows: it stretches them."""
HEAD_LENGTH, HEAD_ANGLE = 0.3, 0.45
"""Of an arrow's length, and in radians."""
LONGEST = 1.6
"""Of the longest arrow, in distances between arrows."""


def wind_maps(data: Forecasts, predictions: Predictions) -> Mapping[str, Sequence[Panel]]:
    """Returns ``maps``: predicted over true arrows of the last month, and of their departures.

    Args:
      data: The examples of a split.
      predictions: What the problem's ``predict`` returned, over the whole split.
    """
    last = int(np.argmax(data.ids))
    row = int(np.flatnonzero(predictions["id"] == data.ids[last])[0])
    predicted = predictions["prediction"][row].astype(np.float64)
    true, normal = data.targets[last], data.target_climatology[last]
    year, month = data.months[last]
    panels = (
        _map(
            f"wind of {year}-{month:02d}, predicted from the month before",
            data.points,
            true,
            predicted,
        ),
        _map(
            f"its departure from the climatology, {year}-{month:02d}",
            data.points,
            true - normal,
            predicted - normal,
        ),
    )
    return {"maps": panels}


def _map(title: str, points: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> Panel:
    """Both fields as arrows of one scale, over the coasts."""
    latitude = np.degrees(np.arcsin(np.clip(points[:, 2], -1, 1)))
    longitude = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    shown = np.flatnonzero(np.abs(latitude) <= POLEWARD)
    shown = shown[:: -(-len(shown) // MOST_ARROWS)]
    fields = [to_components(points[shown], field[shown]) for field in (true, predicted)]
    longest = max(float(np.linalg.norm(field, axis=-1).max()) for field in fields)
    spacing = np.sqrt(360 * 2 * POLEWARD / len(shown))
    scale = LONGEST * spacing / max(longest, 1e-9)
    base = np.stack([longitude[shown], latitude[shown]], axis=-1)
    coast = coasts().copy()
    coast[np.abs(coast[:, 1]) > POLEWARD + spacing] = np.nan
    return Panel(
        title,
        "longitude [°]",
        "latitude [°]",
        (
            _series("", coast, "outline"),
            _series("true", _arrows(base, scale * fields[0]), "background"),
            _series("predicted", _arrows(base, scale * fields[1]), "line"),
        ),
        note=f"longest arrow: {longest:.1f} m/s",
        is_map=True,
    )


def _series(
    label: str,
    line: Float[np.ndarray, "M 2"],
    style: Literal["outline", "background", "line"],
) -> Series:
    return Series(label, line[:, 0], line[:, 1], style)


def _arrows(
    base: Float[np.ndarray, "N 2"], vectors: Float[np.ndarray, "N 2"]
) -> Float[np.ndarray, "M 2"]:
    """One line through all arrows, shaft and head, interrupted between them."""
    tips = base + vectors

    def barb(angle: float) -> np.ndarray:
        c, s = np.cos(angle), np.sin(angle)
        return tips - HEAD_LENGTH * vectors @ np.array([[c, s], [-s, c]])

    gap = np.full_like(base, np.nan)
    lines = [base, tips, barb(HEAD_ANGLE), gap, tips, barb(-HEAD_ANGLE), gap]
    return np.stack(lines, axis=1).reshape(-1, 2)

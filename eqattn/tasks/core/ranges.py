"""What a run was trained on, so that inputs unlike it can be told: nothing warns of extrapolation.

A quantity of an example (its size, a distance in it) has a smallest and a largest value there. A
run records the range of each quantity over its training examples in ``config.json``; an example
lies outside if one of its values does, or if the quantity never occurred in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eqattn.config import TrainingRange
from eqattn.typing import Float

__all__ = ["Quantity", "reasons_outside", "training_ranges"]

SLACK = 1e-4
"""Relative to the ends of a range: what files round off lies within it."""


@dataclass(frozen=True, eq=False)
class Quantity:
    """The values that each of M examples has of one quantity.

    Attributes:
      name: What it is, in words.
      unit: Unit of the quantity, "" for none.
      smallest: The smallest value in each example, NaN where the example has none.
      largest: The largest one.
    """

    name: str
    unit: str
    smallest: Float[np.ndarray, " M"]
    largest: Float[np.ndarray, " M"]


def training_ranges(quantities: Sequence[Quantity]) -> tuple[TrainingRange, ...]:
    """Returns the range of each quantity that occurs at all.

    Args:
      quantities: Quantities of all training examples.
    """
    return tuple(
        TrainingRange(
            quantity.name,
            quantity.unit,
            float(np.nanmin(quantity.smallest)),
            float(np.nanmax(quantity.largest)),
        )
        for quantity in quantities
        if not np.isnan(quantity.smallest).all()
    )


def reasons_outside(
    quantities: Sequence[Quantity], ranges: Sequence[TrainingRange]
) -> dict[int, str]:
    """Returns why examples lie outside what a run was trained on, by their places.

    Args:
      quantities: Quantities of the examples.
      ranges: Ranges of the run.
    """
    known = {trained.quantity: trained for trained in ranges}
    reasons: dict[int, list[str]] = {}
    for quantity in quantities:
        trained = known.get(quantity.name)
        for place in np.flatnonzero(~np.isnan(quantity.smallest)).tolist():
            low, high = float(quantity.smallest[place]), float(quantity.largest[place])
            reason = _reason(quantity.name, low, high, trained)
            if reason:
                reasons.setdefault(place, []).append(reason)
    return {place: "; ".join(found) for place, found in sorted(reasons.items())}


def _reason(name: str, low: float, high: float, trained: TrainingRange | None) -> str:
    if trained is None:
        return f"{name}: not in training"
    slack = SLACK * max(abs(trained.smallest), abs(trained.largest))
    if low < trained.smallest - slack:
        value = low
    elif high > trained.largest + slack:
        value = high
    else:
        return ""
    unit = f" {trained.unit}" if trained.unit else ""
    return f"{name}: {value:.4g}{unit}, trained on {trained.smallest:.4g} to {trained.largest:.4g}"

"""Targets with mean 0 and standard deviation 1 on the training split, and back.

Statistics are taken in float64, from the training split alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from eqattn.config import Standardization

__all__ = ["fit", "standardize", "unstandardize"]


def fit(
    values: Float[np.ndarray, "M K"], targets: Sequence[str], units: Sequence[str]
) -> tuple[Standardization, ...]:
    """Returns the constants of each column of the training split's targets, of those known.

    Example:
      >>> fit(np.array([[1.0], [3.0]]), ["gap"], ["eV"])
      (Standardization(target='gap', unit='eV', mean=2.0, scale=1.0),)

    Args:
      values: Targets of the training split, in physical units; NaN where one is not known.
      targets: Name of each column.
      units: Unit of each column.

    Raises:
      ValueError: If a column has an infinite value, no known one, or is constant, so that it has
        no scale.
    """
    constants = []
    for column, target, unit in zip(values.T.astype(np.float64), targets, units, strict=True):
        known = column[~np.isnan(column)]
        if not known.size:
            raise ValueError(f"targets: {target!r} is not known of any training example.")
        with np.errstate(all="ignore"):  # what overflows is named below
            mean, scale = float(np.mean(known)), float(np.std(known))
        if not np.isfinite(mean + scale):
            raise ValueError(f"targets: {target!r} has values that are not finite.")
        if scale <= 1e-12 * max(1.0, abs(mean)):
            raise ValueError(
                f"targets: {target!r} is constant over the training split ({mean:g} {unit}), "
                "so there is nothing to learn."
            )
        constants.append(Standardization(target, unit, mean, scale))
    return tuple(constants)


def standardize(
    values: Float[np.ndarray, "*B K"], constants: Sequence[Standardization]
) -> Float[np.ndarray, "*B K"]:
    """Returns ``(value - mean) / scale``, computed in float64, as float32.

    What float32 cannot hold becomes infinite, without a warning; callers check.

    Args:
      values: Targets in physical units.
      constants: Standardization of each column.
    """
    mean, scale = _columns(constants)
    with np.errstate(all="ignore"):
        return ((np.asarray(values, np.float64) - mean) / scale).astype(np.float32)


def unstandardize(
    values: Float[np.ndarray, "*B K"], constants: Sequence[Standardization]
) -> Float[np.ndarray, "*B K"]:
    """Returns ``value * scale + mean``, in float64: predictions in physical units.

    Args:
      values: Standardized targets or predictions.
      constants: Standardization of each column.
    """
    mean, scale = _columns(constants)
    return np.asarray(values, np.float64) * scale + mean


def _columns(constants: Sequence[Standardization]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([c.mean for c in constants]), np.array([c.scale for c in constants])

"""What of springs is compared with the training examples of a run: particles and their states."""

from __future__ import annotations

import numpy as np

from eqattn.tasks.ranges import Quantity
from eqattn.typing import Float

__all__ = ["spring_quantities"]


def spring_quantities(
    positions: Float[np.ndarray, "M T N 2"],
    momenta: Float[np.ndarray, "M T N 2"],
    masses: Float[np.ndarray, "M N"],
    spring_constants: Float[np.ndarray, "M N"],
    *,
    knows_origin: bool,
) -> tuple[Quantity, ...]:
    """Returns the number of particles, their constants, and the sizes of their states.

    Args:
        positions: Of the particles, at any number of times.
        momenta: Of the particles, at the same times.
        masses: Of the particles.
        spring_constants: Of the particles.
        knows_origin: Whether the model sees where the particles are, and not only how they lie to
            each other.
    """
    count = np.full(len(masses), float(masses.shape[1]))
    first, second = np.triu_indices(masses.shape[1], k=1)
    away, apart = np.empty((2, len(masses))), np.full((2, len(masses)), np.nan)
    for system, states in enumerate(positions):  # one by one: all pairs at once would be large
        middle = 0.0 if knows_origin else states.mean(axis=1, keepdims=True)
        lengths = _lengths(states - middle)
        away[:, system] = lengths.min(), lengths.max()
        if first.size:
            lengths = _lengths(states[:, first] - states[:, second])
            apart[:, system] = lengths.min(), lengths.max()
    whence = "the origin" if knows_origin else "the middle"
    return (
        Quantity("particles", "", count, count),
        _quantity("mass", masses),
        _quantity("spring constant", spring_constants),
        _quantity("momentum", _lengths(momenta)),
        Quantity(f"distance from {whence}", "", *away),
        Quantity("distance of two particles", "", *apart),
    )


def _lengths(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(np.sum(vectors**2, axis=-1))


def _quantity(name: str, values: np.ndarray) -> Quantity:
    rows = values.reshape(len(values), -1)
    return Quantity(name, "", rows.min(axis=1), rows.max(axis=1))

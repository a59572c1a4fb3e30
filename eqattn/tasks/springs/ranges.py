"""What of springs is compared with the training examples of a run: particles and their states."""

from __future__ import annotations

import numpy as np

from eqattn.models import ModelConfig
from eqattn.tasks.core.ranges import Quantity
from eqattn.tasks.springs.data import Springs
from eqattn.tasks.springs.models import knows_origin
from eqattn.tasks.springs.states import SpringStates

__all__ = ["spring_quantities"]


def spring_quantities(systems: Springs | SpringStates, model: ModelConfig) -> tuple[Quantity, ...]:
    """Returns the number of particles, their constants, and the sizes of their states.

    Args:
      systems: Trajectories, or states at one time.
      model: Says whether the network sees where particles are, or only how they lie to each
        other.
    """
    masses, constants = systems.masses, systems.spring_constants
    positions = systems.positions.reshape(len(masses), -1, *systems.positions.shape[-2:])
    count = np.full(len(masses), float(masses.shape[1]))
    first, second = np.triu_indices(masses.shape[1], k=1)
    away, apart = np.empty((2, len(masses))), np.full((2, len(masses)), np.nan)
    for system, states in enumerate(positions):  # one by one: all pairs at once would be large
        middle = 0.0 if knows_origin(model) else states.mean(axis=1, keepdims=True)
        lengths = _lengths(states - middle)
        away[:, system] = lengths.min(), lengths.max()
        if first.size:
            lengths = _lengths(states[:, first] - states[:, second])
            apart[:, system] = lengths.min(), lengths.max()
    whence = "the origin" if knows_origin(model) else "the middle"
    return (
        Quantity("particles", "", count, count),
        _quantity("mass", masses),
        _quantity("spring constant", constants),
        _quantity("momentum", _lengths(systems.momenta)),
        Quantity(f"distance from {whence}", "", *away),
        Quantity("distance of two particles", "", *apart),
    )


def _lengths(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(np.sum(vectors**2, axis=-1))


def _quantity(name: str, values: np.ndarray) -> Quantity:
    rows = values.reshape(len(values), -1)
    return Quantity(name, "", rows.min(axis=1), rows.max(axis=1))

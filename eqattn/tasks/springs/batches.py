"""Batches of trajectories of springs.

A batch is a dict of arrays of B trajectories:

* ``chunk`` [B, T, 6, 4]: T consecutive states (positions, then momenta);
* ``features`` [B, 6, 2]: masses and spring constants;
* ``id`` [B] int32, which keys what is sampled for a trajectory;
* in evaluation also ``start`` [B, 100, 6, 4], the first hundred states, and ``weight`` [B] float32:
  0 for the rows that merely fill the last batch.

In training each trajectory gives one chunk at a random place, anew for every batch; in evaluation
the place of its chunk is random too, but always the same.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int

from eqattn.data.streams import (
    Batch,
    Rows,
    batches_once,
    endless_batches,
    int32_ids,
    random_state,
)
from eqattn.tasks.springs.data import NUM_TIMES, Springs

if TYPE_CHECKING:
    import grain

CHUNK_LENGTH = 5
"""States of a chunk, the first included."""
ROLL_OUT_LENGTH = 100
"""States of a long roll-out, the first included."""


def training_batches(
    systems: Springs, *, batch_size: int, seed: int = 0, dtype: npt.DTypeLike = np.float32
) -> "grain.MapDataset[Batch]":
    """Returns endless batches of chunks that depend on the seed alone.

    Every trajectory comes once in a pass. ``batches[step]`` gives any batch at once: to resume
    exactly, go on with the next step.

    Args:
      systems: Trajectories to train on.
      batch_size: Trajectories in a batch.
      seed: Seed of the order and of the places of the chunks, not negative.
      dtype: Data type of the states and features.

    Raises:
      ValueError: If a number is out of range, or there are no trajectories.
    """

    def gather(rows: Rows, index: int) -> Batch:
        random = random_state(seed, index)
        places = random.randint(0, NUM_TIMES - CHUNK_LENGTH + 1, batch_size)
        return _gather(systems, rows, places, dtype)

    return endless_batches(gather, len(systems), batch_size=batch_size, seed=seed)


def evaluation_batches(
    systems: Springs, *, batch_size: int, dtype: npt.DTypeLike = np.float32
) -> Iterator[Batch]:
    """Returns batches of every trajectory once, with the two roll-outs that it is scored by.

    Args:
      systems: Trajectories to score.
      batch_size: Trajectories in a batch; the last one is filled up.
      dtype: Data type of the states and features.

    Raises:
      ValueError: If ``batch_size`` is not positive, or there are no trajectories.
    """
    places = np.array([_place(int(number)) for number in systems.ids])

    def gather(rows: Rows) -> Batch:
        start = _states(systems, rows, np.zeros(len(rows), int), ROLL_OUT_LENGTH)
        return _gather(systems, rows, places[rows], dtype) | {"start": start.astype(dtype)}

    return batches_once(gather, len(systems), batch_size=batch_size)


def _place(number: int) -> int:
    """Returns where the chunk of evaluation begins in the trajectory of this number."""
    return random_state(number).randint(0, NUM_TIMES - CHUNK_LENGTH + 1)


def _gather(
    systems: Springs, rows: Int[np.ndarray, "B"], places: Int[np.ndarray, "B"], dtype: npt.DTypeLike
) -> Batch:
    features = np.stack([systems.masses[rows], systems.spring_constants[rows]], axis=-1)
    return {
        "chunk": _states(systems, rows, places, CHUNK_LENGTH).astype(dtype),
        "features": features.astype(dtype),
        "id": int32_ids(systems.ids[rows]),
    }


def _states(
    systems: Springs, rows: Int[np.ndarray, "B"], places: Int[np.ndarray, "B"], length: int
) -> Float[np.ndarray, "B T 6 4"]:
    at = places[:, None] + np.arange(length)
    return np.concatenate(
        [systems.positions[rows[:, None], at], systems.momenta[rows[:, None], at]], axis=-1
    )

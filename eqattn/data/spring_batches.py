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

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int

from eqattn.checks import check_sizes
from eqattn.data.batches import int32_ids, order_of_pass
from eqattn.data.springs import NUM_TIMES, Springs

if TYPE_CHECKING:
    import grain

CHUNK_LENGTH = 5
"""States of a chunk, the first included."""
ROLL_OUT_LENGTH = 100
"""States of a long roll-out, the first included."""

Batch = dict[str, np.ndarray]


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
    import grain  # not needed to evaluate, and slow to import

    check_sizes({"batch_size": batch_size, "len(systems)": len(systems)})
    check_sizes({"seed": seed}, minimum=0)
    return grain.MapDataset.source(_EndlessChunks(systems, batch_size, seed, dtype))


def evaluation_batches(
    systems: Springs, *, batch_size: int, dtype: npt.DTypeLike = np.float32
) -> Iterator[Batch]:
    """Yields every trajectory once, with the two roll-outs that it is scored by.

    Args:
        systems: Trajectories to score.
        batch_size: Trajectories in a batch; the last one is filled up.
        dtype: Data type of the states and features.

    Raises:
        ValueError: If ``batch_size`` is not positive, or there are no trajectories.
    """
    check_sizes({"batch_size": batch_size, "len(systems)": len(systems)})
    places = np.array([_place(int(number)) for number in systems.ids])
    last = len(systems) - 1
    for begin in range(0, last + 1, batch_size):
        rows = np.arange(begin, begin + batch_size)
        kept = np.minimum(rows, last)
        start = _states(systems, kept, np.zeros(batch_size, int), ROLL_OUT_LENGTH)
        batch = _gather(systems, kept, places[kept], dtype)
        yield batch | {
            "start": start.astype(dtype),
            "weight": (rows <= last).astype(np.float32),
        }


class _EndlessChunks:
    """A random-access source of the batches of training."""

    def __init__(self, systems: Springs, batch_size: int, seed: int, dtype: npt.DTypeLike):
        self._systems, self._batch_size = systems, batch_size
        self._seed, self._dtype = seed, dtype

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: int) -> Batch:
        size = len(self._systems)
        numbers = np.arange(index * self._batch_size, (index + 1) * self._batch_size)
        passes, within = np.divmod(numbers, size)
        orders = {
            number: order_of_pass(size, self._seed, number) for number in set(passes.tolist())
        }
        rows = np.array(
            [orders[p][i] for p, i in zip(passes.tolist(), within.tolist(), strict=True)]
        )
        random = np.random.RandomState(
            np.random.SeedSequence((self._seed, index)).generate_state(4)
        )
        places = random.randint(0, NUM_TIMES - CHUNK_LENGTH + 1, self._batch_size)
        return _gather(self._systems, rows, places, self._dtype)


def _place(number: int) -> int:
    """Returns where the chunk of evaluation begins in the trajectory of this number."""
    random = np.random.RandomState(np.random.SeedSequence((number,)).generate_state(4))
    return random.randint(0, NUM_TIMES - CHUNK_LENGTH + 1)


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

"""One source of batches for every data set: endless in training, each example once in evaluation.

A data set says how rows become a batch, and what is random in it; in what order rows come, and
what fills the last batch, is decided here.
"""

import functools
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from eqattn.checks import check_sizes

if TYPE_CHECKING:
    import grain

Batch = dict[str, np.ndarray]
Rows = Int[np.ndarray, "B"]


def endless_batches(
    gather: Callable[[Rows, int], Batch],
    num_examples: int,
    *,
    batch_size: int,
    seed: int,
    salt: int = 0,
) -> "grain.MapDataset[Batch]":
    """Returns endless batches in an order that depends on the seed alone.

    Every example comes once in a pass, and each pass has an order of its own. ``batches[step]``
    gives any batch at once: to resume exactly, go on with the next step.

    Args:
      gather: Function of the rows of a batch and its number, from which the batch is made.
      num_examples: Number of rows there are.
      batch_size: Number of rows of a batch.
      seed: Seed of the order, not negative.
      salt: Number that tells several streams of the same seed apart; 0 for a single one.

    Raises:
      ValueError: If a number is out of range.
    """
    import grain  # not needed to evaluate, and slow to import

    check_sizes({"batch_size": batch_size, "num_examples": num_examples})
    check_sizes({"seed": seed}, minimum=0)
    words = (seed, salt) if salt else (seed,)
    return grain.MapDataset.source(_EndlessBatches(gather, num_examples, batch_size, words))


def batches_once(
    gather: Callable[[Rows], Batch], num_examples: int, *, batch_size: int
) -> Iterator[Batch]:
    """Returns batches that hold each example once.

    The last one is filled with repeats of its last example, of ``weight`` 0.

    Args:
      gather: Function of the rows of a batch, from which the batch is made.
      num_examples: Number of rows there are.
      batch_size: Number of rows of a batch.

    Raises:
      ValueError: If a number is out of range.
    """
    check_sizes({"batch_size": batch_size, "num_examples": num_examples})

    def batch(begin: int) -> Batch:
        rows = np.arange(begin, begin + batch_size)
        weight = (rows < num_examples).astype(np.float32)
        return gather(np.minimum(rows, num_examples - 1)) | {"weight": weight}

    return map(batch, range(0, num_examples, batch_size))


class _EndlessBatches:
    """A random-access source of batches.

    Grain's own shuffle works row by row, and takes tens of microseconds a row where there are
    few of them; with a pass shuffled at once, batches come some 50 times faster.
    """

    def __init__(
        self,
        gather: Callable[[Rows, int], Batch],
        num_examples: int,
        batch_size: int,
        seed: tuple[int, ...],
    ):
        self._gather, self._num_examples = gather, num_examples
        self._batch_size, self._seed = batch_size, seed

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: int) -> Batch:
        begin, end = index * self._batch_size, (index + 1) * self._batch_size
        rows = []
        while begin < end:  # a batch may reach into the next pass, or over many short ones
            number, place = divmod(begin, self._num_examples)
            order = order_of_pass(self._num_examples, *self._seed, number)
            rows.append(order[place : place + end - begin])
            begin += len(rows[-1])
        return self._gather(np.concatenate(rows), index)


@functools.lru_cache(maxsize=16)
def order_of_pass(size: int, *seed: int) -> Int[np.ndarray, "_"]:
    """Returns a permutation of ``range(size)`` that depends on the seed alone; not writable."""
    order = random_state(*seed).permutation(size)
    order.flags.writeable = False  # shared by all who ask
    return order


def random_state(*words: int) -> np.random.RandomState:
    """Returns a source of random numbers that depends on a few numbers alone.

    Args:
      *words: The numbers, not negative.
    """
    # RandomState, because its streams are the same in every version of numpy.
    return np.random.RandomState(np.random.SeedSequence(words).generate_state(4))


def int32_ids(ids: Int[np.ndarray, "M"]) -> Int[np.ndarray, "M"]:
    """Returns ids as batches carry them; draws are keyed by them, so that none may become another.

    Args:
      ids: Ids of examples.

    Raises:
      ValueError: If one does not fit into int32.
    """
    if len(ids) and (ids.min() < 0 or ids.max() > np.iinfo(np.int32).max):
        wrong = ids.min() if ids.min() < 0 else ids.max()
        raise ValueError(f"ids must be from 0 to {np.iinfo(np.int32).max}, got {wrong}.")
    return ids.astype(np.int32)

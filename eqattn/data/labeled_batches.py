"""Batches of labeled clouds of points: shapes, constellations, images.

A batch is a dict of arrays of B examples padded to N points in D dimensions:

* ``points`` [B, N, D] float32, zeros at padding;
* ``features`` [B, N, C] float32, zeros at padding;
* ``mask`` [B, N] bool, true where there is a point;
* ``labels`` [B] int32, or [B, L] where an example has L labels;
* ``id`` [B] int32, which keys what is sampled for an example;
* in evaluation also ``weight`` [B] float32: 0 for the rows that merely fill the last batch.

Each example is moved by a random motion of its own (`eqattn.data.motions`): in training by a new
one in every batch, in evaluation by one that depends on its id and a seed, and so is always the
same, whatever it is batched with.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from jaxtyping import Int

from eqattn.checks import check_sizes
from eqattn.data.motions import RandomMotion, move
from eqattn.data.streams import (
    Batch,
    Rows,
    batches_once,
    endless_batches,
    int32_ids,
    random_state,
)

if TYPE_CHECKING:
    import grain

_TRAINING, _EVALUATION = 0, 1  # apart, so that no motion of a test is one of the training


@runtime_checkable
class LabeledClouds(Protocol):
    """M labeled clouds of points, gathered some at a time."""

    @property
    def ids(self) -> Int[np.ndarray, "M"]:
        """Number of each example, at most 2³¹ - 1."""
        ...

    def __len__(self) -> int: ...

    def gather(self, rows: Int[np.ndarray, "B"]) -> Batch:
        """Returns ``points``, ``features``, ``mask`` and ``labels`` of these examples."""
        ...


def training_batches(
    clouds: LabeledClouds,
    *,
    batch_size: int,
    seed: int = 0,
    motion: RandomMotion | None = None,
    dtype: npt.DTypeLike = np.float32,
) -> "grain.MapDataset[Batch]":
    """Returns endless batches that depend on the seed alone.

    Every example comes once in a pass. ``batches[step]`` gives any batch at once: to resume
    exactly, go on with the next step.

    Args:
      clouds: Examples to train on.
      batch_size: Examples in a batch.
      seed: Seed of the order and of the motions, not negative.
      motion: What moves each example, drawn anew for every batch; None leaves them in place.
      dtype: Data type of the points and features.

    Raises:
      ValueError: If a number is out of range, there are no examples, or the motion is not one
        of their dimension.
    """
    check_sizes({"seed": seed}, minimum=0)
    motion = motion or RandomMotion()

    def gather(rows: Rows, index: int) -> Batch:
        batch = clouds.gather(rows)
        random, dimension = random_state(_TRAINING, seed, index), batch["points"].shape[-1]
        return _finish(clouds, rows, batch, *motion.sample(random, len(rows), dimension), dtype)

    batches = endless_batches(gather, len(clouds), batch_size=batch_size, seed=seed)
    batches[0]  # a motion of another dimension is an error here, not in a worker
    return batches


def evaluation_batches(
    clouds: LabeledClouds,
    *,
    batch_size: int,
    seed: int = 0,
    motion: RandomMotion | None = None,
    dtype: npt.DTypeLike = np.float32,
) -> Iterator[Batch]:
    """Returns batches of every example once, moved in a way that its id and the seed decide.

    Args:
      clouds: Examples to score.
      batch_size: Examples in a batch; the last one is filled up.
      seed: Seed of the motions, not negative: another one moves every example anew.
      motion: What moves each example; None leaves them in place.
      dtype: Data type of the points and features.

    Raises:
      ValueError: If a number is out of range, there are no examples, or the motion is not one
        of their dimension.
    """
    check_sizes({"seed": seed}, minimum=0)
    motion = motion or RandomMotion()

    def gather(rows: Rows) -> Batch:
        batch = clouds.gather(rows)
        dimension = batch["points"].shape[-1]
        motions = [
            motion.sample(random_state(_EVALUATION, seed, number), 1, dimension)
            for number in clouds.ids[rows].tolist()
        ]
        matrices, shifts = (np.concatenate(parts) for parts in zip(*motions, strict=True))
        return _finish(clouds, rows, batch, matrices, shifts, dtype)

    return batches_once(gather, len(clouds), batch_size=batch_size)


def _finish(
    clouds: LabeledClouds,
    rows: Int[np.ndarray, "B"],
    batch: Batch,
    matrices: np.ndarray,
    shifts: np.ndarray,
    dtype: npt.DTypeLike,
) -> Batch:
    points = move(batch["points"], batch["mask"], matrices, shifts)
    return {
        "points": points.astype(dtype),
        "features": batch["features"].astype(dtype),
        "mask": batch["mask"],
        "labels": batch["labels"].astype(np.int32),
        "id": int32_ids(clouds.ids[rows]),
    }

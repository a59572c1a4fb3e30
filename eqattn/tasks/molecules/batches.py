"""Batches of molecules, padded to a few sizes so that few shapes are compiled.

A batch is a dict of arrays of B molecules padded to N points:

* ``points`` [B, N, 3] float32 in ångström, from the centroid of the molecule; zeros at padding;
* ``features`` [B, N, 15] float32 (`eqattn.tasks.molecules.features`), zeros at padding;
* ``mask`` [B, N] bool, true where there is an atom;
* ``targets`` [B, K] float32, 0 where one is not known;
* ``known`` [B, K] bool, true where a target is known;
* ``id`` [B] int32, which keys what is sampled for a molecule;
* ``weight`` [B] float32, in evaluation only: 0 for the rows that merely fill the last batch.

Molecules are padded once to their bucket; a batch is then a few array look-ups.

A batch costs as many pairs of points as it has rows, times the square of their length. So buckets
of large molecules have fewer rows: as many as ``max_pairs`` allows, and at least one. In training
they then come more often, so that every molecule still comes once in a pass.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from eqattn.checks import check_sizes
from eqattn.data.streams import Batch, Rows, batches_once, endless_batches, int32_ids
from eqattn.tasks.molecules.data import Molecules, features

if TYPE_CHECKING:
    import grain

MEDIAN_BATCHES = 4
"""The costliest batch costs at most so many batches of molecules of the median bucket."""


def pad(molecules: Molecules, num_points: int, *, center: bool = True) -> Batch:
    """Returns the molecules as equally long rows, padded with zeros.

    Args:
      molecules: M molecules of at most ``num_points`` atoms.
      num_points: Length N of a row.
      center: Whether points are counted from the centroid of their molecule, before they are
        cast to float32. A model that knows no translations may want them as they are.

    Returns:
      ``points`` [M, N, 3] float32, ``numbers`` [M, N] uint8 and ``mask`` [M, N] bool.

    Raises:
      ValueError: If a molecule has more than ``num_points`` atoms.
    """
    if len(molecules) and molecules.num_atoms.max() > num_points:
        raise ValueError(
            f"num_points={num_points} is less than the {molecules.num_atoms.max()} atoms of the "
            "largest molecule."
        )
    mask = np.arange(num_points) < molecules.num_atoms[:, None]
    points = np.zeros((*mask.shape, 3), np.float32)
    numbers = np.zeros(mask.shape, np.uint8)
    points[mask] = molecules.centered_positions() if center else molecules.positions
    numbers[mask] = molecules.numbers
    return {"points": points, "numbers": numbers, "mask": mask}


def choose_buckets(num_atoms: Int[np.ndarray, "M"], num_buckets: int = 3) -> tuple[int, ...]:
    """Returns the sizes to pad to that cost attention least: the sum of squares is minimal.

    Example:
      >>> choose_buckets(np.array([5, 5, 6, 18, 19, 29]))
      (6, 19, 29)

    Args:
      num_atoms: Atoms of each molecule.
      num_buckets: How many sizes at most.

    Returns:
      Increasing sizes; the last one is that of the largest molecule.

    Raises:
      ValueError: If there are no molecules or no buckets.
    """
    num_atoms = np.asarray(num_atoms)
    if num_atoms.size == 0:
        raise ValueError("num_atoms: there are no molecules to choose buckets for.")
    if num_buckets < 1:
        raise ValueError(f"num_buckets must be at least 1, got {num_buckets}.")
    sizes, counts = np.unique(num_atoms, return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)])  # molecules of the sizes before each
    # best[j]: least cost, and its buckets, of the sizes 0..j-1 with the buckets allowed so far
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())] + [(np.inf, ())] * len(sizes)
    for _ in range(min(num_buckets, len(sizes))):
        best = [best[0]] + [
            min(
                (best[i][0] + float(below[j] - below[i]) * float(size) ** 2, (*best[i][1], size))
                for i in range(j)
            )
            for j, size in enumerate(sizes.tolist(), start=1)
        ]
    return best[-1][1]


def choose_max_pairs(
    num_atoms: Int[np.ndarray, "M"], buckets: Sequence[int], batch_size: int
) -> int:
    """Returns how many pairs of points a batch may have: four times those of a median one.

    Example:
      >>> choose_max_pairs(np.array([5] * 200 + [1200]), (5, 1200), batch_size=32)
      3200

    Args:
      num_atoms: Atoms of each molecule.
      buckets: Sizes to pad to; the last one is at least that of the largest molecule.
      batch_size: Molecules in a batch, where they are not too large.
    """
    sizes = np.sort(np.asarray(buckets))
    padded = np.sort(sizes[np.searchsorted(sizes, num_atoms)])
    return MEDIAN_BATCHES * batch_size * int(padded[len(padded) // 2]) ** 2


def training_batches(
    molecules: Molecules,
    targets: Float[np.ndarray, "M K"],
    *,
    batch_size: int,
    buckets: Sequence[int] = (),
    max_pairs: int | None = None,
    seed: int = 0,
) -> "grain.MapDataset[Batch]":
    """Returns endless batches in an order that depends on the seed alone.

    Each batch comes from one bucket, so there is one shape for each bucket. A bucket is shuffled
    anew for each pass over it, every molecule comes once in a pass, and the buckets take turns in
    proportion to their numbers of molecules. ``batches[step]`` gives any batch at once: to
    resume exactly, go on with the next step.

    Args:
      molecules: The M molecules to train on.
      targets: What to predict for each, such as standardized columns of `Molecules.targets`;
        NaN where that is not known.
      batch_size: Molecules in a batch; fewer where they are large.
      buckets: Sizes to pad to; by default those of `choose_buckets`.
      max_pairs: Most pairs of points in a batch; by default those of `choose_max_pairs`.
      seed: Seed of the order, not negative.

    Returns:
      Batches as the module describes them.

    Raises:
      ValueError: If an argument is out of range, or the largest molecule fits in no bucket.
    """
    import grain  # not needed to read or to evaluate data, and slow to import

    tables = _bucket_tables(molecules, targets, batch_size, buckets, max_pairs)
    turns = [
        endless_batches(
            functools.partial(_gather, table),
            len(table["id"]),
            batch_size=rows,
            seed=seed,
            salt=table["mask"].shape[1],
        )
        for table, rows in tables
    ]
    weights = [len(table["id"]) * (batch_size / rows) for table, rows in tables]
    return grain.MapDataset.mix(turns, weights=weights)


def batch_of_each_shape(
    molecules: Molecules,
    targets: Float[np.ndarray, "M K"],
    *,
    batch_size: int,
    buckets: Sequence[int] = (),
    max_pairs: int | None = None,
) -> list[Batch]:
    """Returns a batch of each shape that :func:`training_batches` gives; arguments are the same."""
    return [
        _gather(table, np.arange(rows) % len(table["id"]))
        for table, rows in _bucket_tables(molecules, targets, batch_size, buckets, max_pairs)
    ]


def evaluation_batches(
    molecules: Molecules,
    targets: Float[np.ndarray, "M K"],
    *,
    batch_size: int,
    buckets: Sequence[int] = (),
    max_pairs: int | None = None,
) -> Iterator[Batch]:
    """Returns batches that hold each molecule once, bucket after bucket.

    The last batch of a bucket is filled with repeats of its last molecule, of ``weight`` 0.

    Args:
      molecules: The M molecules to evaluate.
      targets: What to predict for each; NaN where that is not known.
      batch_size: Rows of a batch; fewer where molecules are large.
      buckets: Sizes to pad to; by default those of `choose_buckets`.
      max_pairs: Most pairs of points in a batch; by default those of `choose_max_pairs`.

    Returns:
      Batches as the module describes them, with ``weight``.

    Raises:
      ValueError: If an argument is out of range, or the largest molecule fits in no bucket.
    """
    tables = _bucket_tables(molecules, targets, batch_size, buckets, max_pairs)
    return itertools.chain.from_iterable(
        batches_once(functools.partial(_gather, table), len(table["id"]), batch_size=rows)
        for table, rows in tables
    )


def _bucket_tables(
    molecules: Molecules,
    targets: Float[np.ndarray, "M K"],
    batch_size: int,
    buckets: Sequence[int],
    max_pairs: int | None,
) -> list[tuple[Batch, int]]:
    """Returns the padded molecules of each bucket, and how many make a batch; smallest first."""
    targets = np.asarray(targets)
    check_sizes({"batch_size": batch_size})
    if len(molecules) == 0:
        raise ValueError("molecules is empty.")
    if targets.ndim != 2 or len(targets) != len(molecules):
        raise ValueError(f"targets must be [{len(molecules)}, K], got {list(targets.shape)}.")
    if np.any(np.abs(targets) > np.finfo(np.float32).max):  # batches carry them as float32
        raise ValueError(
            "targets must be finite in float32, or NaN where they are not known, got "
            f"{np.nanmax(np.abs(targets)):g}."
        )
    sizes = sorted(set(buckets)) or list(choose_buckets(molecules.num_atoms))
    largest = int(molecules.num_atoms.max())
    if sizes[0] < 1 or sizes[-1] < largest:
        raise ValueError(
            f"buckets must be positive and reach the {largest} atoms of the largest molecule, "
            f"got {tuple(buckets)}."
        )
    if max_pairs is None:
        max_pairs = choose_max_pairs(molecules.num_atoms, sizes, batch_size)
    check_sizes({"max_pairs": max_pairs})
    owner = np.searchsorted(sizes, molecules.num_atoms)
    tables = []
    for bucket, size in enumerate(sizes):
        rows = np.flatnonzero(owner == bucket)
        if rows.size:
            table = pad(molecules[rows], size)
            table["known"] = ~np.isnan(targets[rows])
            table["targets"] = np.where(table["known"], targets[rows], 0).astype(np.float32)
            table["id"] = int32_ids(molecules.ids[rows])
            tables.append((table, max(1, min(batch_size, max_pairs // size**2))))
    return tables


def _gather(table: Batch, rows: Rows, index: int = 0) -> Batch:
    del index  # nothing is random in a batch
    batch = {name: array[rows] for name, array in table.items()}
    batch["features"] = features(batch.pop("numbers"))
    return batch

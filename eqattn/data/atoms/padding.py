"""Atoms padded to a few sizes, so that few shapes are compiled.

A batch costs as many pairs of points as it has rows, times the square of their length. So buckets
of large configurations have fewer rows: as many as ``max_pairs`` allows, and at least one.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from eqattn.checks import check_sizes
from eqattn.data.atoms.configurations import Configurations
from eqattn.data.streams import Batch, Rows, batches_once, endless_batches, int32_ids

if TYPE_CHECKING:
    import grain

Tables = Sequence[tuple[Batch, int]]
"""Padded configurations of each bucket, and how many of them make a batch."""
Finish = Callable[[Batch], Batch]
"""What is done to the rows that were looked up for a batch."""


MEDIAN_BATCHES = 4
"""The costliest batch costs at most so many batches of molecules of the median bucket."""


def pad(molecules: Configurations, num_points: int, *, center: bool = True) -> Batch:
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


def whole_buckets(buckets: Sequence[int], num_atoms: Int[np.ndarray, "M"]) -> tuple[int, ...]:
    """Returns the sizes to pad to, the largest of which holds the largest configuration.

    Args:
      buckets: Sizes that are asked for; without any, those of :func:`choose_buckets`.
      num_atoms: Atoms of each configuration.

    Raises:
      ValueError: If one is not positive.
    """
    sizes = buckets or choose_buckets(num_atoms)
    if min(sizes) < 1:
        raise ValueError(f"buckets must be positive, got {buckets}.")
    largest = int(num_atoms.max())
    return (*sorted(size for size in sizes if size < largest), largest)


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


def bucket_tables(
    atoms: Configurations,
    *,
    batch_size: int,
    buckets: Sequence[int] = (),
    max_pairs: int | None = None,
    rows: Mapping[str, np.ndarray],
    atom_rows: Mapping[str, np.ndarray] | None = None,
) -> list[tuple[Batch, int]]:
    """Returns the padded configurations of each bucket, and how many make a batch; smallest first.

    Args:
      atoms: M configurations of A atoms in all.
      batch_size: Configurations in a batch; fewer where they are large.
      buckets: Sizes to pad to; by default those of :func:`choose_buckets`.
      max_pairs: Most pairs of points in a batch; by default those of :func:`choose_max_pairs`.
      rows: Arrays with a row for each configuration, by name.
      atom_rows: Arrays with a row for each atom, by name; zeros at padding.

    Raises:
      ValueError: If an argument is out of range, or the largest configuration fits in no bucket.
    """
    check_sizes({"batch_size": batch_size})
    if len(atoms) == 0:
        raise ValueError("molecules is empty.")
    sizes = sorted(set(buckets)) or list(choose_buckets(atoms.num_atoms))
    largest = int(atoms.num_atoms.max())
    if sizes[0] < 1 or sizes[-1] < largest:
        raise ValueError(
            f"buckets must be positive and reach the {largest} atoms of the largest molecule, "
            f"got {tuple(buckets)}."
        )
    if max_pairs is None:
        max_pairs = choose_max_pairs(atoms.num_atoms, sizes, batch_size)
    check_sizes({"max_pairs": max_pairs})
    everything = {**rows, "id": int32_ids(atoms.ids)}
    owner = np.searchsorted(sizes, atoms.num_atoms)
    tables = []
    for bucket, size in enumerate(sizes):
        chosen = owner == bucket
        if not chosen.any():
            continue
        table = pad(atoms[np.flatnonzero(chosen)], size)
        of_chosen = np.repeat(chosen, atoms.num_atoms)
        for name, array in (atom_rows or {}).items():
            table[name] = np.zeros((*table["mask"].shape, *array.shape[1:]), array.dtype)
            table[name][table["mask"]] = array[of_chosen]
        table |= {name: array[chosen] for name, array in everything.items()}
        tables.append((table, max(1, min(batch_size, max_pairs // size**2))))
    return tables


def endless_of_buckets(
    tables: Tables, finish: Finish, *, batch_size: int, seed: int
) -> "grain.MapDataset[Batch]":
    """Returns endless batches, each of one bucket, in an order that depends on the seed alone.

    A bucket is shuffled anew for each pass over it, every configuration comes once in a pass, and
    the buckets take turns in proportion to their numbers of configurations.

    Args:
      tables: What :func:`bucket_tables` returned.
      finish: Function of the rows of a batch.
      batch_size: Configurations in a batch, where they are not too large.
      seed: Seed of the order, not negative.
    """
    import grain  # not needed to read or to evaluate data, and slow to import

    turns = [
        endless_batches(
            functools.partial(_gather, table, finish),
            len(table["id"]),
            batch_size=rows,
            seed=seed,
            salt=table["mask"].shape[1],
        )
        for table, rows in tables
    ]
    weights = [len(table["id"]) * (batch_size / rows) for table, rows in tables]
    return grain.MapDataset.mix(turns, weights=weights)


def one_of_each_bucket(tables: Tables, finish: Finish) -> list[Batch]:
    """Returns a batch of each shape that :func:`endless_of_buckets` gives."""
    return [_gather(table, finish, np.arange(rows) % len(table["id"])) for table, rows in tables]


def once_of_buckets(tables: Tables, finish: Finish) -> Iterator[Batch]:
    """Returns batches that hold each configuration once, bucket after bucket.

    The last batch of a bucket is filled with repeats of its last configuration, of ``weight`` 0.
    """
    return itertools.chain.from_iterable(
        batches_once(functools.partial(_gather, table, finish), len(table["id"]), batch_size=rows)
        for table, rows in tables
    )


def _gather(table: Batch, finish: Finish, rows: Rows, index: int = 0) -> Batch:
    del index  # nothing is random in a batch
    return finish({name: array[rows] for name, array in table.items()})

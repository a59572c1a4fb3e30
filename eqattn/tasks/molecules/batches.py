"""Batches of molecules, padded to a few sizes so that few shapes are compiled.

A batch is a dict of arrays of B molecules padded to N points:

* ``points`` [B, N, 3] float32 in ångström, from the centroid of the molecule; zeros at padding;
* ``features`` [B, N, F] float32 (`eqattn.tasks.molecules.features`), zeros at padding;
* ``mask`` [B, N] bool, true where there is an atom;
* ``targets`` [B, K], or [B, N, K] of atoms, float32, 0 where one is not known;
* ``known`` [B, K], or [B, N, K] of atoms, bool, true where a target is known;
* ``id`` [B] int32, which keys what is sampled for a molecule;
* ``weight`` [B] float32, in evaluation only: 0 for the rows that merely fill the last batch.

Molecules are padded once to their bucket; a batch is then a few array look-ups.

Buckets of large molecules have fewer rows, see :mod:`eqattn.data.atoms.padding`. In training they
come more often, so that every molecule still comes once in a pass.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from eqattn.data.atoms import Configurations
from eqattn.data.atoms.padding import (
    Finish,
    bucket_tables,
    choose_buckets,
    choose_max_pairs,
    endless_of_buckets,
    once_of_buckets,
    one_of_each_bucket,
    pad,
)
from eqattn.data.streams import Batch
from eqattn.tasks.molecules.features import features

if TYPE_CHECKING:
    import grain

__all__ = [
    "batch_of_each_shape",
    "choose_buckets",
    "choose_max_pairs",
    "evaluation_batches",
    "pad",
    "training_batches",
]


def training_batches(
    molecules: Configurations,
    targets: Float[np.ndarray, "R K"],
    *,
    batch_size: int,
    buckets: Sequence[int] = (),
    max_pairs: int | None = None,
    elements: Sequence[str] = (),
    of_atoms: bool = False,
    seed: int = 0,
) -> "grain.MapDataset[Batch]":
    """Returns endless batches in an order that depends on the seed alone.

    Each batch comes from one bucket, so there is one shape for each bucket. A bucket is shuffled
    anew for each pass over it, every molecule comes once in a pass, and the buckets take turns in
    proportion to their numbers of molecules. ``batches[step]`` gives any batch at once: to
    resume exactly, go on with the next step.

    Args:
      molecules: The M molecules to train on.
      targets: What to predict for each molecule or atom, such as standardized properties; NaN
        where that is not known.
      batch_size: Molecules in a batch; fewer where they are large.
      buckets: Sizes to pad to; by default those of `choose_buckets`.
      max_pairs: Most pairs of points in a batch; by default those of `choose_max_pairs`.
      elements: Elements of the one-hot, see `eqattn.tasks.molecules.features`.
      of_atoms: Whether targets have a row for each atom.
      seed: Seed of the order, not negative.

    Returns:
      Batches as the module describes them.

    Raises:
      ValueError: If an argument is out of range, or the largest molecule fits in no bucket.
    """
    tables = _bucket_tables(molecules, targets, batch_size, buckets, max_pairs, of_atoms)
    return endless_of_buckets(tables, _finish(elements), batch_size=batch_size, seed=seed)


def batch_of_each_shape(
    molecules: Configurations,
    targets: Float[np.ndarray, "R K"],
    *,
    batch_size: int,
    buckets: Sequence[int] = (),
    max_pairs: int | None = None,
    elements: Sequence[str] = (),
    of_atoms: bool = False,
) -> list[Batch]:
    """Returns a batch of each shape that :func:`training_batches` gives; arguments are the same."""
    tables = _bucket_tables(molecules, targets, batch_size, buckets, max_pairs, of_atoms)
    return one_of_each_bucket(tables, _finish(elements))


def evaluation_batches(
    molecules: Configurations,
    targets: Float[np.ndarray, "R K"],
    *,
    batch_size: int,
    buckets: Sequence[int] = (),
    max_pairs: int | None = None,
    elements: Sequence[str] = (),
    of_atoms: bool = False,
) -> Iterator[Batch]:
    """Returns batches that hold each molecule once, bucket after bucket.

    The last batch of a bucket is filled with repeats of its last molecule, of ``weight`` 0.

    Args:
      molecules: The M molecules to evaluate.
      targets: What to predict for each molecule or atom; NaN where that is not known.
      batch_size: Rows of a batch; fewer where molecules are large.
      buckets: Sizes to pad to; by default those of `choose_buckets`.
      max_pairs: Most pairs of points in a batch; by default those of `choose_max_pairs`.
      elements: Elements of the one-hot, see `eqattn.tasks.molecules.features`.
      of_atoms: Whether targets have a row for each atom.

    Returns:
      Batches as the module describes them, with ``weight``.

    Raises:
      ValueError: If an argument is out of range, or the largest molecule fits in no bucket.
    """
    tables = _bucket_tables(molecules, targets, batch_size, buckets, max_pairs, of_atoms)
    return once_of_buckets(tables, _finish(elements))


def _bucket_tables(
    molecules: Configurations,
    targets: Float[np.ndarray, "R K"],
    batch_size: int,
    buckets: Sequence[int],
    max_pairs: int | None,
    of_atoms: bool,
) -> list[tuple[Batch, int]]:
    """Returns the padded molecules of each bucket, and how many make a batch; smallest first."""
    targets = np.asarray(targets)
    num = len(molecules.numbers) if of_atoms else len(molecules)
    if targets.ndim != 2 or len(targets) != num:
        raise ValueError(f"targets must be [{num}, K], got {list(targets.shape)}.")
    if np.any(np.abs(targets) > np.finfo(np.float32).max):  # batches carry them as float32
        raise ValueError(
            "targets must be finite in float32, or NaN where they are not known, got "
            f"{np.nanmax(np.abs(targets)):g}."
        )
    known = ~np.isnan(targets)
    labels = {"known": known, "targets": np.where(known, targets, 0).astype(np.float32)}
    return bucket_tables(
        molecules,
        batch_size=batch_size,
        buckets=buckets,
        max_pairs=max_pairs,
        rows={} if of_atoms else labels,
        atom_rows=labels if of_atoms else {},
    )


def _finish(elements: Sequence[str]) -> Finish:
    def finish(batch: Batch) -> Batch:
        batch["features"] = features(batch.pop("numbers"), elements)
        return batch

    return finish

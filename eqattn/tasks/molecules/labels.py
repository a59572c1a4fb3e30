"""Labels of molecules, some of which may not be known: NaN in the data, without loss or score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np

from eqattn.tasks.core.task import Batch
from eqattn.typing import Array, Bool, Float, Int

__all__ = ["absolute_errors", "check_finite", "check_known", "count_unknown"]


def absolute_errors(
    prediction: Float[Array, "B K"], batch: Batch
) -> tuple[Float[Array, "B K"], Bool[Array, "B K"]]:
    """Returns absolute errors, 0 where the target is not known, and where it is.

    Args:
      prediction: Standardized predictions.
      batch: A batch with "targets" and "known".
    """
    known = jnp.asarray(batch["known"])
    return jnp.where(known, jnp.abs(prediction - batch["targets"]), 0), known


def count_unknown(
    known: Bool[np.ndarray, "M K"], parts: Mapping[str, np.ndarray], targets: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Returns how many labels of each split and target are not known, where any is not.

    Args:
      known: Marks the labels that are known.
      parts: Indices of each split.
      targets: Name of each column.
    """
    counts = {name: np.sum(~known[indices], axis=0).tolist() for name, indices in parts.items()}
    by_target = {
        name: {target: count for target, count in zip(targets, row, strict=True) if count}
        for name, row in counts.items()
    }
    return {name: row for name, row in by_target.items() if row}


def check_known(
    values: Float[np.ndarray, "M K"], parts: Mapping[str, np.ndarray], targets: Sequence[str]
) -> None:
    """Raises unless each target is known of some molecule of each split.

    Args:
      values: Targets; NaN where one is not known.
      parts: Indices of each split.
      targets: Name of each column.

    Raises:
      ValueError: For a target and a split without a known value.
    """
    for name, indices in parts.items():
        for target, column in zip(targets, values[indices].T, strict=True):
            if np.isnan(column).all():
                raise ValueError(
                    f"targets: {target!r} is not known of any of the {len(indices)} molecules of "
                    f"the {name} split (NaN)."
                )


def check_finite(
    numbers: Float[np.ndarray, "M K"],
    values: Float[np.ndarray, "M K"],
    targets: Sequence[str],
    ids: Int[np.ndarray, " M"],
) -> None:
    """Raises unless the numbers made from the values that are known are finite in float32.

    Args:
      numbers: What was made from the values.
      values: Targets in physical units; NaN where one is not known.
      targets: Name of each column.
      ids: Number of each molecule, for the message.

    Raises:
      ValueError: For the first that is not finite.
    """
    bad = np.argwhere(~(np.abs(numbers) <= np.finfo(np.float32).max) & ~np.isnan(values))
    if bad.size:
        row, column = bad[0]
        raise ValueError(
            f"targets: {targets[column]!r} of molecule {ids[row]} is {values[row, column]:g}, "
            "which is not finite in float32 (or becomes so when standardized)."
        )

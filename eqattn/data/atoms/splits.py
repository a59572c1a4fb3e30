"""Whole trajectories for training, for validation and for the test.

Frames of a trajectory that lie between others of it would be easy to predict.
"""

import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from eqattn.data.atoms.configurations import Configurations
from eqattn.data.streams import random_state

SPLITS = ("train", "validation", "test")
TRAJECTORY = "trajectory"
"""Name of the property that numbers trajectories."""


def trajectory_numbers(configurations: Configurations) -> Float[np.ndarray, "M"] | None:
    """Returns the number of the trajectory of each configuration; None where a file does not say.

    Args:
      configurations: All configurations of a data set.

    Raises:
      ValueError: If it is not one number of each.
    """
    numbers = configurations.properties.get(TRAJECTORY)
    if numbers is not None and numbers.ndim != 1:
        raise ValueError(
            f"{TRAJECTORY!r} must be one number of each configuration, "
            f"got {list(numbers.shape[1:])}."
        )
    return numbers


def split_trajectories(
    numbers: Float[np.ndarray, "M"], source: str | os.PathLike[str]
) -> dict[str, Int[np.ndarray, "_"]]:
    """Returns which configurations are for training, for validation and for the test.

    A tenth of the trajectories are for validation and a tenth for the test, at least one each,
    drawn by a fixed seed.

    Args:
      numbers: Number of the trajectory of each configuration.
      source: Where they come from, for the message.

    Returns:
      Indices under "train", "validation" and "test".

    Raises:
      ValueError: If there are fewer than three trajectories.
    """
    num = len(np.unique(numbers))
    if num < len(SPLITS):
        raise ValueError(f"{source}: {num} trajectories cannot be split in three.")
    tenth = max(1, round(num / 10))
    order = random_state(0).permutation(num)
    return split_in_order(numbers, order, (num - 2 * tenth, tenth, tenth))


def split_in_order(
    numbers: Float[np.ndarray, "M"], order: Int[np.ndarray, "_"], sizes: Sequence[int]
) -> dict[str, Int[np.ndarray, "_"]]:
    """Returns the configurations of the first trajectories, of the next, and of the last.

    Args:
      numbers: Number of the trajectory of each configuration.
      order: Order in which trajectories are taken, counted by their numbers from 0.
      sizes: How many are for training, for validation and for the test.
    """
    _, owners = np.unique(numbers, return_inverse=True)
    parts = np.split(order, np.cumsum(sizes)[:-1])
    return {
        name: np.flatnonzero(np.isin(owners, part))
        for name, part in zip(SPLITS, parts, strict=True)
    }

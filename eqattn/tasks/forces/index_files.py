"""Splits that files say, such as those of revised MD17 (doi:10.6084/m9.figshare.12672038)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from jaxtyping import Int

__all__ = ["read_index", "split_by_files"]

VALIDATION_SHARE = 20
"""One in so many of the configurations to learn from is for validation."""


def split_by_files(
    num_configurations: int,
    train_index: str | os.PathLike[str],
    test_index: str | os.PathLike[str] | None = None,
) -> dict[str, Int[np.ndarray, " _"]]:
    """Returns which configurations are for training, for validation and for the test.

    Of those to learn from the last twentieth is for validation: 950 and 50 of 1,000, as usual.

    Args:
      num_configurations: Configurations of the data set.
      train_index: File with the numbers of those to learn from.
      test_index: File with the numbers of the test; None for all that are in no other split.

    Returns:
      Indices under "train", "validation" and "test".

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If a file does not hold such numbers, or a number is in both.
    """
    learned = read_index(train_index, num_configurations)
    if len(learned) < 2:
        raise ValueError(f"{train_index}: {len(learned)} configuration cannot be split in two.")
    if test_index is None:
        test = np.setdiff1d(np.arange(num_configurations), learned)
    else:
        test = read_index(test_index, num_configurations)
        shared = np.intersect1d(learned, test)
        if shared.size:
            raise ValueError(f"{test_index}: configuration {shared[0]} is in {train_index}, too.")
    if not test.size:
        raise ValueError(f"{train_index}: no configuration is left for the test.")
    num_validation = max(1, len(learned) // VALIDATION_SHARE)
    return {
        "train": learned[:-num_validation],
        "validation": learned[-num_validation:],
        "test": test,
    }


def read_index(path: str | os.PathLike[str], num_configurations: int) -> Int[np.ndarray, " _"]:
    """Returns the numbers of configurations in a text file, one in each line.

    Args:
      path: The file.
      num_configurations: Configurations of the data set, which are counted from 0.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If a line is no number of a configuration, or comes twice.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no file of numbers of configurations at {path}.")
    numbers: dict[int, int] = {}
    for line, text in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n"), 1):
        if not text.strip():
            continue
        if not text.strip().isdecimal() or int(text) >= num_configurations:
            raise ValueError(
                f"{path}:{line}: must be a number from 0 to {num_configurations - 1}, "
                f"got {text.strip()[:40]!r}."
            )
        if int(text) in numbers:
            raise ValueError(f"{path}:{line}: {int(text)} is in line {numbers[int(text)]}, too.")
        numbers[int(text)] = line
    if not numbers:
        raise ValueError(f"{path} holds no numbers of configurations.")
    return np.array(list(numbers))

"""Reads the arrays of an npz file, whatever is wrong with it."""

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.lib.format import MAGIC_PREFIX

_LARGEST_ID = np.iinfo(np.int32).max  # batches carry ids as int32
# What numpy and zipfile raise, depending on which byte is wrong.
_DAMAGE = (
    *(EOFError, OSError, ValueError, TypeError, KeyError, SyntaxError, MemoryError, OverflowError),
    *(RuntimeError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


def read_archive(path: Path, content: str) -> dict[str, np.ndarray]:
    """Returns the arrays of an npz file by name.

    Args:
      path: A file that exists.
      content: What it is to hold, for messages, such as "molecules".

    Raises:
      ValueError: If it is not such a file, is damaged, or holds anything but arrays of numbers
        and text.
    """
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as opened:
                is_array = opened.read(len(MAGIC_PREFIX)) == MAGIC_PREFIX
            kind = "one array" if is_array else "something else"
            raise ValueError(f"it is {kind}, not an npz archive")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except _DAMAGE as error:
        reason = "it holds Python objects" if "allow_pickle" in str(error) else str(error)
        raise ValueError(
            f"{path} cannot be read as an npz file of {content}: {reason or 'it is damaged'}."
        ) from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise ValueError(
                f"{path} cannot be read as an npz file of {content}: {name!r} is not an array."
            )
    return arrays


def check_names(
    path: Path, arrays: Mapping[str, np.ndarray], needed: Sequence[str], optional: Sequence[str]
) -> None:
    """Raises a ValueError unless a file has all arrays that it needs, and no unknown one.

    An unknown one may be a misspelt name, for which the default would be taken without a word.

    Args:
      path: The file, for messages.
      arrays: What it holds.
      needed: Names of arrays that must be there.
      optional: Names of arrays that may be there.
    """
    held = ", ".join(sorted(arrays)) or "none"
    for name in needed:
        if name not in arrays:
            raise ValueError(f"{path} has no array {name!r}; it needs {needed}, has {held}.")
    unknown = sorted(arrays.keys() - {*needed, *optional})
    if unknown:
        raise ValueError(
            f"{path} has an unknown array {unknown[0]!r}; known are "
            f"{', '.join(dict.fromkeys((*needed, *optional)))}."
        )


def check_ids(path: Path, ids: np.ndarray) -> None:
    """Raises a ValueError unless the ids of a file are different integers that fit into int32.

    Args:
      path: The file, for messages.
      ids: Identifiers, one or more.
    """
    if ids.dtype.kind not in "iu":
        raise ValueError(f"{path}: 'ids' must hold integers, got {ids.dtype}.")
    if ids.min() < 0 or ids.max() > _LARGEST_ID:
        raise ValueError(f"{path}: 'ids' must be from 0 to {_LARGEST_ID}.")
    if len(np.unique(ids)) < len(ids):
        values, counts = np.unique(ids, return_counts=True)
        raise ValueError(f"{path}: 'ids' holds {values[counts.argmax()]} more than once.")


def to_numbers(path: Path, name: str, array: np.ndarray) -> Float[np.ndarray, "..."]:
    """Returns an array of a file as float64, if it is finite in float32.

    Args:
      path: The file, for messages.
      name: Name of the array.
      array: What the file holds.

    Raises:
      ValueError: For what are no numbers, or none that are finite.
    """
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{path}: {name!r} must hold numbers, got {array.dtype}.")
    numbers = array.astype(np.float64)
    is_good = np.abs(numbers) <= np.finfo(np.float32).max
    if not is_good.all():
        place = [int(i) for i in np.unravel_index(np.argmin(is_good), numbers.shape)]
        raise ValueError(f"{path}: {name!r} is not finite in float32 at {place}.")
    return numbers

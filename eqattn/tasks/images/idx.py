"""Reads the idx files that MNIST and its kin are kept in, compressed by gzip or not.

A file begins with two zero bytes, a code of the type of its numbers (8: unsigned bytes) and the
number of its dimensions; then come the sizes, as big-endian 32-bit integers, and the numbers.
"""

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

_GZIP = b"\x1f\x8b"
_UNSIGNED_BYTE = 8


def read_idx(path: str | os.PathLike[str]) -> UInt8[np.ndarray, "..."]:
    """Returns the array in an idx file of unsigned bytes.

    Args:
      path: The file; whether it is compressed is seen from its first bytes, not its name.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If it is not a whole idx file of unsigned bytes.
    """
    content = Path(path).read_bytes()
    if content.startswith(_GZIP):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is damaged: {error}.") from error
    if len(content) < 4 or content[:2] != b"\0\0":
        raise ValueError(f"{path} is not an idx file: it begins with {content[:4]!r}.")
    kind, num_dimensions = content[2], content[3]
    if kind != _UNSIGNED_BYTE:
        raise ValueError(f"{path} holds numbers of type {kind:#04x}, not unsigned bytes (0x08).")
    begin = 4 + 4 * num_dimensions
    if len(content) < begin:
        raise ValueError(f"{path} is cut off within the sizes of its {num_dimensions} dimensions.")
    shape = np.frombuffer(content, ">u4", num_dimensions, offset=4).tolist()
    if len(content) - begin != math.prod(shape):
        raise ValueError(
            f"{path} holds {len(content) - begin} numbers, and its sizes {shape} ask for "
            f"{math.prod(shape)}."
        )
    return np.frombuffer(content, np.uint8, offset=begin).reshape(shape)

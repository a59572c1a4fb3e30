"""How tiles and programs of the kernels fit what there is."""

import math

SMALLEST = 16
"""Rows and columns that a product of tiles needs."""
HEAD_CHANNELS = 256
"""Channels of keys and values that a program sums at a time; more heads take more programs."""


def heads_of_program(num_heads: int, channels: int) -> int:
    """Heads that share one computation of the pairs: a divisor of their number.

    Args:
      num_heads: Number of heads H.
      channels: Number of channels of a key and a value of one head, together.

    >>> heads_of_program(8, 32), heads_of_program(8, 256), heads_of_program(6, 100)
    (8, 1, 2)
    """
    most = max(1, HEAD_CHANNELS // channels)
    return max(size for size in range(1, num_heads + 1) if num_heads % size == 0 and size <= most)


def padded(size: int) -> int:
    """The power of two that holds so many channels or units, at least ``SMALLEST``."""
    return max(SMALLEST, 1 << math.ceil(math.log2(max(1, size))))


def multiple(size: int, tile: int) -> int:
    """The next multiple of a tile."""
    return -(-size // tile) * tile


def fit(tile: int, size: int) -> int:
    """A tile that is not much larger than what there is."""
    return min(tile, padded(size))

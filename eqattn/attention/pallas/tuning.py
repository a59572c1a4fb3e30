"""Sizes of tiles: the one place to tune.

No time has been measured on an accelerator yet. Those of GPUs follow from the registers that
Triton's compiler reports for an H100, with an MLP of width 16 for each head on SE(3): with tiles of
16 by 16 pairs, attention and its derivatives by keys fit into the 255 of a thread, and those by
the MLP's parameters spill 2.6 KB of a thread; with 16 by 32 pairs all spill, the last 11 KB.
"""

import math
from typing import NamedTuple


class Tiles(NamedTuple):
    """How many pairs a step of a kernel takes.

    Attributes:
      rows: Queries, a power of two of at least 16, the least that a product of tiles takes.
      columns: Keys, the same.
      num_warps: Number of warps, of 32 threads each, that share a tile.
      num_stages: Tiles that are on their way from memory at a time.
    """

    rows: int
    columns: int
    num_warps: int
    num_stages: int


SMALLEST = 16
"""Rows and columns that a product of tiles needs."""
HEAD_CHANNELS = 256
"""Channels of keys and values that a program sums at a time; more heads take more programs."""

_TABLE = {
    # Target, and start of the device kind: {(has a location MLP, channels up to): tiles}.
    ("gpu", ""): {
        (False, 64): Tiles(64, 64, 4, 2),
        (False, 128): Tiles(64, 32, 4, 2),
        (True, 128): Tiles(16, 16, 4, 2),
    },
    # Lanes of a TPU are 128, which keys lie on.
    ("tpu", ""): {(False, 128): Tiles(128, 128, 1, 1), (True, 128): Tiles(16, 128, 1, 1)},
    ("interpreter", ""): {(False, 128): Tiles(16, 32, 1, 1), (True, 128): Tiles(16, 32, 1, 1)},
}


def tile_sizes(target: str, device_kind: str, has_location: bool, channels: int) -> Tiles:
    """The entry of the table: of the longest name that fits, and of enough channels, or the most.

    Args:
      target: ``"gpu"``, ``"tpu"`` or ``"interpreter"``.
      device_kind: Name of the device, such as ``jax.devices()[0].device_kind``.
      has_location: Whether an MLP of pairs is computed, which takes most of the registers.
      channels: Number of channels of a head, the larger of those of keys and of values.

    >>> tile_sizes("gpu", "NVIDIA H100 80GB HBM3", True, 16)
    Tiles(rows=16, columns=16, num_warps=4, num_stages=2)
    """
    names = [name for of, name in _TABLE if of == target and device_kind.startswith(name)]
    table = _TABLE[target, max(names, key=len)]
    entries = {limit: tiles for (mlp, limit), tiles in table.items() if mlp == has_location}
    return entries[min((limit for limit in entries if channels <= limit), default=max(entries))]


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

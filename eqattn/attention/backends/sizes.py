"""Sizes that back ends work by, on each kind of device: the one place to tune.

Those of CPUs were measured on one core with 1 MB of cache, by ``benchmarks/attention.py``. Those of
GPUs and TPUs are **not measured**: they bound the memory, and are large enough that starting
programs does not dominate.
"""

from typing import NamedTuple

import jax


class Sizes(NamedTuple):
    """What is done at once, and from where on another way is better.

    "Numbers" are those that are made of all pairs together, on one device.

    Attributes:
      dense_numbers: Numbers up to which storing them is fastest.
      wide_pair: Numbers made of one pair from which on ``wide_numbers`` is the limit instead.
      wide_numbers: Limit of numbers for such wide pairs.
      folded_examples: Examples that there must be to be folded; None where folding never pays.
      folded_pairs: Pairs that each of them may have.
      dot_product_pairs: Pairs up to which plain attention stores its logits: 0.4 GB for 8 heads.
      slice_pairs: Pairs of a slice of a term, whose hidden layers should stay in cache.
      near_pairs: Pairs of a tile of neighborhoods, whose keys are gathered.
      block: Queries, and keys, of a tile of a large example, at the most.
      tile_bytes: Bytes of the logits, or products of values, of such a tile.
      small_pairs: Pairs up to which an example is small.
      medium_bytes: Bytes of logits, or products of values, up to which it is no more than medium.
      kept_bytes: Bytes of logits of small or medium examples, or of sums of large ones, that are
        kept for derivatives.
    """

    dense_numbers: int
    wide_pair: int
    wide_numbers: int
    folded_examples: int | None
    folded_pairs: int
    dot_product_pairs: int
    slice_pairs: int
    near_pairs: int
    block: int
    tile_bytes: int
    small_pairs: int
    medium_bytes: int
    kept_bytes: int


CPU = Sizes(
    dense_numbers=2**20,
    wide_pair=64,
    wide_numbers=2**18,
    folded_examples=8,
    folded_pairs=144,
    dot_product_pairs=2**22,
    slice_pairs=2_048,
    near_pairs=4_096,
    block=256,
    tile_bytes=2**21,
    small_pairs=2**14,
    medium_bytes=2**24,
    kept_bytes=2**25,
)
ACCELERATOR = Sizes(
    dense_numbers=2**24,
    wide_pair=64,
    wide_numbers=2**24,
    folded_examples=None,
    folded_pairs=0,
    dot_product_pairs=2**22,
    slice_pairs=2**20,
    near_pairs=2**18,
    block=1_024,
    tile_bytes=2**25,
    small_pairs=2**22,
    medium_bytes=2**28,
    kept_bytes=2**28,
)
BY_DEVICE = {"cpu": CPU, "gpu": ACCELERATOR, "tpu": ACCELERATOR}


def device_sizes(device: str | None = None) -> Sizes:
    """The sizes for a kind of device.

    Args:
      device: ``"cpu"``, ``"gpu"`` or ``"tpu"``; by default that of ``jax.default_backend()``.
    """
    return BY_DEVICE.get(device or jax.default_backend(), ACCELERATOR)


CUDNN_CHANNELS = 128
"""Channels of a head up to which cuDNN has kernels of attention, in multiples of 8."""


class KernelTiles(NamedTuple):
    """How many pairs a step of a Pallas kernel takes.

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


_KERNELS = {
    # Target, and start of the device kind: {(has a location MLP, channels up to): tiles}.
    # Those of GPUs follow from the registers that Triton's compiler reports for an H100, with an
    # MLP of width 16 for each head on SE(3): with tiles of 16 by 16 pairs, attention and its
    # derivatives by keys fit into the 255 of a thread, and those by the MLP's parameters spill
    # 2.6 KB of a thread; with 16 by 32 pairs all spill, the last 11 KB.
    ("gpu", ""): {
        (False, 64): KernelTiles(64, 64, 4, 2),
        (False, 128): KernelTiles(64, 32, 4, 2),
        (True, 128): KernelTiles(16, 16, 4, 2),
    },
    # Lanes of a TPU are 128, which keys lie on.
    ("tpu", ""): {
        (False, 128): KernelTiles(128, 128, 1, 1),
        (True, 128): KernelTiles(16, 128, 1, 1),
    },
    ("interpreter", ""): {
        (False, 128): KernelTiles(16, 32, 1, 1),
        (True, 128): KernelTiles(16, 32, 1, 1),
    },
}


def kernel_tiles(target: str, device_kind: str, has_location: bool, channels: int) -> KernelTiles:
    """The entry of the table: of the longest name that fits, and of enough channels, or the most.

    Args:
      target: ``"gpu"``, ``"tpu"`` or ``"interpreter"``.
      device_kind: Name of the device, such as ``jax.devices()[0].device_kind``.
      has_location: Whether an MLP of pairs is computed, which takes most of the registers.
      channels: Number of channels of a head, the larger of those of keys and of values.

    >>> kernel_tiles("gpu", "NVIDIA H100 80GB HBM3", True, 16)
    KernelTiles(rows=16, columns=16, num_warps=4, num_stages=2)
    """
    names = [name for of, name in _KERNELS if of == target and device_kind.startswith(name)]
    table = _KERNELS[target, max(names, key=len)]
    entries = {limit: tiles for (mlp, limit), tiles in table.items() if mlp == has_location}
    return entries[min((limit for limit in entries if channels <= limit), default=max(entries))]

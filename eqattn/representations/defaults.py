"""A representation for each group, for those who give none."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from eqattn.checks import check_instance, check_sizes
from eqattn.groups import SO, LieGroup, O, Product, RxSO2, T
from eqattn.representations.base import Representation
from eqattn.representations.matrices import DefiningRepresentation, check_length, has_translations
from eqattn.representations.natural import Irrep, Tensor
from eqattn.representations.rotary import Rotary
from eqattn.representations.sums import DirectSum, FactorRepresentation
from eqattn.typing import DType


def default_representation(
    group: LieGroup, channels: int, *, length: float = 1.0, dtype: DType = float
) -> Representation:
    """A representation for the channels of a head, of a size that divides their number.

    =====================  ======================================================================
    group                  representation
    =====================  ======================================================================
    T(n)                   rotary, with wave numbers from 0.1 to 10 radians per ``length``, evenly
                           spaced by their logarithms, in random directions that are always the same
    R₊×SO(2)               rotary, 0 to 3 turns of the angle, and for log r like T(1)
    SO(n), O(n)            scalars and vectors; in space degree 2 too, where there is room
    SE(n), E(n), Sim(n)    homogeneous matrices
    a product              those of its factors, with equal shares of the channels
    the trivial group      scalars
    any other              its matrices
    =====================  ======================================================================

    Channels that are left over are scalars.

    Args:
      group: Any.
      channels: Number of channels of a head.
      length: Unit of translations; other than 1 only for groups that have some.
      dtype: Data type of frequencies.

    Raises:
      TypeError: If ``group`` has another type, or numbers that are none.
      ValueError: For fewer channels than a copy has, or a ``length`` that is not finite and above
        0, or that the group has no use for.

    >>> from eqattn.groups import SE, SO
    >>> default_representation(SE(3), 64), default_representation(SO(3), 64).copies
    (DefiningRepresentation(length=1.0), (8, 7, 7))
    """
    check_instance("group", group, LieGroup)
    check_sizes({"channels": channels})
    check_length(length)
    if length != 1 and not _has_lengths(group):
        raise ValueError(f"length must be 1 for {group}, got {length}")
    if group.element_dim == 0:
        return Tensor(0)
    if isinstance(group, Product):
        return _of_factors(group, channels, length, dtype)
    if isinstance(group, T | RxSO2):
        return _filled(group, [_rotary(group, max(channels // 2, 1), length, dtype)], channels)
    if group in (SO(2), SO(3), O(2), O(3)):
        degrees = (1, 2) if group.point_dim == 3 and channels >= 9 else (1,)
        return _filled(group, [Irrep(degree) for degree in degrees], channels, num_scalars=1)
    return _filled(group, [DefiningRepresentation(length)], channels)


def _has_lengths(group: LieGroup) -> bool:
    if isinstance(group, Product):
        return any(_has_lengths(factor) for factor in group.factors)
    return has_translations(group)


def _rotary(group: T | RxSO2, num_pairs: int, length: float, dtype: DType) -> Rotary:
    numbers = np.geomspace(0.1, 10.0, num_pairs) if num_pairs > 1 else np.ones(1)
    if isinstance(group, RxSO2):
        turns = tuple(i % 4 for i in range(num_pairs))
        return Rotary(jnp.asarray(numbers[:, None], dtype), turns)
    directions = np.random.default_rng(0).normal(size=(num_pairs, group.n))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    return Rotary(jnp.asarray(directions * numbers[:, None] / length, dtype))


def _of_factors(group: Product, channels: int, length: float, dtype: DType) -> Representation:
    indices = [i for i, factor in enumerate(group.factors) if factor.element_dim]
    share = max(channels // len(indices), 1)  # of one channel no factor has a representation
    parts = []
    for i in indices:
        own = length if _has_lengths(group.factors[i]) else 1.0
        part = default_representation(group.factors[i], share, length=own, dtype=dtype)
        parts.append(FactorRepresentation(i, part))
    return _sum(group, parts, [share // part.size(group) for part in parts], channels)


def _filled(
    group: LieGroup, parts: Sequence[Representation], channels: int, num_scalars: int = 0
) -> Representation:
    """As many copies of these as fit, each time with so many scalars."""
    size = num_scalars + sum(part.size(group) for part in parts)
    if channels < size:
        raise ValueError(
            f"channels of a head must be at least {size} for a representation of {group}, "
            f"got {channels}"
        )
    return _sum(group, parts, [channels // size] * len(parts), channels)


def _sum(
    group: LieGroup, parts: Sequence[Representation], copies: list[int], channels: int
) -> Representation:
    """The sum of copies of these, with scalars first for the channels that are left."""
    rest = channels - sum(n * part.size(group) for n, part in zip(copies, parts, strict=True))
    if rest:
        parts, copies = [Tensor(0), *parts], [rest, *copies]
    return parts[0] if len(parts) == 1 else DirectSum(tuple(parts), tuple(copies))

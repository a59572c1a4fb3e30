"""Sums of representations, those of factors of a product, and one for each group by default."""

import dataclasses
import itertools

import jax.numpy as jnp
import numpy as np

from eqattn.attention.representation import (
    Harmonics,
    Matrices,
    Representation,
    check_length,
    has_translations,
)
from eqattn.attention.rotary import Rotary
from eqattn.checks import check_instance, check_sizes
from eqattn.groups import SO, LieGroup, O, Product, RxSO2, T
from eqattn.pytrees import register_dataclass
from eqattn.typing import Array, DType, Float


@register_dataclass
@dataclasses.dataclass(frozen=True)
class DirectSum:
    """Copies of several representations of a group, side by side.

    Args:
      representations: Representations of one group.
      copies: How many of each.

    Raises:
      TypeError: If a representation has another type, or a number is no integer.
      ValueError: For no representation, those of several groups, or other numbers of copies.

    >>> from eqattn.groups import SO
    >>> DirectSum((Harmonics(SO(3), 0), Harmonics(SO(3), 1)), (4, 2)).size
    10
    """

    representations: tuple[Representation, ...]
    copies: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    def __post_init__(self):
        if len(self.representations) != len(self.copies) or not self.copies:
            raise ValueError(
                f"copies must be a number for each of {len(self.representations)} representations, "
                f"at least one, got {self.copies}"
            )
        check_sizes({f"copies[{i}]": n for i, n in enumerate(self.copies)})
        for part in self.representations:
            check_instance("representations", part, Representation)
        groups = {part.group for part in self.representations}
        if len(groups) > 1:
            raise ValueError(f"representations must be of one group, got those of {groups}")

    @property
    def group(self) -> LieGroup:
        return self.representations[0].group

    @property
    def size(self) -> int:
        return sum(self._sizes)

    @property
    def _sizes(self) -> list[int]:
        return [n * r.size for n, r in zip(self.copies, self.representations, strict=True)]

    def apply(self, elements: Float[Array, "*B E"], x: Float[Array, "*B H C"]) -> Array:
        return self._each("apply", elements, x)

    def apply_inverse(self, elements: Float[Array, "*B E"], x: Float[Array, "*B H C"]) -> Array:
        return self._each("apply_inverse", elements, x)

    def apply_dual(self, elements: Float[Array, "*B E"], x: Float[Array, "*B H C"]) -> Array:
        return self._each("apply_dual", elements, x)

    def _each(self, method: str, elements: Array, x: Array) -> Array:
        times = x.shape[-1] // self.size
        ends = list(itertools.accumulate(times * size for size in self._sizes))[:-1]
        parts = zip(self.representations, jnp.split(x, ends, axis=-1), strict=True)
        return jnp.concatenate([getattr(r, method)(elements, y) for r, y in parts], axis=-1)


@register_dataclass
@dataclasses.dataclass(frozen=True)
class OfFactor:
    """A representation of one factor of a product of groups, as one of the product.

    Args:
      group: The product.
      index: Index of the factor.
      representation: Representation of that factor.

    Raises:
      TypeError: If the group is no product, or a representation has another type.
      ValueError: For a factor that there is not, or a representation of another group.

    >>> from eqattn.groups import SE
    >>> upright = Product((SE(2), T(1)))
    >>> OfFactor(upright, 0, Matrices(SE(2))).size
    3
    """

    group: Product = dataclasses.field(metadata={"static": True})
    index: int = dataclasses.field(metadata={"static": True})
    representation: Representation

    def __post_init__(self):
        check_instance("group", self.group, Product)
        check_instance("representation", self.representation, Representation)
        if self.index not in range(len(self.group.factors)):
            raise ValueError(
                f"index must be below {len(self.group.factors)} for {self.group}, got {self.index}"
            )
        factor = self.group.factors[self.index]
        if self.representation.group != factor:
            raise ValueError(
                f"representation must be of the factor {factor}, got {self.representation}"
            )

    @property
    def size(self) -> int:
        return self.representation.size

    def apply(self, elements: Float[Array, "*B E"], x: Float[Array, "*B H C"]) -> Array:
        return self.representation.apply(self._part(elements), x)

    def apply_inverse(self, elements: Float[Array, "*B E"], x: Float[Array, "*B H C"]) -> Array:
        return self.representation.apply_inverse(self._part(elements), x)

    def apply_dual(self, elements: Float[Array, "*B E"], x: Float[Array, "*B H C"]) -> Array:
        return self.representation.apply_dual(self._part(elements), x)

    def _part(self, elements: Array) -> Array:
        sizes = [factor.element_dim for factor in self.group.factors]
        start = sum(sizes[: self.index])
        return elements[..., start : start + sizes[self.index]]


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
    >>> default_representation(SE(3), 64).size, default_representation(SO(3), 64).copies
    (4, (8, 7, 7))
    """
    check_instance("group", group, LieGroup)
    check_sizes({"channels": channels})
    check_length(length)
    if length != 1 and not _has_lengths(group):
        raise ValueError(f"length must be 1 for {group}, got {length}")
    if isinstance(group, Product):
        return _of_factors(group, channels, length, dtype)
    if group.element_dim == 0:
        return Harmonics(group, 0)
    if isinstance(group, T | RxSO2):
        _check_room(group, channels, 2)
        rotary = _rotary(group, channels // 2, length, dtype)
        return _filled(group, [rotary], [1], channels)
    if group in (SO(2), SO(3), O(2), O(3)):
        degrees = (1, 2) if group.point_dim == 3 and channels >= 9 else (1,)
        parts: list[Representation] = [Harmonics(group, degree) for degree in degrees]
        _check_room(group, channels, 1 + sum(part.size for part in parts))
        copies = channels // (1 + sum(part.size for part in parts))
        return _filled(group, parts, [copies] * len(parts), channels)
    matrices = Matrices(group, length)
    _check_room(group, channels, matrices.size)
    if channels % matrices.size == 0:
        return matrices
    return _filled(group, [matrices], [channels // matrices.size], channels)


def _has_lengths(group: LieGroup) -> bool:
    if isinstance(group, Product):
        return any(_has_lengths(factor) for factor in group.factors)
    return has_translations(group)


def _rotary(group: T | RxSO2, num_pairs: int, length: float, dtype: DType) -> Rotary:
    numbers = np.geomspace(0.1, 10.0, num_pairs) if num_pairs > 1 else np.ones(1)
    if isinstance(group, RxSO2):
        turns = tuple(i % 4 for i in range(num_pairs))
        return Rotary(group, jnp.asarray(numbers[:, None], dtype), turns)
    directions = np.random.default_rng(0).normal(size=(num_pairs, group.n))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    return Rotary(group, jnp.asarray(directions * numbers[:, None] / length, dtype))


def _of_factors(group: Product, channels: int, length: float, dtype: DType) -> Representation:
    indices = [i for i, factor in enumerate(group.factors) if factor.element_dim]
    if not indices:
        return Harmonics(group, 0)
    share = channels // len(indices)
    _check_room(group, channels, len(indices))
    parts: list[Representation] = []
    for i in indices:
        own = length if _has_lengths(group.factors[i]) else 1.0
        part = default_representation(group.factors[i], share, length=own, dtype=dtype)
        parts.append(OfFactor(group, i, part))
    return _filled(group, parts, [share // part.size for part in parts], channels)


def _filled(
    group: LieGroup, parts: list[Representation], copies: list[int], channels: int
) -> Representation:
    """The sum of copies of these, with scalars first for the channels that are left."""
    rest = channels - sum(n * part.size for n, part in zip(copies, parts, strict=True))
    if rest:
        parts, copies = [Harmonics(group, 0), *parts], [rest, *copies]
    return parts[0] if copies == [1] else DirectSum(tuple(parts), tuple(copies))


def _check_room(group: LieGroup, channels: int, size: int) -> None:
    if channels < size:
        raise ValueError(
            f"channels of a head must be at least {size} for a representation of {group}, "
            f"got {channels}"
        )

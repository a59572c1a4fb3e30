"""Sums of representations, and those of the factors of a product of groups."""

import dataclasses
import itertools
from typing import cast

import jax.numpy as jnp

from eqattn.checks import check_instance, check_sizes
from eqattn.groups import LieGroup, Product
from eqattn.pytrees import register_dataclass
from eqattn.representations.base import (
    AppliedRepresentation,
    Channels,
    Elements,
    Representation,
)
from eqattn.specification import computed
from eqattn.typing import Array


@register_dataclass
@dataclasses.dataclass(frozen=True)
class DirectSum(AppliedRepresentation):
    """Copies of several representations, side by side.

    Args:
      representations: The representations.
      copies: How many of each.

    Raises:
      TypeError: If a representation has another type, or a number is no integer.
      ValueError: For no representation, or other numbers of copies.

    >>> from eqattn.groups import SO
    >>> from eqattn.representations import Tensor
    >>> DirectSum((Tensor(0), Tensor(1)), (4, 2)).size(SO(3))
    10
    """

    representations: tuple[Representation, ...]
    copies: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    is_restricted = computed(lambda self: any(part.is_restricted for part in self.representations))

    def __post_init__(self):
        for name in ("representations", "copies"):
            if not isinstance(getattr(self, name), tuple):
                raise TypeError(f"{name} must be a tuple, got {getattr(self, name)!r}")
        if len(self.representations) != len(self.copies) or not self.copies:
            raise ValueError(
                f"copies must be a number for each of {len(self.representations)} representations, "
                f"at least one, got {self.copies}"
            )
        check_sizes({f"copies[{i}]": n for i, n in enumerate(self.copies)})
        for part in self.representations:
            check_instance("representations", part, Representation)

    def size(self, group: LieGroup) -> int:
        return sum(self._sizes(group))

    def check(self, group: LieGroup) -> None:
        for part in self.representations:
            part.check(group)

    def _sizes(self, group: LieGroup) -> list[int]:
        parts = zip(self.copies, self.representations, strict=True)
        return [n * part.size(group) for n, part in parts]

    def apply(self, group: LieGroup, elements: Elements, x: Channels) -> Channels:
        return self._each("apply", group, elements, x)

    def apply_inverse(self, group: LieGroup, elements: Elements, x: Channels) -> Channels:
        return self._each("apply_inverse", group, elements, x)

    def apply_dual(self, group: LieGroup, elements: Elements, x: Channels) -> Channels:
        return self._each("apply_dual", group, elements, x)

    def _each(self, method: str, group: LieGroup, elements: Array, x: Array) -> Array:
        times = x.shape[-1] // self.size(group)
        ends = list(itertools.accumulate(times * size for size in self._sizes(group)))[:-1]
        parts = zip(self.representations, jnp.split(x, ends, axis=-1), strict=True)
        return jnp.concatenate([getattr(r, method)(group, elements, y) for r, y in parts], axis=-1)


@register_dataclass
@dataclasses.dataclass(frozen=True)
class FactorRepresentation(AppliedRepresentation):
    """A representation of one factor of a product of groups, as one of the product.

    Args:
      index: Index of the factor.
      representation: Representation of that factor.

    Raises:
      TypeError: If ``representation`` has another type.

    >>> from eqattn.groups import SE, T
    >>> from eqattn.representations import DefiningRepresentation
    >>> upright = Product((SE(2), T(1)))
    >>> FactorRepresentation(0, DefiningRepresentation()).size(upright)
    3
    """

    index: int = dataclasses.field(metadata={"static": True})
    representation: Representation

    is_restricted = computed(lambda self: self.representation.is_restricted)

    def __post_init__(self):
        check_instance("representation", self.representation, Representation)

    def size(self, group: LieGroup) -> int:
        return self.representation.size(self._factor(group))

    def check(self, group: LieGroup) -> None:
        check_instance("group", group, Product)
        num_factors = len(cast(Product, group).factors)
        if self.index not in range(num_factors):
            raise ValueError(f"index must be below {num_factors} for {group}, got {self.index}")
        self.representation.check(self._factor(group))

    def apply(self, group: LieGroup, elements: Elements, x: Channels) -> Channels:
        return self.representation.apply(*self._part(group, elements), x)

    def apply_inverse(self, group: LieGroup, elements: Elements, x: Channels) -> Channels:
        return self.representation.apply_inverse(*self._part(group, elements), x)

    def apply_dual(self, group: LieGroup, elements: Elements, x: Channels) -> Channels:
        return self.representation.apply_dual(*self._part(group, elements), x)

    def _factor(self, group: LieGroup) -> LieGroup:
        return cast(Product, group).factors[self.index]

    def _part(self, group: LieGroup, elements: Array) -> tuple[LieGroup, Array]:
        """The factor, and the part of elements in it."""
        factor, before = self._factor(group), cast(Product, group).factors[: self.index]
        start = sum(other.element_dim for other in before)
        return factor, elements[..., start : start + factor.element_dim]

"""Field types: representations ρ of the group, and how features of that type transform.

A field f: X → V of type ρ transforms as [u·f](x) = ρ(u) f(u⁻¹x). A type is a direct sum of terms,
written ``"8x scalar + 2x vector"``; features hold the terms in that order, a vector as D
consecutive channels.
"""

import dataclasses
import re

import jax.numpy as jnp

from eqattn import numerics
from eqattn.spaces.base import Space
from eqattn.typing import Array, Float

_TERM = re.compile(r"(?:(\d+)\s*x\s*)?([a-z]+)")
KINDS = ("scalar", "vector")


@dataclasses.dataclass(frozen=True)
class FieldType:
    """A direct sum of scalars and vectors.

    Args:
      terms: pairs of multiplicity and kind, the kind ``"scalar"`` or ``"vector"``.

    Raises:
      ValueError: for an unknown kind, a multiplicity below 1, or no terms.

    >>> FieldType.parse("4x scalar + vector").size(3)
    7
    """

    terms: tuple[tuple[int, str], ...]

    def __post_init__(self):
        if not self.terms:
            raise ValueError("terms of a field type must not be empty")
        for multiplicity, kind in self.terms:
            if kind not in KINDS:
                raise ValueError(f"kind of a field must be one of {KINDS}, got {kind!r}")
            if multiplicity < 1:
                raise ValueError(f"multiplicity of a field must be at least 1, got {multiplicity}")

    @classmethod
    def parse(cls, text: str) -> "FieldType":
        """Reads a direct sum such as ``"8x scalar + 2x vector"``.

        Raises:
          ValueError: if a term is not ``[N x] kind`` with a known kind.
        """
        terms = []
        for term in text.split("+"):
            match = _TERM.fullmatch(term.strip())
            if match is None:
                raise ValueError(f"field type {text!r} has the unreadable term {term.strip()!r}")
            terms.append((int(match[1] or 1), match[2]))
        return cls(tuple(terms))

    def size(self, point_dim: int) -> int:
        """Number of channels on a space of that dimension."""
        return sum(m * (point_dim if kind == "vector" else 1) for m, kind in self.terms)

    @property
    def is_scalar(self) -> bool:
        """Whether ρ is trivial."""
        return all(kind == "scalar" for _, kind in self.terms)

    def transform(
        self,
        space: Space,
        elements: Float[Array, "*#B E"],
        features: Float[Array, "*#B C"],
        *,
        inverse: bool = False,
    ) -> Float[Array, "*B C"]:
        """Applies ρ(g), or ρ(g)⁻¹.

        Args:
          space: where the field lives; its group gives ρ.
          elements: group elements g.
          features: values of the field.
          inverse: whether to apply the inverse.

        Raises:
          ValueError: if the channels of ``features`` are not those of this type.
        """
        expected = self.size(space.point_dim)
        if features.shape[-1] != expected:
            raise ValueError(
                f"features of field type {self} must have {expected} channels, "
                f"got shape {features.shape}"
            )
        batch = jnp.broadcast_shapes(elements.shape[:-1], features.shape[:-1])
        if self.is_scalar:
            return jnp.broadcast_to(features, (*batch, expected))
        matrix = space.group.linear_matrix(elements)
        if inverse:
            matrix = jnp.swapaxes(matrix, -1, -2)
        parts, start = [], 0
        for multiplicity, kind in self.terms:
            width = multiplicity * (space.point_dim if kind == "vector" else 1)
            part = features[..., start : start + width]
            if kind == "vector":
                part = _rotate(matrix, part, multiplicity)
            parts.append(jnp.broadcast_to(part, (*batch, width)))
            start += width
        return jnp.concatenate(parts, axis=-1)

    def __str__(self) -> str:
        return " + ".join(f"{m}x {kind}" for m, kind in self.terms)


def _rotate(matrix: Array, part: Array, multiplicity: int) -> Array:
    """Applies a matrix [*B D D] to ``multiplicity`` vectors, without a lower-precision product."""
    vectors = part.reshape(*part.shape[:-1], multiplicity, matrix.shape[-1])
    vectors = numerics.at_least_float32(vectors)
    turned = jnp.sum(matrix[..., None, :, :] * vectors[..., None, :], axis=-1)
    return turned.reshape(*turned.shape[:-2], -1).astype(part.dtype)


def scalars(num: int = 1) -> FieldType:
    """The type of ``num`` scalar channels."""
    return FieldType(((num, "scalar"),))


def vectors(num: int = 1) -> FieldType:
    """The type of ``num`` vectors."""
    return FieldType(((num, "vector"),))

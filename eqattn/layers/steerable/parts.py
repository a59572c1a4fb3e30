"""How layers of fields hold features, an array for each term, and where these are."""

from dataclasses import dataclass
from typing import TypeAlias

import jax.numpy as jnp

from eqattn.checks import check_instance
from eqattn.fields import FieldType
from eqattn.kernels.solver import check_kernel_space
from eqattn.pytrees import register_dataclass
from eqattn.spaces.base import Space
from eqattn.typing import Array, Bool, Float

Parts: TypeAlias = tuple[Float[Array, "... _ _"], ...]
"""Fields of a type: for each term its C copies of r components, as [*B r C]."""


@register_dataclass
@dataclass(frozen=True)
class Places:
    """Where fields are.

    Attributes:
      positions: Positions of the points.
      mask: Marks the points that exist; features are zeros at the others.
      log_weights: Logarithms of quadrature weights.
    """

    positions: Float[Array, "*B N D"]
    mask: Bool[Array, "*B N"]
    log_weights: Float[Array, "*B N"]

    @classmethod
    def of(
        cls, positions: Float[Array, "*B N D"], mask: Bool[Array, "*B N"] | None = None
    ) -> "Places":
        """Places of equal weights.

        Args:
          positions: Positions of the points.
          mask: Marks the points that exist; by default all do.
        """
        if mask is None:
            mask = jnp.ones(positions.shape[:-1], bool)
        return cls(positions, mask, jnp.zeros(positions.shape[:-1], positions.dtype))


def check_parts(parts: Parts, field: FieldType, space: Space) -> None:
    """Makes sure that parts are those of a field.

    Args:
      parts: Parts of a field, perhaps.
      field: Its type.
      space: Where the field lives.

    Raises:
      ValueError: For another number of parts, or one of another shape.
    """
    wanted = [(term.size(space), term.multiplicity) for term in field.terms]
    found = [tuple(part.shape) for part in parts]
    if [shape[-2:] for shape in found] != wanted:
        shapes = ", ".join(f"[*B {size} {copies}]" for size, copies in wanted)
        raise ValueError(
            f"parts of the field {field} must have the shapes {shapes}, components before copies, "
            f"got {found}"
        )


def split_parts(space: Space, field: FieldType, features: Float[Array, "*B C"]) -> Parts:
    """Features as a field type stores them, each copy's components in a row, as parts.

    Args:
      space: Where the field lives.
      field: Its type.
      features: Values of the field.
    """
    parts = []
    for term, channels in field.split(space, features):
        shape = (*channels.shape[:-1], term.multiplicity, term.size(space))
        parts.append(jnp.swapaxes(channels.reshape(shape), -1, -2))
    return tuple(parts)


def join_parts(parts: Parts) -> Float[Array, "*B C"]:
    """The features again.

    Args:
      parts: Parts of a field.
    """
    rows = (jnp.swapaxes(part, -1, -2) for part in parts)
    return jnp.concatenate([x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1]) for x in rows], -1)


def check_field(field: FieldType, space: Space, num_heads: int = 1) -> None:
    """Makes sure that layers of fields can work on a type of field.

    Args:
      field: The type.
      space: Where it lives.
      num_heads: Number that divides the copies of each term.

    Raises:
      TypeError: For anything but a field type.
      ValueError: For a space without kernels by harmonics, a term that makes no sense on it, whose
        representation is not orthogonal, that is in a gauge, or whose copies do not fit.
    """
    check_instance("field", field, FieldType)
    check_kernel_space(space)
    field.check(space)
    for term in field.terms:
        if term.gauge is not None or term.weight:
            raise ValueError(f"field of a layer must be in no gauge and have no weight, got {term}")
        if not term.representation.is_orthogonal(space.group):
            raise ValueError(
                f"field of a layer must be of orthogonal representations, whose lengths are "
                f"invariants, got {term.single}"
            )
        if term.multiplicity % num_heads:
            raise ValueError(
                f"field must have a multiple of num_heads={num_heads} copies of each term, "
                f"got {term}"
            )

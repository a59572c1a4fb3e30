"""How layers of fields hold features: an array for each term, components before copies."""

from typing import TypeAlias

import jax.numpy as jnp

from eqattn.fields import FieldType
from eqattn.spaces.base import Space
from eqattn.typing import Array, Float

Parts: TypeAlias = tuple[Float[Array, "... _ _"], ...]
"""Fields of a type: for each term its C copies of r components, as [*B r C]."""


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

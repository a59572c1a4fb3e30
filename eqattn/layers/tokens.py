"""A lifted batch as layers see it: points and samples on one axis."""

from typing import NamedTuple

import jax.numpy as jnp

from eqattn.checks import check_instance
from eqattn.groups import LieGroup
from eqattn.lift import Lifted
from eqattn.typing import Array, Bool, Float


class Tokens(NamedTuple):
    """A lifted batch with points and samples on one axis, point-major."""

    features: Float[Array, "*B T C"]
    elements: Float[Array, "*B T E"]
    orbit_invariants: Float[Array, "*B T Q"]
    mask: Bool[Array, "*B T"]
    log_weights: Float[Array, "*B T"]


def flat_tokens(name: str, lifted: Lifted, dim: int, group: LieGroup) -> Tokens:
    """Points and samples on one axis, with zeros for features that do not count.

    Args:
      name: Name of the argument, for errors.
      lifted: The batch.
      dim: Channels that a layer expects.
      group: Whose elements it expects.

    Raises:
      TypeError: For anything but a Lifted.
      ValueError: For other channels or elements.
    """
    check_instance(name, lifted, Lifted)
    *batch, num_points, num_samples, channels = lifted.features.shape
    if channels != dim:
        raise ValueError(
            f"{name} must have {dim} channels, got features of shape {lifted.features.shape}"
        )
    if lifted.elements.shape[-1] != group.element_dim:
        raise ValueError(
            f"{name} must have elements of {group}, got elements of shape {lifted.elements.shape}"
        )
    # Padding may hold NaN, which gradients of weights would keep.
    features = jnp.where(lifted.valid[..., None], lifted.features, 0)

    def flat(x: Array) -> Array:
        shape = (*batch, num_points, num_samples, *x.shape[len(batch) + 2 :])
        x = jnp.broadcast_to(x, shape)
        return x.reshape(*batch, num_points * num_samples, *shape[len(batch) + 2 :])

    return Tokens(
        flat(features),
        flat(lifted.elements),
        flat(lifted.orbit_invariants[..., None, :]),
        flat(lifted.mask[..., None]),
        flat(lifted.log_weights),
    )


def one_hot(tokens: Tokens, num_heads: int) -> Float[Array, "*B K H K"]:
    """Values whose weighted sums are the weights themselves.

    Args:
      tokens: The keys.
      num_heads: Number of heads, which all have the same values.
    """
    *batch, num_keys = tokens.mask.shape
    values = jnp.eye(num_keys, dtype=tokens.elements.dtype)[:, None]
    return jnp.broadcast_to(values, (*batch, num_keys, num_heads, num_keys))

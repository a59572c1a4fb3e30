"""Random symmetries applied to training examples, inside the jitted step."""

from __future__ import annotations

import jax

from eqattn import groups
from eqattn.typing import Array, Float, Int, Key

__all__ = ["rotate_points"]


def rotate_points(
    key: Key[Array, ""], points: Float[Array, "B N D"], example_ids: Int[Array, " B"]
) -> Float[Array, "B N D"]:
    """Returns each example turned about the origin by its own uniform random rotation.

    Padding stays where it is put: at the origin it stays there.

    Args:
      key: Key of the draws.
      points: Points of B examples, in the plane or in space.
      example_ids: Identity of each example, which its rotation is keyed by.

    Raises:
      ValueError: If the points are neither in the plane nor in space.
    """
    dim = points.shape[-1]
    if dim not in (2, 3):
        raise ValueError(f"points must have 2 or 3 coordinates to be rotated, got {points.shape}.")
    group = groups.SO(dim)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(example_ids)
    elements = jax.vmap(lambda k: group.sample(k, (), points.dtype))(keys)
    return group.act(elements[:, None, :], points)

"""Sections in whose gauge data come."""

import jax.numpy as jnp

from eqattn import numerics
from eqattn.groups.base import unstack
from eqattn.typing import Array, Float


def east_north(points: Float[Array, "*B 3"]) -> Float[Array, "*B 4"]:
    """The rotations (w, x, y, z) that take the axes to east, north and up at points of the sphere.

    As the section of a gauge, ``fields.gauge("vector", east_north)`` on the sphere under SO(3) are
    winds by their eastward and northward components. The third axis is that of the poles; at them
    east is the direction of the second axis, and derivatives there are finite but mean nothing.

    Args:
      points: Points of the sphere, as unit vectors.

    >>> from eqattn.groups import SO
    >>> frame = SO(3).matrix(east_north(jnp.array([1.0, 0.0, 0.0])))
    >>> bool(jnp.allclose(frame[:, 1], jnp.array([0.0, 0.0, 1.0]), atol=1e-6))  # north
    True
    """
    x, y, z = unstack(points)
    ring = numerics.safe_norm((x, y))
    is_pole = ring <= 0
    longitude = jnp.arctan2(jnp.where(is_pole, 0.0, y), jnp.where(is_pole, 1.0, x))
    tilt = 0.5 * jnp.arctan2(ring, z)
    turn = 0.5 * longitude + 0.25 * jnp.pi
    ct, st, cl, sl = jnp.cos(turn), jnp.sin(turn), jnp.cos(tilt), jnp.sin(tilt)
    return jnp.stack([ct * cl, ct * sl, st * sl, st * cl], axis=-1)

"""Gauges: the sections in whose frames fields have their components."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from eqattn import numerics
from eqattn.fields.action import Section, stabilizer_coefficients
from eqattn.groups.base import unstack
from eqattn.spaces.base import Space
from eqattn.typing import Array, Float


@dataclasses.dataclass(frozen=True)
class Gauge:
    """Values in the gauge of a section: components in a frame that it carries to each point.

    F(section(x) h) = ρ(h)⁻¹ f(x) for h in the stabilizer H, and an element u takes f(x) to
    ρ(c(u, x)) f(x) at u·x, with c(u, x) = section(u·x)⁻¹ u section(x) in H. On the sphere, where H
    is SO(2), vectors in a gauge are tangent vectors by their two components.

    Args:
      section: Function of points [*B D] that gives elements [*B E] which take the origin to them,
        such as :func:`eqattn.fields.east_north`; that of the space by default.
    """

    section: Section | None = None

    @property
    def name(self) -> str:
        """Name of the section; empty for that of the space."""
        section = self.section
        return "" if section is None else getattr(section, "__name__", type(section).__name__)

    def check(self, space: Space) -> None:
        """Makes sure that the gauge exists on a space.

        Raises:
          ValueError: For exceptional orbits, a stabilizer whose vectors are not those of its
            matrices in the group, or a section that does not take the origin to each point.
        """
        if space.has_exceptional_orbits:
            raise ValueError(
                f"a gauge field needs one stabilizer for all points, got {space} with exceptional "
                "orbits"
            )
        stabilizer_coefficients(space)
        if self.section is not None:
            _check_section(self.section, self.name, space)


@functools.cache
def _check_section(section: Section, name: str, space: Space) -> None:
    """Raises a ValueError unless the section takes the origin to each point, as samples tell."""
    if not callable(section):
        raise ValueError(f"section of a gauge must be a function of points, got {section!r}")
    with jax.ensure_compile_time_eval():
        points = space.sample_points(jax.random.key(3), (8,), jnp.float32)
        origin = jnp.asarray(space.origin(), points.dtype)
        try:
            elements = jnp.asarray(section(points))
            if elements.shape != (8, space.group.element_dim):
                raise ValueError(f"it gives elements of shape {elements.shape} for 8 points")
            distance = float(jnp.max(jnp.abs(space.act(elements, origin) - points)))
        except (ValueError, TypeError, IndexError) as error:
            raise ValueError(f"section {name} of a gauge is none of {space}: {error}") from error
    if not distance < 1e-3:
        raise ValueError(
            f"section {name} of a gauge must take the origin of {space} to each point, "
            f"it misses one by {distance:.2g}"
        )


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

"""Unit vectors of R² and R³ under rotations, and under reflections: the circle and the sphere."""

import dataclasses

import jax
import jax.numpy as jnp

from eqattn import numerics
from eqattn.groups import SO, LieGroup, O, Trivial
from eqattn.groups.base import unstack
from eqattn.groups.reflected import Reflected
from eqattn.spaces.base import Space
from eqattn.specification import computed
from eqattn.typing import Array, Bool, Components, DType, Float, Key

EXCEPTIONAL_RADIUS = 1e-6
"""Points closer to the origin than this count as the origin, whose stabilizer is all of G."""


def is_exceptional(points: Float[Array, "*B D"]) -> Bool[Array, "*B"]:
    """Whether points count as the origin."""
    return numerics.squared_norm(unstack(points)) <= EXCEPTIONAL_RADIUS**2


def directions(points: Float[Array, "*B D"]) -> tuple[Components, Array]:
    """Unit vectors x/|x| and radii; at the exceptional origin the last axis and radius 0."""
    components = unstack(points)
    radius_sq = numerics.squared_norm(components)
    exceptional = radius_sq <= EXCEPTIONAL_RADIUS**2
    radius = jnp.sqrt(jnp.where(exceptional, 1.0, radius_sq))
    first = tuple(jnp.where(exceptional, 0.0, c / radius) for c in components[:-1])
    last = jnp.where(exceptional, 1.0, components[-1] / radius)
    return (*first, last), jnp.where(exceptional, 0.0, radius)


@dataclasses.dataclass(frozen=True, repr=False)
class Sphere(Space):
    """S² under SO(3) or O(3), or the circle S¹ under SO(2) or O(2): points are unit vectors.

    The origin is the last axis in space and the first in the plane. H is the rotations about it,
    SO(2), with the mirror planes through it O(2); in the plane nothing, or the one reflection that
    keeps it. Distances are angles, in radians. Other points are refused where values are known
    (:meth:`Space.check_domain`); under ``jit`` their lengths are ignored.

    Args:
      group: SO(2), SO(3), O(2) or O(3).

    Raises:
      ValueError: For another group.
    """

    text_name = "sphere"

    group: LieGroup

    def __post_init__(self):
        if self.group not in (SO(2), SO(3), O(2), O(3)):
            raise ValueError(f"group of Sphere must be SO(n) or O(n), got {self.group}")

    @property
    def has_reflections(self) -> bool:
        """Whether the group is O(n)."""
        return isinstance(self.group, Reflected)

    point_kind = "unit vectors"

    def domain_defect(self, points: Float[Array, "*B D"]) -> Float[Array, "*B"]:
        """By how much their lengths differ from 1."""
        return jnp.abs(jnp.linalg.norm(numerics.at_least_float32(points), axis=-1) - 1.0)

    def unliftable(self, points: Float[Array, "*B D"]) -> Bool[Array, "*B"]:
        """Points within 1e-6 of the center, which have no direction."""
        return is_exceptional(points)

    def _stabilizer(self) -> LieGroup:
        if self.point_dim == 3:
            return O(2) if self.has_reflections else SO(2)
        return Reflected(Trivial(1)) if self.has_reflections else Trivial(2)

    stabilizer = computed(_stabilizer)

    # rotations are all of SO(2), and normal in O(2)
    section_is_normal = computed(lambda self: self.point_dim == 2)

    def origin(self) -> tuple[float, ...]:
        """(1, 0), or (0, 0, 1)."""
        return (1.0, 0.0) if self.point_dim == 2 else (0.0, 0.0, 1.0)

    def section(self, points: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        """The rotation that takes the origin to the point, in space by the shortest way.

        Below the equator the shortest way starts at (0, 0, -1), reached by a half-turn about the
        first axis, so that derivatives are finite at both poles.

        Raises:
          ValueError: If the last axis of ``points`` is not the dimension of the space.
        """
        self.check_points(points)
        direction, _ = directions(points)
        one = (jnp.ones_like(direction[0]),) if self.has_reflections else ()
        if self.point_dim == 2:
            return jnp.stack([*direction, *one], -1)
        x, y, z = direction
        norm = jnp.sqrt(2.0 * (1.0 + jnp.abs(z)))
        half, zero = 0.5 * norm, jnp.zeros_like(z)
        north = jnp.stack([half, -y / norm, x / norm, zero, *one], -1)
        south = jnp.stack([-y / norm, half, zero, x / norm, *one], -1)
        return jnp.where((z >= 0)[..., None], north, south)

    def embed_stabilizer(self, elements: Float[Array, "*B _"]) -> Float[Array, "*B E"]:
        """Rotations about the last axis, and reflections in planes through it.

        In the plane the identity, or the reflection that negates the second coordinate.
        """
        elements = numerics.at_least_float32(elements)
        if self.point_dim == 2:
            identity = self.group.identity(elements.shape[:-1], elements.dtype)
            return identity.at[..., -1].set(elements[..., 0]) if self.has_reflections else identity
        (angle,) = SO(2).log_components(unstack(elements[..., :2]))
        cos, sin = jnp.cos(0.5 * angle), jnp.sin(0.5 * angle)
        if not self.has_reflections:
            zero = jnp.zeros_like(angle)
            return jnp.stack([cos, zero, zero, sin], -1)
        # A mirror image is the half-turn about the normal of its plane, times -1.
        parity = elements[..., 2]
        proper, mirror = 0.5 * (1.0 + parity), 0.5 * (1.0 - parity)
        return jnp.stack([proper * cos, -mirror * sin, mirror * cos, proper * sin, parity], -1)

    def sample_points(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Uniform points."""
        points = jax.random.normal(key, (*shape, self.point_dim), dtype)
        return points / jnp.linalg.norm(points, axis=-1, keepdims=True)

    def moved_origin(self, pair: Components) -> tuple[Components, Components]:
        """The origin x₀, and g x₀: the directions of g_i and g_j as g_i sees them."""
        origin = tuple(jnp.full_like(pair[0], c) for c in self.origin())
        return origin, self.group.act_components(pair, origin)

    def chord_components(self, pair: Components) -> Array:
        """Squared length of the straight line between the base points of a pair."""
        origin, moved = self.moved_origin(pair)
        return numerics.squared_norm(tuple(a - b for a, b in zip(moved, origin, strict=True)))

    def pair_invariants(self, pair: Components) -> Components:
        """The cosine of the angle between the points; under SO(2) also the sine."""
        if self.stabilizer.element_dim == 0:
            return pair
        _, moved = self.moved_origin(pair)
        return (moved[-1],) if self.point_dim == 3 else (moved[0],)

    def squared_distance_components(
        self, pair: Components, query_orbits: Components, key_orbits: Components
    ) -> Array:
        """Of the angle, in radians²; not smooth at opposite points, and finite."""
        origin, moved = self.moved_origin(pair)
        difference = tuple(a - b for a, b in zip(moved, origin, strict=True))
        total = tuple(a + b for a, b in zip(moved, origin, strict=True))
        return numerics.squared_angle(
            numerics.squared_norm(difference), numerics.squared_norm(total)
        )

"""Rⁿ under SO(n), and the plane under R₊×SO(2): orbits around an exceptional origin."""

import dataclasses

import jax
import jax.numpy as jnp

from eqattn import numerics
from eqattn.groups import SO, LieGroup, RxSO2, Trivial
from eqattn.groups.base import unstack
from eqattn.spaces.base import Space
from eqattn.typing import Array, Bool, Components, DType, Float, Key

EXCEPTIONAL_RADIUS = 1e-6
"""Points closer to the origin than this count as the origin, whose stabilizer is all of G."""


def _direction(points: Float[Array, "*B D"]) -> tuple[Components, Array]:
    """Unit vectors x/|x| and radii; at the exceptional origin the last axis and radius 0."""
    components = unstack(points)
    radius_sq = numerics.squared_norm(components)
    ordinary = radius_sq > EXCEPTIONAL_RADIUS**2
    radius = jnp.sqrt(jnp.where(ordinary, radius_sq, 1.0))
    first = tuple(jnp.where(ordinary, c / radius, 0.0) for c in components[:-1])
    last = jnp.where(ordinary, components[-1] / radius, 1.0)
    return (*first, last), jnp.where(ordinary, radius, 0.0)


def _is_exceptional(points: Float[Array, "*B D"]) -> Bool[Array, "*B"]:
    return numerics.squared_norm(unstack(points)) <= EXCEPTIONAL_RADIUS**2


@dataclasses.dataclass(frozen=True)
class RotatedSpace(Space):
    """R² or R³ under rotations about the origin: orbits are circles or spheres around it.

    The orbit invariant is the radius. H is trivial in the plane and SO(2), the rotations about
    the last axis, in space. At the origin (within 1e-6) the stabilizer is the whole group, which
    is sampled there.
    """

    group: LieGroup

    num_orbit_invariants = 1
    has_exceptional_orbits = True
    draws_samples = True  # in the plane at the origin only

    def __post_init__(self):
        if self.group not in (SO(2), SO(3)):
            raise ValueError(f"group of RotatedSpace must be SO(2) or SO(3), got {self.group}")

    @property
    def stabilizer(self) -> LieGroup:  # pyright: ignore[reportIncompatibleVariableOverride]
        return Trivial(2) if self.point_dim == 2 else SO(2)

    @property
    def section_is_normal(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.point_dim == 2  # H is trivial, so N = G

    def origin(self) -> tuple[float, ...]:
        """A point of the generic orbit of radius 1: (1, 0), or (0, 0, 1)."""
        return (1.0, 0.0) if self.point_dim == 2 else (0.0, 0.0, 1.0)

    def section(self, points: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        """The rotation that takes (r, 0), or (0, 0, r) by the shortest way, to the point.

        Below the equator the shortest way starts at (0, 0, -r), reached by a half-turn about the
        first axis, so that derivatives are finite at both poles.

        Raises:
          ValueError: if the last axis of ``points`` is not the dimension of the space.
        """
        self.check_points(points)
        direction, _ = _direction(points)
        if self.point_dim == 2:
            c, s = direction
            return jnp.stack([c, s], -1)
        x, y, z = direction
        norm = jnp.sqrt(2.0 * (1.0 + jnp.abs(z)))
        half, zero = 0.5 * norm, jnp.zeros_like(z)
        north = jnp.stack([half, -y / norm, x / norm, zero], -1)
        south = jnp.stack([-y / norm, half, zero, x / norm], -1)
        return jnp.where((z >= 0)[..., None], north, south)

    def orbit_invariants(self, points: Float[Array, "*B D"]) -> Float[Array, "*B Q"]:
        """The radius."""
        self.check_points(points)
        return _direction(points)[1][..., None]

    def embed_stabilizer(self, elements: Float[Array, "*B _"]) -> Float[Array, "*B E"]:
        """The rotations about the last axis (planar: the identity)."""
        elements = numerics.at_least_float32(elements)
        if self.point_dim == 2:
            return self.group.identity(elements.shape[:-1], elements.dtype)
        (angle,) = SO(2).log_components(unstack(elements))
        zero = jnp.zeros_like(angle)
        return jnp.stack([jnp.cos(0.5 * angle), zero, zero, jnp.sin(0.5 * angle)], -1)

    def sample_stabilizer(
        self, key: Key[Array, ""], point: Float[Array, " D"]
    ) -> Float[Array, " E"]:
        """A Haar rotation about the last axis (planar: none); any rotation at the origin."""
        point = numerics.at_least_float32(point)
        anywhere = self.group.sample(key, (), point.dtype)
        h = self.stabilizer.sample(jax.random.fold_in(key, 1), (), point.dtype)
        return jnp.where(_is_exceptional(point), anywhere, self.embed_stabilizer(h))

    def sample_points(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Standard normal points."""
        return jax.random.normal(key, (*shape, self.point_dim), dtype)

    def double_coset_components(self, pair: Components) -> Components:
        """The cosine between the two directions; in the plane also the sine."""
        if self.point_dim == 2:
            return pair
        return (self.group.embedding_components(pair)[-1],)

    def squared_distance_components(
        self, pair: Components, query_orbits: Components, key_orbits: Components
    ) -> Array:
        """Of Euclidean distance, by radii r, s and the chord c of directions: (r-s)² + r s c²."""
        origin = tuple(jnp.full_like(pair[0], c) for c in self.origin())
        moved = self.group.act_components(pair, origin)
        chord_sq = numerics.squared_norm(tuple(a - b for a, b in zip(moved, origin, strict=True)))
        (r,), (s,) = query_orbits, key_orbits
        return (r - s) ** 2 + r * s * chord_sq


@dataclasses.dataclass(frozen=True)
class PuncturedPlane(Space):
    """The plane without its origin under R₊×SO(2): one orbit, with trivial stabilizer.

    At the origin (within 1e-6) the stabilizer is the whole group, which is not compact: no sample
    exists, and lifting a valid point there raises a ``ValueError``; under ``jit``, where values are
    not known, such a point counts as masked.
    """

    group: LieGroup = dataclasses.field(default=RxSO2(), init=False)

    num_orbit_invariants = 0
    stabilizer = Trivial(2)
    section_is_normal = True
    has_exceptional_orbits = True
    draws_samples = False

    def origin(self) -> tuple[float, ...]:
        return (1.0, 0.0)

    def section(self, points: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        """The rotation and scaling that take (1, 0) to the point.

        Raises:
          ValueError: if the last axis of ``points`` is not 2.
        """
        self.check_points(points)
        (c, s), radius = _direction(points)
        return jnp.stack([c, s, jnp.log(jnp.where(radius > 0, radius, 1.0))], -1)

    def orbit_invariants(self, points: Float[Array, "*B D"]) -> Float[Array, "*B Q"]:
        """None: the punctured plane is one orbit."""
        self.check_points(points)
        return jnp.zeros((*points.shape[:-1], 0), numerics.at_least_float32(points).dtype)

    def embed_stabilizer(self, elements: Float[Array, "*B _"]) -> Float[Array, "*B E"]:
        """The identity."""
        elements = numerics.at_least_float32(elements)
        return self.group.identity(elements.shape[:-1], elements.dtype)

    def sample_stabilizer(
        self, key: Key[Array, ""], point: Float[Array, " D"]
    ) -> Float[Array, " E"]:
        """The identity: [E]."""
        return self.group.identity((), numerics.at_least_float32(point).dtype)

    def unliftable(self, points: Float[Array, "*B D"]) -> Bool[Array, "*B"]:
        """The origin, within 1e-6."""
        return _is_exceptional(points)

    def sample_points(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Standard normal points."""
        return jax.random.normal(key, (*shape, self.point_dim), dtype)

    def double_coset_components(self, pair: Components) -> Components:
        """The pair itself: the stabilizer is trivial."""
        return pair

    def squared_distance_components(
        self, pair: Components, query_orbits: Components, key_orbits: Components
    ) -> Array:
        """On the cylinder of angles (radians) and log-radii; not smooth at half-turns."""
        return numerics.squared_norm(self.group.log_components(pair))

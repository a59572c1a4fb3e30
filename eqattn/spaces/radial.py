"""Rⁿ under SO(n), and the plane under R₊×SO(2): orbits around an exceptional origin."""

import dataclasses

import jax
import jax.numpy as jnp

from eqattn import numerics
from eqattn.groups import SO, LieGroup, O, RxSO2, Trivial
from eqattn.spaces.base import Space
from eqattn.spaces.sphere import Sphere, directions, is_exceptional
from eqattn.specification import computed
from eqattn.typing import Array, Bool, Components, DType, Float, Key


@dataclasses.dataclass(frozen=True, repr=False)
class RadialSpace(Space):
    """R² or R³ under rotations about the origin, or rotations and reflections.

    Orbits are circles or spheres around the origin, and the orbit invariant is the radius. H, the
    section and the invariants are those of the directions, see :class:`Sphere`. At the origin
    (within 1e-6) the stabilizer is the whole group, which is sampled there.

    Args:
      group: SO(2), SO(3), O(2) or O(3).

    Raises:
      ValueError: For another group.
    """

    text_name = "euclidean"

    group: LieGroup

    num_orbit_invariants = 1
    has_exceptional_orbits = True

    def __post_init__(self):
        if self.group not in (SO(2), SO(3), O(2), O(3)):
            raise ValueError(f"group of RadialSpace must be SO(n) or O(n), got {self.group}")

    @property
    def _sphere(self) -> Sphere:
        return Sphere(self.group)

    stabilizer = computed(lambda self: self._sphere.stabilizer)
    section_is_normal = computed(lambda self: self._sphere.section_is_normal)

    @property
    def draws_samples(self) -> bool:
        """Always, if only at the origin."""
        return True

    def origin(self) -> tuple[float, ...]:
        """A point of the generic orbit of radius 1: (1, 0), or (0, 0, 1)."""
        return self._sphere.origin()

    def section(self, points: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        """The rotation that takes (r, 0), or (0, 0, r) by the shortest way, to the point.

        Raises:
          ValueError: If the last axis of ``points`` is not the dimension of the space.
        """
        self.check_points(points)
        return self._sphere.section(points)

    def orbit_invariants(self, points: Float[Array, "*B D"]) -> Float[Array, "*B Q"]:
        """The radius."""
        self.check_points(points)
        return directions(points)[1][..., None]

    def embed_stabilizer(self, elements: Float[Array, "*B _"]) -> Float[Array, "*B E"]:
        """Those of the generic direction, see :meth:`Sphere.embed_stabilizer`."""
        return self._sphere.embed_stabilizer(elements)

    def sample_stabilizer(
        self, key: Key[Array, ""], point: Float[Array, " D"]
    ) -> Float[Array, " E"]:
        """A Haar sample of H; of the whole group at the origin."""
        point = numerics.at_least_float32(point)
        anywhere = self.group.sample(key, (), point.dtype)
        h = self.stabilizer.sample(jax.random.fold_in(key, 1), (), point.dtype)
        return jnp.where(is_exceptional(point), anywhere, self.embed_stabilizer(h))

    def sample_points(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Standard normal points."""
        return jax.random.normal(key, (*shape, self.point_dim), dtype)

    def pair_invariants(self, pair: Components) -> Components:
        """The cosine between the two directions; under SO(2) also the sine."""
        return self._sphere.pair_invariants(pair)

    def squared_distance_components(
        self, pair: Components, query_orbits: Components, key_orbits: Components
    ) -> Array:
        """Of Euclidean distance, by radii r, s and the chord c of directions: (r-s)² + r s c²."""
        (r,), (s,) = query_orbits, key_orbits
        return (r - s) ** 2 + r * s * self._sphere.chord_components(pair)


@dataclasses.dataclass(frozen=True, repr=False)
class PuncturedPlane(Space):
    """The plane without its origin under R₊×SO(2): one orbit, with trivial stabilizer.

    At the origin (within 1e-6) the stabilizer is the whole group, which is not compact: no sample
    exists, and lifting a valid point there raises a ``ValueError``; under ``jit``, where values are
    not known, such a point counts as masked.
    """

    text_name = "euclidean(RxSO2())"

    group: LieGroup = dataclasses.field(default=RxSO2(), init=False)

    stabilizer = Trivial(2)
    section_is_normal = True
    has_exceptional_orbits = True

    def origin(self) -> tuple[float, ...]:
        return (1.0, 0.0)

    def section(self, points: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        """The rotation and scaling that take (1, 0) to the point.

        Raises:
          ValueError: If the last axis of ``points`` is not 2.
        """
        self.check_points(points)
        (c, s), radius = directions(points)
        return jnp.stack([c, s, jnp.log(jnp.where(radius <= 0, 1.0, radius))], -1)

    def embed_stabilizer(self, elements: Float[Array, "*B _"]) -> Float[Array, "*B E"]:
        """The identity."""
        elements = numerics.at_least_float32(elements)
        return self.group.identity(elements.shape[:-1], elements.dtype)

    def sample_points(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Standard normal points."""
        return jax.random.normal(key, (*shape, self.point_dim), dtype)

    def unliftable(self, points: Float[Array, "*B D"]) -> Bool[Array, "*B"]:
        """The origin, within 1e-6."""
        return is_exceptional(points)

    def pair_invariants(self, pair: Components) -> Components:
        """The pair itself: the stabilizer is trivial."""
        return pair

    def squared_distance_components(
        self, pair: Components, query_orbits: Components, key_orbits: Components
    ) -> Array:
        """On the cylinder of angles (radians) and log-radii; not smooth at half-turns."""
        return numerics.squared_norm(self.group.log_components(pair))

"""Rⁿ with the translations as a section: under T(n), SE(n), E(n) and Sim(n); and Rⁿ unmoved."""

import dataclasses

import jax
import jax.numpy as jnp

from eqattn import numerics
from eqattn.groups import E, LieGroup, T, Trivial
from eqattn.groups.affine import Affine
from eqattn.groups.base import stack, unstack
from eqattn.groups.reflected import Reflected
from eqattn.spaces.base import Space
from eqattn.specification import computed
from eqattn.typing import Array, Components, DType, Float, Key


@dataclasses.dataclass(frozen=True, repr=False)
class AffineSpace(Space):
    """Rⁿ under T(n), where H is trivial, or SE(n), E(n), Sim(n), where H is their linear part.

    The section of x is the translation by x; translations are normal, so that stabilizer samples
    may be shared by all points. Under Sim(n), H = R₊×SO(n) is not compact: there are no Haar
    samples, and lifts need ``Frames``, or scale and orientation as data (``group_space``).

    Args:
      group: T(n), SE(n), E(n) or Sim(n).

    Raises:
      ValueError: For another group.
    """

    text_name = "euclidean"

    group: T | Affine | Reflected

    section_is_normal = True

    def __post_init__(self):
        if not isinstance(self.group, T | Affine) and self.group not in (E(2), E(3)):
            raise ValueError(
                f"group of AffineSpace must be T(n), SE(n), E(n) or Sim(n), got {self.group}"
            )

    stabilizer = computed(
        lambda self: Trivial(self.point_dim) if isinstance(self.group, T) else self.group.linear
    )

    def origin(self) -> tuple[float, ...]:
        return (0.0,) * self.point_dim

    def section(self, points: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        """The translation by the point.

        Raises:
          ValueError: If the last axis of ``points`` is not the dimension of the space.
        """
        self.check_points(points)
        points = numerics.at_least_float32(points)
        identity = self.stabilizer.identity(points.shape[:-1], points.dtype)
        return self._join(identity, points)

    def translation(self, vectors: Float[Array, "*B V"]) -> Float[Array, "*B E"]:
        """See :meth:`Space.translation`: the section."""
        return self.section(vectors)

    def embed_stabilizer(self, elements: Float[Array, "*B _"]) -> Float[Array, "*B E"]:
        """The linear maps about the origin (the identity under T(n))."""
        elements = numerics.at_least_float32(elements)
        zeros = jnp.zeros((*elements.shape[:-1], self.point_dim), elements.dtype)
        return self._join(elements, zeros)

    def _join(self, linear: Float[Array, "*B _"], t: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        if isinstance(self.group, T):
            return t
        return stack(self.group.join(unstack(linear), unstack(t)), t.shape[:-1], t.dtype)

    def sample_points(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Standard normal points."""
        return jax.random.normal(key, (*shape, self.point_dim), dtype)

    def pair_invariants(self, pair: Components) -> Components:
        """The distance of the two points; under T(n) their difference, under Sim(n) nothing.

        Any two points are as far apart as any others, up to a similarity.
        """
        if isinstance(self.group, T):
            return pair
        if not self.stabilizer.is_compact:
            return ()
        return (self.base_distance_components(pair, (), ()),)

    def squared_distance_components(
        self, pair: Components, query_orbits: Components, key_orbits: Components
    ) -> Array:
        """Of Euclidean distance; under Sim(n) in units of the (geometric mean) scale of the two.

        There it is left-invariant for elements, which have a scale, and not one of points.
        """
        if isinstance(self.group, T):
            return numerics.squared_norm(pair)
        linear, t = self.group.split(pair)
        if self.stabilizer.is_compact:
            return numerics.squared_norm(t)
        return jnp.exp(-linear[-1]) * numerics.squared_norm(t)


@dataclasses.dataclass(frozen=True, repr=False)
class DistanceSpace(AffineSpace):
    """Rⁿ whose elements are positions, and of whose pairs only the distance is seen.

    A term that sees ``"invariants"`` here sees what it would of cosets of SE(n) or E(n) by their
    rotations, and elements have no more numbers than positions.

    Args:
      group: T(n).

    Raises:
      ValueError: For another group.
    """

    text_name = ""

    group: T

    def __post_init__(self):
        if not isinstance(self.group, T):
            raise ValueError(f"group of DistanceSpace must be T(n), got {self.group}")

    def pair_invariants(self, pair: Components) -> Components:
        """The distance of the two points."""
        return (self.base_distance_components(pair, (), ()),)


@dataclasses.dataclass(frozen=True, repr=False)
class TrivialSpace(Space):
    """Rⁿ under the trivial group: each point is an orbit, and its coordinates are invariants.

    As a factor of a product, what the rest leaves alone: heights under the rotations about the
    last axis, or time. By itself, data without symmetry.

    Args:
      group: ``Trivial(n)``.

    Raises:
      ValueError: For another group.
    """

    text_name = "euclidean"

    group: LieGroup

    section_is_normal = True

    def __post_init__(self):
        if not isinstance(self.group, Trivial):
            raise ValueError(f"group of TrivialSpace must be Trivial(n), got {self.group}")

    num_orbit_invariants = computed(lambda self: self.point_dim)
    stabilizer = computed(lambda self: self.group)

    def origin(self) -> tuple[float, ...]:
        return (0.0,) * self.point_dim

    def section(self, points: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        """The identity, which has no components.

        Raises:
          ValueError: If the last axis of ``points`` is not the dimension of the space.
        """
        self.check_points(points)
        return jnp.zeros((*points.shape[:-1], 0), numerics.at_least_float32(points).dtype)

    def orbit_invariants(self, points: Float[Array, "*B D"]) -> Float[Array, "*B Q"]:
        """The coordinates."""
        self.check_points(points)
        return numerics.at_least_float32(points)

    def embed_stabilizer(self, elements: Float[Array, "*B _"]) -> Float[Array, "*B E"]:
        """The identity."""
        return numerics.at_least_float32(elements)

    def sample_points(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Standard normal points."""
        return jax.random.normal(key, (*shape, self.point_dim), dtype)

    def pair_invariants(self, pair: Components) -> Components:
        """None: all is in the orbit invariants."""
        return ()

    def squared_distance_components(
        self, pair: Components, query_orbits: Components, key_orbits: Components
    ) -> Array:
        """Of Euclidean distance, from the orbit invariants."""
        return numerics.squared_norm(
            tuple(a - b for a, b in zip(query_orbits, key_orbits, strict=True))
        )

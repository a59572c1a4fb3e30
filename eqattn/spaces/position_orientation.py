"""Positions with orientations as data: R²×S¹ and R³×S² under SE(n), or E(n)."""

import dataclasses

import jax
import jax.numpy as jnp

from eqattn import numerics
from eqattn.groups import SE, E
from eqattn.groups.base import stack, unstack
from eqattn.groups.reflected import Reflected
from eqattn.groups.rigid import SE2, SE3
from eqattn.groups.rotation import cross
from eqattn.spaces.base import Space
from eqattn.spaces.euclidean import AffineSpace
from eqattn.spaces.sphere import Sphere
from eqattn.specification import computed
from eqattn.typing import Array, Bool, Components, DType, Float, Key


def _dot(a: Components, b: Components) -> Array:
    return sum(x * y for x, y in zip(a[1:], b[1:], strict=True)) + a[0] * b[0]


@dataclasses.dataclass(frozen=True, repr=False)
class PositionOrientation(Space):
    """Points [x, n] of 2 D coordinates: a position and a unit vector, which turn together.

    One orbit. H is what keeps a direction, see :class:`Sphere`: nothing in the plane under SE(2),
    the rotations about n in space. n must be of length 1 where values are known
    (:meth:`Space.check_domain`); under ``jit`` its length is ignored. The distance is the root of
    the squared distance of positions and the squared angle of orientations, in radians.

    Args:
      group: SE(2), SE(3), E(2) or E(3).

    Raises:
      ValueError: For another group.
    """

    text_name = "position_orientation"

    group: SE2 | SE3 | Reflected

    def __post_init__(self):
        if self.group not in (SE(2), SE(3), E(2), E(3)):
            raise ValueError(
                f"group of PositionOrientation must be SE(n) or E(n), got {self.group}"
            )

    @property
    def _sphere(self) -> Sphere:
        return Sphere(self.group.linear)

    @property
    def point_dim(self) -> int:
        return 2 * self.group.point_dim

    stabilizer = computed(lambda self: self._sphere.stabilizer)
    section_is_normal = computed(lambda self: self._sphere.section_is_normal)

    def act(
        self, elements: Float[Array, "*#B E"], points: Float[Array, "*#B D"]
    ) -> Float[Array, "*B D"]:
        """Moves positions, and turns (and reflects) orientations."""
        self.check_points(points)
        x, n = jnp.split(points, 2, axis=-1)
        elements = numerics.at_least_float32(elements)
        linear, _ = self.group.split(unstack(elements))
        turn = stack(linear, elements.shape[:-1], elements.dtype)
        parts = self.group.act(elements, x), self.group.linear.act(turn, n)
        return jnp.concatenate(parts, axis=-1)

    def origin(self) -> tuple[float, ...]:
        """At 0, towards the first axis in the plane and the last in space."""
        return (*(0.0,) * self.group.point_dim, *self._sphere.origin())

    def section(self, points: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        """The rotation to the orientation (see :meth:`Sphere.section`), then the translation.

        Raises:
          ValueError: If the last axis of ``points`` is not the dimension of the space.
        """
        self.check_points(points)
        x, n = jnp.split(numerics.at_least_float32(points), 2, axis=-1)
        return self._join(self._sphere.section(n), x)

    def translation(self, vectors: Float[Array, "*B V"]) -> Float[Array, "*B E"]:
        """See :meth:`Space.translation`: orientations stay."""
        return AffineSpace(self.group).translation(vectors)

    def unliftable(self, points: Float[Array, "*B D"]) -> Bool[Array, "*B"]:
        """Points without an orientation: the zero vector."""
        return self._sphere.unliftable(points[..., self.group.point_dim :])

    point_kind = "a position and a unit vector each"

    def domain_defect(self, points: Float[Array, "*B D"]) -> Float[Array, "*B"]:
        """By how much the lengths of orientations differ from 1."""
        return self._sphere.domain_defect(points[..., self.group.point_dim :])

    def _join(self, linear: Array, x: Array) -> Float[Array, "*B E"]:
        return stack(self.group.join(unstack(linear), unstack(x)), x.shape[:-1], x.dtype)

    def embed_stabilizer(self, elements: Float[Array, "*B _"]) -> Float[Array, "*B E"]:
        """Those of the direction of the origin, see :meth:`Sphere.embed_stabilizer`."""
        linear = self._sphere.embed_stabilizer(elements)
        zeros = jnp.zeros((*linear.shape[:-1], self.group.point_dim), linear.dtype)
        return self._join(linear, zeros)

    def sample_points(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Standard normal positions, uniform orientations."""
        place, turn = jax.random.split(key)
        x = jax.random.normal(place, (*shape, self.group.point_dim), dtype)
        return jnp.concatenate([x, self._sphere.sample_points(turn, shape, dtype)], axis=-1)

    def pair_invariants(self, pair: Components) -> Components:
        """n_i·d, n_j·d, n_i·n_j and |d|², with d = x_j - x_i; under SE(3) also det(d, n_i, n_j).

        Under SE(2), where H is trivial, the pair itself. The determinant changes its sign under
        reflections; without it a model would be invariant to E(3).
        """
        if self.stabilizer.element_dim == 0:
            return pair
        linear, d = self.group.split(pair)
        own, other = self._sphere.moved_origin(linear)
        invariants = (_dot(own, d), _dot(other, d), _dot(own, other), _dot(d, d))
        if isinstance(self.group, Reflected):
            return invariants
        return (*invariants, _dot(d, cross(own, other)))

    def squared_distance_components(
        self, pair: Components, query_orbits: Components, key_orbits: Components
    ) -> Array:
        """Of positions, and of orientations by their angle."""
        linear, d = self.group.split(pair)
        return numerics.squared_norm(d) + self._sphere.squared_distance_components(linear, (), ())

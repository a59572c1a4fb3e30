"""Rⁿ under T(n) and SE(n): one orbit, with the translations as a normal section."""

import dataclasses

import jax
import jax.numpy as jnp

from eqattn import numerics
from eqattn.groups import SO, LieGroup, T, Trivial
from eqattn.groups.rigid import SE2, SE3
from eqattn.spaces.base import Space
from eqattn.typing import Array, Components, DType, Float, Key


@dataclasses.dataclass(frozen=True)
class TranslatedSpace(Space):
    """Rⁿ under T(n), where H is trivial, or SE(n), where H = SO(n) about the origin.

    The section of x is the translation by x; translations are normal in SE(n), so that stabilizer
    samples may be shared by all points.
    """

    group: LieGroup

    num_orbit_invariants = 0
    section_is_normal = True
    has_exceptional_orbits = False

    def __post_init__(self):
        if not isinstance(self.group, T | SE2 | SE3):
            raise ValueError(f"group of TranslatedSpace must be T(n) or SE(n), got {self.group}")

    @property
    def stabilizer(self) -> LieGroup:  # pyright: ignore[reportIncompatibleVariableOverride]
        return Trivial(self.point_dim) if isinstance(self.group, T) else SO(self.point_dim)

    @property
    def draws_samples(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.stabilizer.element_dim > 0

    @property
    def _num_rotation_components(self) -> int:
        return self.group.element_dim - self.point_dim

    def origin(self) -> tuple[float, ...]:
        return (0.0,) * self.point_dim

    def section(self, points: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        """The translation by the point.

        Raises:
          ValueError: if the last axis of ``points`` is not the dimension of the space.
        """
        self.check_points(points)
        points = numerics.at_least_float32(points)
        identity = self.group.identity(points.shape[:-1], points.dtype)
        return jnp.concatenate([identity[..., : self._num_rotation_components], points], -1)

    def orbit_invariants(self, points: Float[Array, "*B D"]) -> Float[Array, "*B Q"]:
        """None: the space is one orbit."""
        self.check_points(points)
        return jnp.zeros((*points.shape[:-1], 0), numerics.at_least_float32(points).dtype)

    def embed_stabilizer(self, elements: Float[Array, "*B _"]) -> Float[Array, "*B E"]:
        """The rotations about the origin (the identity under T(n))."""
        elements = numerics.at_least_float32(elements)
        zeros = jnp.zeros((*elements.shape[:-1], self.point_dim), elements.dtype)
        return jnp.concatenate([elements, zeros], -1)

    def sample_stabilizer(
        self, key: Key[Array, ""], point: Float[Array, " D"]
    ) -> Float[Array, " E"]:
        """A Haar rotation about the origin (the identity under T(n)): [E]."""
        dtype = numerics.at_least_float32(point).dtype
        return self.embed_stabilizer(self.stabilizer.sample(key, (), dtype))

    def sample_points(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Standard normal points."""
        return jax.random.normal(key, (*shape, self.point_dim), dtype)

    def double_coset_components(self, pair: Components) -> Components:
        """The distance of the two points under SE(n); their difference under T(n)."""
        if self.stabilizer.element_dim == 0:
            return pair
        return (self.base_distance_components(pair, (), ()),)

    def squared_distance_components(
        self, pair: Components, query_orbits: Components, key_orbits: Components
    ) -> Array:
        """Of Euclidean distance."""
        return numerics.squared_norm(pair[self._num_rotation_components :])

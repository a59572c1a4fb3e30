"""R₊×SO(2): scalings and rotations of the plane. Element (cos, sin, log r), algebra (t, log r)."""

import dataclasses

import jax
import jax.numpy as jnp

from eqattn import numerics
from eqattn.groups.base import LieGroup, stack_matrix, unstack
from eqattn.groups.rotation import SO2
from eqattn.typing import Array, Components, DType, Float, Key


@dataclasses.dataclass(frozen=True)
class RxSO2(LieGroup):
    """Scalings and rotations of the plane about the origin; commutative.

    Element (cos t, sin t, log r), algebra (t, log r): rotation first, in radians.
    """

    rotation = SO2()
    algebra_dim = 2
    element_dim = 3
    point_dim = 2
    is_compact = False

    def identity_components(self) -> tuple[float, ...]:
        return (1.0, 0.0, 0.0)

    def compose_components(self, g: Components, h: Components) -> Components:
        return (*self.rotation.compose_components(g[:2], h[:2]), g[2] + h[2])

    def inverse_components(self, g: Components) -> Components:
        return (g[0], -g[1], -g[2])

    def exp_components(self, algebra: Components) -> Components:
        return (*self.rotation.exp_components(algebra[:1]), algebra[1])

    def log_components(self, g: Components) -> Components:
        return (*self.rotation.log_components(g[:2]), g[2])

    def act_components(self, g: Components, point: Components) -> Components:
        scale = jnp.exp(g[2])
        return tuple(scale * a for a in self.rotation.act_components(g[:2], point))

    def embedding_components(self, g: Components) -> Components:
        return g

    def distance_components(self, g: Components, rotation_scale: float) -> Array:
        angle, log_scale = self.log_components(g)
        return numerics.safe_norm((rotation_scale * angle, log_scale))

    def matrix(self, g: Float[Array, "*B E"]) -> Float[Array, "*B m m"]:
        """The matrices r R."""
        self._check("g", g, self.element_dim)
        c, s, log_scale = unstack(g)
        c, s = jnp.exp(log_scale) * c, jnp.exp(log_scale) * s
        return stack_matrix([[c, -s], [s, c]], c.shape, c.dtype)

    def linear_matrix(self, g: Float[Array, "*B E"]) -> Float[Array, "*B D D"]:
        """The rotation alone: vectors of scale weight 0."""
        self._check("g", g, self.element_dim)
        return self.rotation.matrix(g[..., :2])

    def log_scale(self, g: Float[Array, "*B E"]) -> Float[Array, "*B"]:
        self._check("g", g, self.element_dim)
        return numerics.at_least_float32(g)[..., 2]

    def adjoint(self, g: Float[Array, "*B E"]) -> Float[Array, "*B A A"]:
        self._check("g", g, self.element_dim)
        dtype = numerics.at_least_float32(g).dtype
        return jnp.broadcast_to(jnp.eye(2, dtype=dtype), (*g.shape[:-1], 2, 2))

    def sample(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Proposal: uniform angles, standard normal log-scales."""
        turn, scale = jax.random.split(key)
        return jnp.concatenate(
            [
                self.rotation.sample(turn, shape, dtype),
                jax.random.normal(scale, (*shape, 1), dtype),
            ],
            axis=-1,
        )

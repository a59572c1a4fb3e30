"""R₊×SO(n): scalings and rotations; Sim(n): these with translations, p ↦ r R p + t.

Elements: rotation, log r, translation: (cos, sin, log r, x, y), (w, x, y, z, log r, tx, ty, tz).
Algebra in the same order: (angle or rotation vector, log r, translation).
"""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp

from eqattn import numerics
from eqattn.groups.affine import Affine
from eqattn.groups.base import LieGroup, stack, unstack
from eqattn.groups.rotation import SO2, SO3, cross
from eqattn.typing import Array, Components, DType, Float, Key


class _ScaledRotations(LieGroup):
    """What R₊×SO(2) and R₊×SO(3) share: direct products that act on one space."""

    rotation: ClassVar[LieGroup]
    is_compact = False

    def identity_components(self) -> tuple[float, ...]:
        return (*self.rotation.identity_components(), 0.0)

    def compose_components(self, g: Components, h: Components) -> Components:
        return (*self.rotation.compose_components(g[:-1], h[:-1]), g[-1] + h[-1])

    def inverse_components(self, g: Components) -> Components:
        return (*self.rotation.inverse_components(g[:-1]), -g[-1])

    def defect_components(self, g: Components) -> Array:
        return self.rotation.defect_components(g[:-1])

    def exp_components(self, algebra: Components) -> Components:
        return (*self.rotation.exp_components(algebra[:-1]), algebra[-1])

    def log_components(self, g: Components) -> Components:
        return (*self.rotation.log_components(g[:-1]), g[-1])

    def act_components(self, g: Components, point: Components) -> Components:
        scale = jnp.exp(g[-1])
        return tuple(scale * a for a in self.rotation.act_components(g[:-1], point))

    def embedding_components(self, g: Components) -> Components:
        return (*self.rotation.embedding_components(g[:-1]), g[-1])

    def squared_distance_components(self, g: Components, rotation_scale: float) -> Array:
        turn = self.rotation.squared_distance_components(g[:-1], rotation_scale)
        return turn + g[-1] * g[-1]

    def matrix(self, g: Float[Array, "*B E"]) -> Float[Array, "*B m m"]:
        """The matrices r R."""
        scale = jnp.exp(self.log_scale(g))
        return scale[..., None, None] * self.linear_matrix(g)

    def linear_matrix(self, g: Float[Array, "*B E"]) -> Float[Array, "*B D D"]:
        """The rotation alone: vectors of scale weight 0."""
        self._check("g", g, self.element_dim)
        return self.rotation.matrix(g[..., :-1])

    def log_scale(self, g: Float[Array, "*B E"]) -> Float[Array, "*B"]:
        self._check("g", g, self.element_dim)
        return numerics.at_least_float32(g)[..., -1]

    def adjoint(self, g: Float[Array, "*B E"]) -> Float[Array, "*B A A"]:
        self._check("g", g, self.element_dim)
        turn = self.rotation.adjoint(g[..., :-1])
        eye = jnp.eye(self.algebra_dim, dtype=turn.dtype)
        out = jnp.broadcast_to(eye, (*g.shape[:-1], *eye.shape))
        return out.at[..., :-1, :-1].set(turn)

    def sample(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Proposal: Haar rotations, standard normal log-scales."""
        turn, scale = jax.random.split(key)
        return jnp.concatenate(
            [
                self.rotation.sample(turn, shape, dtype),
                jax.random.normal(scale, (*shape, 1), dtype),
            ],
            axis=-1,
        )

    def sample_bounded(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        elements = self.sample(key, shape, dtype)
        return elements.at[..., -1].set(jnp.clip(elements[..., -1], -math.log(2), math.log(2)))


@dataclasses.dataclass(frozen=True, repr=False)
class RxSO2(_ScaledRotations):
    """Scalings and rotations of the plane about the origin; commutative.

    Element (cos t, sin t, log r), algebra (t, log r): rotation first, in radians.
    """

    rotation = SO2()
    algebra_dim = 2
    element_dim = 3
    point_dim = 2


@dataclasses.dataclass(frozen=True, repr=False)
class RxSO3(_ScaledRotations):
    """Scalings and rotations of space about the origin.

    Element (w, x, y, z, log r), algebra (rotation vector, log r). As in SO(3), the quaternions q
    and -q are one element.
    """

    rotation = SO3()
    algebra_dim = 4
    element_dim = 5
    point_dim = 3


class _Similarity(Affine):
    """What Sim(2) and Sim(3) share: exp and log by functions of log r + Ω, and the distance."""

    linear: ClassVar[RxSO2 | RxSO3]

    def _generate(self, turn: Components, v: Components) -> Components:
        """Ω v: a rotation vector, or an angle, times a vector."""
        return (-turn[0] * v[1], turn[0] * v[0]) if len(v) == 2 else cross(turn, v)

    def _apply_function(
        self, coefficients: tuple[Array, Array, Array], turn: Components, v: Components
    ) -> Components:
        """(a + b Ω + c Ω²) v."""
        once = self._generate(turn, v)
        twice = self._generate(turn, once)
        a, b, c = coefficients
        return tuple(a * x + b * y + c * z for x, y, z in zip(v, once, twice, strict=True))

    def exp_components(self, algebra: Components) -> Components:
        # t = V v with V = ∫₀¹ exp(s (log r + Ω)) ds.
        size = self.linear.algebra_dim
        turn, log_scale, v = algebra[: size - 1], algebra[size - 1], algebra[size:]
        coefficients = numerics.exponential_integral(log_scale, numerics.squared_norm(turn))
        t = self._apply_function(coefficients, turn, v)
        return (*self.linear.exp_components(algebra[:size]), *t)

    def log_components(self, g: Components) -> Components:
        linear, t = self.split(g)
        *turn, log_scale = self.linear.log_components(linear)
        turn = tuple(turn)
        coefficients = numerics.inverse_exponential_integral(log_scale, numerics.squared_norm(turn))
        return (*turn, log_scale, *self._apply_function(coefficients, turn, t))

    def squared_distance_components(self, g: Components, rotation_scale: float) -> Array:
        """Of the rotation, and of scale and translation as points (r, t) of hyperbolic space.

        With its metric (dr² + dt²)/r² similarities act on that space by isometries, so that the
        sum is left-invariant: cosh D = cosh(log r) + |t|² / 2r.
        """
        linear, t = self.split(g)
        turn = self.linear.rotation.squared_distance_components(linear[:-1], rotation_scale)
        half_sine = jnp.sinh(0.5 * linear[-1])
        sine_sq = half_sine * half_sine + 0.25 * jnp.exp(-linear[-1]) * numerics.squared_norm(t)
        return turn + 4.0 * sine_sq * numerics.asinh_ratio(sine_sq) ** 2

    def adjoint(self, g: Float[Array, "*B E"]) -> Float[Array, "*B A A"]:
        # Of the translations: r R v - log r t - Ω' t, with Ω' the turned rotation.
        self._check("g", g, self.element_dim)
        size = self.linear.element_dim
        turn = self.linear.rotation.adjoint(g[..., : size - 1])
        matrix, t = self.linear.matrix(g[..., :size]), unstack(g[..., size:])
        columns = [unstack(turn[..., i]) for i in range(turn.shape[-1])]
        moved = [tuple(-c for c in self._generate(column, t)) for column in columns]
        moved.append(tuple(-c for c in t))
        shift = jnp.stack([stack(c, g.shape[:-1], matrix.dtype) for c in moved], axis=-1)
        eye = jnp.eye(self.algebra_dim, dtype=matrix.dtype)
        out = jnp.broadcast_to(eye, (*g.shape[:-1], *eye.shape))
        num_turns = turn.shape[-1]
        out = out.at[..., :num_turns, :num_turns].set(turn)
        out = out.at[..., num_turns + 1 :, : num_turns + 1].set(shift)
        return out.at[..., num_turns + 1 :, num_turns + 1 :].set(matrix)


@dataclasses.dataclass(frozen=True, repr=False)
class Sim2(_Similarity):
    """Rotations, scalings and translations of the plane: p ↦ r R p + t.

    Element (cos, sin, log r, x, y), algebra (angle, log r, x, y).

    >>> import jax.numpy as jnp
    >>> algebra = jnp.array([jnp.pi / 2, 0.5, 1.0, 0.0])
    >>> bool(jnp.allclose(Sim2().log(Sim2().exp(algebra)), algebra, atol=1e-6))
    True
    """

    text_name = "Sim(2)"
    linear = RxSO2()
    algebra_dim = 4
    element_dim = 5
    point_dim = 2


@dataclasses.dataclass(frozen=True, repr=False)
class Sim3(_Similarity):
    """Rotations, scalings and translations of space: p ↦ r R p + t.

    Element (w, x, y, z, log r, tx, ty, tz), algebra (rotation vector, log r, translation). As in
    SO(3), the quaternions q and -q are one element.
    """

    text_name = "Sim(3)"
    linear = RxSO3()
    algebra_dim = 7
    element_dim = 8
    point_dim = 3

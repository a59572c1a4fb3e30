"""SO(2) and SO(3). Elements: (cos, sin); unit quaternion (w, x, y, z). Algebra: rotation vector."""

import dataclasses

import jax
import jax.numpy as jnp

from eqattn import numerics
from eqattn.groups.base import LieGroup, stack_matrix, uniform_angle, unstack
from eqattn.typing import Array, Components, DType, Float, Key


@dataclasses.dataclass(frozen=True, repr=False)
class SO2(LieGroup):
    """Rotations of the plane; element (cos t, sin t), algebra (t,) in radians.

    >>> import jax.numpy as jnp
    >>> quarter_turn = SO2().exp(jnp.array([jnp.pi / 2]))
    >>> turned = SO2().act(quarter_turn, jnp.array([1.0, 0.0]))
    >>> bool(jnp.allclose(turned, jnp.array([0.0, 1.0]), atol=1e-6))
    True
    """

    text_name = "SO(2)"
    algebra_dim = 1
    element_dim = 2
    point_dim = 2
    is_compact = True

    def identity_components(self) -> tuple[float, ...]:
        return (1.0, 0.0)

    def compose_components(self, g: Components, h: Components) -> Components:
        return (g[0] * h[0] - g[1] * h[1], g[1] * h[0] + g[0] * h[1])

    def inverse_components(self, g: Components) -> Components:
        return (g[0], -g[1])

    def defect_components(self, g: Components) -> Array:
        return jnp.abs(numerics.squared_norm(g) - 1.0)

    def exp_components(self, algebra: Components) -> Components:
        (angle,) = algebra
        return (jnp.cos(angle), jnp.sin(angle))

    def log_components(self, g: Components) -> Components:
        return (numerics.planar_angle(*g),)

    def act_components(self, g: Components, point: Components) -> Components:
        return self.compose_components(g, point)

    def embedding_components(self, g: Components) -> Components:
        return g

    def squared_distance_components(self, g: Components, rotation_scale: float) -> Array:
        (angle,) = self.log_components(g)
        return (rotation_scale * angle) ** 2

    def matrix(self, g: Float[Array, "*B E"]) -> Float[Array, "*B m m"]:
        """Rotation matrices."""
        self._check("g", g, self.element_dim)
        c, s = unstack(g)
        return stack_matrix([[c, -s], [s, c]], c.shape, c.dtype)

    def linear_matrix(self, g: Float[Array, "*B E"]) -> Float[Array, "*B D D"]:
        return self.matrix(g)

    def adjoint(self, g: Float[Array, "*B E"]) -> Float[Array, "*B A A"]:
        self._check("g", g, self.element_dim)
        return jnp.ones((*g.shape[:-1], 1, 1), numerics.at_least_float32(g).dtype)

    def sample(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Haar: uniform angles."""
        angle = uniform_angle(key, shape, dtype)
        return jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)


def canonical_sign(q: Components) -> Array:
    """1 or -1, by which the first non-zero component of q gets positive: q and -q are one."""
    w, x, y, z = q
    leading = jnp.where(w != 0, w, jnp.where(x != 0, x, jnp.where(y != 0, y, z)))
    return jnp.where(leading < 0, -1.0, 1.0).astype(w.dtype)


def cross(a: Components, b: Components) -> Components:
    """Cross product of two vectors."""
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def quaternion_matrix(q: Components) -> tuple[Components, Components, Components]:
    """Rows of the rotation matrix of a unit quaternion."""
    w, x, y, z = q
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )


@dataclasses.dataclass(frozen=True, repr=False)
class SO3(LieGroup):
    """Rotations of space; element a unit quaternion (w, x, y, z), algebra the rotation vector.

    q and -q are one element: :meth:`log`, :meth:`distance`, :meth:`matrix` and :meth:`act` do not
    tell them apart. The logarithm of a half-turn is the one whose first non-zero component is
    positive.
    """

    text_name = "SO(3)"
    algebra_dim = 3
    element_dim = 4
    point_dim = 3
    is_compact = True

    def identity_components(self) -> tuple[float, ...]:
        return (1.0, 0.0, 0.0, 0.0)

    def compose_components(self, g: Components, h: Components) -> Components:
        (w, x, y, z), (a, b, c, d) = g, h
        return (
            w * a - x * b - y * c - z * d,
            w * b + x * a + y * d - z * c,
            w * c - x * d + y * a + z * b,
            w * d + x * c - y * b + z * a,
        )

    def inverse_components(self, g: Components) -> Components:
        w, x, y, z = g
        return (w, -x, -y, -z)

    def defect_components(self, g: Components) -> Array:
        return jnp.abs(numerics.squared_norm(g) - 1.0)

    def exp_components(self, algebra: Components) -> Components:
        angle_sq = numerics.squared_norm(algebra)
        half_sq = 0.25 * angle_sq
        scale = 0.5 * numerics.sinc(half_sq)
        return (numerics.cosine(half_sq), *(scale * a for a in algebra))

    def log_components(self, g: Components) -> Components:
        w, *v = g
        sign = canonical_sign(g)  # applied once, to the scale
        ratio = numerics.angle_over_sine(numerics.squared_norm(tuple(v)), sign * w)
        scale = 2.0 * sign * ratio
        return tuple(scale * c for c in v)

    def act_components(self, g: Components, point: Components) -> Components:
        # p + 2 (w t + v × t) with t = v × p.
        w, v = g[0], g[1:]
        t = cross(v, point)
        u = cross(v, t)
        return tuple(p + 2.0 * (w * a + b) for p, a, b in zip(point, t, u, strict=True))

    def embedding_components(self, g: Components) -> Components:
        return tuple(c for row in quaternion_matrix(g) for c in row)

    def squared_distance_components(self, g: Components, rotation_scale: float) -> Array:
        return rotation_scale**2 * numerics.squared_norm(self.log_components(g))

    def matrix(self, g: Float[Array, "*B E"]) -> Float[Array, "*B m m"]:
        """Rotation matrices."""
        self._check("g", g, self.element_dim)
        q = unstack(g)
        return stack_matrix(quaternion_matrix(q), q[0].shape, q[0].dtype)

    def linear_matrix(self, g: Float[Array, "*B E"]) -> Float[Array, "*B D D"]:
        return self.matrix(g)

    def adjoint(self, g: Float[Array, "*B E"]) -> Float[Array, "*B A A"]:
        return self.matrix(g)

    def sample(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Haar: uniform on the unit quaternions."""
        q = jax.random.normal(key, (*shape, 4), dtype)
        return q / jnp.linalg.norm(q, axis=-1, keepdims=True)

"""SE(2) and SE(3). Elements (cos, sin, x, y) and (w, x, y, z, tx, ty, tz): p ↦ R p + t.

Algebra: rotation first, then translation: (t, x, y) and (rotation vector, translation).
"""

import dataclasses

import jax.numpy as jnp

from eqattn import numerics
from eqattn.groups.affine import Affine
from eqattn.groups.base import stack, stack_matrix, unstack
from eqattn.groups.rotation import SO2, SO3, cross
from eqattn.typing import Array, Components, Float


class _Rigid(Affine):
    """What SE(2) and SE(3) share: the distance."""

    def squared_distance_components(self, g: Components, rotation_scale: float) -> Array:
        """Of rotation and translation, as in the direct product."""
        r, t = self.split(g)
        turn = self.linear.squared_distance_components(r, rotation_scale)
        return turn + numerics.squared_norm(t)


@dataclasses.dataclass(frozen=True, repr=False)
class SE2(_Rigid):
    """Rotations and translations of the plane; element (cos, sin, x, y), algebra (t, x, y)."""

    text_name = "SE(2)"
    linear = SO2()
    algebra_dim = 3
    element_dim = 4
    point_dim = 2

    def exp_components(self, algebra: Components) -> Components:
        # t = V (x, y), V = [[sin a / a, -(1 - cos a) / a], [(1 - cos a) / a, sin a / a]].
        angle, x, y = algebra
        diagonal = numerics.sinc(angle * angle)
        off = angle * numerics.versine_ratio(angle * angle)
        return (
            *self.linear.exp_components((angle,)),
            diagonal * x - off * y,
            off * x + diagonal * y,
        )

    def log_components(self, g: Components) -> Components:
        # V⁻¹ = [[k, a/2], [-a/2, k]] with k = (a/2) cot(a/2) = 1 - a² defect(a²).
        c, s, x, y = g
        angle = numerics.planar_angle(c, s)
        angle_sq = angle * angle
        k = 1.0 - angle_sq * numerics.half_cotangent_defect(angle_sq)
        half = 0.5 * angle
        return (angle, k * x + half * y, k * y - half * x)

    def adjoint(self, g: Float[Array, "*B E"]) -> Float[Array, "*B A A"]:
        self._check("g", g, self.element_dim)
        c, s, x, y = unstack(g)
        rows = [[1.0, 0.0, 0.0], [y, c, -s], [-x, s, c]]
        return stack_matrix(rows, c.shape, c.dtype)


@dataclasses.dataclass(frozen=True, repr=False)
class SE3(_Rigid):
    """Rotations and translations of space; element (w, x, y, z, tx, ty, tz).

    Algebra (rotation vector, translation). As in SO(3), the quaternions q and -q are one element.

    >>> import jax.numpy as jnp
    >>> twist = jnp.array([0.0, 0.0, jnp.pi / 2, 1.0, 0.0, 0.0])
    >>> bool(jnp.allclose(SE3().log(SE3().exp(twist)), twist, atol=1e-6))
    True
    """

    text_name = "SE(3)"
    linear = SO3()
    algebra_dim = 6
    element_dim = 7
    point_dim = 3

    def exp_components(self, algebra: Components) -> Components:
        # t = V v, V v = v + (1 - cos a)/a² w × v + (a - sin a)/a³ w × (w × v).
        w, v = algebra[:3], algebra[3:]
        angle_sq = numerics.squared_norm(w)
        once = cross(w, v)
        twice = cross(w, once)
        first = numerics.versine_ratio(angle_sq)
        second = numerics.sine_defect_ratio(angle_sq)
        t = tuple(a + first * b + second * c for a, b, c in zip(v, once, twice, strict=True))
        return (*self.linear.exp_components(w), *t)

    def log_components(self, g: Components) -> Components:
        # V⁻¹ t = t - w × t / 2 + defect(a²) w × (w × t), w × (w × t) = (w·t) w - a² t.
        q, t = self.split(g)
        w = self.linear.log_components(q)
        angle_sq = numerics.squared_norm(w)
        defect = numerics.half_cotangent_defect(angle_sq)
        along = defect * sum(a * b for a, b in zip(w, t, strict=True))
        kept = 1.0 - defect * angle_sq
        return (
            *w,
            *(kept * a - 0.5 * b + along * c for a, b, c in zip(t, cross(w, t), w, strict=True)),
        )

    def adjoint(self, g: Float[Array, "*B E"]) -> Float[Array, "*B A A"]:
        self._check("g", g, self.element_dim)
        r = self.linear.matrix(g[..., :4])
        columns = [unstack(r[..., i]) for i in range(3)]
        t = self.split(unstack(g))[1]
        moved = jnp.stack([stack(cross(t, c), g.shape[:-1], r.dtype) for c in columns], -1)
        top = jnp.concatenate([r, jnp.zeros_like(r)], -1)
        return jnp.concatenate([top, jnp.concatenate([moved, r], -1)], -2)

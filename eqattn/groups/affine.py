"""Groups of affine maps: a linear group followed by the translations. Element: linear, then t."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from eqattn.groups.base import LieGroup, stack, unstack
from eqattn.groups.translation import T
from eqattn.typing import Array, Components, DType, Float, Key


class Affine(LieGroup):
    """What SE(n) and Sim(n) share: p ↦ L p + t, where L is of a linear group."""

    linear: ClassVar[LieGroup]
    """The group of L, whose components come first."""
    is_compact = False

    def split(self, g: Components) -> tuple[Components, Components]:
        """Components of L and of t."""
        return g[: self.linear.element_dim], g[self.linear.element_dim :]

    def join(self, linear: Components, t: Components) -> Components:
        """The element of these components of L and of t."""
        return (*linear, *t)

    def identity_components(self) -> tuple[float, ...]:
        return (*self.linear.identity_components(), *(0.0,) * self.point_dim)

    def compose_components(self, g: Components, h: Components) -> Components:
        (r, t), (q, s) = self.split(g), self.split(h)
        moved = self.linear.act_components(r, s)
        return (
            *self.linear.compose_components(r, q),
            *(a + b for a, b in zip(moved, t, strict=True)),
        )

    def inverse_components(self, g: Components) -> Components:
        r, t = self.split(g)
        r = self.linear.inverse_components(r)
        return (*r, *(-a for a in self.linear.act_components(r, t)))

    def defect_components(self, g: Components) -> Array:
        return self.linear.defect_components(self.split(g)[0])

    def act_components(self, g: Components, point: Components) -> Components:
        r, t = self.split(g)
        return tuple(a + b for a, b in zip(self.linear.act_components(r, point), t, strict=True))

    def embedding_components(self, g: Components) -> Components:
        r, t = self.split(g)
        return (*self.linear.embedding_components(r), *t)

    def matrix(self, g: Float[Array, "*B E"]) -> Float[Array, "*B m m"]:
        """Homogeneous matrices [[L, t], [0, 1]]."""
        self._check("g", g, self.element_dim)
        r = self.linear.matrix(g[..., : self.linear.element_dim])
        t = stack(self.split(unstack(g))[1], g.shape[:-1], r.dtype)
        last = jnp.zeros((*t.shape[:-1], 1, self.point_dim + 1), r.dtype).at[..., -1].set(1.0)
        return jnp.concatenate([jnp.concatenate([r, t[..., None]], -1), last], -2)

    def linear_matrix(self, g: Float[Array, "*B E"]) -> Float[Array, "*B D D"]:
        self._check("g", g, self.element_dim)
        return self.linear.linear_matrix(g[..., : self.linear.element_dim])

    def log_scale(self, g: Float[Array, "*B E"]) -> Float[Array, "*B"]:
        self._check("g", g, self.element_dim)
        return self.linear.log_scale(g[..., : self.linear.element_dim])

    def sample(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Proposal: samples of the linear group with standard normal translations."""
        return self._sample_both("sample", key, shape, dtype)

    def sample_bounded(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        return self._sample_both("sample_bounded", key, shape, dtype)

    def _sample_both(self, method: str, key: Array, shape: tuple[int, ...], dtype: DType) -> Array:
        turn, move = jax.random.split(key)
        parts = [
            getattr(factor, method)(k, shape, dtype)
            for factor, k in ((self.linear, turn), (T(self.point_dim), move))
        ]
        return jnp.concatenate(parts, axis=-1)

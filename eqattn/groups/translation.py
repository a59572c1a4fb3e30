"""T(n): translations of Rⁿ. Element (x_1, …, x_n), algebra the same."""

import dataclasses

import jax
import jax.numpy as jnp

from eqattn import numerics
from eqattn.checks import check_sizes
from eqattn.groups.base import LieGroup, stack, unstack
from eqattn.specification import computed
from eqattn.typing import Array, Components, DType, Float, Key


@dataclasses.dataclass(frozen=True, repr=False)
class T(LieGroup):
    """Translations of Rⁿ.

    Args:
      n: Dimension of the space, at least 1.

    Raises:
      TypeError: If n is not an integer.
      ValueError: If it is below 1.

    >>> import jax.numpy as jnp
    >>> T(2).compose(jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0])).tolist()
    [4.0, 6.0]
    """

    n: int

    is_compact = False

    def __post_init__(self):
        check_sizes({"n of T(n)": self.n})

    algebra_dim = computed(lambda self: self.n)
    element_dim = computed(lambda self: self.n)
    point_dim = computed(lambda self: self.n)

    def identity_components(self) -> tuple[float, ...]:
        return (0.0,) * self.n

    def compose_components(self, g: Components, h: Components) -> Components:
        return tuple(a + b for a, b in zip(g, h, strict=True))

    def inverse_components(self, g: Components) -> Components:
        return tuple(-a for a in g)

    def exp_components(self, algebra: Components) -> Components:
        return algebra

    def log_components(self, g: Components) -> Components:
        return g

    def act_components(self, g: Components, point: Components) -> Components:
        return self.compose_components(g, point)

    def embedding_components(self, g: Components) -> Components:
        return g

    def squared_distance_components(self, g: Components, rotation_scale: float) -> Array:
        del rotation_scale  # there are no rotations
        return numerics.squared_norm(g)

    def matrix(self, g: Float[Array, "*B E"]) -> Float[Array, "*B m m"]:
        """Homogeneous (n + 1) × (n + 1) matrices."""
        self._check("g", g, self.element_dim)
        g = stack(unstack(g), g.shape[:-1], numerics.at_least_float32(g).dtype)
        eye = jnp.broadcast_to(
            jnp.eye(self.n + 1, dtype=g.dtype), (*g.shape[:-1], *(self.n + 1,) * 2)
        )
        return eye.at[..., : self.n, self.n].set(g)

    def linear_matrix(self, g: Float[Array, "*B E"]) -> Float[Array, "*B D D"]:
        self._check("g", g, self.element_dim)
        dtype = numerics.at_least_float32(g).dtype
        return jnp.broadcast_to(jnp.eye(self.n, dtype=dtype), (*g.shape[:-1], self.n, self.n))

    def adjoint(self, g: Float[Array, "*B E"]) -> Float[Array, "*B A A"]:
        return self.linear_matrix(g)

    def sample(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Proposal: standard normal translations (T(n) has no Haar probability)."""
        return jax.random.normal(key, (*shape, self.n), dtype)

    def sample_bounded(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        move = self.sample(key, shape, dtype)
        return move / jnp.maximum(1.0, jnp.linalg.norm(move, axis=-1, keepdims=True))

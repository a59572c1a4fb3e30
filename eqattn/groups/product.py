"""The trivial group and direct products. Element and algebra: those of the factors in order."""

import dataclasses
import functools
import itertools
import operator

import jax
import jax.numpy as jnp

from eqattn import numerics
from eqattn.checks import check_sizes
from eqattn.groups.base import LieGroup
from eqattn.specification import computed
from eqattn.typing import Array, Components, DType, Float, Key


@dataclasses.dataclass(frozen=True, repr=False)
class Trivial(LieGroup):
    """The group of one element, acting on Rⁿ as the identity.

    Args:
      n: Dimension of the points it acts on.

    Raises:
      TypeError: If n is not an integer.
      ValueError: If it is below 1.
    """

    n: int = 3

    algebra_dim = 0
    element_dim = 0
    is_compact = True

    def __post_init__(self):
        check_sizes({"n of Trivial(n)": self.n})

    point_dim = computed(lambda self: self.n)

    def identity_components(self) -> tuple[float, ...]:
        return ()

    def compose_components(self, g: Components, h: Components) -> Components:
        return ()

    def inverse_components(self, g: Components) -> Components:
        return ()

    def exp_components(self, algebra: Components) -> Components:
        return ()

    def log_components(self, g: Components) -> Components:
        return ()

    def act_components(self, g: Components, point: Components) -> Components:
        return point

    def embedding_components(self, g: Components) -> Components:
        return ()

    def squared_distance_components(self, g: Components, rotation_scale: float) -> Array:
        del rotation_scale
        return jnp.zeros((), jnp.float32)  # widens no sum

    def matrix(self, g: Float[Array, "*B E"]) -> Float[Array, "*B m m"]:
        """The 1 × 1 identity."""
        self._check("g", g, 0)
        return jnp.ones((*g.shape[:-1], 1, 1), numerics.at_least_float32(g).dtype)

    def linear_matrix(self, g: Float[Array, "*B E"]) -> Float[Array, "*B D D"]:
        self._check("g", g, 0)
        eye = jnp.eye(self.n, dtype=numerics.at_least_float32(g).dtype)
        return jnp.broadcast_to(eye, (*g.shape[:-1], self.n, self.n))

    def adjoint(self, g: Float[Array, "*B E"]) -> Float[Array, "*B A A"]:
        self._check("g", g, 0)
        return jnp.zeros((*g.shape[:-1], 0, 0), numerics.at_least_float32(g).dtype)

    def sample(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Haar: the identity."""
        return jnp.zeros((*shape, 0), dtype)


@dataclasses.dataclass(frozen=True, repr=False)
class Product(LieGroup):
    """The direct product of groups, acting on the product of their spaces.

    Args:
      factors: The groups, at least one.

    Raises:
      ValueError: If there is no factor.

    The one-axis groups of space are products: ``Product((SO(2), Trivial(1)))``, the rotations
    about the last axis, and ``Product((SE(2), T(1)))``, these with all translations.

    >>> from eqattn.groups import SE, T
    >>> upright = Product((SE(2), T(1)))  # gravity points down
    >>> upright.element_dim, upright.point_dim
    (5, 3)
    """

    factors: tuple[LieGroup, ...]

    def __post_init__(self):
        valid = isinstance(self.factors, tuple) and self.factors
        if not valid or not all(isinstance(f, LieGroup) for f in self.factors):
            raise ValueError(f"factors must be a non-empty tuple of groups, got {self.factors!r}")

    algebra_dim = computed(lambda self: sum(f.algebra_dim for f in self.factors))
    element_dim = computed(lambda self: sum(f.element_dim for f in self.factors))
    point_dim = computed(lambda self: sum(f.point_dim for f in self.factors))
    is_compact = computed(lambda self: all(f.is_compact for f in self.factors))
    is_orthogonal = computed(lambda self: all(f.is_orthogonal for f in self.factors))

    def _parts(self, x, dim: str):
        """Cuts a tuple of components, or the last axis of an array, into the factors' parts."""
        ends = list(itertools.accumulate(getattr(f, dim) for f in self.factors))
        starts = [0, *ends[:-1]]
        if isinstance(x, tuple):
            return [x[a:b] for a, b in zip(starts, ends, strict=True)]
        return [x[..., a:b] for a, b in zip(starts, ends, strict=True)]

    def _each(self, formula: str, *arguments: tuple[Components, str]) -> Components:
        parts = [self._parts(x, dim) for x, dim in arguments]
        results = [getattr(f, formula)(*p) for f, *p in zip(self.factors, *parts, strict=True)]
        return tuple(itertools.chain.from_iterable(results))

    def defect_components(self, g: Components) -> Array:
        parts = zip(self.factors, self._parts(g, "element_dim"), strict=True)
        return functools.reduce(jnp.maximum, [f.defect_components(p) for f, p in parts])

    def identity_components(self) -> tuple[float, ...]:
        return tuple(itertools.chain.from_iterable(f.identity_components() for f in self.factors))

    def compose_components(self, g: Components, h: Components) -> Components:
        return self._each("compose_components", (g, "element_dim"), (h, "element_dim"))

    def inverse_components(self, g: Components) -> Components:
        return self._each("inverse_components", (g, "element_dim"))

    def exp_components(self, algebra: Components) -> Components:
        return self._each("exp_components", (algebra, "algebra_dim"))

    def log_components(self, g: Components) -> Components:
        return self._each("log_components", (g, "element_dim"))

    def act_components(self, g: Components, point: Components) -> Components:
        return self._each("act_components", (g, "element_dim"), (point, "point_dim"))

    def embedding_components(self, g: Components) -> Components:
        return self._each("embedding_components", (g, "element_dim"))

    def squared_distance_components(self, g: Components, rotation_scale: float) -> Array:
        """Sum of the squared distances of the factors."""
        parts = zip(self.factors, self._parts(g, "element_dim"), strict=True)
        squares = [f.squared_distance_components(p, rotation_scale) for f, p in parts]
        return functools.reduce(operator.add, squares)

    def parity_components(self, g: Components) -> Components:
        return self._each("parity_components", (g, "element_dim"))

    def _block_diagonal(self, method: str, g: Array) -> Array:
        self._check("g", g, self.element_dim)
        parts = self._parts(numerics.at_least_float32(g), "element_dim")
        blocks = [getattr(f, method)(p) for f, p in zip(self.factors, parts, strict=True)]
        size = sum(b.shape[-1] for b in blocks)
        out = jnp.zeros((*g.shape[:-1], size, size), numerics.at_least_float32(g).dtype)
        start = 0
        for block in blocks:
            stop = start + block.shape[-1]
            out = out.at[..., start:stop, start:stop].set(block)
            start = stop
        return out

    def matrix(self, g: Float[Array, "*B E"]) -> Float[Array, "*B m m"]:
        """Block-diagonal matrices of the factors."""
        return self._block_diagonal("matrix", g)

    def linear_matrix(self, g: Float[Array, "*B E"]) -> Float[Array, "*B D D"]:
        return self._block_diagonal("linear_matrix", g)

    def adjoint(self, g: Float[Array, "*B E"]) -> Float[Array, "*B A A"]:
        return self._block_diagonal("adjoint", g)

    def log_scale(self, g: Float[Array, "*B E"]) -> Float[Array, "*B"]:
        """Sum of the factors' log-scales: a character, not a factor common to all coordinates."""
        self._check("g", g, self.element_dim)
        parts = zip(self.factors, self._parts(g, "element_dim"), strict=True)
        return functools.reduce(operator.add, [f.log_scale(p) for f, p in parts])

    def sample(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Independent samples of the factors."""
        return self._sample_each("sample", key, shape, dtype)

    def sample_bounded(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        return self._sample_each("sample_bounded", key, shape, dtype)

    def _sample_each(self, method: str, key: Array, shape: tuple[int, ...], dtype: DType) -> Array:
        parts = zip(self.factors, jax.random.split(key, len(self.factors)), strict=True)
        return jnp.concatenate([getattr(f, method)(k, shape, dtype) for f, k in parts], axis=-1)

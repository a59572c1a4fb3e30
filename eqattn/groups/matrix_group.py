"""Groups of m × m matrices, stored entry by entry: a base for groups of your own."""

import abc
import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np

from eqattn import numerics
from eqattn.groups.base import LieGroup, stack, unstack
from eqattn.specification import computed
from eqattn.typing import Array, Components, DType, Float, Key


class MatrixGroup(LieGroup):
    """A connected group of m × m matrices that acts on R^m; elements are their entries, by rows.

    A subclass is a frozen dataclass with the class attribute :attr:`generators` and
    ``log_components``; one of rotations also says ``is_orthogonal = True``, for it has irreps. The
    rest is here, in formulas for any matrix group; replace those for which yours has shorter ones,
    first the inverse. ``eqattn.laws.check_group`` says whether all fits.
    ``colabs/your_own_group.ipynb`` is an example.
    """

    generators: tuple[tuple[tuple[float, ...], ...], ...]
    """A basis of the Lie algebra, as A matrices of m rows: exp(a) = expm(Σ a_i X_i)."""
    is_compact = False
    is_orthogonal = False

    point_dim = computed(lambda self: len(self.generators[0]))
    algebra_dim = computed(lambda self: len(self.generators))
    element_dim = computed(lambda self: self.point_dim**2)

    def _rows(self, g: Components) -> list[Components]:
        m = self.point_dim
        return [g[i * m : (i + 1) * m] for i in range(m)]

    def identity_components(self) -> tuple[float, ...]:
        return tuple(float(x) for x in np.eye(self.point_dim).ravel())

    def compose_components(self, g: Components, h: Components) -> Components:
        columns = list(zip(*self._rows(h), strict=True))
        return tuple(_dot(row, column) for row in self._rows(g) for column in columns)

    def inverse_components(self, g: Components) -> Components:
        """By LU decomposition; a formula of the group's own is faster and more exact."""
        inverse = jnp.linalg.inv(self._stacked(g))
        return unstack(inverse.reshape(*inverse.shape[:-2], -1))

    def exp_components(self, algebra: Components) -> Components:
        """By a power series; to 4e-11 of the norm of the result, for matrices of norm up to 16.

        Norms are spectral; in float64. The worst are generators of rotations by 16 radians.
        """
        basis = np.reshape(self.generators, (self.algebra_dim, self.element_dim))
        entries = tuple(_dot(algebra, [float(x) for x in column]) for column in basis.T)
        exponential = _exponential(self._stacked(entries))
        return unstack(exponential.reshape(*exponential.shape[:-2], -1))

    @abc.abstractmethod
    def log_components(self, g: Components) -> Components:
        """Coordinates a with ``exp(a) = g``, finite with their derivatives for every g."""

    def act_components(self, g: Components, point: Components) -> Components:
        return tuple(_dot(row, point) for row in self._rows(g))

    def embedding_components(self, g: Components) -> Components:
        return g

    def squared_distance_components(self, g: Components, rotation_scale: float) -> Array:
        """Of the mean of log(1 + |g - 1|) and log(1 + |g⁻¹ - 1|), in Frobenius norms.

        It is left-invariant and a metric in every matrix group, since 1 + |gh - 1| is at most
        (1 + |g - 1|)(1 + |h - 1|). ``rotation_scale`` does not enter: rotations are not told apart.
        """
        del rotation_scale
        identity = self.identity_components()
        sizes = [
            jnp.log1p(numerics.safe_norm(tuple(a - b for a, b in zip(x, identity, strict=True))))
            for x in (g, self.inverse_components(g))
        ]
        return (0.5 * (sizes[0] + sizes[1])) ** 2

    def matrix(self, g: Float[Array, "*B E"]) -> Float[Array, "*B m m"]:
        """The matrix itself."""
        self._check("g", g, self.element_dim)
        g = numerics.at_least_float32(g)
        return g.reshape(*g.shape[:-1], self.point_dim, self.point_dim)

    def linear_matrix(self, g: Float[Array, "*B E"]) -> Float[Array, "*B D D"]:
        """The matrix itself; not orthogonal, unless the subclass says so."""
        return self.matrix(g)

    def adjoint(self, g: Float[Array, "*B E"]) -> Float[Array, "*B A A"]:
        """Coordinates of g X_i g⁻¹ in the basis."""
        matrix, inverse = self.matrix(g), self.matrix(self.inverse(g))
        basis = np.asarray(self.generators, matrix.dtype)
        turned = jnp.einsum(
            "...ij,ajk,...kl->...ail", matrix, basis, inverse, precision=jax.lax.Precision.HIGHEST
        )
        coordinates = np.linalg.pinv(np.reshape(self.generators, (self.algebra_dim, -1)))
        return jnp.einsum(
            "...ae,eb->...ba",
            turned.reshape(*turned.shape[:-2], -1),
            coordinates.astype(matrix.dtype),
            precision=jax.lax.Precision.HIGHEST,
        )

    def sample(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Proposal: exponentials of standard normal algebra coordinates."""
        return self.exp(jax.random.normal(key, (*shape, self.algebra_dim), dtype))

    def sample_bounded(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Exponentials of algebra coordinates in the unit ball."""
        algebra = jax.random.normal(key, (*shape, self.algebra_dim), dtype)
        norm = jnp.linalg.norm(algebra, axis=-1, keepdims=True)
        return self.exp(algebra / jnp.maximum(1.0, norm))

    def _stacked(self, g: Components) -> Float[Array, "*B m m"]:
        batch = jnp.broadcast_shapes(*(jnp.shape(x) for x in g))
        stacked = stack(g, batch, jnp.result_type(*g))
        return stacked.reshape(*batch, self.point_dim, self.point_dim)


def _exponential(x: Float[Array, "*B m m"]) -> Float[Array, "*B m m"]:
    """exp(x) = exp(x / 8)^8, with derivatives that compile in a tenth of the time of jax's."""
    product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    eye = jnp.eye(x.shape[-1], dtype=x.dtype)
    total = eye
    for k in range(18, 0, -1):
        total = eye + product(x / (8 * k), total)
    for _ in range(3):
        total = product(total, total)
    return total


def _dot(a, b):
    """Sum of products, without a matrix product's rounding."""
    return functools.reduce(operator.add, [x * y for x, y in zip(a, b, strict=True)])

"""The interface of every group: array functions over component formulas written once."""

import abc
import functools
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from eqattn import numerics
from eqattn.checks import check_real
from eqattn.specification import Named
from eqattn.typing import Array, Components, DType, Float, Key


def unstack(x: Float[Array, "*B E"]) -> Components:
    """Splits the last axis into a tuple of components, in float32 or wider."""
    x = numerics.at_least_float32(x)
    return tuple(x[..., i] for i in range(x.shape[-1]))


def stack(
    components: Sequence[Array | float], batch: tuple[int, ...], dtype: DType
) -> Float[Array, "*B E"]:
    """Joins components along a new last axis; constants and empty tuples take the given shape."""
    if not components:
        return jnp.zeros((*batch, 0), dtype)
    return jnp.stack([jnp.broadcast_to(jnp.asarray(c, dtype), batch) for c in components], axis=-1)


def stack_matrix(rows: Sequence[Sequence[Array | float]], batch: tuple[int, ...], dtype: DType):
    """Joins rows of components into a [*B m n] array."""
    return jnp.stack([stack(tuple(row), batch, dtype) for row in rows], axis=-2)


class LieGroup(Named, abc.ABC):
    """A Lie group with stored elements of ``element_dim`` components.

    Groups are stateless, frozen and hashable: pass them as static arguments. Every method takes
    arbitrary leading batch axes, broadcasts them, and works under ``jit``, ``vmap`` and ``grad``.
    Products are ``compose(g, h) = g h``; the group acts from the left.

    The ``*_components`` methods are the formulas themselves, over tuples of equally shaped arrays,
    one for each component: the layout that attention back ends use on tiles.
    """

    algebra_dim: int
    element_dim: int
    point_dim: int
    """Dimension D of the vectors that :meth:`act` takes."""
    is_compact: bool
    is_orthogonal: bool = True
    """Whether :meth:`linear_matrix` is orthogonal, so that its transpose is its inverse."""

    # Formulas: each group writes these.

    @abc.abstractmethod
    def identity_components(self) -> tuple[float, ...]:
        """Components of the identity."""

    @abc.abstractmethod
    def compose_components(self, g: Components, h: Components) -> Components:
        """Components of the product g h."""

    @abc.abstractmethod
    def inverse_components(self, g: Components) -> Components:
        """Components of the inverse of g."""

    @abc.abstractmethod
    def exp_components(self, algebra: Components) -> Components:
        """Components of the exponential of Lie-algebra coordinates."""

    @abc.abstractmethod
    def log_components(self, g: Components) -> Components:
        """Lie-algebra coordinates, with rotation angles in [0, pi] (planar: (-pi, pi]).

        Those of the proper part of g, where the group has reflections.
        """

    @abc.abstractmethod
    def act_components(self, g: Components, point: Components) -> Components:
        """Components of g applied to a point."""

    @abc.abstractmethod
    def embedding_components(self, g: Components) -> Components:
        """Smooth injective coordinates of g (matrix entries): no cut locus."""

    @abc.abstractmethod
    def squared_distance_components(self, g: Components, rotation_scale: float) -> Array:
        """Square of the distance of g from the identity; smooth there."""

    @abc.abstractmethod
    def matrix(self, g: Float[Array, "*B E"]) -> Float[Array, "*B m m"]:
        """Faithful matrix representation: ``matrix(g h) = matrix(g) @ matrix(h)``."""

    @abc.abstractmethod
    def linear_matrix(self, g: Float[Array, "*B E"]) -> Float[Array, "*B D D"]:
        """How vectors (differences of points) turn: the action's linear part without its scale."""

    @abc.abstractmethod
    def adjoint(self, g: Float[Array, "*B E"]) -> Float[Array, "*B A A"]:
        """Matrix with ``g exp(a) g⁻¹ = exp(adjoint(g) @ a)``."""

    @abc.abstractmethod
    def sample(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Random elements [*shape E]: Haar where compact, else the documented proposal."""

    # What groups with reflections or scalings, and those that are not compact, write besides.

    def defect_components(self, g: Components) -> Array:
        """By how much components miss being an element; 0 by default: all are elements.

        That of a unit vector or quaternion is abs(|g|² - 1), that of a parity abs(p² - 1). Spaces
        whose points are elements refuse what has a defect, see
        :meth:`eqattn.spaces.base.Space.check_domain`.
        """
        del g
        return jnp.zeros((), jnp.float32)

    def parity_components(self, g: Components) -> Components:
        """Signs ±1 that tell the components of a disconnected group apart; none where connected.

        :meth:`log` is of the proper part of g, so that it and the signs together determine g.
        """
        return ()

    def determinant(self, g: Float[Array, "*B E"]) -> Float[Array, "*B"]:
        """Product of the parities, which is the sign of the determinant of :meth:`linear_matrix`.

        Raises:
          ValueError: If the last axis is not ``element_dim``.
        """
        self._check("g", g, self.element_dim)
        one = jnp.ones(g.shape[:-1], numerics.at_least_float32(g).dtype)
        return functools.reduce(operator.mul, self.parity_components(unstack(g)), one)

    def log_scale(self, g: Float[Array, "*B E"]) -> Float[Array, "*B"]:
        """Logarithm of the factor by which the action stretches lengths; 0 without scalings.

        Raises:
          ValueError: If the last axis is not ``element_dim``.
        """
        self._check("g", g, self.element_dim)
        return jnp.zeros(g.shape[:-1], numerics.at_least_float32(g).dtype)

    def sample_bounded(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Random elements [*shape E] of moderate size, which checks of equivariance move data by.

        Rotations and reflections are Haar; translations have lengths of at most 1, scalings
        factors in [1/2, 2], boosts rapidities of at most 1. By default :meth:`sample`, as it
        should be in compact groups.
        """
        return self.sample(key, shape, dtype)

    # Array functions: written once, here.

    def distance_components(self, g: Components, rotation_scale: float) -> Array:
        """Distance of g from the identity; its derivatives are 0 there."""
        return numerics.safe_sqrt(self.squared_distance_components(g, rotation_scale))

    @property
    def embedding_dim(self) -> int:
        """Number of coordinates that :meth:`embedding_components` returns."""
        identity = tuple(jnp.asarray(c) for c in self.identity_components())
        return len(self.embedding_components(identity))

    def identity(self, shape: tuple[int, ...] = (), dtype: DType = float) -> Float[Array, "..."]:
        """The identity, repeated over ``shape``: [*shape E]."""
        components = tuple(jnp.asarray(c, dtype) for c in self.identity_components())
        return stack(components, shape, jnp.zeros((), dtype).dtype)

    def compose(self, g: Float[Array, "*#B E"], h: Float[Array, "*#B E"]) -> Float[Array, "*B E"]:
        """Composes two elements to g h.

        Raises:
          ValueError: If the last axis of an argument is not ``element_dim``.
        """
        self._check("g", g, self.element_dim)
        self._check("h", h, self.element_dim)
        return self._apply(self.compose_components, g, h)

    def inverse(self, g: Float[Array, "*B E"]) -> Float[Array, "*B E"]:
        """The inverse g⁻¹.

        Raises:
          ValueError: If the last axis is not ``element_dim``.
        """
        self._check("g", g, self.element_dim)
        return self._apply(self.inverse_components, g)

    def exp(self, algebra: Float[Array, "*B A"]) -> Float[Array, "*B E"]:
        """The exponential map, from Lie-algebra coordinates (radians first, then lengths).

        Raises:
          ValueError: If the last axis is not ``algebra_dim``.
        """
        self._check("algebra", algebra, self.algebra_dim)
        return self._apply(self.exp_components, algebra)

    def log(self, g: Float[Array, "*B E"]) -> Float[Array, "*B A"]:
        """The principal logarithm; an inverse of :meth:`exp` up to rotation angle pi.

        In a group with reflections, that of the proper part of g.

        Raises:
          ValueError: If the last axis is not ``element_dim``.
        """
        self._check("g", g, self.element_dim)
        return self._apply(self.log_components, g)

    def act(self, g: Float[Array, "*#B E"], point: Float[Array, "*#B D"]) -> Float[Array, "*B D"]:
        """Applies elements to points.

        Raises:
          ValueError: If a last axis is not ``element_dim`` or ``point_dim``.
        """
        self._check("g", g, self.element_dim)
        self._check("point", point, self.point_dim)
        return self._apply(self.act_components, g, point)

    def distance(
        self,
        g: Float[Array, "*#B E"],
        h: Float[Array, "*#B E"],
        rotation_scale: float = 1.0,
    ) -> Float[Array, "*B"]:
        """Left-invariant distance: ``distance(u g, u h) = distance(g, h)``.

        Args:
          g: Elements.
          h: Elements.
          rotation_scale: Length that one radian of rotation counts for.

        Raises:
          ValueError: If a last axis is not ``element_dim``.
        """
        self._check("g", g, self.element_dim)
        self._check("h", h, self.element_dim)
        g, h = jnp.broadcast_arrays(numerics.at_least_float32(g), numerics.at_least_float32(h))
        if self.element_dim == 0:
            return jnp.zeros(g.shape[:-1], g.dtype)
        between = self.compose_components(self.inverse_components(unstack(g)), unstack(h))
        return self.distance_components(between, rotation_scale)

    def embedding(self, g: Float[Array, "*B E"]) -> Float[Array, "*B M"]:
        """Smooth injective coordinates of g, the arguments of :meth:`embedding_components`.

        Raises:
          ValueError: If the last axis is not ``element_dim``.
        """
        self._check("g", g, self.element_dim)
        return self._apply(self.embedding_components, g)

    def _apply(self, formula, *arrays: Array) -> Array:
        arrays = tuple(numerics.at_least_float32(a) for a in arrays)
        batch = jnp.broadcast_shapes(*(a.shape[:-1] for a in arrays))
        dtype = jnp.result_type(*arrays)
        return stack(formula(*(unstack(a) for a in arrays)), batch, dtype)

    def _check(self, name: str, array: Array, size: int) -> None:
        shape = jnp.shape(array)
        if not shape or shape[-1] != size:
            raise ValueError(
                f"{name} of {self} must have a last axis of size {size}, got shape {shape}"
            )
        check_real(name, array)


def uniform_angle(key: Key[Array, ""], shape: tuple[int, ...], dtype: DType) -> Array:
    """Angles uniform in [-pi, pi)."""
    return jax.random.uniform(key, shape, dtype, -jnp.pi, jnp.pi)


@functools.cache
def probe_elements(group: LieGroup, num: int = 8) -> np.ndarray:
    """Some elements of a group [num E], always the same; also while tracing."""
    with jax.ensure_compile_time_eval():
        sample = jax.jit(lambda key: group.sample(key, (num,)))
        return np.asarray(sample(jax.random.key(7)))


@functools.cache
def has_scalings(group: LieGroup) -> bool:
    """Whether the group stretches lengths."""
    with jax.ensure_compile_time_eval():
        return bool(np.any(np.asarray(group.log_scale(jnp.asarray(probe_elements(group)))) != 0))

"""O(n) and E(n): SO(n) and SE(n) with reflections. Element: the proper one, then a parity ±1.

An element (h, p) is h σ, where σ is the identity for p = 1 and for p = -1 the fixed reflection of
the dimension: -1 on the line and in space, diag(1, -1) in the plane.
"""

import dataclasses

import jax
import jax.numpy as jnp

from eqattn.groups.affine import Affine
from eqattn.groups.base import LieGroup
from eqattn.groups.product import Trivial
from eqattn.groups.rigid import SE2, SE3
from eqattn.groups.rotation import SO2, SO3
from eqattn.specification import computed
from eqattn.typing import Array, Components, DType, Float, Key

# What σ negates: coordinates of points, and under h ↦ σ h σ rotation components and angles.
_OF_POINTS = {1: (True,), 2: (False, True), 3: (True, True, True)}
_OF_ROTATIONS = {1: (), 2: (False, True), 3: (False,) * 4}
_OF_ANGLES = {1: (), 2: (True,), 3: (False,) * 3}


def _reflect(parity: Array, components: Components, negated: tuple[bool, ...]) -> Components:
    return tuple(parity * c if n else c for c, n in zip(components, negated, strict=True))


@dataclasses.dataclass(frozen=True, repr=False)
class Reflected(LieGroup):
    """A group of rotations, or of rotations and translations, with reflections: O(n) and E(n).

    The logarithm is that of the proper part h of an element h σ; the parity tells the rest.
    ``linear_matrix`` includes the reflection; ``determinant`` is the parity.

    Args:
      proper: The group without reflections: SO(n), SE(n), or ``Trivial(1)`` for O(1).

    Raises:
      ValueError: For another group.
    """

    proper: LieGroup

    def __post_init__(self):
        if self.proper not in (Trivial(1), SO2(), SO3(), SE2(), SE3()):
            raise ValueError(
                f"proper of Reflected must be Trivial(1), SO(n) or SE(n), got {self.proper!r}"
            )

    def _text(self, *, is_full: bool) -> str:
        text = super()._text(is_full=is_full)
        return {
            Reflected(SO2()): "O(2)",
            Reflected(SO3()): "O(3)",
            Reflected(SE2()): "E(2)",
            Reflected(SE3()): "E(3)",
        }.get(self, text)

    algebra_dim = computed(lambda self: self.proper.algebra_dim)
    element_dim = computed(lambda self: self.proper.element_dim + 1)
    point_dim = computed(lambda self: self.proper.point_dim)
    is_compact = computed(lambda self: self.proper.is_compact)

    @property
    def linear(self) -> "Reflected":
        """O(n), of the linear parts of E(n).

        Raises:
          ValueError: For O(n) itself, which has no translations.
        """
        return Reflected(self._affine.linear)

    @property
    def _affine(self) -> Affine:
        if not isinstance(self.proper, Affine):
            raise ValueError(f"{self} has no translations to split off")
        return self.proper

    def split(self, g: Components) -> tuple[Components, Components]:
        """Components of the linear part, with the parity, and of t; of E(n).

        Raises:
          ValueError: For O(n), which has no translations.
        """
        turn, t = self._affine.split(g[:-1])
        return (*turn, g[-1]), t

    def join(self, linear: Components, t: Components) -> Components:
        """The element of E(n) of these components of the linear part, with the parity, and of t.

        Raises:
          ValueError: For O(n), which has no translations.
        """
        return (*self._affine.join(linear[:-1], t), linear[-1])

    @property
    def _translations(self) -> tuple[bool, ...]:
        return _OF_POINTS[self.point_dim] if isinstance(self.proper, Affine) else ()

    def _conjugate(self, parity: Array, h: Components) -> Components:
        """σ h σ, of elements of the proper group."""
        return _reflect(parity, h, (*_OF_ROTATIONS[self.point_dim], *self._translations))

    def identity_components(self) -> tuple[float, ...]:
        return (*self.proper.identity_components(), 1.0)

    def compose_components(self, g: Components, h: Components) -> Components:
        turned = self._conjugate(g[-1], h[:-1])
        return (*self.proper.compose_components(g[:-1], turned), g[-1] * h[-1])

    def inverse_components(self, g: Components) -> Components:
        return (*self._conjugate(g[-1], self.proper.inverse_components(g[:-1])), g[-1])

    def defect_components(self, g: Components) -> Array:
        of_parity = jnp.abs(g[-1] * g[-1] - 1.0)
        return jnp.maximum(of_parity, self.proper.defect_components(g[:-1]))

    def exp_components(self, algebra: Components) -> Components:
        parity = jnp.ones_like(algebra[0]) if algebra else jnp.ones(())
        return (*self.proper.exp_components(algebra), parity)

    def log_components(self, g: Components) -> Components:
        return self.proper.log_components(g[:-1])

    def parity_components(self, g: Components) -> Components:
        return g[-1:]

    def act_components(self, g: Components, point: Components) -> Components:
        reflected = _reflect(g[-1], point, _OF_POINTS[self.point_dim])
        return self.proper.act_components(g[:-1], reflected)

    def embedding_components(self, g: Components) -> Components:
        return (*self.proper.embedding_components(g[:-1]), g[-1])

    def squared_distance_components(self, g: Components, rotation_scale: float) -> Array:
        """Of the proper parts; elements of different parity are 2 apart in addition."""
        between = self.proper.squared_distance_components(g[:-1], rotation_scale)
        return between + (g[-1] - 1.0) ** 2

    def _negate_columns(
        self, matrix: Array, g: Float[Array, "*B E"], negated: tuple[bool, ...]
    ) -> Float[Array, "*B m m"]:
        """A matrix of the proper part times that of σ, diagonal and padded with ones."""
        negated = (*negated, *(False,) * (matrix.shape[-1] - len(negated)))
        signs = jnp.where(jnp.asarray(negated), g[..., -1:], 1.0)
        return matrix * signs.astype(matrix.dtype)[..., None, :]

    def matrix(self, g: Float[Array, "*B E"]) -> Float[Array, "*B m m"]:
        """Those of the proper part, times the reflection."""
        self._check("g", g, self.element_dim)
        return self._negate_columns(self.proper.matrix(g[..., :-1]), g, _OF_POINTS[self.point_dim])

    def linear_matrix(self, g: Float[Array, "*B E"]) -> Float[Array, "*B D D"]:
        """The orthogonal matrix, with the reflection."""
        self._check("g", g, self.element_dim)
        return self._negate_columns(
            self.proper.linear_matrix(g[..., :-1]), g, _OF_POINTS[self.point_dim]
        )

    def adjoint(self, g: Float[Array, "*B E"]) -> Float[Array, "*B A A"]:
        self._check("g", g, self.element_dim)
        negated = (*_OF_ANGLES[self.point_dim], *self._translations)
        return self._negate_columns(self.proper.adjoint(g[..., :-1]), g, negated)

    def sample(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Samples of the proper group with parities of either sign: Haar where compact."""
        return self._sample_both("sample", key, shape, dtype)

    def sample_bounded(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        return self._sample_both("sample_bounded", key, shape, dtype)

    def _sample_both(self, method: str, key: Array, shape: tuple[int, ...], dtype: DType) -> Array:
        proper, sign = jax.random.split(key)
        elements = getattr(self.proper, method)(proper, shape, dtype)
        parity = jax.random.rademacher(sign, (*shape, 1), dtype)
        return jnp.concatenate([elements, parity], axis=-1)

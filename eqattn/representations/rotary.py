"""Representations of translations by rotations of pairs of channels: rotary embeddings."""

import dataclasses
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.checks import check_instance
from eqattn.cpu import computed_once
from eqattn.groups import LieGroup, RxSO2, T
from eqattn.groups.affine import Affine
from eqattn.groups.finite import finite_elements
from eqattn.groups.reflected import Reflected
from eqattn.groups.rigid import SE2, SE3
from eqattn.pytrees import register_dataclass
from eqattn.representations.base import AppliedRepresentation, Channels, Elements
from eqattn.typing import Array, Float

TURN_TOLERANCE = 1e-3
"""What the trace of RᵀF may lack of that of 1, for a rotation R that counts as F: 0.03 radians."""


@register_dataclass
@dataclasses.dataclass(frozen=True)
class Rotary(AppliedRepresentation):
    """Rotations of pairs of channels by angles ω_f·log(g): characters of a commutative group.

    With T(n) they are rotary position embeddings (arXiv 2104.09864) of n coordinates; with R₊×SO(2)
    the angle is turns_f · θ + ω_f log r. Under larger groups, such as SE(n), they are not a
    representation: see :class:`FiniteRotary`. (SO(2) has :class:`Irrep`.)

    Args:
      frequencies: ω, any: of T(n) in radians per unit of length, [F n]; of log r, [F 1].
      turns: Whole numbers of turns that a full turn is taken to, one for each frequency, under
        R₊×SO(2): others would not be functions of the element.

    Raises:
      TypeError: For turns that are not integers.

    >>> import jax.numpy as jnp
    >>> Rotary(jnp.ones((4, 3))).size(T(3))
    8
    """

    frequencies: Float[Array, "F A"]
    turns: tuple[int, ...] = dataclasses.field(default=(), metadata={"static": True})

    def __post_init__(self):
        if any(isinstance(k, bool) or not isinstance(k, int) for k in self.turns):
            raise TypeError(f"turns must be integers, got {self.turns!r}")

    def size(self, group: LieGroup) -> int:
        return 2 * self.frequencies.shape[0]

    def check(self, group: LieGroup) -> None:
        check_instance("group", group, T | RxSO2)
        has_turns = isinstance(group, RxSO2)
        _check_frequencies(self.frequencies, 1 if has_turns else group.algebra_dim)
        num_turns = self.frequencies.shape[0] if has_turns else 0
        if len(self.turns) != num_turns:
            raise ValueError(f"turns must be {num_turns} integers for {group}, got {self.turns}")

    def apply(self, group: LieGroup, elements: Elements, x: Channels) -> Channels:
        return turn_pairs(self._angles(group, elements), x)

    def apply_inverse(self, group: LieGroup, elements: Elements, x: Channels) -> Channels:
        return turn_pairs(-self._angles(group, elements), x)

    def is_orthogonal(self, group: LieGroup) -> bool:
        return True

    def _angles(self, group: LieGroup, elements: Array) -> Array:
        log = group.log(elements)
        weights = self.frequencies.astype(log.dtype)
        if self.turns:
            turns = jnp.asarray(self.turns, log.dtype)[:, None]
            weights = jnp.concatenate([turns, weights], axis=-1)
        return jnp.matmul(log, weights.T, precision=jax.lax.Precision.HIGHEST)


@register_dataclass
@dataclasses.dataclass(frozen=True)
class FiniteRotary(AppliedRepresentation):
    """Rotary embedding of T(n) ⋊ F, for a finite group F of rotations: orthogonal.

    Frequencies are closed under F: there is a pair of channels for each f ω, f in F. (t, R) turns
    that of f ω by the angle f ω·t and brings it what that of R⁻¹ f ω was: the representation that
    the characters of the translations induce. Platonic Transformers (arXiv 2510.03511) attend in
    this way, by rotary embeddings (arXiv 2104.09864) in each frame of a finite group.

    It is a representation of T(n) ⋊ F, and of no other rotation: all elements of an example must
    differ from each other by such ones, as those of the lifts ``Subgroup`` and ``Grid`` do.
    Of any other element the result is NaN, and fields of this type are refused.

    Args:
      name: Name of F, as in :class:`eqattn.lift.Subgroup`.
      frequencies: ω, in radians per unit of length.
      reflections: Whether F has the mirror images too.

    >>> import jax.numpy as jnp
    >>> from eqattn.groups import SE
    >>> FiniteRotary("cyclic(4)", jnp.ones((3, 2))).size(SE(2))
    24
    """

    is_restricted = True
    name: str = dataclasses.field(metadata={"static": True})
    frequencies: Float[Array, "F A"]
    reflections: bool = dataclasses.field(default=False, metadata={"static": True})

    def size(self, group: LieGroup) -> int:
        return 2 * self.frequencies.shape[0] * len(self._elements(group))

    def check(self, group: LieGroup) -> None:
        check_instance("group", group, SE2 | SE3 | Reflected)
        self._elements(group)
        _check_frequencies(self.frequencies, group.point_dim)

    def apply(self, group: LieGroup, elements: Elements, x: Channels) -> Channels:
        angles, index, matrices = self._parts(group, elements)
        return turn_pairs(angles, self._permuted(x, _table(matrices, inverse=True)[index]))

    def apply_inverse(self, group: LieGroup, elements: Elements, x: Channels) -> Channels:
        angles, index, matrices = self._parts(group, elements)
        return self._permuted(turn_pairs(-angles, x), _table(matrices, inverse=False)[index])

    def is_orthogonal(self, group: LieGroup) -> bool:
        return True  # rotations and permutations

    def _elements(self, group: LieGroup) -> np.ndarray:
        """F as elements of SO(n) or O(n)."""
        linear = cast(Affine, group).linear
        return finite_elements(linear, self.name, reflections=self.reflections)

    def _parts(self, group: LieGroup, elements: Array) -> tuple[Array, Array, np.ndarray]:
        """Angles of all pairs, frequency by frequency; which f each rotation is; all f."""
        linear = cast(Affine, group).linear
        with jax.ensure_compile_time_eval():
            matrices = np.asarray(linear.matrix(jnp.asarray(self._elements(group))))
        n = group.point_dim
        affine = group.matrix(elements)
        rotation, t = affine[..., :n, :n], affine[..., :n, n]
        exact = jax.lax.Precision.HIGHEST
        likeness = jnp.einsum("fij,...ij->...f", matrices, rotation, precision=exact)
        frequencies = self.frequencies.astype(t.dtype)
        orbits = jnp.einsum("fij,oj->ofi", matrices, frequencies, precision=exact)
        angles = jnp.matmul(t, orbits.reshape(-1, n).T.astype(t.dtype), precision=exact)
        is_one = jnp.max(likeness, axis=-1, keepdims=True) > n - TURN_TOLERANCE
        angles = angles + jnp.where(is_one, 0.0, jnp.nan).astype(angles.dtype)
        return angles, jnp.argmax(likeness, axis=-1), matrices

    def _permuted(self, x: Array, index: Array) -> Array:
        """Pairs f of each frequency from places ``index`` [*B |F|]."""
        shape = (*x.shape[:-1], 2, self.frequencies.shape[0], index.shape[-1], -1)
        index = index[..., None, None, None, :, None]
        return jnp.take_along_axis(x.reshape(shape), index, axis=-2).reshape(x.shape)


def _check_frequencies(frequencies: Array, num_axes: int) -> None:
    if frequencies.ndim != 2 or frequencies.shape[1] != num_axes:
        raise ValueError(f"frequencies must have shape (F, {num_axes}), got {frequencies.shape}")


def turn_pairs(angles: Float[Array, "*B F"], x: Float[Array, "*B H C"]) -> Float[Array, "*B H C"]:
    """Turns pairs of channels, the first half beside the second, by angles that heads share."""
    cos, sin = (
        jnp.repeat(computed_once(f(angles)), x.shape[-1] // (2 * angles.shape[-1]), axis=-1)
        for f in (jnp.cos, jnp.sin)
    )
    cos, sin = (y[..., None, :].astype(x.dtype) for y in (cos, sin))
    a, b = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([cos * a - sin * b, cos * b + sin * a], axis=-1)


def _table(matrices: np.ndarray, *, inverse: bool) -> Array:
    """Place of R⁻¹ f, or of R f, in the group, for R by rows and f by columns."""
    left = np.swapaxes(matrices, -1, -2) if inverse else matrices
    products = np.einsum("rij,fjk->rfik", left, matrices)
    return jnp.asarray(np.argmax(np.einsum("rfik,gik->rfg", products, matrices), axis=-1))

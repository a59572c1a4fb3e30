"""Matrix representations σ of groups, applied to the channels of tokens.

A representation is given for one copy of its channels; a head holds as many copies as fit. What
attention needs are σ(g) x, σ(g)⁻¹ x and σ(g)⁻ᵀ x (see :mod:`representation_attention`). Copies lie
last, [size copies], so that a component of all copies is a slice.
"""

import dataclasses
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from eqattn.checks import check_instance, check_numbers, check_sizes
from eqattn.fields.harmonics import harmonic_matrix, harmonic_size
from eqattn.groups import LieGroup, T
from eqattn.groups.affine import Affine
from eqattn.groups.reflected import Reflected
from eqattn.typing import Array, Float


@runtime_checkable
class Representation(Protocol):
    """σ with σ(g h) = σ(g) σ(h), as functions of elements and channels; a pytree of parameters.

    Each takes elements [*B E] and channels [*B H C], a multiple of ``size``, and returns channels.
    """

    @property
    def group(self) -> LieGroup:
        """Whose representation it is."""
        ...

    @property
    def size(self) -> int:
        """Channels of one copy."""
        ...

    def apply(self, elements: Float[Array, "*B E"], x: Float[Array, "*B H C"]) -> Array:
        """σ(g) x."""
        ...

    def apply_inverse(self, elements: Float[Array, "*B E"], x: Float[Array, "*B H C"]) -> Array:
        """σ(g)⁻¹ x."""
        ...

    def apply_dual(self, elements: Float[Array, "*B E"], x: Float[Array, "*B H C"]) -> Array:
        """σ(g)⁻ᵀ x."""
        ...


class _ByMatrix:
    """What follows from the matrix σ(g) of an element."""

    group: LieGroup

    def _matrix(self, elements: Array) -> Array:
        raise NotImplementedError

    def apply(self, elements: Float[Array, "*B E"], x: Float[Array, "*B H C"]) -> Array:
        return product(self._matrix(elements), x)

    def apply_inverse(self, elements: Float[Array, "*B E"], x: Float[Array, "*B H C"]) -> Array:
        return product(self._matrix(self.group.inverse(elements)), x)

    def apply_dual(self, elements: Float[Array, "*B E"], x: Float[Array, "*B H C"]) -> Array:
        return product(transposed(self._matrix(self.group.inverse(elements))), x)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Matrices(_ByMatrix):
    """The defining matrices of a group: rotations of SO(n), homogeneous ones of T(n) and SE(n).

    Homogeneous matrices [[R, t / length], [0, 1]] are not orthogonal: logits are affine functions
    of where the key lies in the frame of the query, which grow with distances, so that these should
    be of the order of ``length``.

    Args:
      group: Any; σ(g) is ``group.matrix(g)``.
      length: Length that counts as 1; another only under T(n), SE(n), E(n) and Sim(n).

    Raises:
      TypeError: If ``group`` has another type, or a ``length`` that is no number.
      ValueError: For a ``length`` that is not finite and above 0, or that the group has no use for.

    >>> from eqattn.groups import SE
    >>> Matrices(SE(3)).size
    4
    """

    group: LieGroup
    length: float = 1.0

    def __post_init__(self):
        check_instance("group", self.group, LieGroup)
        check_length(self.length)
        if self.length != 1 and not has_translations(self.group):
            raise ValueError(f"length must be 1 for {self.group}, got {self.length}")

    @property
    def size(self) -> int:
        return jax.eval_shape(lambda: self.group.matrix(self.group.identity())).shape[-1]

    def _matrix(self, elements: Array) -> Array:
        matrix = self.group.matrix(elements)
        return matrix if self.length == 1 else _in_units(matrix, self.length)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Paraboloid(_ByMatrix):
    """The action on (|x|², x, 1): logits that hold -|x_j - x_i|², and so fall with the distance.

    x ↦ L x + t takes |x|² to r² |x|² + 2 t·L x + |t|², for L of scale r, so that it is linear in
    (|x|², x, 1). With q = (-1, 0, 0) and k = (0, 0, 1) the logit q·σ(g_i⁻¹ g_j) k is the negative
    squared distance, with ``length`` as the unit; others are quadratic functions of where the key
    lies in the frame of the query. Softmax needs no bias of pairs for it.

    Args:
      group: T(n), SE(n), E(n) or Sim(n).
      length: Length that counts as 1. Logits are differences of squares of distances from the first
        key: in float32 an extent of L lengths costs about L² · 1e-7 of a logit.

    Raises:
      TypeError: For a ``length`` that is no number.
      ValueError: For another group, or a ``length`` that is not finite and above 0.

    >>> from eqattn.groups import SE
    >>> Paraboloid(SE(3)).size
    5
    """

    group: LieGroup
    length: float = 1.0

    def __post_init__(self):
        check_length(self.length)
        if not has_translations(self.group):
            raise ValueError(f"group must be T(n), SE(n), E(n) or Sim(n), got {self.group!r}")

    @property
    def size(self) -> int:
        return self.group.point_dim + 2

    def _matrix(self, elements: Array) -> Array:
        affine = _in_units(self.group.matrix(elements), self.length)
        rows = affine[..., :-1, :]
        linear, t = rows[..., :-1], rows[..., -1:]
        scale = jnp.exp(2.0 * self.group.log_scale(elements))[..., None, None]
        top = jnp.concatenate(
            [
                jnp.broadcast_to(scale, (*t.shape[:-2], 1, 1)),
                2.0 * jnp.sum(t * linear, axis=-2, keepdims=True),
                jnp.sum(t * t, axis=-2, keepdims=True),
            ],
            axis=-1,
        )
        below = jnp.concatenate([jnp.zeros_like(affine[..., :1]), affine], axis=-1)
        return jnp.concatenate([top, below], axis=-2)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Harmonics:
    """The irrep of a degree of rotations and reflections, on harmonic polynomials.

    Of degree 1 they are vectors, of degree 0 scalars, which every group leaves alone. In a group
    with translations or scalings it is of the rotation alone.

    Args:
      group: Any for degree 0; else one that turns vectors of the plane or of space by orthogonal
        matrices.
      degree: l, at least 0.

    Raises:
      TypeError: If ``group`` has another type, or a ``degree`` that is no integer.
      ValueError: For a ``degree`` below 0, or a group that has no such irrep.

    >>> from eqattn.groups import SO
    >>> Harmonics(SO(3), 2).size
    5
    """

    group: LieGroup
    degree: int

    def __post_init__(self):
        check_instance("group", self.group, LieGroup)
        check_sizes({"degree": self.degree}, minimum=0)
        fits = self.group.is_orthogonal and self.group.point_dim in (2, 3)
        if self.degree and not fits:
            raise ValueError(
                f"degree must be 0 for {self.group}, which does not turn vectors of the plane or "
                f"of space, got {self.degree}"
            )

    @property
    def size(self) -> int:
        return harmonic_size(self.degree, self.group.point_dim) if self.degree else 1

    def apply(self, elements: Float[Array, "*B E"], x: Float[Array, "*B H C"]) -> Array:
        return product(self._matrix(elements), x) if self.degree else x

    def apply_inverse(self, elements: Float[Array, "*B E"], x: Float[Array, "*B H C"]) -> Array:
        return product(transposed(self._matrix(elements)), x) if self.degree else x

    def apply_dual(self, elements: Float[Array, "*B E"], x: Float[Array, "*B H C"]) -> Array:
        return self.apply(elements, x)  # orthogonal

    def _matrix(self, elements: Array) -> Array:
        linear = self.group.linear_matrix(elements)
        return harmonic_matrix(self.degree, linear, self.group.determinant(elements))


def product(matrix: Float[Array, "*B M M"], x: Float[Array, "*B H C"]) -> Float[Array, "*B H C"]:
    """A matrix times all copies in all heads.

    Written out: on so few channels that is faster than a batched product, and the derivative of
    ``split`` is a concatenation, as that of slices is not.
    """
    size = matrix.shape[-1]
    columns = jnp.split(x, size, axis=-1)
    matrix = matrix[..., None, :, :, None].astype(x.dtype)
    rows = [sum(matrix[..., i, j, :] * columns[j] for j in range(size)) for i in range(size)]
    return jnp.concatenate(rows, axis=-1)


def transposed(matrix: Float[Array, "*B M M"]) -> Float[Array, "*B M M"]:
    """Rows for columns."""
    return jnp.swapaxes(matrix, -1, -2)


def has_translations(group: LieGroup) -> bool:
    """Whether ``group.matrix`` is homogeneous: that of T(n), SE(n), E(n) and Sim(n)."""
    affine = group.proper if isinstance(group, Reflected) else group
    return isinstance(affine, T | Affine)


def check_length(length: float) -> None:
    """Raises unless a length can be divided by.

    Args:
      length: What was given.

    Raises:
      TypeError: For what is no number.
      ValueError: For one that is not finite and above 0.
    """
    check_numbers({"length": length})
    if not 0 < length < float("inf"):
        raise ValueError(f"length must be finite and above 0, got {length}")


def _in_units(matrix: Array, length: float) -> Array:
    """Homogeneous matrices with translations divided by a length."""
    return matrix.at[..., :-1, -1].divide(length)

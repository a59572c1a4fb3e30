"""Matrices that groups have of themselves, the conformal ones, and those that a function gives."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from eqattn.checks import check_instance, check_numbers, check_sizes
from eqattn.groups import LieGroup, T
from eqattn.groups.affine import Affine
from eqattn.groups.reflected import Reflected
from eqattn.representations.base import Elements, Representation
from eqattn.typing import Array, Float


@dataclasses.dataclass(frozen=True)
class DefiningRepresentation(Representation):
    """The defining matrices of any group: rotations of SO(n), homogeneous ones of T(n) and SE(n).

    Homogeneous matrices [[R, t / length], [0, 1]] are not orthogonal: logits are affine functions
    of where the key lies in the frame of the query, which grow with distances, so that these should
    be of the order of ``length``.

    Args:
      length: Length that counts as 1; another only under T(n), SE(n), E(n) and Sim(n).

    Raises:
      TypeError: For a ``length`` that is no number.
      ValueError: For a ``length`` that is not finite and above 0.

    >>> from eqattn.groups import SE
    >>> DefiningRepresentation().size(SE(3))
    4
    """

    length: float = 1.0

    def __post_init__(self):
        check_length(self.length)

    def size(self, group: LieGroup) -> int:
        return jax.eval_shape(lambda: group.matrix(group.identity())).shape[-1]

    def check(self, group: LieGroup) -> None:
        check_instance("group", group, LieGroup)
        if self.length != 1 and not has_translations(group):
            raise ValueError(f"length must be 1 for {group}, got {self.length}")

    def matrix(self, group: LieGroup, elements: Elements) -> Float[Array, "*B r r"]:
        matrix = group.matrix(elements)
        return matrix if self.length == 1 else _in_units(matrix, self.length)


@dataclasses.dataclass(frozen=True)
class ConformalRepresentation(Representation):
    """The action on (|x|², x, 1): logits that hold -|x_j - x_i|², and so fall with the distance.

    x ↦ L x + t takes |x|² to r² |x|² + 2 t·L x + |t|², for L of scale r, so that it is linear in
    (|x|², x, 1). With q = (-1, 0, 0) and k = (0, 0, 1) the logit q·σ(g_i⁻¹ g_j) k is the negative
    squared distance, with ``length`` as the unit; others are quadratic functions of where the key
    lies in the frame of the query. Softmax needs no bias of pairs for it. Of T(n), SE(n), E(n) and
    Sim(n).

    Points as (|x|², x, 1) are those of the conformal model of Euclidean space, up to factors of
    its components, and of these transformations the matrices are those on its vectors (for
    scalings up to a factor). Inversions and multivectors of other grades, as geometric algebra has
    them (Dorst, Fontijne and Mann, *Geometric Algebra for Computer Science*, 2007), are not here.

    Args:
      length: Length that counts as 1. Logits are differences of squares of distances from the first
        key: in float32 an extent of L lengths costs about L² · 1e-7 of a logit.

    Raises:
      TypeError: For a ``length`` that is no number.
      ValueError: For a ``length`` that is not finite and above 0.

    >>> from eqattn.groups import SE
    >>> ConformalRepresentation().size(SE(3))
    5
    """

    length: float = 1.0

    def __post_init__(self):
        check_length(self.length)

    def size(self, group: LieGroup) -> int:
        return group.point_dim + 2

    def check(self, group: LieGroup) -> None:
        if not has_translations(group):
            raise ValueError(f"group must be T(n), SE(n), E(n) or Sim(n), got {group!r}")

    def matrix(self, group: LieGroup, elements: Elements) -> Float[Array, "*B r r"]:
        affine = _in_units(group.matrix(elements), self.length)
        rows = affine[..., :-1, :]
        linear, t = rows[..., :-1], rows[..., -1:]
        scale = jnp.exp(2.0 * group.log_scale(elements))[..., None, None]
        corner = jnp.broadcast_to(scale, (*t.shape[:-2], 1, 1))
        turned = 2.0 * jnp.sum(t * linear, axis=-2, keepdims=True)
        square = jnp.sum(t * t, axis=-2, keepdims=True)
        top = jnp.concatenate([corner, turned, square], axis=-1)
        below = jnp.concatenate([jnp.zeros_like(affine[..., :1]), affine], axis=-1)
        return jnp.concatenate([top, below], axis=-2)


@dataclasses.dataclass(frozen=True)
class CustomRepresentation(Representation):
    """A representation given by a function of group elements.

    Args:
      fn: Function of elements [*B E] that gives matrices [*B r r], with fn(g h) = fn(g) fn(h).
      channels: Number of channels r.

    Raises:
      TypeError: If ``fn`` is no function.
      ValueError: If ``channels`` is below 1.
    """

    fn: Callable[[Array], Array]
    channels: int

    def __post_init__(self):
        if not callable(self.fn):
            raise TypeError(f"fn of a custom representation must be a function, got {self.fn!r}")
        check_sizes({"channels of a custom representation": self.channels})

    def size(self, group: LieGroup) -> int:
        return self.channels

    def matrix(self, group: LieGroup, elements: Elements) -> Float[Array, "*B r r"]:
        return self.fn(elements)

    def __str__(self) -> str:
        name = getattr(self.fn, "__name__", type(self.fn).__name__)
        return f"custom({name}, {self.channels})"


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

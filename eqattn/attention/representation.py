"""Matrix representations σ of groups, applied to the channels of tokens.

A representation is given for one copy of its channels; a head holds as many copies as fit. What
attention needs are σ(g) x, σ(g)⁻¹ x and σ(g)⁻ᵀ x (see :mod:`representation_attention`).
"""

import dataclasses
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from eqattn.checks import check_instance
from eqattn.groups import SO2, LieGroup, RxSO2, T
from eqattn.typing import Array, Float


@runtime_checkable
class Representation(Protocol):
    """σ with σ(g h) = σ(g) σ(h), as functions of elements and channels; a pytree of parameters.

    Each takes elements [*B E] and channels [*B H C], a multiple of ``size``, and returns channels.
    """

    group: LieGroup

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


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Matrices:
    """The defining matrices of a group: rotations of SO(n), homogeneous ones of T(n) and SE(n).

    Homogeneous matrices are not orthogonal: logits grow with distances, so that these should be of
    order 1.

    Args:
      group: any; σ(g) is ``group.matrix(g)``.

    Raises:
      TypeError: for a ``group`` that is none.

    >>> from eqattn.groups import SE
    >>> Matrices(SE(3)).size
    4
    """

    group: LieGroup

    def __post_init__(self):
        check_instance("group", self.group, LieGroup)

    @property
    def size(self) -> int:
        return jax.eval_shape(lambda: self.group.matrix(self.group.identity())).shape[-1]

    def apply(self, elements: Float[Array, "*B E"], x: Float[Array, "*B H C"]) -> Array:
        return self._product(self.group.matrix(elements), x)

    def apply_inverse(self, elements: Float[Array, "*B E"], x: Float[Array, "*B H C"]) -> Array:
        return self._product(self.group.matrix(self.group.inverse(elements)), x)

    def apply_dual(self, elements: Float[Array, "*B E"], x: Float[Array, "*B H C"]) -> Array:
        inverse = self.group.matrix(self.group.inverse(elements))
        return self._product(jnp.swapaxes(inverse, -1, -2), x)

    def _product(self, matrix: Array, x: Array) -> Array:
        """Row by row, channels of a copy apart: on few channels faster than a batched product."""
        size = matrix.shape[-1]
        copies = x.reshape(*x.shape[:-1], size, x.shape[-1] // size)
        matrix = matrix[..., None, :, :, None].astype(x.dtype)
        rows = [
            sum(matrix[..., i, j, :] * copies[..., j, :] for j in range(size)) for i in range(size)
        ]
        return jnp.stack(rows, axis=-2).reshape(x.shape)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rotary:
    """Rotations of pairs of channels by angles ω_f·log(g): characters of a commutative group.

    With T(n) they are rotary position embeddings (arXiv 2104.09864) of n coordinates. Under larger
    groups, such as SE(n), they are not a representation.

    Args:
      group: T(n), SO(2) or R₊×SO(2).
      frequencies: ω: of T(n) any, in radians per unit of length; of the angle of SO(2) and
        R₊×SO(2), which comes first, whole numbers, since a full turn is the identity.

    Raises:
      TypeError: for another group.
      ValueError: for frequencies of another shape.

    >>> import jax.numpy as jnp
    >>> Rotary(T(3), jnp.ones((4, 3))).size
    8
    """

    group: LieGroup = dataclasses.field(metadata={"static": True})
    frequencies: Float[Array, "F A"]

    def __post_init__(self):
        check_instance("group", self.group, T | SO2 | RxSO2)
        shape = getattr(self.frequencies, "shape", None)  # None in trees of descriptions
        if shape is not None and (len(shape) != 2 or shape[1] != self.group.algebra_dim):
            raise ValueError(
                f"frequencies must have shape (F, {self.group.algebra_dim}), got {shape}"
            )

    @property
    def size(self) -> int:
        return 2 * self.frequencies.shape[0]

    def apply(self, elements: Float[Array, "*B E"], x: Float[Array, "*B H C"]) -> Array:
        return self._turn(elements, x, 1.0)

    def apply_inverse(self, elements: Float[Array, "*B E"], x: Float[Array, "*B H C"]) -> Array:
        return self._turn(elements, x, -1.0)

    def apply_dual(self, elements: Float[Array, "*B E"], x: Float[Array, "*B H C"]) -> Array:
        return self._turn(elements, x, 1.0)  # rotations are orthogonal

    def _turn(self, elements: Array, x: Array, sign: float) -> Array:
        log = self.group.log(elements)
        frequencies = self.frequencies.astype(log.dtype)
        angles = jnp.matmul(log, frequencies.T, precision=jax.lax.Precision.HIGHEST)
        cos, sin = (f(angles)[..., None, :, None].astype(x.dtype) for f in (jnp.cos, jnp.sin))
        num_pairs = frequencies.shape[0]
        first, second = jnp.split(x, 2, axis=-1)
        shape = (*first.shape[:-1], num_pairs, first.shape[-1] // num_pairs)
        a, b = first.reshape(shape), second.reshape(shape)
        turned = cos * a - sign * sin * b, cos * b + sign * sin * a
        return jnp.concatenate([y.reshape(first.shape) for y in turned], axis=-1)

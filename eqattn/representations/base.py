"""What a representation of groups is, and how its matrices are applied to channels.

Representations are not bound to a group: one object serves all groups that it makes sense for, and
each method is given the group. Fields evaluate their matrices; attention applies them to the heads
of tokens, which hold as many copies of a representation as fit. Copies lie last, [size copies], so
that a component of all copies is a slice.
"""

import abc
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from eqattn import numerics
from eqattn.checks import check_instance
from eqattn.groups.base import LieGroup, probe_elements
from eqattn.typing import Array, Float

Elements = Float[Array, "*B E"]
Channels = Float[Array, "*B H C"]
"""Heads of tokens; C is a multiple of the size of a representation."""


class Representation(abc.ABC):
    """Matrices ρ(g) with ρ(g h) = ρ(g) ρ(h), of every group that they make sense for.

    A subclass is a frozen dataclass with :meth:`size` and :meth:`matrix`; the rest follows from
    these, and may be replaced by what is cheaper.

    >>> import dataclasses
    >>> from eqattn.groups import SE
    >>> @dataclasses.dataclass(frozen=True)
    ... class Motions(Representation):
    ...     def size(self, group):
    ...         return group.algebra_dim
    ...
    ...     def matrix(self, group, elements):
    ...         return group.adjoint(elements)
    >>> Motions().check(SE(3))
    """

    has_arrays: ClassVar[bool] = False
    """Whether it holds arrays. Then it is a pytree with a ``check`` of its own, else a constant."""
    is_trivial: bool = False
    """Whether every element of every group leaves the values alone."""
    is_restricted: bool = False
    """Whether it is one of some elements of a group alone, so that no field can be of it."""

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        if not cls.has_arrays:
            jax.tree_util.register_static(cls)

    @abc.abstractmethod
    def size(self, group: LieGroup) -> int:
        """Number of channels r of one copy."""

    @abc.abstractmethod
    def matrix(self, group: LieGroup, elements: Elements) -> Float[Array, "*B r r"]:
        """The matrices ρ(g)."""

    def check(self, group: LieGroup) -> None:
        """Makes sure that this is a representation of a group; by default, as far as samples tell.

        Raises:
          TypeError: If ``group`` is not a group, or not of a type that this is made for.
          ValueError: If the matrices are not of ``size``, or not a representation of the group.
        """
        check_instance("group", group, LieGroup)
        try:
            hash(self)
        except TypeError:
            raise TypeError(
                f"{type(self).__name__} must be a frozen dataclass without arrays; one that holds "
                "arrays has has_arrays = True, is registered by eqattn.pytrees.register_dataclass, "
                "and writes check"
            ) from None
        _check_homomorphism(self, group)

    def is_orthogonal(self, group: LieGroup) -> bool:
        """Whether the matrices are known to be orthogonal: transposes are then their inverses."""
        return False

    def inverse_matrix(self, group: LieGroup, elements: Elements) -> Float[Array, "*B r r"]:
        """The matrices ρ(g)⁻¹."""
        if self.is_orthogonal(group):
            return transposed(self.matrix(group, elements))
        return self.matrix(group, group.inverse(elements))

    def apply(self, group: LieGroup, elements: Elements, x: Channels) -> Channels:
        """ρ(g) x, of all copies in all heads."""
        return x if self.is_trivial else product(self.matrix(group, elements), x)

    def apply_inverse(self, group: LieGroup, elements: Elements, x: Channels) -> Channels:
        """ρ(g)⁻¹ x, as :meth:`apply`."""
        return x if self.is_trivial else product(self.inverse_matrix(group, elements), x)

    def apply_dual(self, group: LieGroup, elements: Elements, x: Channels) -> Channels:
        """ρ(g)⁻ᵀ x, as :meth:`apply`."""
        if self.is_trivial or self.is_orthogonal(group):
            return self.apply(group, elements, x)
        return product(transposed(self.inverse_matrix(group, elements)), x)


class AppliedRepresentation(Representation):
    """A pytree of arrays or of representations, which is applied without its matrices.

    A subclass is registered by :func:`eqattn.pytrees.register_dataclass`, and writes ``apply``.
    """

    has_arrays = True

    def matrix(self, group: LieGroup, elements: Elements) -> Float[Array, "*B r r"]:
        """The matrices ρ(g): what becomes of each unit vector."""
        size = self.size(group)
        units = jnp.eye(size, dtype=numerics.at_least_float32(elements).dtype)
        units = jnp.broadcast_to(units, (*elements.shape[:-1], size, size))
        return transposed(self.apply(group, elements, units))


def product(matrix: Float[Array, "*B r r"], x: Float[Array, "*B H C"]) -> Float[Array, "*B H C"]:
    """A matrix times all copies in all heads.

    Written out: on so few channels that is faster than a batched product, and the derivative of
    ``split`` is a concatenation, as that of slices is not.
    """
    size = matrix.shape[-1]
    columns = jnp.split(x, size, axis=-1)
    matrix = matrix[..., None, :, :, None].astype(x.dtype)
    rows = [sum(matrix[..., i, j, :] * columns[j] for j in range(size)) for i in range(size)]
    return jnp.concatenate(rows, axis=-1)


def transposed(matrix: Float[Array, "*B r s"]) -> Float[Array, "*B s r"]:
    """Rows for columns."""
    return jnp.swapaxes(matrix, -1, -2)


@functools.lru_cache(maxsize=256)
def _check_homomorphism(representation: Representation, group: LieGroup) -> None:
    """Raises a ValueError unless matrices are a representation, as far as samples tell."""

    def matrices(elements: Array) -> np.ndarray:
        return np.asarray(representation.matrix(group, elements), np.float64)

    with jax.ensure_compile_time_eval():
        g, h = jnp.split(jnp.asarray(probe_elements(group)), 2)
        of_g, of_h, of_product = (matrices(x) for x in (g, h, group.compose(g, h)))
        square = group.compose(g, g)  # also in a group with reflections it has a logarithm
        first, second = matrices(square), matrices(group.exp(group.log(square)))
    expected = (len(g), representation.size(group), representation.size(group))
    if of_g.shape != expected:
        raise ValueError(
            f"{representation} must give matrices of shape {expected} for elements of shape "
            f"{g.shape}, got {of_g.shape}"
        )
    tolerance = 1e-3 * np.abs(of_g @ of_h).max()
    if not np.allclose(of_g @ of_h, of_product, rtol=1e-3, atol=tolerance):
        raise ValueError(
            f"{representation} is no representation of {group}: the matrix of g h is not that of "
            "g times that of h"
        )
    applied = {
        "apply": of_g,
        "apply_inverse": np.linalg.inv(of_g),
        "apply_dual": np.swapaxes(np.linalg.inv(of_g), -1, -2),
    }
    for name, matrix in applied.items():
        with jax.ensure_compile_time_eval():
            units = jnp.broadcast_to(jnp.eye(expected[-1], dtype=jnp.float32), expected)
            columns = getattr(representation, name)(group, g, units)
            found = np.swapaxes(np.asarray(columns, np.float64), -1, -2)
        if not np.allclose(found, matrix, rtol=1e-3, atol=1e-3 * np.abs(matrix).max()):
            raise ValueError(
                f"{representation} is no representation of {group}: {name} does not agree with "
                "matrix (see is_orthogonal and is_trivial, too)"
            )
    if not np.allclose(first, second, rtol=1e-2, atol=1e-2 * np.abs(first).max()):
        raise ValueError(
            f"{representation} is no representation of {group}: matrices differ for two forms in "
            "which one element is stored, such as the quaternions q and -q (spin is not supported)"
        )

"""Representations that are made of the matrix by which a group turns vectors: tensors, irreps."""

import abc
import dataclasses
from typing import Literal

import jax.numpy as jnp

from eqattn.checks import check_flags, check_instance, check_option, check_sizes
from eqattn.groups import LieGroup
from eqattn.representations.base import Elements, Representation
from eqattn.representations.harmonics import harmonic_matrix, harmonic_size
from eqattn.specification import computed
from eqattn.typing import Array, Float

Parity = Literal["even", "odd"]
_MAX_DEGREE, _MAX_RANK = 64, 8  # matrices of more components would not fit into memory


class NaturalRepresentation(Representation):
    """A function of ``group.linear_matrix`` that takes orthogonal matrices to orthogonal ones.

    In a group with translations or scalings it is of the rotation alone.
    """

    @abc.abstractmethod
    def of_linear(
        self, linear: Float[Array, "*B D D"], determinant: Float[Array, "*B"]
    ) -> Float[Array, "*B r r"]:
        """The matrices ρ(g).

        Args:
          linear: Matrices by which the elements turn vectors.
          determinant: Determinants of those.
        """

    def matrix(self, group: LieGroup, elements: Elements) -> Float[Array, "*B r r"]:
        return self.of_linear(group.linear_matrix(elements), group.determinant(elements))

    def is_orthogonal(self, group: LieGroup) -> bool:
        return group.is_orthogonal


@dataclasses.dataclass(frozen=True)
class Tensor(NaturalRepresentation):
    """Tensors of a rank: scalars (0), vectors (1), matrices (2)…, in row-major order.

    Args:
      rank: k; a tensor has D^k components.
      pseudo: Whether reflections also change its sign (pseudoscalars, pseudovectors…).

    Raises:
      ValueError: For a rank below 0 or above 8.
    """

    rank: int
    pseudo: bool = False

    def __post_init__(self):
        check_sizes({"rank of a tensor": self.rank}, minimum=0)
        if self.rank > _MAX_RANK:
            raise ValueError(f"rank of a tensor must be at most {_MAX_RANK}, got {self.rank}")
        check_flags({"pseudo": self.pseudo})

    is_trivial = computed(lambda self: self.rank == 0 and not self.pseudo)

    def size(self, group: LieGroup) -> int:
        return group.point_dim**self.rank

    def check(self, group: LieGroup) -> None:
        check_instance("group", group, LieGroup)
        dim = group.point_dim
        if self.rank == 1 and self.pseudo and dim != 3:
            raise ValueError(
                f"pseudovector needs vectors of 3 components, {group} has {dim}"
                + (": in the plane, what a cross product gives is a pseudoscalar" * (dim == 2))
            )

    def of_linear(
        self, linear: Float[Array, "*B D D"], determinant: Float[Array, "*B"]
    ) -> Float[Array, "*B r r"]:
        out = jnp.ones((*linear.shape[:-2], 1, 1), linear.dtype)
        for _ in range(self.rank):
            out = _kronecker(out, linear)
        return out * determinant[..., None, None] if self.pseudo else out

    def __str__(self) -> str:
        name = ("scalar", "vector")[self.rank] if self.rank < 2 else f"tensor({self.rank})"
        return f"pseudo{name}" if self.pseudo else name


@dataclasses.dataclass(frozen=True)
class Irrep(NaturalRepresentation):
    """An irreducible representation of O(3), or of O(2): harmonic polynomials of a degree.

    In space it has 2l+1 components, in the basis of :mod:`eqattn.representations.harmonics` (that
    of e3nn): degree 1 is a vector (x, y, z), degree 2 a symmetric traceless matrix (see
    :func:`eqattn.fields.pack_traceless`). In the plane l is the angular frequency, with 2
    components.

    Args:
      degree: l, at least 1; degree 0 are the scalars, ``Tensor(0)``.
      parity: Sign under the inversion x → -x, ``"even"`` or ``"odd"``; (-1)^l by default. In
        the plane the inversion is a rotation and there is no other choice.

    Raises:
      ValueError: For a degree below 1 or above 64, or an unknown parity.

    >>> from eqattn.groups import SO
    >>> Irrep(2).size(SO(3))
    5
    """

    degree: int
    parity: Parity | None = None

    def __post_init__(self):
        check_sizes({"degree of an irrep": self.degree})
        if self.degree > _MAX_DEGREE:
            raise ValueError(f"degree of an irrep must be at most {_MAX_DEGREE}, got {self.degree}")
        if self.parity is not None:
            check_option("parity of an irrep", self.parity, Parity)

    @property
    def _is_pseudo(self) -> bool:
        return self.parity not in (None, ("even", "odd")[self.degree % 2])

    def size(self, group: LieGroup) -> int:
        return harmonic_size(self.degree, group.point_dim)

    def check(self, group: LieGroup) -> None:
        check_instance("group", group, LieGroup)
        dim = group.point_dim
        if dim not in (2, 3) or not group.is_orthogonal:
            raise ValueError(
                f"{self} needs a group of rotations or reflections of vectors of 2 or 3 "
                f"components, got {group} with {dim}"
            )
        if dim == 2 and self._is_pseudo:
            raise ValueError(
                f"{self} does not exist in the plane, where x → -x is a rotation; "
                f"use irrep({self.degree}), got {group}"
            )

    def of_linear(
        self, linear: Float[Array, "*B D D"], determinant: Float[Array, "*B"]
    ) -> Float[Array, "*B r r"]:
        out = harmonic_matrix(self.degree, linear, determinant)
        return out * determinant[..., None, None] if self._is_pseudo else out

    def __str__(self) -> str:
        return f"irrep({self.degree}{f', {self.parity}' if self.parity else ''})"


def _kronecker(a: Array, b: Array) -> Array:
    """Kronecker products of matrices, elementwise."""
    out = a[..., :, None, :, None] * b[..., None, :, None, :]
    shape = out.shape[:-4]
    return out.reshape(*shape, a.shape[-2] * b.shape[-2], a.shape[-1] * b.shape[-1])

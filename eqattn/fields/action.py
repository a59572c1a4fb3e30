"""How elements of a group act on values at points: as themselves, or through the stabilizer."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.groups.base import LieGroup, probe_elements
from eqattn.representations import NaturalRepresentation, Representation
from eqattn.spaces.base import Space
from eqattn.typing import Array, Float

Section = Callable[[Array], Array]
"""A function of points [*B D] that gives elements [*B E] which take the origin to them."""


@dataclasses.dataclass(eq=False)
class GroupAction:
    """An element u that takes values at points x to values at u·x; or its inverse.

    Args:
      space: Where the values live.
      elements: Group elements u.
      inverse: Whether matrices are those of the inverse, which takes values at u·x to x.
      points: x; only gauge fields need it. The origin of the space by default.
      images: u·x, where it is known better than by applying u.
    """

    space: Space
    elements: Array
    inverse: bool = False
    points: Array | None = None
    images: Array | None = None

    @functools.cached_property
    def element(self) -> Array:
        """The element itself: u, or its inverse."""
        return self.space.group.inverse(self.elements) if self.inverse else self.elements

    @functools.cached_property
    def linear(self) -> Array:
        """Its matrix on vectors [*B V V]."""
        return self.space.group.linear_matrix(self.element)

    @functools.cached_property
    def determinant(self) -> Array:
        """Determinant of that [*B]."""
        return self.space.group.determinant(self.element)

    def matrix(self, representation: Representation) -> Float[Array, "*B r r"]:
        """Its matrix in a representation; natural ones share what is made of vectors."""
        if isinstance(representation, NaturalRepresentation):
            return representation.of_linear(self.linear, self.determinant)
        return representation.matrix(self.space.group, self.element)

    def in_gauge(self, section: Section | None) -> "GroupAction":
        """The action of c(u, x) = section(u·x)⁻¹ u section(x), which lies in the stabilizer.

        Args:
          section: Section that replaces that of the space.
        """
        section = self.space.section if section is None else section
        points = self.points
        if points is None:
            points = jnp.asarray(self.space.origin(), self.elements.dtype)
        images = self.space.act(self.elements, points) if self.images is None else self.images
        group = self.space.group
        moved = group.compose(self.elements, section(points))
        cocycle = group.compose(group.inverse(section(images)), moved)
        return _StabilizerAction(self.space, cocycle, inverse=self.inverse)


class _StabilizerAction(GroupAction):
    """An element of the stabilizer H, stored as in G, that acts on the vectors of H."""

    @functools.cached_property
    def linear(self) -> Array:
        entries = jnp.einsum(
            "...m,mn->...n",
            _matrices(self.space.group, self.element),
            jnp.asarray(stabilizer_coefficients(self.space), self.element.dtype),
            precision=jax.lax.Precision.HIGHEST,
        )
        size = self.space.stabilizer.point_dim
        return entries.reshape(*self.element.shape[:-1], size, size)

    @functools.cached_property
    def determinant(self) -> Array:
        return jnp.linalg.det(self.linear)


@functools.cache
def stabilizer_coefficients(space: Space) -> np.ndarray:
    """Linear map from the matrices of an element h of H in G to its matrix on H's own vectors.

    The matrices in G are faithful, and those of H on its vectors occur in them: the map is found
    by least squares over samples, and holds for all elements if it holds for them.

    Raises:
      ValueError: If there is none.
    """
    stabilizer = space.stabilizer
    with jax.ensure_compile_time_eval():
        own = jnp.asarray(probe_elements(stabilizer, 64))
        inputs = np.asarray(_matrices(space.group, space.embed_stabilizer(own)), np.float64)
        outputs = np.asarray(stabilizer.linear_matrix(own), np.float64).reshape(len(own), -1)
    coefficients = np.linalg.lstsq(inputs, outputs, rcond=1e-5)[0]
    if not np.allclose(inputs @ coefficients, outputs, atol=1e-4):
        raise ValueError(
            f"gauge fields need the stabilizer {stabilizer} of {space} to act on its vectors by "
            f"entries of its matrices in {space.group}, which it does not"
        )
    return np.where(np.abs(coefficients) > 1e-5, coefficients, 0.0)


def _matrices(group: LieGroup, elements: Array) -> Array:
    """Entries of the faithful and of the linear matrix [*B M]."""
    parts = (group.matrix(elements), group.linear_matrix(elements))
    # A size of -1 would mean nothing where a batch is empty.
    rows = [p.reshape(*p.shape[:-2], p.shape[-2] * p.shape[-1]) for p in parts]
    return jnp.concatenate(rows, -1)

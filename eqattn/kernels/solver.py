"""Equivariant linear maps between fields: kernels by harmonics, and pair by pair.

Every linear map between fields that is equivariant is out(x) = Σ_y K(x, y) f(y) with
K(u x, u y) = ρ_out(u) K(x, y) ρ_in(u)⁻¹ (arXiv 1811.02017; steerable kernels: 1911.08251). In the
gauge of a section ρ(u) is ρ(section(u x)⁻¹ u section(x)). Two solvers find them:

* :func:`kernel_basis`, in Rⁿ under its translations and a compact group H of isometries. There
  K(x, y) = κ(y - x), and κ(x) = Σ_l φ_l(|x|) C_l · Y_l(x) with solid harmonics Y_l; the C_l are
  what H leaves alone.
* :func:`pair_homomorphisms`, in any space: the matrices K(x, y) of one pair of points, which are
  those that commute with all elements that keep both. On the orbit of the pair they are free.

The second needs nothing but the action, and is the independent test of the first.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.checks import check_instance, check_sizes
from eqattn.fields import FieldType, Term
from eqattn.groups import SE, SO, E, O
from eqattn.groups.base import probe_elements, unstack
from eqattn.kernels.fixed import fixed_vectors
from eqattn.kernels.samples import (
    constants_in_float64,
    keeper_matrices,
    stabilizer_samples,
    term_matrices,
)
from eqattn.representations.harmonics import harmonic_matrix, solid_harmonics
from eqattn.spaces import RadialSpace, Sphere, euclidean
from eqattn.spaces.base import Space
from eqattn.typing import Array, Float

Field = FieldType | str
_ROTATIONS = (SO(2), SO(3), O(2), O(3))


@dataclasses.dataclass(frozen=True, eq=False)
class KernelBasis:
    """Angular parts of all kernels between two fields, by degree of their harmonics.

    A kernel is κ(x) = Σ_l Σ_k φ_lk(|x|) Σ_m tensors[l][k, :, :, m] Y_lm(x), with any functions φ of
    the length, and the solid harmonics Y of :func:`eqattn.representations.solid_harmonics`. The
    tensors of a degree are orthonormal.

    Attributes:
      tensors: Array [K O I M] for each degree l; K may be 0.
      dim: Dimension of the points.
    """

    tensors: tuple[Float[np.ndarray, "_ O I _"], ...]
    dim: int

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of kernels of each degree."""
        return tuple(len(tensor) for tensor in self.tensors)

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B K O I"]:
        """All of them at differences x of points, those of low degrees first.

        Args:
          x: Differences y - x of a point y of the input and a point x of the output.

        Raises:
          ValueError: For differences of another dimension.
        """
        if x.shape[-1:] != (self.dim,):
            raise ValueError(f"x must have shape [*B {self.dim}], got {x.shape}")
        values = solid_harmonics(len(self.tensors) - 1, unstack(x))
        parts = [
            jnp.einsum(
                "koim,m...->...koi", jnp.asarray(t, ys[0].dtype), jnp.stack(ys), precision="highest"
            )
            for t, ys in zip(self.tensors, values, strict=True)
        ]
        found = jnp.concatenate(parts, axis=-3)
        # Harmonics of degree 0 see no x: they would hide what is not a number.
        is_number = ~jnp.isnan(x).any(axis=-1)
        return jnp.where(is_number[..., None, None, None], found, jnp.nan)


def kernel_basis(
    space: Space, input_field: Field, output_field: Field, *, max_degree: int | None = None
) -> KernelBasis:
    """Solves for all equivariant kernels between two fields in Rⁿ, n = 2 or 3.

    The tensors C of degree l are the vectors of ρ_out ⊗ ρ_in* ⊗ irrep(l) that H leaves alone, with
    irrep(l) of the parity (-1)^l of the harmonics.

    Args:
      space: Rⁿ under translations and a compact group H of isometries, such as
        ``euclidean(SE(3))``.
      input_field: Type of the input, or how it is written.
      output_field: Type of the output.
      max_degree: Highest degree l of harmonics. By default that beyond which there are no kernels,
        for irreps under SO(n) or O(n) the sum of their degrees.

    Raises:
      ValueError: For another space, a field that makes no sense on it, or no ``max_degree`` where
        there are kernels of all degrees.

    >>> import eqattn
    >>> space = eqattn.spaces.euclidean(eqattn.groups.SE(3))
    >>> kernel_basis(space, "vector", "vector").counts
    (1, 1, 1)
    >>> kernel_basis(eqattn.spaces.euclidean(eqattn.groups.E(3)), "vector", "vector").counts
    (1, 0, 1)
    """
    check_instance("space", space, Space)
    check_kernel_space(space)
    inputs = _checked(space, "input_field", input_field)
    outputs = _checked(space, "output_field", output_field)
    if max_degree is None:
        max_degree = max(
            _degree(space, a) + _degree(space, b) for a in inputs.terms for b in outputs.terms
        )
    check_sizes({"max_degree": max_degree}, minimum=0)
    tensors = tuple(
        _blocks(space, inputs, outputs, functools.partial(term_kernels, space, degree=degree))
        for degree in range(max_degree + 1)
    )
    return KernelBasis(tensors, space.point_dim)


def pair_homomorphisms(
    space: Space,
    input_field: Field,
    output_field: Field,
    query_point: Sequence[float | int] | np.ndarray,
    key_point: Sequence[float | int] | np.ndarray,
) -> Float[np.ndarray, "K O I"]:
    """Solves for the matrices that an equivariant map may have between two points of any space.

    K ρ_in(u) = ρ_out(u) K for all elements u that keep both points. Where the points are one, they
    are the maps that may be applied to a value in its place, Hom_H(ρ_in, ρ_out).

    Args:
      space: Any homogeneous space, or union of orbits; also of one's own.
      input_field: Type of the input, or how it is written.
      output_field: Type of the output.
      query_point: Point of the output.
      key_point: Point of the input.

    Returns:
      An orthonormal basis, which turns arbitrarily from pair to pair. Families of kernels that are
      smooth in the points are those of :func:`kernel_basis`.

    Raises:
      TypeError: For points that are no numbers, or fields that are none.
      ValueError: For points of another shape, not finite, none of the space, or too close to each
        other or too far apart for float64; or a field that makes no sense on it.

    >>> import eqattn
    >>> sphere = eqattn.spaces.sphere(eqattn.groups.SO(3))
    >>> field, north = "gauge(vector)", (0, 0, 1)
    >>> [len(pair_homomorphisms(sphere, field, field, north, y)) for y in (north, (0, 0.6, 0.8))]
    [2, 4]
    """
    check_instance("space", space, Space)
    inputs = _checked(space, "input_field", input_field)
    outputs = _checked(space, "output_field", output_field)
    query = _point(space, "query_point", query_point)
    key = _point(space, "key_point", key_point)
    space.check_domain(jnp.asarray(np.stack([query, key])))
    points = tuple(query.tolist()), tuple(key.tolist())

    def solve(term_in: Term, term_out: Term) -> np.ndarray:
        before = keeper_matrices(space, term_in, *points, at_key=True)
        after = keeper_matrices(space, term_out, *points, at_key=False)
        constraints = [
            np.kron(b, np.eye(a.shape[0])) - np.kron(np.eye(b.shape[0]), a.T)
            for a, b in zip(before, after, strict=True)
        ]
        name = f"homomorphisms from {term_in.single} to {term_out.single}"
        found = fixed_vectors(constraints, name)
        return found.reshape(len(found), after.shape[1], before.shape[1], 1)

    return _blocks(space, inputs, outputs, solve)[..., 0]


def term_kernels(
    space: Space, input_term: Term, output_term: Term, degree: int
) -> Float[np.ndarray, "K O I M"]:
    """Tensors of one degree between single fields of two terms: see :func:`kernel_basis`.

    Args:
      space: Rⁿ under translations and a compact group of isometries.
      input_term: Field of the input.
      output_term: Field of the output.
      degree: Degree of the harmonics.
    """
    single = (term._replace(multiplicity=1) for term in (input_term, output_term))
    return _solve(space, *single, degree)


@functools.lru_cache(maxsize=4096)
def _solve(
    space: Space, input_term: Term, output_term: Term, degree: int
) -> Float[np.ndarray, "K O I M"]:
    before, after = (origin_matrices(space, term) for term in (input_term, output_term))
    angular = _angular_matrices(space, degree)
    dual = np.swapaxes(np.linalg.inv(before), -1, -2)
    sizes = after.shape[1], before.shape[1], angular.shape[1]
    constraints = [
        np.kron(np.kron(b, a), y) - np.eye(sizes[0] * sizes[1] * sizes[2])
        for a, b, y in zip(dual, after, angular, strict=True)
    ]
    name = f"kernels from {input_term.single} to {output_term.single} of degree {degree}"
    found = fixed_vectors(constraints, name).reshape(-1, *sizes)
    found.flags.writeable = False
    return found


@functools.lru_cache(maxsize=512)
def origin_matrices(space: Space, term: Term) -> Float[np.ndarray, "S r r"]:
    """Matrices of one field by samples that generate the stabilizer of the origin.

    Args:
      space: Where the field lives.
      term: The field.
    """
    with constants_in_float64():
        return term_matrices(space, term, stabilizer_samples(space))


@functools.lru_cache(maxsize=512)
def _angular_matrices(space: Space, degree: int) -> Float[np.ndarray, "S M M"]:
    with constants_in_float64():
        linear = jax.jit(space.group.linear_matrix)(jnp.asarray(stabilizer_samples(space)))
        determinants = jnp.asarray(np.linalg.det(np.asarray(linear)))
        return np.asarray(jax.jit(harmonic_matrix, static_argnums=0)(degree, linear, determinants))


@functools.lru_cache(maxsize=64)
def check_kernel_space(space: Space) -> None:
    """Makes sure that kernels in a space are functions of differences of points.

    Raises:
      ValueError: For a space that is not Rⁿ, n = 2 or 3, under translations and a compact group of
        isometries.
    """
    needs = (
        f"kernels by harmonics need Rⁿ under translations and isometries about a point, got {space}"
    )
    if not space.stabilizer.is_compact:
        raise ValueError(
            f"{needs}, whose stabilizer {space.stabilizer} is not compact: under scalings a kernel "
            "would have to be homogeneous, which excludes every cutoff"
        )
    if space.num_orbit_invariants or not space.section_is_normal or space.point_dim not in (2, 3):
        raise ValueError(f"{needs}; pair_homomorphisms serves every space")
    points = np.random.default_rng(3).normal(size=(2, 8, space.point_dim))

    @jax.jit
    def errors(elements: Array, first: Array, second: Array) -> tuple[Array, ...]:
        linear = space.group.linear_matrix(elements)
        translated = space.act(space.section(first), second)
        moved = space.act(elements, first) - space.act(elements, second)
        turned = jnp.sum(linear * (first - second)[:, None, :], -1)
        squares = jnp.sum(linear[:, None] * linear[:, :, None], -1)
        return translated - first - second, moved - turned, squares - jnp.eye(space.point_dim)

    with constants_in_float64():
        elements = jnp.asarray(probe_elements(space.group), jnp.float64)
        found = errors(elements, *(jnp.asarray(x) for x in points))
    if not all(np.abs(np.asarray(error)).max() < 1e-5 for error in found):
        raise ValueError(f"{needs}; pair_homomorphisms serves every space")


def kernel_space(space: Space) -> Space:
    """The space whose kernels a network's layers have: Rⁿ with translations, where there are none.

    Args:
      space: Space of the points.
    """
    if isinstance(space, Sphere | RadialSpace):
        size = space.point_dim
        return euclidean(SE(size) if space.group == SO(size) else E(size))
    return space


def _point(space: Space, name: str, value: object) -> Float[np.ndarray, "D"]:
    try:
        point = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be real numbers, got {value!r}") from None
    if point.shape != (space.point_dim,):
        raise ValueError(
            f"{name} of {space} must have shape {(space.point_dim,)}, got {point.shape}"
        )
    if not np.isfinite(point).all():
        raise ValueError(f"{name} must be finite, got {value!r}")
    return point


def _checked(space: Space, name: str, field: Field) -> FieldType:
    if not isinstance(field, FieldType | str):
        raise TypeError(f"{name} must be a FieldType or a text, got {field!r}")
    field = FieldType.read(field)
    field.check(space)
    return field


def _copies(field: FieldType) -> list[Term]:
    """Each single field."""
    return [t._replace(multiplicity=1) for t in field.terms for _ in range(t.multiplicity)]


def _degree(space: Space, term: Term) -> int:
    """Highest degree of harmonics that occur in a field: tensors of rank k hold degrees up to k.

    Raises:
      ValueError: For a field of which that is not known.
    """
    degree = getattr(term.representation, "degree", getattr(term.representation, "rank", None))
    if degree is None or space.stabilizer not in _ROTATIONS:
        raise ValueError(
            f"max_degree must be given for {term.single} on {space}: the highest degree of its "
            "kernels is not known"
        )
    return degree


def _blocks(
    space: Space,
    input_field: FieldType,
    output_field: FieldType,
    solve: Callable[[Term, Term], np.ndarray],
) -> Float[np.ndarray, "K O I M"]:
    """Kernels between sums of fields: those of each two single ones, at their place."""
    size_in, size_out = input_field.size(space), output_field.size(space)
    parts, row = [], 0
    for after in _copies(output_field):
        column = 0
        for before in _copies(input_field):
            block = solve(before, after)
            whole = np.zeros((len(block), size_out, size_in, block.shape[-1]))
            whole[:, row : row + block.shape[1], column : column + block.shape[2]] = block
            parts.append(whole)
            column += block.shape[2]
        row += after.size(space)
    return np.concatenate(parts)

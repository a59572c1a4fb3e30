"""Kinds of fields: the representations that direct sums are made of."""

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.checks import check_option, check_sizes
from eqattn.fields.action import (
    GroupAction,
    Section,
    acts_orthogonally,
    probe_elements,
    stabilizer_matrix,
)
from eqattn.fields.harmonics import harmonic_matrix, harmonic_size
from eqattn.groups.base import LieGroup
from eqattn.spaces.base import Space
from eqattn.specification import computed
from eqattn.typing import Array

Parity = Literal["even", "odd"]


class Kind(abc.ABC):
    """A representation of the groups that it makes sense for; frozen and hashable."""

    is_trivial: bool = False
    """Whether every element of every group leaves the values alone."""

    @abc.abstractmethod
    def size(self, space: Space) -> int:
        """Number of channels on a space."""

    @abc.abstractmethod
    def check(self, space: Space) -> None:
        """Raises a ValueError where such a field makes no sense."""

    @abc.abstractmethod
    def matrix(self, action: GroupAction) -> Array:
        """ρ(u) [*B r r]."""

    def log_scale(self, action: GroupAction) -> Array:
        """Logarithm of the stretch by u, which a scale weight multiplies [*B]."""
        return action.group.log_scale(action.element)


class Natural(Kind):
    """A kind that is a function of the matrix by which a group turns vectors."""

    @abc.abstractmethod
    def dimension(self, dim: int) -> int:
        """Number of channels where vectors have ``dim`` components."""

    @abc.abstractmethod
    def of_linear(self, linear: Array, determinant: Array) -> Array:
        """ρ [*B r r] from matrices [*B V V] and their determinants."""

    @abc.abstractmethod
    def check_group(self, group: LieGroup, dim: int) -> None:
        """Raises a ValueError where a group does not act so on vectors of ``dim`` components."""

    def size(self, space: Space) -> int:
        return self.dimension(space.vector_dim)

    def check(self, space: Space) -> None:
        self.check_group(space.group, space.vector_dim)

    def matrix(self, action: GroupAction) -> Array:
        return self.of_linear(action.linear, action.determinant)


@dataclasses.dataclass(frozen=True)
class Tensor(Natural):
    """Tensors of a rank: scalars (0), vectors (1), matrices (2)…, in row-major order.

    Args:
      rank: k; a tensor has V^k components.
      pseudo: Whether reflections also change its sign (pseudoscalars, pseudovectors…).

    Raises:
      ValueError: For a negative rank.
    """

    rank: int
    pseudo: bool = False

    def __post_init__(self):
        check_sizes({"rank of a tensor": self.rank}, minimum=0)

    is_trivial = computed(lambda self: self.rank == 0 and not self.pseudo)

    def dimension(self, dim: int) -> int:
        return dim**self.rank

    def check_group(self, group: LieGroup, dim: int) -> None:
        if self.rank == 1 and self.pseudo and dim != 3:
            raise ValueError(
                f"pseudovector needs vectors of 3 components, {group} has {dim}"
                + (": in the plane, what a cross product gives is a pseudoscalar" * (dim == 2))
            )

    def of_linear(self, linear: Array, determinant: Array) -> Array:
        out = jnp.ones((*linear.shape[:-2], 1, 1), linear.dtype)
        for _ in range(self.rank):
            out = _kronecker(out, linear)
        return out * determinant[..., None, None] if self.pseudo else out

    def __str__(self) -> str:
        name = ("scalar", "vector")[self.rank] if self.rank < 2 else f"tensor({self.rank})"
        return f"pseudo{name}" if self.pseudo else name


@dataclasses.dataclass(frozen=True)
class Irrep(Natural):
    """An irreducible representation of O(3), or of O(2): harmonic polynomials of a degree.

    In space it has 2l+1 components, in the basis of :mod:`eqattn.fields.harmonics` (that of e3nn):
    degree 1 is a vector (x, y, z), degree 2 a symmetric traceless matrix (see
    :func:`eqattn.fields.pack_traceless`). In the plane l is the angular frequency, with 2
    components.

    Args:
      degree: l, at least 1.
      parity: Sign under the inversion x → -x, ``"even"`` or ``"odd"``; (-1)^l by default. In
        the plane the inversion is a rotation and there is no other choice.

    Raises:
      ValueError: For a degree below 1, or an unknown parity.
    """

    degree: int
    parity: Parity | None = None

    def __post_init__(self):
        check_sizes({"degree of an irrep": self.degree})
        if self.parity is not None:
            check_option("parity of an irrep", self.parity, Parity)

    @property
    def _is_pseudo(self) -> bool:
        return self.parity not in (None, ("even", "odd")[self.degree % 2])

    def dimension(self, dim: int) -> int:
        return harmonic_size(self.degree, dim)

    def check_group(self, group: LieGroup, dim: int) -> None:
        if dim not in (2, 3) or not acts_orthogonally(group):
            raise ValueError(
                f"{self} needs a group of rotations or reflections of vectors of 2 or 3 "
                f"components, got {group} with {dim}"
            )
        if dim == 2 and self._is_pseudo:
            raise ValueError(
                f"{self} does not exist in the plane, where x → -x is a rotation; "
                f"use irrep({self.degree}), got {group}"
            )

    def of_linear(self, linear: Array, determinant: Array) -> Array:
        out = harmonic_matrix(self.degree, linear, determinant)
        return out * determinant[..., None, None] if self._is_pseudo else out

    def __str__(self) -> str:
        return f"irrep({self.degree}{f', {self.parity}' if self.parity else ''})"


@dataclasses.dataclass(frozen=True)
class Gauge(Kind):
    """Values in the section's gauge: components in a frame that the section carries to the point.

    F(section(x) h) = ρ(h)⁻¹ f(x) for h in the stabilizer H, and an element u takes f(x) to
    ρ(c(u, x)) f(x) at u·x, with c(u, x) = section(u·x)⁻¹ u section(x) in H. On the sphere, where H
    is SO(2), ``Gauge(Tensor(1))`` are tangent vectors by their two components.

    Args:
      kind: ρ, made of the matrices by which H turns its own vectors.
      section: Section of another gauge than the space's own, such as east and north
        (:func:`eqattn.fields.east_north`).
    """

    kind: Natural
    section: Section | None = None

    is_trivial = computed(lambda self: self.kind.is_trivial)

    def size(self, space: Space) -> int:
        return self.kind.dimension(space.stabilizer.point_dim)

    def check(self, space: Space) -> None:
        if space.has_exceptional_orbits:
            raise ValueError(
                f"{self} needs one stabilizer for all points, got {space} with exceptional orbits"
            )
        self.kind.check_group(space.stabilizer, space.stabilizer.point_dim)
        with jax.ensure_compile_time_eval():
            stabilizer_matrix(space, space.group.identity())
        if self.section is not None:
            _check_section(self.section, space)

    def matrix(self, action: GroupAction) -> Array:
        linear = stabilizer_matrix(action.space, action.in_gauge(self.section))
        return self.kind.of_linear(linear, jnp.linalg.det(linear))

    def log_scale(self, action: GroupAction) -> Array:
        return action.group.log_scale(action.in_gauge(self.section))

    def __str__(self) -> str:
        section = "" if self.section is None else f", {_name(self.section)}"
        return f"gauge({self.kind}{section})"


@functools.cache
def _check_section(section: Section, space: Space) -> None:
    """Raises a ValueError unless the section takes the origin to each point, as samples tell."""
    if not callable(section):
        raise ValueError(f"section of a gauge must be a function of points, got {section!r}")
    with jax.ensure_compile_time_eval():
        points = space.sample_points(jax.random.key(3), (8,), jnp.float32)
        origin = jnp.asarray(space.origin(), points.dtype)
        try:
            elements = jnp.asarray(section(points))
            if elements.shape != (8, space.group.element_dim):
                raise ValueError(f"it gives elements of shape {elements.shape} for 8 points")
            distance = float(jnp.max(jnp.abs(space.act(elements, origin) - points)))
        except (ValueError, TypeError, IndexError) as error:
            raise ValueError(
                f"section {_name(section)} of a gauge is none of {space}: {error}"
            ) from error
    if not distance < 1e-3:
        raise ValueError(
            f"section {_name(section)} of a gauge must take the origin of {space} to each point, "
            f"it misses one by {distance:.2g}"
        )


@dataclasses.dataclass(frozen=True)
class Custom(Kind):
    """A representation given by a function of group elements.

    Args:
      fn: Function of elements [*B E] that gives matrices [*B r r], with fn(g h) = fn(g) fn(h).
      channels: Number of channels r.

    Raises:
      ValueError: If ``channels`` is below 1.
    """

    fn: Callable[[Array], Array]
    channels: int

    def __post_init__(self):
        check_sizes({"channels of a custom field": self.channels})

    def size(self, space: Space) -> int:
        return self.channels

    def check(self, space: Space) -> None:
        _check_homomorphism(self, space.group)

    def matrix(self, action: GroupAction) -> Array:
        return self.fn(action.element)

    def __str__(self) -> str:
        return f"custom({_name(self.fn)}, {self.channels})"


@functools.cache
def _check_homomorphism(kind: Custom, group: LieGroup) -> None:
    """Raises a ValueError unless the function is a representation, as far as samples tell."""
    with jax.ensure_compile_time_eval():
        g, h = jnp.split(jnp.asarray(probe_elements(group)), 2)
        found = [np.asarray(kind.fn(x), np.float64) for x in (g, h, group.compose(g, h))]
    expected = (len(g), kind.channels, kind.channels)
    if found[0].shape != expected:
        raise ValueError(
            f"{kind} must give matrices of shape {expected} for elements of shape {g.shape}, "
            f"got {found[0].shape}"
        )
    product = found[0] @ found[1]
    tolerance = 1e-3 * np.abs(product).max()
    if not np.allclose(product, found[2], rtol=1e-3, atol=tolerance):
        raise ValueError(f"{kind} is no representation of {group}: fn(g h) is not fn(g) fn(h)")
    with jax.ensure_compile_time_eval():
        square = group.compose(g, g)  # also in a group with reflections it has a logarithm
        same = group.exp(group.log(square))
        first, second = (np.asarray(kind.fn(x), np.float64) for x in (square, same))
    if not np.allclose(first, second, rtol=1e-2, atol=1e-2 * np.abs(first).max()):
        raise ValueError(
            f"{kind} is no representation of {group}: fn differs for two forms in which one "
            "element is stored, such as the quaternions q and -q (spin is not supported)"
        )


def _kronecker(a: Array, b: Array) -> Array:
    """Kronecker products of matrices, elementwise."""
    out = a[..., :, None, :, None] * b[..., None, :, None, :]
    shape = out.shape[:-4]
    return out.reshape(*shape, a.shape[-2] * b.shape[-2], a.shape[-1] * b.shape[-1])


def _name(fn: Callable) -> str:
    return getattr(fn, "__name__", type(fn).__name__)

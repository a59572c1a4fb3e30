"""How fields must transform, found from the action on points alone.

The certificate compares what the library computes with these matrices, and so they are made
without the code of ``eqattn.fields`` and ``eqattn.representations``: the matrix by which an element
turns vectors comes from where the action takes the points 0 and e_i, parity and stretch from its
determinant, irreps from the values of harmonic polynomials at moved points.
"""

import functools
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import lpmv

from eqattn.fields import FieldType
from eqattn.fields.action import Section
from eqattn.groups import LieGroup
from eqattn.representations import CustomRepresentation, Irrep, Representation, Tensor
from eqattn.spaces import Space
from eqattn.typing import Array


class LinearPart(NamedTuple):
    """What an element does to vectors.

    Attributes:
      turn: Orthogonal matrices [*B V V].
      sign: Determinants of the matrices [*B].
      stretch: The factors of lengths [*B].
    """

    turn: np.ndarray
    sign: np.ndarray
    stretch: np.ndarray


def representation(
    space: Space, field: FieldType, elements: np.ndarray, points: np.ndarray, images: np.ndarray
) -> np.ndarray:
    """Matrices ρ(u) [G N C C] by which values of a field at points turn.

    Args:
      space: Where the field lives.
      field: Type of the field.
      elements: u [G E].
      points: x [G N D].
      images: u·x.
    """
    blocks = []
    for term in field.terms:
        if term.gauge is not None:
            section = term.gauge.section or space.section
            part = _in_gauge(space, section, elements, points, images)
        else:
            part = _part(space.group, elements)
            part = LinearPart(part.turn[:, None], part.sign[:, None], part.stretch[:, None])
        if isinstance(term.representation, CustomRepresentation):
            fn = term.representation.fn
            matrices = np.asarray(fn(jnp.asarray(elements)), np.float64)[:, None]
        else:
            matrices = _matrices(term.representation, part)
        matrices = matrices * (part.stretch**term.weight)[..., None, None]
        shape = (*points.shape[:2], *matrices.shape[-2:])
        blocks += [np.broadcast_to(matrices, shape)] * term.multiplicity
    stops = list(itertools.accumulate(block.shape[-1] for block in blocks))
    out = np.zeros((*points.shape[:2], stops[-1], stops[-1]))
    for stop, block in zip(stops, blocks, strict=True):
        start = stop - block.shape[-1]
        out[..., start:stop, start:stop] = block
    return out


def linear_part(group: LieGroup, elements: Array) -> LinearPart:
    """What elements [*B E] do to the vectors of R^D, by where they take 0 and the unit vectors."""
    basis = jnp.concatenate([jnp.zeros((1, group.point_dim)), jnp.eye(group.point_dim)])
    moved = np.asarray(group.act(elements[..., None, :], basis.astype(elements.dtype)), np.float64)
    matrix = np.swapaxes(moved[..., 1:, :] - moved[..., :1, :], -1, -2)
    determinant = np.linalg.det(matrix)
    stretch = np.abs(determinant) ** (1.0 / group.point_dim)
    return LinearPart(matrix / stretch[..., None, None], np.sign(determinant), stretch)


def _part(group: LieGroup, elements: np.ndarray) -> LinearPart:
    return linear_part(group, jnp.asarray(elements))


def _matrices(representation: Representation, part: LinearPart) -> np.ndarray:
    """Matrices of tensors and irreps where vectors turn so.

    Raises:
      TypeError: For another representation.
    """
    sign = part.sign[..., None, None]
    if isinstance(representation, Tensor):
        out = np.ones((*part.sign.shape, 1, 1))
        for _ in range(representation.rank):
            out = np.einsum("...ab,...ij->...aibj", out, part.turn)
            size = math.isqrt(math.prod(out.shape[part.sign.ndim :]))
            out = out.reshape(*part.sign.shape, size, size)
        return out * sign if representation.pseudo else out
    if isinstance(representation, Irrep):
        out = harmonic_matrices(representation.degree, part.turn)
        natural = ("even", "odd")[representation.degree % 2]
        return out * sign if representation.parity not in (None, natural) else out
    raise TypeError(f"a field of the representation {representation} has no known transformation")


def harmonic_matrices(degree: int, turn: np.ndarray) -> np.ndarray:
    """D with Y(R x) = D Y(x) for harmonic polynomials Y of a degree, solved at points x."""
    points = np.random.default_rng(3).normal(size=(8 * degree + 8, turn.shape[-1]))
    there = harmonics(degree, points @ np.swapaxes(turn, -1, -2))
    here = harmonics(degree, points)
    return np.swapaxes(np.linalg.pinv(here) @ there, -1, -2)


def harmonics(degree: int, points: np.ndarray) -> np.ndarray:
    """Harmonic polynomials [*B M] of the plane, or those of space with y as polar axis.

    In the plane Re zˡ and Im zˡ; in space the real ones of the orders -l … l.
    """
    if points.shape[-1] == 2:
        powers = (points[..., 0] + 1j * points[..., 1]) ** degree
        return np.stack([powers.real, powers.imag], axis=-1)
    x, y, z = np.moveaxis(points, -1, 0)
    radius, angle = np.linalg.norm(points, axis=-1), np.arctan2(x, z)
    rows = []
    for order in range(-degree, degree + 1):
        m = abs(order)
        wave = np.sin(m * angle) if order < 0 else np.cos(m * angle)
        factor = math.sqrt((2.0 if m else 1.0) * math.factorial(degree - m))
        factor *= (-1) ** m / math.sqrt(math.factorial(degree + m))
        rows.append(factor * radius**degree * lpmv(m, degree, y / radius) * wave)
    return np.stack(rows, axis=-1)


def _in_gauge(
    space: Space, section: Section, elements: np.ndarray, points: np.ndarray, images: np.ndarray
) -> LinearPart:
    """What c(u, x) = section(u·x)⁻¹ u section(x) does to the stabilizer's own vectors."""
    group = space.group
    moved = group.compose(jnp.asarray(elements)[:, None], section(jnp.asarray(points)))
    cocycle = group.compose(group.inverse(section(jnp.asarray(images))), moved)
    return _stabilizer_part(space, cocycle)


def _stabilizer_part(space: Space, cocycle: Array) -> LinearPart:
    """By the linear map that takes matrices of H on vectors of G to those on its own vectors."""
    part = linear_part(space.group, cocycle)
    size = space.stabilizer.point_dim
    turn = (_with_one(part.turn) @ _restriction(space)).reshape(*part.sign.shape, size, size)
    return LinearPart(turn, np.sign(np.linalg.det(turn)), part.stretch)


@functools.cache
def _restriction(space: Space) -> np.ndarray:
    """The map, from samples of the stabilizer."""
    h = space.stabilizer.sample_bounded(jax.random.key(5), (64,), jnp.float64)
    own, there = (
        linear_part(space.stabilizer, h),
        linear_part(space.group, space.embed_stabilizer(h)),
    )
    inputs = _with_one(there.turn)
    return np.linalg.pinv(inputs, rcond=1e-9) @ own.turn.reshape(len(own.turn), -1)


def _with_one(matrices: np.ndarray) -> np.ndarray:
    entries = matrices.reshape(*matrices.shape[:-2], -1)
    return np.concatenate([entries, np.ones((*entries.shape[:-1], 1))], axis=-1)

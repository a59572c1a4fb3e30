"""Laws of dimensions, and where the stabilizer lies in the group: both found by derivatives.

A space says which group H keeps its origin, and which invariants its points and pairs have. How
many dimensions these must have follows from the action alone: of an orbit, the rank of its
derivative; of H, what is left of the group's; of the invariants of pairs, those of two orbits less
those by which the group moves a pair.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from eqattn.groups import LieGroup
from eqattn.groups.base import stack, unstack
from eqattn.laws.errors import double_coset, wide
from eqattn.spaces.base import DOMAIN_TOLERANCE, Space
from eqattn.typing import Array, DType

NUM_PLACES = 4
"""Points and pairs at which ranks are found; the largest counts, that in general position."""

RANK_TOLERANCE = 1e-3
"""Singular values that are smaller, relative to the largest and to 1, count as 0."""

NUM_STARTS, NUM_TRIES, NUM_STEPS = 512, 4, 32
"""Samples of the stabilizer, how many of the nearest are tried, and steps to come closer."""

CLOSE, ARRIVED = 1e-3, 1e-13
"""What is left of the way where no further start is tried, and the step that is the last one."""


def dimension_laws(space: Space, points: Array, others: Array) -> dict[str, np.ndarray]:
    """By how many dimensions [1] the laws of dimensions are broken.

    Args:
      space: The space.
      points: Points in general position, but for the first.
      others: The same.
    """
    places = slice(-NUM_PLACES, None)
    ranks = _ranks(space, points[places], others[places])
    orbit, pair, invariants, orbit_invariants, embedded = ranks
    expected = {
        "dim H = dim G - dim orbit": (
            space.stabilizer.algebra_dim,
            space.group.algebra_dim - orbit,
        ),
        "dimension of the embedded stabilizer": (embedded, space.stabilizer.algebra_dim),
        "rank of the orbit invariants": (orbit_invariants, space.num_orbit_invariants),
        "rank of the pair invariants": (invariants, 2 * orbit - pair),
        "exceptional orbits are stated": (_is_exceptional(space, points[-1], orbit), False),
    }
    return {law: np.array([abs(float(a - b))]) for law, (a, b) in expected.items()}


def _ranks(space: Space, points: Array, others: Array) -> list[int]:
    """Ranks of an orbit, the orbit of a pair, invariants of pairs and points, and embedded H."""
    return [
        max((_rank(matrix) for matrix in np.asarray(derivative, np.float64)), default=0)
        for derivative in _derivatives(space, points, others)
    ]


@functools.partial(jax.jit, static_argnums=0)
def _derivatives(space: Space, points: Array, others: Array) -> tuple[Array, ...]:
    """Of an orbit, the orbit of a pair, invariants of pairs and points, and embedded H."""
    group, stabilizer = space.group, space.stabilizer
    still = jnp.zeros(group.algebra_dim, points.dtype)
    origin = jnp.asarray(space.origin(), points.dtype)
    g, k = space.section(points), space.section(others)

    def moved(a: Array, *places: Array) -> Array:
        return jnp.concatenate([space.act(group.exp(a), x) for x in places])

    def invariants(a: Array, g: Array, k: Array) -> Array:
        return double_coset(space, group.compose(group.inverse(g), group.compose(group.exp(a), k)))

    def embedded(a: Array) -> Array:
        return group.matrix(space.embed_stabilizer(stabilizer.exp(a))).reshape(-1)

    def of_pairs(function):
        return jax.vmap(jax.jacfwd(function), (None, 0, 0))

    return (
        jax.jacfwd(moved)(still, origin)[None],
        of_pairs(moved)(still, points, others),
        of_pairs(invariants)(still, g, k),
        jax.vmap(jax.jacfwd(space.orbit_invariants))(points),
        jax.jacfwd(embedded)(jnp.zeros(stabilizer.algebra_dim, points.dtype))[None],
    )


def _is_exceptional(space: Space, point: Array, orbit: int) -> bool:
    """Whether some orbits have fewer dimensions than a generic one, and the space does not say so.

    These lie where coordinates are 0: at a center, or on an axis, of the space or of one factor.
    """
    if space.has_exceptional_orbits:
        return False
    size = len(point)
    is_zero = np.array(
        [np.eye(size)[i:j].any(0) for i in range(size) for j in range(i + 1, size + 1)]
    )
    places = jnp.where(is_zero, 0.0, point)
    exists = ~np.asarray(space.unliftable(places))
    if (defect := space.domain_defect(places)) is not None:
        exists &= np.asarray(defect) <= DOMAIN_TOLERANCE
    elif orbit + space.num_orbit_invariants < size:
        return False  # points lie on a surface that the space does not tell
    matrices = np.asarray(_orbit_derivatives(space, places), np.float64)
    exists &= np.all(np.isfinite(matrices), axis=(1, 2))
    return any(_rank(matrix) < orbit for matrix in matrices[exists])


@functools.partial(jax.jit, static_argnums=0)
def _orbit_derivatives(space: Space, points: Array) -> Array:
    """Derivatives [N D A] of the orbits of points by the algebra of the group."""
    moved = jax.jacfwd(lambda a, x: space.act(space.group.exp(a), x))
    return jax.vmap(moved, (None, 0))(jnp.zeros(space.group.algebra_dim, points.dtype), points)


@functools.partial(jax.jit, static_argnums=(0, 2))
def _stabilizer(space: Space, key: Array, dtype: DType) -> tuple[Array, Array, Array]:
    """Elements [M E] of the embedded stabilizer, their matrices, and a basis of its algebra."""
    group, stabilizer = space.group, space.stabilizer

    def embedded(a: Array) -> Array:
        return group.matrix(space.embed_stabilizer(stabilizer.exp(a)))

    samples = space.embed_stabilizer(stabilizer.sample_bounded(key, (NUM_STARTS,), dtype))
    basis = jax.jacfwd(embedded)(jnp.zeros(stabilizer.algebra_dim, dtype))
    return samples, group.matrix(samples), jnp.moveaxis(basis, -1, 0)


PROGRAMS: Any = (_derivatives, _orbit_derivatives, _stabilizer)
"""What is compiled here for each space."""


def _rank(matrix: np.ndarray) -> int:
    values = np.linalg.svd(matrix, compute_uv=False)
    return int(np.sum(values > RANK_TOLERANCE * max(1.0, np.max(values, initial=0.0))))


def distance_to_stabilizer(space: Space, elements: Array, key: Array) -> np.ndarray:
    """How far matrices of elements of G [N E] are from those of the embedded stabilizer [N].

    From the nearest of many samples of the same parities, by Newton steps along the algebra of the
    stabilizer: these end at 0 for its elements, and far from it for all others. A start that is a
    half-turn away leads nowhere, so that a few are tried.
    """
    samples, *found = _stabilizer(space, key, elements.dtype)
    starts, basis = (np.asarray(x, np.float64) for x in found)
    targets = wide(space.group.matrix)(elements)
    apart = np.linalg.norm(targets[:, None] - starts, axis=(-2, -1))
    signs, of_samples = (_parities(space.group, x) for x in (elements, samples))
    apart[np.any(signs[:, None] != of_samples, axis=-1)] = np.inf
    order = np.argsort(apart, axis=1)
    distance = np.full(len(targets), np.inf)
    for number in range(NUM_TRIES):
        (left,) = np.nonzero(distance > CLOSE)
        if not len(left):
            break
        rest = np.linalg.inv(starts[order[left, number]]) @ targets[left]
        distance[left] = np.minimum(distance[left], _size_along(basis, rest))
    return distance


def _parities(group: LieGroup, elements: Array) -> np.ndarray:
    """Signs [N P] of the connected components that elements lie in."""
    signs = group.parity_components(unstack(elements))
    return np.sign(stack(signs, elements.shape[:-1], elements.dtype))


def _size_along(basis: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """How far matrices [N m m] are from 1 [N], moved as close as an algebra [A m m] takes them."""
    eye = np.eye(rest.shape[-1])
    solve = np.linalg.pinv(basis.reshape(len(basis), eye.size))
    for _ in range(NUM_STEPS):
        step = (rest - eye).reshape(len(rest), eye.size) @ solve
        if np.all(np.abs(step) <= ARRIVED):
            break
        rest = scipy.linalg.expm(-np.tensordot(step, basis, 1)) @ rest
    return np.max(np.abs(rest - eye), axis=(1, 2), initial=0.0)

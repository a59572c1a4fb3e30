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

from eqattn.laws.errors import double_coset, wide
from eqattn.spaces.base import Space
from eqattn.typing import Array, DType

NUM_PLACES = 4
"""Points and pairs at which ranks are found; the largest counts, that in general position."""

RANK_TOLERANCE = 1e-3
"""Singular values that are smaller, relative to the largest and to 1, count as 0."""

NUM_STARTS, NUM_STEPS = 512, 8
"""Samples of the stabilizer that nearest ones are looked for among, and steps to come closer."""


def dimension_laws(space: Space, points: Array, others: Array) -> dict[str, np.ndarray]:
    """By how many dimensions [1] the laws of dimensions are broken.

    Args:
      space: the space.
      points: in general position, but for the first.
      others: the same.
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


@functools.partial(jax.jit, static_argnums=(0, 2))
def _stabilizer(space: Space, key: Array, dtype: DType) -> tuple[Array, Array]:
    """Matrices of samples [M m m] of the embedded stabilizer, and of a basis of its algebra."""
    group, stabilizer = space.group, space.stabilizer

    def embedded(a: Array) -> Array:
        return group.matrix(space.embed_stabilizer(stabilizer.exp(a)))

    samples = stabilizer.sample_bounded(key, (NUM_STARTS,), dtype)
    basis = jax.jacfwd(embedded)(jnp.zeros(stabilizer.algebra_dim, dtype))
    return group.matrix(space.embed_stabilizer(samples)), jnp.moveaxis(basis, -1, 0)


PROGRAMS: Any = (_derivatives, _stabilizer)
"""What is compiled here for each space."""


def _rank(matrix: np.ndarray) -> int:
    values = np.linalg.svd(matrix, compute_uv=False)
    return int(np.sum(values > RANK_TOLERANCE * max(1.0, np.max(values, initial=0.0))))


def distance_to_stabilizer(space: Space, elements: Array, key: Array) -> np.ndarray:
    """How far matrices of elements of G [N E] are from those of the embedded stabilizer [N].

    From the nearest of many samples, by Newton steps along the algebra of the stabilizer: these end
    at 0 for its elements, and far from it for all others.
    """
    starts, basis = (np.asarray(x, np.float64) for x in _stabilizer(space, key, elements.dtype))
    targets = wide(space.group.matrix)(elements)
    apart = np.linalg.norm(targets[:, None] - starts, axis=(-2, -1))
    nearest = np.linalg.inv(starts[np.argmin(apart, axis=1)])
    rest, eye = nearest @ targets, np.eye(targets.shape[-1])
    if len(basis):
        solve = np.linalg.pinv(basis.reshape(len(basis), -1))
        for _ in range(NUM_STEPS):
            step = (rest - eye).reshape(len(rest), -1) @ solve
            rest = scipy.linalg.expm(-np.tensordot(step, basis, 1)) @ rest
    return np.max(np.abs(rest - eye), axis=(1, 2), initial=0.0)

"""What a point of a shape knows of its surroundings, and of its place in the whole.

Everything here is invariant to E(3), exactly: rotations, reflections and shifts of all points leave
it unchanged up to rounding.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from eqattn.symmetric import eigh
from eqattn.typing import Array, Float

__all__ = ["NUM_MOMENT_FEATURES", "moment_features"]

RADII = (0.15, 0.3, 0.6)
"""Of the surroundings that moments are taken of, in radii of the whole shape."""
SOFTENING = 0.05
"""Added (squared) to what a root is taken of: the root of 0, which is common on flat faces, would
multiply rounding errors without bound."""
LOCAL = (
    *((0.7, 0.25), (0.13, 0.05), (0.24, 0.05), (0.32, 0.05)),
    *((0.17, 0.07), (-0.07, 0.08), (0.04, 0.03)),
)
WHOLE = (
    *((0.55, 0.2), (0.7, 0.3), (0.9, 0.5), (1.2, 0.8)),
    *((0.6, 0.1), (0.2, 0.1), (0.3, 0.1), (0.5, 0.1)),
)
"""What is subtracted from features of either kind, and what they are then divided by: about their
mean and standard deviation over shapes in the unit ball."""
NUM_MOMENT_FEATURES = len(LOCAL) * len(RADII) + len(WHOLE)


def moment_features(
    points: Float[Array, "*B N 3"], queries: Float[Array, "*B K 3"]
) -> Float[Array, "*B K F"]:
    """Returns invariant features of some places from all points of a shape.

    For each of three radii r, from the points x_j around a place q with the smooth weights
    (1 - |x_j - q|²/r²)²: the root of their share, by r; the roots of the three eigenvalues of their
    covariance, by r; the distance of their mean from q, by r; and two numbers that relate mean and
    covariance to the direction from the center of the shape to q. Of the whole: with C the
    covariance of all points, A = 3 C / tr C, and x the place, centered: |x|, √(xᵀAx), |Ax|,
    √(xᵀA³x), √tr C and the roots of the eigenvalues of C. The forms in A say what the coordinates
    along the principal axes say, up to reflections, but have no jump where two of these are equally
    long.

    Args:
      points: Points of the shapes; all of them exist.
      queries: Places, usually some of the points.
    """
    center = jnp.mean(points, axis=-2, keepdims=True)
    around, place = points - center, queries - center
    offsets = around[..., None, :, :] - place[..., None, :]
    local = [_surroundings(offsets, place, reach) for reach in RADII]
    return jnp.concatenate([*local, _whole(around, place)], axis=-1)


def _surroundings(
    offsets: Float[Array, "*B K N 3"], place: Float[Array, "*B K 3"], reach: float
) -> Float[Array, "*B K _"]:
    """What is around a place within a radius, from the offsets of all points from it."""
    weights = jnp.maximum(1 - jnp.sum(offsets**2, axis=-1) / reach**2, 0.0) ** 2
    total = jnp.sum(weights, axis=-1)
    shares = (weights / jnp.maximum(total, SOFTENING)[..., None])[..., None]
    mean = jnp.sum(shares * offsets, axis=-2) / reach
    covariance = _second_moment(jnp.sqrt(shares) * (offsets / reach - mean[..., None, :]))
    direction = place / (_root(jnp.sum(place**2, axis=-1)) + SOFTENING)[..., None]
    found = [
        jnp.sqrt(total / offsets.shape[-2]) / reach,
        *_root_eigenvalues(covariance),
        _root(jnp.sum(mean**2, axis=-1)),
        jnp.sum(direction * mean, axis=-1),
        jnp.sum(direction * _apply(covariance, direction), axis=-1),
    ]
    return _standardize(found, LOCAL)


def _whole(around: Float[Array, "*B N 3"], place: Float[Array, "*B K 3"]) -> Float[Array, "*B K _"]:
    """Where a place is in the whole, and what the whole is like."""
    covariance = _second_moment(around)[..., None, :, :] / around.shape[-2]
    trace = jnp.trace(covariance, axis1=-2, axis2=-1)
    form = 3 * covariance / (trace + SOFTENING**2)[..., None, None]
    first = _apply(form, place)
    second = _apply(form, first)
    found = [
        _root(jnp.sum(place**2, axis=-1)),
        _root(jnp.sum(place * first, axis=-1)),
        _root(jnp.sum(first**2, axis=-1)),
        _root(jnp.sum(first * second, axis=-1)),
        _root(trace),
        *_root_eigenvalues(covariance),
    ]
    return _standardize([jnp.broadcast_to(one, place.shape[:-1]) for one in found], WHOLE)


def _standardize(found: list[Array], constants: tuple[tuple[float, float], ...]) -> Array:
    centers, scales = jnp.asarray(constants, found[0].dtype).T
    return (jnp.stack(found, axis=-1) - centers) / scales


def _second_moment(vectors: Float[Array, "*B N 3"]) -> Float[Array, "*B 3 3"]:
    highest = jax.lax.Precision.HIGHEST
    return jnp.einsum("...ni,...nj->...ij", vectors, vectors, precision=highest)


def _apply(matrix: Float[Array, "*#B 3 3"], vector: Float[Array, "*#B 3"]) -> Array:
    return jnp.sum(matrix * vector[..., None, :], axis=-1)


def _root(squares: Array) -> Array:
    return jnp.sqrt(jnp.maximum(squares, 0.0) + SOFTENING**2)


def _root_eigenvalues(covariance: Float[Array, "*B 3 3"]) -> list[Array]:
    """Roots of the eigenvalues, in increasing order."""
    values, _ = eigh(covariance)
    roots = _root(values)
    return [roots[..., axis] for axis in range(3)]

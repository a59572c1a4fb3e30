"""What a point of a shape knows of its surroundings, and of its place in the whole.

Scalars are invariant to E(3), exactly: rotations, reflections and shifts of all points leave them
unchanged up to rounding. Vectors and tensors turn with the points, as exactly.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from eqattn.fields import pack_traceless
from eqattn.symmetric import eigh
from eqattn.typing import Array, Float

__all__ = ["MOMENT_FIELD", "NUM_MOMENT_FEATURES", "moment_features", "moment_fields"]

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
VECTOR_SCALES, TENSOR_SCALES = (0.7, 0.2), (0.15, 0.06)
"""What vectors and tensors are divided by: of the whole, and of surroundings."""
MOMENT_FIELD = (
    f"{NUM_MOMENT_FEATURES}x scalar + {1 + len(RADII)}x vector + {1 + len(RADII)}x irrep(2)"
)
"""Field that :func:`moment_fields` returns."""


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
    return _moments(points, queries)[0]


def moment_fields(
    points: Float[Array, "*B N 3"], queries: Float[Array, "*B K 3"]
) -> Float[Array, "*B K F"]:
    """Returns the features of :func:`moment_features`, and moments as the fields that they are.

    These are the field :data:`MOMENT_FIELD`: the invariants; four vectors, the place, centered, and
    the mean of what is around it within each radius; and four symmetric traceless tensors, the
    covariance of all points, and of those within each radius.

    Args:
      points: Points of the shapes; all of them exist.
      queries: Places, usually some of the points.
    """
    found, whole, place, local = _moments(points, queries)
    whole = jnp.broadcast_to(whole, (*place.shape, 3))
    vectors = [place / VECTOR_SCALES[0], *(one.mean / VECTOR_SCALES[1] for one in local)]
    matrices = [
        pack_traceless(whole) / TENSOR_SCALES[0],
        *(pack_traceless(one.covariance) / TENSOR_SCALES[1] for one in local),
    ]
    return jnp.concatenate([found, *vectors, *matrices], axis=-1)


def _moments(
    points: Float[Array, "*B N 3"], queries: Float[Array, "*B K 3"]
) -> tuple[
    Float[Array, "*B K F"], Float[Array, "*B 1 3 3"], Float[Array, "*B K 3"], list[_Surroundings]
]:
    """Invariants of places; covariance of all points; places, centered; what is around them."""
    center = jnp.mean(points, axis=-2, keepdims=True)
    around, place = points - center, queries - center
    offsets = around[..., None, :, :] - place[..., None, :]
    whole = _second_moment(around)[..., None, :, :] / around.shape[-2]
    surroundings = [_surroundings(offsets, reach) for reach in RADII]
    local = [
        _local(one, place, reach, offsets.shape[-2])
        for one, reach in zip(surroundings, RADII, strict=True)
    ]
    found = jnp.concatenate([*local, _whole(whole, place)], axis=-1)
    return found, whole, place, surroundings


class _Surroundings(NamedTuple):
    """What is around places within a radius."""

    total: Float[Array, "*B K"]
    mean: Float[Array, "*B K 3"]
    covariance: Float[Array, "*B K 3 3"]


def _surroundings(offsets: Float[Array, "*B K N 3"], reach: float) -> _Surroundings:
    """Sum of the weights, and moments by powers of the radius, from offsets of all points."""
    weights = jnp.maximum(1 - jnp.sum(offsets**2, axis=-1) / reach**2, 0.0) ** 2
    total = jnp.sum(weights, axis=-1)
    shares = (weights / jnp.maximum(total, SOFTENING)[..., None])[..., None]
    mean = jnp.sum(shares * offsets, axis=-2) / reach
    covariance = _second_moment(jnp.sqrt(shares) * (offsets / reach - mean[..., None, :]))
    return _Surroundings(total, mean, covariance)


def _local(
    around: _Surroundings, place: Float[Array, "*B K 3"], reach: float, num_points: int
) -> Float[Array, "*B K _"]:
    """What is around a place within a radius, in invariants."""
    direction = place / (_root(jnp.sum(place**2, axis=-1)) + SOFTENING)[..., None]
    found = [
        jnp.sqrt(around.total / num_points) / reach,
        *_root_eigenvalues(around.covariance),
        _root(jnp.sum(around.mean**2, axis=-1)),
        jnp.sum(direction * around.mean, axis=-1),
        jnp.sum(direction * _apply(around.covariance, direction), axis=-1),
    ]
    return _standardize(found, LOCAL)


def _whole(
    covariance: Float[Array, "*B 1 3 3"], place: Float[Array, "*B K 3"]
) -> Float[Array, "*B K _"]:
    """Where a place is in the whole, and what the whole is like."""
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

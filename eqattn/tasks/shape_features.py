"""What a point of a shape knows of its surroundings, and of its place in the whole.

Everything here is invariant to E(3), exactly: rotations, reflections and shifts of all points leave
it unchanged up to rounding.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from eqattn.typing import Array, Float

__all__ = ["NUM_MOMENT_FEATURES", "moment_features"]

RADII = (0.15, 0.3, 0.6)
"""Of the surroundings that moments are taken of, in radii of the whole shape."""
SOFTENING = 0.05
"""Added (squared) to eigenvalues before the root is taken, in squared radii: the root of 0, which
is common on flat faces, would multiply rounding errors without bound."""
NUM_MOMENT_FEATURES = 7 * len(RADII) + 8


def moment_features(
    points: Float[Array, "*B N 3"], queries: Float[Array, "*B K 3"]
) -> Float[Array, "*B K F"]:
    """Returns invariant features of some places from all points of a shape.

    For each of three radii r, from the points x_j around a place q with the smooth weights
    (1 - |x_j - q|²/r²)²: their share; the roots of the three eigenvalues of their covariance, by r;
    the distance of their mean from q, by r; and two numbers that relate the covariance and the mean
    to the direction from the center of the shape to q. Of the whole: with C the covariance of all
    points and x the place, centered, |x|, √(xᵀCx), |Cx|, √(xᵀC³x) and √tr C, and the roots of the
    eigenvalues of C. The quadratic forms are the coordinates along the principal axes up to
    reflections, but have no jump where two of these are equally long.

    Args:
        points: Of the shapes; all of them exist.
        queries: Places, usually some of the points.
    """
    center = jnp.mean(points, axis=-2, keepdims=True)
    around, place = points - center, queries - center
    radius = _root(jnp.sum(place**2, axis=-1))
    offsets = around[..., None, :, :] - place[..., None, :]
    squares = jnp.sum(offsets**2, axis=-1)
    found = []
    for reach in RADII:
        weights = jnp.maximum(1 - squares / reach**2, 0.0) ** 2
        total = jnp.sum(weights, axis=-1)
        shares = (weights / jnp.maximum(total, 1e-6)[..., None])[..., None]
        mean = jnp.sum(shares * offsets, axis=-2) / reach
        spread = offsets / reach - mean[..., None, :]
        covariance = _second_moment(jnp.sqrt(shares) * spread)
        direction = place / (radius + 0.05)[..., None]
        along = jnp.sum(direction * mean, axis=-1)
        across = jnp.sum(direction * _apply(covariance, direction), axis=-1)
        size = jnp.sqrt(jnp.sum(mean**2, axis=-1) + SOFTENING**2)
        found += [jnp.sqrt(total / points.shape[-2]), *_roots(covariance), size, along, across]
    whole = _second_moment(around)[..., None, :, :] / points.shape[-2]
    first = _apply(whole, place)
    second = _apply(whole, first)
    found += [radius, _root(jnp.sum(place * first, -1)), _root(jnp.sum(first**2, -1))]
    found.append(_root(jnp.sum(first * second, -1)))
    found.append(jnp.sqrt(jnp.trace(whole, axis1=-2, axis2=-1)))
    found += _roots(whole)
    shape = radius.shape
    return jnp.stack([jnp.broadcast_to(one, shape) for one in found], axis=-1)


def _second_moment(vectors: Float[Array, "*B N 3"]) -> Float[Array, "*B 3 3"]:
    highest = jax.lax.Precision.HIGHEST
    return jnp.einsum("...ni,...nj->...ij", vectors, vectors, precision=highest)


def _apply(matrix: Float[Array, "*#B 3 3"], vector: Float[Array, "*#B 3"]) -> Array:
    return jnp.sum(matrix * vector[..., None, :], axis=-1)


def _root(squares: Array) -> Array:
    return jnp.sqrt(squares + SOFTENING**4)


def _roots(covariance: Float[Array, "*B 3 3"]) -> list[Array]:
    """Roots of the eigenvalues, in increasing order."""
    roots = jnp.sqrt(jnp.maximum(jnp.linalg.eigvalsh(covariance), 0.0) + SOFTENING**2)
    return [roots[..., axis] for axis in range(3)]

"""Matrices of rotations and reflections on harmonic polynomials of a degree: irreps of O(2), O(3).

In the plane the polynomials are Re zˡ and Im zˡ. In space they are the real solid harmonics in the
order m = -l … l with y as polar axis, so that those of degree 1 are (x, y, z) themselves and those
of degree 2 go like (zx, xy, y² - (x² + z²)/2, yz, (z² - x²)/2): the basis of e3nn.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import Legendre

from eqattn.typing import Array, Float


def harmonic_size(degree: int, dim: int) -> int:
    """Number of harmonic polynomials of a degree in two or three variables."""
    return 2 * degree + 1 if dim == 3 else min(degree, 1) + 1


def harmonic_matrix(
    degree: int, linear: Float[Array, "*B D D"], determinant: Float[Array, "*B"]
) -> Float[Array, "*B M M"]:
    """The matrix H(g) with Y(g x) = H(g) Y(x) for the harmonic polynomials Y of a degree.

    Entries are polynomials of that degree in those of ``linear``, so derivatives are finite
    everywhere.

    Args:
      degree: l, at least 0.
      linear: Orthogonal matrices of the plane or of space.
      determinant: Determinants of those.
    """
    if degree == 0:
        return jnp.ones((*linear.shape[:-2], 1, 1), linear.dtype)
    if linear.shape[-1] == 2:
        return _planar(degree, linear, determinant)
    out = linear
    for current in range(2, degree + 1):
        coupling = jnp.asarray(_coupling(current), linear.dtype)
        half = jnp.einsum(
            "nbj,...ab,...ij->...ain", coupling, out, linear, precision=jax.lax.Precision.HIGHEST
        )
        out = jnp.einsum("mai,...ain->...mn", coupling, half, precision=jax.lax.Precision.HIGHEST)
    return out


def traceless_basis(dim: int) -> np.ndarray:
    """Orthonormal symmetric traceless matrices [M D D] that turn as harmonics of degree 2 do."""
    if dim == 3:
        return _coupling(2)
    return np.array([[[1.0, 0.0], [0.0, -1.0]], [[0.0, 1.0], [1.0, 0.0]]]) / np.sqrt(2.0)


def _planar(degree: int, linear: Array, determinant: Array) -> Array:
    """[[c, -d s], [s, d c]] of l times the angle to which g takes the first axis; d = det g."""
    a, b = linear[..., 0, 0], linear[..., 1, 0]
    c, s = a, b
    for _ in range(degree - 1):
        c, s = a * c - b * s, a * s + b * c
    rows = [[c, -determinant * s], [s, determinant * c]]
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)


@functools.cache
def _coupling(degree: int) -> np.ndarray:
    """C [2l+1, 2l-1, 3] that takes Y_{l-1} ⊗ x to Y_l; C Cᵀ = 1, so H_l = C (H_{l-1} ⊗ R) Cᵀ.

    C is the integral of Y_l Y_{l-1} x over the sphere, up to scale: by a quadrature that is exact
    for polynomials of degree 2l.
    """
    heights, weights = np.polynomial.legendre.leggauss(degree + 1)
    angles = 2.0 * np.pi * np.arange(2 * degree + 1) / (2 * degree + 1)
    heights, angles = (grid.ravel() for grid in np.meshgrid(heights, angles, indexing="ij"))
    weights = np.repeat(weights, 2 * degree + 1)
    higher, lower, x = (real_harmonics(n, heights, angles) for n in (degree, degree - 1, 1))
    integral = np.einsum("p,mp,ap,ip->mai", weights, higher, lower, x)
    norms = np.sqrt(np.sum(integral**2, axis=(1, 2), keepdims=True))
    return np.where(np.abs(integral) > 1e-12 * norms, integral, 0.0) / norms


def real_harmonics(degree: int, heights: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Real spherical harmonics [2l+1 P], of mean square 1, at points [P] of the unit sphere.

    Args:
      degree: Degree l.
      heights: y, the coordinate along the polar axis.
      angles: Longitudes in radians, from the z axis towards the x axis.
    """
    legendre, rows = Legendre.basis(degree), []
    ring = np.sqrt(1.0 - heights**2)
    for m in range(-degree, degree + 1):
        wave = np.sin(-m * angles) if m < 0 else np.cos(m * angles)
        row = ring ** abs(m) * legendre.deriv(abs(m))(heights) * wave
        rows.append(row * _normalization(degree, abs(m)))
    return np.stack(rows)


def _normalization(degree: int, order: int) -> float:
    """√((2l+1) (l-m)! / (l+m)!), times √2 for m > 0."""
    ratio = 1.0
    for factor in range(degree - order + 1, degree + order + 1):
        ratio /= factor
    return float(np.sqrt((2 * degree + 1) * ratio * (2.0 if order else 1.0)))

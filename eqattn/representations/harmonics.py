"""Matrices of rotations and reflections on harmonic polynomials of a degree: irreps of O(2), O(3).

In the plane the polynomials are Re zˡ and Im zˡ. In space they are the real solid harmonics in the
order m = -l … l with y as polar axis, so that those of degree 1 are (x, y, z) themselves and those
of degree 2 go like (zx, xy, y² - (x² + z²)/2, yz, (z² - x²)/2): the basis of e3nn.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import Legendre

from eqattn.checks import check_sizes
from eqattn.typing import Array, Components, Float


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


def solid_harmonics(max_degree: int, x: Components) -> tuple[Components, ...]:
    """Harmonic polynomials r^l Y_lm(x / r) of two or three variables, of degrees up to a highest.

    Those of degree l have the mean square 1 on the unit sphere, and vanish at the center like r^l:
    they have no pole there, and are as smooth as polynomials.

    Equivariance: Y(g x) = H(g) Y(x) with the matrices H of :func:`harmonic_matrix`.

    Args:
      max_degree: Highest degree, at least 0.
      x: Components of points, (x, y) or (x, y, z).

    Returns:
      For each degree the 2l+1 components, in the plane one or two.

    Raises:
      ValueError: For a negative degree, or other than two or three components.

    >>> _, first, _ = solid_harmonics(2, (jnp.array(0.0), jnp.array(2.0), jnp.array(0.0)))
    >>> [round(float(y), 3) for y in first]  # √3 times the point
    [0.0, 3.464, 0.0]
    """
    check_sizes({"max_degree": max_degree}, minimum=0)
    if len(x) not in (2, 3):
        raise ValueError(f"x must have 2 or 3 components, got {len(x)}")
    one = jnp.ones_like(x[0])
    if len(x) == 2:
        waves = _powers(x[0], x[1], max_degree)
        return ((one,), *(tuple(math.sqrt(2.0) * w for w in wave) for wave in waves[1:]))
    waves = _powers(x[2], x[0], max_degree)
    squared = x[0] * x[0] + x[1] * x[1] + x[2] * x[2]
    columns = [_legendre(order, max_degree, x[1], squared) for order in range(max_degree + 1)]
    out = []
    for degree in range(max_degree + 1):
        row = {}
        for order in range(degree + 1):
            factor = columns[order][degree - order]
            for m, wave in zip((order, -order), waves[order], strict=True):
                row[m] = _normalization(degree, order) * (factor if order == 0 else factor * wave)
        out.append(tuple(row[m] * one for m in range(-degree, degree + 1)))
    return tuple(out)


def _powers(a: Array, b: Array, number: int) -> list[tuple[Array, Array]]:
    """Real and imaginary parts of (a + i b)^m for m from 0 to a number."""
    out = [(jnp.ones_like(a), jnp.zeros_like(a))]
    for _ in range(number):
        c, s = out[-1]
        out.append((a * c - b * s, a * s + b * c))
    return out


def _legendre(order: int, max_degree: int, y: Array, squared: Array) -> list[Array | float]:
    """r^(l-m) times the m-th derivative of the Legendre polynomial P_l at y / r, from l = m on."""
    out: list[Array | float] = [float(math.prod(range(1, 2 * order, 2)))]
    for degree in range(order + 1, max_degree + 1):
        value = (2 * degree - 1) * y * out[-1]
        if degree > order + 1:
            value = value - (degree + order - 1) * squared * out[-2]
        out.append(value / (degree - order))
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

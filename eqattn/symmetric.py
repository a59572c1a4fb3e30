"""Eigenvectors of symmetric matrices of two or three rows, in plain operations.

LAPACK's are not used: on a CPU, jaxlib spreads a batch of them over the threads that also run the
program, and two batches at a time may wait for each other for ever. Rotations of Jacobi also need
no library on accelerators, and compute each example apart from the others.
"""

import itertools

import jax
import jax.numpy as jnp

from eqattn.typing import Array, Float

NUM_SWEEPS = 6
"""Four sweeps are enough for float64, as ``tests/test_symmetric.py`` sees; two more are margin."""


@jax.custom_jvp
def eigh(matrix: Float[Array, "*B D D"]) -> tuple[Float[Array, "*B D"], Float[Array, "*B D D"]]:
    """Eigenvalues in increasing order, and orthonormal eigenvectors as columns.

    Derivatives of eigenvectors are infinite where eigenvalues coincide, as those of
    ``jnp.linalg.eigh`` are. A matrix that is not finite has no finite result.

    Args:
      matrix: Symmetric matrices, small: work grows like D⁵.

    >>> values, vectors = eigh(jnp.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> jnp.allclose(values, jnp.array([1.0, 3.0])).item()
    True
    >>> jnp.allclose(abs(vectors), jnp.sqrt(0.5)).item()
    True
    """
    size = matrix.shape[-1]
    pairs = list(itertools.combinations(range(size), 2))

    def sweep(_: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        for p, q in pairs:
            state = _rotated(*state, p, q)
        return state

    vectors = jnp.broadcast_to(jnp.eye(size, dtype=matrix.dtype), matrix.shape)
    num_sweeps = 1 if size == 2 else NUM_SWEEPS
    diagonal, vectors = jax.lax.fori_loop(0, num_sweeps, sweep, (matrix, vectors))
    values = jnp.diagonal(diagonal, axis1=-2, axis2=-1)
    order = jnp.argsort(values, axis=-1)
    values = jnp.take_along_axis(values, order, axis=-1)
    return values, jnp.take_along_axis(vectors, order[..., None, :], axis=-1)


@eigh.defjvp
def _eigh_jvp(
    primals: tuple[Array], tangents: tuple[Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    values, vectors = eigh(*primals)
    (slope,) = tangents
    turned = _product(jnp.swapaxes(vectors, -1, -2), _product(slope, vectors))
    gaps = values[..., None, :] - values[..., :, None]
    eye = jnp.eye(values.shape[-1], dtype=bool)
    mixed = jnp.where(eye, 0.0, turned / jnp.where(eye, 1.0, gaps))
    moved = jnp.diagonal(turned, axis1=-2, axis2=-1)
    return (values, vectors), (moved, _product(vectors, mixed))


def _rotated(matrix: Array, vectors: Array, p: int, q: int) -> tuple[Array, Array]:
    """The matrix with zeros at (p, q), by the smaller turn of axes p and q, and their columns."""
    off = matrix[..., p, q]
    has_turn = off != 0
    half = (matrix[..., q, q] - matrix[..., p, p]) / (2.0 * jnp.where(has_turn, off, 1.0))
    sign = jnp.where(half < 0, -1.0, 1.0).astype(matrix.dtype)
    tangent = jnp.where(has_turn, sign / (jnp.abs(half) + jnp.hypot(1.0, half)), 0.0)
    cosine = jax.lax.rsqrt(1.0 + tangent * tangent)
    sine = tangent * cosine
    turn = jnp.broadcast_to(jnp.eye(matrix.shape[-1], dtype=matrix.dtype), matrix.shape)
    turn = turn.at[..., p, p].set(cosine).at[..., q, q].set(cosine)
    turn = turn.at[..., p, q].set(sine).at[..., q, p].set(-sine)
    matrix = _product(jnp.swapaxes(turn, -1, -2), _product(matrix, turn))
    matrix = matrix.at[..., p, q].set(0.0).at[..., q, p].set(0.0)
    return matrix, _product(vectors, turn)


def _product(a: Float[Array, "*B D D"], b: Float[Array, "*B D D"]) -> Float[Array, "*B D D"]:
    """Products of small matrices, elementwise: at full precision everywhere."""
    return jnp.sum(a[..., :, :, None] * b[..., None, :, :], axis=-2)

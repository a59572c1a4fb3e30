"""Eigenvectors of small symmetric matrices, against LAPACK's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn import symmetric
from eqattn.symmetric import eigh

EPS = {jnp.float64: 2.3e-16, jnp.float32: 1.2e-7}


def matrices(dim):
    """Random ones, of all sizes, with equal and almost equal eigenvalues, diagonal and zero."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, dim, dim))
    x = x + np.swapaxes(x, -1, -2)
    turns = np.linalg.qr(rng.normal(size=(60, dim, dim)))[0]
    spectra = np.sort(rng.normal(size=(60, dim)))
    spectra[:20, 1] = spectra[:20, 0]
    spectra[20:40, 1] = spectra[20:40, 0] + 1e-9
    made = np.einsum("bij,bj,bkj->bik", turns, spectra, turns)
    return np.concatenate(
        [x, made, 1e18 * x[:5], 1e-18 * x[:5], np.zeros((1, dim, dim)), np.eye(dim)[None]]
    )


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("dtype", EPS)
def test_values_and_vectors(dim, dtype):
    x = jnp.asarray(matrices(dim), dtype)
    values, vectors = (np.asarray(y, np.float64) for y in jax.jit(eigh)(x))
    x = np.asarray(x, np.float64)
    size = np.abs(x).max(axis=(-1, -2))[:, None]
    bound = 20 * EPS[dtype]
    assert np.all(np.abs(values - np.linalg.eigvalsh(x)) <= bound * size)
    assert np.all(np.diff(values) >= 0)
    gram = np.swapaxes(vectors, -1, -2) @ vectors
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(dim), gram.shape), atol=bound)
    residual = x @ vectors - vectors * values[:, None, :]
    assert np.all(np.abs(residual).max(axis=-1) <= bound * size)


def test_four_sweeps_leave_nothing_beside_the_diagonal():
    x = np.concatenate([matrices(3)[:120], np.random.default_rng(5).normal(size=(5000, 3, 3))])
    x = x + np.swapaxes(x, -1, -2)
    matrix, vectors = jnp.asarray(x), jnp.broadcast_to(jnp.eye(3), x.shape)
    left = []
    for _ in range(4):
        for p, q in ((0, 1), (0, 2), (1, 2)):
            matrix, vectors = symmetric._rotated(matrix, vectors, p, q)
        beside = np.abs(matrix - np.eye(3) * matrix).max(axis=(-1, -2))
        left.append(np.max(beside / np.abs(x).max(axis=(-1, -2))))
    assert left[1] > 1e-3  # two are not
    assert left[3] < 1e-16
    assert symmetric.NUM_SWEEPS > 4


@pytest.mark.parametrize("dim", [2, 3])
def test_derivatives_of_first_and_second_order(dim):
    """Of a function that does not see the signs of eigenvectors."""
    rng = np.random.default_rng(1)
    x, slope, weight = (y + y.T for y in rng.normal(size=(3, dim, dim)))

    def loss(by):
        def of(t):
            values, vectors = by(x + t * slope)
            return jnp.sum(jnp.sin(values) * jnp.sum((weight @ vectors) ** 2 * vectors**2, axis=0))

        return of

    ours, theirs = (
        [jax.jit(f)(0.3) for f in (loss(by), jax.grad(loss(by)), jax.jacfwd(jax.grad(loss(by))))]
        for by in (eigh, jnp.linalg.eigh)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    assert np.all(np.abs(ours) > 1e-2)


def test_what_is_not_finite_stays_alone():
    x = jnp.asarray(matrices(3)[:4]).at[1, 0, 2].set(jnp.nan).at[1, 2, 0].set(jnp.nan)
    x = x.at[2, 1, 1].set(jnp.inf)
    values, _ = eigh(x)
    assert np.isfinite(values).all(axis=-1).tolist() == [True, False, False, True]


def test_no_library_is_called():
    """Two batches at a time, of LAPACK's, may wait for each other for ever."""
    text = jax.jit(eigh).lower(jnp.zeros((4, 3, 3))).as_text()
    assert "custom_call" not in text

"""Matrices on harmonic polynomials, against the polynomials themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.special import sph_harm_y

from eqattn.fields import pack_traceless, unpack_traceless
from eqattn.groups.base import unstack
from eqattn.representations import solid_harmonics
from eqattn.representations.harmonics import harmonic_matrix, real_harmonics
from tests.tolerances import NEGATIVE_CONTROL

RNG = np.random.default_rng(70)
POINTS = RNG.normal(size=(20, 3))
POINTS /= np.linalg.norm(POINTS, axis=1, keepdims=True)
SIGNS = np.array([1.0, 1.0, 1.0, -1.0, -1.0, -1.0])


def harmonics(degree, x):
    return real_harmonics(degree, x[:, 1], np.arctan2(x[:, 0], x[:, 2]))


def orthogonal(dim):
    """Rotations, then rotations times a reflection."""
    if dim == 3:
        return jnp.asarray(Rotation.random(6, random_state=0).as_matrix() * SIGNS[:, None, None])
    c, s = np.cos(np.arange(6.0)), np.sin(np.arange(6.0))
    return jnp.asarray(np.moveaxis(np.array([[c, -SIGNS * s], [s, SIGNS * c]]), -1, 0))


def test_low_degrees_are_named_polynomials():
    """The order and signs of the basis, which data of this type are stored in."""
    x, y, z = POINTS.T
    np.testing.assert_allclose(harmonics(1, POINTS), np.sqrt(3) * POINTS.T, atol=1e-14)
    second = [z * x, x * y, (2 * y**2 - x**2 - z**2) / np.sqrt(12), y * z, (z**2 - x**2) / 2]
    np.testing.assert_allclose(harmonics(2, POINTS), np.sqrt(15) * np.array(second), atol=1e-14)


def test_harmonics_are_those_of_scipy():
    x, y, z = POINTS.T
    for m in range(-4, 5):
        complex_values = sph_harm_y(4, abs(m), np.arccos(y), np.arctan2(x, z))
        part = complex_values.imag if m < 0 else complex_values.real
        expected = np.sqrt(4 * np.pi) * (-1) ** m * (np.sqrt(2) if m else 1) * part
        np.testing.assert_allclose(harmonics(4, POINTS)[m + 4], expected, atol=1e-13)


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 6])
def test_harmonics_turn_by_the_matrices(degree):
    """Y(R x) = H(R) Y(x), for reflections too; negative control: not by the transposes."""
    linear = orthogonal(3)
    matrices = np.asarray(harmonic_matrix(degree, linear, jnp.asarray(SIGNS)))
    turned = np.stack([harmonics(degree, POINTS @ np.asarray(R).T) for R in linear])
    np.testing.assert_allclose(matrices @ harmonics(degree, POINTS), turned, atol=1e-12)
    if degree:
        wrong = np.swapaxes(matrices, -1, -2) @ harmonics(degree, POINTS)
        assert np.abs(wrong - turned).max() > NEGATIVE_CONTROL


@pytest.mark.parametrize("degree", [1, 2, 5])
def test_planar_harmonics(degree):
    linear = orthogonal(2)
    matrices = np.asarray(harmonic_matrix(degree, linear, jnp.asarray(SIGNS)))
    values = lambda x: np.array([(x @ [1, 1j]) ** degree]).view(float).reshape(len(x), 2)
    x = POINTS[:, :2]
    for R, matrix in zip(np.asarray(linear), matrices, strict=True):
        np.testing.assert_allclose(values(x) @ matrix.T, values(x @ R.T), atol=1e-13)


def test_solid_harmonics_are_polynomials_with_those_values_on_the_sphere():
    x = jnp.asarray(2.0 * POINTS)
    for degree, values in enumerate(solid_harmonics(5, tuple(x.T))):
        expected = 2.0**degree * harmonics(degree, POINTS)
        np.testing.assert_allclose(np.array(values), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dim", [2, 3])
def test_solid_harmonics_turn_by_the_matrices(dim):
    """And they have the mean square 1 on the unit sphere."""
    linear, x = orthogonal(dim), RNG.normal(size=(5, dim))
    circle = RNG.normal(size=(200_000, dim))
    circle = circle / np.linalg.norm(circle, axis=1, keepdims=True)

    @jax.jit
    def compute(linear, x, circle):
        turned = jnp.einsum("gij,pj->gpi", linear, x)
        matrices = [harmonic_matrix(degree, linear, jnp.asarray(SIGNS)) for degree in range(5)]
        values = [[jnp.stack(y, -1) for y in solid_harmonics(4, unstack(z))] for z in (x, turned)]
        on_the_sphere = [jnp.stack(y) for y in solid_harmonics(3, unstack(circle))]
        return matrices, *values, [jnp.mean(y**2, axis=1) for y in on_the_sphere]

    matrices, values, turned, squares = jax.tree.map(np.asarray, compute(linear, x, circle))
    for degree, (matrix, before, after) in enumerate(zip(matrices, values, turned, strict=True)):
        np.testing.assert_allclose(after, np.einsum("gmn,pn->gpm", matrix, before), atol=1e-11)
        if degree:
            wrong = np.einsum("gnm,pn->gpm", matrix, before)
            assert np.abs(wrong - after).max() > NEGATIVE_CONTROL
    assert np.abs(np.concatenate(squares) - 1.0).max() < 0.03


@pytest.mark.parametrize("dim", [2, 3])
def test_solid_harmonics_are_smooth_at_the_center(dim):
    """Values, first and second derivatives: they vanish there but for those of low degree."""
    value = lambda x: jnp.concatenate([jnp.stack(ys) for ys in solid_harmonics(4, unstack(x))])
    compute = jax.jit(lambda x: (value(x), jax.jacfwd(value)(x), jax.hessian(value)(x)))
    found, first, second = map(np.asarray, compute(np.zeros(dim)))
    assert np.abs(found[1:]).max() == 0.0
    for derivative in (first, second):
        assert np.isfinite(derivative).all()
    assert np.abs(second[-4:]).max() == 0.0


def test_wrong_arguments_of_solid_harmonics():
    with pytest.raises(ValueError, match="max_degree must be at least 0"):
        solid_harmonics(-1, (jnp.ones(()),) * 3)
    with pytest.raises(ValueError, match="x must have 2 or 3 components, got 4"):
        solid_harmonics(1, (jnp.ones(()),) * 4)


@pytest.mark.parametrize("dim", [2, 3])
def test_traceless_matrices_turn_as_harmonics_of_degree_two(dim):
    linear = orthogonal(dim)
    a = RNG.normal(size=(dim, dim))
    a = a + a.T
    a = jnp.asarray(a - np.trace(a) / dim * np.eye(dim))
    packed = pack_traceless(a)
    np.testing.assert_allclose(jnp.sum(packed**2), jnp.sum(a**2), rtol=1e-14)
    np.testing.assert_allclose(unpack_traceless(packed), a, atol=1e-14)
    turned = pack_traceless(linear @ a @ jnp.swapaxes(linear, -1, -2))
    matrices = harmonic_matrix(2, linear, jnp.asarray(SIGNS))
    np.testing.assert_allclose(matrices @ packed, turned, atol=1e-13)
    np.testing.assert_allclose(pack_traceless(a + jnp.eye(dim)), packed, atol=1e-14)


def test_derivatives_are_finite():
    """At the identity, a half-turn and a reflection; the matrix is a polynomial of the entries."""
    special = jnp.stack([jnp.eye(3), jnp.diag(jnp.array([1.0, -1.0, -1.0])), -jnp.eye(3)])
    fn = lambda linear: jnp.sum(harmonic_matrix(4, linear, jnp.ones(())) ** 2)
    second = jax.jit(jax.vmap(jax.hessian(fn)))
    for dtype in (jnp.float32, jnp.float64):
        assert np.all(np.isfinite(second(special.astype(dtype))))

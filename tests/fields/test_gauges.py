"""Fields in a gauge, on the sphere: winds by their eastward and northward components."""

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.fields import east_north
from eqattn.groups import SO
from tests.tolerances import tolerance

LONGITUDE, LATITUDE = np.random.default_rng(75).uniform(-1, 1, (2, 32)) * [[np.pi], [1.5]]


def sphere(longitude, latitude):
    x = np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude)
    return jnp.asarray(np.stack([*x, np.sin(latitude)], -1))


def test_east_and_north():
    frames = np.asarray(SO(3).matrix(east_north(sphere(LONGITUDE, LATITUDE))))
    east = np.stack([-np.sin(LONGITUDE), np.cos(LONGITUDE), 0 * LONGITUDE], -1)
    north = np.cross(sphere(LONGITUDE, LATITUDE), east)
    for column, axis in enumerate((east, north, sphere(LONGITUDE, LATITUDE))):
        np.testing.assert_allclose(frames[:, :, column], axis, atol=1e-14)


def test_east_and_north_are_finite_at_the_poles():
    poles = jnp.array([[0.0, 0, 1], [0, 0, -1], [1e-7, 0, 1], [0, 1e-7, -1], [-1, 0, 0]])
    second = jax.jit(jax.vmap(jax.hessian(lambda x: jnp.sum(east_north(x) ** 3))))
    for dtype in (jnp.float32, jnp.float64):
        assert np.all(np.isfinite(second(poles.astype(dtype))))
    moved = SO(3).act(east_north(poles), jnp.array([0.0, 0, 1]))
    np.testing.assert_allclose(moved, poles, atol=tolerance(jnp.float64))

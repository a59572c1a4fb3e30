"""Stabilizer samples: in the stabilizer, and Haar on it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from eqattn.spaces import EXCEPTIONAL_RADIUS
from tests.spaces.cases import SPACES

NUM = 8_192
GENERIC = {1: [0.3], 2: [0.3, -0.4], 3: [0.3, -0.4, 0.5]}
cases = [
    (space, where)
    for space in SPACES.values()
    for where in ("generic", "origin", "beside the origin")
]


@functools.partial(jax.jit, static_argnums=0)
def samples(space, x):
    keys = jax.random.split(jax.random.key(30), NUM)
    return jax.vmap(space.sample_stabilizer, (0, None))(keys, x)


def draw(space, where, dtype=jnp.float64):
    """Many samples at one point: generic, at the origin, or within the exceptional radius."""
    scale = {"generic": 1.0, "origin": 0.0, "beside the origin": EXCEPTIONAL_RADIUS}[where]
    x = scale * jnp.asarray(GENERIC[space.point_dim], dtype)
    return x, samples(space, x)


def stabilizer_is_all(space, where):
    return space.num_orbit_invariants == 1 and where != "generic"


@pytest.mark.parametrize(("space", "where"), cases, ids=str)
def test_samples_are_in_the_stabilizer_and_haar(space, where):
    x, h = draw(space, where)
    assert h.shape == (NUM, space.group.element_dim)
    assert h.dtype == x.dtype
    origin = jnp.asarray(space.origin())
    if stabilizer_is_all(space, where):
        origin = 0.0 * origin
    np.testing.assert_allclose(space.group.act(h, origin) - origin, 0.0, atol=1e-14)
    matrices = np.asarray(space.group.linear_matrix(h))
    mean, bound = matrices.mean(0), 4.5 / np.sqrt(NUM)
    if stabilizer_is_all(space, where) or space.group.algebra_dim > space.point_dim:  # all of SO(n)
        assert np.abs(mean).max() <= bound
        n = space.point_dim
        assert np.abs((matrices**2).mean(0) - 1 / n).max() <= bound
        moved = matrices[:, :, 0] @ np.ones(n)
        assert abs(moved.mean()) <= bound * n
    elif space.stabilizer_dim == 1:  # rotations about the last axis
        assert np.abs(mean - np.diag([0.0, 0.0, 1.0])).max() <= bound
        angle = np.asarray(space.group.log(h))[:, 2]
        assert scipy.stats.kstest(angle, scipy.stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3
    else:
        np.testing.assert_array_equal(h, space.group.identity((NUM,)))


def test_samples_keep_float32():
    for space in SPACES.values():
        sample = jax.eval_shape(
            space.sample_stabilizer,
            jax.random.key(0),
            jax.ShapeDtypeStruct((space.point_dim,), jnp.float32),
        )
        assert sample.dtype == jnp.float32
        assert sample.shape == (space.group.element_dim,)


def test_points_just_outside_the_exceptional_radius_are_ordinary():
    space = SPACES["SO(3)"]
    origin = jnp.asarray(space.origin())
    for radius, ordinary in ((0.99, False), (1.01, True)):
        point = jnp.asarray([0.0, radius * EXCEPTIONAL_RADIUS, 0.0])
        moved = space.group.act(space.sample_stabilizer(jax.random.key(1), point), origin)
        assert np.allclose(moved, origin) == ordinary

"""What stored elements mean: layouts, double covers, half-turns, random samples."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from eqattn.groups import SE, SO, Product, RxSO2, T, Trivial
from tests.groups.cases import DTYPES, GROUPS, algebra_samples, special_elements

HALF = np.sqrt(0.5)
QUARTER = np.pi / 2
LAYOUTS = [
    (T(2), [1.0, 2.0], [1.0, 2.0]),
    (SO(2), [QUARTER], [0.0, 1.0]),
    (SO(3), [0.0, 0.0, QUARTER], [HALF, 0.0, 0.0, HALF]),
    (SO(3), [np.pi, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]),
    # A quarter-turn along a screw: t = ((x - y) / a, (x + y) / a) with a = pi / 2.
    (SE(2), [QUARTER, 1.0, 0.0], [0.0, 1.0, 1 / QUARTER, 1 / QUARTER]),
    (
        SE(3),
        [0.0, 0.0, QUARTER, 1.0, 0.0, 3.0],
        [HALF, 0.0, 0.0, HALF, 1 / QUARTER, 1 / QUARTER, 3.0],
    ),
    (RxSO2(), [QUARTER, 0.5], [0.0, 1.0, 0.5]),
    (Trivial(), [], []),
    (Product((SO(2), T(1))), [QUARTER, 5.0], [0.0, 1.0, 5.0]),
]


@pytest.mark.parametrize(("group", "algebra", "element"), LAYOUTS, ids=lambda x: str(x)[:30])
def test_layout(group, algebra, element):
    found = group.exp(jnp.asarray(algebra, jnp.float64))
    np.testing.assert_allclose(found, np.asarray(element), atol=1e-15)


@pytest.mark.parametrize("name", GROUPS)
def test_identity_is_exp_of_zero(name):
    group = GROUPS[name]
    identity = group.identity((2, 3), jnp.float32)
    assert identity.shape == (2, 3, group.element_dim)
    assert identity.dtype == jnp.float32
    np.testing.assert_array_equal(identity[1, 2], group.exp(jnp.zeros(group.algebra_dim)))


ACTIONS = [
    (T(2), [1.0, 2.0], [1.0, 1.0], [2.0, 3.0]),
    (SO(2), [0.0, 1.0], [1.0, 2.0], [-2.0, 1.0]),
    (SO(3), [HALF, 0.0, 0.0, HALF], [1.0, 2.0, 3.0], [-2.0, 1.0, 3.0]),
    (SE(2), [0.0, 1.0, 5.0, 6.0], [1.0, 2.0], [3.0, 7.0]),
    (SE(3), [HALF, 0.0, 0.0, HALF, 1.0, 0.0, -1.0], [1.0, 2.0, 3.0], [-1.0, 1.0, 2.0]),
    (RxSO2(), [0.0, 1.0, np.log(2.0)], [1.0, 2.0], [-4.0, 2.0]),
    (Trivial(2), [], [1.0, 2.0], [1.0, 2.0]),
]


@pytest.mark.parametrize(("group", "element", "point", "moved"), ACTIONS, ids=lambda x: str(x)[:30])
def test_action(group, element, point, moved):
    element = jnp.asarray(element, jnp.float64)
    np.testing.assert_allclose(group.act(element, jnp.asarray(point)), moved, atol=1e-14)


@pytest.mark.parametrize("rotation_scale", [1.0, 0.5])
@pytest.mark.parametrize(
    ("group", "algebra", "squared"),
    [
        (T(2), [3.0, 4.0], lambda s: 25.0),
        (SO(2), [-2.0], lambda s: 4 * s**2),
        (SO(3), [0.0, 1.2, -1.6], lambda s: 4 * s**2),
        (RxSO2(), [-2.0, 3.0], lambda s: 4 * s**2 + 9),
        (Product((SO(3), T(2))), [2.0, 0.0, 0.0, 3.0, 4.0], lambda s: 4 * s**2 + 25),
    ],
    ids=lambda x: str(x)[:20],
)
def test_distance_values(group, algebra, squared, rotation_scale):
    g = group.exp(jnp.asarray(algebra))
    distance = group.distance(group.identity(), g, rotation_scale)
    np.testing.assert_allclose(distance, np.sqrt(squared(rotation_scale)), rtol=1e-14)


@pytest.mark.parametrize("group", [SE(2), SE(3)], ids=str)
def test_rigid_distance_is_of_rotation_and_translation(group):
    turn, move = np.eye(group.algebra_dim)[[0, -1]]
    g = group.compose(group.exp(jnp.asarray(3.0 * move)), group.exp(jnp.asarray(2.0 * turn)))
    np.testing.assert_allclose(group.distance(group.identity(), g, 2.0), 5.0, rtol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
@pytest.mark.parametrize("name", ["SO(3)", "SE(3)", "SO(3)xT(2)"])
def test_opposite_quaternions_are_one_element(name, dtype):
    group = GROUPS[name]
    generic = group.exp(jnp.asarray(algebra_samples(group, num=24)))
    g = jnp.asarray(np.concatenate([special_elements(group), generic]), dtype)
    other = g.at[:, :4].multiply(-1.0)
    p = jnp.ones(group.point_dim, dtype)
    for method in (group.log, group.matrix, group.embedding, group.adjoint):
        np.testing.assert_array_equal(method(g), method(other))
    np.testing.assert_array_equal(group.act(g, p), group.act(other, p))
    np.testing.assert_array_equal(group.distance(g, g[::-1]), group.distance(other, g[::-1]))


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_logarithm_of_half_turns_is_canonical(zero):
    axes = np.array([v for v in itertools.product((-1.0, 0.0, 1.0), repeat=3) if any(v)])
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    q = np.concatenate([np.full((len(axes), 1), zero), axes], axis=-1)
    log = np.asarray(SO(3).log(jnp.asarray(q)))
    leading = log[np.arange(len(log)), np.argmax(log != 0, axis=-1)]
    assert np.all(leading > 0)
    np.testing.assert_allclose(np.abs(log), np.pi * np.abs(axes), atol=1e-15)
    planar = SO(2).log(jnp.array([[-1.0, 0.0], [-1.0, -0.0]]))
    np.testing.assert_array_equal(planar, np.pi)


NUM_SAMPLES = 20_000


@pytest.mark.parametrize("name", GROUPS)
def test_sample_shapes_and_dtypes(name):
    group = GROUPS[name]
    for shape, dtype in (((), jnp.float64), ((5,), jnp.float32), ((2, 3), jnp.float32)):
        sample = jax.eval_shape(
            lambda k, s=shape, d=dtype: group.sample(k, s, d), jax.random.key(0)
        )
        assert sample.shape == (*shape, group.element_dim)
        assert sample.dtype == dtype
    g = group.sample(jax.random.key(0), (32,))
    np.testing.assert_allclose(group.matrix(group.exp(group.log(g))), group.matrix(g), atol=1e-10)
    assert group.element_dim == 0 or not np.array_equal(g, group.sample(jax.random.key(1), (32,)))


@pytest.mark.parametrize("shift", [False, True], ids=["samples", "left-translated samples"])
@pytest.mark.parametrize("name", ["SO(2)", "SO(3)", "SE(2)", "SE(3)"])
def test_haar_moments(name, shift):
    group = GROUPS[name]
    g = group.sample(jax.random.key(3), (NUM_SAMPLES,), jnp.float64)
    if shift:
        g = group.compose(group.exp(jnp.asarray(algebra_samples(group, num=1))), g)
    rotations = np.asarray(group.linear_matrix(g)).reshape(NUM_SAMPLES, -1)
    bound = 4.5 / np.sqrt(NUM_SAMPLES)
    assert np.abs(rotations.mean(0)).max() <= bound
    second = rotations.T @ rotations / NUM_SAMPLES
    n = group.point_dim
    exact = np.eye(n * n) / n  # E R_ij R_kl of SO(n), n > 2; SO(2) has only two free entries
    if n == 2:
        exact = np.array([[1, 0, 0, 1], [0, 1, -1, 0], [0, -1, 1, 0], [1, 0, 0, 1]]) / 2
    assert np.abs(second - exact).max() <= bound


@pytest.mark.parametrize(
    ("group", "statistic", "distribution"),
    [
        (SO(2), lambda log: log[:, 0], scipy.stats.uniform(-np.pi, 2 * np.pi).cdf),
        (
            SO(3),
            lambda log: np.linalg.norm(log, axis=-1),
            lambda angle: (angle - np.sin(angle)) / np.pi,
        ),
        (T(1), lambda log: log[:, 0], scipy.stats.norm.cdf),
        (RxSO2(), lambda log: log[:, 1], scipy.stats.norm.cdf),
    ],
    ids=["SO(2)", "SO(3)", "T(1)", "RxSO2"],
)
def test_sample_distribution(group, statistic, distribution):
    log = np.asarray(group.log(group.sample(jax.random.key(4), (NUM_SAMPLES,), jnp.float64)))
    assert scipy.stats.kstest(statistic(log), distribution).pvalue > 1e-3

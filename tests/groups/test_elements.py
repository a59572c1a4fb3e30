"""What stored elements mean: layouts, double covers, half-turns, random samples."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from eqattn.groups import SE, SO, E, O, Product, RxSO2, RxSO3, Sim, T, Trivial
from eqattn.groups.reflected import Reflected
from tests.grids import some, some_rows
from tests.groups.cases import BY_DEFAULT, DTYPES, GROUPS, algebra_samples, special_elements


def name_of(value):
    return getattr(value, "__name__", str(value))


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
    (RxSO3(), [0.0, 0.0, QUARTER, 0.5], [HALF, 0.0, 0.0, HALF, 0.5]),
    (O(2), [QUARTER], [0.0, 1.0, 1.0]),
    (O(3), [0.0, 0.0, QUARTER], [HALF, 0.0, 0.0, HALF, 1.0]),
    (E(2), [QUARTER, 1.0, 0.0], [0.0, 1.0, 1 / QUARTER, 1 / QUARTER, 1.0]),
    (E(3), [0.0, 0.0, 0.0, 1.0, 2.0, 3.0], [1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 1.0]),
    # A growing straight line: t = x (e^s - 1) / s.
    (Sim(2), [0.0, np.log(2.0), 1.0, 0.0], [1.0, 0.0, np.log(2.0), 1 / np.log(2.0), 0.0]),
    (
        Sim(3),
        [0.0, 0.0, QUARTER, 0.0, 1.0, 0.0, 3.0],
        [HALF, 0.0, 0.0, HALF, 0.0, 1 / QUARTER, 1 / QUARTER, 3.0],
    ),
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
    (RxSO3(), [HALF, 0.0, 0.0, HALF, np.log(2.0)], [1.0, 2.0, 3.0], [-4.0, 2.0, 6.0]),
    # Reflections act first: (x, y) to (x, -y), or all of space to its opposite.
    (O(2), [0.0, 1.0, -1.0], [1.0, 2.0], [2.0, 1.0]),
    (O(3), [HALF, 0.0, 0.0, HALF, -1.0], [1.0, 2.0, 3.0], [2.0, -1.0, -3.0]),
    (Reflected(Trivial(1)), [-1.0], [2.0], [-2.0]),
    (E(2), [0.0, 1.0, 5.0, 6.0, -1.0], [1.0, 2.0], [7.0, 7.0]),
    (E(3), [HALF, 0.0, 0.0, HALF, 1.0, 0.0, -1.0, -1.0], [1.0, 2.0, 3.0], [3.0, -1.0, -4.0]),
    # Rotation, then scaling, then translation.
    (Sim(2), [0.0, 1.0, np.log(2.0), 5.0, 6.0], [1.0, 2.0], [1.0, 8.0]),
    (Sim(3), [HALF, 0.0, 0.0, HALF, np.log(2.0), 1.0, 0.0, -1.0], [1.0, 2.0, 3.0], [-3.0, 2, 5]),
    (Trivial(2), [], [1.0, 2.0], [1.0, 2.0]),
    # About the last axis, and along it.
    (Product((SO(2), Trivial(1))), [0.0, 1.0], [1.0, 2.0, 3.0], [-2.0, 1.0, 3.0]),
    (Product((SE(2), T(1))), [0.0, 1.0, 5.0, 6.0, 7.0], [1.0, 2.0, 3.0], [3.0, 7.0, 10.0]),
]


def test_the_group_of_signs():
    """O(1), the stabilizer of a point of the plane under O(2)."""
    group = Reflected(Trivial(1))
    assert (group.algebra_dim, group.element_dim, group.is_compact) == (0, 1, True)
    sign = jnp.asarray([[1.0], [1.0], [-1.0], [-1.0]], jnp.float32)
    np.testing.assert_array_equal(group.compose(sign, sign[::-1]), [[-1], [-1], [-1], [-1]])
    np.testing.assert_array_equal(group.inverse(sign), sign)
    np.testing.assert_array_equal(group.exp(jnp.zeros((4, 0))), jnp.ones((4, 1)))
    assert group.log(sign).shape == (4, 0)
    np.testing.assert_array_equal(group.determinant(sign), sign[:, 0])
    np.testing.assert_array_equal(group.matrix(sign)[:, :, 0], sign)
    distance = group.distance(sign, sign[:1])
    assert distance.dtype == jnp.float32
    np.testing.assert_array_equal(distance, [0, 0, 2, 2])
    assert set(np.asarray(group.sample(jax.random.key(0), (64,)))[:, 0]) == {-1.0, 1.0}


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


@pytest.mark.parametrize("n", [2, 3])
def test_distance_of_similarities_is_hyperbolic(n):
    """Of half-spaces: |log r| between scales, 2 asinh(|t| / 2) between places at scale 1."""
    group = Sim(n)
    grow, move = np.eye(group.algebra_dim)[[-n - 1, -1]]
    scaled = group.exp(jnp.asarray(3.0 * grow))
    np.testing.assert_allclose(group.distance(group.identity(), scaled), 3.0, rtol=1e-14)
    moved = group.exp(jnp.asarray(3.0 * move))
    exact = 2 * np.arcsinh(1.5)
    np.testing.assert_allclose(group.distance(group.identity(), moved), exact, rtol=1e-14)
    # A hundred times smaller, in the units of that scale: the same.
    small = group.exp(jnp.asarray(-np.log(100.0) * grow))
    far = group.distance(small, group.compose(small, moved))
    np.testing.assert_allclose(far, exact, rtol=1e-14)


@pytest.mark.parametrize("group", some([O(2), O(3), E(2), E(3)], E(3)))
def test_elements_of_different_parity_are_two_apart(group):
    g = group.identity((2,)).at[1, -1].set(-1.0)
    np.testing.assert_allclose(group.distance(g[0], g[1]), 2.0, rtol=1e-14)
    turned = group.proper.exp(jnp.full(group.algebra_dim, 0.3))
    there = jnp.append(turned, -1.0)
    exact = np.hypot(2.0, group.proper.distance(group.proper.identity(), turned))
    np.testing.assert_allclose(group.distance(g[0], there), exact, rtol=1e-14)


@pytest.mark.parametrize(
    "name", some(["T(3)", "SE(3)", "E(2)", "Sim(3)", "SE(2)xRxSO2"], "SE(2)xRxSO2")
)
def test_bounded_samples(name):
    """Translations of at most 1, scales in [1/2, 2], and not all the same."""
    group = GROUPS[name]
    g = group.sample_bounded(jax.random.key(5), (256,))
    assert g.shape == (256, group.element_dim)
    for factor in getattr(group, "factors", (group,)):
        part, g = np.split(np.asarray(g), [factor.element_dim], axis=-1)
        log_scale = factor.log_scale(jnp.asarray(part))
        assert np.abs(log_scale).max() <= np.log(2) + 1e-6
        assert (np.std(log_scale) > 0.3) == ("Sim" in str(factor) or "Rx" in str(factor))
        moved = factor.act(jnp.asarray(part), jnp.zeros(factor.point_dim))
        assert np.linalg.norm(moved, axis=-1).max() <= 1 + 1e-6
        assert (np.std(moved) > 0.3) == ("Rx" not in str(factor))


@pytest.mark.parametrize("group", [SE(2), SE(3)], ids=str)
def test_rigid_distance_is_of_rotation_and_translation(group):
    turn, move = np.eye(group.algebra_dim)[[0, -1]]
    g = group.compose(group.exp(jnp.asarray(3.0 * move)), group.exp(jnp.asarray(2.0 * turn)))
    np.testing.assert_allclose(group.distance(group.identity(), g, 2.0), 5.0, rtol=1e-14)


@pytest.mark.parametrize(
    ("name", "dtype"),
    some_rows(
        list(itertools.product(["SO(3)", "SE(3)", "SO(3)xT(2)"], DTYPES)),
        *("SO(3)-float64", "SE(3)-float32"),
        ids=name_of,
    ),
)
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


@pytest.mark.parametrize("name", some(GROUPS, *BY_DEFAULT))
def test_sample_shapes_and_dtypes(name):
    group = GROUPS[name]
    for shape, dtype in (((), jnp.float64), ((5,), jnp.float32), ((2, 3), jnp.float32)):
        sample = jax.eval_shape(
            lambda k, s=shape, d=dtype: group.sample(k, s, d), jax.random.key(0)
        )
        assert sample.shape == (*shape, group.element_dim)
        assert sample.dtype == dtype
    g = group.sample(jax.random.key(0), (32,))
    g_again = group.exp(group.log(g))
    if group.parity_components(tuple(g.T)):  # that of the proper part
        g_again = g_again.at[:, -1].set(g[:, -1])
    np.testing.assert_allclose(group.matrix(g_again), group.matrix(g), atol=1e-10)
    assert group.element_dim == 0 or not np.array_equal(g, group.sample(jax.random.key(1), (32,)))


@pytest.mark.parametrize("shift", [False, True], ids=["samples", "left-translated samples"])
@pytest.mark.parametrize(
    "name", some(["SO(2)", "SO(3)", "SE(2)", "SE(3)", "O(2)", "E(3)"], "SO(3)", "SE(2)", "E(3)")
)
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
    if name in ("O(2)", "E(3)"):
        assert abs(float(jnp.mean(group.determinant(g)))) <= bound
    elif n == 2:
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

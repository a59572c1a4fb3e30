"""Exponentials and logarithms against scipy and jaxlie, and float32 against float64."""

import jax.numpy as jnp
import jaxlie
import numpy as np
import pytest
import scipy.linalg
from scipy.spatial.transform import Rotation

from eqattn.groups import SE, SO, Product, RxSO2, RxSO3, Sim, T, Trivial
from eqattn.groups.reflected import Reflected
from tests.grids import some
from tests.groups.cases import GROUPS, NEAR_IDENTITY, NEAR_PI, algebra_samples
from tests.tolerances import tolerance

ROTATION_FIRST = {SE(2): [1, 2, 0], SE(3): [3, 4, 5, 0, 1, 2]}
JAXLIE = {SO(2): jaxlie.SO2, SO(3): jaxlie.SO3, SE(2): jaxlie.SE2, SE(3): jaxlie.SE3}


def hat(group, a):
    """The matrix of Lie-algebra coordinates, written out apart from the library."""
    if isinstance(group, Product):
        ends = np.cumsum([f.algebra_dim for f in group.factors])[:-1]
        parts = zip(group.factors, np.split(a, ends), strict=True)
        return scipy.linalg.block_diag(*(hat(f, part) for f, part in parts))
    if isinstance(group, T):
        return np.pad(a[:, None], ((0, 1), (group.n, 0)))
    if isinstance(group, Reflected):
        return hat(group.proper, a)
    if isinstance(group, Trivial):
        return np.zeros((1, 1))
    if group in (RxSO2(), RxSO3()):
        return hat(SO(group.point_dim), a[:-1]) + a[-1] * np.eye(group.point_dim)
    if group == SO(2):
        return np.array([[0.0, -a[0]], [a[0], 0.0]])
    if group == SO(3):
        return np.cross(np.eye(3), a)
    linear = SO(group.point_dim)
    if group in (Sim(2), Sim(3)):
        linear = RxSO2() if group == Sim(2) else RxSO3()
    block, move = hat(linear, a[: linear.algebra_dim]), a[linear.algebra_dim :]
    return np.pad(np.concatenate([block, move[:, None]], axis=1), ((0, 1), (0, 0)))


@pytest.mark.parametrize("name", GROUPS)
def test_exp_and_log_against_scipy(name):
    group = GROUPS[name]
    a = algebra_samples(group, (*NEAR_IDENTITY, *NEAR_PI), seed=10)
    matrices = np.asarray(group.matrix(group.exp(jnp.asarray(a))))
    logs = np.asarray(group.log(group.exp(jnp.asarray(a))))
    for index, row in enumerate(a[:12]):  # those at hard angles, and some others
        np.testing.assert_allclose(matrices[index], scipy.linalg.expm(hat(group, row)), atol=1e-10)
        # Next to a half-turn the matrix holds the logarithm to the root of rounding only.
        if not 3 <= index < 6:
            exact = np.real(scipy.linalg.logm(matrices[index]))
            np.testing.assert_allclose(hat(group, logs[index]), exact, atol=1e-10)


@pytest.mark.parametrize("group", JAXLIE, ids=str)
def test_exp_and_log_against_jaxlie(group):
    # At angles of 1e-7 its own SE3.exp is wrong by 1e-8; there scipy is the oracle.
    a = jnp.asarray(algebra_samples(group, (0.0, 1e-4, *NEAR_PI[:2]), num=32, seed=11))
    order = np.array(ROTATION_FIRST.get(group, range(group.algebra_dim)))
    oracle = JAXLIE[group].exp(a[:, order])
    g = group.exp(a)
    np.testing.assert_allclose(g, oracle.parameters(), atol=tolerance(jnp.float64))
    exact = np.asarray(JAXLIE[group](g).log())[:, np.argsort(order)]
    np.testing.assert_allclose(group.log(g), exact, atol=tolerance(jnp.float64))


def every_angle(num_axes=64):
    """float32 elements (w >= 0, |t| <= 1) of SE(3) at every angle from 1e-8 to pi."""
    rng = np.random.default_rng(12)
    near_pi = np.pi - np.logspace(-8, -1, 36)
    angles = [[0.0], np.logspace(-8, 0, 81), np.linspace(0.01, np.pi, 315), near_pi, [np.pi]]
    angles = np.repeat(np.concatenate(angles), num_axes)[:, None]
    axes = rng.normal(size=(len(angles), 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    t = rng.normal(size=(len(angles), 3))
    t *= rng.uniform(0, 1, (len(angles), 1)) / np.linalg.norm(t, axis=-1, keepdims=True)
    quaternions = np.concatenate([np.cos(angles / 2), np.sin(angles / 2) * axes], axis=-1)
    exact = np.concatenate([quaternions, t], axis=-1).astype(np.float32)
    ours = np.array(SE(3).exp(jnp.asarray(np.concatenate([angles * axes, t], -1), jnp.float32)))
    ours[:, :4] *= np.where(ours[:, :1] < 0, -1, 1)
    ours[:, 4:] = t
    return np.concatenate([exact, ours])


@pytest.mark.parametrize("group", some([SO(3), SE(3)], SE(3), ids=str))
def test_float32_log_of_a_stored_element(group, record_property):
    stored = every_angle()[:, : group.element_dim]
    assert np.all(stored[:, 0] >= 0)
    assert stored.dtype == np.float32
    exact = np.asarray(JAXLIE[group](jnp.asarray(stored, jnp.float64)).log())
    exact = exact[:, np.argsort(ROTATION_FIRST.get(group, range(3)))]
    from_scipy = Rotation.from_quat(stored[:, :4].astype(np.float64), scalar_first=True).as_rotvec()
    found = np.asarray(group.log(jnp.asarray(stored)))
    assert found.dtype == np.float32
    error = np.abs(found - exact).max()
    own = np.abs(found - np.asarray(group.log(jnp.asarray(stored, jnp.float64)))).max()
    record_property("float32_log_error", float(error))
    record_property("float32_log_error_against_own_float64", float(own))
    bound = tolerance(jnp.float32, "log")
    assert error <= bound
    assert own <= bound
    assert np.abs(found[:, :3] - from_scipy).max() <= bound

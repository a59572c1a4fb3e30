import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from eqattn.fields import FieldType
from eqattn.groups import E
from eqattn.spaces import euclidean
from eqattn.tasks.shapes.features import (
    MOMENT_FIELD,
    NUM_MOMENT_FEATURES,
    moment_features,
    moment_fields,
)

features, fields = jax.jit(moment_features), jax.jit(moment_fields)
SPACE = euclidean(E(3))


@pytest.fixture(scope="module")
def cloud():
    """A bent sheet of points, with flat parts."""
    random = np.random.RandomState(0)
    flat = random.uniform(-0.7, 0.7, (64, 2))
    return np.stack([*flat.T, np.maximum(flat[:, 0], 0.0) ** 2], axis=-1)


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 2e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("sign", [1, -1])
def test_they_are_invariant_to_rotations_reflections_and_shifts(cloud, dtype, bound, sign):
    turn = sign * scipy.stats.special_ortho_group(3, seed=1).rvs()
    still = jnp.asarray(cloud, dtype)
    moved = jnp.asarray(cloud @ turn.T + [0.3, -0.2, 0.5], dtype)
    found = features(still, still[:8])
    assert found.shape == (8, NUM_MOMENT_FEATURES)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, features(moved, moved[:8]), atol=bound)
    sheared = moved + 0.2 * moved[:, [1, 2, 0]]
    assert np.abs(found - features(sheared, sheared[:8])).max() > 1e-2, "they see something"


def test_they_tell_points_apart_and_know_no_order(cloud):
    points = jnp.asarray(cloud)
    found = features(points, points[:8])
    spread = np.std(np.asarray(features(points, points)), axis=0)
    assert (spread[: 7 * 3 + 4] > 1e-4).all()
    np.testing.assert_allclose(spread[-4:], 0.0, atol=1e-12)  # of the whole shape
    np.testing.assert_allclose(found, features(points[::-1], points[:8]), atol=1e-12)


def test_they_are_finite_where_points_coincide():
    points = jnp.zeros((64, 3), jnp.float32)
    assert np.isfinite(np.asarray(features(points, points[:8]))).all()
    lonely = points.at[0].set(5.0)  # a place without any point but itself around it
    assert np.isfinite(np.asarray(features(lonely, lonely[:8]))).all()


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 2e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("sign", [1, -1])
def test_fields_turn_with_the_points(cloud, dtype, bound, sign):
    motions = SPACE.group.sample_bounded(jax.random.key(0), (16,), dtype)
    motion = motions[jnp.argmax(SPACE.group.determinant(motions) * sign)]
    still = jnp.asarray(cloud, dtype)
    moved = SPACE.act(motion, still)
    found, turned = fields(still, still[:8]), fields(moved, moved[:8])
    np.testing.assert_array_equal(found[:, :NUM_MOMENT_FEATURES], features(still, still[:8]))
    field = FieldType.parse(MOMENT_FIELD)
    np.testing.assert_allclose(turned, field.transform(SPACE, motion, found), atol=bound)
    others = np.abs(np.asarray(turned - found))[:, NUM_MOMENT_FEATURES:]
    assert (others.max(axis=0) > 1e-2).all(), "each of them turns"

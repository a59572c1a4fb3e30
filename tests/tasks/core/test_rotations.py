import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.tasks.core import rotations
from tests.grids import some

rotate_points = jax.jit(rotations.rotate_points)


def ids(points):
    return jnp.arange(len(points))


def test_a_rotation_depends_on_the_example_and_on_nothing_beside_it():
    points = jax.random.normal(jax.random.key(0), (4, 5, 3))
    turned = rotate_points(jax.random.key(1), points, jnp.array([3, 1, 4, 1]))
    alone = rotate_points(jax.random.key(1), points[2:3], jnp.array([4]))
    np.testing.assert_allclose(turned[2:3], alone, atol=1e-6)
    same = rotate_points(jax.random.key(1), points[jnp.array([0, 0])], jnp.array([1, 3]))
    np.testing.assert_allclose(same[1], turned[0], atol=1e-6)
    assert np.abs(same[0] - same[1]).max() > 0.1


@pytest.mark.parametrize("dim", some([2, 3], 3))
def test_each_example_is_turned_rigidly_by_its_own_rotation(dim):
    points = jax.random.normal(jax.random.key(0), (4, 6, dim), jnp.float32)
    points = points.at[1].set(points[0]).at[:, -1].set(0.0)
    turned = rotate_points(jax.random.key(1), points, ids(points))
    assert turned.dtype == jnp.float32
    points, turned = np.asarray(points), np.asarray(turned)
    gram = np.einsum("bnd,bmd->bnm", points, points)
    np.testing.assert_allclose(np.einsum("bnd,bmd->bnm", turned, turned), gram, atol=1e-5)
    np.testing.assert_array_equal(turned[:, -1], 0.0)
    assert np.abs(turned[0] - turned[1]).max() > 0.1
    assert np.abs(turned - points).max() > 0.1


def test_rotations_keep_handedness():
    points = jnp.eye(3)[None].repeat(50, 0)
    np.testing.assert_allclose(
        np.linalg.det(rotate_points(jax.random.key(0), points, ids(points))), 1.0, atol=1e-6
    )


def test_rotations_are_uniform():
    points = jnp.broadcast_to(jnp.array([[1.0, 0.0, 0.0]]), (20_000, 1, 3))
    turned = np.asarray(rotate_points(jax.random.key(2), points, ids(points)))[:, 0]
    np.testing.assert_allclose(turned.mean(0), 0.0, atol=0.02)
    np.testing.assert_allclose(turned.T @ turned / len(turned), np.eye(3) / 3, atol=0.02)


def test_other_spaces_have_no_rotations():
    with pytest.raises(ValueError, match=r"2 or 3 coordinates to be rotated, got \(2, 5, 4\)"):
        rotate_points(jax.random.key(0), jnp.ones((2, 5, 4)), jnp.arange(2))

import numpy as np
import pytest

from eqattn.data.motions import RandomMotion, move

UP = np.array([0.0, 0.0, 1.0])


def sample(rotation, dimension, number=4000, shift=0.0):
    motion = RandomMotion(rotation, shift)
    return motion.sample(np.random.RandomState(0), number, dimension)


@pytest.mark.parametrize(("rotation", "dimension"), [("SO(2)", 2), ("z", 3), ("SO(3)", 3)])
def test_matrices_are_rotations(rotation, dimension):
    matrices, shifts = sample(rotation, dimension, number=50)
    products = matrices @ np.swapaxes(matrices, 1, 2)
    np.testing.assert_allclose(products, np.tile(np.eye(dimension), (50, 1, 1)), atol=1e-14)
    np.testing.assert_allclose(np.linalg.det(matrices), 1, atol=1e-14)
    np.testing.assert_array_equal(shifts, 0)
    assert len(np.unique(matrices[:, 0, 0])) == 50


def test_z_keeps_what_is_upright_and_nothing_else_does():
    np.testing.assert_array_equal(sample("z", 3)[0] @ UP, np.tile(UP, (4000, 1)))
    assert np.abs(sample("SO(3)", 3)[0] @ UP - UP).max() > 1


@pytest.mark.parametrize(("rotation", "dimension"), [("SO(2)", 2), ("SO(3)", 3)])
def test_rotations_are_uniform(rotation, dimension):
    """The moments of Haar measure: E[R] = 0 and E[R_ij²] = 1 / D, within five standard errors."""
    matrices, _ = sample(rotation, dimension)
    assert np.abs(matrices.mean(axis=0)).max() < 5 / np.sqrt(4000)
    assert np.abs((matrices**2).mean(axis=0) - 1 / dimension).max() < 5 / np.sqrt(4000)
    if dimension == 3:  # E[(tr R)²] = 1; of an angle that is uniform in [0, π] it is 3
        squares = np.trace(matrices, axis1=1, axis2=2) ** 2
        assert abs(squares.mean() - 1) < 5 * squares.std() / np.sqrt(4000)


def test_shifts_are_normal_and_the_default_moves_nothing():
    matrices, shifts = sample("none", 2, shift=3.0)
    np.testing.assert_array_equal(matrices, np.tile(np.eye(2), (4000, 1, 1)))
    assert shifts.std() == pytest.approx(3.0, abs=0.1)
    assert np.abs(shifts.mean(axis=0)).max() < 0.25
    matrices, shifts = RandomMotion().sample(np.random.RandomState(0), 3, 5)
    np.testing.assert_array_equal(matrices, np.tile(np.eye(5), (3, 1, 1)))
    np.testing.assert_array_equal(shifts, 0)


def test_points_move_and_padding_stays():
    points = np.random.RandomState(1).normal(size=(2, 4, 3)).astype(np.float32)
    mask = np.array([[True] * 4, [True, True, False, False]])
    matrices, shifts = sample("SO(3)", 3, number=2, shift=1.0)
    moved = move(points, mask, matrices, shifts)
    assert moved.dtype == np.float64
    for index in range(2):
        expected = points[index].astype(float) @ matrices[index].T + shifts[index]
        np.testing.assert_allclose(moved[index][mask[index]], expected[mask[index]], atol=1e-14)
    np.testing.assert_array_equal(moved[1, 2:], 0)


def test_bad_arguments(no_type_checks):
    with pytest.raises(ValueError, match=r"rotation must be one of .*, got 'SO\(4\)'"):
        RandomMotion("SO(4)")
    for shift in (-1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="shift must be finite and not negative, got"):
            RandomMotion(shift=shift)
    for rotation, dimension in (("z", 2), ("SO(3)", 2), ("SO(2)", 3)):
        with pytest.raises(ValueError, match=rf"is none of points in {dimension}-D"):
            RandomMotion(rotation).sample(np.random.RandomState(0), 1, dimension)

import numpy as np
import pytest
import scipy.spatial.transform

from eqattn.tasks.winds.data import Winds, climatology, climatology_without, load, split
from eqattn.tasks.winds.forecasts import r_squared, rms
from eqattn.tasks.winds.sphere_grid import from_components, regular_grid


def make_winds(num_months, *, first=(1990, 1), seed=0):
    """Random winds at 30°."""
    grid = regular_grid(30.0)
    count = 12 * first[0] + first[1] - 1 + np.arange(num_months)
    random = np.random.RandomState(seed)
    components = random.normal(size=(num_months, len(grid.points), 2))
    relief = random.uniform(size=(len(grid.points), 2)).astype(np.float32)
    return Winds(
        grid.points,
        grid.areas,
        relief,
        np.stack([count // 12, count % 12 + 1], axis=-1),
        from_components(grid.points, components).astype(np.float32),
    )


def test_the_months_of_each_split():
    parts = split(make_winds(132))
    assert list(parts) == ["train", "validation", "test"]
    np.testing.assert_array_equal(parts["train"], np.arange(96))
    np.testing.assert_array_equal(parts["validation"], np.arange(96, 108))
    np.testing.assert_array_equal(parts["test"], np.arange(108, 132))


def test_a_record_that_is_too_short():
    assert len(split(make_winds(60))["train"]) == 24
    with pytest.raises(ValueError, match="winds must be of at least 60 months, got 59"):
        split(make_winds(59))


def test_climatology_is_the_mean_of_each_month_of_the_year():
    winds = make_winds(30, first=(1990, 11))
    means = climatology(winds, np.arange(26))
    assert means.shape == (12, 62, 3)
    assert means.dtype == np.float32
    # The record begins in November: January is at 2 and 14 (and 26, which is left out).
    np.testing.assert_allclose(means[0], winds.winds[[2, 14]].mean(0), rtol=1e-6)
    np.testing.assert_allclose(means[10], winds.winds[[0, 12, 24]].mean(0), rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match="months must hold each month of the year, but month 10"):
        climatology(winds, np.arange(11))


def test_a_month_is_left_out_of_its_own_climatology():
    winds = make_winds(48)
    months = np.arange(36)
    at = np.array([3, 15, 27, 39])
    means = climatology_without(winds, months, at)
    for row, others in enumerate(([15, 27], [3, 27], [3, 15], [3, 15, 27])):
        np.testing.assert_allclose(means[row], winds.winds[others].mean(0), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(means[3], climatology(winds, months)[3])
    winds.winds[15] += 100.0
    changed = climatology_without(winds, months, at)
    np.testing.assert_array_equal(changed[1], means[1])
    assert (np.abs(changed[[0, 2, 3]] - means[[0, 2, 3]]).max((1, 2)) > 10).all()
    assert climatology_without(winds, months, at[:0]).shape == (0, 62, 3)


def test_no_other_year_is_left():
    winds = make_winds(24)
    with pytest.raises(ValueError, match="months must hold another year for 1990-05"):
        climatology_without(winds, np.arange(12), np.array([16, 4]))


def test_a_file_is_read_with_the_relief_of_its_cells(write_winds):
    components = np.random.RandomState(0).normal(size=(2, 3, 7, 12))
    winds = load(write_winds(*components, longitudes=np.arange(0, 360, 30)))
    assert winds.winds.shape == (3, 62, 3)
    assert len(winds) == 3
    np.testing.assert_array_equal(winds.points, regular_grid(30.0).points)
    np.testing.assert_array_equal(winds.relief, load(step=30.0).relief)


def test_a_file_is_averaged(write_winds):
    components = np.random.RandomState(0).normal(size=(2, 3, 37, 72))
    path = write_winds(*components)
    winds = load(str(path), step=30.0)
    assert winds.winds.shape == (3, 62, 3)
    fine = load(path)
    for month, means in zip(fine.winds, winds.winds, strict=True):
        assert rms(means[None], winds.areas) < 0.5 * rms(month[None], fine.areas)


def test_a_missing_file():
    with pytest.raises(FileNotFoundError, match=r"no netCDF file at absent.nc"):
        load("absent.nc")


def test_scores_do_not_change_when_points_and_vectors_are_rotated():
    winds = load(step=15.0)
    turn = scipy.spatial.transform.Rotation.random(random_state=0).as_matrix().astype(np.float32)
    before, after = winds.winds[:-1], winds.winds[1:]
    areas = winds.areas
    assert rms((before - after) @ turn.T, areas) == pytest.approx(rms(before - after, areas), 1e-6)
    scores = r_squared(before, after, areas), r_squared(before @ turn.T, after @ turn.T, areas)
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)
    # The negative control: vectors that stay where their points are turned away.
    assert rms(before - after @ turn.T, areas) > 1.5 * rms(before - after, areas)

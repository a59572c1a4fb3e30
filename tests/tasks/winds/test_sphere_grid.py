import numpy as np
import pytest
import scipy.spatial.transform

from eqattn.tasks.winds.sphere_grid import (
    Grid,
    frames,
    from_components,
    regular_grid,
    tangent,
    to_components,
)

GAUSSIAN = Grid(np.degrees(np.arcsin(np.polynomial.legendre.leggauss(9)[0])), np.arange(8) * 45.0)
RELIEF = Grid(np.arange(-89.0, 90.0, 2.0), np.arange(21.0, 381.0, 2.0))
GRIDS = {"regular": regular_grid(15.0), "gaussian": GAUSSIAN, "relief": RELIEF}


@pytest.fixture(params=GRIDS, scope="module")
def grid(request):
    return GRIDS[request.param]


def test_points_are_unit_vectors_from_south_to_north():
    points = regular_grid(45.0).points
    assert points.shape == (26, 3)
    half = np.sqrt(0.5)
    np.testing.assert_array_equal(points[0], [0, 0, -1])
    np.testing.assert_allclose(points[1], [half, 0, -half], atol=1e-15)
    np.testing.assert_allclose(points[11], [0, 1, 0], atol=1e-15)  # the equator begins at 9
    np.testing.assert_array_equal(points[-1], [0, 0, 1])
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1.0, rtol=1e-15)


def test_each_pole_is_one_point(grid):
    rows, columns = grid.shape
    assert len(grid.points) == (rows - sum(grid.poles)) * columns + sum(grid.poles)
    assert len(np.unique(grid.points.round(9), axis=0)) == len(grid.points)


def test_areas_are_those_of_zones_and_caps(grid):
    assert grid.areas.sum() == pytest.approx(4 * np.pi, rel=1e-14)
    assert grid.areas.shape == (len(grid.points),)


def test_areas_of_a_regular_grid():
    areas = regular_grid(5.0).areas
    degree = np.pi / 180
    assert areas[0] == areas[-1] == pytest.approx(2 * np.pi * (1 - np.cos(2.5 * degree)))
    equator = 1 + 17 * 72
    assert areas[equator] == pytest.approx(5 * degree * 2 * np.sin(2.5 * degree), rel=1e-12)
    row = np.sin(-82.5 * degree) - np.sin(-87.5 * degree)
    np.testing.assert_allclose(areas[1:73], 5 * degree * row, rtol=1e-12)


def test_merge_takes_the_mean_of_a_pole_and_spread_repeats_it():
    grid = regular_grid(30.0)
    rows = np.arange(2.0 * 7 * 12 * 3).reshape(2, 7, 12, 3)
    merged = grid.merge(rows)
    assert merged.shape == (2, 62, 3)
    np.testing.assert_array_equal(merged[:, 0], rows[:, 0].mean(1))
    np.testing.assert_array_equal(merged[:, -1], rows[:, -1].mean(1))
    np.testing.assert_array_equal(merged[:, 1:-1].reshape(2, 5, 12, 3), rows[:, 1:-1])
    spread = grid.spread(merged)
    np.testing.assert_array_equal(spread[:, 1:-1], rows[:, 1:-1])
    np.testing.assert_array_equal(spread[:, 0, 3], merged[:, 0])
    np.testing.assert_array_equal(grid.merge(spread), merged)
    rows = np.arange(9.0 * 8).reshape(9, 8, 1)
    np.testing.assert_array_equal(GAUSSIAN.spread(GAUSSIAN.merge(rows)), rows)


@pytest.mark.parametrize("onto", [regular_grid(30.0), GAUSSIAN], ids=["regular", "gaussian"])
def test_averages_keep_constants_and_integrals(grid, onto):
    rows = np.random.RandomState(0).normal(size=(*grid.shape, 2))
    rows[..., 1] = 7.0
    # A row at a pole is one point: its integral is that of its mean.
    values = onto.merge(grid.average(grid.spread(grid.merge(rows)), onto))
    np.testing.assert_allclose(values[:, 1], 7.0, rtol=1e-13)
    np.testing.assert_allclose(onto.areas @ values, grid.areas @ grid.merge(rows), rtol=1e-12)


def test_an_average_over_a_cell_by_hand():
    fine, coarse = regular_grid(15.0), regular_grid(30.0)
    rows = np.random.RandomState(1).normal(size=(*fine.shape, 1))
    # The cell at 30° north and 60° east: the rows at 15, 30 and 45°, of which the outer ones
    # belong to it by half, as the columns do at 45, 60 and 75° east.
    sines = np.sin(np.radians([15.0, 22.5, 37.5, 45.0]))
    heights = np.diff(sines) / (sines[-1] - sines[0])
    block = rows[7:10, 3:6, 0]
    expected = heights @ block @ [0.25, 0.5, 0.25]
    assert fine.average(rows, coarse)[4, 2, 0] == pytest.approx(expected, rel=1e-12)


def test_the_meridian_that_a_grid_begins_at_does_not_matter():
    rows = np.random.RandomState(2).normal(size=(90, 180, 1))
    onto = regular_grid(10.0)
    for first in (-179.0, 1.0, 339.0):
        grid = Grid(RELIEF.latitudes, first + np.arange(0.0, 360.0, 2.0))
        shifted = np.roll(rows, -round((first - 21.0) / 2), axis=1)
        np.testing.assert_allclose(grid.average(shifted, onto), RELIEF.average(rows, onto))


def test_frames_are_right_handed_and_orthonormal(grid):
    points = grid.points
    east, north = frames(points)
    np.testing.assert_allclose(np.cross(east, north), points, atol=1e-15)
    np.testing.assert_allclose(np.cross(points, east), north, atol=1e-15)
    np.testing.assert_array_equal(east[:, 2], 0.0)
    assert (north[:, 2] >= 0).all()


def test_frames_at_the_poles_are_those_of_greenwich():
    east, north = frames(np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [1e-9, 1e-9, 1.0]]))
    np.testing.assert_array_equal(east, [[0, 1, 0]] * 3)
    np.testing.assert_array_equal(north[:2], [[-1, 0, 0], [1, 0, 0]])
    close = regular_grid(5.0).points[1]  # 85° south on the meridian of Greenwich
    np.testing.assert_allclose(frames(close)[1], [1.0, 0.0, 0.0], atol=0.1)


def test_components_and_vectors_are_inverse(grid):
    components = np.random.RandomState(3).normal(size=(2, len(grid.points), 2))
    vectors = from_components(grid.points, components)
    np.testing.assert_allclose(np.sum(vectors * grid.points, -1), 0.0, atol=1e-14)
    np.testing.assert_allclose(to_components(grid.points, vectors), components, atol=1e-14)
    np.testing.assert_allclose((vectors**2).sum(-1), (components**2).sum(-1), rtol=1e-12)


def test_components_turn_with_the_globe_about_its_axis_only():
    """About the axis a rotation changes no component, about any other one it does."""
    points = regular_grid(30.0).points[1:-1]
    vectors = tangent(points, np.random.RandomState(4).normal(size=points.shape))
    before = to_components(points, vectors)
    for axis, turns_them in ((2, False), (0, True)):
        rotation = scipy.spatial.transform.Rotation.from_rotvec(0.7 * np.eye(3)[axis]).as_matrix()
        after = to_components(points @ rotation.T, vectors @ rotation.T)
        assert (np.abs(after - before).max() > 0.1) == turns_them
        np.testing.assert_allclose((after**2).sum(-1), (before**2).sum(-1))


def test_tangent_takes_away_what_points_up():
    points = regular_grid(30.0).points
    vectors = np.random.RandomState(5).normal(size=points.shape)
    flat = tangent(points, vectors)
    np.testing.assert_allclose(np.sum(flat * points, -1), 0.0, atol=1e-15)
    np.testing.assert_allclose(to_components(points, flat), to_components(points, vectors))
    np.testing.assert_allclose(tangent(points, flat), flat, atol=1e-15)


EVEN = np.arange(4) * 90.0


@pytest.mark.parametrize(
    ("latitudes", "longitudes", "message"),
    [
        ([0.0], EVEN, "latitudes must be two or more, .*, got 1 from 0 to 0"),
        ([], EVEN, "latitudes must be two or more, .*, got none"),
        ([10.0, -10.0], EVEN, "latitudes .* increasing, .*, got 2 from 10 to -10"),
        ([-91.0, 90.0], EVEN, "latitudes .* from -90 to 90, got 2 from -91 to 90"),
        ([0.0, np.nan], EVEN, "latitudes .* got 2 from 0 to nan"),
        (np.arange(-20.0, 21.0, 5.0), EVEN, "latitudes must reach both poles .* 9 from -20 to 20"),
        (np.arange(0.0, 91.0, 15.0), EVEN, "latitudes must reach both poles .* 7 from 0 to 90"),
        (np.arange(-90.0, 61.0, 15.0), EVEN, "latitudes must reach both poles .*, got 11 from -90"),
        ([-45.0, 45.0], [0.0, 180.0], "longitudes must be three or more, .*, got 2 from 0 to 180"),
        ([-45.0, 45.0], [0.0, 90.0, 180.0], "longitudes .* equal steps of 360/L, got 3"),
        ([-45.0, 45.0], EVEN[::-1], "longitudes .* increasing .* got 4 from 270 to 0"),
        ([-45.0, 45.0], EVEN + 360, r"longitudes must begin in \[-360, 360\), got 4 from 360"),
    ],
)
def test_bad_grids(latitudes, longitudes, message):
    with pytest.raises(ValueError, match=message):
        Grid(np.array(latitudes), np.array(longitudes))


def test_rows_at_the_poles_may_be_left_out():
    for gap in (1.25, 2.5, 2.5 + 1e-5):
        grid = Grid(np.linspace(gap - 90, 90 - gap, 73 - round(gap / 1.25)), EVEN)
        assert grid.areas.sum() == pytest.approx(4 * np.pi, rel=1e-14)


@pytest.mark.parametrize("step", [0.0, -5.0, 7.0, 180.0, np.nan])
def test_steps_that_do_not_divide_the_quarter(step):
    with pytest.raises(ValueError, match=f"step must be positive and divide 90 .*, got {step}"):
        regular_grid(step)

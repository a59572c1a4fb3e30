import numpy as np
import pytest

from eqattn.tasks.winds.grids import RESOLUTION, GridWinds, average, decode, encode, read
from eqattn.tasks.winds.sphere_grid import regular_grid, to_components


def winds_of(grid, vector_fields):
    """Winds that are the tangent parts of fields of R³ at the points of a grid."""
    points = grid.points
    flat = [field - np.sum(field * points, -1, keepdims=True) * points for field in vector_fields]
    months = np.array([(2000, 1 + number) for number in range(len(flat))])
    return GridWinds(grid, months, np.stack(flat).astype(np.float32))


@pytest.fixture
def components():
    """East and north at 15°, three months."""
    return np.random.RandomState(0).normal(0, 8, (2, 3, 13, 24)).astype(np.float32)


def test_a_file_is_read_as_tangent_vectors(write_winds, components):
    winds = read(write_winds(*components))
    points = winds.grid.points
    assert winds.winds.shape == (3, 11 * 24 + 2, 3)
    assert winds.winds.dtype == np.float32
    np.testing.assert_array_equal(winds.months, [[1982, 1], [1982, 2], [1982, 3]])
    assert np.abs(np.sum(winds.winds * points, -1)).max() < 1e-6 * np.abs(winds.winds).max()
    inner = to_components(points, winds.winds)[:, 1:-1].reshape(3, 11, 24, 2)
    np.testing.assert_allclose(inner, np.moveaxis(components, 0, -1)[:, 1:-1], atol=1e-5)


def test_the_vector_at_a_pole_is_the_mean_of_the_row_beside(write_winds, components):
    winds = read(write_winds(*components)).winds
    for place, row in ((0, slice(1, 25)), (-1, slice(-25, -1))):
        mean = winds[:, row].mean(1)
        np.testing.assert_allclose(winds[:, place, :2], mean[:, :2], atol=1e-5)
        np.testing.assert_array_equal(winds[:, place, 2], 0.0)
    # What the file has at the poles changes nothing.
    components[:, :, [0, -1]] = 1e3
    np.testing.assert_array_equal(read(write_winds(*components)).winds, winds)


def test_fill_values_without_a_name_are_no_winds(write_winds, components):
    components[1, 0, 5, 5] = 1e20
    with pytest.raises(ValueError, match=r"within ±327\.67 m/s, got 9.* m/s; is that a fill"):
        read(write_winds(*components))


def test_a_wind_over_the_poles_is_one_vector_there(write_winds):
    """The wind of a globe that turns about the x axis blows along y at the poles."""
    grid = regular_grid(15.0)
    spinning = np.cross([3.0, 0.0, 0.0], grid.points)
    rows = grid.spread(to_components(grid.points, spinning))
    path = write_winds(*np.moveaxis(rows, -1, 0)[:, None], longitudes=grid.longitudes)
    winds = read(path).winds[0]
    # A mean over 15° is shorter by the cosine.
    np.testing.assert_allclose(winds[0], [0, 3 * np.cos(np.radians(15)), 0], atol=1e-5)
    np.testing.assert_allclose(winds[-1], [0, -3 * np.cos(np.radians(15)), 0], atol=1e-5)
    np.testing.assert_allclose(winds[1:-1], spinning[1:-1], atol=1e-5)


def test_a_file_without_rows_at_the_poles(write_winds, components):
    winds = read(write_winds(*components, latitudes=np.linspace(-84, 84, 13)))
    assert winds.winds.shape == (3, 13 * 24, 3)
    rows = to_components(winds.grid.points, winds.winds).reshape(3, 13, 24, 2)
    np.testing.assert_allclose(rows, np.moveaxis(components, 0, -1), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"units": "knots"}, "winds.nc: winds must be in m/s, got 'knots'"),
        ({"hours": np.array([0.0, 800.0, 2400.0])}, "the time after 1980-02 is not in the next mo"),
        ({"hours": np.array([0.0, 1.0, 800.0])}, "the time after 1980-01 is not in the next month"),
        ({"latitudes": np.linspace(-20, 20, 13)}, "winds.nc: latitudes must reach both poles"),
        ({"longitudes": np.arange(24) * 7.5}, "winds.nc: longitudes must be .* steps of 360/L"),
        ({"names": ("uwind", "vwind")}, "no variables uwnd and vwnd or u10 and v10 or u and v"),
    ],
)
def test_files_that_hold_no_monthly_winds(write_winds, components, changes, message):
    with pytest.raises(ValueError, match=message):
        read(write_winds(*components, **changes))


def test_files_without_times(write_winds, components):
    with pytest.raises(ValueError, match=r"winds.nc: the winds have no times"):
        read(write_winds(*components[:, 0]))
    with pytest.raises(ValueError, match=r"winds.nc: the winds have no times"):
        read(write_winds(*components[:, :0]))


def test_averages_are_of_vectors_and_tangent():
    """The tangent part of one vector of R³ everywhere stays one, also across the poles."""
    fine = regular_grid(5.0)
    one = np.broadcast_to([1.0, -2.0, 3.0], fine.points.shape)
    coarse = average(winds_of(fine, [one]), 15.0)
    expected = winds_of(coarse.grid, [np.broadcast_to([1.0, -2.0, 3.0], coarse.grid.points.shape)])
    assert np.abs(np.sum(coarse.winds * coarse.grid.points, -1)).max() < 1e-6
    # Within a cell they turn by at most its radius, and on average in no direction: what is left
    # is of second order.
    bound = np.sqrt(14) * 2 * np.radians(7.5) ** 2
    np.testing.assert_allclose(coarse.winds, expected.winds, rtol=0, atol=bound)
    np.testing.assert_array_equal(coarse.months, expected.months)
    # The negative control: the mean of components to the east and north vanishes at a pole.
    beside = fine.spread(to_components(fine.points, winds_of(fine, [one]).winds[0]))[-2]
    assert np.linalg.norm(beside.mean(0)) < 0.3
    assert np.linalg.norm(expected.winds[0, -1]) > 2


def test_averages_keep_the_winds_where_the_grid_stays():
    grid = regular_grid(15.0)
    winds = winds_of(grid, np.random.RandomState(1).normal(size=(2, *grid.points.shape)))
    np.testing.assert_allclose(average(winds, 15.0).winds, winds.winds, atol=1e-6)


def test_steps_that_do_not_fit():
    winds = winds_of(regular_grid(15.0), [np.zeros((266, 3))])
    with pytest.raises(ValueError, match=r"step=5\.0 is finer than the 15° of the winds"):
        average(winds, 5.0)
    with pytest.raises(ValueError, match="step must be positive and divide 90 degrees, got 20"):
        average(winds, 20.0)


def test_stored_components_come_back():
    grid = regular_grid(15.0)
    winds = winds_of(grid, 9 * np.random.RandomState(2).normal(size=(2, *grid.points.shape)))
    stored = encode(grid.points, winds.winds)
    assert stored.dtype == np.int16
    again = decode(grid.points, stored)
    assert again.dtype == np.float32
    error = to_components(grid.points, again) - to_components(grid.points, winds.winds)
    assert RESOLUTION / 4 < np.abs(error).max() < RESOLUTION / 2 + 1e-5
    np.testing.assert_array_equal(encode(grid.points, again), stored)
    assert np.abs(np.sum(again * grid.points, -1)).max() < 1e-6 * np.abs(again).max()


@pytest.mark.parametrize("factor", [1.0, np.nan])
def test_winds_that_do_not_fit_in_two_bytes(factor):
    points = np.array([[1.0, 0.0, 0.0]])
    fits = np.array([[0.0, 327.6, -327.6]])
    np.testing.assert_array_equal(encode(points, fits), [[32760, -32760]])
    message = r"winds must be within ±327.67 m/s, got a component of (328|nan) m/s"
    with pytest.raises(ValueError, match=message):
        encode(points, factor * np.array([[0.0, 328.0, 1.0]]))

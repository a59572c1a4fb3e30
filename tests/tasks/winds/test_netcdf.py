import numpy as np
import pytest

from eqattn.tasks.winds.netcdf import read_fields

CHOICES = [("uwnd", "vwnd"), ("u10", "v10")]


@pytest.fixture
def months():
    return np.random.RandomState(0).normal(size=(2, 3, 7, 12)).astype(np.float32)


def test_fields_are_read_with_their_grid_and_months(write_winds, months):
    fields = read_fields(write_winds(*months), CHOICES)
    np.testing.assert_array_equal(fields.values[0], months[0])
    np.testing.assert_array_equal(fields.values[1], months[1])
    np.testing.assert_array_equal(fields.grid.latitudes, np.arange(-90, 91, 30))
    np.testing.assert_array_equal(fields.grid.longitudes, 20 + np.arange(0, 360, 30))
    np.testing.assert_array_equal(fields.months, [[1982, 1], [1982, 2], [1982, 3]])
    assert fields.units == ("M/S", "M/S")


def test_rows_from_north_to_south_are_turned(write_winds, months):
    path = write_winds(*months, latitudes=np.linspace(90, -90, 7), names=("u10", "v10"))
    fields = read_fields(path, CHOICES)
    np.testing.assert_array_equal(fields.values[1], months[1][:, ::-1])
    np.testing.assert_array_equal(fields.grid.latitudes, np.arange(-90, 91, 30))


def test_packed_values_are_unpacked(write_winds, months):
    packed = np.rint(100 * months)
    path = write_winds(*packed, dtype="i2", attributes={"scale_factor": 0.01, "add_offset": 3.0})
    np.testing.assert_allclose(read_fields(path, CHOICES).values[0], packed[0] / 100 + 3, rtol=1e-6)


@pytest.mark.parametrize(
    ("units", "times", "expected"),
    [
        ("days since 1999-12-31", [0.0, 1.0, 31.9], [[1999, 12], [2000, 1], [2000, 1]]),
        ("minutes since 2000-1-31 23:00", [59.0, 60.0, 61.0], [[2000, 1], [2000, 2], [2000, 2]]),
        ("seconds since 1970-01-01T00:00:00Z", [0.0, 3e6, 6e6], [[1970, 1], [1970, 2], [1970, 3]]),
        ("hours since 1979-12-31 14:00:00 -10:00", [-1, 0, 1], [[1979, 12], [1980, 1], [1980, 1]]),
        ("hours since 1980-1-1 05:30 +0530", [-1, 0, 1], [[1979, 12], [1980, 1], [1980, 1]]),
        ("hours since 1979-12-31 22:00:00.0 -2", [-1, 0, 1], [[1979, 12], [1980, 1], [1980, 1]]),
        ("days since 1980-01-01 UTC", [-1, 0, 1], [[1979, 12], [1980, 1], [1980, 1]]),
        ("seconds since 1979-12-31 23:59:59.5", [0, 0.5, 1], [[1979, 12], [1980, 1], [1980, 1]]),
    ],
)
def test_units_of_time(write_winds, months, units, times, expected):
    path = write_winds(*months, time_units=units, hours=np.array(times))
    np.testing.assert_array_equal(read_fields(path, CHOICES).months, expected)


@pytest.mark.parametrize("calendar", [None, "standard", "Gregorian", "proleptic_gregorian"])
def test_calendars_that_are_read(write_winds, months, calendar):
    """From 1850 to 1985 are 33 leap days, which a calendar without them does not count."""
    units, times = "days since 1850-01-01", 135 * 365 + 33 + np.array([-1.0, 0.0, 31.0])
    path = write_winds(*months, time_units=units, hours=times, calendar=calendar)
    np.testing.assert_array_equal(
        read_fields(path, CHOICES).months, [[1984, 12], [1985, 1], [1985, 2]]
    )


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "julian", "none", ""])
def test_calendars_that_are_not_read(write_winds, months, calendar):
    path = write_winds(*months, calendar=calendar)
    message = f"winds.nc: the calendar of TIME must be one of standard, .*, got '{calendar}'"
    with pytest.raises(ValueError, match=message):
        read_fields(path, CHOICES)


def test_dates_of_the_julian_calendar(write_winds, months):
    message = r"got 'days since .*' \(the calendar 'standard' is the Julian one before 1582-10-15\)"
    days = np.array([0.0, 31.0, 59.0])
    for units, times in (("days since 1-1-1", 700_000 + days), ("days since 1600-1-1", days - 9e3)):
        path = write_winds(*months, time_units=units, hours=times)
        with pytest.raises(ValueError, match=message):
            read_fields(path, CHOICES)
    proleptic = write_winds(
        *months, time_units="days since 1-1-1", hours=days, calendar="proleptic_gregorian"
    )
    np.testing.assert_array_equal(read_fields(proleptic, CHOICES).months, [[1, 1], [1, 2], [1, 3]])


def test_a_field_without_time(write_winds, months):
    fields = read_fields(write_winds(*months[:, 0]), CHOICES)
    assert fields.months.shape == (0, 2)
    assert fields.values[0].shape == (7, 12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"names": ("UWND", "W")},
            "has no variables uwnd and vwnd or u10 and v10; it has TIME, UW",
        ),
        ({"latitude_units": "m"}, "the coordinate Y must be in degrees_north, got 'm'"),
        ({"time_units": "month"}, r"TIME must be in 'hours since .*, got 'month' \(it has no such"),
        ({"time_units": "days since 2000-13-01"}, r"got 'days since 2000-13-01' \(month must be"),
        ({"time_units": "hours since 2000-01-01 12"}, r"got 'hours .* 12' \(it has no such units"),
        ({"time_units": "hours since 2000-01-01 00:00 EST"}, r"EST' \(it has no such units"),
        ({"time_units": "days since 9999-12-01"}, r"TIME must be .* \(date value out of range\)"),
        ({"latitudes": np.linspace(-90, 95, 7)}, "winds.nc: latitudes must be .* from -90 to 95"),
        ({"longitudes": np.arange(12.0)}, "winds.nc: longitudes must be .* got 12 from 0 to 11"),
        ({"attributes": {"missing_value": 9.0}}, r"UWND has 1 missing values, .* at \(2, 3, 4\)"),
    ],
)
def test_files_that_hold_no_such_fields(write_winds, months, changes, message):
    months[0, 2, 3, 4] = 9.0
    with pytest.raises(ValueError, match=message):
        read_fields(write_winds(*months, **changes), CHOICES)


FLOAT, SHORT = np.float32, np.int16


@pytest.mark.parametrize(
    "attributes",
    [
        {"missing_value": FLOAT(-99.9), "_FillValue": FLOAT(-1e34)},
        {"missing_value": FLOAT(-1e34), "_FillValue": -99.9},
        {"missing_value": np.array([-1e300, -99.9])},
        {"valid_range": FLOAT([-60, 60])},
        {"valid_min": FLOAT(-60)},
        {"valid_max": FLOAT(60), "valid_min": FLOAT(-60)},
    ],
)
def test_all_that_says_what_is_missing(write_winds, months, attributes):
    months[0, 1, 2, 3] = -99.9
    with pytest.raises(ValueError, match=r"UWND has 1 missing values, the first at \(1, 2, 3\)"):
        read_fields(write_winds(*months, attributes=attributes), CHOICES)


@pytest.mark.parametrize(
    "attributes",
    [
        {"missing_value": SHORT(9999), "_FillValue": SHORT(-32767)},
        {"missing_value": 9999.0},
        {"valid_range": SHORT([-6000, 6000])},
        {"valid_max": SHORT(6000)},
        {"valid_range": FLOAT([-6e3, 93.0])},
        {"valid_max": FLOAT(93.0)},
    ],
)
def test_what_is_missing_of_packed_values(write_winds, months, attributes):
    """Stated of the integers; limits that are no integers are of the values."""
    packed = np.rint(100 * months)
    attributes = {"scale_factor": 0.01, "add_offset": -6.0} | attributes
    good = read_fields(write_winds(*packed, dtype="i2", attributes=attributes), CHOICES)
    np.testing.assert_allclose(good.values[0], packed[0] / 100 - 6, rtol=1e-5, atol=1e-6)
    packed[1, 1, 2, 3] = 9999
    with pytest.raises(ValueError, match=r"VWND has 1 missing values, the first at \(1, 2, 3\)"):
        read_fields(write_winds(*packed, dtype="i2", attributes=attributes), CHOICES)


@pytest.mark.parametrize(
    ("dtype", "value"), [("f4", 9.969209968386869e36), ("i2", -32767), ("i4", -2147483647)]
)
def test_what_was_never_written(write_winds, months, dtype, value):
    values = np.rint(months).astype(np.float64)
    values[0, 0, 0, 1] = value
    with pytest.raises(ValueError, match=r"UWND has 1 missing values, the first at \(0, 0, 1\)"):
        read_fields(write_winds(*values, dtype=dtype), CHOICES)
    if dtype == "i2":
        stated = {"_FillValue": SHORT(-9999)}
        held = read_fields(write_winds(*values, dtype=dtype, attributes=stated), CHOICES)
        assert held.values[0][0, 0, 1] == value


def test_times_that_are_missing(write_winds, months):
    path = write_winds(*months, hours=np.array([0.0, np.nan, 800.0]))
    with pytest.raises(ValueError, match=r"TIME must be in .* \(cannot convert .*NaN"):
        read_fields(path, CHOICES)


def test_values_that_are_not_finite(write_winds, months):
    months[1, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"VWND has 1 missing values, the first at \(0, 0, 0\)"):
        read_fields(write_winds(*months), CHOICES)


def test_variables_of_other_dimensions(write_winds, months):
    path = write_winds(*months)
    with pytest.raises(
        ValueError, match=r"dimensions must be .*, got UWND\(.*\), X\(X\)"
    ) as raised:
        read_fields(path, [("uwnd", "x")])
    assert "TIME, Y, X" in str(raised.value)
    with pytest.raises(ValueError, match=r"dimensions must be .*, got X\(X\)"):
        read_fields(path, [("X",)])


def test_files_that_are_missing_or_of_another_kind(write_winds, months, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no netCDF file at .*absent.nc"):
        read_fields(tmp_path / "absent.nc", CHOICES)
    path = tmp_path / "other.nc"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    with pytest.raises(ValueError, match=r"other.nc is netCDF 4.*nccopy"):
        read_fields(path, CHOICES)
    path.write_text("latitude,longitude\n")
    with pytest.raises(ValueError, match=r"other.nc cannot be read as a netCDF file: .*NetCDF 3"):
        read_fields(path, CHOICES)
    path.write_bytes(write_winds(*months).read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"other.nc cannot be read as a netCDF file"):
        read_fields(path, CHOICES)


def test_damage_anywhere_in_the_header_is_a_clear_error(write_winds, months):
    path = write_winds(*months)
    content = bytearray(path.read_bytes())
    random = np.random.RandomState(0)
    messages = []
    for place in range(0, 400, 3):
        damaged = bytearray(content)
        damaged[place] = random.randint(256)
        path.write_bytes(damaged)
        try:
            read_fields(path, CHOICES)
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert all("winds.nc" in message for message in messages)

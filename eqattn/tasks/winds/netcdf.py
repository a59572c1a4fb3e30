"""Reads fields on grids of latitude and longitude from files of netCDF 3.

A file follows the usual conventions: a variable has the dimensions (time,) latitude, longitude,
and the coordinates, which are named like the dimensions, are known by their units
``degrees_north``, ``degrees_east`` and ``hours since 1980-01-01 00:00:00`` (or seconds, minutes,
days), perhaps with a time zone, in the calendar of today. Values may be packed by ``scale_factor``
and ``add_offset``; they are missing where they equal ``_FillValue`` or ``missing_value``, or lie
outside of ``valid_range``, ``valid_min`` and ``valid_max``.
"""

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from eqattn.tasks.winds.sphere_grid import Grid

_HDF5 = b"\x89HDF"
_SINCE = re.compile(
    r"(second|minute|hour|day)s? since (\d+)-(\d+)-(\d+)"
    r"(?:[ T]+(\d+):(\d+)(?::(\d+(?:\.\d*)?))?)?"
    r"(?: *(?:Z|UTC|GMT|([+-])([01]?\d)(?::?([0-5]\d))?))?",
    re.ASCII,
)
_MIXED = ("standard", "gregorian")
"""Calendars that are the Julian one before `_REFORM`."""
_CALENDARS = (*_MIXED, "proleptic_gregorian")
_REFORM = datetime.datetime(1582, 10, 15)
_UNWRITTEN = {
    "f4": 9.969209968386869e36,
    "f8": 9.969209968386869e36,
    "i2": -32767,
    "i4": -(2**31) + 1,
}
"""What the library of netCDF leaves where nothing was written, if there is no ``_FillValue``."""
# What scipy and numpy raise, depending on which byte is wrong.
_DAMAGE = (EOFError, OSError, ValueError, TypeError, KeyError, IndexError, MemoryError)


@dataclass(frozen=True, eq=False)
class Fields:
    """Fields of one file on its grid, from south to north.

    Attributes:
      grid: Where they are.
      months: Year and month of each time; empty where the fields have no time.
      units: Units of each field, as the file states them; empty where it does not.
      values: The fields, one after the other.
    """

    grid: Grid
    months: Int[np.ndarray, "M 2"]
    units: tuple[str, ...]
    values: tuple[Float[np.ndarray, "*M R L"], ...]


def read_fields(path: Path, choices: Sequence[tuple[str, ...]]) -> Fields:
    """Returns the fields of a file, checked.

    Args:
      path: A file of netCDF 3 (classic or 64-bit offset).
      choices: Names that the wanted variables may have together, in any case of letters; the
        first of them that are all in the file are taken.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If it does not hold such fields; the message names what is wrong.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no netCDF file at {path}.")
    # scipy comes with jax; it is slow to import, and only needed here.
    from scipy.io import netcdf_file

    with path.open("rb") as opened:
        if opened.read(len(_HDF5)) == _HDF5:
            raise ValueError(
                f"{path} is netCDF 4, of which only the classic model can be read here; convert "
                "it: nccopy -k classic IN.nc OUT.nc."
            )
    wanted = {name.lower() for names in choices for name in names}
    try:
        with netcdf_file(path, mmap=False, maskandscale=False) as file:
            names = sorted(file.variables)
            held = {
                name: _Variable(
                    tuple(variable.dimensions),
                    _text(variable, "units", ""),
                    _text(variable, "calendar", "standard"),
                    _unpacked(variable),
                )
                for name, variable in file.variables.items()
                if variable.data.dtype.kind in "fiu"
                and (name.lower() in wanted or len(variable.dimensions) == 1)
            }
    except _DAMAGE as error:
        raise ValueError(f"{path} cannot be read as a netCDF file: {error}.") from error
    known = {name.lower(): name for name in held}
    for choice in choices:
        if all(name.lower() in known for name in choice):
            return _fields(path, held, [known[name.lower()] for name in choice])
    needed = " or ".join(" and ".join(choice) for choice in choices)
    raise ValueError(f"{path} has no variables {needed}; it has {', '.join(names) or 'none'}.")


class _Variable(NamedTuple):
    """A variable of a file; its array is NaN where values are missing."""

    dimensions: tuple[str, ...]
    units: str
    calendar: str
    array: np.ndarray


def _text(variable: Any, name: str, default: str) -> str:
    text = getattr(variable, name, default)
    return text.decode("utf-8", "replace").strip() if isinstance(text, bytes) else str(text)


def _unpacked(variable: Any) -> np.ndarray:
    """Returns the values of a variable of scipy, NaN where they are missing."""
    packed = variable.data
    is_float = packed.dtype.kind == "f"
    stored = packed if is_float else packed.astype(np.float64)
    values = stored
    if hasattr(variable, "scale_factor") or hasattr(variable, "add_offset"):
        values = stored * np.float64(getattr(variable, "scale_factor", 1.0))
        values = values + np.float64(getattr(variable, "add_offset", 0.0))
    unwritten = getattr(variable, "_FillValue", _UNWRITTEN.get(packed.dtype.str[1:], ()))
    fills = np.concatenate([np.ravel(unwritten), np.ravel(getattr(variable, "missing_value", ()))])
    lowest, highest = np.ravel(getattr(variable, "valid_range", (np.nan, np.nan)))
    limits = (
        (lowest, np.less),
        (highest, np.greater),
        (getattr(variable, "valid_min", np.nan), np.less),
        (getattr(variable, "valid_max", np.nan), np.greater),
    )
    with np.errstate(over="ignore"):
        missing = np.isin(stored, fills.astype(stored.dtype))
        for limit, is_beyond in limits:
            # Of packed integers a limit that is an integer is one of these, and else of the values.
            if is_float or np.asarray(limit).dtype.kind != "f":
                missing |= is_beyond(stored, np.asarray(limit).astype(stored.dtype))
            else:
                missing |= is_beyond(values, limit)
    return np.where(missing, np.nan, values)


def _fields(path: Path, held: Mapping[str, _Variable], names: Sequence[str]) -> Fields:
    dimensions = held[names[0]].dimensions
    if len(dimensions) not in (2, 3) or any(held[name].dimensions != dimensions for name in names):
        found = ", ".join(f"{name}({', '.join(held[name].dimensions)})" for name in names)
        raise ValueError(f"{path}: dimensions must be (time,) latitude, longitude, got {found}.")
    latitudes = _coordinate(path, held, dimensions[-2], "degrees_north")
    longitudes = _coordinate(path, held, dimensions[-1], "degrees_east")
    order = np.argsort(latitudes)
    try:
        grid = Grid(latitudes[order], longitudes)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Fields(
        grid,
        _months(path, held, dimensions[0]) if len(dimensions) == 3 else np.zeros((0, 2), np.int32),
        tuple(held[name].units for name in names),
        tuple(_values(path, name, held[name].array)[..., order, :] for name in names),
    )


def _coordinate(
    path: Path, held: Mapping[str, _Variable], name: str, unit: str
) -> Float[np.ndarray, "_"]:
    found = held[name].units if name in held else "no such variable"
    if found.lower().replace("degree_", "degrees_") != unit:
        raise ValueError(f"{path}: the coordinate {name} must be in {unit}, got {found!r}.")
    return held[name].array.astype(np.float64)


def _months(path: Path, held: Mapping[str, _Variable], name: str) -> Int[np.ndarray, "M 2"]:
    units = held[name].units if name in held else "no such variable"
    calendar = held[name].calendar.lower() if name in held else _CALENDARS[0]
    if calendar not in _CALENDARS:
        raise ValueError(
            f"{path}: the calendar of {name} must be one of {', '.join(_CALENDARS)}, got "
            f"{calendar!r}."
        )
    match = _SINCE.fullmatch(units)
    try:
        if match is None:
            raise ValueError("it has no such units")
        *numbers, second, sign, hours, minutes = match.groups()[1:]
        year, month, day, hour, minute = (int(number or 0) for number in numbers)
        whole, fraction = divmod(float(second or 0), 1)
        start = datetime.datetime(year, month, day, hour, minute, int(whole))
        ahead = datetime.timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        start += datetime.timedelta(seconds=fraction) + (ahead if sign == "-" else -ahead)
        step = datetime.timedelta(**{f"{match[1]}s": 1})
        times = [start + float(value) * step for value in held[name].array]
        if calendar in _MIXED and min([start, *times]) < _REFORM:
            raise ValueError(f"the calendar {calendar!r} is the Julian one before 1582-10-15")
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{path}: the coordinate {name} must be in 'hours since YEAR-MONTH-DAY' or the like, "
            f"got {units!r} ({error})."
        ) from None
    return np.array([(time.year, time.month) for time in times], np.int32).reshape(-1, 2)


def _values(path: Path, name: str, array: np.ndarray) -> Float[np.ndarray, "*M R L"]:
    bad = ~np.isfinite(array)
    if bad.any():
        place = tuple(int(index) for index in np.argwhere(bad)[0])
        raise ValueError(f"{path}: {name} has {bad.sum()} missing values, the first at {place}.")
    return array.astype(np.float32)

import gzip
import hashlib
import json
import os

import numpy as np
import pytest

from eqattn.tasks.winds.data import EMBEDDED_PATH, coasts, load
from eqattn.tasks.winds.forecasts import climatology, forecasts, persistence, r_squared, rms
from eqattn.tasks.winds.sphere_grid import to_components
from tools.make_winds_subset import make


@pytest.fixture(scope="module")
def winds():
    return load()


def components(winds, month=slice(None)):
    return to_components(winds.points, winds.winds[month])


def at(winds, latitude, longitude):
    """The index of the point nearest to this place, in degrees."""
    lat, lon = np.radians([latitude, longitude])
    place = [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]
    return int(np.argmax(winds.points @ place))


def test_the_record_gives_source_license_date_and_units():
    record = json.loads(EMBEDDED_PATH.with_suffix(".json").read_text(encoding="utf-8"))
    assert record["sha256"] == hashlib.sha256(EMBEDDED_PATH.read_bytes()).hexdigest()
    assert record["source"]["package"] == "ferret-datasets (Debian)"
    assert record["source"]["version"] == "7.6.0-5"
    assert record["source"]["license"] == "Ferret License Agreement"
    assert "Redistributions in binary form must" in record["source"]["license_text"]
    assert record["source"]["license_text"].endswith("TO PROVIDE TECHNICAL SUPPORT TO USERS.")
    assert record["made"].startswith("20")
    assert "in m/s" in record["data"]["winds"]
    with np.load(EMBEDDED_PATH) as file:
        assert record["arrays"].keys() == set(file.files)


def test_it_is_small_enough_for_the_wheel():
    assert EMBEDDED_PATH.stat().st_size < 1.2e6


def test_its_size(winds):
    assert winds.winds.shape == (132, 2522, 3)
    np.testing.assert_array_equal(winds.months[[0, 11, 12, -1]][:, 0], [1982, 1982, 1983, 1992])
    np.testing.assert_array_equal(winds.months[:, 1], np.tile(np.arange(1, 13), 11))
    assert winds.areas.sum() == pytest.approx(4 * np.pi, rel=1e-12)
    assert np.linalg.norm(winds.winds, axis=-1).max() < 30


def test_the_winds_are_tangent(winds):
    np.testing.assert_allclose(np.linalg.norm(winds.points, axis=-1), 1.0, rtol=1e-12)
    assert np.abs(np.sum(winds.winds * winds.points, -1)).max() < 1e-6 * np.abs(winds.winds).max()


def test_the_winds_of_the_earth(winds):
    """Trade winds, the westerlies, and the monsoon that turns with the seasons."""
    east, north = np.moveaxis(components(winds), -1, 0)
    assert east[:, at(winds, 15, -45)].mean() < -4  # north-east trades of the Atlantic
    assert north[:, at(winds, 15, -45)].mean() < -1
    assert east[:, at(winds, -50, 80)].mean() > 7  # the roaring forties
    somali = at(winds, 10, 55)
    assert north[winds.months[:, 1] == 7, somali].min() > 4
    assert north[winds.months[:, 1] == 1, somali].max() < -2


def test_the_winds_at_the_poles_are_like_those_beside(winds):
    """Which the file's own rows at the poles are not."""
    for pole, row in ((0, slice(1, 73)), (-1, slice(-73, -1))):
        here, beside = winds.winds[:, pole], winds.winds[:, row].mean(1)
        alike = np.sum(here * beside) / np.sqrt(np.sum(here**2) * np.sum(beside**2))
        assert alike > 0.85


def test_the_relief_of_the_earth(winds):
    height, land = winds.relief.T
    assert height[at(winds, 35, 90)] == pytest.approx(4.9, abs=0.2)  # Tibet, in km
    assert height[0] > 2.5  # the south pole
    assert land[0] == 1.0
    assert height[-1] == land[-1] == 0.0  # the Arctic
    assert land[at(winds, 0, -140)] == 0.0
    assert winds.areas @ land / (4 * np.pi) == pytest.approx(0.29, abs=0.01)
    assert 0 < land[at(winds, 0, 10)] < 1  # a coast


def test_coasts_are_between_land_and_sea(winds):
    lines = coasts().reshape(-1, 3, 2)
    assert np.isnan(lines[:, 2]).all()
    assert np.abs(lines[:, :2, 0]).max() <= 180
    assert np.abs(lines[:, :2, 1]).max() <= 90
    np.testing.assert_allclose(np.abs(lines[:, 1] - lines[:, 0]).sum(axis=1), 2.0, atol=1e-4)
    middles = lines[:, :2].mean(axis=1)

    def is_coast_near(latitude, longitude):
        return np.abs(middles - [longitude, latitude]).max(axis=1).min() < 3

    assert is_coast_near(38, -9)  # Lisbon
    assert is_coast_near(-34, 18)  # Cape Town
    assert not is_coast_near(0, -140)  # the Pacific
    assert not is_coast_near(50, 70)  # Kazakhstan


def test_the_seasons_explain_most_of_the_wind_to_the_east(winds):
    """80 % of its variance over all crossings at 2.5°, a little more where 5° are averaged."""
    east = components(winds)[..., 0]
    seasons = east.reshape(11, 12, -1)
    left = np.mean((seasons - seasons.mean(0)) ** 2) / east.var()
    assert 1 - left == pytest.approx(0.822, abs=0.002)
    assert 1 - np.mean((east[1:] - east[:-1]) ** 2) / east[1:].var() == pytest.approx(
        0.692, abs=0.002
    )


@pytest.mark.parametrize(
    ("part", "of_persistence", "of_climatology"),
    [("validation", (2.933, 0.687), (2.540, 0.765)), ("test", (2.809, 0.683), (2.464, 0.756))],
)
def test_what_there_is_to_beat(winds, part, of_persistence, of_climatology):
    data = forecasts(winds, part)
    for forecast, expected in ((persistence, of_persistence), (climatology, of_climatology)):
        errors = forecast(data) - data.targets
        explained = r_squared(forecast(data), data.targets, data.areas)
        assert (rms(errors, data.areas), explained) == pytest.approx(expected, abs=1e-3)


COPYRIGHT = """Format: some
License: Ferret License Agreement

Ferret License Agreement:
 Do as you like.
 .
 AS IS.

License: GPL-2+
 Other text.
"""


@pytest.fixture
def package(tmp_path, write_winds):
    """A small stand-in for the unpacked package."""
    root = tmp_path / "package"
    data, doc = root / "usr/share/ferret-vis/data", root / "usr/share/doc/ferret-datasets"
    data.mkdir(parents=True)
    doc.mkdir(parents=True)
    random = np.random.RandomState(0)
    write_winds(*random.normal(size=(2, 2, 73, 144))).rename(data / "monthly_navy_winds.cdf")
    relief = np.full((90, 180), 1234.4)
    layout = {"latitudes": np.arange(-89.0, 90, 2), "longitudes": np.arange(21.0, 380, 2)}
    write_winds(relief, relief, names=("ROSE", "X2"), **layout).rename(data / "etopo120.cdf")
    (doc / "copyright").write_text(COPYRIGHT)
    (doc / "changelog.Debian.gz").write_bytes(gzip.compress(b"ferret-vis (1.2-3) unstable\n"))
    return root


def test_the_script_makes_the_file_and_its_record(package, tmp_path):
    path = make(package, tmp_path / "out")
    assert sorted(os.listdir(path.parent)) == ["winds_5deg.json", "winds_5deg.npz"]
    record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["content"].startswith("monthly mean winds from 1982-01 to 1982-02 at the 2522")
    assert record["source"]["version"] == "1.2-3"
    assert record["source"]["license_text"] == (
        "Ferret License Agreement:\nDo as you like.\n\nAS IS."
    )
    with np.load(path) as made, np.load(EMBEDDED_PATH) as embedded:
        assert made.files == embedded.files
        for name in made.files:
            assert made[name].dtype == embedded[name].dtype
            assert made[name].shape[1:] == embedded[name].shape[1:]
        assert made["components"].shape == (2, 2522, 2)
        assert (made["relief"] == 1234).all()


def test_the_script_wants_the_version_and_the_license(package, tmp_path):
    doc = package / "usr/share/doc/ferret-datasets"
    (doc / "copyright").write_text("License: GPL-2")
    with pytest.raises(ValueError, match="copyright holds no Ferret License Agreement"):
        make(package, tmp_path)
    (doc / "changelog.Debian.gz").write_bytes(gzip.compress(b"unknown\n"))
    with pytest.raises(ValueError, match="does not begin with a version: 'unknown'"):
        make(package, tmp_path)

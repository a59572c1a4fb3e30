import hashlib
import json

import numpy as np
import pytest

from eqattn.tasks.molecules import TARGETS, load, split
from eqattn.tasks.molecules.data import EMBEDDED_PATH

HARTREE = 27.211386


@pytest.fixture(scope="module")
def molecules():
    return load()


def test_the_record_gives_source_license_date_and_units():
    record = json.loads(EMBEDDED_PATH.with_suffix(".json").read_text(encoding="utf-8"))
    assert record["sha256"] == hashlib.sha256(EMBEDDED_PATH.read_bytes()).hexdigest()
    assert record["source"]["package"] == "qm9pack"
    assert record["source"]["version"] == "1.0.3"
    assert record["source"]["license"] == "MIT"
    assert "Permission is hereby granted" in record["source"]["license_text"]
    assert "10.1038/sdata.2014.22" in record["data"]["citation"]
    assert record["data"]["license"] == "CC0-1.0"
    assert record["made"].startswith("20")
    assert record["units"] == {target.name: target.unit for target in TARGETS.values()}


def test_it_is_small_enough_for_the_wheel():
    assert EMBEDDED_PATH.stat().st_size < 1.5e6


def test_its_size(molecules):
    assert len(molecules) == 3000
    assert list(molecules.properties) == list(TARGETS)
    assert len(np.unique(molecules.ids)) == 3000
    assert molecules.ids.min() >= 1
    assert molecules.ids.max() <= 133_885
    assert molecules.num_atoms.max() == 27
    assert set(np.unique(molecules.numbers)) == {1, 6, 7, 8, 9}


def test_cyanoacetylene_has_the_values_of_the_table(molecules):
    # Row 24 of QM9, C#CC#N; the energies of the free atoms are those of C3HN.
    (index,) = np.flatnonzero(molecules.ids == 24)
    atoms = 3 * -37.846772 - 0.500273 - 54.583861
    expected = {
        "mu": 3.792,
        "alpha": 32.66,
        "homo": -0.3102 * HARTREE,
        "lumo": -0.0543 * HARTREE,
        "gap": 0.2559 * HARTREE,
        "r2": 260.1896,
        "zpve": 0.027259 * HARTREE,
        "u0": (-169.557758 - atoms) * HARTREE,
        "cv": 12.93,
    }
    one = molecules[np.array([index])]
    for name, value in expected.items():
        np.testing.assert_allclose(one.properties[name], value, rtol=1e-12)
    np.testing.assert_array_equal(one.numbers, [6, 6, 6, 1, 7])
    np.testing.assert_array_equal(one.positions[3], np.array([-2.2517720115, 0.0, 1.0], "f4"))


def test_the_gap_is_the_difference_of_its_orbitals(molecules):
    homo, lumo, gap = (molecules.properties[name] for name in ("homo", "lumo", "gap"))
    # Each is rounded to 1e-4 hartree in the table.
    np.testing.assert_allclose(lumo - homo, gap, atol=1.51e-4 * HARTREE)


def test_thermochemistry_is_ordered(molecules):
    u0, u, h, g = (molecules.properties[name] for name in ("u0", "u", "h", "g"))
    assert (u0 < 0).all()
    assert (h < u).all()
    assert (g > h).all()


def test_atoms_are_at_chemical_distances(molecules):
    for begin, end in zip(molecules.offsets[:200], molecules.offsets[1:201], strict=True):
        positions = molecules.positions[begin:end].astype(float)
        distances = np.linalg.norm(positions[:, None] - positions, axis=-1)
        nearest = (distances + 1e3 * np.eye(len(positions))).min(axis=1)
        assert nearest.min() > 0.9
        assert nearest.max() < 1.7


def test_the_median_predictor_misses_the_gap_by_about_one_ev(molecules):
    parts = split(molecules, "embedded")
    gap = molecules.properties["gap"]
    error = np.abs(gap[parts["test"]] - np.median(gap[parts["train"]])).mean()
    assert error == pytest.approx(1.078, abs=1e-3)

"""Labels in electronvolts, references of elements, and splits of whole trajectories."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from eqattn.data.atoms import write_npz
from eqattn.data.atoms.references import element_counts, fit_references, sum_references
from eqattn.tasks.forces.data import UNITS, load, select_labels, split
from tests.tasks.forces.springs import REFERENCES, springs

EMBEDDED = Path(__file__).parents[3] / "eqattn" / "tasks" / "forces" / "embedded"
KEYS = {"energy_key": "energy", "forces_key": "forces", "unit": "eV"}


def replaced(configurations, **changes):
    return dataclasses.replace(configurations, **changes)


def test_references_are_those_of_the_elements():
    """What the formulas do not say of energies is left, whatever its mean."""
    whole = springs(400)
    counts = element_counts(whole, list(REFERENCES))
    np.testing.assert_array_equal(counts.sum(axis=1), whole.num_atoms)
    noise = 0.1 * np.random.default_rng(1).normal(size=400)
    energies = counts @ np.array(list(REFERENCES.values())) + noise
    found = fit_references(whole, energies)
    assert list(found) == ["H", "C", "S"]
    assert found == pytest.approx(REFERENCES, abs=0.02)
    left = energies - sum_references(whole, found)
    assert np.std(left) == pytest.approx(0.1, rel=0.1)


def test_references_of_one_formula_add_up_to_the_mean():
    whole = springs(1)
    many = whole[np.zeros(5, int)]
    energies = np.array([-80.0, -81.0, np.nan, -79.0, -80.0])
    found = fit_references(many, energies)
    np.testing.assert_allclose(sum_references(many, found), -80.0)
    with pytest.raises(ValueError, match="none of these configurations has a known energy"):
        fit_references(many, np.full(5, np.nan))
    with pytest.raises(ValueError, match=r"the element [HCS] has no reference energy; known"):
        sum_references(many, {"He": 1.0})


@pytest.mark.parametrize("unit", UNITS)
def test_labels_are_in_electronvolts(unit):
    whole = springs(5)
    found = select_labels(whole, **{**KEYS, "unit": unit})
    np.testing.assert_allclose(found.energies, UNITS[unit] * whole.properties["energy"])
    np.testing.assert_allclose(found.forces, UNITS[unit] * whole.atom_properties["forces"])


def test_units_are_those_of_chemistry():
    joule = 1.0 / 1.602176634e-19
    assert UNITS["kJ/mol"] == pytest.approx(1e3 * joule / 6.02214076e23, rel=1e-9)
    assert UNITS["hartree"] == pytest.approx(4.3597447222e-18 * joule, rel=1e-9)
    assert UNITS["meV"] == 1e-3


def test_large_forces_are_doubted(caplog):
    whole = springs(5)
    select_labels(whole, **KEYS)
    assert caplog.text == ""
    forces = 23.06 * whole.atom_properties["forces"]
    select_labels(replaced(whole, atom_properties={"forces": forces}), **KEYS)
    assert "eV/Å on average, which is much: are they in another unit than eV/Å?" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"energy_key": "E"}, "energy_key: no configuration has 'E'; known are energy, dipole, "),
        ({"forces_key": "F"}, "forces_key: no configuration has 'F'; .* forces of atoms"),
        ({"energy_key": "dipole"}, r"'dipole' must be one number of each configuration, got \[3\]"),
        ({"energy_key": "nothing"}, r"'nothing' is known of no configuration \(NaN\)"),
    ],
)
def test_labels_that_are_not_there_are_named(options, message):
    whole = springs(4, dipole=np.zeros((4, 3)), nothing=np.full(4, np.nan))
    with pytest.raises(ValueError, match=message):
        select_labels(whole, **KEYS | options)


def test_a_choice_has_its_labels():
    whole = select_labels(springs(6), **KEYS)
    chosen = whole[np.array([4, 1])]
    begin, end = whole.configurations.offsets[4:6]
    np.testing.assert_array_equal(chosen.energies, whole.energies[[4, 1]])
    np.testing.assert_array_equal(chosen.forces[: end - begin], whole.forces[begin:end])


def test_whole_trajectories_are_in_one_split():
    whole = springs(60, num_trajectories=10)
    parts = split(whole, "own.npz")
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 48, "validation": 6, "test": 6,
    }  # fmt: skip
    owner = whole.properties["trajectory"]
    held = [set(owner[part]) for part in parts.values()]
    assert sum(map(len, held)) == 10
    np.testing.assert_array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(60))


def test_blocks_stand_for_trajectories_where_a_file_does_not_say():
    parts = split(springs(100), "own.npz")
    assert [len(part) for part in parts.values()] == [80, 10, 10]
    assert (np.diff(parts["test"]) == 1).sum() >= 8  # two blocks of five neighbors
    with pytest.raises(ValueError, match=r"own.npz: 2 trajectories cannot be split in three"):
        split(springs(2), "own.npz")


def test_files_are_loaded(tmp_path):
    write_npz(tmp_path / "own.npz", springs(5))
    np.testing.assert_array_equal(
        load(tmp_path / "own.npz").properties["energy"], springs(5).properties["energy"]
    )


def test_the_embedded_trajectories_are_those_of_the_record():
    """Ten trajectories to train on, and frames far enough apart to tell nothing of each other."""
    whole = load("ethanol")
    record = json.loads((EMBEDDED / "ethanol.json").read_text(encoding="utf-8"))
    content = (EMBEDDED / "ethanol.npz").read_bytes()
    assert hashlib.sha256(content).hexdigest() == record["sha256"]
    parts = split(whole, "ethanol")
    assert [len(part) for part in parts.values()] == [1_000, 200, 400]
    trajectory, energy = whole.properties["trajectory"], whole.properties["energy"]
    assert len({*trajectory[parts["train"]]} & {*trajectory[parts["test"]]}) == 0
    rows = [energy[trajectory == number] for number in range(16)]
    correlations = [np.corrcoef(row[:-1], row[1:])[0, 1] for row in rows]
    assert abs(np.mean(correlations)) < 0.1
    forces = whole.atom_properties["forces"].reshape(len(whole), 9, 3)
    assert np.abs(forces.sum(axis=1)).max() < 1e-3


def test_the_record_tells_of_the_vibrations():
    """At a minimum, so that all are real: six numbers of 3 N are of motions as a whole."""
    rest = json.loads((EMBEDDED / "ethanol.json").read_text(encoding="utf-8"))["equilibrium"]
    whole = load("ethanol")
    assert len(rest["frequencies_per_cm"]) == 3 * 9 - 6
    assert min(rest["frequencies_per_cm"]) > 100
    assert sorted(rest["numbers"]) == sorted(whole.numbers[:9])
    assert np.shape(rest["positions_Å"]) == (9, 3)
    assert rest["energy_eV"] < whole.properties["energy"].min()

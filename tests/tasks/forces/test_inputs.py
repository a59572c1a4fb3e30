"""Energies and forces of configurations that no run has seen."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqattn
from eqattn.data.atoms import read_configurations, write_npz, write_xyz
from eqattn.data.atoms.references import sum_references
from eqattn.tasks.forces.data import UNITS
from eqattn.tasks.forces.inputs import NewConfigurations
from eqattn.train import predict
from tests.tasks.forces.runs import SCALE, write_run
from tests.tasks.forces.springs import REFERENCES, springs

AXES = [f"force_{axis}_eV/Å" for axis in "xyz"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("forces") / "run", unit="kcal/mol", energy_key="E")


@pytest.fixture(scope="module")
def whole():
    whole = springs(7, E=np.arange(7.0))
    whole.atom_properties["charge"] = np.arange(len(whole.numbers)) / 7
    return dataclasses.replace(whole, ids=np.array([4, 9, 2, 7, 5, 1, 30]))


@pytest.fixture(scope="module")
def table(run, whole, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "some.npz"
    write_npz(path, whole)
    return predict(run, path)


def test_a_row_is_of_an_atom(run, whole, table):
    """Of several sizes, in the order of the file; a model alone says the same of each."""
    names = ["id", "atom", "element", "energy_eV", *AXES]
    true = [f"{name}_true" for name in names[3:]]
    assert list(table.columns) == [*names, *true, "outside_training"]
    model, config = eqattn.load(run)
    new = NewConfigurations(whole, config)
    evaluate = jax.jit(model.energies_and_forces)
    forces = np.stack([table.columns[name] for name in AXES], axis=1)
    references = sum_references(whole, REFERENCES)
    for place in range(len(whole)):
        begin, end = whole.offsets[place : place + 2]
        rows = slice(begin, end)
        assert set(table.columns["id"][rows]) == {whole.ids[place]}
        np.testing.assert_array_equal(table.columns["atom"][rows], np.arange(end - begin))
        features = jnp.asarray(new._species[whole.numbers[rows]])
        points = jnp.asarray(whole.positions[rows], "float32")
        energy, force = evaluate(points, features)
        found = table.columns["energy_eV"][begin] - references[place]
        assert found == pytest.approx(SCALE * float(energy), rel=1e-4)
        np.testing.assert_allclose(forces[rows], SCALE * np.asarray(force), atol=1e-5)
    unit = UNITS["kcal/mol"]
    owner = np.repeat(np.arange(7), whole.num_atoms)
    np.testing.assert_allclose(table.columns["energy_eV_true"], unit * owner)
    np.testing.assert_allclose(
        table.columns["force_y_eV/Å_true"], unit * whole.atom_properties["forces"][:, 1]
    )
    symbols = {1: "H", 6: "C", 16: "S"}
    assert table.columns["element"].tolist() == [symbols[number] for number in whole.numbers]


def test_configurations_are_written_with_their_own_labels_beside(whole, table, tmp_path):
    """In eV; what the file says under these names is kept under another."""
    assert table.configurations is not None
    write_xyz(tmp_path / "found.extxyz", table.configurations)
    found = read_configurations(tmp_path / "found.extxyz")
    assert {*found.properties} == {"energy", "energy_true", "E"}
    assert {*found.atom_properties} == {"forces", "forces_true", "charge"}
    np.testing.assert_array_equal(found.positions, whole.positions)
    for name, values in {"energy_true": whole.properties["energy"], "E": np.arange(7.0)}.items():
        np.testing.assert_array_equal(found.properties[name], values)
    np.testing.assert_array_equal(
        found.atom_properties["forces_true"], whole.atom_properties["forces"]
    )
    np.testing.assert_array_equal(
        found.atom_properties["forces"], np.stack([table.columns[name] for name in AXES], axis=1)
    )
    np.testing.assert_array_equal(
        found.properties["energy"], table.columns["energy_eV"][whole.offsets[:-1]]
    )


def test_predictions_of_a_prediction_keep_all_labels(run, table, tmp_path):
    write_npz(tmp_path / "again.npz", table.configurations)
    again = predict(run, tmp_path / "again.npz").configurations
    assert {*again.properties} == {"energy", "energy_true", "energy_true_true", "E"}


@pytest.mark.slow
def test_members_of_an_ensemble_have_a_spread(run, whole, table, tmp_path):
    write_npz(tmp_path / "some.npz", whole)
    both = write_run(tmp_path / "both", ensemble=2)
    other = predict(write_run(tmp_path / "other", seed=1), tmp_path / "some.npz").columns
    found = predict(both, tmp_path / "some.npz")
    for name in ("energy_eV", *AXES):
        rows = [table.columns[name], other[name]]
        np.testing.assert_allclose(found.columns[name], np.mean(rows, axis=0), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(
            found.columns[f"{name}_spread"], np.std(rows, axis=0), rtol=1e-3, atol=1e-5
        )
    held = found.configurations
    spread = found.columns["energy_eV_spread"][whole.offsets[:-1]]
    np.testing.assert_array_equal(held.properties["energy_spread"], spread)
    np.testing.assert_array_equal(
        held.atom_properties["forces_spread"][:, 2], found.columns["force_z_eV/Å_spread"]
    )


def test_what_is_unlike_training_is_said(run, table, tmp_path):
    (tmp_path / "pair.xyz").write_text("2\n\nH 0 0 0\nH 0 0 1\n")
    reasons = "; ".join(table.columns["outside_training"]).split("; ")
    assert "distance H-C: not in training" in reasons
    reasons = predict(run, tmp_path / "pair.xyz").columns["outside_training"]
    assert all(reason.startswith("atoms: 2, trained on 3 to 5; ") for reason in reasons)


def test_labels_of_other_shapes_are_not_true_ones(run, tmp_path):
    whole = springs(3, E=np.zeros((3, 2)))
    del whole.atom_properties["forces"]
    whole.atom_properties["forces"] = np.zeros(len(whole.numbers))
    write_npz(tmp_path / "some.npz", whole)
    columns = predict(run, tmp_path / "some.npz").columns
    assert not any(name.endswith("_true") for name in columns)


def test_an_element_that_the_run_does_not_know_is_named(run, tmp_path):
    path = tmp_path / "some.xyz"
    path.write_text("1\n\nH 0 0 0\n2\n\nC 0 0 0\nCl 0 0 2\n")
    message = (
        r"some.xyz: configuration 1 holds the element Cl, which the run does not know; it was "
        "trained on H, C, S"
    )
    with pytest.raises(ValueError, match=message):
        predict(run, path)


def test_a_prediction_that_is_not_finite_names_its_configuration(run, whole):
    _, config = eqattn.load(run)
    predictions = {
        "energy": np.zeros(7),
        "forces": np.zeros((7, 5, 3)),
        "place": np.arange(7)[::-1],
    }
    predictions["forces"][1, 2, 0] = np.nan
    new = NewConfigurations(whole, config)
    for ask in (new.table, new.configurations):
        with pytest.raises(ValueError, match=f"configuration {whole.ids[5]}: the prediction is no"):
            ask(predictions)

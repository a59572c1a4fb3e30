import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from eqattn.config import RunConfig
from eqattn.data.atoms import write_npz
from eqattn.layers import Attention, MLPLocation
from eqattn.lift import Haar
from eqattn.models import LieTransformerConfig
from eqattn.tasks import DrawingProblem, PredictingTask, get_task
from eqattn.tasks import molecules as data
from eqattn.tasks.molecules.inputs import NewMolecules
from eqattn.tasks.molecules.presets import MoleculesOptions
from eqattn.train import load, predict, train
from eqattn.train.evaluation import make_predictor, predict_split
from eqattn.train.predict import OUTSIDE
from eqattn.train.run_folder import read_run_config
from eqattn.train.tables import write_csv
from tests.train.toy import PRESET

CONFIG = RunConfig(
    targets=("gap", "u0"),
    batch_size=8,
    steps=2,
    eval_every=2,
    num_lifts=1,
    options=MoleculesOptions(buckets=(12,)),
    model=LieTransformerConfig(
        dim=8,
        num_layers=1,
        layer=Attention(num_heads=2, location=MLPLocation(dim=4, num_layers=2, num_radial=0)),
        lift=Haar(),
    ),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on small molecules, under a lift that draws samples keyed by their ids."""
    path = tmp_path_factory.mktemp("predict")
    molecules = data.load()
    molecules = molecules[np.argsort(molecules.num_atoms, kind="stable")[:50]]
    write_npz(path / "small.npz", molecules)
    train(dataclasses.replace(CONFIG, data=str(path / "small.npz")), path / "run")
    return path / "run", molecules


@pytest.fixture(scope="module")
def whole(trained):
    """Predictions for all of them."""
    path, _ = trained
    return predict(path, path.parent / "small.npz", num_lifts=1)


def test_predictions_are_those_of_the_evaluation(trained, whole):
    from flax import nnx

    path, molecules = trained
    names = ["id", "gap_eV", "u0_eV", "gap_eV_true", "u0_eV_true", "outside_training"]
    assert list(whole.columns) == names
    assert len(whole) == 50
    assert whole.steps == 2
    np.testing.assert_array_equal(whole.columns["id"], molecules.ids)
    np.testing.assert_array_equal(whole.columns["u0_eV_true"], molecules.properties["u0"])
    model, config = load(path)
    problem = get_task("molecules").prepare(config, config.standardization)
    graphdef, params = nnx.split(model, nnx.Param)
    predictor = make_predictor(graphdef, problem, 1)
    predictions = predict_split(predictor, params, problem, "test")
    scored = {s.target: s.value for s in problem.score("test", predictions)}
    test = data.split(molecules, "a file")["test"]
    for name in ("gap", "u0"):
        errors = np.abs(whole.columns[f"{name}_eV"] - whole.columns[f"{name}_eV_true"])
        assert np.mean(errors[test]) == pytest.approx(scored[name], rel=1e-4)


def test_a_prediction_depends_neither_on_the_order_nor_on_the_others(trained, whole, tmp_path):
    path, molecules = trained
    whole = whole.columns
    order = np.array([45, 3, 41, 4])  # of 12 and 9 atoms; those of 9 are padded to 10 in the whole
    np.testing.assert_array_equal(molecules.num_atoms[order], [12, 9, 12, 9])
    write_npz(tmp_path / "some.npz", dataclasses.replace(molecules[order], properties={}))
    some = predict(path, tmp_path / "some.npz").columns
    assert list(some) == ["id", "gap_eV", "u0_eV", "outside_training"]
    np.testing.assert_array_equal(some["id"], whole["id"][order])
    np.testing.assert_allclose(some["u0_eV"], whole["u0_eV"][order], rtol=1e-5)
    write_csv(tmp_path / "some.csv", some)
    with (tmp_path / "some.csv").open() as file:
        assert [float(row["gap_eV"]) for row in csv.DictReader(file)] == some["gap_eV"].tolist()


PAIR = "2\n\nC 0 0 0\nC 0 0 {}\n"


def test_what_lies_outside_training_is_said(trained, tmp_path, caplog):
    path, molecules = trained
    assert load(path)[1].training_ranges
    inside = data.split(molecules, "a file")["train"][0]
    write_npz(tmp_path / "inside.npz", molecules[np.array([inside])])
    assert predict(path, tmp_path / "inside.npz").columns[OUTSIDE].tolist() == [""]
    assert caplog.text == ""
    file = tmp_path / "strange.xyz"
    file.write_text(PAIR.format("1e4") + PAIR.format(0))
    table = predict(path, file).columns
    far, same = table[OUTSIDE]
    assert "distance C-C: 1e+04 Å, trained on " in far
    assert "distance C-C: 0 Å, trained on " in same
    assert np.isfinite(table["gap_eV"]).all()
    assert caplog.text.count("\n") == 1
    assert "2 of 2 examples lie outside what the run was trained on" in caplog.text


def test_a_run_without_a_record_says_so(trained, tmp_path, caplog):
    path, _ = trained
    shutil.copytree(path, tmp_path / "old")
    config = json.loads((path / "config.json").read_text())
    del config["training_ranges"]
    (tmp_path / "old" / "config.json").write_text(json.dumps(config))
    (tmp_path / "pair.xyz").write_text(PAIR.format("1e4"))
    table = predict(tmp_path / "old", tmp_path / "pair.xyz").columns
    assert list(table) == ["id", "gap_eV", "u0_eV"]
    assert caplog.text.count("\n") == 1
    assert "has no record of what it was trained on" in caplog.text


def test_elements_that_models_do_not_know_are_refused(trained):
    file = Path(__file__).parents[1] / "data" / "atoms" / "cases" / "own_data.extxyz"
    with pytest.raises(
        ValueError, match=r"own_data\.extxyz: molecule 1 holds the element S, which"
    ):
        predict(trained[0], file)


def test_a_prediction_that_is_not_finite_names_its_molecule(trained):
    path, molecules = trained
    _, config = load(path)
    new = NewMolecules(molecules[:3], config)
    predictions = {"id": molecules.ids[:3], "prediction": np.array([[1, 1], [1, np.nan], [1, 1]])}
    with pytest.raises(ValueError, match=f"molecule {molecules.ids[1]}: the prediction is not fin"):
        new.table(predictions)


def test_a_task_that_cannot_is_one_clear_error(tmp_path):
    train(PRESET, tmp_path / "run")
    with pytest.raises(NotImplementedError, match="the task 'toy' does not predict for the examp"):
        predict(tmp_path / "run", "any.xyz")


def test_molecules_offer_all_there_is():
    task = get_task("molecules")
    assert isinstance(task, PredictingTask)
    assert isinstance(task.prepare(CONFIG), DrawingProblem)


def test_a_prediction_that_is_not_finite_is_refused(trained):
    path, molecules = trained
    examples = NewMolecules(molecules[:2], read_run_config(path))
    predictions = {"id": molecules.ids[:2], "prediction": np.array([[0.0, 1.0], [np.nan, 1.0]])}
    with pytest.raises(ValueError, match=f"{molecules.ids[1]}: the prediction is not finite"):
        examples.table(predictions)

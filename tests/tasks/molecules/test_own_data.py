"""Molecules of one's own: any elements, and any property of molecules or of their atoms."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.config import RunConfig, SavedConfig
from eqattn.data.atoms import Configurations, write_npz, write_xyz
from eqattn.layers import Attention, MLPLocation
from eqattn.layers.steerable import FieldLayer
from eqattn.models import FieldNetworkConfig, LieTransformerConfig
from eqattn.plot import learning_curve
from eqattn.tasks import get_task
from eqattn.tasks.molecules import split
from eqattn.tasks.molecules.inputs import NewMolecules
from eqattn.tasks.molecules.presets import MoleculesOptions
from eqattn.train import evaluate, predict, train
from eqattn.train.evaluation import make_predictor, predict_split
from eqattn.train.model_files import load_checkpoint
from eqattn.train.run_folder import read_run_config
from tests.tasks.losses import mean_loss

TASK = get_task("molecules")
MODEL = LieTransformerConfig(
    dim=8, num_layers=1, layer=Attention(num_heads=2, location=MLPLocation(dim=4, num_radial=2))
)


def own(num=40, elements=(1, 8, 16), seed=0):
    """Molecules of two to four atoms, of whose sizes and charges some are not known."""
    rng = np.random.default_rng(seed)
    num_atoms = rng.integers(2, 5, num).astype(np.int32)
    total = int(num_atoms.sum())
    charge, size = rng.normal(size=total), rng.normal(size=num)
    size[3], charge[: num_atoms[0]], charge[-1] = np.nan, np.nan, np.nan
    numbers = rng.choice(elements, total).astype(np.uint8)
    numbers[: len(elements)] = elements
    return Configurations(
        ids=np.arange(num),
        num_atoms=num_atoms,
        numbers=numbers,
        positions=2.0 * rng.normal(size=(total, 3)),
        cells=np.zeros((num, 3, 3)),
        periodic=np.zeros((num, 3), bool),
        properties={"size": size, "dipole": rng.normal(size=(num, 3))},
        atom_properties={"charge": charge},
    )


def config_of(path, **changes):
    given = {
        "data": str(path),
        "targets": ("size",),
        "batch_size": 4,
        "steps": 2,
        "eval_every": 2,
        "options": MoleculesOptions(buckets=(8,), unit=("Å",)),
        "model": MODEL,
    }
    return RunConfig(**given | changes)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "mine.extxyz"
    write_xyz(path, own())
    return path


@pytest.fixture(scope="module")
def run(file):
    """A run on a property of molecules."""
    train(config_of(file), file.parent / "run")
    return file.parent / "run"


@pytest.fixture(scope="module")
def run_of_atoms(file):
    """A run on a property of atoms."""
    model = dataclasses.replace(MODEL, output="per_point")
    options = MoleculesOptions(buckets=(8,), unit=("e",))
    train(config_of(file, targets=("charge",), model=model, options=options), file.parent / "atoms")
    return file.parent / "atoms"


def test_a_run_holds_its_elements_and_its_unit(run):
    saved = json.loads((run / "config.json").read_text())
    assert saved["elements"] == ["H", "O", "S"]
    assert saved["in_features"] == 3
    assert saved["unknown_labels"] == {"test": {"size": 1}}
    (constants,) = read_run_config(run).standardization
    assert (constants.target, constants.unit) == ("size", "Å")
    (panel,) = learning_curve(run, read_run_config(run))[1:]
    assert panel.y_label == "MAE [Å]"
    assert [score.unit for score in evaluate(run).scores] == ["Å"]


def test_a_split_may_not_hold_an_element_that_training_lacks(tmp_path):
    whole = own()
    parts = split(whole, "own.npz")
    numbers = whole.numbers.copy()
    numbers[whole.offsets[parts["test"][0]]] = 92
    path = tmp_path / "uranium.npz"
    write_npz(path, dataclasses.replace(whole, numbers=numbers))
    message = rf"test split: molecule {parts['test'][0]} holds the element U, .* on H, O, S"
    with pytest.raises(ValueError, match=message):
        TASK.prepare(config_of(path))


def test_runs_of_earlier_versions_keep_their_features(small_npz):
    """They were trained on files too, and have no record of elements."""
    config = config_of(small_npz, targets=("gap",), options=MoleculesOptions(buckets=(8,)))
    now = TASK.prepare(config)
    assert (now.in_features, now.elements) == (5, ("H", "C", "N", "O", "F"))
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(RunConfig)}
    before = TASK.prepare(SavedConfig(**values), now.standardization)
    assert (before.in_features, before.elements) == (15, ())


def test_how_far_members_of_an_ensemble_differ_is_told(run, run_of_atoms):
    new = own(num=4, seed=1)
    for folder, num, name in ((run, 4, "size_Å"), (run_of_atoms, len(new.numbers), "charge_e")):
        config = read_run_config(folder)
        shape = (4, 1) if num == 4 else (4, 4, 1)
        spread = np.arange(1.0, 1.0 + np.prod(shape)).reshape(shape)
        found = {"id": new.ids, "prediction": np.zeros(shape), "prediction_spread": spread}
        column = NewMolecules(new, config).table(found)[f"{name}_spread"]
        mask = np.arange(4) < new.num_atoms[:, None]
        expected = spread[..., 0] if num == 4 else spread[mask][:, 0]
        np.testing.assert_allclose(column, config.standardization[0].scale * expected)
        assert len(column) == num


@pytest.mark.parametrize("name", ["new.extxyz", "new.npz"])
def test_predictions_stand_beside_what_a_file_says(run, tmp_path, name):
    new = own(num=5, seed=1)
    write = write_npz if name.endswith("npz") else write_xyz
    write(tmp_path / name, new)
    table = predict(run, tmp_path / name)
    assert list(table.columns) == ["id", "size_Å", "size_Å_true", "outside_training"]
    np.testing.assert_array_equal(table.columns["size_Å_true"], new.properties["size"])
    bare = dataclasses.replace(new, properties={}, atom_properties={})
    write_xyz(tmp_path / "bare.xyz", bare)
    again = predict(run, tmp_path / "bare.xyz").columns
    assert list(again) == ["id", "size_Å", "outside_training"]
    np.testing.assert_allclose(again["size_Å"], table.columns["size_Å"], rtol=1e-5)
    assert np.ptp(again["size_Å"]) > 0


def test_predictions_of_files_that_ase_reads(run, tmp_path):
    ase_io = pytest.importorskip("ase.io")
    (tmp_path / "a.xyz").write_text("3\n\nO 0 0 0.119\nH 0 0.763 -0.477\nS 0 -0.763 -0.477\n")
    ase_io.write(tmp_path / "a.traj", ase_io.read(tmp_path / "a.xyz"))
    one, other = (predict(run, tmp_path / name).columns for name in ("a.xyz", "a.traj"))
    np.testing.assert_allclose(one["size_Å"], other["size_Å"], rtol=1e-6)


def test_elements_that_a_run_does_not_know_are_refused(run, tmp_path):
    write_xyz(tmp_path / "new.xyz", own(elements=(1, 6)))
    message = r"new\.xyz: molecule 0 holds the element C, .* it was trained on H, O, S"
    with pytest.raises(ValueError, match=message):
        predict(run, tmp_path / "new.xyz")


def test_predictions_of_atoms_have_a_row_each(run_of_atoms, tmp_path):
    new = own(num=6, seed=1)
    write_npz(tmp_path / "new.npz", dataclasses.replace(new, ids=np.array([7, 3, 9, 1, 4, 2])))
    table = predict(run_of_atoms, tmp_path / "new.npz")
    columns = table.columns
    names = ["id", "atom", "element", "charge_e", "charge_e_true", "outside_training"]
    assert list(columns) == names
    assert (len(table), table.num_examples) == (len(new.numbers), 6)
    np.testing.assert_array_equal(columns["id"], np.repeat([7, 3, 9, 1, 4, 2], new.num_atoms))
    counted = np.concatenate([np.arange(size) for size in new.num_atoms])
    np.testing.assert_array_equal(columns["atom"], counted)
    symbols = {1: "H", 8: "O", 16: "S"}
    assert columns["element"].tolist() == [symbols[int(z)] for z in new.numbers]
    np.testing.assert_array_equal(columns["charge_e_true"], new.atom_properties["charge"])
    # Atoms of one molecule, alone in a file, in another order: the same predictions.
    begin, end = new.offsets[2:4]
    one = new[np.array([2])]
    turned = dataclasses.replace(
        one,
        numbers=one.numbers[::-1],
        positions=one.positions[::-1],
        atom_properties={"charge": one.atom_properties["charge"][::-1]},
    )
    write_npz(tmp_path / "one.npz", turned)
    again = predict(run_of_atoms, tmp_path / "one.npz").columns["charge_e"]
    np.testing.assert_allclose(again[::-1], columns["charge_e"][begin:end], rtol=1e-4)
    assert np.ptp(columns["charge_e"]) > 0


def test_scores_of_atoms_are_means_over_atoms(run_of_atoms, file):
    """And the constant is the median of the atoms of the training split."""
    (score,) = evaluate(run_of_atoms, split="test").scores
    whole = own()
    parts, owners = split(whole, "own.npz"), whole.owners
    charge = whole.atom_properties["charge"]
    train_charges = charge[np.isin(owners, parts["train"])]
    test = np.isin(owners, parts["test"])
    expected = np.nanmean(np.abs(charge[test] - np.nanmedian(train_charges)))
    assert score.baseline == pytest.approx(expected)
    table = predict(run_of_atoms, file).columns
    errors = np.abs(table["charge_e"] - table["charge_e_true"])[test]
    assert score.value == pytest.approx(np.nanmean(errors), rel=1e-4)


def test_losses_of_atoms_are_means_over_atoms(run_of_atoms):
    model, config, _ = load_checkpoint(run_of_atoms)
    problem = TASK.prepare(config, config.standardization)
    unknown = sum(sum(counts.values()) for counts in problem.unknown_labels.values())
    assert unknown == np.isnan(own().atom_properties["charge"]).sum()
    assert sum(problem.num_examples.values()) == 39  # of one of 40 nothing is known
    graphdef, params = nnx.split(model, nnx.Param)
    predictor = make_predictor(graphdef, problem, 1)
    predictions = predict_split(predictor, params, problem, "test")
    known = predictions["known"]
    errors = np.abs(predictions["prediction"] - predictions["target"])
    np.testing.assert_array_equal(predictions["num_known"], known.sum((1, 2)))
    each = (errors * known).sum((1, 2)) / known.sum((1, 2))
    np.testing.assert_allclose(predictions["loss"], each, rtol=1e-5)
    (batch,) = problem.evaluation_batches("test")
    loss = mean_loss(problem, model, jax.tree.map(jnp.asarray, batch), jax.random.key(0))
    rows = [0, 1, 2, 2]  # the last one fills the batch
    np.testing.assert_allclose(loss, errors[rows][known[rows]].mean(), rtol=1e-5)
    (panel,) = problem.figures("test", predictions)["predictions"]
    assert (panel.title, panel.x_label) == ("charge", "true charge [e]")
    assert panel.note.endswith(f"{known.sum()} test atoms")


def test_networks_of_fields_take_any_elements(file):
    model = FieldNetworkConfig(
        input_field="scalars",
        hidden_field="4x scalar + 4x vector",
        num_layers=1,
        layer=FieldLayer(num_heads=2),
        output="invariant",
    )
    assert TASK.prepare(config_of(file, model=model)).in_features == 3
    wrong = dataclasses.replace(model, input_field="15x scalar")
    with pytest.raises(ValueError, match="input_field must be '3x scalar' for molecules, got '15x"):
        TASK.prepare(config_of(file, model=wrong))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": ("mass",)}, "'mass' is unknown; known are size, dipole, charge of atoms"),
        ({"targets": ("dipole",)}, r"'dipole' has the shape \[3\] for each molecule"),
        ({"targets": ("charge",)}, "it must have the output 'per_point'"),
        ({"options": MoleculesOptions(unit=("a", "b"))}, "unit must be one for all or one for"),
        ({"data": "embedded", "targets": ("gap",)}, "unit must be given for a file only, got Å"),
    ],
)
def test_what_a_file_does_not_say_is_named(file, changes, message):
    with pytest.raises(ValueError, match=message):
        TASK.prepare(config_of(file, **changes))

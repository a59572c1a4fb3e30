import csv
import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.cli import main
from eqattn.config import SavedConfig, Standardization
from eqattn.groups import SE, SO, E, T
from eqattn.layers import Attention, MLPLocation
from eqattn.lift import Frames
from eqattn.models import (
    FieldModelConfig,
    HamiltonianNetworkConfig,
    LieTransformerConfig,
    PotentialMLPConfig,
)
from eqattn.spaces import euclidean, sphere
from eqattn.tasks import PredictingTask, Problem, Task, get_preset, get_task
from eqattn.tasks.points.data import generate
from eqattn.tasks.points.task import PointsOptions
from eqattn.train import evaluate, load, train
from tests.tasks.losses import mean_loss

NETWORK = LieTransformerConfig(
    space=euclidean(SE(2)),
    dim=8,
    num_layers=1,
    layer=Attention(num_heads=2, location=MLPLocation(dim=4, num_radial=2, cutoff=2.0)),
)
DEMO = get_preset("points", "demo")
SMALL = DEMO.model.replace_network(dim=8, num_layers=1)
LABELED = dataclasses.replace(
    DEMO, targets=("class",), model=NETWORK, batch_size=8, steps=4, eval_every=2
)


@pytest.fixture
def labeled(tmp_path):
    """Two or three points in the plane: the class is their number less two."""
    random = np.random.default_rng(0)
    labels = np.arange(60) % 2
    mask = np.arange(3) < 2 + labels[:, None]
    file = tmp_path / "labeled.npz"
    np.savez(file, points=random.normal(size=(60, 3, 2)), mask=mask, labels=labels)
    return str(file)


def test_it_is_a_task_whose_demo_sees_vectors():
    task = get_task("points")
    assert isinstance(task, Task)
    assert isinstance(task, PredictingTask)
    problem = task.prepare(DEMO)
    assert isinstance(problem, Problem)
    assert (problem.in_features, problem.out_features) == (4, 1)
    assert problem.num_examples == {"train": 1600, "validation": 200, "test": 200}


@pytest.mark.slow
def test_the_model_is_invariant_where_vectors_turn_along():
    sets = generate(8)
    model = SMALL.build(4, 1, rngs=nnx.Rngs(0))
    u = E(3).sample(jax.random.key(0))
    points, features = jnp.asarray(sets.points), jnp.asarray(sets.features)
    moved = E(3).act(u, points)
    turned = model.input_field.transform(model.space, u, features)
    predict = jax.jit(lambda model, *inputs: model(*inputs))
    here, there = predict(model, points, features), predict(model, moved, turned)
    assert here.shape == (8, 1)
    np.testing.assert_allclose(there, here, atol=2e-5)
    assert np.std(here) > 1e-3
    control = predict(model, moved, features)
    assert np.abs(control - here).max() > 1e-3


def test_the_loss_is_the_mean_square_and_scores_are_in_units_of_the_values():
    problem = get_task("points").prepare(dataclasses.replace(DEMO, model=SMALL))
    model = SMALL.build(4, 1, rngs=nnx.Rngs(0))
    batch = next(iter(problem.evaluation_batches("test")))

    @jax.jit
    def predict(batch):
        loss = mean_loss(problem, model, batch, jax.random.key(0))
        return loss, problem.predict(model, batch, 1)

    loss, found = predict(batch)
    kept = {name: np.asarray(array) for name, array in found.items()}
    expected = np.mean((kept["prediction"] - kept["target"]) ** 2)
    # The lift draws axes where they are not separated, with another key.
    np.testing.assert_allclose(loss, expected, rtol=0.05)
    (score, drawn) = problem.score("test", kept)
    scale = problem.standardization[0].scale
    expected = scale * np.mean(np.abs(kept["prediction"] - kept["target"]))
    assert score.value == pytest.approx(expected, rel=1e-4)
    assert score.baseline == pytest.approx(np.mean(np.abs(kept["target"])) * scale, rel=0.2)
    assert drawn.metric == "frames_drawn"


def test_classes_from_a_file_are_trained_scored_and_predicted(labeled, tmp_path, capsys):
    words = ["train", "points", "--data", labeled, "--targets", "class", "--steps", "4"]
    words += ["--eval-every", "2", "--batch-size", "8", "--out", str(tmp_path / "run")]
    words += ["--model", repr(NETWORK), "--model.layer.num-heads", "4"]
    assert main(words) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["target"], result["metric"]) == ("class", "error")
    assert 0 < result["baseline"] < 1
    assert evaluate(tmp_path / "run").scores[0].value == result["value"]
    model, config = load(tmp_path / "run")
    assert config.model.network.layer.num_heads == 4
    assert (model.in_features, model.out_features) == (1, 2)
    out = tmp_path / "found.csv"
    assert main(["predict", str(tmp_path / "run"), labeled, "--out", str(out)]) == 0
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60
    odds = np.array([[float(row["probability_0"]), float(row["probability_1"])] for row in rows])
    np.testing.assert_allclose(odds.sum(axis=1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(odds.argmax(axis=1), [int(row["class"]) for row in rows])


def new_sets(file):
    """Five point sets with vectors, in a file."""
    sets = generate(5, seed=3)
    np.savez(
        file,
        points=sets.points,
        scalars=sets.features[..., :1],
        vectors=sets.features[..., None, 1:],
        ids=np.array([4, 2, 8, 6, 1]),
    )


@pytest.mark.slow
def test_a_trained_model_predicts_for_a_file(tmp_path):
    config = dataclasses.replace(DEMO, model=SMALL, steps=2, eval_every=2)
    train(config, tmp_path / "run")
    model, saved = load(tmp_path / "run")
    new_sets(tmp_path / "new.npz")
    check_predictions(tmp_path / "new.npz", model, saved)


def test_numbers_are_predicted_in_their_units(tmp_path):
    """By a model that was not trained."""
    network = dataclasses.replace(NETWORK, space=T3, output="per_point")
    model = dataclasses.replace(DEMO.model, model=network)
    saved = {f.name: getattr(DEMO, f.name) for f in dataclasses.fields(DEMO)} | {"model": model}
    constants = (Standardization("value", "1", 3.0, 0.5),)
    saved = SavedConfig(**saved, in_features=4, out_features=1, standardization=constants)
    new_sets(tmp_path / "new.npz")
    model = model.build(4, 1, rngs=nnx.Rngs(0))
    check_predictions(tmp_path / "new.npz", model, saved)


def check_predictions(file, model, saved):
    """The table, its units, and what has no place in it."""
    sets = generate(5, seed=3)
    examples = get_task("points").read_examples(file, saved)
    (batch,) = examples.batches()
    predict = jax.jit(lambda batch: examples.predict(model, batch, 1)["prediction"])
    found = np.asarray(predict(batch))
    table = examples.table({"prediction": found})
    np.testing.assert_array_equal(table["id"], [4, 2, 8, 6, 1])
    constants = saved.standardization[0]
    np.testing.assert_allclose(table["value"], found[:, 0] * constants.scale + constants.mean)
    with pytest.raises(ValueError, match="point set 2: the prediction is not finite"):
        examples.table({"prediction": np.where(np.arange(5) == 1, np.nan, found.T).T})
    np.savez(file, points=sets.points)
    with pytest.raises(
        ValueError, match=r"input_field must be '1x scalar . 0x vector', as the points"
    ):
        get_task("points").read_examples(file, saved)


def refused(labeled, message, **changes):
    config = dataclasses.replace(LABELED, data=labeled, **changes)
    with pytest.raises(ValueError, match=message):
        get_task("points").prepare(config)


def test_what_a_run_cannot_have(labeled, tmp_path):
    refused(labeled, "targets must be class for the data .*, got value", targets=("value",))
    refused(labeled, "a last axis of size 3", model=dataclasses.replace(NETWORK, space=T3))
    per_point = dataclasses.replace(NETWORK, output="per_point")
    refused(labeled, "output must be 'invariant' for points, got 'per_point'", model=per_point)
    refused(labeled, "model must lift points", model=PotentialMLPConfig())
    hamiltonian = HamiltonianNetworkConfig(potential=NETWORK)
    refused(labeled, "model must lift points, .* got HamiltonianNetworkConfig", model=hamiltonian)
    unpooled = FieldModelConfig(model=per_point)
    refused(labeled, "pooled must be True for points", model=unpooled)
    nothing = tmp_path / "nothing.npz"
    np.savez(nothing, points=np.ones((20, 3, 2)))
    refused(str(nothing), "must hold 'labels' or 'values', got neither")
    both = tmp_path / "both.npz"
    np.savez(both, points=np.ones((20, 3, 2)), labels=np.arange(20), values=np.ones((20, 1)))
    refused(str(both), "must hold 'labels' or 'values', got both")
    refused("generated", "model must be a FieldModelConfig for points with vectors", model=SPACE)
    smoothed = PointsOptions(label_smoothing=0.1)
    changes = {"targets": ("value",), "model": DEMO.model, "options": smoothed}
    refused("generated", "label_smoothing is for classes, got 0.1 for values", **changes)
    np.savez(nothing, points=np.ones((20, 3, 2)), labels=np.zeros(20, int))
    refused(str(nothing), "all 'labels' are 0, which tells nothing")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("vector + scalar", "input_field must be '1x scalar . 1x vector', .* 'vector . scalar'"),
        ("4x scalar", "input_field must be '1x scalar . 1x vector', .* got '4x scalar'"),
    ],
)
def test_fields_are_those_of_the_file_and_not_only_as_many(fields, message):
    model = dataclasses.replace(DEMO.model, input_field=fields)
    refused("generated", message, targets=("value",), model=model)


def test_a_run_of_vectors_takes_no_file_of_scalars(tmp_path):
    file = tmp_path / "new.npz"
    np.savez(file, points=np.ones((5, 6, 3)), scalars=np.ones((5, 6, 4)))
    saved = SavedConfig(**{f.name: getattr(DEMO, f.name) for f in dataclasses.fields(DEMO)})
    saved = dataclasses.replace(saved, in_features=4, out_features=1)
    with pytest.raises(ValueError, match="input_field must be '4x scalar"):
        get_task("points").read_examples(file, saved)
    with pytest.raises(FileNotFoundError, match="'generated': there is no such file"):
        get_task("points").read_examples(Path("generated"), saved)


def test_vectors_have_the_components_of_the_space(tmp_path):
    file = tmp_path / "flat.npz"
    vectors = np.ones((20, 4, 1, 2))
    np.savez(file, points=np.ones((20, 4, 3)), vectors=vectors, values=np.arange(20.0)[:, None])
    message = "'vectors' must have 3 components on 'euclidean.E.3..', got 2"
    refused(str(file), message, targets=("value",), model=DEMO.model)


T3 = euclidean(T(3))
SPACE = dataclasses.replace(NETWORK, space=euclidean(E(3)), lift=Frames())


def test_points_on_a_sphere_must_lie_on_it(tmp_path):
    points = np.random.default_rng(0).normal(size=(20, 4, 3))
    file = tmp_path / "globe.npz"
    model = dataclasses.replace(NETWORK, space=sphere(SO(3)))
    np.savez(file, points=points, labels=np.arange(20) % 2)
    refused(str(file), "sphere", model=model)
    on_it = points / np.linalg.norm(points, axis=-1, keepdims=True)
    np.savez(file, points=on_it, labels=np.arange(20) % 2)
    config = dataclasses.replace(LABELED, data=str(file), model=model)
    assert get_task("points").prepare(config).out_features == 2


@pytest.mark.parametrize("fields", ["vector", "scalar + vector", "irrep(2)"])
def test_only_scalars_are_pooled(fields):
    model = dataclasses.replace(SMALL, output_field=fields)
    with pytest.raises(ValueError, match="output_field must be scalars to be pooled, got"):
        model.build(4, model_size(fields), rngs=nnx.Rngs(0))


def model_size(fields):
    return {"vector": 3, "scalar + vector": 4, "irrep(2)": 5}[fields]

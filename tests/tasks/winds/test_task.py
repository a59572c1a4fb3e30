import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import groups, spaces
from eqattn.attention import NearestNeighbors
from eqattn.config import OptimizerConfig, RunConfig, Standardization
from eqattn.layers import Attention, MLPLocation, RepresentationAttention
from eqattn.layers.steerable import FieldLayer
from eqattn.lift import Haar, NoLift
from eqattn.models import (
    FieldModel,
    FieldNetworkConfig,
    HamiltonianNetworkConfig,
    LieConvNetworkConfig,
    LieTransformerConfig,
)
from eqattn.tasks import DrawingProblem, HasBaseline, Problem, get_preset, get_task
from eqattn.tasks.winds import batches as wind_batches
from eqattn.tasks.winds import data as winds
from eqattn.tasks.winds import forecasts as wind_forecasts
from eqattn.tasks.winds.model import (
    PLAIN,
    SYMMETRIC,
    WindFrames,
    WindModel,
    WindModelConfig,
    wind_frames,
)
from eqattn.tasks.winds.task import WindsOptions
from eqattn.train import load, train
from tests.grids import some
from tests.tasks.losses import mean_loss

MODEL = WindModelConfig(
    inner=LieTransformerConfig(
        space=SYMMETRIC,
        lift=WindFrames(),
        dim=8,
        num_layers=1,
        layer=Attention(num_heads=2, location=MLPLocation(dim=4, num_layers=2, num_radial=0)),
        output="per_point",
    )
)
TINY = RunConfig(
    task="winds",
    targets=("wind",),
    batch_size=12,
    steps=2,
    eval_every=1,
    model=MODEL,
    optimizer=OptimizerConfig(warmup_steps=0),
    options=WindsOptions(num_points=12, step=45.0),
)

HAAR = dataclasses.replace(TINY, model=MODEL.replace_network(lift=Haar(2)))
FIELD_NETWORK = FieldNetworkConfig(
    space=SYMMETRIC,
    input_field="3x vector + 4x scalar",
    output_field="vector + scalar",
    hidden_field="8x scalar + 4x vector",
    num_layers=1,
    layer=FieldLayer(num_heads=2, location=MLPLocation(dim=4, num_layers=2, num_radial=4)),
    products=True,
)
FIELDS = dataclasses.replace(TINY, model=WindModelConfig(inner=FIELD_NETWORK))


@pytest.fixture(scope="module")
def task():
    return get_task("winds")


@pytest.fixture(scope="module")
def problem(task):
    return task.prepare(TINY)


@pytest.fixture(scope="module")
def data():
    return wind_forecasts.forecasts(winds.load(step=45.0), "test")


def predictor(task, config):
    """The predictions of a model with random parameters, as a program."""
    problem = task.prepare(config)
    model = config.model.build(problem.in_features, problem.out_features, rngs=nnx.Rngs(0))
    return jax.jit(lambda batch: problem.predict(model, batch, config.num_lifts))


@pytest.fixture(scope="module")
def predict(task):
    return predictor(task, TINY)


@pytest.fixture(scope="module")
def found(task, predict):
    """What a model of each kind predicts in the test."""
    out = {}
    runs = {"frames": TINY, "haar": HAAR, "plain": task.baseline(TINY)}
    runs |= {"fields": FIELDS, "plain_fields": task.baseline(FIELDS)}
    for name, config in runs.items():
        problem = task.prepare(config)
        run = predict if name == "frames" else predictor(task, config)
        batches = [run(batch) for batch in problem.evaluation_batches("test")]
        out[name] = {
            key: np.concatenate([np.asarray(batch[key]) for batch in batches]) for key in batches[0]
        }
    return out


def test_it_is_a_problem_of_a_task_with_a_baseline(problem, task):
    assert isinstance(problem, Problem)
    assert isinstance(problem, DrawingProblem)
    assert isinstance(task, HasBaseline)
    assert (problem.in_features, problem.out_features) == (13, 3)
    assert problem.num_examples == {"train": 95, "validation": 12, "test": 24}


def test_departures_are_in_units_of_those_of_training(problem):
    train_data = wind_forecasts.forecasts(winds.load(step=45.0), "train")
    departures = train_data.targets - train_data.target_climatology
    (constants,) = problem.standardization
    assert constants.scale == wind_forecasts.rms(departures, train_data.areas)
    assert (constants.unit, constants.mean) == ("m/s", 0.0)


def test_the_baseline_is_of_the_same_size_without_the_symmetry(task):
    other = task.baseline(HAAR)
    assert other.model == MODEL.replace_network(space=PLAIN, lift=NoLift())
    assert task.baseline(other) is None
    assert task.prepare(other).in_features == 16, "the position is a feature"
    without = dataclasses.replace(TINY, options=WindsOptions(baseline="none"))
    assert task.baseline(without) is None
    sizes = [
        sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
        for model in (
            nnx.eval_shape(lambda c=config, n=size: c.model.build(n, 3, rngs=nnx.Rngs(0)))
            for config, size in ((TINY, 13), (HAAR, 13), (other, 16))
        )
    ]
    assert sizes[0] == sizes[1]
    assert sizes[2] == pytest.approx(sizes[0], rel=0.1)


@pytest.mark.parametrize(
    "network",
    [
        LieTransformerConfig(
            space=SYMMETRIC,
            dim=8,
            layer=RepresentationAttention(num_heads=2),
            output="per_point",
            lift=WindFrames(),
        ),
        LieConvNetworkConfig(space=SYMMETRIC, dim=8, lift=Haar(2), output="per_point"),
    ],
    ids=lambda network: f"{type(network).__name__} {network.layer}",
)
def test_every_network_has_a_baseline_of_its_own_kind(task, network):
    model = WindModelConfig(inner=network)
    other = task.baseline(dataclasses.replace(TINY, model=model)).model
    assert other == model.replace_network(space=PLAIN, lift=NoLift())
    nnx.eval_shape(lambda: other.build(16, 3, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize("name", ["frames", "haar", "plain", "fields", "plain_fields"])
def test_predicted_winds_are_tangent_at_every_point_and_the_poles(found, problem, data, name):
    for key in ("prediction", "rotated"):
        winds_found = found[name][key]
        assert winds_found.shape == (24, 26, 3)  # 3 rows of 8, and two poles
        up = np.sum(winds_found * data.points, axis=-1)
        assert np.abs(up).max() < 1e-5 * np.abs(winds_found).max()
        assert np.linalg.norm(winds_found, axis=-1)[:, [0, -1]].min() > 0


def test_only_what_is_equivariant_scores_the_same_when_it_is_rotated(found, problem, task):
    changes, ratios = {}, {}
    for name, predictions in found.items():
        normal = task.prepare(TINY)._parts["test"].target_climatology
        departures = predictions["prediction"] - normal
        assert np.std(departures) > 0.1
        changes[name] = np.abs(predictions["rotated"] - predictions["prediction"]).max() / np.std(
            departures
        )
        upright, rotated = (
            score.value for score in problem.score("test", predictions) if score.target == "wind"
        )
        ratios[name] = abs(rotated / upright - 1)
    for name in ("frames", "fields"):
        assert changes[name] < 1e-4
        assert ratios[name] < 1e-5
    assert changes["haar"] > 1e-2, "one draw deviates"
    assert ratios["haar"] < 0.05
    assert changes["plain"] > 0.1
    assert changes["plain_fields"] > 0.1


def test_vectors_that_stay_behind_are_not_the_same_scene(predict, problem):
    """The control: points rotate, and the winds do not."""
    batch = next(iter(problem.evaluation_batches("test")))
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    scenes = {
        "turned": wind_batches.rotate(batch, quarter),
        "points only": batch | {"points": wind_batches.rotate(batch, quarter)["points"]},
    }
    expected = np.asarray(predict(batch)["prediction"]) @ quarter.T
    errors = {
        name: np.abs(np.asarray(predict(scene)["prediction"]) - expected).max()
        for name, scene in scenes.items()
    }
    assert errors["turned"] < 1e-4
    assert errors["points only"] > 1.0


def test_rotations_are_of_each_month_and_rotations(problem, task):
    (batch, _) = problem.evaluation_batches("test")
    rotations = batch["rotation"]
    assert rotations.shape == (12, 3, 3)
    np.testing.assert_allclose(
        rotations @ rotations.swapaxes(1, 2),
        np.broadcast_to(np.eye(3), rotations.shape),
        atol=1e-12,
    )
    np.testing.assert_allclose(np.linalg.det(rotations), 1.0)
    assert np.abs(rotations[0] - rotations[1]).max() > 0.1
    other = task.prepare(dataclasses.replace(TINY, batch_size=24, seed=5))
    (whole,) = other.evaluation_batches("test")
    np.testing.assert_array_equal(whole["rotation"][:12], rotations)
    assert "rotation" not in next(iter(problem.evaluation_batches("validation")))


class Climatology(nnx.Module):
    def __call__(self, points, vectors, scalars, **options):
        return jnp.zeros_like(points)


def test_the_loss_is_the_mean_over_the_area_of_the_globe(problem, data):
    whole = dict(next(iter(problem.evaluation_batches("test"))))
    loss = mean_loss(problem, Climatology(), whole, jax.random.key(0))
    part = data[np.arange(12)]
    errors = part.targets - part.target_climatology
    scale = problem.standardization[0].scale
    expected = (wind_forecasts.rms(errors, data.areas) / scale) ** 2
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    even = mean_loss(
        problem, Climatology(), whole | {"log_weights": np.zeros((12, 26))}, jax.random.key(0)
    )
    assert abs(float(even) / expected - 1) > 0.01


def test_areas_are_weights_of_the_keys_of_attention(predict, problem):
    batch = dict(next(iter(problem.evaluation_batches("test"))))
    even = batch | {"log_weights": np.zeros_like(batch["log_weights"])}
    weighted, unweighted = (np.asarray(predict(b)["prediction"]) for b in (batch, even))
    assert np.abs(weighted - unweighted).max() > 1e-3


def test_climatology_scores_as_itself(problem, data):
    order = np.random.RandomState(0).permutation(24)
    predictions = {
        "id": data.ids[order],
        "prediction": data.target_climatology[order],
        "rotated": data.winds[order],
    }
    upright, rotated, unexplained = problem.score("test", predictions)
    assert (upright.target, upright.metric, upright.unit) == ("wind", "rms", "m/s")
    assert upright.value == upright.baseline
    assert rotated.metric == "rms_rotated"
    expected = wind_forecasts.rms(data.winds - data.targets, data.areas)
    assert rotated.value == pytest.approx(expected)
    assert rotated.value > rotated.baseline == upright.baseline
    assert (unexplained.target, unexplained.value) == ("variance", unexplained.baseline)
    of_climatology = wind_forecasts.r_squared(data.target_climatology, data.targets, data.areas)
    assert unexplained.value == pytest.approx(1 - of_climatology)


def test_frames_move_with_points_and_winds():
    random = np.random.default_rng(0)
    points = random.normal(size=(7, 3))
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    vectors = np.cross(points, random.normal(size=(7, 3)))
    vectors[0] = 0.0  # a calm has no direction, and yet a frame
    group = groups.SO(3)
    key = jax.random.key(1)

    @jax.jit
    def run(points, vectors):
        """Frames as matrices, by how much they do not move with what they are of, and slopes."""
        elements, u = wind_frames(points, vectors), group.sample(key, ())
        moved = wind_frames(group.act(u, points), group.act(u, vectors))
        distances = group.distance(moved, group.compose(u, elements))
        slopes = jax.jacobian(lambda v: wind_frames(points, v))(vectors)
        return group.matrix(elements), distances, slopes

    matrices, distances, slopes = map(np.asarray, run(points.astype("f4"), vectors.astype("f4")))
    np.testing.assert_allclose(matrices[..., 2], points, atol=1e-6)
    lengths = np.linalg.norm(vectors, axis=-1)
    np.testing.assert_allclose(matrices[1:, :, 0] * lengths[1:, None], vectors[1:], atol=1e-6)
    assert distances[1:].max() < 2e-3, "distances see the square root of rounding"
    assert np.isfinite(slopes).all()


def test_the_last_month_is_drawn(problem, found):
    figures = problem.figures("test", found["frames"])
    (maps,) = figures.values()
    assert set(figures) == {"maps"}
    assert maps[0].title.startswith("wind of 1992-12")
    for panel in maps:
        true, predicted = panel.series[-2:]
        assert (true.label, predicted.label) == ("true", "predicted")
        assert len(true.x) == len(predicted.x)
        assert not np.allclose(true.x, predicted.x, equal_nan=True)


def test_a_run_is_trained_and_loaded(tmp_path):
    options = WindsOptions(num_points=6, step=45.0, baseline="none")
    result = train(dataclasses.replace(TINY, eval_every=2, options=options), tmp_path / "run")
    assert [score.metric for score in result.scores] == ["rms", "rms_rotated", "unexplained"]
    assert result.scores[1].value == pytest.approx(result.scores[0].value, rel=1e-5)
    model, _ = load(tmp_path / "run")
    assert isinstance(model, WindModel)


def test_demo_is_exact_and_sees_the_whole_globe():
    config = get_preset("winds", "demo")
    network = config.model.network
    assert (network.lift, network.space) == (WindFrames(), SYMMETRIC)
    assert network.neighborhood is None, "neighbors at equal distances would tie"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "nowhere.nc"}, "nowhere.nc"),
        ({"targets": ("gap",)}, r"targets must be \('wind',\) for winds, got \('gap',\)"),
        (
            {"options": WindsOptions(step=7.0)},
            "step must be positive and divide 90 degrees, got 7.0",
        ),
        ({"options": WindsOptions(num_points=-1)}, "num_points must be"),
    ],
)
def test_what_a_run_cannot_have(task, changes, message):
    error = FileNotFoundError if "data" in changes else ValueError
    with pytest.raises(error, match=message):
        task.prepare(dataclasses.replace(TINY, **changes))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            MODEL.replace_network(output="invariant"),
            "output must be 'per_point' for winds, got 'invariant'",
        ),
        (
            MODEL.replace_network(space=spaces.euclidean(groups.SE(3)), lift=NoLift()),
            r"space must be 'sphere\(SO\(3\)\)' for winds, or 'euclidean\(T\(3\)\)' for the model "
            r"without the symmetry, got 'euclidean\(SE\(3\)\)'",
        ),
        (MODEL.network, "model must be a WindModelConfig for winds, got LieTransformerConfig"),
        (
            HamiltonianNetworkConfig(),
            "model must be a WindModelConfig for winds, got HamiltonianNetworkConfig",
        ),
    ],
)
def test_what_a_model_cannot_be(task, model, message):
    with pytest.raises(ValueError, match=message):
        task.prepare(dataclasses.replace(TINY, model=model))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_field": "4x vector + 4x scalar"}, "input_field must be '3x vector"),
        ({"output_field": "vector"}, r"output_field must be 'vector \+ scalar' for winds, got"),
    ],
)
def test_fields_of_a_field_network_are_those_of_the_winds(changes, message):
    model = WindModelConfig(inner=dataclasses.replace(FIELD_NETWORK, **changes))
    with pytest.raises(ValueError, match=message):
        nnx.eval_shape(lambda: model.build(13, 3, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pool": "sum"}, "pool is not used inside a field model, got 'sum'"),
        ({"lift": NoLift()}, "NoLift needs a field that the stabilizer .* does not change, got"),
        ({"space": PLAIN}, r"WindFrames needs 'sphere\(SO\(3\)\)', got 'euclidean\(T\(3\)\)'"),
    ],
)
def test_what_is_inside_of_a_model_fits_it(changes, message):
    with pytest.raises(ValueError, match=message):
        nnx.eval_shape(lambda: MODEL.replace_network(**changes).build(13, 3, rngs=nnx.Rngs(0)))


def test_points_alone_have_no_frames():
    network = MODEL.network.build(4, 3, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="WindFrames needs winds beside 3 points"):
        network(jnp.eye(3)[None], jnp.ones((1, 3, 4)))


def test_what_is_around_a_network_fits_it():
    space = spaces.euclidean(groups.SE(3))
    config = LieTransformerConfig(space=space, lift=Haar(), dim=8, num_layers=1)

    with pytest.raises(ValueError, match=r"input_field .* has 13 channels"):
        nnx.eval_shape(lambda: MODEL.build(10, 3, rngs=nnx.Rngs(0)))

    def build():
        model = config.build(7, 3, rngs=nnx.Rngs(0))
        return WindModel(FieldModel(model, "2x vector + scalar", "vector"))

    with pytest.raises(ValueError, match=r"output_field must be vector \+ scalar, got 1x vector"):
        nnx.eval_shape(build)


@pytest.mark.parametrize("lift", some([WindFrames(), Haar()], Haar(), ids=str))
def test_what_is_random_in_training_needs_a_key(lift):
    config = MODEL.replace_network(lift=lift, neighborhood=NearestNeighbors(2, 4))
    points, scalars = jnp.ones((1, 6, 3)), jnp.ones((1, 6, 4))

    def apply(**options):
        model = config.build(13, 3, rngs=nnx.Rngs(0))
        return nnx.eval_shape(lambda: model(points, jnp.ones((1, 6, 3, 3)), scalars, **options))

    def drawn():
        return apply(training=True, key=jax.random.key(0), num_lifts=2)

    assert nnx.eval_shape(drawn).shape == (1, 6, 3)
    with pytest.raises(ValueError, match="key must be given in training with"):
        nnx.eval_shape(lambda: apply(training=True))


def test_a_run_keeps_the_scale_it_was_trained_with(task):
    held = (Standardization("wind", "m/s", 0.0, 2.5),)
    assert task.prepare(TINY, held).standardization == held


def test_winds_that_are_all_the_climatology_are_nothing_to_learn(task, monkeypatch):
    record = winds.load(step=45.0)
    still = dataclasses.replace(record, winds=np.zeros_like(record.winds))
    monkeypatch.setattr(winds, "load", lambda *_, **__: still)
    with pytest.raises(
        ValueError, match=r"data 'embedded': no wind of the training months departs"
    ):
        task.prepare(TINY)

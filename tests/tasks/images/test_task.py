import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.config import RunConfig
from eqattn.groups import SE, T
from eqattn.layers import Attention, MLPLocation, RepresentationAttention
from eqattn.lift import Frames, Haar, NoLift
from eqattn.models import LieConvNetworkConfig, LieTransformerConfig
from eqattn.spaces import euclidean, position_orientation
from eqattn.tasks import HasBaseline, Problem, get_task
from eqattn.tasks.images import data as images
from eqattn.tasks.images.data import pixel_centers
from eqattn.tasks.images.task import ImagesOptions, outward

MODEL = LieTransformerConfig(
    space=euclidean(SE(2)),
    dim=8,
    num_layers=1,
    layer=Attention(num_heads=2, location=MLPLocation(dim=4, num_layers=2, num_radial=0)),
)
PLAIN = euclidean(T(2))
TINY = RunConfig(
    task="images",
    data="digits",
    targets=("class",),
    batch_size=100,
    model=MODEL,
)

OUTWARD = dataclasses.replace(
    TINY, model=dataclasses.replace(MODEL, space=position_orientation(SE(2)))
)


@pytest.fixture(scope="module")
def task():
    return get_task("images")


@pytest.fixture(scope="module")
def problem(task):
    return task.prepare(TINY)


def test_it_is_a_problem_of_ten_classes_with_a_baseline(problem, task):
    assert isinstance(problem, Problem)
    assert isinstance(task, HasBaseline)
    assert (problem.in_features, problem.out_features) == (1, 10)
    assert problem.num_examples == {"train": 1_197, "validation": 200, "test": 400}


def test_pixels_above_the_threshold_are_points(task, problem):
    batch = problem.training_batches()[0]
    assert batch["points"].shape[1] < 64
    assert (batch["features"][batch["mask"]] > 0).all()
    everything = dataclasses.replace(TINY, options=ImagesOptions(threshold=None))
    batch = task.prepare(everything).training_batches()[0]
    assert batch["points"].shape == (100, 64, 2)
    assert batch["mask"].all()


def test_the_baseline_is_of_the_same_size_without_the_symmetry(task):
    other = task.baseline(TINY)
    assert other.model == dataclasses.replace(MODEL, space=PLAIN)
    assert other.options == ImagesOptions(positions=True, baseline="none")
    assert task.baseline(other) is None
    assert task.prepare(other).in_features == 3


@pytest.mark.parametrize(
    "model",
    [
        dataclasses.replace(MODEL, lift=Haar(2), layer=Attention(coordinates="log")),
        dataclasses.replace(MODEL, lift=Frames(), layer=RepresentationAttention(num_heads=2)),
        LieConvNetworkConfig(space=euclidean(SE(2)), dim=8, num_layers=1),
        OUTWARD.model,
    ],
    ids=lambda model: f"{type(model).__name__} {model.layer}",
)
def test_every_model_has_a_baseline_of_its_own_kind(task, model):
    other = task.baseline(dataclasses.replace(TINY, model=model)).model
    assert (type(other), type(other.layer)) == (type(model), type(model.layer))
    assert (other.space, other.lift) == (PLAIN, NoLift())
    nnx.eval_shape(lambda: other.build(3, 10, rngs=nnx.Rngs(0)))


def test_positions_are_features_if_they_are_asked_for(task, problem):
    batch = next(iter(problem.evaluation_batches("test")))
    inputs = [jnp.asarray(batch[name]) for name in ("points", "features", "mask")]
    there = task.prepare(task.baseline(TINY))
    features = np.asarray(jax.jit(lambda *inputs: there.views(*inputs, None)[1])(*inputs))
    np.testing.assert_array_equal(features[:, 0, :, 1:], batch["points"])
    np.testing.assert_array_equal(features[:, 0, :, :1], batch["features"])


def test_an_invariant_model_has_one_answer_upright_and_turned(task, problem):
    batch = next(iter(problem.evaluation_batches("test")))
    changes = {}
    for config in (TINY, OUTWARD, task.baseline(TINY)):
        there = task.prepare(config)
        model = config.model.build(there.in_features, 10, rngs=nnx.Rngs(0))
        found = jax.jit(lambda b, p=there, m=model: p.predict(m, b, 1))(batch)
        found = jax.tree.map(np.asarray, found)
        assert np.std(found["log_probabilities"], axis=0).max() > 1e-3
        change = np.abs(found["log_probabilities"] - found["turned"]).max()
        changes[config.model.space] = change
        scores = there.score("test", found)
        assert [score.metric for score in scores] == ["error", "error_rotated"]
    assert changes[MODEL.space] < 1e-4
    assert changes[OUTWARD.model.space] < 1e-4
    assert changes[PLAIN] > 1e-2


def test_vectors_away_from_the_center_turn_with_the_points():
    rng = np.random.default_rng(0)
    points, intensities = rng.normal(size=(3, 9, 2)), rng.uniform(size=(3, 9))
    mask = np.arange(9) < np.array([9, 5, 2])[:, None]
    angle, shift = 1.1, np.array([0.3, -2.0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    run = jax.jit(outward)
    vectors, distances = map(np.asarray, run(points, intensities, mask))
    moved, same = run(points @ turn.T + shift, intensities, mask)
    np.testing.assert_allclose(moved, vectors @ turn.T, atol=1e-12)
    np.testing.assert_allclose(same, distances, atol=1e-12)
    assert np.abs(moved - vectors).max() > 0.1
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, atol=1e-12)
    for one, weight, there, vector, distance in zip(
        points, intensities, mask, vectors, distances, strict=True
    ):
        center = np.average(one[there], axis=0, weights=weight[there])
        expected = distance[:, None] * vector
        np.testing.assert_allclose(expected, one - center, atol=1e-12)


def test_vectors_at_the_center_of_an_image_and_of_a_dark_one():
    points = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0], [5.0, 5.0]])[None]
    mask = np.array([[True, True, True, False]])

    @jax.jit
    def run(*inputs):
        return outward(*inputs), jax.jacobian(outward, argnums=(0, 1))(*inputs)

    for intensities in (np.ones((1, 4)), np.zeros((1, 4))):  # the dark: points count alike
        found, derivatives = run(points, intensities, mask)
        vectors, distances = map(np.asarray, found)
        np.testing.assert_allclose(vectors[0, :3], [[1, 0], [-1, 0], [1, 0]], atol=1e-15)
        np.testing.assert_allclose(distances[0, :3], [1, 1, 0], atol=1e-15)
        (_, beside), _ = run(points + 1 / 3, intensities, mask)
        np.testing.assert_array_equal(np.asarray(beside)[0, 2], 0.0)
        chex.assert_tree_all_finite(derivatives)
    found, _ = run(points, np.ones((1, 4)), np.zeros((1, 4), bool))
    chex.assert_tree_all_finite(found)


def test_points_with_orientations_reach_the_model(task, problem):
    batch = next(iter(problem.evaluation_batches("test")))
    inputs = [jnp.asarray(batch[name]) for name in ("points", "features", "mask")]
    there = task.prepare(OUTWARD)

    @jax.jit
    def run(points, features, mask):
        seen, all_features, _ = there.views(points, features, mask, None)
        vectors, distances = outward(points, features[..., 0], mask)
        together = jnp.concatenate([points, vectors], axis=-1)
        return (seen[:, 0], together), (all_features[:, 0, :, 1], distances)

    for found, expected in run(*inputs):
        np.testing.assert_array_equal(found, expected)
    assert there.in_features == 2
    model = OUTWARD.model.build(2, 10, rngs=nnx.Rngs(0))
    assert model.space == position_orientation(SE(2))
    plain = task.baseline(OUTWARD)
    assert (plain.model.lift, plain.model.space) == (NoLift(), PLAIN)
    assert task.prepare(plain).in_features == 3


def test_a_point_at_the_center_has_no_direction_and_is_left_out(task):
    """Rounding puts the mean of a symmetric image beside its middle pixel, anywhere around it."""
    there = task.prepare(OUTWARD)
    points = pixel_centers(7, 7).astype(np.float32)[None]
    model = OUTWARD.model.build(2, 10, rngs=nnx.Rngs(0))

    @jax.jit
    def answer(points):
        full = jnp.ones((1, 49, 1)), jnp.ones((1, 49), bool)
        views = there.views(points, *full, None)
        alone = there.views(points[:, :1], *(array[:, :1] for array in full), None)
        return model(*(array[:, 0] for array in views)), views[2], alone[2]

    expected, mask, alone = answer(points)
    np.testing.assert_array_equal(np.asarray(mask)[0, 0], np.arange(49) != 24)
    assert np.all(alone)
    for angle in (0.4, 1.7, 3.0):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        turned = (points @ turn.T).astype(np.float32)
        np.testing.assert_allclose(answer(turned)[0], expected, atol=2e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": euclidean(SE(3))}, r"space must be Euclidean of 2 dimensions for images"),
        ({"space": position_orientation(SE(3))}, r"must be Euclidean .* got 'position_orientation"),
        ({"output": "per_point"}, "output must be 'invariant' for images, got 'per_point'"),
        (
            {"space": position_orientation(SE(2)), "output": "per_point"},
            "output must be 'invariant' for images, got 'per_point'",
        ),
    ],
)
def test_what_a_model_cannot_be(task, changes, message):
    with pytest.raises(ValueError, match=message):
        task.prepare(dataclasses.replace(TINY, model=dataclasses.replace(MODEL, **changes)))


def test_points_with_orientations_are_of_the_group_of_rigid_motions(no_type_checks):
    with pytest.raises(ValueError, match=r"group of PositionOrientation must be .*, got T\(2\)"):
        position_orientation(T(2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "nowhere"}, "no folder of images at nowhere"),
        ({"targets": ("gap",)}, r"targets must be \('class',\) for images, got \('gap',\)"),
        ({"options": ImagesOptions(threshold=1.0)}, r"threshold must be in \[0, 1\), got 1.0"),
    ],
)
def test_what_a_run_cannot_have(task, changes, message):
    error = FileNotFoundError if "data" in changes else ValueError
    with pytest.raises(error, match=message):
        task.prepare(dataclasses.replace(TINY, **changes))


def test_images_of_two_sizes_are_refused(task, monkeypatch):
    def load(source, *, split):
        size = 12 if split == "test" else 8
        pixels = np.full((20, size, size), 9, np.uint8)
        return images.Images(np.arange(20), pixels, np.arange(20) % 10, 16)

    monkeypatch.setattr(images, "load", load)
    with pytest.raises(ValueError, match=r"images must be of one size, got 8 x 8 and 12 x 12"):
        task.prepare(TINY)

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.config import ImagesConfig, ModelConfig, RunConfig
from eqattn.tasks import HasBaseline, Problem, get_task

MODEL = ModelConfig(
    group="SE(2)", dim=8, num_layers=1, num_heads=2, num_radial=0, location_dim=4, location_layers=2
)
TINY = RunConfig(
    task="images",
    data="digits",
    targets=("class",),
    batch_size=100,
    model=MODEL,
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
    everything = dataclasses.replace(TINY, images=ImagesConfig(threshold=None))
    batch = task.prepare(everything).training_batches()[0]
    assert batch["points"].shape == (100, 64, 2)
    assert batch["mask"].all()


def test_the_baseline_is_of_the_same_size_without_the_symmetry(task):
    other = task.baseline(TINY)
    assert other.model == dataclasses.replace(MODEL, group="T(2)", coordinates="embedding")
    assert other.images == ImagesConfig(positions=True, baseline="none")
    assert task.baseline(other) is None
    assert task.prepare(other).in_features == 3


def test_positions_are_features_if_they_are_asked_for(task, problem):
    batch = next(iter(problem.evaluation_batches("test")))
    inputs = [jnp.asarray(batch[name]) for name in ("points", "features", "mask")]
    _, features, _ = task.prepare(task.baseline(TINY)).views(*inputs, None)
    np.testing.assert_array_equal(features[:, 0, :, 1:], batch["points"])
    np.testing.assert_array_equal(features[:, 0, :, :1], batch["features"])


def test_an_invariant_model_has_one_answer_upright_and_turned(task, problem):
    batch = next(iter(problem.evaluation_batches("test")))
    changes = {}
    for config in (TINY, task.baseline(TINY)):
        there = task.prepare(config)
        model = task.build_model(config.model, there.in_features, 10, 0)
        found = jax.jit(lambda b, p=there, m=model: p.predict(m, b, 1))(batch)
        assert np.std(found["log_probabilities"], axis=0).max() > 1e-3
        change = np.abs(found["log_probabilities"] - found["turned"]).max()
        changes[config.model.group] = change
        scores = there.score("test", {name: np.asarray(array) for name, array in found.items()})
        assert [score.metric for score in scores] == ["error", "error_rotated"]
    assert changes["SE(2)"] < 1e-4
    assert changes["T(2)"] > 1e-2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "nowhere"}, "no folder of images at nowhere"),
        ({"targets": ("gap",)}, r"targets must be \('class',\) for images, got \('gap',\)"),
        ({"split": "tfds"}, "split is not used by the task images, got 'tfds'"),
        ({"images": ImagesConfig(threshold=1.0)}, r"threshold must be in \[0, 1\), got 1.0"),
    ],
)
def test_what_a_run_cannot_have(task, changes, message):
    error = FileNotFoundError if "data" in changes else ValueError
    with pytest.raises(error, match=message):
        task.prepare(dataclasses.replace(TINY, **changes))

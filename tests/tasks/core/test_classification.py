import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.config import RunConfig, Standardization
from eqattn.data.motions import RandomMotion
from eqattn.tasks import Problem
from eqattn.tasks.core.classification import ClassificationProblem, check_run, unchanged
from tests.tasks.losses import mean_loss

RUN = RunConfig(task="toys", targets=("kind",), batch_size=4)


class Clouds:
    """Six examples of two labels out of three classes; the points are their numbers."""

    def __init__(self, labels):
        self.labels = np.asarray(labels)
        self.ids = np.arange(10, 10 + len(self.labels))

    def __len__(self):
        return len(self.labels)

    def gather(self, rows):
        points = np.broadcast_to(self.ids[rows, None, None], (len(rows), 3, 2)).astype(np.float32)
        return {
            "points": points,
            "features": np.ones((len(rows), 3, 1), np.float32),
            "mask": np.ones((len(rows), 3), bool),
            "labels": self.labels[rows],
        }


class Table(nnx.Module):
    """A model that reads its logits off a table, by example id."""

    def __init__(self, logits):
        self.logits = nnx.Param(jnp.asarray(logits))

    def __call__(self, points, features, mask, key=None, *, example_ids, **options):
        return self.logits[...][example_ids - 10]


LABELS = [[0, 2], [0, 2], [1, 2], [0, 0], [2, 2]]
LOGITS = np.random.RandomState(0).normal(size=(5, 6))


def make(**options):
    clouds = Clouds(LABELS)
    parts = {"train": clouds, "validation": clouds, "test": clouds}
    given = {"num_classes": 3, "in_features": 1, "label_names": ("a", "b")} | options
    return ClassificationProblem(RUN, "kind", parts, **given)


def predictions_of(problem, split="test"):
    model = Table(LOGITS)
    parts = [
        {name: np.asarray(v)[batch["weight"] > 0] for name, v in out.items()}
        for batch in problem.evaluation_batches(split)
        for out in [problem.predict(model, batch, 1)]
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def test_it_is_a_problem():
    problem = make()
    assert isinstance(problem, Problem)
    assert (problem.in_features, problem.out_features) == (1, 6)
    assert problem.num_examples == {"train": 5, "validation": 5, "test": 5}
    assert problem.standardization == unchanged("kind")


def test_predictions_are_log_probabilities_of_each_label():
    found = predictions_of(make())
    logits = LOGITS.reshape(5, 2, 3)
    expected = logits - np.log(np.sum(np.exp(logits), axis=-1, keepdims=True))
    np.testing.assert_allclose(found["log_probabilities"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found["labels"], LABELS)
    true = np.take_along_axis(expected, np.array(LABELS)[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(found["loss"], -true.mean(axis=-1), rtol=1e-5)
    assert "turned" not in found


def test_a_smoothed_loss_is_the_cross_entropy_with_softened_labels():
    found = predictions_of(make(label_smoothing=0.3))
    soft = 0.7 * np.eye(3)[np.array(LABELS)] + 0.1
    cross = -np.sum(soft * found["log_probabilities"], axis=-1).mean(axis=-1)
    np.testing.assert_allclose(found["loss"], cross, rtol=1e-5)


def test_the_training_loss_is_the_mean_over_its_batch():
    problem = make()
    batch = problem.training_batches()[0]
    loss = mean_loss(problem, Table(LOGITS), batch, jax.random.key(0))
    losses = predictions_of(problem)["loss"]
    assert float(loss) == pytest.approx(float(np.mean(losses[batch["id"] - 10])), rel=1e-5)


def test_scores_count_wrong_answers_beside_the_commonest_classes():
    log_probabilities = np.log(np.full((5, 2, 3), 0.25))
    answers = np.array([[0, 2], [0, 1], [0, 2], [0, 1], [2, 2]])
    np.put_along_axis(log_probabilities, answers[..., None], np.log(0.5), axis=-1)
    predictions = {"labels": np.array(LABELS), "log_probabilities": log_probabilities}
    scores = {score.metric: score for score in make().score("test", predictions)}
    assert {name: (s.value, s.baseline) for name, s in scores.items()} == {
        "error": (pytest.approx(3 / 10), pytest.approx(3 / 10)),
        "error_a": (pytest.approx(1 / 5), pytest.approx(2 / 5)),
        "error_b": (pytest.approx(2 / 5), pytest.approx(1 / 5)),
        "error_all": (pytest.approx(3 / 5), pytest.approx(3 / 5)),
    }
    assert {(s.target, s.unit) for s in scores.values()} == {("kind", "1")}


def test_nan_is_no_answer():
    """argmax of NaN is 0, which is the label of most examples here."""
    log_probabilities = np.log(np.full((5, 2, 3), 1 / 3))
    log_probabilities[3, 0, 1] = np.nan
    predictions = {"labels": np.array(LABELS), "log_probabilities": log_probabilities}
    predictions["turned"] = np.full((5, 2, 3), np.nan)
    values = {score.metric: score.value for score in make().score("test", predictions)}
    assert np.isfinite(values.pop("error_b"))
    assert set(values) == {"error", "error_rotated", "error_a", "error_all"}
    assert np.isnan(list(values.values())).all()


def test_a_single_label_has_one_score():
    clouds = Clouds([0, 1, 1])
    parts = {"train": clouds, "validation": clouds, "test": clouds}
    problem = ClassificationProblem(RUN, "kind", parts, num_classes=6, in_features=1)
    (score,) = problem.score("test", predictions_of(problem))
    assert score.metric == "error"
    assert score.baseline == pytest.approx(1 / 3)


def test_the_test_moves_in_its_own_way_and_has_a_turned_copy():
    problem = make(
        train_motion=RandomMotion(shift=1.0), turned_motion=RandomMotion("SO(2)"), test_motion=None
    )
    moved = {name: next(iter(problem.evaluation_batches(name))) for name in problem.num_examples}
    still = moved["test"]["points"]
    np.testing.assert_array_equal(still[:, 0, 0], moved["test"]["id"])
    assert np.abs(moved["validation"]["points"] - still).max() > 0.1
    assert "turned" not in moved["validation"]
    turned = moved["test"]["turned"]
    assert np.abs(turned - still).max() > 0.1
    np.testing.assert_allclose(
        np.linalg.norm(turned, axis=-1), np.linalg.norm(still, axis=-1), rtol=1e-6
    )
    scores = problem.score("test", predictions_of(problem))
    assert [score.metric for score in scores][:2] == ["error", "error_rotated"]
    assert scores[0].value == scores[1].value, "the table knows no points"


def test_what_cannot_be():
    with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\), got 1"):
        make(label_smoothing=1.0)
    with pytest.raises(ValueError, match=r"targets must be \('kind',\) for toys, got \('gap',\)"):
        check_run(RunConfig(task="toys", targets=("gap",)), "kind", None)
    with pytest.raises(ValueError, match="standardization must be"):
        check_run(RUN, "kind", [Standardization("kind", "1", 0.0, 2.0)])
    check_run(RUN, "kind", list(unchanged("kind")))

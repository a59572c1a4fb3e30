import numpy as np
import pytest
import scipy.spatial.transform

from eqattn.tasks.winds.batches import VECTORS, evaluation_batches, rotate, training_batches
from eqattn.tasks.winds.forecasts import forecasts, rms
from tests.tasks.winds.test_data import make_winds

TURN = scipy.spatial.transform.Rotation.random(random_state=1).as_matrix()


@pytest.fixture(scope="module")
def data():
    """35 examples at 62 points."""
    return forecasts(make_winds(72))


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])


def test_a_batch_has_all_points(data):
    batch = training_batches(data, batch_size=4, seed=3)[0]
    assert {name: array.shape for name, array in batch.items()} == {
        **dict.fromkeys(VECTORS, (4, 62, 3)),
        "phase": (4, 2),
        "relief": (4, 62, 2),
        "log_weights": (4, 62),
        "id": (4,),
    }
    assert batch["id"].dtype == np.int32
    assert {array.dtype for name, array in batch.items() if name != "id"} == {np.dtype("f4")}
    for row, number in enumerate(batch["id"]):
        at = int(np.flatnonzero(data.ids == number)[0])
        np.testing.assert_array_equal(batch["wind"][row], data.winds[at])
        np.testing.assert_array_equal(batch["climatology"][row], data.climatology[at])
        np.testing.assert_array_equal(batch["target"][row], data.targets[at])
        np.testing.assert_array_equal(batch["target_climatology"][row], data.target_climatology[at])
        np.testing.assert_array_equal(batch["points"][row], data.points.astype("f4"))
        np.testing.assert_array_equal(batch["relief"][row], data.relief)


def test_vectors_of_a_batch_are_tangent(data):
    batch = training_batches(data, batch_size=4, num_points=10)[0]
    for name in VECTORS[1:]:
        assert np.abs(np.sum(batch[name] * batch["points"], -1)).max() < 1e-6


def test_weights_are_areas_in_units_of_their_mean(data):
    batch = training_batches(data, batch_size=2, dtype=np.float64)[0]
    assert batch["points"].dtype == np.float64
    weights = np.exp(batch["log_weights"])
    np.testing.assert_allclose(weights.mean(1), 1.0)
    np.testing.assert_allclose(weights[0] / weights[0, 0], data.areas / data.areas[0])


def test_the_phase_is_that_of_the_month_asked_for(data):
    (batch,) = evaluation_batches(data, batch_size=35)
    phase = dict(zip(data.months[:, 1].tolist(), batch["phase"].round(6).tolist(), strict=True))
    assert phase[1] == [1.0, 0.0]
    assert phase[4] == [0.0, 1.0]
    assert phase[7] == [-1.0, 0.0]
    assert phase[10] == [0.0, -1.0]
    np.testing.assert_allclose(np.linalg.norm(batch["phase"], axis=1), 1.0, rtol=1e-6)


@pytest.mark.parametrize("num_points", [None, 9])
def test_batches_are_at_random_access_and_depend_on_the_seed_alone(data, num_points):
    def batches(seed):
        return training_batches(data, batch_size=4, num_points=num_points, seed=seed)

    walked = [batch for batch, _ in zip(iter(batches(1)), range(12), strict=False)]
    for step in (11, 0, 5):
        assert_same(batches(1)[step], walked[step])
    assert (batches(2)[5]["id"] != walked[5]["id"]).any()


def test_every_example_comes_once_in_a_pass(data):
    batches = training_batches(data, batch_size=4)
    ids = np.concatenate([batches[index]["id"] for index in range(35)])
    passes = ids.reshape(4, 35)
    for one in passes:
        np.testing.assert_array_equal(np.sort(one), data.ids)
    assert (passes[0] != passes[1]).any()


def test_drawn_points_are_those_of_the_example_and_distinct(data):
    batch = training_batches(data, batch_size=8, num_points=20)[2]
    assert batch["points"].shape == (8, 20, 3)
    np.testing.assert_array_equal(batch["log_weights"], 0.0)
    points = data.points.astype("f4")
    subsets = set()
    for row, number in enumerate(batch["id"]):
        example = int(np.flatnonzero(data.ids == number)[0])
        at = np.argmax(batch["points"][row] @ points.T, axis=1)
        assert len(np.unique(at)) == 20
        np.testing.assert_array_equal(batch["target"][row], data.targets[example, at])
        np.testing.assert_array_equal(batch["climatology"][row], data.climatology[example, at])
        np.testing.assert_array_equal(batch["relief"][row], data.relief[at])
        subsets.add(tuple(np.sort(at)))
    assert len(subsets) == 8


def test_points_are_drawn_in_proportion_to_their_areas(data):
    drawn = np.concatenate(
        [training_batches(data, batch_size=500, num_points=20)[step]["points"] for step in (0, 1)]
    )
    at = np.argmax(drawn.reshape(-1, 3) @ data.points.T.astype("f4"), axis=1)
    counts = np.bincount(at, minlength=62) / 1000
    expected = 20 * data.areas / data.areas.sum()
    deviations = (counts - expected) / np.sqrt(expected * (1 - expected) / 1000)
    assert np.abs(deviations).max() < 4
    assert 0.7 < np.sqrt(np.mean(deviations**2)) < 1.3
    # The negative control: all points alike.
    assert np.abs(counts - 20 / 62).max() > 0.1


def test_an_example_has_new_points_in_each_pass(data):
    batches = training_batches(data[:1], batch_size=1, num_points=20)
    assert (batches[0]["points"] != batches[1]["points"]).any()


def test_evaluation_takes_every_example_once_in_order(data):
    batches = list(evaluation_batches(data, batch_size=8))
    assert [batch["weight"].sum() for batch in batches] == [8, 8, 8, 8, 3]
    ids = np.concatenate([batch["id"][batch["weight"] > 0] for batch in batches])
    np.testing.assert_array_equal(ids, data.ids)
    assert batches[0]["weight"].dtype == np.float32
    np.testing.assert_array_equal(batches[-1]["target"][3:], [batches[-1]["target"][2]] * 5)


def test_the_points_of_evaluation_are_always_the_same(data):
    (batch,) = evaluation_batches(data, batch_size=35, num_points=9)
    assert batch["points"].shape == (35, 9, 3)
    (alone,) = evaluation_batches(data[4:5], batch_size=1, num_points=9)
    np.testing.assert_array_equal(alone["points"][0], batch["points"][4])
    assert (batch["points"][4] != batch["points"][5]).any()


def test_rotated_batches_have_the_same_scores(data):
    (batch,) = evaluation_batches(data, batch_size=35)
    turned = rotate(batch, TURN)
    for name in set(batch) - set(VECTORS):
        assert turned[name] is batch[name]
    for name in VECTORS:
        assert turned[name].dtype == batch[name].dtype
        np.testing.assert_allclose(turned[name], batch[name] @ TURN.T, atol=1e-6)
        assert np.abs(turned[name] - batch[name]).max() > 0.1
    before = rms(batch["wind"] - batch["target"], data.areas)
    assert rms(turned["wind"] - turned["target"], data.areas) == pytest.approx(before, rel=1e-6)
    assert rms(turned["wind"] - batch["target"], data.areas) != pytest.approx(before, rel=0.01)
    assert np.abs(np.sum(turned["wind"] * turned["points"], -1)).max() < 1e-6


@pytest.mark.parametrize("matrix", [np.diag([1.0, 1.0, -1.0]), 1.01 * np.eye(3), np.nan * TURN])
def test_only_rotations_rotate(data, matrix):
    (batch,) = evaluation_batches(data[:1], batch_size=1)
    with pytest.raises(ValueError, match="rotation must be orthogonal with determinant 1, got"):
        rotate(batch, matrix)


def test_bad_arguments(data):
    for make in (training_batches, evaluation_batches):
        with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
            make(data, batch_size=0)
        with pytest.raises(ValueError, match="num_points must be at least 1, got 0"):
            make(data, batch_size=1, num_points=0)
        most = int(4 * np.pi / data.areas.max())
        every = r"or None \(0 among the options of a run\) for all 62"
        message = f"num_points must be at most {most}, .*, {every}, got {most + 1}"
        with pytest.raises(ValueError, match=message):
            make(data, batch_size=1, num_points=most + 1)
        make(data, batch_size=1, num_points=most)
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        training_batches(data, batch_size=1, seed=-1)
    with pytest.raises(ValueError, match="num_examples must be at least 1"):
        training_batches(data[:0], batch_size=1)
    with pytest.raises(ValueError, match="num_examples must be at least 1"):
        evaluation_batches(data[:0], batch_size=1)

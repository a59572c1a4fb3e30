import numpy as np
import pytest

from eqattn.data.labeled_batches import LabeledClouds, evaluation_batches, training_batches
from eqattn.data.motions import RandomMotion


class Clouds:
    """Seven examples of three points, of which the last one is padding in odd examples."""

    def __init__(self, ids=range(10, 17)):
        self.ids = np.array(list(ids))
        self.points = np.random.RandomState(0).normal(size=(7, 3, 3)).astype(np.float32)
        self.mask = np.ones((7, 3), bool)
        self.mask[1::2, 2] = False
        self.points[~self.mask] = 0

    def __len__(self):
        return len(self.ids)

    def gather(self, rows):
        return {
            "points": self.points[rows],
            "features": np.ones((len(rows), 3, 2)) * rows[:, None, None],
            "mask": self.mask[rows],
            "labels": rows % 3,
        }


@pytest.fixture(scope="module")
def clouds():
    return Clouds()


MOTION = RandomMotion("SO(3)", shift=0.5)


def test_a_batch_holds_what_the_module_says(clouds):
    assert isinstance(clouds, LabeledClouds)
    batch = training_batches(clouds, batch_size=4, seed=3)[0]
    assert {name: (array.shape, array.dtype.name) for name, array in batch.items()} == {
        "points": ((4, 3, 3), "float32"),
        "features": ((4, 3, 2), "float32"),
        "mask": ((4, 3), "bool"),
        "labels": ((4,), "int32"),
        "id": ((4,), "int32"),
    }
    rows = batch["id"] - 10
    np.testing.assert_array_equal(batch["points"], clouds.points[rows])
    np.testing.assert_array_equal(batch["features"][:, 0, 0], rows)
    np.testing.assert_array_equal(batch["labels"], rows % 3)
    assert training_batches(clouds, batch_size=4, dtype=np.float64)[0]["points"].dtype == float


def test_every_example_comes_once_in_a_pass(clouds):
    batches = training_batches(clouds, batch_size=3, seed=1)
    ids = np.concatenate([batches[index]["id"] for index in range(14)]).reshape(6, 7)
    np.testing.assert_array_equal(np.sort(ids, axis=1), np.tile(clouds.ids, (6, 1)))
    assert len({tuple(row) for row in ids.tolist()}) == 6
    longer = training_batches(clouds, batch_size=16)[2]["id"]  # over three passes
    np.testing.assert_array_equal(np.sort(np.bincount(longer - 10)), [2, 2, 2, 2, 2, 3, 3])


def test_training_depends_on_the_seed_alone_and_any_batch_comes_at_once(clouds):
    batches = training_batches(clouds, batch_size=4, seed=5, motion=MOTION)
    later = batches[1000]
    again = training_batches(clouds, batch_size=4, seed=5, motion=MOTION)[1000]
    other = training_batches(clouds, batch_size=4, seed=6, motion=MOTION)[1000]
    for name in later:
        np.testing.assert_array_equal(later[name], again[name])
    assert (later["points"] != other["points"]).any()


def test_training_moves_anew_in_every_batch_and_only_rigidly(clouds):
    batches = training_batches(clouds, batch_size=7, motion=MOTION, dtype=np.float64)
    seen = []
    for batch in (batches[0], batches[1]):
        points = batch["points"][np.argsort(batch["id"])]
        np.testing.assert_array_equal(points[1::2, 2], 0)
        before = np.linalg.norm(clouds.points[:, 0] - clouds.points[:, 1], axis=-1)
        after = np.linalg.norm(points[:, 0] - points[:, 1], axis=-1)
        np.testing.assert_allclose(after, before, rtol=1e-6)
        seen += [clouds.points, points]
    for index, one in enumerate(seen):
        for other in seen[:index]:
            if one is not other:
                assert (np.abs(one - other).max(axis=(1, 2)) > 1e-3).all()


def test_evaluation_takes_every_example_once(clouds):
    batches = list(evaluation_batches(clouds, batch_size=3))
    assert [batch["weight"].tolist() for batch in batches] == [[1, 1, 1], [1, 1, 1], [1, 0, 0]]
    assert batches[0]["weight"].dtype == np.float32
    ids = np.concatenate([batch["id"][batch["weight"] > 0] for batch in batches])
    np.testing.assert_array_equal(ids, clouds.ids)
    np.testing.assert_array_equal(batches[0]["points"], clouds.points[:3])


def test_the_motion_of_a_test_depends_on_the_id_and_the_seed_alone(clouds):
    def points(clouds, batch_size, seed=0):
        batches = evaluation_batches(clouds, batch_size=batch_size, motion=MOTION, seed=seed)
        return np.concatenate([b["points"][b["weight"] > 0] for b in batches])

    held = points(clouds, 3)
    np.testing.assert_array_equal(points(clouds, 7), held)
    assert (np.abs(points(clouds, 3, seed=1) - held).max(axis=(1, 2)) > 1e-3).all()
    shifted = points(Clouds(ids=range(11, 18)), 3)
    assert (np.abs(shifted - held).max(axis=(1, 2)) > 1e-3).all()
    trained = training_batches(Clouds(ids=[0] * 7), batch_size=7, motion=MOTION)[0]["points"]
    tested = next(iter(evaluation_batches(Clouds(ids=[0] * 7), batch_size=7, motion=MOTION)))
    assert (np.abs(trained - tested["points"]) > 1e-3).any()


def test_bad_arguments(clouds):
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        training_batches(clouds, batch_size=0)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        next(evaluation_batches(clouds, batch_size=0))
    with pytest.raises(ValueError, match=r"num_examples must be at least 1, got 0"):
        training_batches(Clouds(ids=[]), batch_size=1)
    with pytest.raises(ValueError, match=r"num_examples must be at least 1, got 0"):
        next(evaluation_batches(Clouds(ids=[]), batch_size=1))
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        training_batches(clouds, batch_size=1, seed=-1)
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        next(evaluation_batches(clouds, batch_size=1, seed=-1))
    flat = RandomMotion("SO(2)")
    with pytest.raises(ValueError, match="is none of points in 3-D"):
        training_batches(clouds, batch_size=1, motion=flat)
    with pytest.raises(ValueError, match="is none of points in 3-D"):
        next(evaluation_batches(clouds, batch_size=1, motion=flat))

import numpy as np
import pytest

from eqattn.tasks.springs.batches import evaluation_batches, training_batches
from eqattn.tasks.springs.data import Springs


@pytest.fixture(scope="module")
def systems():
    """Positions that say which trajectory and which time they are of."""
    number, time = np.arange(7.0)[:, None], np.arange(500.0)
    positions = np.broadcast_to((1000 * number + time)[..., None, None], (7, 500, 6, 2))
    masses = np.broadcast_to(number + 1, (7, 6))
    return Springs(np.arange(7), masses, -masses, positions, -positions)


def test_a_chunk_is_five_consecutive_states(systems):
    batch = training_batches(systems, batch_size=4, seed=3)[0]
    assert {name: array.shape for name, array in batch.items()} == {
        "chunk": (4, 5, 6, 4),
        "features": (4, 6, 2),
        "id": (4,),
    }
    assert batch["chunk"].dtype == batch["features"].dtype == np.float32
    first = batch["chunk"][:, 0, 0, 0]
    np.testing.assert_array_equal(first // 1000, batch["id"])
    np.testing.assert_array_equal(
        batch["chunk"][:, :, 2, 1] - first[:, None], [[0, 1, 2, 3, 4]] * 4
    )
    np.testing.assert_array_equal(batch["chunk"][..., 2:], -batch["chunk"][..., :2])
    np.testing.assert_array_equal(batch["features"][:, 0, 0], batch["id"] + 1)
    np.testing.assert_array_equal(batch["features"][:, 0, 1], -batch["id"] - 1)


def test_every_trajectory_comes_once_in_a_pass_at_new_places(systems):
    batches = training_batches(systems, batch_size=7)
    firsts = [batches[index]["chunk"][:, 0, 0, 0] for index in range(40)]
    for first in firsts:
        assert sorted(first // 1000) == list(range(7))
    places = np.concatenate(firsts) % 1000
    assert places.min() < 20
    assert 475 < places.max() <= 495


def test_batches_reach_over_passes(systems):
    batches = training_batches(systems, batch_size=3)
    ids = np.concatenate([batches[index]["id"] for index in range(7)])
    for number in range(3):
        assert sorted(ids[7 * number : 7 * number + 7]) == list(range(7))


def test_the_order_depends_on_the_seed_alone(systems):
    one, same, other = (training_batches(systems, batch_size=4, seed=s)[5] for s in (1, 1, 2))
    np.testing.assert_array_equal(one["chunk"], same["chunk"])
    assert (one["chunk"] != other["chunk"]).any()


def test_evaluation_takes_every_trajectory_once_and_always_the_same(systems):
    batches = list(evaluation_batches(systems, batch_size=3, dtype=np.float64))
    assert [batch["weight"].tolist() for batch in batches] == [[1, 1, 1], [1, 1, 1], [1, 0, 0]]
    ids = np.concatenate([batch["id"][batch["weight"] > 0] for batch in batches])
    np.testing.assert_array_equal(ids, np.arange(7))
    batch = batches[0]
    assert batch["chunk"].dtype == np.float64
    np.testing.assert_array_equal(batch["start"][1, :, 0, 0], 1000 + np.arange(100))
    places = {int(b["chunk"][row, 0, 0, 0]) % 1000 for b in batches for row in range(3)}
    assert len(places) > 4
    alone = next(iter(evaluation_batches(systems[1:2], batch_size=1, dtype=np.float64)))
    np.testing.assert_array_equal(alone["chunk"][0], batch["chunk"][1])


def test_bad_arguments(systems):
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        training_batches(systems, batch_size=0)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        next(iter(evaluation_batches(systems, batch_size=0)))
    for function in (training_batches, evaluation_batches):
        with pytest.raises(ValueError, match=r"num_examples must be at least 1, got 0"):
            iter(function(systems[:0], batch_size=1)).__next__()
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        training_batches(systems, batch_size=1, seed=-1)

import numpy as np
import pytest

from eqattn.tasks.points.data import SPLITS, generate, load, names_of_values, split

POINTS = np.random.default_rng(0).normal(size=(20, 4, 2))
MASK = np.arange(4) < np.array([3, 4] * 10)[:, None]
LABELS = np.arange(20) % 3


def written(path, **arrays):
    file = path / "sets.npz"
    np.savez(file, **arrays)
    return str(file)


def test_a_file_is_read_as_it_is_described(tmp_path):
    scalars, vectors = np.random.default_rng(1).normal(size=(2, 20, 4, 2))
    sets = load(
        written(
            tmp_path,
            points=np.where(MASK[..., None], POINTS, np.nan),
            mask=MASK,
            scalars=scalars,
            vectors=vectors[:, :, None],
            values=POINTS[:, 0],
            ids=np.arange(20) + 5,
        )
    )
    assert (len(sets), sets.num_vectors) == (20, 1)
    np.testing.assert_array_equal(sets.ids, np.arange(5, 25))
    np.testing.assert_array_equal(sets.points, np.where(MASK[..., None], POINTS, 0))
    expected = np.where(MASK[..., None], np.concatenate([scalars, vectors], -1), 0)
    np.testing.assert_array_equal(sets.features, expected)
    assert names_of_values(sets) == ("value_0", "value_1")
    some = sets[np.array([7, 2])]
    np.testing.assert_array_equal(some.points, sets.points[[7, 2]])
    np.testing.assert_array_equal(some.values, sets.values[[7, 2]])
    assert some.labels is None


def test_what_is_left_out_has_a_default(tmp_path):
    sets = load(written(tmp_path, points=POINTS, labels=LABELS))
    assert sets.mask.all()
    np.testing.assert_array_equal(sets.features, np.ones((20, 4, 1)))
    np.testing.assert_array_equal(sets.ids, np.arange(20))


def test_splits_are_disjoint_and_whole_and_always_the_same(tmp_path):
    sets = generate(100)
    parts = split(sets)
    assert [len(parts[name]) for name in SPLITS] == [80, 10, 10]
    np.testing.assert_array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(100))
    for name, places in split(generate(100, seed=1)).items():
        np.testing.assert_array_equal(places, parts[name])
    told = np.array([0, 0, 1, 2] * 5)
    sets = load(written(tmp_path, points=POINTS, labels=LABELS, split=told))
    for number, name in enumerate(SPLITS):
        np.testing.assert_array_equal(split(sets)[name], np.flatnonzero(told == number))
    sets = load(written(tmp_path, points=POINTS, labels=LABELS, split=told // 2))
    with pytest.raises(ValueError, match="there is no point set in the test split"):
        split(sets)


def test_generated_values_are_virials_about_the_middle():
    sets = generate(50)
    forces = sets.features[..., 1:]
    shifted = sets.points + 3.0
    middle = shifted.mean(axis=1, keepdims=True)
    expected = np.einsum("mni,mni->m", forces, shifted - middle)
    np.testing.assert_allclose(sets.values[:, 0], expected, rtol=1e-9, atol=1e-9)
    assert np.std(expected) > 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"point": POINTS}, "unknown array 'point'; known are points, mask"),
        ({"points": None}, "no array 'points'"),
        ({"points": POINTS[0]}, r"'points' must hold real numbers on 3 axes, .* shape \(4, 2\)"),
        ({"points": POINTS.astype(complex)}, "'points' must hold real numbers"),
        ({"points": POINTS[:0]}, r"'points' is empty, with shape \(0, 4, 2\)"),
        ({"points": np.where(LABELS == 1, np.nan, 1)[:, None, None] * POINTS}, "points of the set"),
        ({"scalars": np.full((20, 4, 1), np.inf)}, "features of the set at place 0 are not finite"),
        ({"scalars": POINTS[:, :3]}, r"'scalars' must have 3 axes that begin with \(20, 4\)"),
        ({"vectors": POINTS}, r"'vectors' must have 4 axes that begin with \(20, 4\)"),
        ({"mask": MASK.astype(int)}, "'mask' must be boolean"),
        ({"mask": np.zeros((20, 4), bool)}, "a point in every set"),
        ({"labels": LABELS[:9]}, r"'labels' must have 1 axes that begin with \(20,\)"),
        ({"labels": LABELS - 1}, "'labels' must hold integers from 0"),
        ({"labels": LABELS / 2}, "'labels' must hold integers from 0"),
        ({"split": LABELS + 1}, "'split' must hold integers from 0 to 2"),
        ({"values": np.array(["a"] * 20)[:, None]}, "'values' must hold real numbers"),
        ({"values": np.where(LABELS == 1, np.nan, 1.0)[:, None]}, "values of the set at place 1"),
        ({"values": np.ones((20, 0))}, "'values' must not be empty"),
        ({"scalars": np.ones((20, 4, 0))}, "'scalars', .* must not be empty"),
        ({"points": 1e300 * POINTS}, "points of the set at place 0 are not finite"),
        ({"ids": np.zeros(20, int)}, "'ids' holds 0 more than once"),
    ],
)
def test_every_mistake_is_named(tmp_path, changes, message):
    arrays = {"points": POINTS, "labels": LABELS} | changes
    held = {name: array for name, array in arrays.items() if array is not None}
    with pytest.raises(ValueError, match=message):
        load(written(tmp_path, **held))


def test_a_file_that_is_not_there():
    with pytest.raises(FileNotFoundError, match=r"'nowhere.npz': there is no such file"):
        load("nowhere.npz")

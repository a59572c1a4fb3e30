import numpy as np
import pytest

from eqattn.tasks.molecules import Molecules, examples, features, load, split
from eqattn.tasks.molecules.data import pack, to_arrays


@pytest.fixture(scope="module")
def molecules():
    return load()


def of_length(size: int) -> Molecules:
    return Molecules(
        ids=np.arange(size),
        num_atoms=np.ones(size, np.int32),
        numbers=np.ones(size, np.uint8),
        positions=np.zeros((size, 3), np.float32),
        targets=np.zeros((size, 12)),
    )


def test_loading_packs_the_examples(molecules):
    for index, example in zip(range(50), examples(), strict=False):
        begin, end = molecules.offsets[index : index + 2]
        assert example["id"] == molecules.ids[index]
        np.testing.assert_array_equal(example["numbers"], molecules.numbers[begin:end])
        np.testing.assert_array_equal(example["positions"], molecules.positions[begin:end])
        np.testing.assert_array_equal(example["targets"], molecules.targets[index])


def test_a_saved_file_loads_to_the_same_molecules(molecules, tmp_path):
    some = molecules[np.array([5, 0, 17])]
    np.savez(tmp_path / "some.npz", **to_arrays(some))
    again = load(tmp_path / "some.npz")
    for name, array in to_arrays(again).items():
        np.testing.assert_array_equal(array, to_arrays(some)[name])


def test_nothing_cannot_be_packed():
    with pytest.raises(ValueError, match="holds no molecules"):
        pack([])


def test_indexing_takes_whole_molecules_in_the_given_order(molecules):
    indices = np.array([4, 2, 2, 2999])
    chosen = molecules[indices]
    assert len(chosen) == 4
    for place, index in enumerate(indices):
        atoms = slice(chosen.offsets[place], chosen.offsets[place + 1])
        original = slice(molecules.offsets[index], molecules.offsets[index + 1])
        np.testing.assert_array_equal(chosen.numbers[atoms], molecules.numbers[original])
        np.testing.assert_array_equal(chosen.positions[atoms], molecules.positions[original])
        np.testing.assert_array_equal(chosen.targets[place], molecules.targets[index])
        assert chosen.ids[place] == molecules.ids[index]


def test_slices_and_empty_choices(molecules):
    np.testing.assert_array_equal(molecules[10:13].ids, molecules.ids[10:13])
    assert len(molecules[:0]) == len(molecules[:0].numbers) == 0


@pytest.mark.parametrize(
    ("source", "scheme", "sizes", "seed"),
    [
        ("embedded", "standard", (2_400, 300, 300), None),
        ("qm9", "standard", (100_000, 17_748, 13_083), 0),
        ("qm9", "tfds", (110_000, 10_000, 10_831), 42),
        ("my.npz", "standard", (83, 10, 10), 0),
        ("my.npz", "standard", (1, 1, 1), 0),
    ],
)
def test_splits_share_no_molecule_and_leave_none_out(source, scheme, sizes, seed):
    total = sum(sizes)
    parts = split(of_length(total), source, scheme)
    assert tuple(len(part) for part in parts.values()) == sizes
    assert list(parts) == ["train", "validation", "test"]
    order = np.concatenate(list(parts.values()))
    np.testing.assert_array_equal(np.sort(order), np.arange(total))
    expected = np.arange(total) if seed is None else np.random.RandomState(seed).permutation(total)
    np.testing.assert_array_equal(order, expected)


@pytest.mark.parametrize(
    ("size", "source", "scheme", "message"),
    [
        (3_000, "embedded", "tfds", "split 'tfds' is unknown for the data 'embedded'"),
        (130_831, "qm9", "random", "split 'random' is unknown for the data 'qm9'"),
        (10, "my.npz", "tfds", "split 'tfds' is unknown for the data 'my.npz'"),
        (10, "qm9", "standard", "'qm9' has 130831, got 10"),
        (10, "embedded", "standard", "'embedded' has 3000, got 10"),
        (2, "my.npz", "standard", "my.npz: 2 molecules cannot be split in three"),
    ],
)
def test_bad_splits(size, source, scheme, message):
    with pytest.raises(ValueError, match=message):
        split(of_length(size), source, scheme)


def test_features_are_one_hot_times_powers_of_the_charge():
    result = features(np.array([[1, 6, 7, 8, 9, 0]], np.uint8))
    assert result.shape == (1, 6, 15)
    assert result.dtype == np.float32
    expected = np.zeros((6, 5, 3))
    for element, number in enumerate((1, 6, 7, 8, 9)):
        expected[element, element] = [1.0, number / 9, (number / 9) ** 2]
    np.testing.assert_allclose(result[0], expected.reshape(6, 15), rtol=1e-6)


@pytest.mark.parametrize("number", [-1, 2, 5, 10, 118])
def test_features_of_an_unknown_element(number):
    with pytest.raises(ValueError, match=f"unknown element with atomic number {number}; known"):
        features(np.array([1, number, 0]))

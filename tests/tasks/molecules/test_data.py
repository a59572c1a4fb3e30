import numpy as np
import pytest

from eqattn.data.atoms import Configurations
from eqattn.tasks.molecules import TARGETS, examples, load, split


@pytest.fixture(scope="module")
def molecules():
    return load()


def of_length(size: int, **properties) -> Configurations:
    return Configurations(
        ids=np.arange(size),
        num_atoms=np.ones(size, np.int32),
        numbers=np.ones(size, np.uint8),
        positions=np.zeros((size, 3)),
        cells=np.zeros((size, 3, 3)),
        periodic=np.zeros((size, 3), bool),
        properties=properties,
    )


def test_examples_are_what_is_loaded(molecules):
    for index, example in zip(range(50), examples(), strict=False):
        begin, end = molecules.offsets[index : index + 2]
        assert example["id"] == molecules.ids[index]
        np.testing.assert_array_equal(example["numbers"], molecules.numbers[begin:end])
        np.testing.assert_array_equal(example["positions"], molecules.positions[begin:end])
        known = {name: values[index] for name, values in molecules.properties.items()}
        assert example["properties"] == known
        assert list(known) == list(TARGETS)
        assert example["atom_properties"] == {}


def test_an_array_of_all_targets_is_read_by_their_names(tmp_path):
    """The layout of earlier versions, in which ids and targets may be missing."""
    arrays = {
        "num_atoms": np.array([2, 3]),
        "numbers": np.array([1, 1, 8, 1, 1]),
        "positions": np.arange(15.0).reshape(5, 3),
        "targets": np.arange(24.0).reshape(2, 12),
    }
    np.savez(tmp_path / "old.npz", **arrays)
    found = load(tmp_path / "old.npz")
    np.testing.assert_array_equal(found.ids, [0, 1])
    assert list(found.properties) == list(TARGETS)
    for name, column in zip(TARGETS, arrays["targets"].T, strict=True):
        np.testing.assert_array_equal(found.properties[name], column)
    arrays["targets"] = np.zeros((2, 5))  # of something else
    np.savez(tmp_path / "other.npz", **arrays)
    assert list(load(tmp_path / "other.npz").properties) == ["targets"]
    del arrays["targets"]
    np.savez(tmp_path / "none.npz", **arrays)
    assert load(tmp_path / "none.npz").properties == {}


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file of molecules at .*none\.npz"):
        load(tmp_path / "none.npz")
    with pytest.raises(FileNotFoundError, match="qm10: data is 'embedded', 'qm9' or the path of a"):
        load("qm10")


WATER = "3\nwater\nO 0 0 0.119\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n"


def test_periodic_cells_are_warned_of(tmp_path, caplog):
    path = tmp_path / "a.xyz"
    path.write_text(WATER)
    load(path)
    assert caplog.text == ""
    path.write_text(WATER.replace("water", 'Lattice="9 0 0 0 9 0 0 0 9"'))
    load(path)
    assert "periodic cells, which are not seen" in caplog.text


def test_indexing_takes_whole_molecules_in_the_given_order(molecules):
    indices = np.array([4, 2, 2, 2999])
    chosen = molecules[indices]
    assert len(chosen) == 4
    for place, index in enumerate(indices):
        atoms = slice(chosen.offsets[place], chosen.offsets[place + 1])
        original = slice(molecules.offsets[index], molecules.offsets[index + 1])
        np.testing.assert_array_equal(chosen.numbers[atoms], molecules.numbers[original])
        np.testing.assert_array_equal(chosen.positions[atoms], molecules.positions[original])
        assert chosen.properties["gap"][place] == molecules.properties["gap"][index]
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


def test_whole_trajectories_are_in_one_split():
    trajectory = np.repeat(np.arange(10.0), 6)
    parts = split(of_length(60, trajectory=trajectory), "own.npz")
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 48, "validation": 6, "test": 6,
    }  # fmt: skip
    held = [set(trajectory[part]) for part in parts.values()]
    assert sum(map(len, held)) == 10
    with pytest.raises(ValueError, match=r"own.npz: 2 trajectories cannot be split in three"):
        split(of_length(60, trajectory=trajectory % 2), "own.npz")
    with pytest.raises(ValueError, match=r"'trajectory' must be one number of each .* got \[3\]"):
        split(of_length(60, trajectory=np.zeros((60, 3))), "own.npz")

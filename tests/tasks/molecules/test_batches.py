import dataclasses
import itertools

import chex
import grain
import numpy as np
import pytest

from eqattn.data.atoms import Configurations
from eqattn.tasks.molecules import (
    choose_buckets,
    choose_max_pairs,
    evaluation_batches,
    features,
    load,
    pad,
    training_batches,
)

BUCKETS = (16, 20, 27)


@pytest.fixture(scope="module")
def molecules():
    return load()[:200]


@pytest.fixture(scope="module")
def targets(molecules):
    return np.stack([molecules.properties[name] for name in ("gap", "mu")], axis=1)


def assert_batches_hold_the_molecules(batches, molecules, targets):
    place = {identity: index for index, identity in enumerate(molecules.ids.tolist())}
    centered = molecules.centered_positions().astype(np.float32)
    for batch in batches:
        for row, identity in enumerate(batch["id"].tolist()):
            index = place[identity]
            atoms = slice(molecules.offsets[index], molecules.offsets[index + 1])
            size = molecules.num_atoms[index]
            np.testing.assert_array_equal(
                batch["mask"][row], np.arange(len(batch["mask"][0])) < size
            )
            np.testing.assert_array_equal(batch["points"][row, :size], centered[atoms])
            np.testing.assert_array_equal(
                batch["features"][row, :size], features(molecules.numbers[atoms])
            )
            assert not batch["points"][row, size:].any()
            assert not batch["features"][row, size:].any()
            np.testing.assert_array_equal(batch["targets"][row], targets[index].astype(np.float32))


def assert_equal_batches(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_padding(molecules):
    padded = pad(molecules, 30)
    assert padded["points"].shape == (200, 30, 3)
    np.testing.assert_array_equal(padded["mask"].sum(axis=1), molecules.num_atoms)
    np.testing.assert_array_equal(padded["numbers"][padded["mask"]], molecules.numbers)
    centered = molecules.centered_positions().astype(np.float32)
    np.testing.assert_array_equal(padded["points"][padded["mask"]], centered)
    assert np.abs(padded["points"].sum(axis=1)).max() < 1e-4
    as_they_are = pad(molecules, 30, center=False)
    np.testing.assert_array_equal(as_they_are["points"][padded["mask"]], molecules.positions)
    assert not padded["numbers"][~padded["mask"]].any()
    assert not padded["points"][~padded["mask"]].any()


def test_padding_to_too_few_points(molecules):
    with pytest.raises(ValueError, match=r"num_points=20 is less than the 2\d atoms"):
        pad(molecules, 20)


@pytest.mark.parametrize("num_buckets", [1, 2, 3])
def test_buckets_cost_least(molecules, num_buckets):
    num_atoms = molecules.num_atoms
    largest = int(num_atoms.max())

    def cost(buckets):
        return sum(buckets[np.searchsorted(buckets, size)] ** 2 for size in num_atoms)

    sizes = np.unique(num_atoms)[:-1].tolist()
    least = min(
        cost((*chosen, largest)) for chosen in itertools.combinations(sizes, num_buckets - 1)
    )
    chosen = choose_buckets(num_atoms, num_buckets)
    assert len(chosen) == num_buckets
    assert chosen[-1] == largest
    assert cost(chosen) == least


def test_no_more_buckets_than_sizes():
    assert choose_buckets(np.array([4, 4, 7]), 5) == (4, 7)


def test_buckets_of_nothing():
    with pytest.raises(ValueError, match="no molecules to choose buckets for"):
        choose_buckets(np.zeros(0, int))
    with pytest.raises(ValueError, match="num_buckets must be at least 1, got 0"):
        choose_buckets(np.array([3]), 0)


def test_training_batches_have_the_documented_contents(molecules, targets):
    batches = training_batches(molecules, targets, batch_size=8, buckets=BUCKETS)
    some = [batches[step] for step in range(20)]
    assert_batches_hold_the_molecules(some, molecules, targets)
    types = {name: array.dtype.name for name, array in some[0].items()}
    assert types == {
        "points": "float32",
        "features": "float32",
        "mask": "bool",
        "targets": "float32",
        "known": "bool",
        "id": "int32",
    }
    shapes = {batch["points"].shape for batch in some}
    assert shapes == {(8, size, 3) for size in BUCKETS}


def test_every_pass_over_a_bucket_holds_each_molecule_once_in_a_new_order(molecules, targets):
    batches = training_batches(molecules, targets, batch_size=8, buckets=BUCKETS)
    for bucket, size in enumerate(BUCKETS):
        inside = np.searchsorted(BUCKETS, molecules.num_atoms) == bucket
        count = int(inside.sum())
        own = (b["id"] for b in map(batches.__getitem__, range(150)) if b["mask"].shape[1] == size)
        stream = np.concatenate(list(own))
        first, second = stream[:count], stream[count : 2 * count]
        np.testing.assert_array_equal(np.sort(first), np.sort(molecules.ids[inside]))
        np.testing.assert_array_equal(np.sort(second), np.sort(molecules.ids[inside]))
        assert (first != second).any()


def test_buckets_take_turns_in_proportion(molecules, targets):
    batches = training_batches(molecules, targets, batch_size=4, buckets=BUCKETS)
    sizes = [batches[step]["mask"].shape[1] for step in range(200)]
    for bucket, size in enumerate(BUCKETS):
        count = (np.searchsorted(BUCKETS, molecules.num_atoms) == bucket).sum()
        assert abs(sizes.count(size) - count) <= 3


def test_the_order_depends_on_the_seed_alone(molecules, targets):
    first, again, other = (
        training_batches(molecules, targets, batch_size=8, buckets=BUCKETS, seed=seed)
        for seed in (3, 3, 4)
    )
    for step in (0, 1, 77, 10**6):
        assert_equal_batches(first[step], again[step])
    assert any((first[step]["id"] != other[step]["id"]).any() for step in range(4))


def test_the_order_stays_what_it_is(molecules, targets):
    # Pinned: a run that is resumed under other versions must go on with the same batches.
    batches = training_batches(molecules, targets, batch_size=6, buckets=(27,), seed=3)
    assert batches[0]["id"].tolist() == [28849, 11340, 40000, 80335, 112219, 57919]
    assert batches[1000]["id"].tolist() == [102171, 21878, 64118, 36159, 126358, 106347]


def test_neighboring_seeds_do_not_share_passes(molecules, targets):
    def passes(seed):
        batches = training_batches(molecules, targets, batch_size=200, buckets=(27,), seed=seed)
        return [batches[step]["id"] for step in range(3)]

    for one, two in itertools.product(passes(0), passes(1)):
        assert (one != two).any()


def test_resuming_gives_the_batches_that_were_to_come(molecules, targets):
    def fresh():
        return training_batches(molecules, targets, batch_size=8, buckets=BUCKETS, seed=1)

    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
    iterator = iter(fresh().to_iter_dataset(options))
    for _ in range(37):
        next(iterator)
    state = iterator.get_state()
    expected = [next(iterator) for _ in range(5)]
    resumed = iter(fresh().to_iter_dataset(options))
    resumed.set_state(state)
    batches = fresh()
    for step, batch in enumerate(expected, start=37):
        assert_equal_batches(next(resumed), batch)
        assert_equal_batches(batches[step], batch)


def test_a_batch_may_be_larger_than_its_bucket(molecules, targets):
    batches = training_batches(molecules[:3], targets[:3], batch_size=8)
    ids, counts = np.unique(
        np.concatenate([batches[step]["id"] for step in range(30)]), return_counts=True
    )
    assert len(ids) == 3
    assert counts.max() - counts.min() <= 8


@pytest.mark.parametrize("batch_size", [1, 8, 500])
def test_evaluation_batches_hold_each_molecule_once(molecules, targets, batch_size):
    batches = list(evaluation_batches(molecules, targets, batch_size=batch_size, buckets=BUCKETS))
    assert_batches_hold_the_molecules(batches, molecules, targets)
    assert {len(array) for batch in batches for array in batch.values()} == {batch_size}
    real = np.concatenate([batch["id"][batch["weight"] == 1] for batch in batches])
    np.testing.assert_array_equal(np.sort(real), np.sort(molecules.ids))
    weights = np.concatenate([batch["weight"] for batch in batches])
    assert weights.dtype == np.float32
    assert weights.sum() == len(molecules)
    sizes = [batch["mask"].shape[1] for batch in batches]
    assert sizes == sorted(sizes)


def test_targets_that_are_not_known_are_told_apart(molecules, targets):
    targets = targets.copy()
    targets[:50, 0] = np.nan
    for batch in evaluation_batches(molecules, targets, batch_size=64):
        unknown = np.isin(batch["id"], molecules.ids[:50])
        np.testing.assert_array_equal(batch["known"], np.stack([~unknown, unknown | True], -1))
        chex.assert_tree_all_finite(batch)
        assert not batch["targets"][unknown, 0].any()
        assert batch["targets"][:, 1].all()


def test_labels_of_atoms_are_padded_with_them(molecules):
    """And features are the one-hot of the elements that are asked for."""
    elements = ("H", "C", "N", "O", "F")
    values = np.random.default_rng(0).normal(size=(len(molecules.numbers), 2))
    values[:7, 1] = np.nan
    options = {"batch_size": 8, "elements": elements, "of_atoms": True}
    place = {identity: index for index, identity in enumerate(molecules.ids.tolist())}
    for batch in evaluation_batches(molecules, values, **options):
        mask = batch["mask"]
        for row, identity in enumerate(batch["id"].tolist()):
            begin, end = molecules.offsets[place[identity] : place[identity] + 2]
            true = values[begin:end].astype(np.float32)
            np.testing.assert_array_equal(batch["known"][row][mask[row]], ~np.isnan(true))
            np.testing.assert_array_equal(batch["targets"][row][mask[row]], np.nan_to_num(true))
            np.testing.assert_array_equal(
                batch["features"][row][mask[row]], features(molecules.numbers[begin:end], elements)
            )
        assert not batch["known"][~mask].any()
        assert not batch["targets"][~mask].any()
    with pytest.raises(ValueError, match=rf"targets must be \[{len(molecules.numbers)}, K\], got"):
        evaluation_batches(molecules, values[:200], **options)


@pytest.fixture(scope="module")
def one_is_large():
    """Two hundred molecules of 5 atoms, and one of 1,200."""
    sizes = np.array([5] * 200 + [1200])
    molecules = Configurations(
        ids=np.arange(201),
        num_atoms=sizes,
        numbers=np.ones(sizes.sum(), np.uint8),
        positions=np.zeros((sizes.sum(), 3), np.float32),
        cells=np.zeros((201, 3, 3)),
        periodic=np.zeros((201, 3), bool),
    )
    return molecules, np.zeros((201, 1))


def test_large_molecules_come_few_at_a_time(one_is_large):
    shapes = [b["mask"].shape for b in evaluation_batches(*one_is_large, batch_size=32)]
    assert shapes == [(32, 5)] * 7 + [(1, 1200)]
    shapes = [
        b["mask"].shape
        for b in evaluation_batches(*one_is_large, batch_size=32, max_pairs=3 * 1200**2)
    ]
    assert shapes == [(32, 5)] * 7 + [(3, 1200)]


def test_large_molecules_come_as_often_as_the_others(one_is_large):
    """In each pass: the 200 of 5 atoms make 6.25 batches, and the large one makes 1."""
    batches = training_batches(*one_is_large, batch_size=32)
    shapes = [batches[step]["mask"].shape for step in range(29)]
    assert set(shapes) == {(32, 5), (1, 1200)}
    assert shapes.count((1, 1200)) == 4, "in four passes"


def test_the_sizes_that_molecules_have_in_qm9_are_not_changed():
    sizes = load().num_atoms
    for buckets in ((19, 27), choose_buckets(sizes), (40,)):
        assert choose_max_pairs(sizes, buckets, batch_size=32) >= 32 * max(buckets) ** 2


def test_empty_buckets_are_left_out(molecules, targets):
    sizes = {
        batch["mask"].shape[1]
        for batch in evaluation_batches(molecules, targets, batch_size=50, buckets=(2, 27, 40))
    }
    assert sizes == {27}
    batches = training_batches(molecules, targets, batch_size=50, buckets=(2, 27, 40))
    assert batches[0]["mask"].shape == (50, 27)


@pytest.mark.parametrize("function", [training_batches, evaluation_batches])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"buckets": (16, 20)}, r"reach the 2\d atoms of the largest molecule, got \(16, 20\)"),
        ({"buckets": (0, 27)}, r"buckets must be positive .*got \(0, 27\)"),
        ({"targets": np.zeros((3, 1))}, r"targets must be \[200, K\], got \[3, 1\]"),
        ({"targets": np.full((200, 1), np.inf)}, "targets must be finite in float32, or NaN where"),
        (
            {"targets": np.full((200, 1), -1e39)},
            "targets must be finite in float32, .* got 1e\\+39",
        ),
        ({"max_pairs": 0}, "max_pairs must be at least 1, got 0"),
    ],
)
def test_bad_arguments(molecules, targets, function, changes, message):
    arguments = {"targets": targets, "batch_size": 8} | changes
    with pytest.raises(ValueError, match=message):
        function(molecules, **arguments)


@pytest.mark.parametrize("function", [training_batches, evaluation_batches])
def test_no_molecules(molecules, targets, function):
    with pytest.raises(ValueError, match="molecules is empty"):
        function(molecules[:0], targets[:0], batch_size=8)


@pytest.mark.parametrize("wrong", [-1, 2**31, 2**32 + 5])
@pytest.mark.parametrize("function", [training_batches, evaluation_batches])
def test_ids_that_would_become_others(molecules, targets, function, wrong):
    ids = molecules.ids.copy()
    ids[3] = wrong
    molecules = dataclasses.replace(molecules, ids=ids)
    with pytest.raises(ValueError, match=f"ids must be from 0 to 2147483647, got {wrong}"):
        list(itertools.islice(function(molecules, targets, batch_size=8), 100))


@pytest.mark.parametrize("function", [training_batches, evaluation_batches])
def test_numbers_of_another_type(molecules, targets, function, no_type_checks):
    with pytest.raises(TypeError, match=r"batch_size must be an integer, got 2\.5"):
        function(molecules, targets, batch_size=2.5)
    with pytest.raises(TypeError, match="seed must be an integer, got 'a'"):
        training_batches(molecules, targets, batch_size=8, seed="a")


def test_a_negative_seed(molecules, targets):
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        training_batches(molecules, targets, batch_size=8, seed=-1)


def test_lists_are_taken_for_arrays(molecules, targets, no_type_checks):
    assert choose_buckets([5, 5, 6, 18, 19, 29]) == (6, 19, 29)
    np.testing.assert_array_equal(features([[1, 6]]), features(np.array([[1, 6]])))
    first, second = (
        next(iter(evaluation_batches(molecules[:4], values, batch_size=4, buckets=(29,))))
        for values in (targets[:4], targets[:4].tolist())
    )
    assert_equal_batches(first, second)


def test_molecules_far_from_the_origin_lose_no_digits(molecules, targets):
    some = molecules[:4]
    far = dataclasses.replace(some, positions=some.positions.astype(np.float64) + 1e6)
    here, there = (
        next(iter(evaluation_batches(part, targets[:4], batch_size=4, buckets=(29,))))
        for part in (some, far)
    )
    np.testing.assert_allclose(there["points"], here["points"], atol=1e-6)
    raw = pad(far, 29, center=False)["points"]
    assert np.abs(raw - 1e6 - pad(some, 29, center=False)["points"])[here["mask"]].max() > 1e-2

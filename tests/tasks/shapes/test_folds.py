import numpy as np
import pytest

from eqattn.tasks.shapes.folds import assign_parts


@pytest.fixture(scope="module")
def grouped():
    random = np.random.RandomState(0)
    labels = np.repeat(np.arange(6), [50, 40, 30, 20, 10, 5])
    groups = np.arange(len(labels))
    for begin in range(0, len(labels), 5):  # within a class, half of them in pairs
        groups[begin + 1] = groups[begin]
    order = random.permutation(len(labels))
    return labels[order], groups[order]


def test_every_class_is_spread_evenly(grouped):
    labels, groups = grouped
    parts = assign_parts(labels, groups, 5)
    counts = np.array([np.bincount(labels[parts == part], minlength=6) for part in range(5)])
    assert np.abs(counts - np.array([10, 8, 6, 4, 2, 1])).max() <= 1
    assert np.ptp(counts.sum(axis=1)) <= 2


def test_groups_stay_whole(grouped):
    labels, groups = grouped
    parts = assign_parts(labels, groups, 5)
    for group in np.unique(groups):
        assert len(set(parts[groups == group])) == 1
    alone = assign_parts(labels, np.arange(len(labels)), 5)
    assert any(len(set(alone[groups == group])) > 1 for group in np.unique(groups))


def test_a_group_of_two_classes_counts_in_both():
    parts = assign_parts(np.array([0, 1, 0, 1, 0, 1]), np.array([0, 0, 1, 2, 3, 4]), 2)
    assert sorted(np.bincount(parts)) == [3, 3]


def test_the_parts_are_always_the_same(grouped):
    first, again = (assign_parts(*grouped, 3) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_no_examples():
    assert assign_parts(np.zeros(0, int), np.zeros(0, int), 3).shape == (0,)


def test_bad_arguments(no_type_checks):
    with pytest.raises(ValueError, match="num_parts must be at least 1, got 0"):
        assign_parts(np.zeros(2, int), np.zeros(2, int), 0)
    with pytest.raises(ValueError, match="labels and groups must be equally long, got 2 and 3"):
        assign_parts(np.zeros(2, int), np.zeros(3, int), 2)
    with pytest.raises(ValueError, match="labels must not be negative, got -1"):
        assign_parts(np.array([0, -1]), np.zeros(2, int), 2)

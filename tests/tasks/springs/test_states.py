import numpy as np
import pytest

from eqattn.tasks.springs.data import TIMES
from eqattn.tasks.springs.states import read_states


def good_arrays():
    random = np.random.RandomState(0)
    return {
        "positions": random.normal(size=(2, 3, 2)),
        "momenta": random.normal(size=(2, 3, 2)).astype(np.float32),
        "masses": random.uniform(0.1, 3.1, (2, 3)),
        "spring_constants": random.randint(0, 5, (2, 3)),
        "times": np.array([1.0, 1.5, 3.0]),
        "ids": np.array([7, 3]),
    }


def save(path, **changes):
    arrays = good_arrays() | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def changed(name, index, value):
    array = good_arrays()[name].astype(np.float64)
    array[index] = value
    return {name: array}


def test_a_file_gives_its_arrays(tmp_path):
    states = read_states(save(tmp_path / "mine.npz"))
    assert len(states) == 2
    for name, array in good_arrays().items():
        np.testing.assert_array_equal(getattr(states, name), array)
        assert getattr(states, name).dtype == (np.int64 if name == "ids" else np.float64)


def test_times_and_ids_may_be_missing(tmp_path):
    states = read_states(save(tmp_path / "mine.npz", times=None, ids=None))
    np.testing.assert_array_equal(states.times, TIMES[:100])
    np.testing.assert_array_equal(states.ids, [0, 1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"masses": None},
            r"no array 'masses'; it needs \('positions', 'momenta', .* has ids, momenta, posi",
        ),
        (
            {"positions": np.zeros((2, 3))},
            r"'positions' must be \[M, N, 2\] with M > 0 and N > 0, got \[2, 3\]",
        ),
        ({"positions": np.zeros((2, 3, 3))}, r"'positions' must be .* got \[2, 3, 3\]"),
        ({"positions": np.zeros((0, 3, 2))}, r"'positions' must be .* got \[0, 3, 2\]"),
        (
            {"momenta": np.zeros((2, 6, 2))},
            r"'momenta' must be \[2, 3, 2\] for 2 systems of 3 particles, got \[2, 6, 2\]",
        ),
        ({"masses": np.ones(2)}, r"'masses' must be \[2, 3\] .* got \[2\]"),
        ({"spring_constants": np.ones((3, 2))}, r"'spring_constants' must be \[2, 3\] .* got \[3,"),
        ({"ids": np.arange(3)}, r"'ids' must be \[2\] .* got \[3\]"),
        ({"ids": np.array([0.0, 1.0])}, "'ids' must hold integers, got float64"),
        ({"ids": np.array([4, 4])}, "'ids' holds 4 more than once"),
        ({"times": np.zeros((2, 2))}, r"'times' must be \[T\] with T > 0, got \[2, 2\]"),
        ({"times": np.zeros(0)}, r"'times' must be \[T\] with T > 0, got \[0\]"),
        ({"times": np.array([0.0, 2.0, 1.0])}, "'times' must increase, got 1 after 2"),
        ({"times": np.array([0.0, 2.0, 2.0])}, "'times' must increase, got 2 after 2"),
        (changed("times", 1, np.nan), r"'times' is not finite in float32 at \[1\]"),
        (changed("positions", (1, 2, 0), np.nan), r"'positions' is not .* at \[1, 2, 0\]"),
        (changed("momenta", (0, 1, 1), np.inf), r"'momenta' is not finite .* at \[0, 1, 1\]"),
        (changed("spring_constants", (0, 1), 1e39), "'spring_constants' is not finite in float32"),
        (
            changed("masses", (1, 2), 0.0),
            "'masses' must be above 0, got 0 for particle 2 of system 1",
        ),
        (changed("masses", (0, 0), -2.5), "'masses' must be above 0, got -2.5 for particle 0"),
        ({"momenta": np.full((2, 3, 2), "a")}, "'momenta' must hold numbers, got <U1"),
        (
            {"time": np.arange(3.0)},
            "has an unknown array 'time'; known are positions, .*times, ids",
        ),
        ({"momenta": np.array([None])}, "npz file of springs: it holds Python objects"),
    ],
)
def test_bad_files(tmp_path, changes, message):
    path = save(tmp_path / "mine.npz", **changes)
    with pytest.raises(ValueError, match=message) as caught:
        read_states(path)
    assert str(path) in str(caught.value)


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz does not exist"):
        read_states(tmp_path / "none.npz")
    with pytest.raises(ValueError, match="is not a file"):
        read_states(tmp_path)

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.models.intervals import intervals_between


@pytest.mark.parametrize("kind", [list, tuple, np.asarray])
@pytest.mark.parametrize("start", [0.0, 1e5, 1.7e9])
def test_differences_are_taken_before_the_cast(kind, start):
    times = start + np.array([0.0, 0.5, 0.75, 3.0])
    intervals = intervals_between(kind(times), jnp.float32)
    assert intervals.lengths.dtype == intervals.elapsed.dtype == jnp.float32
    np.testing.assert_array_equal(intervals.lengths, [0.5, 0.25, 2.25])
    np.testing.assert_array_equal(intervals.elapsed, [0.0, 0.5, 0.75, 3.0])
    assert intervals_between(intervals, jnp.float64) is intervals


def test_integers_are_times():
    np.testing.assert_array_equal(intervals_between([3, 5, 6], jnp.float32).lengths, [2, 1])


def test_under_jit_they_are_differences_too():
    lengths = jax.jit(lambda times: intervals_between(times, jnp.float32).lengths)
    np.testing.assert_array_equal(lengths(jnp.array([2.0, 3.0, 5.0])), [1.0, 2.0])


@pytest.mark.parametrize(
    ("times", "error", "message"),
    [
        ([], ValueError, r"times must have shape \[times\], at least 1, got \(0,\)"),
        ([[0.0, 1.0]], ValueError, r"times must have shape \[times\], at least 1, got \(1, 2\)"),
        ([0.0, 2.0, 1.0], ValueError, r"times must increase, got \[0. 2. 1.\]"),
        ([0.0, 1.0, 1.0], ValueError, r"times must increase, got \[0. 1. 1.\]"),
        ([0.0, np.nan], ValueError, r"times must increase, got \[ 0. nan\]"),
        ([0.0, 1e300], ValueError, "times must increase in float32 too, from the first one on"),
        ([0.0, 1e-60], ValueError, "times must increase in float32 too, from the first one on"),
        (["a", "b"], TypeError, "times must be numbers, got <U1"),
    ],
)
def test_bad_times_are_one_clear_error(times, error, message):
    with pytest.raises(error, match=message):
        intervals_between(times, jnp.float32)


def test_only_the_adaptive_solver_needs_times_that_the_type_tells_apart():
    times = [0.0, 9.0, 9.0 + 1e-12]
    assert intervals_between(times, jnp.float32).lengths[1] == np.float32(times[2] - times[1])
    with pytest.raises(ValueError, match="times must increase in float32 too"):
        intervals_between(times, jnp.float32, solver="adaptive")

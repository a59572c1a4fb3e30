"""Times of a trajectory as what a motion knows of them: differences, taken before any cast.

Equations of motion do not depend on when they begin. Seconds since 1970 in float32 are 128 s apart,
so that differences are taken in float64, on the host, before anything becomes float32.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from eqattn.pytrees import register_dataclass
from eqattn.typing import Array, Float

__all__ = ["Intervals", "Times", "intervals_between"]


@register_dataclass
@dataclass(frozen=True)
class Intervals:
    """The intervals between increasing times; what :func:`intervals_between` returns.

    Attributes:
      lengths: Lengths of the intervals.
      elapsed: Since the first time, at all times; 0 at first.
    """

    lengths: Float[Array, " intervals"]
    elapsed: Float[Array, " times"]

    def __len__(self) -> int:
        return self.lengths.shape[0]


Times = Float[Array, " times"] | np.ndarray | Sequence[Any] | Intervals
"""Increasing times, in float64 if they are of NumPy, or the intervals between them."""


def intervals_between(times: Times, dtype: Any, *, solver: str = "rk4") -> Intervals:
    """Returns the intervals between times, whose values are checked wherever they are known.

    >>> intervals_between([1.7e9, 1.7e9 + 0.5, 1.7e9 + 0.75], "float32").lengths.tolist()
    [0.5, 0.25]

    Args:
      times: Increasing times; intervals are returned as they are.
      dtype: Data type of the result.
      solver: The solver they are for; ``"adaptive"`` also needs times that increase in ``dtype``.

    Raises:
      TypeError: For times that are no numbers.
      ValueError: For times of another shape, or that do not increase (outside ``jit``).
    """
    if isinstance(times, Intervals):
        return times
    xp: Any = jnp if isinstance(times, Tracer) else np
    values: Any = _to_numbers(times) if xp is np else times
    if values.ndim != 1 or values.shape[0] == 0:
        raise ValueError(f"times must have shape [times], at least 1, got {values.shape}")
    lengths, elapsed = xp.diff(values), values - values[0]
    if xp is np:
        if not np.all(lengths > 0):  # of NaN too
            raise ValueError(f"times must increase, got {_shown(values)}")
        with np.errstate(over="ignore"):
            lengths, elapsed = lengths.astype(dtype), elapsed.astype(dtype)
        must_increase = np.diff(elapsed) if solver == "adaptive" else lengths
        if not (np.all(must_increase > 0) and np.all(np.isfinite(elapsed))):
            raise ValueError(
                f"times must increase in {np.dtype(dtype)} too, from the first one on, got "
                f"{_shown(values)}"
            )
    return Intervals(jnp.asarray(lengths, dtype), jnp.asarray(elapsed, dtype))


def _to_numbers(times: Any) -> Float[np.ndarray, "..."]:
    values = np.asarray(times)
    if values.dtype.kind not in "fiu" and values.size:
        raise TypeError(f"times must be numbers, got {values.dtype}")
    return values.astype(np.float64)


def _shown(values: Float[np.ndarray, " times"]) -> str:
    with np.printoptions(threshold=6, edgeitems=3):
        return str(values)

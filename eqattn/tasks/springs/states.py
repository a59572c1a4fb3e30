"""States of springs from an npz file, to be rolled out by a model of the task "springs".

The file holds M systems of N particles in the plane, in the dimensionless units of
`eqattn.tasks.springs.data`:

* ``positions`` [M, N, 2] and ``momenta`` [M, N, 2] at the first time;
* ``masses`` [M, N], above 0, and ``spring_constants`` [M, N];
* if you like ``times`` [T], increasing: when the states are wanted, the first time included. By
  default the first hundred of the record that models are trained on, 0 to 0.992;
* if you like ``ids`` [M], different integers, which samples of a lift are keyed by; else
  0, 1, 2, …

For example ``np.savez("mine.npz", positions=q, momenta=p, masses=m, spring_constants=k)``.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from eqattn.data.archives import check_ids, check_names, read_archive, to_numbers
from eqattn.tasks.springs.batches import ROLL_OUT_LENGTH
from eqattn.tasks.springs.data import TIMES

_NEEDED = ("positions", "momenta", "masses", "spring_constants")


@dataclass(frozen=True, eq=False)
class SpringStates:
    """States of M systems, and the times they are to be followed to; see the top of this file.

    Attributes:
      ids: Ids of the systems.
      positions: Positions of the particles, at the first time.
      momenta: Momenta of the particles, at the first time.
      masses: Masses of the particles.
      spring_constants: Spring constants of the particles.
      times: The first one is that of the states.
    """

    ids: Int[np.ndarray, "M"]
    positions: Float[np.ndarray, "M N 2"]
    momenta: Float[np.ndarray, "M N 2"]
    masses: Float[np.ndarray, "M N"]
    spring_constants: Float[np.ndarray, "M N"]
    times: Float[np.ndarray, " T"]

    def __len__(self) -> int:
        return len(self.ids)


def read_states(path: str | os.PathLike[str]) -> SpringStates:
    """Returns the states in a file.

    Args:
      path: An npz file of the layout at the top of this file.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If it does not hold states of springs; the message names what is wrong.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    if not path.is_file():
        raise ValueError(f"{path} is not a file.")
    arrays = read_archive(path, "springs")
    check_names(path, arrays, _NEEDED, ("times", "ids"))
    _check_shapes(path, arrays)
    arrays.setdefault("times", TIMES[:ROLL_OUT_LENGTH])
    arrays.setdefault("ids", np.arange(len(arrays["masses"])))
    check_ids(path, arrays["ids"])
    numbers = {name: to_numbers(path, name, arrays[name]) for name in (*_NEEDED, "times")}
    masses, times = numbers["masses"], numbers["times"]
    if masses.min() <= 0:
        system, particle = np.unravel_index(np.argmin(masses), masses.shape)
        raise ValueError(
            f"{path}: 'masses' must be above 0, got {masses.min():g} for particle {particle} of "
            f"system {system}."
        )
    if np.any(np.diff(times) <= 0):
        place = int(np.argmax(np.diff(times) <= 0))
        raise ValueError(
            f"{path}: 'times' must increase, got {times[place + 1]:g} after {times[place]:g}."
        )
    return SpringStates(ids=arrays["ids"].astype(np.int64), **numbers)


def _check_shapes(path: Path, arrays: dict[str, np.ndarray]) -> None:
    shape = arrays["positions"].shape
    if len(shape) != 3 or shape[-1] != 2 or not arrays["positions"].size:
        raise ValueError(
            f"{path}: 'positions' must be [M, N, 2] with M > 0 and N > 0, got {list(shape)}."
        )
    expected = {"momenta": shape, "masses": shape[:2], "spring_constants": shape[:2]}
    expected |= {"ids": shape[:1]} if "ids" in arrays else {}
    for name, wanted in expected.items():
        if arrays[name].shape != wanted:
            raise ValueError(
                f"{path}: {name!r} must be {list(wanted)} for {shape[0]} systems of {shape[1]} "
                f"particles, got {list(arrays[name].shape)}."
            )
    if "times" in arrays and (arrays["times"].ndim != 1 or not arrays["times"].size):
        raise ValueError(
            f"{path}: 'times' must be [T] with T > 0, got {list(arrays['times'].shape)}."
        )

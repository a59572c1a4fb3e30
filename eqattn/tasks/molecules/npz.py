"""Reads molecules from an npz file, and says what is wrong with one that does not hold them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from eqattn.data.archives import check_ids, check_names, read_archive
from eqattn.data.atoms.elements import SYMBOLS
from eqattn.tasks.molecules.targets import ELEMENTS, TARGETS

_ALL_ELEMENTS = {symbol: number for number, symbol in enumerate(SYMBOLS, start=1)}
_NEEDED = ("num_atoms", "numbers", "positions", "targets")


def read_arrays(path: Path, *, needs_targets: bool = True) -> dict[str, np.ndarray]:
    """Returns the arrays of a file in the layout of `eqattn.tasks.molecules.Molecules`, checked.

    Args:
      path: An npz file; ``ids`` may be missing from it and are then 0, 1, 2, ….
      needs_targets: Whether ``targets`` must be there, and elements be those of QM9; else targets
        may be missing, and are NaN, and any element may occur.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If it does not hold molecules; the message names what is wrong.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no file of molecules at {path}: data is 'embedded', 'qm9' or the path of an npz file."
        )
    arrays = read_archive(path, "molecules")
    needed = _NEEDED if needs_targets else _NEEDED[:-1]
    check_names(path, arrays, needed, ("targets", "ids"))
    arrays.setdefault("targets", np.full((arrays["num_atoms"].size, len(TARGETS)), np.nan))
    arrays.setdefault("ids", np.arange(arrays["num_atoms"].size))
    for name, kind in (("num_atoms", "iu"), ("numbers", "iu"), ("positions", "f")):
        if arrays[name].dtype.kind not in kind:
            wanted = "integers" if kind == "iu" else "floats"
            raise ValueError(f"{path}: {name!r} must hold {wanted}, got {arrays[name].dtype}.")
    if arrays["targets"].dtype.kind not in "fiu":
        raise ValueError(f"{path}: 'targets' must hold numbers, got {arrays['targets'].dtype}.")
    _check_shapes(path, arrays)
    _check_values(path, arrays, ELEMENTS if needs_targets else _ALL_ELEMENTS)
    return {
        "ids": arrays["ids"].astype(np.int64),
        "num_atoms": arrays["num_atoms"].astype(np.int32),
        "numbers": arrays["numbers"].astype(np.uint8),
        "positions": _at_least_float32(arrays["positions"]),
        "targets": arrays["targets"].astype(np.float64),
    }


def _check_shapes(path: Path, arrays: dict[str, np.ndarray]) -> None:
    num_atoms = arrays["num_atoms"]
    if num_atoms.ndim != 1 or num_atoms.size == 0:
        raise ValueError(f"{path}: 'num_atoms' must be [M] with M > 0, got {num_atoms.shape}.")
    if num_atoms.min() < 1:
        index = int(np.argmin(num_atoms))
        raise ValueError(f"{path}: molecule {index} has {num_atoms[index]} atoms, not 1 or more.")
    molecules, atoms = len(num_atoms), sum(num_atoms.tolist())  # of Python, which is exact
    expected = {
        "ids": (molecules,),
        "numbers": (atoms,),
        "positions": (atoms, 3),
        "targets": (molecules, len(TARGETS)),
    }
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise ValueError(
                f"{path}: {name!r} must be {list(shape)} for {molecules} molecules of {atoms} "
                f"atoms in all, got {list(arrays[name].shape)}."
            )


def _at_least_float32(positions: np.ndarray) -> np.ndarray:
    return positions.astype(np.float32 if positions.itemsize <= 4 else np.float64)


def _check_values(path: Path, arrays: dict[str, np.ndarray], elements: Mapping[str, int]) -> None:
    ids = arrays["ids"]
    check_ids(path, ids)
    unknown = np.setdiff1d(arrays["numbers"], list(elements.values()))
    if unknown.size:
        known = ", ".join(f"{symbol} {number}" for symbol, number in elements.items())
        if len(elements) == len(SYMBOLS):
            known = f"1 to {len(SYMBOLS)}"
        raise ValueError(
            f"{path}: 'numbers' holds the unknown element {unknown[0]}; known are {known}."
        )
    finite = (np.abs(arrays["positions"]) <= np.finfo(np.float32).max).all(axis=1)
    if not finite.all():
        atom = int(np.argmin(finite))
        owner = np.repeat(np.arange(len(ids)), arrays["num_atoms"])[atom]
        raise ValueError(
            f"{path}: 'positions' is not finite in float32 at atom {atom} (molecule {owner})."
        )
    for target, column in zip(TARGETS.values(), arrays["targets"].T, strict=True):
        if np.isinf(column).any():
            index = int(np.argmax(np.isinf(column)))
            raise ValueError(
                f"{path}: target {target.name!r} of molecule {index} is {column[index]}; 'targets' "
                "are finite, or NaN where they are not known."
            )

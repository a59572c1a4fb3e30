"""Reads and writes configurations as npz files, in the layouts that are in use.

* Ours: ``num_atoms`` [M], ``numbers`` [A], ``positions`` [A, 3] in ångström and, if you like,
  ``ids`` [M], ``cells`` [M, 3, 3] and ``periodic`` [M, 3]. Every other array is a property: of
  configurations where it has M rows, of atoms where it has A. The atoms of all configurations stand
  one after the other, A = sum of ``num_atoms``.
* MD17 (arXiv:1611.04678): ``R`` [M, N, 3], ``z`` [N], ``E`` [M] or [M, 1] and ``F`` [M, N, 3].
* Revised MD17 (arXiv:2007.09593): ``coords``, ``nuclear_charges``, ``energies`` and ``forces``.

Both of MD17 are in kcal/mol; here they become ``energy`` in eV and ``forces`` in eV/Å.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from eqattn.data.archives import check_ids, read_archive, to_numbers
from eqattn.data.atoms.configurations import Configurations
from eqattn.data.atoms.elements import SYMBOLS
from eqattn.data.cache import save_arrays

KCAL_PER_MOL_IN_EV = 0.0433641042418
"""One kcal/mol in eV: 4184 J / (N_A e), by CODATA 2018."""
_NEEDED = ("num_atoms", "numbers", "positions")
_OWN = (*_NEEDED, "ids", "cells", "periodic")
_OTHERS = {  # numbers, positions, energies and forces in other layouts
    "MD17": ("z", "R", "E", "F"),
    "revised MD17": ("nuclear_charges", "coords", "energies", "forces"),
}


def read_npz(path: Path) -> Configurations:
    """Returns the configurations of an npz file, in one of the layouts above.

    Args:
      path: The file.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If it does not hold configurations; the message names what is wrong.
    """
    arrays = read_archive(path, "configurations")
    for names in _OTHERS.values():
        if names[0] in arrays and names[1] in arrays:
            arrays = _packed(path, arrays, *names)
            break
    missing = [name for name in _NEEDED if name not in arrays]
    if missing:
        known = "; ".join(f"{', '.join(names)} of {kind}" for kind, names in _OTHERS.items())
        raise ValueError(
            f"{path} has no array {missing[0]!r}; it needs {', '.join(_NEEDED)} (or {known}), has "
            f"{', '.join(sorted(arrays)) or 'none'}."
        )
    return _configurations(path, arrays)


def write_npz(path: str | os.PathLike[str], configurations: Configurations) -> None:
    """Writes configurations in our layout; :func:`read_npz` reads them back.

    Args:
      path: The file, which is written whole or not at all.
      configurations: What is written.

    Raises:
      ValueError: If a property has the name of an array of the layout, or one of atoms that of one
        of configurations.
    """
    arrays = {name: getattr(configurations, name) for name in _OWN}
    for held in (configurations.properties, configurations.atom_properties):
        for name, values in held.items():
            if name in arrays:
                raise ValueError(f"{path}: {name!r} is the name of two arrays")
            arrays[name] = values
    save_arrays(Path(path), arrays)


def _packed(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    numbers: str,
    positions: str,
    energy: str,
    force: str,
) -> dict[str, np.ndarray]:
    """Our layout of frames of one molecule; other arrays of the file are passed over."""
    z, r = arrays[numbers], arrays[positions]
    if z.ndim != 1 or r.ndim != 3 or r.shape[1:] != (len(z), 3):
        raise ValueError(
            f"{path}: {positions!r} must be [M, N, 3] and {numbers!r} [N], got {list(r.shape)} and "
            f"{list(z.shape)}."
        )
    num = len(r)
    packed = {
        "num_atoms": np.full(num, len(z)),
        "numbers": np.tile(z, num),
        "positions": r.reshape(-1, 3),
    }
    if energy in arrays:
        energies = to_numbers(path, energy, arrays[energy])
        if energies.size != num:
            raise ValueError(f"{path}: {energy!r} must be [{num}], got {list(energies.shape)}.")
        packed["energy"] = energies.reshape(num) * KCAL_PER_MOL_IN_EV
    if force in arrays:
        forces = to_numbers(path, force, arrays[force])
        if forces.shape != r.shape:
            raise ValueError(
                f"{path}: {force!r} must be {list(r.shape)}, got {list(forces.shape)}."
            )
        packed["forces"] = forces.reshape(-1, 3) * KCAL_PER_MOL_IN_EV
    return packed


def _configurations(path: Path, arrays: dict[str, np.ndarray]) -> Configurations:
    for name, kinds in (("num_atoms", "iu"), ("numbers", "iu"), ("positions", "fiu")):
        if arrays[name].dtype.kind not in kinds:
            wanted = "integers" if kinds == "iu" else "numbers"
            raise ValueError(f"{path}: {name!r} must hold {wanted}, got {arrays[name].dtype}.")
    num_atoms = arrays["num_atoms"]
    if num_atoms.ndim != 1 or not num_atoms.size or num_atoms.min() < 1:
        raise ValueError(
            f"{path}: 'num_atoms' must be [M] with M > 0, each 1 or more, got {num_atoms.shape}."
        )
    size, num = sum(num_atoms.tolist()), len(num_atoms)  # of Python, which is exact
    arrays.setdefault("ids", np.arange(num))
    arrays.setdefault("periodic", np.full((num, 3), "cells" in arrays))
    arrays.setdefault("cells", np.zeros((num, 3, 3)))
    shapes = {
        "ids": (num,), "numbers": (size,), "positions": (size, 3), "cells": (num, 3, 3),
        "periodic": (num, 3),
    }  # fmt: skip
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ValueError(
                f"{path}: {name!r} must be {list(shape)} for {num} configurations of {size} atoms "
                f"in all, got {list(arrays[name].shape)}."
            )
    check_ids(path, arrays["ids"])
    unknown = arrays["numbers"][(arrays["numbers"] < 1) | (arrays["numbers"] > len(SYMBOLS))]
    if unknown.size:
        raise ValueError(
            f"{path}: 'numbers' holds the unknown element {unknown[0]}; known are 1 to "
            f"{len(SYMBOLS)}."
        )
    known: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = ({}, {})
    for name in (name for name in arrays if name not in _OWN):
        rows = arrays[name].shape[:1]
        if rows not in ((num,), (size,)):
            raise ValueError(
                f"{path}: {name!r} must have {num} rows, one for each configuration, or {size}, "
                f"one for each atom, got {list(arrays[name].shape)}."
            )
        known[rows != (num,)][name] = _labels(path, name, arrays[name])
    return Configurations(
        ids=arrays["ids"].astype(np.int64),
        num_atoms=num_atoms.astype(np.int32),
        numbers=arrays["numbers"].astype(np.uint8),
        positions=to_numbers(path, "positions", arrays["positions"]),
        cells=to_numbers(path, "cells", arrays["cells"]),
        periodic=arrays["periodic"].astype(bool),
        properties=known[0],
        atom_properties=known[1],
    )


def _labels(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """Numbers that are finite in float32, or NaN where they are not known."""
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{path}: {name!r} must hold numbers, got {array.dtype}.")
    values = array.astype(np.float64)
    to_numbers(path, name, np.where(np.isnan(values), 0.0, values))
    return values

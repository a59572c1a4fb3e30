"""Reads new molecules from the files that chemists keep them in."""

import importlib
import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np

from eqattn.data.molecules import Molecules
from eqattn.data.npz import read_arrays
from eqattn.data.targets import ELEMENTS, TARGETS
from eqattn.data.xyz import read_xyz, warn_of_cells


def read_structures(path: str | os.PathLike[str]) -> Molecules:
    """Returns the molecules in a file; properties that the file does not hold are NaN.

    Args:
        path: An ``.xyz`` or ``.extxyz`` file with any number of frames; an ``.npz`` file in the
            layout of `eqattn.data.molecules`, of which ``targets`` may be missing; or, where ASE
            is installed, whatever ASE reads. Only an ``.npz`` file brings ids of its own, else
            frames are counted from 0.

    Raises:
        FileNotFoundError: If there is no such file.
        ModuleNotFoundError: If ASE is needed and not installed.
        ValueError: If the file does not hold molecules; the message names what is wrong.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    if not path.is_file():
        raise ValueError(f"{path} is not a file.")
    kind = path.suffix.lower()
    if kind == ".npz":
        return Molecules(**read_arrays(path, needs_targets=False))
    if kind in (".xyz", ".extxyz"):
        return read_xyz(path)
    if importlib.util.find_spec("ase") is None:
        raise ModuleNotFoundError(
            f"{path}: files of the type {kind!r} are read by ASE, which is not installed "
            "(pip install ase); .xyz and .npz need nothing else."
        )
    return _read_with_ase(path)


def _read_with_ase(path: Path) -> Molecules:
    try:
        frames: list[Any] = importlib.import_module("ase.io").read(path, index=":")
    except Exception as error:  # its readers raise whatever their parsing ran into
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ValueError(f"{path} cannot be read by ASE: {reason}.") from error
    if not frames:
        raise ValueError(f"{path} holds no molecules.")
    for index, frame in enumerate(frames):
        unknown = np.setdiff1d(frame.numbers, list(ELEMENTS.values()))
        if not len(frame):
            raise ValueError(f"{path}, frame {index}: there are no atoms.")
        if unknown.size:
            raise ValueError(
                f"{path}, frame {index}: unknown element with atomic number {unknown[0]}; known "
                f"are {', '.join(ELEMENTS)}."
            )
        if not (np.abs(frame.positions) <= np.finfo(np.float32).max).all():
            raise ValueError(f"{path}, frame {index}: positions are not finite in float32.")
    if any(np.any(frame.pbc) for frame in frames):
        warn_of_cells(path)
    return Molecules(
        ids=np.arange(len(frames)),
        num_atoms=np.array([len(frame) for frame in frames], np.int32),
        numbers=np.concatenate([frame.numbers for frame in frames]).astype(np.uint8),
        positions=np.concatenate([frame.positions for frame in frames]).astype(np.float32),
        targets=np.full((len(frames), len(TARGETS)), np.nan),
    )

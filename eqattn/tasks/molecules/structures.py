"""Reads new molecules from the files that chemists keep them in."""

import importlib
import importlib.util
import os
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from eqattn.tasks.molecules.data import Molecules
from eqattn.tasks.molecules.elements import SYMBOLS
from eqattn.tasks.molecules.npz import read_arrays
from eqattn.tasks.molecules.records import count_records, has_marks, split_records
from eqattn.tasks.molecules.targets import TARGETS
from eqattn.tasks.molecules.xyz import read_xyz, warn_of_cells


def read_structures(path: str | os.PathLike[str]) -> Molecules:
    """Returns the molecules in a file; properties that the file does not hold are NaN.

    Args:
      path: An ``.xyz`` or ``.extxyz`` file with any number of frames; an ``.npz`` file in the
        layout of `eqattn.tasks.molecules.data`, of which ``targets`` may be missing; or, where
        ASE is installed, whatever ASE reads. Only an ``.npz`` file brings ids of its own, else
        frames are counted from 0. A file of which ASE reads fewer molecules than it marks is
        refused.

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
    frames = _frames(path)
    if not frames:
        raise ValueError(f"{path} holds no molecules.")
    for index, frame in enumerate(frames):
        if not len(frame):
            raise ValueError(f"{path}, frame {index}: there are no atoms.")
        if frame.numbers.min() < 1 or frame.numbers.max() > len(SYMBOLS):
            unknown = next(number for number in frame.numbers if not 1 <= number <= len(SYMBOLS))
            raise ValueError(
                f"{path}, frame {index}: unknown element with atomic number {unknown}."
            )
        if not (np.abs(frame.positions) <= np.finfo(np.float32).max).all():
            raise ValueError(f"{path}, frame {index}: positions are not finite in float32.")
    if any(np.any(frame.pbc) for frame in frames):
        warn_of_cells(path)
    return Molecules(
        ids=np.arange(len(frames)),
        num_atoms=np.array([len(frame) for frame in frames], np.int32),
        numbers=np.concatenate([frame.numbers for frame in frames]).astype(np.uint8),
        positions=np.concatenate([frame.positions for frame in frames]).astype(np.float64),
        targets=np.full((len(frames), len(TARGETS)), np.nan),
    )


def _frames(path: Path) -> list[Any]:
    """Returns all molecules of a file, as many as it marks, or raises."""
    io, formats = (importlib.import_module(name) for name in ("ase.io", "ase.io.formats"))
    try:
        kind = formats.filetype(str(path))
        text, marked = "", 0
        if has_marks(kind):
            with formats.open_with_compression(str(path), "rb") as file:
                text = file.read().decode("latin-1").replace("\r\n", "\n")
            marked = count_records(kind, text)
        if kind in ("sdf", "mol") and marked > 1:
            records = split_records(text)
            frames = [io.read(StringIO(record), format=kind) for record in records]
        elif marked > 1 and formats.ioformats[kind].single:
            raise ValueError(
                f"it holds {marked} molecules, and of a file of the format {kind!r} only one is "
                "read; write one a file, or all of them as xyz"
            )
        else:
            frames = io.read(str(path), index=":", format=kind)
    except Exception as error:  # its readers raise whatever their parsing ran into
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ValueError(f"{path} cannot be read by ASE: {reason}.") from error
    if kind == "proteindatabank":  # a last END gives a frame without atoms
        frames = [frame for frame in frames if len(frame)]
    if marked and len(frames) != marked:
        raise ValueError(
            f"{path} holds {marked} molecules, of which ASE reads {len(frames)}; write them as xyz."
        )
    return frames

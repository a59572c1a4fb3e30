"""Reads configurations from the files that ASE reads: sdf, pdb, cif, traj and many more."""

import importlib
import importlib.util
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from eqattn.data.atoms.configurations import LARGEST, Configurations, Frame, from_frames
from eqattn.data.atoms.elements import SYMBOLS
from eqattn.data.atoms.records import count_records, has_marks, split_records

_OF_ATOMS = ("energies", "forces", "stresses", "charges", "magmoms", "born_effective_charges")
"""What a calculator of ASE finds for each atom; everything else is of the whole configuration."""


def read_with_ase(path: Path) -> Configurations:
    """Returns the configurations in a file, with what ASE tells of them.

    Args:
      path: A file whose format ASE knows. One of which it reads fewer configurations than the file
        marks is refused.

    Raises:
      ModuleNotFoundError: If ASE is not installed.
      ValueError: If the file cannot be read; the message names what is wrong.
    """
    if importlib.util.find_spec("ase") is None:
        raise ModuleNotFoundError(
            f"{path}: files of the type {path.suffix.lower()!r} are read by ASE, which is not "
            "installed (pip install ase); .xyz and .npz need nothing else."
        )
    found = _frames(path)
    if not found:
        raise ValueError(f"{path} holds no molecules.")
    frames = [_frame(frame, f"{path}, frame {index}") for index, frame in enumerate(found)]
    return from_frames(frames, lambda index: f"{path}, frame {index}")


def _frame(frame: Any, place: str) -> Frame:
    """What an ``ase.Atoms`` holds."""
    numbers = np.asarray(frame.numbers)
    if not len(numbers):
        raise ValueError(f"{place}: there are no atoms.")
    unknown = numbers[(numbers < 1) | (numbers > len(SYMBOLS))]
    if unknown.size:
        raise ValueError(f"{place}: unknown element with atomic number {unknown[0]}.")
    positions = np.asarray(frame.positions, np.float64)
    if not (np.abs(positions) <= LARGEST).all():
        raise ValueError(f"{place}: positions are not finite in float32.")
    results = {} if frame.calc is None else dict(frame.calc.results)
    of_atoms = {name: x for name, x in results.items() if name in _OF_ATOMS}
    known = {**frame.info, **{name: x for name, x in results.items() if name not in of_atoms}}
    arrays = {name: x for name, x in frame.arrays.items() if name not in ("numbers", "positions")}
    return Frame(
        numbers.astype(np.uint8),
        positions,
        np.asarray(frame.cell[:], np.float64),
        np.asarray(frame.pbc, bool),
        _numbers(known, place),
        _numbers({**arrays, **of_atoms}, place),
    )


def _numbers(values: Mapping[str, Any], place: str) -> dict[str, np.ndarray]:
    """Those of the values that are numbers, or arrays of them."""
    found = {}
    for name, value in values.items():
        array = np.asarray(value)
        if array.dtype.kind in "iuf":
            found[name] = array.astype(np.float64)
            if not (np.isnan(array) | (np.abs(found[name]) <= LARGEST)).all():
                raise ValueError(f"{place}: {name!r} is not finite in float32.")
    return found


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

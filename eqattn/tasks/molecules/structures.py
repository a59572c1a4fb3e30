"""Reads new molecules from the files that chemists keep them in."""

import logging
import os

import numpy as np

from eqattn.data.atoms import read_configurations
from eqattn.data.atoms.files import existing_file
from eqattn.tasks.molecules.data import Molecules
from eqattn.tasks.molecules.npz import read_arrays
from eqattn.tasks.molecules.targets import TARGETS

logger = logging.getLogger("eqattn")


def read_structures(path: str | os.PathLike[str]) -> Molecules:
    """Returns the molecules in a file; properties that the file does not hold are NaN.

    Args:
      path: An ``.npz`` file in the layout of `eqattn.tasks.molecules.data`, of which ``targets``
        may be missing, or any other file that :func:`eqattn.data.atoms.read_configurations` reads,
        whose properties are passed over.

    Raises:
      FileNotFoundError: If there is no such file.
      ModuleNotFoundError: If ASE is needed and not installed.
      ValueError: If the file does not hold molecules; the message names what is wrong.
    """
    path = existing_file(path)
    if path.suffix.lower() == ".npz":
        return Molecules(**read_arrays(path, needs_targets=False))
    found = read_configurations(path)
    if found.periodic.any():
        logger.warning("%s has periodic cells, which are not seen: molecules are in vacuum.", path)
    return Molecules(
        ids=found.ids,
        num_atoms=found.num_atoms,
        numbers=found.numbers,
        positions=found.positions,
        targets=np.full((len(found), len(TARGETS)), np.nan),
    )

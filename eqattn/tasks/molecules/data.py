"""Molecules with what is known of them: the data sets, and how they are split.

Three sources are known:

* ``"embedded"``: 3,000 molecules of QM9 that come with the package, drawn at random;
* ``"qm9"``: all 130,831, from the package of the extra ``qm9``;
* the path of a file that :func:`eqattn.data.atoms.read_configurations` reads: extended xyz, npz,
  or what ASE reads. Every number that it names is a property, of molecules or of atoms.

The properties of the first two are those of `TARGETS`. In an npz file an array ``targets``
[M, 12] stands for them too, in their order and units: the layout of earlier versions.
"""

import dataclasses
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from eqattn.data.atoms import Configurations, read_configurations, write_npz
from eqattn.data.atoms.archives import read_npz
from eqattn.data.atoms.configurations import from_frames
from eqattn.data.atoms.splits import SPLITS, split_trajectories, trajectory_numbers
from eqattn.data.cache import cache_folder
from eqattn.tasks.core.atoms import configuration_examples
from eqattn.tasks.molecules import qm9
from eqattn.tasks.molecules.targets import TARGETS

logger = logging.getLogger("eqattn")

NAMES = ("embedded", "qm9")
"""Data that have a name."""
EMBEDDED_PATH = Path(__file__).parent / "embedded" / "qm9_3000.npz"
_CACHE_VERSION = 2
_ALL = "targets"
"""Array of an npz file that holds all of `TARGETS`."""
_Sizes = tuple[int, int, int]
_SPLITS: Mapping[tuple[str, str], tuple[int | None, _Sizes]] = {
    # (source, scheme): (seed of the permutation, molecules of each part)
    ("embedded", "standard"): (None, (2_400, 300, 300)),
    ("qm9", "standard"): (0, (100_000, 17_748, 13_083)),
    ("qm9", "tfds"): (42, (110_000, 10_000, 10_831)),
}


def load(
    source: str | os.PathLike[str] = "embedded",
    *,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Configurations:
    """Returns a data set with all that is known of it.

    The tables of ``"qm9"`` take some 15 s to read; the arrays are then cached.

    Example:
      >>> molecules = load()
      >>> len(molecules), molecules.properties["gap"].shape
      (3000, (3000,))

    Args:
      source: ``"embedded"``, ``"qm9"`` or the path of a file.
      cache_dir: Folder for the cache; by default ``$EQATTN_DATA`` or ``~/.cache/eqattn``.

    Raises:
      ModuleNotFoundError: If ``source`` is ``"qm9"`` and the extra is not installed, or a file
        needs ASE, which is not.
      FileNotFoundError: If the file is missing.
      ValueError: If the file does not hold molecules; the message names what is wrong.
    """
    if source == "embedded":
        return read_file(EMBEDDED_PATH)
    if source == "qm9":
        return _load_qm9(cache_folder(cache_dir))
    path = Path(source).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"no file of molecules at {path}: data is {', '.join(map(repr, NAMES))} or the path "
            "of a file."
        )
    return read_file(path)


def read_file(path: Path) -> Configurations:
    """Returns the molecules in a file, with all that it says of them.

    Args:
      path: A file as :func:`eqattn.data.atoms.read_configurations` takes it.

    Raises:
      FileNotFoundError: If there is no such file.
      ModuleNotFoundError: If ASE is needed and not installed.
      ValueError: If the file does not hold molecules; the message names what is wrong.
    """
    found = read_configurations(path)
    if found.periodic.any():
        logger.warning("%s has periodic cells, which are not seen: molecules are in vacuum.", path)
    return _with_names(found)


def _with_names(molecules: Configurations) -> Configurations:
    """The twelve columns of an array as properties by their names."""
    columns = molecules.properties.get(_ALL)
    if columns is None or columns.shape[1:] != (len(TARGETS),):
        return molecules
    others = {name: x for name, x in molecules.properties.items() if name != _ALL}
    named = dict(zip(TARGETS, np.ascontiguousarray(columns.T), strict=True))
    return dataclasses.replace(molecules, properties=named | others)


def _load_qm9(folder: Path) -> Configurations:
    path = folder / f"molecules-qm9-{qm9.PACKAGE}{qm9.package_version()}-v{_CACHE_VERSION}.npz"
    if path.is_file():
        try:
            return read_npz(path)
        except ValueError as error:
            logger.warning("making the cache again: %s", error)
    logger.info("reading the tables of %s, to be cached in %s", qm9.PACKAGE, path)
    ids, frames = zip(*qm9.read_tables(qm9.table_paths()), strict=True)
    molecules = from_frames(frames, lambda index: f"molecule {ids[index]}")
    molecules = dataclasses.replace(molecules, ids=np.array(ids))
    try:
        write_npz(path, molecules)
    except OSError as error:
        logger.warning("cannot write the cache %s (%s); going on without it", path, error)
    return molecules


def examples(source: str | os.PathLike[str] = "embedded") -> Iterator[dict[str, Any]]:
    """Yields the molecules of a data set one at a time.

    Args:
      source: ``"embedded"``, ``"qm9"`` or the path of a file.

    Yields:
      ``id`` (int), ``numbers`` [N] uint8, ``positions`` [N, 3] float64 in ångström,
      ``properties`` and ``atom_properties``: what is known of the molecule and of its atoms,
      float64 by name.

    Raises:
      ModuleNotFoundError: If something is needed that is not installed, as for :func:`load`.
      FileNotFoundError: If the file is missing.
      ValueError: If the file does not hold molecules; the message names what is wrong.
    """
    yield from configuration_examples(load(source))


def split(
    molecules: Configurations, source: str | os.PathLike[str], scheme: str = "standard"
) -> dict[str, Int[np.ndarray, "_"]]:
    """Returns which molecules are for training, for validation and for the test.

    ``"embedded"``: the first 2,400, the next 300, the last 300 (they are stored in random order).
    ``"qm9"``, ``"standard"``: 100,000 / 17,748 / 13,083 of ``RandomState(0).permutation``
    (arXiv:1906.04015); ``"tfds"``: 110,000 / 10,000 / 10,831 of ``RandomState(42)``, the split of
    arXiv:2003.03123 that TensorFlow Datasets calls dimenet. A file: 80 % / 10 % / 10 % of
    ``RandomState(0)``; or whole trajectories, where it numbers them by the property ``trajectory``
    (:func:`eqattn.data.atoms.splits.split_trajectories`). The embedded molecules are all from the
    training part of the standard split of ``"qm9"``.

    Args:
      molecules: All molecules of the data set.
      source: Source that they were loaded from.
      scheme: ``"standard"``, or for ``"qm9"`` also ``"tfds"``.

    Returns:
      Indices into ``molecules`` under ``"train"``, ``"validation"`` and ``"test"``.

    Raises:
      ValueError: If the source has no such scheme, or these are not its molecules.
    """
    source, num = str(source), len(molecules)
    if source not in NAMES and scheme == "standard":
        numbers = trajectory_numbers(molecules)
        if numbers is not None:
            return split_trajectories(numbers, source)
        if num < len(SPLITS):
            raise ValueError(f"{source}: {num} molecules cannot be split in three.")
        tenth = max(1, num // 10)
        seed, sizes = 0, (num - 2 * tenth, tenth, tenth)
    elif (source, scheme) in _SPLITS:
        seed, sizes = _SPLITS[source, scheme]
    else:
        raise ValueError(f"split {scheme!r} is unknown for the data {source!r}.")
    if num != sum(sizes):
        raise ValueError(f"molecules: {source!r} has {sum(sizes)}, got {num}.")
    order = np.arange(num)
    if seed is not None:
        order = np.random.RandomState(seed).permutation(order)
    parts = np.split(order, np.cumsum(sizes)[:-1])
    return dict(zip(SPLITS, parts, strict=True))

"""Molecules with their properties: the data sets, and the arrays they are held in.

`examples` is the definition of every data set of molecules; `load` packs its examples into
arrays, and the builder of `eqattn.tasks.core.builders` writes the same examples to disk.

Three sources are known:

* ``"embedded"``: 3,000 molecules of QM9 that come with the package, drawn at random;
* ``"qm9"``: all 130,831, from the package of the extra ``qm9``;
* the path of an npz file in the layout of `Molecules`: arrays ``num_atoms`` [M],
  ``numbers`` [A], ``positions`` [A, 3] in ångström, ``targets`` [M, 12] in the units and the
  order of `TARGETS` (NaN where one is not known), and, if you like, ``ids`` [M].
  The elements are those of QM9: H, C, N, O and F. The atoms of all molecules stand one after the
  other, A = sum of ``num_atoms``.
"""

import dataclasses
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Integer

from eqattn.data.atoms.configurations import PackedAtoms
from eqattn.data.cache import cache_folder, save_arrays
from eqattn.tasks.molecules import qm9
from eqattn.tasks.molecules.npz import read_arrays
from eqattn.tasks.molecules.targets import ELEMENTS, target_columns

logger = logging.getLogger("eqattn")

EMBEDDED_PATH = Path(__file__).parent / "embedded" / "qm9_3000.npz"
NUM_FEATURES = 3 * len(ELEMENTS)
_CACHE_VERSION = 1
_Sizes = tuple[int, int, int]
_SPLITS: Mapping[tuple[str, str], tuple[int | None, _Sizes]] = {
    # (source, scheme): (seed of the permutation, molecules of each part)
    ("embedded", "standard"): (None, (2_400, 300, 300)),
    ("qm9", "standard"): (0, (100_000, 17_748, 13_083)),
    ("qm9", "tfds"): (42, (110_000, 10_000, 10_831)),
}


@dataclass(frozen=True, eq=False)
class Molecules(PackedAtoms):
    """M molecules of A atoms in all, packed one after the other.

    Attributes:
      ids: Number of each molecule; in QM9 the original one, from 1 to 133,885.
      num_atoms: Atoms of each molecule.
      numbers: Atomic number of each atom.
      positions: Where it is, in ångström; in float64 from files, whose molecules may be far from
        the origin.
      targets: The properties of each molecule, in the order and units of `TARGETS`; NaN where
        a property is not known.
    """

    targets: Float[np.ndarray, "M 12"]

    def _others(self, rows: np.ndarray, atoms: np.ndarray) -> dict[str, Any]:
        return {"targets": self.targets[rows]}

    def select_targets(self, names: Sequence[str]) -> Float[np.ndarray, "M K"]:
        """Returns the named targets, in this order and in the units of `TARGETS`.

        Args:
          names: Names of targets, each at most once.

        Returns:
          The targets, NaN where one is not known.

        Raises:
          ValueError: If a name is unknown, or no molecule has that target.
        """
        selected = self.targets[:, target_columns(names)]
        for name, column in zip(names, selected.T, strict=True):
            if np.isnan(column).all():
                raise ValueError(f"targets: these molecules have no values of {name!r} (NaN).")
        return selected


def examples(source: str | os.PathLike[str] = "embedded") -> Iterator[dict[str, Any]]:
    """Yields the molecules of a data set one at a time: the definition of the data set.

    Example:
      >>> {key: np.shape(value) for key, value in next(examples()).items()}
      {'id': (), 'numbers': (13,), 'positions': (13, 3), 'targets': (12,)}

    Args:
      source: ``"embedded"``, ``"qm9"`` or the path of an npz file.

    Yields:
      ``id`` (int), ``numbers`` [N] uint8, ``positions`` [N, 3] in ångström (float32, or
      float64 from a file that holds it) and ``targets`` [12] float64 in the units of `TARGETS`.

    Raises:
      ModuleNotFoundError: If ``source`` is ``"qm9"`` and the extra is not installed.
      FileNotFoundError: If the file is missing.
      ValueError: If the file does not hold molecules; the message names what is wrong.
    """
    if source == "qm9":
        yield from qm9.read_tables(qm9.table_paths())
        return
    path = EMBEDDED_PATH if source == "embedded" else Path(source).expanduser()
    molecules = Molecules(**read_arrays(path))
    for index, (begin, end) in enumerate(
        zip(molecules.offsets[:-1], molecules.offsets[1:], strict=True)
    ):
        yield {
            "id": int(molecules.ids[index]),
            "numbers": molecules.numbers[begin:end],
            "positions": molecules.positions[begin:end],
            "targets": molecules.targets[index],
        }


def pack(dataset: Iterable[Mapping[str, Any]]) -> Molecules:
    """Returns the arrays that hold these examples (see `examples`).

    Raises:
      ValueError: If there is no example.
    """
    rows = list(dataset)
    if not rows:
        raise ValueError("dataset holds no molecules.")
    return Molecules(
        ids=np.array([row["id"] for row in rows], np.int64),
        num_atoms=np.array([len(row["numbers"]) for row in rows], np.int32),
        numbers=np.concatenate([row["numbers"] for row in rows]),
        positions=np.concatenate([row["positions"] for row in rows]),
        targets=np.stack([row["targets"] for row in rows]),
    )


def load(
    source: str | os.PathLike[str] = "embedded",
    *,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Molecules:
    """Returns a data set as arrays.

    The tables of ``"qm9"`` take some 15 s to read; the arrays are then cached.

    Args:
      source: ``"embedded"``, ``"qm9"`` or the path of an npz file.
      cache_dir: Folder for the cache; by default ``$EQATTN_DATA`` or ``~/.cache/eqattn``.

    Raises:
      ModuleNotFoundError: If ``source`` is ``"qm9"`` and the extra is not installed.
      FileNotFoundError: If the file is missing.
      ValueError: If the file does not hold molecules; the message names what is wrong.
    """
    if source != "qm9":
        return pack(examples(source))
    name = f"molecules-qm9-{qm9.PACKAGE}{qm9.package_version()}-v{_CACHE_VERSION}.npz"
    path = cache_folder(cache_dir) / name
    if path.is_file():
        try:
            return Molecules(**read_arrays(path))
        except ValueError as error:
            logger.warning("making the cache again: %s", error)
    logger.info("reading the tables of %s, to be cached in %s", qm9.PACKAGE, path)
    molecules = pack(examples(source))
    try:
        save_arrays(path, to_arrays(molecules))
    except OSError as error:
        logger.warning("cannot write the cache %s (%s); going on without it", path, error)
    return molecules


def to_arrays(molecules: Molecules) -> dict[str, np.ndarray]:
    """Returns the arrays of the npz layout by name; `load` reads them back from a file."""
    return {field.name: getattr(molecules, field.name) for field in dataclasses.fields(molecules)}


def split(
    molecules: Molecules, source: str | os.PathLike[str], scheme: str = "standard"
) -> dict[str, Int[np.ndarray, "_"]]:
    """Returns which molecules are for training, for validation and for the test.

    ``"embedded"``: the first 2,400, the next 300, the last 300 (they are stored in random order).
    ``"qm9"``, ``"standard"``: 100,000 / 17,748 / 13,083 of ``RandomState(0).permutation``
    (arXiv:1906.04015); ``"tfds"``: 110,000 / 10,000 / 10,831 of ``RandomState(42)``, the split of
    arXiv:2003.03123 that TensorFlow Datasets calls dimenet. A file: 80 % / 10 % / 10 % of
    ``RandomState(0)``. The embedded molecules are all from the training part of the standard
    split of ``"qm9"``.

    Args:
      molecules: All molecules of the data set.
      source: Source that they were loaded from.
      scheme: ``"standard"``, or for ``"qm9"`` also ``"tfds"``.

    Returns:
      Indices into ``molecules`` under ``"train"``, ``"validation"`` and ``"test"``.

    Raises:
      ValueError: If the source has no such scheme, or these are not its molecules.
    """
    source = str(source)
    if source not in ("embedded", "qm9") and scheme == "standard":
        if len(molecules) < 3:
            raise ValueError(f"{source}: {len(molecules)} molecules cannot be split in three.")
        tenth = max(1, len(molecules) // 10)
        seed, sizes = 0, (len(molecules) - 2 * tenth, tenth, tenth)
    elif (source, scheme) in _SPLITS:
        seed, sizes = _SPLITS[source, scheme]
    else:
        raise ValueError(f"split {scheme!r} is unknown for the data {source!r}.")
    if len(molecules) != sum(sizes):
        raise ValueError(f"molecules: {source!r} has {sum(sizes)}, got {len(molecules)}.")
    order = np.arange(len(molecules))
    if seed is not None:
        order = np.random.RandomState(seed).permutation(order)
    train, validation, test = np.split(order, np.cumsum(sizes)[:-1])
    return {"train": train, "validation": validation, "test": test}


def features(numbers: Integer[np.ndarray, "*B N"]) -> Float[np.ndarray, "*B N 15"]:
    """Returns the input features of atoms: one-hot (H, C, N, O, F) x (1, Z/9, (Z/9)²).

    Component ``3 * element + power``, as in arXiv:2012.10885. Zeros where there is no atom.

    Example:
      >>> features(np.array([1, 0]))[:, :3].round(3)
      array([[1.   , 0.111, 0.012],
             [0.   , 0.   , 0.   ]], dtype=float32)

    Args:
      numbers: Atomic numbers, 0 for padding.

    Raises:
      ValueError: If there is another element.
    """
    numbers = np.asarray(numbers)
    if numbers.size and (numbers.min() < 0 or numbers.max() >= len(_FEATURES)):
        raise ValueError(f"numbers: {_unknown_elements(numbers)}")
    result = _FEATURES[numbers]
    if np.isnan(result[..., 0]).any():
        raise ValueError(f"numbers: {_unknown_elements(numbers)}")
    return result


def _feature_table() -> Float[np.ndarray, "_ 15"]:
    table = np.full((max(ELEMENTS.values()) + 1, NUM_FEATURES), np.nan, np.float32)
    table[0] = 0.0
    for element, number in enumerate(ELEMENTS.values()):
        table[number] = 0.0
        table[number, 3 * element : 3 * element + 3] = (number / 9.0) ** np.arange(3)
    return table


_FEATURES = _feature_table()


def _unknown_elements(numbers: np.ndarray) -> str:
    unknown = sorted(set(np.unique(numbers).tolist()) - {0, *ELEMENTS.values()})
    known = ", ".join(f"{symbol} {number}" for symbol, number in ELEMENTS.items())
    return f"unknown element with atomic number {unknown[0]}; known are {known}."

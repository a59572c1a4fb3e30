"""Shapes as labeled clouds of points, for the task "shapes".

`examples` is the definition of every data set of shapes; `load` packs its examples into arrays.
Points lie in the unit ball about their mean, and **the axis z points up**. Three sources are known:

* ``"embedded"``: 256 points on each of some 400 pieces of furniture, plants, people and the like in
  14 classes, from the free models of Sweet Home 3D; they come with the package, as does the list
  of their authors and licenses, ``embedded/shapes_attribution.txt``;
* the path of a folder with the files ``*.h5`` of ModelNet40, 2,048 points a shape, that came with
  arXiv:1612.00593;
* the path of a folder with ModelNet's OFF files, ``class/train/*.off`` and ``class/test/*.off``
  (arXiv:1406.5670), whose surfaces are sampled here.

Embedded shapes are in five folds of equal classes; models that are variants of one another have
one group and are never in two folds. ModelNet has one fold, its official test part.
"""

import dataclasses
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from eqattn.checks import check_sizes
from eqattn.data.cache import cache_folder, save_arrays
from eqattn.data.motions import RandomMotion
from eqattn.tasks.shapes import modelnet
from eqattn.tasks.shapes.folds import assign_parts

logger = logging.getLogger("eqattn")

EMBEDDED_PATH = Path(__file__).parent / "embedded" / "shapes.npz"
QUANTUM = 1 / 32_767
"""What one step of the 16-bit integers of the embedded file is worth."""
PROTOCOLS: Mapping[str, tuple[RandomMotion, RandomMotion]] = {
    "z/z": (RandomMotion("z"), RandomMotion("z")),
    "z/SO(3)": (RandomMotion("z"), RandomMotion("SO(3)")),
    "SO(3)/SO(3)": (RandomMotion("SO(3)"), RandomMotion("SO(3)")),
}
"""How shapes are turned in training and in the test: about the vertical axis, or at random."""
_CACHE_VERSION = 2
_VALIDATION_PARTS = 8  # one of so many parts of what is not tested: a tenth, of five folds


@dataclass(frozen=True, eq=False)
class Shapes:
    """M shapes of N points; see the top of this file.

    Attributes:
      ids: Number of each shape within its source.
      points: Points on the surface of the shape, in the unit ball, z up.
      labels: Class of each shape, a place in ``class_names``.
      groups: Variants of one model have one number.
      folds: Fold in which each shape is tested; -1 if in none.
      class_names: Names of the classes.
    """

    ids: Int[np.ndarray, "M"]
    points: Float32[np.ndarray, "M N 3"]
    labels: Int[np.ndarray, "M"]
    groups: Int[np.ndarray, "M"]
    folds: Int[np.ndarray, "M"]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, indices: Int[np.ndarray, "B"] | slice) -> "Shapes":
        """Returns the shapes at these places, in this order."""
        return Shapes(
            **{name: array[indices] for name, array in _arrays(self).items()},
            class_names=self.class_names,
        )

    @property
    def num_folds(self) -> int:
        """Number of folds."""
        return int(self.folds.max()) + 1

    def gather(self, rows: Int[np.ndarray, "B"]) -> dict[str, np.ndarray]:
        """Returns arrays of these shapes for a batch; the only feature is the constant 1."""
        points = self.points[rows]
        return {
            "points": points,
            "features": np.ones((*points.shape[:2], 1), np.float32),
            "mask": np.ones(points.shape[:2], bool),
            "labels": self.labels[rows],
        }


def examples(
    source: str | os.PathLike[str] = "embedded", *, num_points: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yields the shapes of a data set one at a time: the definition of the data set.

    Example:
      >>> {key: np.shape(value) for key, value in next(examples()).items()}
      {'id': (), 'points': (256, 3), 'label': (), 'group': (), 'fold': ()}

    Args:
      source: ``"embedded"`` or the path of a folder.
      num_points: Points of each shape; by default all there are, and 1,024 of OFF files.

    Yields:
      ``id``, ``label``, ``group`` and ``fold`` (int; see `Shapes`), ``points`` [N, 3] float32.

    Raises:
      ModuleNotFoundError: If h5 files are to be read and h5py is not installed.
      FileNotFoundError: If the folder is missing, or has no shapes.
      ValueError: If a file cannot be read, or holds fewer points.
    """
    if num_points is not None:
        check_sizes({"num_points": num_points})
    if source != "embedded":
        yield from modelnet.examples(Path(source).expanduser(), num_points)
        return
    with np.load(EMBEDDED_PATH, allow_pickle=False) as file:
        arrays = {name: file[name] for name in ("points", "labels", "groups", "folds")}
    points = (arrays["points"] * QUANTUM).astype(np.float32)
    if num_points not in (None, points.shape[1]):  # all of them are stored in their unit ball
        points = modelnet.take_points(points, num_points, EMBEDDED_PATH.name)
    for index in range(len(points)):
        yield {
            "id": index,
            "points": points[index],
            "label": int(arrays["labels"][index]),
            "group": int(arrays["groups"][index]),
            "fold": int(arrays["folds"][index]),
        }


def class_names(source: str | os.PathLike[str] = "embedded") -> tuple[str, ...]:
    """Returns the names of the classes of a data set.

    Args:
      source: ``"embedded"`` or the path of a folder.

    Raises:
      FileNotFoundError: If the folder is missing, or has no shapes.
      ValueError: If a file of a folder is not where or what it should be.
    """
    if source != "embedded":
        return modelnet.class_names(Path(source).expanduser())
    with np.load(EMBEDDED_PATH, allow_pickle=False) as file:
        return tuple(file["class_names"].tolist())


def load(
    source: str | os.PathLike[str] = "embedded",
    *,
    num_points: int | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Shapes:
    """Returns a data set as arrays.

    A tree of OFF files takes minutes to read; its points are then cached.

    Args:
      source: ``"embedded"`` or the path of a folder.
      num_points: Points of each shape; by default all there are, and 1,024 of OFF files.
      cache_dir: Folder for the cache; by default ``$EQATTN_DATA`` or ``~/.cache/eqattn``.

    Raises:
      ModuleNotFoundError: If h5 files are to be read and h5py is not installed.
      FileNotFoundError: If the folder is missing, or has no shapes.
      ValueError: If a file cannot be read, or holds fewer points.
    """
    names = class_names(source)
    if source == "embedded" or not modelnet.is_off_tree(Path(source).expanduser()):
        return _pack(examples(source, num_points=num_points), names)
    num_points = modelnet.DEFAULT_OFF_POINTS if num_points is None else num_points
    key = modelnet.fingerprint(Path(source).expanduser())
    path = cache_folder(cache_dir) / f"shapes-off-{key}-{num_points}-v{_CACHE_VERSION}.npz"
    if path.is_file():
        try:
            with np.load(path, allow_pickle=False) as file:
                return Shapes(**dict(file), class_names=names)
        except (OSError, ValueError, TypeError, EOFError) as error:
            logger.warning("making the cache again: %s cannot be read (%s)", path, error)
    logger.info("sampling the surfaces of %s, to be cached in %s", source, path)
    shapes = _pack(examples(source, num_points=num_points), names)
    try:
        save_arrays(path, _arrays(shapes))
    except OSError as error:
        logger.warning("cannot write the cache %s (%s); going on without it", path, error)
    return shapes


def split(shapes: Shapes, fold: int = 0) -> dict[str, Int[np.ndarray, "_"]]:
    """Returns which shapes are for training, for validation and for the test of a fold.

    The test is the fold; an eighth of all other shapes, with whole groups and every class in
    proportion, is for validation, and the rest for training: of five folds 70 % / 10 % / 20 %.

    Args:
      shapes: All shapes of the data set.
      fold: Number of the fold, from 0.

    Returns:
      Indices into ``shapes`` under ``"train"``, ``"validation"`` and ``"test"``.

    Raises:
      ValueError: If there is no such fold, or too few shapes are in none but it.
    """
    if not shapes.num_folds:
        raise ValueError("shapes: none of these is in a test part.")
    if not 0 <= fold < shapes.num_folds:
        raise ValueError(f"fold must be from 0 to {shapes.num_folds - 1}, got {fold}.")
    others = np.flatnonzero(shapes.folds != fold)
    parts = assign_parts(shapes.labels[others], shapes.groups[others], _VALIDATION_PARTS)
    result = {
        "train": others[parts < _VALIDATION_PARTS - 1],
        # The last part, as the largest groups are in the first.
        "validation": others[parts == _VALIDATION_PARTS - 1],
        "test": np.flatnonzero(shapes.folds == fold),
    }
    for name, rows in result.items():
        if not rows.size:
            raise ValueError(f"shapes: fold {fold} of these {len(shapes)} leaves none for {name}.")
    return result


def _pack(dataset: Iterable[Mapping[str, Any]], names: tuple[str, ...]) -> Shapes:
    rows = list(dataset)
    return Shapes(
        ids=np.array([row["id"] for row in rows], np.int64),
        points=np.stack([row["points"] for row in rows]),
        labels=np.array([row["label"] for row in rows], np.int64),
        groups=np.array([row["group"] for row in rows], np.int64),
        folds=np.array([row["fold"] for row in rows], np.int64),
        class_names=names,
    )


def _arrays(shapes: Shapes) -> dict[str, np.ndarray]:
    names = [field.name for field in dataclasses.fields(shapes)]
    return {name: getattr(shapes, name) for name in names if name != "class_names"}

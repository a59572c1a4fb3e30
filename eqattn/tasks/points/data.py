"""Point sets with scalars, vectors, and what is to be learned of them: from an npz file, or made.

The arrays of a file, of M point sets of up to N points:

* ``points`` [M, N, D]: coordinates, as the space of the model has them;
* ``mask`` [M, N] bool: which points exist; all by default;
* ``scalars`` [M, N, C]: scalar features; a single 1 by default;
* ``vectors`` [M, N, V, D']: vectors at the points, which turn with them; none by default;
* ``labels`` [M]: the class of each set, from 0; or
* ``values`` [M, K]: K numbers to predict for each set;
* ``split`` [M]: 0, 1 or 2 for training, validation or test; by default a tenth each is drawn for
  validation and test;
* ``ids`` [M]: number of each set; by default its place in the file.

Without a file, ``"generated"`` sets are made: six points in space with a force at each, of which
the virial Σ_i f_i·(x_i - x̄) is asked for. Neither the points nor the forces alone tell it.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from eqattn.data.archives import check_ids, check_names, read_archive
from eqattn.data.streams import Batch, Rows, random_state

__all__ = ["SPLITS", "PointSets", "generate", "load", "split"]

SPLITS = ("train", "validation", "test")
GENERATED = "generated"
NUM_GENERATED = 2_000
_ARRAYS = ("mask", "scalars", "vectors", "labels", "values", "split", "ids")
_SHAPES = {"mask": 2, "scalars": 3, "vectors": 4, "labels": 1, "values": 2, "split": 1, "ids": 1}


@dataclass(frozen=True, eq=False)
class PointSets:
    """M point sets of up to N points, as arrays.

    Attributes:
      ids: Number of each set.
      points: Coordinates; zeros at padding.
      mask: Marks the points that exist.
      features: Scalar features of each point, then the components of its vectors.
      num_vectors: How many vectors a point has.
      vector_dim: Components of a vector; 0 where there are none.
      parts: 0, 1 or 2 for the split of each set, or nothing for a file that does not say.
      labels: Class of each set, or nothing.
      values: Numbers of each set, or nothing.
    """

    ids: Int[np.ndarray, "M"]
    points: Float[np.ndarray, "M N D"]
    mask: Bool[np.ndarray, "M N"]
    features: Float[np.ndarray, "M N C"]
    num_vectors: int
    vector_dim: int
    parts: Int[np.ndarray, "M"] | None = None
    labels: Int[np.ndarray, "M"] | None = None
    values: Float[np.ndarray, "M K"] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: Rows) -> "PointSets":
        """Returns the sets at these places, in this order."""
        names = [field.name for field in dataclasses.fields(self) if "vector" not in field.name]
        held = {name: getattr(self, name) for name in names}
        kept = {name: array[rows] for name, array in held.items() if array is not None}
        return dataclasses.replace(self, **kept)

    def gather(self, rows: Rows) -> Batch:
        """Returns the arrays of these sets for a batch.

        Args:
          rows: Places of the sets.
        """
        batch = {
            "points": self.points[rows],
            "features": self.features[rows],
            "mask": self.mask[rows],
        }
        if self.labels is not None:
            batch["labels"] = self.labels[rows]
        return batch


def load(source: str) -> PointSets:
    """Returns the point sets of a file, or those that are made here.

    Args:
      source: ``"generated"``, or the path of an npz file as the module describes it.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If it does not hold point sets; the message names the array.
    """
    return generate(NUM_GENERATED) if source == GENERATED else read(source)


def read(source: str) -> PointSets:
    """Returns the point sets of a file.

    Args:
      source: Path of an npz file as the module describes it.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If it does not hold point sets; the message names the array.
    """
    path = Path(source).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"data {source!r}: there is no such file; give an npz file.")
    arrays = read_archive(path, "point sets")
    check_names(path, arrays, ["points"], _ARRAYS)
    points = _numbers(path, arrays, "points", 3)
    size, most, _ = points.shape
    if 0 in points.shape:
        raise ValueError(f"{path}: 'points' is empty, with shape {points.shape}.")
    for name, ndim in _SHAPES.items():
        expected = (size, most)[: min(ndim, 2) if name in ("mask", "scalars", "vectors") else 1]
        held = arrays.get(name)
        if held is not None and (held.ndim != ndim or held.shape[: len(expected)] != expected):
            raise ValueError(
                f"{path}: {name!r} must have {ndim} axes that begin with {expected}, "
                f"got shape {held.shape}."
            )
    mask = arrays.get("mask", np.ones((size, most), bool))
    if mask.dtype != bool or not mask.any(axis=1).all():
        raise ValueError(f"{path}: 'mask' must be boolean, with a point in every set.")
    scalars = _numbers(path, arrays, "scalars", 3) if "scalars" in arrays else None
    vectors = _numbers(path, arrays, "vectors", 4) if "vectors" in arrays else None
    if scalars is None:
        scalars = np.ones((size, most, 1))
    flat = np.zeros((size, most, 0)) if vectors is None else vectors.reshape(size, most, -1)
    features = np.concatenate([scalars, flat], axis=-1)
    values = _numbers(path, arrays, "values", 2) if "values" in arrays else None
    if 0 in features.shape or (values is not None and 0 in values.shape):
        raise ValueError(f"{path}: 'scalars', 'vectors' and 'values' must not be empty.")
    counted = mask[..., None]
    for name, array in (
        ("points", np.where(counted, points, 0)),
        ("features", np.where(counted, features, 0)),
        ("values", np.zeros((size, 1)) if values is None else values),
    ):
        bad = ~(np.abs(array) <= np.finfo(np.float32).max)  # also where it is NaN
        if bad.any():
            place = int(np.argwhere(bad)[0, 0])
            raise ValueError(f"{path}: {name} of the set at place {place} are not finite.")
    ids = arrays["ids"] if "ids" in arrays else np.arange(size)
    check_ids(path, ids)
    return PointSets(
        ids=ids,
        points=np.where(mask[..., None], points, 0),
        mask=mask,
        features=np.where(mask[..., None], features, 0),
        num_vectors=0 if vectors is None else vectors.shape[2],
        vector_dim=0 if vectors is None else vectors.shape[3],
        parts=_whole(path, arrays, "split", 3),
        labels=_whole(path, arrays, "labels", 10_000),
        values=values,
    )


def _numbers(path: Path, arrays: dict[str, np.ndarray], name: str, ndim: int) -> np.ndarray:
    array = arrays[name]
    if array.dtype.kind not in "fiu" or array.ndim != ndim:
        raise ValueError(
            f"{path}: {name!r} must hold real numbers on {ndim} axes, got {array.dtype} of shape "
            f"{array.shape}."
        )
    return array.astype(np.float64)


def _whole(
    path: Path, arrays: dict[str, np.ndarray], name: str, limit: int
) -> Int[np.ndarray, "M"] | None:
    """An array of integers from 0 up to a limit, if there is one."""
    array = arrays.get(name)
    if array is None:
        return None
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= limit:
        raise ValueError(f"{path}: {name!r} must hold integers from 0 to {limit - 1}.")
    return array.astype(np.int64)


def split(sets: PointSets) -> dict[str, Int[np.ndarray, "_"]]:
    """Returns the places of the sets of each split.

    Args:
      sets: The point sets.

    Raises:
      ValueError: If a split is empty.
    """
    parts = sets.parts
    if parts is None:  # the same sets in every run
        tenth, order = max(1, len(sets) // 10), random_state(len(sets)).permutation(len(sets))
        parts = np.zeros(len(sets), int)
        parts[order[:tenth]], parts[order[tenth : 2 * tenth]] = 2, 1
    found = {name: np.flatnonzero(parts == number) for number, name in enumerate(SPLITS)}
    for name, places in found.items():
        if not places.size:
            raise ValueError(f"data: there is no point set in the {name} split.")
    return found


def generate(size: int, *, seed: int = 0) -> PointSets:
    """Returns sets of six points in space with a force at each, and their virials.

    Args:
      size: Number of sets.
      seed: Seed of the draws, not negative.
    """
    random = random_state(seed)
    points, forces = random.standard_normal((2, size, 6, 3))
    points = points - points.mean(axis=1, keepdims=True)
    return PointSets(
        ids=np.arange(size),
        points=points,
        mask=np.ones((size, 6), bool),
        features=np.concatenate([np.ones((size, 6, 1)), forces], axis=-1),
        num_vectors=1,
        vector_dim=3,
        values=np.sum(points * forces, axis=(1, 2))[:, None],
    )


def names_of_values(sets: PointSets) -> Sequence[str]:
    """Returns the names of the numbers to predict: ``value``, or ``value_0`` and so on.

    Args:
      sets: The point sets.
    """
    count = 0 if sets.values is None else sets.values.shape[1]
    return ("value",) if count == 1 else tuple(f"value_{place}" for place in range(count))

"""Reads ModelNet40 from the folders that it is spread in.

Two layouts are known, and told apart by what is in the folder:

* files ``*.h5`` with the word train or test in their names, such as ``ply_data_train0.h5``, and
  with datasets ``data`` [M, 2048, 3] and ``label`` [M] or [M, 1], beside ``shape_names.txt``, the
  names of the classes line by line. There y points up, and the shapes are turned so that z does.
  Reading them needs h5py (the extra ``modelnet``);
* a tree of OFF files, ``class/train/*.off`` and ``class/test/*.off``, in which z points up.
"""

import hashlib
import importlib
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from eqattn.checks import install_hint
from eqattn.data.text import read_text
from eqattn.tasks.shapes.meshes import read_off, sample_surface, to_unit_ball

DEFAULT_OFF_POINTS = 1_024
_PARTS = ("train", "test")
_FOLD = {"train": -1, "test": 0}  # see `eqattn.tasks.shapes.data.Shapes`


def examples(folder: Path, num_points: int | None) -> Iterator[dict[str, Any]]:
    """Yields the shapes of a folder, as `eqattn.tasks.shapes.data.examples` does.

    Args:
      folder: Folder in one of the two layouts.
      num_points: Points of each shape; by default all there are, and 1,024 of OFF files.

    Raises:
      ModuleNotFoundError: If h5 files are to be read and h5py is not installed.
      FileNotFoundError: If the folder is missing, or has no shapes.
      ValueError: If a file cannot be read, or holds fewer points.
    """
    if is_off_tree(folder):
        found = _sample_tree(folder, num_points or DEFAULT_OFF_POINTS)
    else:
        found = _read_h5(folder, num_points)
    for index, (part, label, points) in enumerate(found):
        yield {
            "id": index,
            "points": points,
            "label": label,
            "group": index,
            "fold": _FOLD[part],
        }


def class_names(folder: Path) -> tuple[str, ...]:
    """Returns the names of the classes: those of the folders of a tree, or of shape_names.txt.

    Raises:
      FileNotFoundError: If the folder is missing or has no shapes, or the list is missing.
      ValueError: If an OFF file is not in class/train or class/test.
    """
    if is_off_tree(folder):
        return tuple(sorted({path.parents[1].name for path in _off_files(folder)}))
    path = folder / "shape_names.txt"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no shape_names.txt, the names of the classes.")
    lines = read_text(path, "a list of names").split("\n")
    return tuple(line.strip() for line in lines if line.strip())


def is_off_tree(folder: Path) -> bool:
    """Returns whether a folder is a tree of OFF files, and not one of h5 files.

    Raises:
      FileNotFoundError: If it is neither, or not there.
      ValueError: If an OFF file is not in class/train or class/test.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no folder of shapes at {folder}: data is 'embedded', or the path of a folder with "
            "ModelNet's h5 files or class/train|test/*.off."
        )
    if any(folder.glob("*.h5")):
        return False
    if not _off_files(folder):
        raise FileNotFoundError(f"{folder} has neither *.h5 nor class/train|test/*.off.")
    return True


def fingerprint(folder: Path) -> str:
    """Returns a key of the files in a tree, by their names, sizes and times of change."""
    listing = "\n".join(
        f"{path.relative_to(folder).as_posix()} {stat.st_size} {stat.st_mtime_ns}"
        for path in _off_files(folder)
        for stat in [path.stat()]
    )
    return hashlib.sha256(listing.encode()).hexdigest()[:16]


def take_points(points: np.ndarray, num_points: int | None, name: str) -> np.ndarray:
    """Returns the first points of each shape, as good a sample as any, in their own unit ball.

    Args:
      points: Points of M shapes, [M, N, 3].
      num_points: How many of the N; all if None.
      name: Name of the file, for the error.

    Returns:
      In float32; see `eqattn.tasks.shapes.meshes.to_unit_ball`.

    Raises:
      ValueError: If there are fewer, or those of a shape are all the same.
    """
    if num_points is not None and num_points > points.shape[1]:
        raise ValueError(f"{name} holds {points.shape[1]} points a shape, not {num_points}.")
    try:
        balls = [to_unit_ball(shape) for shape in points[:, :num_points].astype(np.float64)]
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return np.stack(balls).astype(np.float32)


def _off_files(folder: Path) -> list[Path]:
    """Returns the files of the training part, then those of the test, each in order.

    Raises:
      ValueError: If one lies elsewhere in the folder.
    """
    found = [
        path for part in _PARTS for path in sorted(folder.glob(f"*/{part}/*")) if _is_off(path)
    ]
    elsewhere = set(filter(_is_off, folder.rglob("*"))) - set(found)
    if elsewhere:
        raise ValueError(
            f"{min(elsewhere)} is not where OFF files must be, class/train or class/test."
        )
    return found


def _is_off(path: Path) -> bool:
    return path.suffix.lower() == ".off"


def _sample_tree(folder: Path, num_points: int) -> Iterator[tuple[str, int, np.ndarray]]:
    names = class_names(folder)
    for path in _off_files(folder):
        # The points of a file depend on its own name alone.
        seed = zlib.crc32(path.relative_to(folder).as_posix().encode())
        random = np.random.RandomState(seed)
        mesh = read_off(path)
        try:
            points = to_unit_ball(sample_surface(mesh, num_points, random))
        except ValueError as error:
            raise ValueError(f"{path} cannot be sampled: {error}") from error
        yield path.parent.name, names.index(path.parents[1].name), points.astype(np.float32)


def _read_h5(folder: Path, num_points: int | None) -> Iterator[tuple[str, int, np.ndarray]]:
    names = class_names(folder)
    try:
        h5py: Any = importlib.import_module("h5py")
    except ImportError as error:
        raise ModuleNotFoundError(
            f"{folder}: h5 files are read by h5py, which is not installed: "
            f"{install_hint('modelnet')}."
        ) from error
    first = None
    for part, paths in _h5_files(folder).items():
        for path in paths:
            points, labels = _read_arrays(h5py, path)
            if labels.size and not 0 <= labels.min() <= labels.max() < len(names):
                raise ValueError(
                    f"{path}: labels are from {labels.min()} to {labels.max()}, and "
                    f"shape_names.txt has {len(names)} names."
                )
            points = take_points(points, num_points, str(path))
            first = first or (path, points.shape[1])
            if points.shape[1] != first[1]:
                raise ValueError(
                    f"{path} holds {points.shape[1]} points a shape and {first[0]} {first[1]}; say "
                    "by num_points how many to take."
                )
            upright = np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)
            yield from zip((part,) * len(labels), labels.tolist(), upright, strict=True)


def _h5_files(folder: Path) -> dict[str, list[Path]]:
    """Returns the files of each part, in order."""
    files: dict[str, list[Path]] = {part: [] for part in _PARTS}
    for path in sorted(folder.glob("*.h5"), key=_natural):
        named = set(re.findall(r"[a-z]+", path.stem.lower())) & set(_PARTS)
        if len(named) != 1:
            raise ValueError(f"{path}: the name must hold one of the words train and test.")
        files[named.pop()].append(path)
    for part, paths in files.items():
        if not paths:
            raise FileNotFoundError(f"{folder} has no file *{part}*.h5.")
    return files


def _read_arrays(h5py: Any, path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with h5py.File(path, "r") as file:
            missing = {"data", "label"} - set(file)
            if missing:
                raise ValueError(f"it has no dataset {min(missing)!r}")
            points, labels = np.asarray(file["data"]), np.asarray(file["label"])
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error
    if points.ndim != 3 or points.shape[2] != 3 or labels.size != len(points):
        raise ValueError(
            f"{path}: 'data' must be [M, N, 3] and 'label' [M], got {list(points.shape)} and "
            f"{list(labels.shape)}."
        )
    if points.dtype.kind not in "fiu" or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{path}: 'data' must be numbers and 'label' integers, got {points.dtype} and "
            f"{labels.dtype}."
        )
    if not np.isfinite(points).all():
        raise ValueError(f"{path}: 'data' is not finite.")
    if not points.size:
        raise ValueError(f"{path} holds no points.")
    return points, labels.reshape(-1).astype(np.int64)


def _natural(path: Path) -> list[int | str]:
    """Returns a key that puts train10 after train2."""
    return [int(word) if word.isdigit() else word for word in re.split(r"(\d+)", path.name)]

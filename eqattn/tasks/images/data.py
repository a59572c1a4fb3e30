"""Labeled images, and images as points in the plane, for the task "images".

`examples` is the definition of every data set of images; `load` packs its examples into arrays.
Two sources are known:

* ``"digits"``: 1,797 handwritten digits of 8 x 8 pixels that come with the package; the first 1,197
  are for training, the next 200 for validation, the last 400 for the test. They keep the order of
  the source, in which digits of one writer seem to stand together (the nearest neighbor of one is
  within 70 places in 45 % of the cases, by chance in 8 %), so that the test is of other hands;
* the path of a folder with the four idx files of MNIST, Fashion-MNIST and their kin, compressed or
  not: ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, and the same with ``t10k``. The
  first nine tenths of the former are for training, the last tenth for validation (of MNIST 54,000
  and 6,000); the latter is the test.

`ImageClouds` makes an image a cloud of points: the centers of its pixels, with their intensity as a
scalar. Rotating the points rotates the image, by any angle and exactly, with no regridding.
"""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from eqattn.tasks.images.idx import read_idx

EMBEDDED_PATH = Path(__file__).parent / "embedded" / "digits.npz"
SPLITS = ("train", "validation", "test")
_DIGITS = {"train": (0, 1_197), "validation": (1_197, 1_397), "test": (1_397, 1_797)}
_DIGIT_LEVELS, _IDX_LEVELS = 16, 255


@dataclass(frozen=True, eq=False)
class Images:
    """M images of R rows and K columns.

    Attributes:
      ids: Number of each image within its file.
      pixels: Intensities, from 0 to ``levels``.
      labels: Class of each image, from 0.
      levels: The greatest intensity there can be.
    """

    ids: Int[np.ndarray, "M"]
    pixels: UInt8[np.ndarray, "M R K"]
    labels: Int[np.ndarray, "M"]
    levels: int

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, indices: Int[np.ndarray, "B"] | slice) -> "Images":
        """Returns the images at these places, in this order."""
        return dataclasses.replace(
            self, ids=self.ids[indices], pixels=self.pixels[indices], labels=self.labels[indices]
        )


def examples(
    source: str | os.PathLike[str] = "digits", *, split: str = "train"
) -> Iterator[dict[str, Any]]:
    """Yields the images of a split one at a time: the definition of the data set.

    Example:
      >>> {key: np.shape(value) for key, value in next(examples()).items()}
      {'id': (), 'pixels': (8, 8), 'label': ()}

    Args:
      source: ``"digits"`` or the path of a folder.
      split: "train", "validation" or "test".

    Yields:
      ``id`` and ``label`` (int), ``pixels`` [R, K] uint8, the first row on top.

    Raises:
      FileNotFoundError: If the folder or one of its files is missing.
      ValueError: If there is no such split, or a file cannot be read.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    if source == "digits":
        with np.load(EMBEDDED_PATH, allow_pickle=False) as file:
            pixels, labels = file["pixels"], file["labels"]
        begin, end = _DIGITS[split]
    else:
        pixels, labels = _read_idx_files(
            Path(source).expanduser(), "t10k" if split == "test" else "train"
        )
        tenth = len(labels) // 10
        begin, end = {
            "train": (0, len(labels) - tenth),
            "validation": (len(labels) - tenth, len(labels)),
            "test": (0, len(labels)),
        }[split]
    for index in range(begin, end):
        yield {"id": index, "pixels": pixels[index], "label": int(labels[index])}


def load(source: str | os.PathLike[str] = "digits", *, split: str = "train") -> Images:
    """Returns the images of a split as arrays.

    Args:
      source: ``"digits"`` or the path of a folder.
      split: "train", "validation" or "test".

    Raises:
      FileNotFoundError: If the folder or one of its files is missing.
      ValueError: If there is no such split or no image in it, or a file cannot be read.
    """
    levels = _DIGIT_LEVELS if source == "digits" else _IDX_LEVELS
    return _pack(examples(source, split=split), levels, f"{source}, split {split!r}")


def pixel_centers(num_rows: int, num_columns: int) -> Float[np.ndarray, "P 2"]:
    """Returns where the P pixels of an image are, row by row from the top: x right, y up.

    The center of the image is the origin, and its longer side runs from -1 to 1, edge to edge.

    Example:
      >>> pixel_centers(1, 2)
      array([[-0.5,  0. ],
             [ 0.5,  0. ]])

    Args:
      num_rows: Number of rows of the image.
      num_columns: Number of columns of the image.
    """
    longer = max(num_rows, num_columns)
    x = (2 * np.arange(num_columns) + 1 - num_columns) / longer
    y = (num_rows - 1 - 2 * np.arange(num_rows)) / longer
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


@dataclass(frozen=True, eq=False)
class ImageClouds:
    """Images as labeled clouds of points, made when they are gathered.

    With a threshold, only the pixels above it are points, and the rest is padding: where most
    pixels are dark, this saves most of the work, and where the dark ones have intensity 0, a
    rotated image has no corners to be told by.

    Attributes:
      images: The images.
      num_points: Points of an example, padding included; an image has at most as many.
      threshold: Pixels above this share of the greatest intensity are points; None for all.

    Raises:
      ValueError: If an image has more points, or none, or the threshold is not in [0, 1).
    """

    images: Images
    num_points: int
    threshold: float | None = None

    def __post_init__(self) -> None:
        counts = _num_points(self.images, self.threshold)
        if not counts.all():
            raise ValueError(
                f"image {self.ids[np.argmin(counts)]} has no pixel above the threshold "
                f"{self.threshold}, so that it would be a cloud of no points."
            )
        largest = int(counts.max(initial=1))
        if largest > self.num_points:
            raise ValueError(
                f"num_points={self.num_points} is less than the {largest} points of an image."
            )

    @property
    def ids(self) -> Int[np.ndarray, "M"]:
        """Number of each image."""
        return self.images.ids

    def __len__(self) -> int:
        return len(self.images)

    def gather(self, rows: Int[np.ndarray, "B"]) -> dict[str, np.ndarray]:
        """Returns arrays of these images for a batch; the only feature is the intensity, 0 to 1."""
        chosen = self.images[rows]
        intensities = _intensities(chosen)
        kept = _kept(intensities, self.threshold)
        # The points come first, in the order of the pixels.
        order = np.argsort(~kept, axis=1, kind="stable")[:, : self.num_points]
        mask = np.take_along_axis(kept, order, axis=1)
        centers = pixel_centers(*chosen.pixels.shape[1:]).astype(np.float32)
        found = np.take_along_axis(intensities, order, axis=1)
        padding = ((0, 0), (0, self.num_points - mask.shape[1]))
        return {
            "points": np.pad(np.where(mask[..., None], centers[order], 0), (*padding, (0, 0))),
            "features": np.pad(np.where(mask, found, 0), padding)[..., None],
            "mask": np.pad(mask, padding),
            "labels": chosen.labels,
        }


def max_points(images: Images, threshold: float | None = None) -> int:
    """Returns the greatest number of points of an image, see `ImageClouds`.

    Args:
      images: The images; with those of all splits, `ImageClouds` of each are equally long.
      threshold: Pixels above this share of the greatest intensity are points; None for all.

    Raises:
      ValueError: If the threshold is not in [0, 1).
    """
    return int(_num_points(images, threshold).max(initial=1))


def _num_points(images: Images, threshold: float | None) -> Int[np.ndarray, "M"]:
    if threshold is not None and not 0 <= threshold < 1:
        raise ValueError(f"threshold must be in [0, 1), got {threshold}.")
    return _kept(_intensities(images), threshold).sum(axis=1)


def _intensities(images: Images) -> Float32[np.ndarray, "M P"]:
    pixels = images.pixels.reshape(len(images), -1)
    return pixels.astype(np.float32) / np.float32(images.levels)


def _kept(intensities: np.ndarray, threshold: float | None) -> np.ndarray:
    if threshold is None:
        return np.ones(intensities.shape, bool)
    return intensities > threshold


def _pack(dataset: Iterable[Mapping[str, Any]], levels: int, name: str) -> Images:
    rows = list(dataset)
    if not rows:
        raise ValueError(f"{name} holds no images.")
    return Images(
        ids=np.array([row["id"] for row in rows], np.int64),
        pixels=np.stack([row["pixels"] for row in rows]),
        labels=np.array([row["label"] for row in rows], np.int64),
        levels=levels,
    )


def _read_idx_files(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images and labels of a part, checked."""
    images_path = _idx_path(folder, f"{part}-images", 3)
    labels_path = _idx_path(folder, f"{part}-labels", 1)
    pixels, labels = read_idx(images_path), read_idx(labels_path)
    if pixels.ndim != 3 or 0 in pixels.shape[1:]:
        raise ValueError(f"{images_path} must hold images [M, R, K], got {list(pixels.shape)}.")
    if labels.shape != pixels.shape[:1]:
        raise ValueError(
            f"{labels_path} must hold a label for each of {len(pixels)} images, got "
            f"{list(labels.shape)}."
        )
    return pixels, labels


def _idx_path(folder: Path, name: str, num_dimensions: int) -> Path:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no folder of images at {folder}: data is 'digits', or the path of a folder with "
            "idx files."
        )
    # The second is how an older release of MNIST spelled it.
    stems = [f"{name}{mark}idx{num_dimensions}-ubyte" for mark in ("-", ".")]
    names = [stem + suffix for stem in stems for suffix in ("", ".gz")]
    for path in (folder / one for one in names):
        if path.is_file():
            return path
    raise FileNotFoundError(f"{folder} has no file {names[0]} or {names[1]}.")

"""Patterns of points in the plane: the data set of the task "constellations", made here.

An example is a cloud of the corners of squares, triangles, pentagons and L's, each of which may
occur up to twice, and the question is how many of each there are: four labels from 0 to 2.
Corners of polygons are roots of unity; those of an L are (-1, -1), (0, -1), (1, -1), (1, 0) and
(1, 1). Every pattern is dropped with probability ½ (but not all of an example), rotated about its
center by an angle from U(-0.33 π, 0.33 π), and shifted by U(0, 24)²; N(0, 0.1²) is added to each
coordinate. Then the corners that are there are scaled together, by one factor and one offset for
both coordinates, so that these lie between -1 and 1; and they are shuffled.

This is the generator of arXiv:2012.10885 with three differences to the published
code: all patterns are moved alike (there, polygons are shifted three times as far as an L, and
patterns are rotated about a point beside them); dropped corners have no influence on the scale;
and no split holds an example of another (there, the test repeats the training).

An example depends on the parameters, the split, the seed and its own number alone. 10,000 of them
take a fraction of a second, so there is no cache.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32

from eqattn.checks import check_sizes
from eqattn.data.motions import RandomMotion
from eqattn.data.streams import random_state

SPLITS = ("train", "validation", "test")
MOTIONS: Mapping[str, RandomMotion] = {
    "none": RandomMotion(),
    "T2": RandomMotion(shift=1.0),
    "SE2": RandomMotion("SO(2)", shift=1.0),
}
"""How examples are moved as a whole, in training or in the test."""
COLUMNS = (
    *(("none", "none"), ("none", "T2"), ("none", "SE2")),
    *(("T2", "T2"), ("T2", "SE2"), ("SE2", "SE2")),
)
"""The six experiments of arXiv:2012.10885: motions in training and in the test."""
_BLOCK = 512  # examples drawn at once
_LARGEST_SEED = 2**32


def _polygon(num_corners: int) -> Float[np.ndarray, "_ 2"]:
    angles = 2 * np.pi / num_corners * np.arange(num_corners)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


PATTERNS: Mapping[str, Float[np.ndarray, "_ 2"]] = {
    "square": _polygon(4),
    "triangle": _polygon(3),
    "pentagon": _polygon(5),
    "L": np.array([[-1.0, -1.0], [0.0, -1.0], [1.0, -1.0], [1.0, 0.0], [1.0, 1.0]]),
}
"""Corners of each kind of pattern, in the order of the labels."""
NUM_KINDS = len(PATTERNS)


@dataclass(frozen=True)
class ConstellationParameters:
    """What the examples are drawn from; see the top of this file.

    Raises:
      ValueError: If a parameter is out of range.
    """

    repetitions: int = 2
    """How often each kind of pattern may occur; labels are from 0 to this number."""
    drop_probability: float = 0.5
    """Probability that a pattern is dropped."""
    max_rotation: float = 0.33
    """Largest angle that a pattern is rotated by, either way, in units of π."""
    extent: float = 24.0
    """Side of the square that patterns are shifted in, in radii of a polygon."""
    noise: float = 0.1
    """Standard deviation of what is added to each coordinate, in radii of a polygon."""

    def __post_init__(self) -> None:
        check_sizes({"repetitions": self.repetitions})
        if not 0 <= self.drop_probability < 1:
            raise ValueError(f"drop_probability must be in [0, 1), got {self.drop_probability}")
        for name in ("max_rotation", "extent", "noise"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(
                    f"{name} must be finite and not negative, got {getattr(self, name)}"
                )


@dataclass(frozen=True, eq=False)
class Constellations:
    """M examples of at most N points, N being the corners of all patterns together.

    Attributes:
      ids: Number of each example within its split.
      points: The corners that are there, in random order, then zeros.
      mask: True where there is a corner.
      labels: How many patterns of each kind there are, in the order of `PATTERNS`.
    """

    ids: Int[np.ndarray, "M"]
    points: Float32[np.ndarray, "M N 2"]
    mask: Bool[np.ndarray, "M N"]
    labels: Int32[np.ndarray, "M 4"]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, indices: Int[np.ndarray, "B"] | slice) -> "Constellations":
        """Returns the examples at these places, in this order."""
        return Constellations(**{name: array[indices] for name, array in _arrays(self).items()})

    def gather(self, rows: Int[np.ndarray, "B"]) -> dict[str, np.ndarray]:
        """Returns arrays of these examples for a batch; the only feature is 1 at every corner."""
        mask = self.mask[rows]
        return {
            "points": self.points[rows],
            "features": mask[..., None].astype(np.float32),
            "mask": mask,
            "labels": self.labels[rows],
        }


def generate(
    num_examples: int,
    *,
    split: str = "train",
    seed: int = 0,
    parameters: ConstellationParameters | None = None,
) -> Constellations:
    """Returns the first examples of a split: the definition of the data set.

    Example:
      >>> few = generate(3)
      >>> few.points.shape, few.mask.sum(axis=1), few.labels.tolist()
      ((3, 34, 2), array([12, 18, 10]), [[1, 1, 0, 1], [0, 1, 1, 2], [0, 0, 1, 1]])

    Args:
      num_examples: Number of examples.
      split: "train", "validation" or "test".
      seed: Seed of the whole data set.
      parameters: What to draw from.

    Raises:
      ValueError: If a number is out of range, or there is no such split.
    """
    check_sizes({"num_examples": num_examples})
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    if not 0 <= seed < _LARGEST_SEED:
        raise ValueError(f"seed must be in [0, 2**32), got {seed}")
    parameters = parameters or ConstellationParameters()
    # Whole blocks, so that an example is the same however many are asked for.
    blocks = [
        _draw_block((seed, SPLITS.index(split), block), parameters)
        for block in range(-(-num_examples // _BLOCK))
    ]
    points, mask, labels = (
        np.concatenate(parts)[:num_examples] for parts in zip(*blocks, strict=True)
    )
    return Constellations(np.arange(num_examples), points.astype(np.float32), mask, labels)


def examples(
    num_examples: int,
    *,
    split: str = "train",
    seed: int = 0,
    parameters: ConstellationParameters | None = None,
) -> Iterator[dict[str, Any]]:
    """Yields the examples of :func:`generate` one at a time, without padding.

    Args:
      num_examples: Number of examples.
      split: "train", "validation" or "test".
      seed: Seed of the whole data set.
      parameters: What to draw from.

    Yields:
      ``id`` (int), ``points`` [N, 2] float32 and ``labels`` [4] int32.

    Raises:
      ValueError: If a number is out of range, or there is no such split.
    """
    held = generate(num_examples, split=split, seed=seed, parameters=parameters)
    for index in range(num_examples):
        yield {
            "id": index,
            "points": held.points[index][held.mask[index]],
            "labels": held.labels[index],
        }


def _arrays(held: Constellations) -> dict[str, np.ndarray]:
    return {field.name: getattr(held, field.name) for field in dataclasses.fields(held)}


def _draw_block(
    words: tuple[int, ...], parameters: ConstellationParameters
) -> tuple[Float[np.ndarray, "B N 2"], Bool[np.ndarray, "B N"], Int32[np.ndarray, "B 4"]]:
    """Returns points, mask and labels of the block of this key."""
    random = random_state(*words)
    kinds = list(PATTERNS.values()) * parameters.repetitions
    size = (_BLOCK, len(kinds))
    present = random.random_sample(size) >= parameters.drop_probability
    kept = random.randint(len(kinds), size=_BLOCK)  # the one that stays where all are dropped
    present[~present.any(axis=1), kept[~present.any(axis=1)]] = True
    angles = np.pi * parameters.max_rotation * random.uniform(-1.0, 1.0, size)
    shifts = parameters.extent * random.random_sample((*size, 2))

    pattern = np.repeat(np.arange(len(kinds)), [len(corners) for corners in kinds])
    x, y = np.concatenate(kinds).T
    cos, sin = np.cos(angles)[:, pattern], np.sin(angles)[:, pattern]
    points = np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1) + shifts[:, pattern]
    points += parameters.noise * random.standard_normal(points.shape)

    mask = present[:, pattern]
    low = np.where(mask[..., None], points, np.inf).min(axis=(1, 2), keepdims=True)
    high = np.where(mask[..., None], points, -np.inf).max(axis=(1, 2), keepdims=True)
    points = (2 * points - low - high) / (high - low)

    order = np.argsort(random.random_sample(mask.shape) + ~mask, axis=1)  # dropped ones last
    mask = np.take_along_axis(mask, order, axis=1)
    points = np.where(mask[..., None], np.take_along_axis(points, order[..., None], axis=1), 0.0)
    labels = present.reshape(_BLOCK, parameters.repetitions, NUM_KINDS).sum(axis=1, dtype=np.int32)
    return points, mask, labels

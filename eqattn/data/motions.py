"""Random rotations and shifts of clouds of points, one for each example.

In space the axis z points up. A motion acts on the points themselves, in float64, so it is exact:
nothing is put on a grid again.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from eqattn.checks import check_option

Rotation = Literal["none", "z", "SO(2)", "SO(3)"]
_DIMENSION = {"z": 3, "SO(2)": 2, "SO(3)": 3}


@dataclass(frozen=True)
class RandomMotion:
    """A distribution of rotations about the origin, each followed by a shift.

    Attributes:
      rotation: Uniform over the rotations of the plane ("SO(2)"), over those of space about its
        vertical axis ("z") or over all of space ("SO(3)"); or "none".
      shift: Standard deviation of each component of the shift, which is normal with mean zero.

    Raises:
      ValueError: If there is no such rotation, or ``shift`` is negative or not finite.
    """

    rotation: Rotation = "none"
    shift: float = 0.0

    def __post_init__(self) -> None:
        check_option("rotation", self.rotation, Rotation)
        if not 0 <= self.shift < math.inf:
            raise ValueError(f"shift must be finite and not negative, got {self.shift}")

    def sample(
        self, random: np.random.RandomState, num_examples: int, dimension: int
    ) -> tuple[Float[np.ndarray, "B D D"], Float[np.ndarray, "B D"]]:
        """Returns a matrix and a shift for each of B examples.

        Args:
          random: Where the draws come from.
          num_examples: How many examples.
          dimension: Dimension D of their points.

        Raises:
          ValueError: If the rotation is not one of this dimension.
        """
        if _DIMENSION.get(self.rotation, dimension) != dimension:
            raise ValueError(f"rotation {self.rotation!r} is none of points in {dimension}-D.")
        matrices = np.tile(np.eye(dimension), (num_examples, 1, 1))
        if self.rotation == "SO(3)":
            matrices = _from_quaternions(random.standard_normal((num_examples, 4)))
        elif self.rotation != "none":
            angles = random.uniform(0.0, 2 * np.pi, num_examples)
            cos, sin = np.cos(angles), np.sin(angles)
            matrices[:, :2, :2] = np.stack([cos, -sin, sin, cos], axis=-1).reshape(-1, 2, 2)
        shifts = np.zeros((num_examples, dimension))
        if self.shift:
            shifts = self.shift * random.standard_normal(shifts.shape)
        return matrices, shifts


def move(
    points: Float[np.ndarray, "B N D"],
    mask: Bool[np.ndarray, "B N"],
    matrices: Float[np.ndarray, "B D D"],
    shifts: Float[np.ndarray, "B D"],
) -> Float[np.ndarray, "B N D"]:
    """Returns the points of each example moved by its own motion, in float64; zeros at padding.

    Args:
      points: Points of the examples.
      mask: True where there is a point.
      matrices: Matrices of the examples' rotations.
      shifts: Shifts, added after the rotation.
    """
    moved = np.einsum("bij,bnj->bni", matrices, points.astype(np.float64)) + shifts[:, None]
    return np.where(mask[..., None], moved, 0.0)


def _from_quaternions(quaternions: Float[np.ndarray, "B 4"]) -> Float[np.ndarray, "B 3 3"]:
    """Returns the rotations of quaternions (w, x, y, z), normalized here."""
    q = quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True)
    w, x, y, z = np.moveaxis(q, -1, 0)
    rows = [
        *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    ]
    return np.stack(rows, axis=-1).reshape(-1, 3, 3)

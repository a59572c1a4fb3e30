"""What linear maps leave alone: the one linear problem that all kernels are solutions of."""

import numpy as np

from eqattn.typing import Float

LARGEST_NULL = 1e-7
"""Singular values up to which a vector counts as fixed: matrices in float64 miss by 1e-14."""
SMALLEST_OTHER = 1e-3
"""Singular values from which on a vector counts as moved."""
_PIVOT = 1e-2


def fixed_vectors(
    constraints: list[Float[np.ndarray, "_ n"]], name: str
) -> Float[np.ndarray, "K n"]:
    """An orthonormal basis of the vectors v with A v = 0 for all given matrices A.

    The basis does not depend on how it was found: unit vectors are projected in turn, and made
    orthogonal to those before them. So it is the same on every machine, and stored weights, which
    are coordinates in it, keep their meaning.

    Args:
      constraints: The matrices A.
      name: What is solved for, in the message of the error.

    Raises:
      ValueError: If a singular value is neither 0 nor clearly above it, so that a dimension could
        not be told.
    """
    size = constraints[0].shape[1]
    squares = sum((a.T @ a for a in constraints), np.zeros((size, size)))
    scale = max(1.0, float(np.sqrt(np.abs(squares).max())))
    _, vectors = np.linalg.eigh(squares)
    # The square roots of eigenvalues are only half as precise as these norms.
    moved = np.sqrt(sum(np.sum((a @ vectors) ** 2, axis=0) for a in constraints)) / scale
    is_null = moved < LARGEST_NULL
    unclear = moved[~is_null & (moved < SMALLEST_OTHER)]
    if len(unclear):
        raise ValueError(
            f"{name} cannot be told: a singular value is {unclear.min():.2g}, neither 0 nor above "
            f"{SMALLEST_OTHER:g}; representations must be precise in float64"
        )
    null = vectors[:, is_null]
    return _canonical(null @ null.T, null.shape[1])


def _canonical(projector: np.ndarray, size: int) -> np.ndarray:
    """The basis of the image of a projector that unit vectors give in order."""
    rows: list[np.ndarray] = []
    for column in projector:
        if len(rows) == size:
            break
        for _ in range(2):  # the second time for what rounding left
            for row in rows:
                column = column - (row @ column) * row
        norm = np.linalg.norm(column)
        if norm > _PIVOT:
            rows.append(column / norm)
    basis = np.array(rows).reshape(len(rows), projector.shape[0])
    return np.where(np.abs(basis) > 1e-13, basis, 0.0)

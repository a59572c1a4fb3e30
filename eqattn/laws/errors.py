"""How far two sides of a law are apart, and the error that names a law."""

import functools
from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np

from eqattn.groups import LieGroup
from eqattn.groups.base import stack, unstack
from eqattn.spaces.base import Space
from eqattn.typing import Array, DType

TOLERANCES = {"float64": 1e-10, "float32": 2e-6}
"""Bounds on |error| / max(1, |values|)."""


def relative_error(found, expected, *magnitudes) -> np.ndarray:
    """Largest |found - expected| over the last axes, per sample, over max(1, |values|).

    In numpy and float64: the arithmetic of the comparison adds no error and compiles nothing.
    """

    def largest(x):
        x = np.asarray(x, np.float64)
        return np.max(np.abs(x), axis=tuple(range(1, x.ndim)), initial=0.0)

    scale = functools.reduce(np.maximum, [largest(x) for x in (expected, *magnitudes)])
    difference = np.asarray(found, np.float64) - np.asarray(expected, np.float64)
    return largest(difference) / np.maximum(1.0, scale)


def wide(function: Callable[..., Array]) -> Callable[..., np.ndarray]:
    """The function with results in float64, so that what follows rounds no more."""
    return lambda *arguments: np.asarray(function(*arguments), np.float64)


def apply_matrices(matrices: np.ndarray, vectors: Array) -> np.ndarray:
    """Matrices times vectors, in float64."""
    return (matrices @ np.asarray(vectors, np.float64)[..., None])[..., 0]


def moduli(group: LieGroup, *elements: Array) -> np.ndarray:
    """Product of the moduli of matrices: as large as what rounds in the product of elements."""
    return functools.reduce(np.matmul, [np.abs(wide(group.matrix)(g)) for g in elements])


def chord(group: LieGroup, g: Array, h: Array) -> np.ndarray:
    """Euclidean distance of the embeddings of elements."""
    return np.linalg.norm(wide(group.embedding)(g) - wide(group.embedding)(h), axis=-1)


def double_coset(space: Space, pair: Array) -> Array:
    """The pair invariants of a space as an array."""
    return stack(space.pair_invariants(unstack(pair)), pair.shape[:-1], pair.dtype)


def bound_for(dtype: DType, tolerance: float | None) -> float:
    """The bound on errors: the given one, or that of the number type.

    Raises:
      ValueError: If there is neither.
    """
    name = jnp.zeros((), dtype).dtype.name
    if tolerance is None and name not in TOLERANCES:
        raise ValueError(f"tolerance must be given for {name}; known are {TOLERANCES}")
    return TOLERANCES[name] if tolerance is None else tolerance


def raise_first(
    subject: str, errors: Mapping[str, np.ndarray], bound: float, unit: str = ""
) -> None:
    """Raises an AssertionError that names the first law whose error is above a bound.

    Args:
      subject: The group or space.
      errors: Errors of each law.
      bound: What none of them may exceed.
      unit: Unit of the errors, as it follows their number.
    """
    for law, error in errors.items():
        largest = float(np.max(error, initial=0.0))
        if not largest <= bound:
            raise AssertionError(
                f"{subject} breaks the law {law!r}: error {largest:.3g}{unit} is above "
                f"{bound:.3g}{unit}"
            )

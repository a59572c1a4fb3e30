"""The laws of each group and space as rows of the certificate."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.certificate.catalog import Geometry
from eqattn.groups import LieGroup
from eqattn.laws import (
    STANDARD_ERRORS,
    TOLERANCES,
    group_laws,
    group_samples,
    sample_laws,
    space_laws,
    space_samples,
    stabilizer_sample_laws,
)
from eqattn.typing import DType


def measure_group(group: LieGroup, dtype: str) -> list[tuple[str, float, float, float]]:
    """Statements with largest and mean errors and bounds: of the laws, and of those of samples.

    Args:
      group: Any group.
      dtype: ``"float64"`` or ``"float32"``.
    """
    number, key = _dtype(dtype), jax.random.key(0)
    laws = group_laws(group, *group_samples(group, key, number))
    samples = sample_laws(group, jax.random.fold_in(key, 1), number)
    return [
        _summary("of the group", laws, TOLERANCES[dtype]),
        _summary("of its samples, in standard errors", samples, STANDARD_ERRORS),
    ]


def measure_space(geometry: Geometry, dtype: str) -> list[tuple[str, float, float, float]]:
    """The same of a space under its group.

    Args:
      geometry: The space.
      dtype: ``"float64"`` or ``"float32"``.
    """
    space, number, key = geometry.space, _dtype(dtype), jax.random.key(0)
    samples = space_samples(space, key, number)
    laws = space_laws(space, *samples, jax.random.fold_in(key, 1))
    found = [_summary("of the space", laws, TOLERANCES[dtype])]
    if space.stabilizer.is_compact:
        drawn = stabilizer_sample_laws(space, samples[0][1], jax.random.fold_in(key, 2), number)
        found.append(
            _summary("of samples of the stabilizer, in standard errors", drawn, STANDARD_ERRORS)
        )
    return found


def _dtype(name: str) -> DType:
    return jnp.float64 if name == "float64" else jnp.float32


def _summary(
    subject: str, errors: Mapping[str, np.ndarray], bound: float
) -> tuple[str, float, float, float]:
    """The statement that all laws hold, with the name of the one that is closest to fail.

    Raises:
      FloatingPointError: If an error is not a number.
    """
    largest = {law: float(np.max(error, initial=0.0)) for law, error in errors.items()}
    for law, error in largest.items():
        if not np.isfinite(error):
            raise FloatingPointError(f"the law {law!r} {subject} has an error that is not finite")
    worst = max(largest, key=lambda law: largest[law])
    text = f"{len(largest)} laws {subject}, the worst {worst!r}"
    return text, largest[worst], float(np.mean(list(largest.values()))), bound

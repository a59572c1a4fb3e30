"""The one table of tolerances, by dtype."""

import jax.numpy as jnp

_TOLERANCES = {
    # Groups, spaces, fields, lifts and single layers: |error| / max(1, |values|).
    "layer": {"float64": 1e-10, "float32": 2e-6},
    # float32 logarithm of a stored element against the float64 one of that same element.
    "log": {"float32": 1e-5},
    # Derivatives against central differences: |error| / max(1, |values|).
    "finite_difference": {"float64": 1e-6},
}

NEGATIVE_CONTROL = 1e-2
"""What a deliberately broken computation must exceed."""


def tolerance(dtype, kind: str = "layer") -> float:
    """The bound on errors of that kind in that dtype."""
    return _TOLERANCES[kind][jnp.dtype(dtype).name]

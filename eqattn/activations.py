"""Activation functions by the names that they have in ``jax.nn``."""

from collections.abc import Callable
from typing import get_args

import jax

from eqattn.typing import Activation, ActivationName, Array, Float


@jax.custom_jvp
def swish(x: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """Returns x sigmoid(x); its first two derivatives are in closed form and share the sigmoid."""
    return x * jax.nn.sigmoid(x)


@jax.custom_jvp
def _swish_slope(x: Float[Array, "*B"]) -> Float[Array, "*B"]:
    sigmoid = jax.nn.sigmoid(x)
    return sigmoid * (1 + x * (1 - sigmoid))


def _swish_curvature(x: Float[Array, "*B"]) -> Float[Array, "*B"]:
    sigmoid = jax.nn.sigmoid(x)
    return sigmoid * (1 - sigmoid) * (2 + x * (1 - 2 * sigmoid))


swish.defjvps(lambda tangent, _, x: tangent * _swish_slope(x))
_swish_slope.defjvps(lambda tangent, _, x: tangent * _swish_curvature(x))

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    **{name: getattr(jax.nn, name) for name in get_args(ActivationName)},
    "silu": swish,
    "swish": swish,
}


def activation_fn(activation: Activation) -> Callable[[Array], Array]:
    """Returns the function that an activation stands for: itself, or the one of that name.

    >>> float(activation_fn("tanh")(0.0)), activation_fn(jax.numpy.sin) is jax.numpy.sin
    (0.0, True)

    Args:
      activation: A function of an array, element by element, or the name of one in ``jax.nn``.

    Raises:
      TypeError: For anything else.
      ValueError: For an unknown name.
    """
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {tuple(ACTIVATIONS)} or a function, got {activation!r}"
            )
        return ACTIVATIONS[activation]
    if not callable(activation):
        raise TypeError(f"activation must be a name or a function, got {activation!r}")
    return activation

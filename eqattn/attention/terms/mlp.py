"""Multi-layer perceptrons over many pairs: features first, pairs last.

In that layout small matrix products over many pairs are fast.
"""

import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.activations import activation_fn
from eqattn.initial import uniform
from eqattn.typing import Activation, Array, DType, Float


def apply_mlp(
    weights: tuple[Array, ...],
    biases: tuple[Array, ...],
    x: Float[Array, "F P"] | Float[Array, "H F P"],
    activation: Callable[[Array], Array],
    *,
    final_activation: bool,
) -> Float[Array, "G P"] | Float[Array, "H G P"]:
    """An MLP over features-first columns.

    Args:
      weights: [in out] each (a shared trunk), or [H in out] (an MLP for each head).
      biases: [out] each, or [H out].
      x: Inputs shared by the heads, or one set for each head.
      activation: Activation between the layers.
      final_activation: Whether the activation follows the last layer too.

    Returns:
      The outputs, with a head axis if the weights have one.
    """
    per_head = weights[0].ndim == 3
    last = len(weights) - 1
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        weight, bias = weight.astype(x.dtype), bias.astype(x.dtype)
        if per_head and x.ndim == 2:
            # One product for all heads: they share the input.
            num_heads, size, width = weight.shape
            stacked = jnp.moveaxis(weight, 1, 2).reshape(num_heads * width, size)
            x = _product(stacked, x).reshape(num_heads, width, x.shape[-1])
        elif per_head:
            x = _product(jnp.moveaxis(weight, 1, 2), x)
        else:
            x = _product(weight.T, x)
        x = x + bias[..., None]
        if layer < last or final_activation:
            x = activation(x)
    return x


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def init_mlp(
    key: Array,
    sizes: tuple[int, ...],
    num_heads: int | None = None,
    dtype: DType = jnp.float32,
    *,
    activation: Activation | None = None,
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Weights and biases of an MLP: uniform in ±1/sqrt(in), biases too.

    Args:
      key: Random key of the draw.
      sizes: Sizes of the input, the hidden layers and the output.
      num_heads: Draws an MLP for each head.
      dtype: Data type of the parameters.
      activation: Activation between the layers. If given, the range is scaled so that, with this
        activation between the layers, outputs have the mean square of the inputs, as values of a
        basis should; without, they shrink to about a tenth over three layers, as published.
    """
    lead = () if num_heads is None else (num_heads,)
    weights, biases = [], []
    mean_square = 1.0  # of an activation of standard normal numbers
    for size, width in itertools.pairwise(sizes):
        key, weight_key, bias_key = jax.random.split(key, 3)
        bound = 1 / math.sqrt(size)
        if activation is not None:
            bound *= math.sqrt(3 / mean_square)
            mean_square = _mean_square(activation)
        weights.append(uniform(weight_key, (*lead, size, width), dtype, -bound, bound))
        biases.append(uniform(bias_key, (*lead, width), dtype, -bound, bound))
    return tuple(weights), tuple(biases)


def _mean_square(activation: Activation) -> float:
    """Of an activation of standard normal numbers, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    with jax.ensure_compile_time_eval():  # models are also built under a trace, for their shapes
        values = np.asarray(activation_fn(activation)(jnp.asarray(nodes, jnp.float32)))
    return float(np.sum(weights * values**2) / np.sum(weights))

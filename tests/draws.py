"""Inputs and parameters for tests: from NumPy, or each from one program, which is kept."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.attention.terms.mlp import init_mlp


def normal(seed: int, *shape: int) -> np.ndarray:
    """Standard normal numbers in float64."""
    return np.random.default_rng(seed).normal(size=shape)


@functools.cache
def elements(group, seed: int, *shape: int) -> np.ndarray:
    """Elements of the group [*shape E] in float64, drawn in one program."""
    with jax.ensure_compile_time_eval():  # also where a program is being traced
        return np.asarray(jax.jit(lambda key: group.sample(key, shape))(jax.random.key(seed)))


@functools.cache
def mlp(seed: int, sizes: tuple[int, ...], num_heads: int | None = None):
    """Weights and biases of an MLP in float64, drawn in one program."""
    draw = jax.jit(init_mlp, static_argnums=(1, 2, 3))
    with jax.ensure_compile_time_eval():
        return draw(jax.random.key(seed), sizes, num_heads, jnp.float64)

"""Inputs and parameters for tests, from NumPy: jax compiles a program for each shape it draws."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np


def normal(seed: int, *shape: int) -> np.ndarray:
    """Standard normal numbers in float64."""
    return np.random.default_rng(seed).normal(size=shape)


@functools.cache
def elements(group, seed: int, *shape: int) -> np.ndarray:
    """Elements of the group [*shape E] in float64, drawn in one program."""
    return np.asarray(jax.jit(lambda key: group.sample(key, shape))(jax.random.key(seed)))


def mlp(seed: int, sizes: tuple[int, ...], num_heads: int | None = None):
    """Weights and biases in float64, of the distribution of ``eqattn.attention.mlp.init_mlp``."""
    lead = () if num_heads is None else (num_heads,)
    random = np.random.default_rng(seed)
    weights, biases = [], []
    for size, width in itertools.pairwise(sizes):
        bound = size**-0.5
        weights.append(jnp.asarray(random.uniform(-bound, bound, (*lead, size, width))))
        biases.append(jnp.asarray(random.uniform(-bound, bound, (*lead, width))))
    return tuple(weights), tuple(biases)

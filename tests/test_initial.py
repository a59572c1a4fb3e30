"""Numbers of initial parameters are those of jax, bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import initial
from eqattn.layers.linear import Linear

SHAPES = [(3, 5), (16, 16), (40, 70)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_numbers_are_those_of_jax(dtype, shape):
    key, dtype = jax.random.key(3), jnp.dtype(dtype)
    found = initial.lecun_normal(key, shape, dtype)
    expected = jax.nn.initializers.lecun_normal()(key, shape, dtype)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)
    found = initial.uniform(key, (2, *shape), dtype, -0.3, 0.5)
    np.testing.assert_array_equal(found, jax.random.uniform(key, (2, *shape), dtype, -0.3, 0.5))


def test_so_they_are_in_a_program_and_from_other_generators():
    draw = lambda key: initial.uniform(key, (5, 7), jnp.float32, 0.0, 2.0)
    for key in (jax.random.key(3), jax.random.key(3, impl="rbg")):
        expected = jax.random.uniform(key, (5, 7), jnp.float32, 0.0, 2.0)
        np.testing.assert_array_equal(draw(key), expected)
        np.testing.assert_array_equal(jax.jit(draw)(key), expected)
        np.testing.assert_array_equal(jax.jit(lambda key=key: draw(key))(), expected)


def test_layers_of_several_widths_draw_one_size(monkeypatch):
    """The kernels are those of flax, which draws each shape."""
    drawn, draw = [], jax.random.truncated_normal

    def record(key, lower, upper, shape, *args, **kwargs):
        drawn.append(shape)
        return draw(key, lower, upper, shape, *args, **kwargs)

    monkeypatch.setattr(jax.random, "truncated_normal", record)
    widths = (5, 11, 17)
    kernels = [Linear(3, width, rngs=nnx.Rngs(0)).kernel[...] for width in widths]
    assert drawn == [(initial.MIN_SIZE,)] * 3
    for kernel, width in zip(kernels, widths, strict=True):
        flax = nnx.Linear(3, width, rngs=nnx.Rngs(0)).kernel[...]
        np.testing.assert_array_equal(kernel, flax)

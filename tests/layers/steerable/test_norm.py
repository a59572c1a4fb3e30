"""Norms of fields."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn.fields import FieldType
from eqattn.layers.steerable import FieldNorm
from tests import draws


def test_large_fields_get_the_size_1_and_small_ones_stay():
    norm = FieldNorm(FieldType.parse("4x scalar + 6x vector"), rngs=nnx.Rngs(0))
    scalars, vectors = jnp.ones((5, 1, 4)), jnp.asarray(draws.normal(0, 5, 3, 6))
    vectors = vectors / jnp.sqrt(jnp.mean(vectors**2, axis=(-2, -1), keepdims=True))
    for size, expected in ((1e-6, 1e-6), (1.0, 2**-0.5), (1e6, 1.0)):
        _, out = norm((scalars, size * vectors))
        np.testing.assert_allclose(out, expected * vectors, rtol=1e-5)


def test_its_derivatives_are_finite_where_fields_vanish():
    norm = FieldNorm(FieldType.parse("4x scalar + 6x vector"), rngs=nnx.Rngs(0))

    def size(vectors):
        return jnp.sum(norm((jnp.ones((1, 4)), vectors))[1] ** 2)

    zeros = jnp.zeros((3, 6))
    slope = jax.grad(size)
    for derivative in jax.jit(lambda x: (slope(x), jax.jacfwd(slope)(x)))(zeros):
        assert np.all(np.isfinite(derivative))

"""The linear map and the layer norm are Flax's, with derivatives of their own making."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.layers.linear import Linear
from eqattn.layers.norm import LayerNorm
from tests import draws
from tests.compiled import compiled


def linear(cls, **options):
    types = {"dtype": None, "param_dtype": jnp.float64, "use_bias": True, **options}
    return cls(5, 3, **types, rngs=nnx.Rngs(0))


def norm(cls):
    module = (
        LayerNorm(5, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
        if cls is LayerNorm
        else nnx.LayerNorm(
            5, epsilon=1e-5, use_fast_variance=False, param_dtype=jnp.float64, rngs=nnx.Rngs(0)
        )
    )
    module.scale[...] = jnp.asarray(np.linspace(0.5, 2.0, 5))
    return module


KINDS = {"linear": (linear, Linear, nnx.Linear), "norm": (norm, LayerNorm, nnx.LayerNorm)}


def losses(kind="linear", **options):
    """The same function of (parameters, inputs) by our module and by Flax's."""
    make, *classes = KINDS[kind]
    ours, theirs = (nnx.split(make(cls, **options), nnx.Param) for cls in classes)

    def loss(graphdef):
        return lambda params, x: jnp.sum(jnp.tanh(nnx.merge(graphdef, params)(x)) ** 3)

    return loss(ours[0]), loss(theirs[0]), ours[1]


def assert_all_close(ours, theirs, atol=1e-12):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol), ours, theirs)


@pytest.mark.parametrize(
    ("kind", "options"), [("linear", {}), ("linear", {"use_bias": False}), ("norm", {})]
)
@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 3, 5), (0, 5)])
def test_values_and_gradients_are_those_of_flax(kind, options, shape):
    ours, theirs, params = losses(kind, **options)

    @jax.jit
    def both(params, x):
        return [jax.value_and_grad(f, argnums=(0, 1))(params, x) for f in (ours, theirs)]

    assert_all_close(*both(params, draws.normal(0, *shape)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("argnum", [0, 1])
def test_second_derivatives_in_both_modes_are_those_of_flax(kind, argnum):
    ours, theirs, params = losses(kind)

    def products(loss, *arguments):
        tangent = jax.tree.map(jnp.cos, arguments[argnum])

        def of_one(argument):
            return loss(*(argument if i == argnum else a for i, a in enumerate(arguments)))

        def slope(argument):
            return jax.tree.reduce(
                jnp.add,
                jax.tree.map(lambda g, t: jnp.sum(g * t), jax.grad(of_one)(argument), tangent),
            )

        at = arguments[argnum]
        forward = jax.jvp(jax.grad(of_one), (at,), (tangent,))[1]
        return jax.jvp(of_one, (at,), (tangent,))[1], forward, jax.grad(slope)(at)

    both = compiled(lambda *arguments: [products(loss, *arguments) for loss in (ours, theirs)])
    assert_all_close(*both(params, draws.normal(0, 4, 5)))


def test_types_of_bfloat16_products_are_those_of_flax():
    ours, theirs, params = losses(dtype=jnp.bfloat16)
    compute = compiled(
        lambda *arguments: [jax.value_and_grad(f)(*arguments) for f in (ours, theirs)]
    )
    both = compute(params, draws.normal(0, 6, 5))
    assert both[0][0].dtype == both[1][0].dtype
    assert_all_close(*both, atol=0.05)

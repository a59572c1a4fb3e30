"""Models of functions on the group, which field models wrap: what the protocol promises."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import fields, groups, spaces, testing
from eqattn.layers import pool
from eqattn.lift import Haar, lift
from eqattn.models import LieTransformer, RegularModel
from tests import small
from tests.compiled import compiled
from tests.grids import some

lift = compiled(lift)

SE3 = spaces.euclidean(groups.SE(3))
VECTORS = fields.vectors(2)


def build(head="mlp"):
    return LieTransformer(
        SE3, 6, 6, dim=8, num_layers=1, layer=small.attention(), lift=Haar(), head=head,
        param_dtype=jnp.float64, rngs=nnx.Rngs(0),
    )  # fmt: skip


@pytest.mark.parametrize("head", some(["mlp", "token"], "token"))
def test_functions_on_the_group_in_and_out(head):
    model = build(head)
    assert isinstance(model, RegularModel)
    points = np.random.default_rng(0).normal(size=(2, 5, 3))
    mask = np.arange(5) < np.array([[5], [3]])
    lifted = lift(SE3, points, np.ones((2, 5, 6)), mask, key=jax.random.key(1), lift=Haar(2))
    out = jax.jit(model.apply_regular)(lifted)
    features = np.asarray(out.features)
    assert features.shape == (2, 5, 2, 6)
    np.testing.assert_array_equal(out.elements, lifted.elements)
    assert np.all(features[~mask] == 0)
    assert np.std(features[0]) > 1e-3
    if head == "token":
        pooled, applied = jax.jit(lambda out, x: (pool(out), model.apply_lifted(x)))(out, lifted)
        np.testing.assert_allclose(pooled, applied, atol=1e-12)


@pytest.mark.slow
def test_vectors_in_and_out():
    """project(u·g, F) = ρ(u) project(g, F); not so with the pair g_j g_i⁻¹, the control."""
    model = build()
    apply = jax.jit(lambda lifted: model.apply_regular(lifted).features)
    inverse = jax.jit(SE3.group.inverse)
    invert = lambda x: dataclasses.replace(x, elements=inverse(x.elements))
    options = {"input_field": VECTORS, "output_field": VECTORS}
    fns = (apply, lambda x: apply(invert(x)))
    own, wrong = (testing.coupled_lift_error(fn, SE3, **options) for fn in fns)
    assert own <= 1e-10
    assert wrong > 1e-2

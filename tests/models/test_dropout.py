import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.groups import SE
from eqattn.layers import Attention, Convolution, MLPLocation, MLPValues
from eqattn.layers.dropout import dropout
from eqattn.lift import Frames
from eqattn.models import FieldModelConfig, LieConvNetworkConfig, LieTransformerConfig
from eqattn.spaces import euclidean
from tests.grids import some

SPACE = euclidean(SE(3))
MLP = {"dim": 4, "num_layers": 2, "num_radial": 2}
SMALL = {"space": SPACE, "dim": 8, "num_layers": 1, "dropout": 0.3}
TRANSFORMER = LieTransformerConfig(
    layer=Attention(num_heads=2, location=MLPLocation(**MLP)), **SMALL
)
CONVOLUTIONS = LieConvNetworkConfig(
    layer=Convolution(values=MLPValues(**MLP)), bottleneck=2, subsampling=(4,), **SMALL
)
FIELDS = FieldModelConfig(
    model=dataclasses.replace(TRANSFORMER, output="per_point", lift=Frames()),
    input_field="scalar + vector",
    output_field="vector",
)
POINTS = jax.random.normal(jax.random.key(0), (3, 6, 3))
FEATURES = jax.random.normal(jax.random.key(1), (3, 6, 4))
IDS = jnp.array([5, 2, 9])
MODELS = {"transformer": (TRANSFORMER, 2), "convolutions": (CONVOLUTIONS, 2), "fields": (FIELDS, 3)}


def built(name):
    config, size = MODELS[name]
    return config.build(4, size, rngs=nnx.Rngs(0))


@jax.jit
def trained(model, points, features, mask, key, ids):
    return model(points, features, mask, key, example_ids=ids, training=True)


@pytest.mark.parametrize("name", some(MODELS, "transformer"))
def test_training_draws_by_the_key_and_evaluation_does_not(name):
    model, (config, size) = built(name), MODELS[name]
    draws = [trained(model, POINTS, FEATURES, None, jax.random.key(i), IDS) for i in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.abs(draws[0] - draws[2]).max() > 1e-3
    without = config.replace_network(dropout=0.0).build(4, size, rngs=nnx.Rngs(0))
    evaluate = jax.jit(lambda model: model(POINTS, FEATURES, example_ids=IDS))
    np.testing.assert_array_equal(evaluate(model), evaluate(without))
    with pytest.raises(ValueError, match="key must be given in training"):
        model(POINTS, FEATURES, training=True)


def test_for_each_key_the_model_is_as_equivariant_as_without():
    model, u = built("transformer"), SPACE.group.sample(jax.random.key(2))
    here = trained(model, POINTS, FEATURES, None, jax.random.key(3), IDS)
    there = trained(model, SPACE.group.act(u, POINTS), FEATURES, None, jax.random.key(3), IDS)
    np.testing.assert_allclose(there, here, atol=1e-5)
    assert np.std(here) > 1e-2
    stretched = trained(model, 1.5 * POINTS, FEATURES, None, jax.random.key(3), IDS)
    assert np.abs(stretched - here).max() > 1e-3


def test_what_is_dropped_depends_on_neither_padding_nor_the_other_examples():
    model, key = built("transformer"), jax.random.key(3)
    whole = trained(model, POINTS, FEATURES, None, key, IDS)
    alone = trained(model, POINTS[1:2], FEATURES[1:2], None, key, IDS[1:2])
    np.testing.assert_allclose(alone[0], whole[1], atol=1e-5)
    wide = ((0, 0), (0, 3), (0, 0))
    mask = jnp.broadcast_to(jnp.arange(9) < 6, (3, 9))
    padded = trained(model, jnp.pad(POINTS, wide), jnp.pad(FEATURES, wide), mask, key, IDS)
    np.testing.assert_allclose(padded, whole, atol=1e-5)
    other = trained(model, POINTS, FEATURES, None, key, IDS + 1)
    assert np.abs(other - whole).max() > 1e-3


def test_the_mean_over_keys_stays():
    features = jax.random.normal(jax.random.key(0), (2, 5, 3, 16))
    keys = jax.random.split(jax.random.key(1), 2_000)
    drawn = jax.jit(jax.vmap(lambda key: dropout(features, 0.25, key)))(keys)
    np.testing.assert_allclose(np.mean(drawn, axis=0), features, atol=0.15)
    assert np.mean(np.asarray(drawn) == 0) == pytest.approx(0.25, abs=0.005)
    assert dropout(features, 0.25, None) is features
    assert dropout(features, 0.0, keys[0]) is features


def test_the_draw_does_not_depend_on_the_precision():
    features = np.ones((2, 5, 3, 16), np.float32)
    found = []
    for wide in (False, True):
        with jax.enable_x64(wide):
            found.append(np.asarray(dropout(jnp.asarray(features), 0.25, jax.random.key(1))))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_rates_are_from_0_to_below_1(rate):
    with pytest.raises(ValueError, match=rf"dropout must be in \[0, 1\), got {rate}"):
        dataclasses.replace(TRANSFORMER, dropout=rate)

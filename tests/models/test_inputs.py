"""What models take besides arrays of examples: no example at all, and nested lists."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import groups, spaces
from eqattn.attention import NearestNeighbors
from eqattn.layers import RepresentationAttention
from eqattn.lift import Frames, Haar, NoLift
from eqattn.models import FieldModel, LieConvNetwork, LieTransformer
from tests import small

SE2 = spaces.euclidean(groups.SE(2))
EXACT = {"lift": NoLift(), "layer": small.attention(coordinates="invariants")}
FOLDED = {
    "lift": NoLift(),
    "layer": small.attention(coordinates="invariants", implementation="folded"),
}
REPRESENTATION = {"lift": Frames(), "layer": RepresentationAttention(num_heads=2)}


def transformer(out_features=1, **options):
    options = {"lift": Haar(2), "layer": small.attention()} | options
    return LieTransformer(SE2, 3, out_features, dim=8, num_layers=1, rngs=nnx.Rngs(0), **options)


def field_model(**options):
    return FieldModel(transformer(2, **options), "scalar + vector", "vector")


MODELS = {
    "distances": (transformer, EXACT),
    "representation": (transformer, REPRESENTATION),
    "per point": (transformer, {"output": "per_point"}),
    "nearest": (transformer, {"neighborhood": NearestNeighbors(3)}),
    "folded": (transformer, FOLDED),
    "field": (field_model, {}),
    "field by representation": (field_model, REPRESENTATION),
    "convolution": (
        lambda **options: LieConvNetwork(
            SE2, 3, 1, dim=8, num_layers=2, subsampling=(3,), rngs=nnx.Rngs(0), **options
        ),
        {"lift": Haar(), "layer": small.convolution()},
    ),
}
SHAPES = {"per point": (0, 5, 1), "field": (0, 5, 2), "field by representation": (0, 5, 2)}


@pytest.mark.parametrize("name", MODELS)
def test_an_empty_batch_gives_an_empty_prediction(name):
    build, options = MODELS[name]
    model = build(**options)
    empty = np.zeros((0, 5, 2), np.float32), np.zeros((0, 5, 3), np.float32)
    found = jax.eval_shape(
        lambda x, f: model(x, f, jnp.ones((0, 5), bool), example_ids=jnp.arange(0), num_lifts=2),
        *empty,
    )
    assert found.shape == SHAPES.get(name, (0, 1))


def test_nested_lists_are_arrays(no_type_checks):
    rng = np.random.default_rng(0)
    x, f = (rng.normal(size=(1, 4, n)).astype(np.float32) for n in (2, 3))
    model = transformer(**EXACT)
    expected = jax.jit(lambda x, f: model(x, f))(x, f)
    lists = jax.jit(lambda: model(x.tolist(), f.tolist()))()
    np.testing.assert_allclose(lists, expected, rtol=1e-5)
    assert np.abs(expected).max() > 1e-4
    field = jax.eval_shape(lambda: field_model()(x.tolist(), f.tolist()))
    assert field.shape == (1, 4, 2)


@pytest.mark.usefixtures("no_type_checks")
def test_what_is_no_input_is_named_shortly():
    space = spaces.euclidean(groups.SE(2))
    options = {"dim": 4, "num_layers": 1, "layer": small.attention(num_heads=1), "lift": Haar()}
    model = LieTransformer(space, 3, 1, rngs=nnx.Rngs(0), **options)
    points = np.zeros((2, 5, 2))
    calls = [
        (lambda: model(points, None), TypeError, r"features must be an array .*, got None"),
        (
            lambda: model(points, np.array([[1, 6, 6, 1, 8]] * 2)),
            ValueError,
            r"must have 3 channels, got shape \(2, 5\); for integers .* see jax\.nn\.one_hot",
        ),
        (
            lambda: model.blocks[0].attention(jnp.zeros((2, 5, 1, 4))),
            TypeError,
            r"lifted must be a Lifted, got an array of float64 of shape \(2, 5, 1, 4\)$",
        ),
        (
            lambda: LieTransformer(space, 3, 1, rngs=jax.random.key(0), **options),
            TypeError,
            r"rngs must be a Rngs, got an array of key<fry> of shape \(\)",
        ),
    ]
    for call, error, message in calls:
        with pytest.raises(error, match=message):
            call()

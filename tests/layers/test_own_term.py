"""A term of one's own is one class: models, gradients, texts and files take it.

Where it has parameters, or is a function of arrays, these are made in its method ``build``.
"""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import eqattn
from eqattn import groups, spaces, testing
from eqattn.attention import PairFeatures
from eqattn.layers import Attention, ContentTerm, LocationTerm
from eqattn.lift import Haar, NoLift
from eqattn.models import LieTransformer, LieTransformerConfig, ModelConfig
from eqattn.pytrees import register_dataclass
from eqattn.specification import parse
from tests import draws, small
from tests.grids import some

SE2 = spaces.euclidean(groups.SE(2))


@jax.tree_util.register_static
@dataclass(frozen=True, repr=False)
class NearnessContent(ContentTerm):
    """-s |q_i - k_j|² / C: options and function are one class, which has no parameters."""

    scale: float = 1.0

    def build(self, around):
        return self

    def __call__(self, query, key, query_tokens, key_tokens, precision=None):
        keys = key if key.ndim > query.ndim else key[..., None, :, :, :]
        differences = query[..., :, None, :, :] - keys
        squares = jnp.mean(differences.astype(jnp.promote_types(query.dtype, float)) ** 2, -1)
        return -self.scale * jnp.moveaxis(squares, -1, -3)[None]


@dataclass(frozen=True, repr=False, kw_only=True)
class ScreenedLocation(LocationTerm):
    """A learned mixture of what is seen of a pair, for each head, times a learned strength."""

    num_shells: int = 4
    reach: float = 3.0

    def build(self, around):
        features = PairFeatures(around.space, around.coordinates, self.num_shells, self.reach)

        @register_dataclass
        @dataclass(frozen=True)
        class Mixture:
            weight: jax.Array
            features: PairFeatures = dataclasses.field(metadata={"static": True})

            def __call__(self, query, key):
                pairs = self.features(query, key)
                weight = self.weight.astype(pairs.dtype)
                return jnp.moveaxis(jnp.einsum("fh,f...->h...", weight, pairs), 0, -3)[None]

        class Parameters(nnx.Module):
            def __init__(self):
                shape = features.size, around.num_heads
                key, dtype = around.rngs.params(), around.param_dtype
                self.weight = nnx.Param(jax.random.normal(key, shape, dtype))
                self.strength = nnx.Param(jnp.ones((), dtype))

            def term(self):
                return Mixture(self.strength[...] * self.weight[...], features)

        return Parameters()


@jax.tree_util.register_static
@dataclass(frozen=True, repr=False)
class PlaceLocation(LocationTerm):
    """The negative control: it sees where keys are, and not where they are from the query."""

    def build(self, around):
        return self

    def __call__(self, query, key):
        return jnp.sin(query.elements[-1] + 2.0 * key.elements[-1])[None, ..., None, :, :]


CONTENT, LOCATION = NearnessContent(scale=2.0), ScreenedLocation(num_shells=3, reach=2.5)
LAYERS = {
    "content": small.attention(content=CONTENT),
    "location": Attention(num_heads=2, location=LOCATION),
    "both": Attention(num_heads=2, content=CONTENT, location=LOCATION),
    "both, chunked": Attention(
        num_heads=2, content=CONTENT, location=LOCATION, implementation="chunked"
    ),
}


def build(layer, lift=Haar(2)):
    return LieTransformer(
        SE2, 4, 1, dim=8, num_layers=1, layer=layer, lift=lift, param_dtype=float,
        rngs=nnx.Rngs(0),
    )  # fmt: skip


def batch():
    return draws.normal(1, 3, 5, 2), draws.normal(2, 3, 5, 4)


@pytest.mark.parametrize("name", some(LAYERS, "both"))
def test_models_of_it_are_equivariant(name):
    """Identical where every element is moved; negative control: a term that sees places."""
    broken = dataclasses.replace(LAYERS[name], location=PlaceLocation())
    models = tuple(jax.jit(build(layer).apply_lifted) for layer in (LAYERS[name], broken))
    own, wrong = (testing.coupled_lift_error(model, SE2, lift=Haar(2)) for model in models)
    assert own <= 1e-10
    assert wrong > 1e-2


@pytest.mark.slow
def test_it_is_heeded():
    """Other options are other functions, and so is no such term at all."""
    other = ScreenedLocation(num_shells=3, reach=0.5)
    layers = [
        LAYERS["both"],
        Attention(num_heads=2, content=NearnessContent(), location=LOCATION),
        Attention(num_heads=2, content=CONTENT, location=other),
        Attention(num_heads=2, content=CONTENT, location=None),
        Attention(num_heads=2, content=None, location=LOCATION),
    ]
    models = [build(layer) for layer in layers]
    outputs = np.stack(jax.jit(lambda x, f: [model(x, f) for model in models])(*batch()))
    for i in range(len(layers)):
        for j in range(i):
            assert np.abs(outputs[i] - outputs[j]).max() > 1e-4, (layers[i], layers[j])


@pytest.mark.parametrize("name", some(LAYERS, "both, chunked"))
def test_it_is_trained(name):
    """One step along gradients that are not zero, in every part of the attention."""
    graphdef, params = nnx.split(build(LAYERS[name]), nnx.Param)
    optimizer = optax.sgd(1e-2)

    @jax.jit
    def step(params, x, f):
        loss = lambda params: jnp.mean((nnx.merge(graphdef, params)(x, f) - 1.0) ** 2)
        before, gradient = jax.value_and_grad(loss)(params)
        updates, _ = optimizer.update(gradient, optimizer.init(params))
        stepped = optax.apply_updates(params, updates)
        return before, loss(stepped), gradient

    before, after, gradient = step(params, *batch())
    assert after < before
    of_attention = dict(nnx.to_flat_state(gradient["blocks"][0]["attention"]))
    names = {".".join(map(str, path)) for path in of_attention}
    assert {"query.kernel", "key.kernel", "value.kernel"} <= names
    if name != "content":
        assert {"location.weight", "location.strength"} <= names
    for path, slope in of_attention.items():
        # Where weights sum to 1, the same for all keys changes none: a bias does nothing.
        idle = path[-1] == "bias" or path[:2] == ("location", "biases")
        assert idle or np.abs(np.asarray(slope[...])).max() > 1e-8, path


@pytest.mark.slow
def test_texts_and_files_hold_it(tmp_path):
    model = build(LAYERS["both"])
    expected = jax.jit(model)(*batch())
    text = model.config.full_text()
    assert "content=NearnessContent(scale=2.0)" in text
    assert "location=ScreenedLocation(num_shells=3, reach=2.5)" in text
    config = parse(text, ModelConfig)
    assert config == model.config
    again = dataclasses.replace(config, dtype="float64").build(4, 1, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(jax.jit(again)(*batch()), expected)
    eqattn.save(model, tmp_path / "model")
    loaded, config = eqattn.load(tmp_path / "model")
    assert config.layer == LAYERS["both"]
    np.testing.assert_array_equal(jax.jit(loaded)(*batch()), expected)


def test_what_it_says_of_coordinates_is_heeded():
    """A term that sees coordinates sees those that a lift allows, and no others."""
    seen = Attention(content=CONTENT, location=LOCATION, coordinates="embedding")
    message = "coordinates must be 'invariants' on a lift by NoLift"
    with pytest.raises(ValueError, match=message):
        LieTransformerConfig(space=SE2, layer=seen, lift=NoLift()).check()
    unseen = dataclasses.replace(seen, location=None)  # a content term sees none by default
    LieTransformerConfig(space=SE2, layer=unseen, lift=NoLift()).check()

"""Models whose points see each other within a frame, and the average over frames."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import testing
from eqattn.attention import NearestNeighbors
from eqattn.fields import FieldType
from eqattn.groups import E
from eqattn.lift import Frames, Lifting, lift
from eqattn.models import FieldModel, LieConvNetwork, LieTransformer
from eqattn.spaces import euclidean
from tests import small
from tests.grids import some
from tests.spaces.cases import SPACES
from tests.tolerances import NEGATIVE_CONTROL, tolerance

WITHIN, ACROSS = Frames(1e-3), Frames(1e-3, pairs="across")
ONE = Frames(1e-3, training_frames=1)
SE2, SE3 = SPACES["SE(2)"], SPACES["SE(3)"]
BY_NAME = {"SE(2)": SE2, "SE(3)": SE3, "E(3)": euclidean(E(3))}
EXACT = tolerance(jnp.float64)


@dataclasses.dataclass(frozen=True, repr=False)
class _FewerSigns(Frames):
    """Frames without the last choice of signs: a negative control."""

    def elements(self, space, inputs):
        found = super().elements(space, inputs)
        return Lifting(found.elements[..., :-1, :], found.fallback)


FEWER = _FewerSigns(1e-3)


@functools.cache
def built(by, space=SE3, kind=LieTransformer, sizes=(4, 2), **options):
    """A model with weights that make outputs depend much on directions."""
    layer = small.convolution if kind is LieConvNetwork else small.attention
    model = kind(
        space, *sizes, dim=8, num_layers=1, layer=layer(width=4, depth=2), lift=by,
        param_dtype=jnp.float64, rngs=nnx.Rngs(0), **options,
    )  # fmt: skip
    graph, state = nnx.split(model)
    return nnx.merge(graph, jax.tree.map(lambda x: 2.0 * x, state))


def cloud(num_examples=3, dim=3):
    keys = jax.random.split(jax.random.key(3))
    shape = (num_examples, 6)
    return (
        jax.random.normal(k, (*shape, n), jnp.float64) for k, n in zip(keys, (dim, 4), strict=True)
    )


@functools.partial(jax.jit, static_argnames="training")
def run(model, x, f, key=None, ids=None, *, training=False):
    return model(x, f, None, key, example_ids=ids, training=training)


def plain(model):
    return jax.jit(lambda x, f: model(x, f))


@pytest.mark.parametrize("name", some(BY_NAME, "E(3)"))
def test_invariants_are_exact(name):
    """Negative control: a choice of signs is left out."""
    space = BY_NAME[name]
    models = tuple(plain(built(by, space)) for by in (WITHIN, FEWER))
    good, bad = (testing.equivariance_error(fn, space, num_examples=8) for fn in models)
    assert good <= EXACT
    assert bad > NEGATIVE_CONTROL


@pytest.mark.parametrize("name", some(BY_NAME, "SE(2)"))
def test_vectors_are_turned_back_by_each_frame(name):
    space, given = BY_NAME[name], FieldType.parse("scalar + vector")
    sizes = given.size(space), space.point_dim
    options = {"input_field": given, "output_field": "vector", "num_examples": 8}
    models = (FieldModel(built(by, space, sizes=sizes), given, "vector") for by in (WITHIN, FEWER))
    good, bad = (testing.equivariance_error(plain(fn), space, **options) for fn in models)
    assert good <= EXACT
    assert bad > NEGATIVE_CONTROL


MODELS = {
    "transformer": {},
    "token head, per point": {"head": "token", "output": "per_point"},
    "convolutions": {"kind": LieConvNetwork, "bottleneck": 2, "subsampling": (4,), "pool": "sum"},
    "neighbors": {"neighborhood": NearestNeighbors(4)},
}


@pytest.mark.parametrize("name", some(MODELS, "transformer"))
def test_the_output_is_the_average_of_those_of_the_frames(name):
    """Of the whole model, its head included; across frames it is another function."""
    x, f = cloud()
    model, other = (built(by, **MODELS[name]) for by in (WITHIN, ACROSS))

    def of_frame(lifted, k):
        elements, features = lifted.elements[:, :, k, None], lifted.features[:, :, k, None]
        weights = jnp.zeros_like(lifted.log_weights[:, :, :1])
        one = dataclasses.replace(lifted, elements=elements, features=features, log_weights=weights)
        return model.apply_lifted(one)

    @jax.jit
    def compute(x, f):
        lifted = lift(SE3, x, f, lift=WITHIN, key=jax.random.key(0))
        singles = jax.lax.map(lambda k: of_frame(lifted, k), jnp.arange(4))
        return singles, model(x, f), model.apply_lifted(lifted), other(x, f)

    singles, out, of_lifted, across = map(np.asarray, compute(x, f))
    np.testing.assert_allclose(out, np.mean(singles, axis=0), atol=1e-12)
    np.testing.assert_allclose(of_lifted, out, atol=1e-12)
    of_frames = np.std(singles, axis=0).max()
    assert np.abs(across - out).max() > NEGATIVE_CONTROL * of_frames
    assert of_frames > NEGATIVE_CONTROL * np.std(out)


def test_training_draws_one_frame_of_each_example():
    """By its id, in any batch; evaluation averages over all, and each comes as often."""
    x, f = cloud()
    model, ids, key = built(ONE, SE2), jnp.array([5, 9, 2]), jax.random.key(1)
    x = x[..., :2]
    everything = run(built(WITHIN, SE2), x, f)
    np.testing.assert_array_equal(run(model, x, f), everything)
    first = run(model, x, f, key, ids, training=True)
    num_programs = run._cache_size()
    again = run(model, x[::-1], f[::-1], jax.random.key(1), ids[::-1], training=True)
    np.testing.assert_allclose(again[::-1], first, atol=1e-12)
    assert run._cache_size() == num_programs  # nothing that is drawn is a constant of it
    num_draws = 400
    same = [jnp.repeat(part[:1], num_draws, axis=0) for part in (x, f)]
    draws = np.asarray(run(model, *same, key, jnp.arange(num_draws), training=True))
    values, counts = np.unique(draws.round(10), axis=0, return_counts=True)
    assert len(values) == 2
    np.testing.assert_allclose(counts, num_draws / 2, atol=4 * np.sqrt(num_draws / 4))
    np.testing.assert_allclose(np.mean(values, axis=0), everything[0], atol=1e-9)
    with pytest.raises(ValueError, match="key must be given in training with Frames"):
        model(x, f, training=True)


def test_training_with_several_frames_repeats_none():
    x, f = cloud(1)
    two = built(dataclasses.replace(ONE, training_frames=2), SE2)
    both = [
        run(model, x[..., :2], f, training=True, key=jax.random.key(0))
        for model in (two, built(WITHIN, SE2))
    ]
    np.testing.assert_allclose(*both, atol=1e-12)


def test_what_is_dropped_is_the_same_in_all_frames():
    """So that with dropout, too, outputs are exact for each key; negative control: other keys."""
    model = built(WITHIN, SE2, dropout=0.3)
    ids = jnp.arange(8)

    def fn(x, f, key=0):
        return run(model, x, f, jax.random.key(key), ids[: len(x)], training=True)

    assert testing.equivariance_error(fn, SE2, num_examples=8) <= EXACT
    x, f = cloud()
    assert np.abs(fn(x[..., :2], f) - fn(x[..., :2], f, 1)).max() > NEGATIVE_CONTROL


def test_a_model_of_ones_own_sees_one_frame_at_a_time():
    class Own:
        space, lift, in_features, out_features, is_stochastic = SE3, WITHIN, 4, 4, False

        def apply_regular(self, lifted, key=None, example_ids=None):
            assert lifted.elements.shape == (3, 4, 6, 1, 7)
            assert example_ids.shape == (3, 4)
            return lifted

    x, f = cloud()
    model = FieldModel(Own(), "scalar + vector", "scalar + vector")
    out = jax.jit(lambda x, f: model(x, f, example_ids=jnp.arange(3)))(x, f)
    np.testing.assert_allclose(out, f, atol=1e-12)

"""The whole model: what a prediction may depend on, transformations of the program, errors."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import groups, spaces
from eqattn.activations import activation_fn
from eqattn.attention import NearestNeighbors
from eqattn.layers import (
    AddLogits,
    Attention,
    LieSelfAttention,
    MLPLogits,
    MultiplyLogits,
    PerHeadMLPLocation,
)
from eqattn.lift import EVALUATION_SEED, Haar, NoLift, lift
from eqattn.models import LieTransformer
from tests import small
from tests.compiled import EMITTERS, compiled
from tests.grids import each_once

lift = compiled(lift)

SE3 = spaces.euclidean(groups.SE(3))
SMALL = {"dim": 8, "num_layers": 1}
EMBEDDING = small.attention(depth=2)
INVARIANTS = small.attention(depth=2, coordinates="invariants")


def build(space=SE3, lift=Haar(2), layer=EMBEDDING, **options):
    options = {**SMALL, "param_dtype": jnp.float64, **options}
    return LieTransformer(space, 4, 1, layer=layer, lift=lift, rngs=nnx.Rngs(0), **options)


def data(num_points=5, num_examples=3, dtype=np.float64, dim=3):
    rng = np.random.default_rng(1)
    arrays = (rng.normal(size=(num_examples, num_points, n)) for n in (dim, 4))
    mask = np.arange(num_points) < np.array([num_points, num_points - 1, 2])[:, None]
    return *(jnp.asarray(x.astype(dtype)) for x in arrays), jnp.asarray(mask)


KEY = jax.random.key(7)
IDS = jnp.array([11, 5, 8])


def predict(model):
    graphdef, params = nnx.split(model, nnx.Param)
    call = lambda params, *a, **k: nnx.merge(graphdef, params)(*a, **k)
    jitted = jax.jit(call, static_argnames=("training", "num_lifts"))
    return lambda *a, **k: jitted(params, *a, **k)


@pytest.fixture(scope="module")
def model():
    """The model with samples, in float64, and its program."""
    model = build()
    return model, predict(model)


@pytest.fixture(scope="module")
def exact():
    """The model without a lift, in float64, and its program."""
    model = build(lift=NoLift(), layer=INVARIANTS)
    return model, predict(model)


def test_same_key_same_prediction_whatever_bucket_and_batch_mates():
    points, features, mask = map(np.asarray, data(dtype=np.float32))
    run = predict(build(param_dtype=jnp.float32))
    whole = run(points, features, mask, KEY, example_ids=IDS)
    pad = lambda a, v: np.pad(a, ((0, 0), (0, 6)) + ((0, 0),) * (a.ndim - 2), constant_values=v)
    padded = run(pad(points, np.nan), pad(features, 1e3), pad(mask, False), KEY, example_ids=IDS)
    np.testing.assert_allclose(padded, whole, atol=1e-6)
    order = np.array([2, 0, 2])
    ids = np.asarray(IDS)
    mates = run(points[order], features[order], mask[order], KEY, example_ids=ids[order])
    np.testing.assert_allclose(mates, whole[order], atol=1e-6)
    alone = run(points[0], features[0], mask[0], KEY, example_ids=ids[0])
    np.testing.assert_allclose(alone, whole[0], atol=1e-6)
    other = run(points, features, mask, KEY, example_ids=ids + 1)
    assert np.max(np.abs(other - whole)) > 1e-4  # the draw does matter


def test_second_call_of_the_same_shapes_traces_nothing(model):
    points, features, mask = data()
    graphdef, params = nnx.split(model[0], nnx.Param)
    traces = []

    def run(params, points, key):
        traces.append(points.shape)
        return nnx.merge(graphdef, params)(points, features, mask, key)

    run = jax.jit(run)
    for seed in range(3):
        run.trace(params, points + seed, jax.random.key(seed))
    assert len(traces) == 1


@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize(
    ("group", "strategy", "coordinates"),
    [
        pytest.param(groups.SE(3), Haar(2), "log", marks=pytest.mark.slow),
        pytest.param(groups.SE(2), Haar(2, shared=True), "log", marks=pytest.mark.slow),
        (groups.T(2), NoLift(), "log"),
        pytest.param(groups.SE(3), NoLift(), "invariants", marks=pytest.mark.slow),
        pytest.param(groups.SO(3), Haar(2), "embedding", marks=pytest.mark.slow),
        pytest.param(groups.RxSO2(), Haar(1), "log", marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_derivatives_with_respect_to_positions(group, strategy, coordinates):
    """jit, vmap, grad, grad of grad; finite differences; two points in one place.

    Compiled as for users: the distance of points in one place then is 0 in one loop, and what
    rounding left of it in another.
    """
    space = spaces.euclidean(group)
    layer = small.attention(depth=2, coordinates=coordinates, num_radial=3)
    model = build(space, strategy, layer)
    points, features, mask = data(dim=space.point_dim)
    points = np.array(points)
    points[:, 1] = points[:, 0]  # coincident points
    direction = np.random.default_rng(3).normal(size=points[0].shape)
    direction[1] = direction[0]

    def along(s, points, features, mask):
        """The slope of an example's energy along a line, the energy, and all its derivatives."""
        energy = lambda points: model(points, features, mask, KEY)[0]
        value, gradient = jax.value_and_grad(energy)(points + s * direction)
        return jnp.sum(gradient * direction), (value, gradient)

    def all_examples(s):
        one = jax.value_and_grad(along, has_aux=True)
        return jax.vmap(one, (None, 0, 0, 0))(s, points, features, mask)

    h = 1e-4
    low, middle, high = map(jax.jit(all_examples, compiler_options=EMITTERS), (-h, 0.0, h))
    ((slope, (_, forces)), curvature) = jax.tree.map(np.asarray, middle)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(middle))
    assert np.all(forces[~np.asarray(mask)] == 0)
    ((slope_low, (low, _)), _), ((slope_high, (high, _)), _) = low, high
    np.testing.assert_allclose(slope, (high - low) / (2 * h), rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(curvature, (slope_high - slope_low) / (2 * h), rtol=1e-5, atol=1e-8)


@pytest.mark.slow
def test_points_and_padding_at_the_origin():
    """Under SO(3) the origin's stabilizer is the whole group; gradients stay finite there."""
    model = build(spaces.euclidean(groups.SO(3)))
    points, features, mask = data()
    points = np.array(points)
    points[:, 0] = 0.0
    padded = np.where(mask[..., None], points, 0.0)
    loss = lambda p: model(p, features, mask, KEY, example_ids=IDS).sum()
    value_and_grad = jax.jit(jax.value_and_grad(loss))
    value, grad = value_and_grad(padded)
    assert np.all(np.isfinite(grad))
    moved = np.where(mask[..., None], points, 5.0)
    np.testing.assert_array_equal(value, value_and_grad(moved)[0])


def test_padding_of_nan_harms_no_gradient(model):
    points, features, mask = data()
    model, _ = model
    lifted = lift(SE3, points, features, mask, key=KEY, lift=Haar(2))
    spoil = lambda a: jnp.asarray(np.where(mask[..., None, None], a, np.nan))
    spoilt = dataclasses.replace(
        lifted, elements=spoil(lifted.elements), features=spoil(lifted.features)
    )
    graphdef, params = nnx.split(model, nnx.Param)
    loss = lambda params, lifted: nnx.merge(graphdef, params).apply_lifted(lifted).sum()
    value = jax.jit(jax.value_and_grad(loss))
    pairs = map(jax.tree.leaves, (value(params, spoilt), value(params, lifted)))
    for a, b in zip(*pairs, strict=True):
        assert np.all(np.isfinite(a))
        np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parametrize(("shape", "pool"), each_once([(0, 5), (2, 0)], ["mean", "max"]))
def test_no_examples_or_no_points(shape, pool):
    run = predict(build(pool=pool))
    out = run(np.zeros((*shape, 3)), np.zeros((*shape, 4)), key=KEY)
    assert out.shape == (shape[0], 1)
    assert np.all(np.isfinite(out))


def test_num_lifts_averages_over_lifts(model):
    model, run = model
    points, features, mask = data()
    averaged = run(points, features, mask, KEY, num_lifts=3)
    keys = [jax.random.fold_in(KEY, i) for i in range(3)]
    each = [np.asarray(run(points, features, mask, k)) for k in keys]
    np.testing.assert_allclose(averaged, sum(each) / 3, atol=1e-12)
    with pytest.raises(ValueError, match="num_lifts must be at least 1, got 0"):
        model(points, features, mask, KEY, num_lifts=0)


def test_key_in_training_and_evaluation(model, exact):
    points, features, mask = data()
    model, _ = model
    with pytest.raises(ValueError, match="key must be given in training"):
        model(points, features, mask, training=True)
    exact, _ = exact
    assert not exact.is_stochastic

    @jax.jit
    def pairs(*inputs):
        drawn = model(*inputs), model(*inputs, jax.random.key(EVALUATION_SEED))
        return drawn, (exact(*inputs, training=True), exact(*inputs, KEY, num_lifts=2))

    for one, other in pairs(points, features, mask):
        np.testing.assert_array_equal(one, other)


def test_apply_lifted_is_the_model_without_the_lift(model):
    """Also of a lift that is made anew from its five arrays."""
    points, features, mask = data()
    model, run = model
    lifted = compiled(lift)(SE3, points, features, mask, key=KEY, lift=Haar(2), example_ids=IDS)
    names = ["elements", "features", "orbit_invariants", "mask", "log_weights"]
    rebuilt = type(lifted)(**{n: getattr(lifted, n) for n in names})
    assert rebuilt.orbit_invariants.shape == (3, 5, 0)
    found = jax.jit(model.apply_lifted)(rebuilt)
    np.testing.assert_allclose(found, run(points, features, mask, KEY, example_ids=IDS), atol=1e-14)


@pytest.mark.parametrize("head", ["mlp", "token"])
def test_per_point_output_is_a_scalar_field(head):
    points, features, mask = data()
    model = build(lift=NoLift(), layer=INVARIANTS, output="per_point", head=head)
    run = predict(model)
    out = np.asarray(run(points, features, mask))
    assert out.shape == (3, 5, 1)
    assert np.all(out[~np.asarray(mask)] == 0)
    order = np.array([3, 0, 4, 1, 2])
    permuted = run(points[:, order], features[:, order], mask[:, order])
    np.testing.assert_allclose(permuted, out[:, order], atol=1e-12)
    assert np.std(out[0]) > 1e-3


@pytest.mark.parametrize(
    ("norm", "pool"), each_once(["pre", "post", "none"], ["mean", "sum", "max"])
)
def test_every_norm_and_pool_is_invariant_to_permutations(norm, pool):
    points, features, mask = data()
    run = predict(build(lift=NoLift(), layer=INVARIANTS, norm=norm, pool=pool))
    order = np.array([3, 0, 4, 1, 2])
    permuted = run(points[:, order], features[:, order], mask[:, order])
    np.testing.assert_allclose(permuted, run(points, features, mask), atol=1e-12)


@pytest.mark.slow
def test_options_change_the_function(exact):
    """No option is parsed and ignored: each changes the output of the same seed in its own way."""
    points, features, mask = data()
    reference = exact[1](points, features, mask)
    per_head = PerHeadMLPLocation(dim=8, num_layers=2, num_radial=0)
    of_layers = (
        {"num_radial": 4}, {"location": None}, {"location": per_head}, {"content": None},
        {"combine": MultiplyLogits()}, {"combine": MLPLogits(dim=8, num_layers=2)},
        {"normalize": "mean"}, {"depth": 1}, {"normalize": "exponential_mean"},
        {"num_radial": 4, "cutoff": 3.0}, {"num_heads": 4}, {"content_dim": 4},
    )  # fmt: skip
    layer = lambda change: small.attention(**{"depth": 2, "coordinates": "invariants"} | change)
    changes = (
        {"norm": "post"}, {"norm": "none"}, {"pool": "sum"}, {"pool": "max"}, {"head": "token"},
        {"activation": "gelu"}, {"final_activation": True}, {"mlp_ratio": 1.0},
        *({"layer": layer(change)} for change in of_layers),
    )  # fmt: skip
    models = [build(**{"lift": NoLift(), "layer": INVARIANTS} | change) for change in changes]
    outputs = jax.jit(lambda *inputs: [model(*inputs) for model in models])(points, features, mask)
    outputs = [np.asarray(out) for out in (reference, *outputs)]
    for (one, out), (other, another) in itertools.combinations(
        zip(({}, *changes), outputs, strict=True), 2
    ):
        assert np.max(np.abs(out - another)) > 1e-6, (one, other)


def test_bfloat16_keeps_geometry_in_float32():
    points, features, mask = data(dtype=np.float32)
    options = {
        "lift": NoLift(), "layer": INVARIANTS, "param_dtype": jnp.float32
    }  # fmt: skip
    exact = predict(build(**options))(points, features, mask)
    low = predict(build(**{**options, "dtype": jnp.bfloat16}))
    out = low(points, features, mask)
    assert out.dtype == jnp.bfloat16
    # bfloat16 keeps 8 bits of the features; far translations must not be rounded to them.
    np.testing.assert_allclose(np.float32(out), exact, atol=0.03)
    far = low(points + np.float32(100.0), features, mask)
    np.testing.assert_allclose(np.float32(far), np.float32(out), atol=0.01)


def test_activations_are_functions_or_names_of_jax_nn(no_type_checks):
    """The same parameters, by each; and another function is another model."""
    points, features, mask = data()
    options = {"lift": NoLift(), "layer": INVARIANTS}
    run = lambda activation: predict(build(activation=activation, **options))(
        points, features, mask
    )
    named, given, other = run("softplus"), run(jax.nn.softplus), run(jnp.sin)
    # The initial range depends on the activation alone.
    np.testing.assert_allclose(given, named, rtol=1e-12)
    assert np.abs(other - named).max() > 1e-3
    with pytest.raises(TypeError, match="activation must be a name or a function, got 3"):
        activation_fn(3)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            {"lift": NoLift(), "layer": Attention(coordinates="log")},
            "coordinates must be 'invariants'",
        ),
        ({"head": "linear"}, "head of LieTransformerConfig must be one of"),
        ({"pool": "median"}, "pool of LieTransformerConfig must be one of"),
        ({"output": "vector"}, "output of LieTransformerConfig must be one of"),
        ({"layer": Attention(num_heads=3)}, "dim must be a multiple of num_heads=3, got 8"),
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"dim": -8}, "dim must be at least 1, got -8"),
        ({"layer": "Attention(num_heads=0)"}, "num_heads must be at least 1, got 0"),
        ({"layer": "Attention(location=MLPLocation(dim=0))"}, "dim must be at least 1, got 0"),
        (
            {"layer": "Attention(location=MLPLocation(num_layers=0))"},
            "num_layers must be at least 1, got 0",
        ),
        ({"mlp_ratio": 0.0}, "mlp_ratio must be finite"),
        ({"mlp_ratio": float("inf")}, "mlp_ratio of LieTransformerConfig must be a finite number"),
        ({"activation": "tan"}, "activation must be one of"),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_bad_options(options, match):
    with pytest.raises(ValueError, match=match):
        build(**options)


@pytest.mark.slow
def test_layers_are_one_argument_apart():
    """Exactly invariant, all three, and three functions."""
    points, features, mask = data()
    models = [
        build(lift=NoLift(), layer=layer(depth=2, coordinates="invariants"))
        for layer in small.FAMILY.values()
    ]
    run = jax.jit(lambda points: [model(points, features, mask) for model in models])
    turned = jax.jit(lambda x: SE3.group.act(SE3.group.sample(KEY, (3, 1)), x))(points)
    outputs = np.stack(run(points))
    np.testing.assert_allclose(np.stack(run(turned)), outputs, atol=1e-10)
    assert np.std(outputs, axis=0).min() > 1e-4


@pytest.mark.parametrize("option", ["num_heads", "coordinates", "attention", "location", "combine"])
def test_options_of_a_layer_are_no_options_of_the_model(option):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{option}'"):
        build(**{option: 2})


@pytest.mark.parametrize(
    ("option", "value", "match"),
    [
        ("content", "CosineContent()", "content of Attention: 'CosineContent' is unknown, known"),
        (
            "content",
            "cosine",
            "content of Attention must be one of Dot.* got 'cosine'",
        ),
        ("location", "GridLocation()", "location of Attention: 'GridLocation' is unknown, known"),
        ("location", "DotProductContent()", "location of Attention must be one of MLPLocation, "),
        ("combine", "DivideLogits()", "combine of Attention: 'DivideLogits' is unknown, known"),
        ("normalize", "softmx", "normalize of Attention must be one of softmax, "),
        ("coordinates", "polar", "coordinates of Attention must be one of log, "),
        ("implementation", "fast", "implementation of Attention must be one of "),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_bad_attention_options(option, value, match):
    with pytest.raises(ValueError, match=match):
        Attention(**{option: value})


def test_options_that_do_not_go_together():
    message = r"combine=MLPLogits\(\) needs a content and a location term"
    with pytest.raises(ValueError, match=message):
        Attention(combine=MLPLogits(), content=None)
    message = r"combine=MultiplyLogits\(\) needs a content and a location term"
    with pytest.raises(ValueError, match=message):
        Attention(combine=MultiplyLogits(), location=None)
    with pytest.raises(ValueError, match="normalize='mean' needs a content or a location term"):
        Attention(normalize="mean", content=None, location=None)
    two = PerHeadMLPLocation(outputs=2)
    for combine in (AddLogits(), MultiplyLogits()):
        with pytest.raises(
            ValueError, match=r"combine must be MLPLogits\(\) for terms of more than"
        ):
            LieSelfAttention(8, SE3, Attention(location=two, combine=combine), rngs=nnx.Rngs(0))


def test_a_table_of_the_model(monkeypatch, no_type_checks):
    monkeypatch.setenv("COLUMNS", "200")
    points, features, mask = data()
    model = build(lift=NoLift(), layer=INVARIANTS, neighborhood=NearestNeighbors(2))
    table = nnx.tabulate(model, points, features, mask)
    for part in ("blocks/0/attention/query", "LieSelfAttention", "head/linears/0", "Total"):
        assert part in table

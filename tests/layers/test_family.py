"""Attention, attentive convolution and LieConv: one family, and alike in what holds."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import fields, groups, spaces, testing
from eqattn.attention import (
    BernsteinBasis,
    NearestNeighbors,
    RadiusNeighbors,
    find_neighbors,
    subsample,
)
from eqattn.layers import (
    Attention,
    AttentiveConvolution,
    BernsteinValues,
    BottleneckBlock,
    Convolution,
    FourierValues,
    LieConv,
    LieSelfAttention,
    MLPValues,
    MultiplyLogits,
)
from eqattn.lift import Haar, NoLift, lift
from tests import draws, small
from tests.attention.test_neighborhoods import arrays_in
from tests.compiled import compiled
from tests.grids import some, some_rows

SE2 = spaces.euclidean(groups.SE(2))
PLANE = spaces.euclidean(groups.T(2))
DIM, N = 6, 5
MASK = np.arange(N) < np.array([[N], [N - 2]])
KINDS = list(small.FAMILY)
PLAIN = {"num_radial": 0, "cutoff": 3.0}
BASES = {
    "mlp": MLPValues(num_basis=3, dim=6, num_layers=2, **PLAIN),
    "fourier": FourierValues(num_basis=3, **PLAIN),
    "bernstein": BernsteinValues(num_basis=3, cutoff=3.0),
}
WITH_BASIS = [("attentive_convolution", "mlp"), *(("convolution", basis) for basis in BASES)]


def build(kind, space=SE2, basis=None, dim=DIM, dtype=None, **options):
    options = {"width": 6, "depth": 2, "cutoff": 3.0, **options}
    if kind != "attention" and basis is not None:
        options["values"] = BASES[basis]
    elif kind != "attention":
        options = {"num_basis": 3, **options}
    layer = small.FAMILY[kind](**options)
    return layer.build(dim, space, dtype=dtype, param_dtype=float, rngs=nnx.Rngs(0))


@functools.cache
def lifted_in(space, strategy=Haar(2)):
    points, features = draws.normal(1, 2, N, space.point_dim), draws.normal(2, 2, N, DIM)
    options = {"key": jax.random.key(3), "lift": strategy}
    return compiled(lift)(space, points, features, MASK, **options)


def apply(layer):
    """The layer as a jitted function of its parameters and arguments."""
    graphdef, params = nnx.split(layer, nnx.Param)
    call = jax.jit(lambda params, *arguments: nnx.merge(graphdef, params)(*arguments))
    return lambda *arguments: call(params, *arguments)


def test_a_family_by_weights_and_values():
    options = Attention(), AttentiveConvolution(), Convolution()
    layers = [layer.build(16, SE2, rngs=nnx.Rngs(0)) for layer in options]
    assert [type(layer) for layer in layers] == [LieSelfAttention] * 2 + [LieConv]
    assert [layer.num_heads for layer in layers] == [8, 8, 1]
    assert [layer.num_basis for layer in layers] == [1, 8, 8]
    shapes = [layer.output.kernel.shape for layer in layers]
    assert shapes == [(16, 16), (128, 16), (128, 16)]  # no matrix for a pair
    assert [layer.options for layer in layers] == list(options)
    direct = LieSelfAttention(16, SE2, AttentiveConvolution(), rngs=nnx.Rngs(0))
    assert nnx.graphdef(direct) == nnx.graphdef(layers[1])
    assert nnx.graphdef(direct) != nnx.graphdef(layers[0])


@pytest.mark.parametrize(
    ("kind", "group"),
    [
        ("attentive_convolution", groups.SE(2)),
        pytest.param("attentive_convolution", groups.SE(3), marks=pytest.mark.slow),
        pytest.param("convolution", groups.SE(3), marks=pytest.mark.slow),
        pytest.param("convolution", groups.SO(3), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_coupled_lift(kind, group):
    """project(u·g, F) = ρ(u) project(g, F) for vectors; negative control: the pair g_j g_i⁻¹."""
    space, vectors = spaces.euclidean(group), fields.vectors(2)
    layer = jax.jit(build(kind, space, dim=2 * space.point_dim))
    inverse = jax.jit(group.inverse)
    broken = lambda x: layer(dataclasses.replace(x, elements=inverse(x.elements)))
    options = {"lift": Haar(2), "input_field": vectors, "output_field": vectors}
    own, wrong = (testing.coupled_lift_error(fn, space, **options) for fn in (layer, broken))
    assert own <= 1e-10
    assert wrong > 1e-2


WEIGHED = {
    "softmax": {},
    "mean": {"normalize": "mean", "combine": MultiplyLogits()},
    "neighbors": {"kind": RadiusNeighbors(2.0, 4)},
    "uniform": {"layer": "convolution", "basis": "bernstein"},
    "chunked": {"implementation": "chunked"},
}


@pytest.mark.parametrize("name", WEIGHED)
def test_attention_weights_are_those_that_values_are_summed_with(name):
    options = dict(WEIGHED[name])
    near, kind = options.pop("kind", None), options.pop("layer", "attention")
    layer, lifted = build(kind, **options), lifted_in(SE2)

    @jax.jit
    def run(lifted):
        found = None if near is None else find_neighbors(SE2, lifted, near)
        weights = layer.attention_weights(lifted, found)
        tokens = layer._tokens("lifted", lifted)
        value = tokens.features if layer.value is None else layer.value(tokens.features)
        sums = jnp.einsum("bthk,bkhc->bthc", weights, layer._heads(value))
        # Values of a convolution depend on location, which its weights do not.
        out = sums if layer.basis is not None else layer.output(sums.reshape(lifted.features.shape))
        return weights, out, layer(lifted, found)

    weights, out, expected = map(np.asarray, run(lifted))
    assert weights.shape == (2, 2 * N, layer.num_heads, 2 * N)
    absent = np.repeat(~MASK, 2, axis=-1)
    assert not weights[absent].any()
    assert not weights.swapaxes(1, 3)[absent].any()
    if name == "uniform":
        np.testing.assert_allclose(weights[0], 1 / (2 * N), rtol=1e-6)
        return
    np.testing.assert_allclose(
        np.where(MASK[..., None, None], out, 0), expected, rtol=1e-6, atol=1e-7
    )
    if name != "mean":
        np.testing.assert_allclose(weights[~absent].sum(-1), 1.0, rtol=1e-6)
    assert weights[0].std() > 1e-3


@pytest.mark.parametrize(
    ("kind", "basis"),
    some_rows(WITH_BASIS, "attentive_convolution-mlp", "convolution-bernstein"),
)
def test_derivatives(kind, basis):
    """Against finite differences, where two points coincide and padding holds NaN."""
    graphdef, params = nnx.split(build(kind, basis=basis), nnx.Param)
    lifted = lifted_in(SE2)
    elements = np.array(lifted.elements)
    elements[:, 1] = elements[:, 0]
    spoil = lambda a: jnp.where(MASK[..., None, None], a, jnp.nan)
    leaves, structure = jax.tree.flatten((params, elements))
    directions = [draws.normal(5 + i, *a.shape) for i, a in enumerate(leaves)]

    @jax.jit
    def along(x):
        """Value and slope of a loss on a line in parameters and elements, and their slopes."""

        def loss(x):
            places = [a + x * d for a, d in zip(leaves, directions, strict=True)]
            weights, elements = jax.tree.unflatten(structure, places)
            moved = dataclasses.replace(
                lifted, elements=spoil(elements), features=spoil(lifted.features)
            )
            return jnp.mean(nnx.merge(graphdef, weights)(moved) ** 2)

        return jax.jvp(jax.value_and_grad(loss), (x,), (1.0,))

    step = 1e-5
    (low, slope_low), (high, slope_high) = (along(x)[0] for x in (-step, step))
    (value, slope), (_, curvature) = along(0.0)
    assert value > 1e-4
    np.testing.assert_allclose(slope, (high - low) / (2 * step), rtol=1e-5)
    np.testing.assert_allclose(curvature, (slope_high - slope_low) / (2 * step), rtol=1e-5)


@pytest.mark.parametrize(("kind", "basis"), some_rows(WITH_BASIS[::2], "convolution-fourier"))
def test_low_precision_and_no_recompilation(kind, basis):
    """Float32 to 2e-6 and bfloat16 to 8 bits of what float64 gives; compiled once a shape."""
    exact = build(kind, basis=basis)
    narrow = lambda tree: jax.tree.map(
        lambda a: jnp.asarray(np.asarray(a, np.float32)) if a.dtype == float else a, tree
    )
    lifted = lifted_in(SE2)
    expected = np.asarray(apply(exact)(lifted))
    for dtype, bound in ((jnp.float32, 2e-6), (jnp.bfloat16, 0.04)):
        graphdef, _ = nnx.split(build(kind, basis=basis, dtype=dtype), nnx.Param)

        @jax.jit
        @chex.assert_max_traces(n=2)  # one of each type, which have one name
        def run(params, lifted, graphdef=graphdef):
            return nnx.merge(graphdef, params)(lifted)

        params = narrow(nnx.state(exact, nnx.Param))
        for scale in (1.0, 2.0):
            out = run(params, narrow(lifted.replace_features(scale * lifted.features)))
        assert out.dtype == dtype
        plain = np.asarray(run(params, narrow(lifted)), float)
        assert np.max(np.abs(plain - expected)) <= bound * max(1, np.max(np.abs(expected)))


@pytest.mark.parametrize("basis", some(BASES, "bernstein"))
def test_initial_outputs_are_of_the_size_of_the_inputs_for_every_number_of_functions(basis):
    """Features that are the same at all points, of mean square 1, at distances up to the cutoff."""
    points = np.random.default_rng(0).uniform(-1.0, 1.0, (64, 2))
    sizes = {"mlp": {"dim": 32, "num_layers": 3}}.get(basis, {})
    values = [
        dataclasses.replace(BASES[basis], num_basis=num_basis, cutoff=2.0, **sizes)
        for num_basis in (1, 32)
    ]
    layers = [
        Convolution(coordinates="embedding", values=basis).build(
            64, SE2, param_dtype=float, rngs=nnx.Rngs(0)
        )
        for basis in values
    ]

    @jax.jit
    def outputs(points):
        lifted = lift(SE2, points, jnp.ones((64, 64)), key=jax.random.key(1))
        near = find_neighbors(SE2, lifted, NearestNeighbors(1))
        return [layer(lifted, near) for layer in layers]

    for layer, out in zip(layers, outputs(points), strict=True):
        size = np.sqrt(np.mean(np.square(out)))
        assert 0.3 < size < 4.0, (layer.num_basis, size)


@pytest.mark.parametrize("kind", some(KINDS, "attention"))
def test_from_all_points_to_fewer(kind):
    """Queries are some of the points: they get what they would get among all of them."""
    layer, lifted = build(kind), lifted_in(SE2)

    @jax.jit
    def compute(lifted):
        kept = subsample(SE2, lifted, 2)
        near = find_neighbors(SE2, lifted, RadiusNeighbors(2.0, 4), queries=kept)
        nothing = dataclasses.replace(kept, mask=jnp.zeros((2, 2), bool))
        whole = layer(lifted, find_neighbors(SE2, lifted, RadiusNeighbors(2.0, 4)))
        of_none = layer(nothing, near, lifted)
        return kept.features, layer(kept, near, lifted), whole, of_none

    kept, out, whole, of_none = map(np.asarray, compute(lifted))
    assert out.shape == (2, 2, 2, DIM)
    for b in range(2):
        for place in range(2):
            same = np.all(np.asarray(lifted.features)[b] == kept[b, place], (-2, -1))
            np.testing.assert_allclose(out[b, place], whole[b, np.argmax(same)], atol=1e-12)
    assert np.all(of_none == 0)


@pytest.mark.parametrize("kind", some(KINDS[1:], "attentive_convolution"))
def test_half_weight(kind):
    """Splitting a point into two of half weight changes nothing at the others."""
    layer = build(kind)

    @jax.jit
    def compute(lifted):
        twice = jax.tree.map(lambda a: jnp.concatenate([a, a[:, :1]], axis=1), lifted)
        halves = twice.log_weights.at[:, np.array([0, N])].add(-np.log(2.0))
        split = dataclasses.replace(twice, log_weights=halves)
        return layer(lifted), layer(split)[:, :N], layer(twice)[:, :N]

    once, split, twice = map(np.asarray, compute(lifted_in(SE2)))
    np.testing.assert_allclose(split, once, atol=1e-12)
    assert np.max(np.abs(twice - split)) > 1e-3


def test_what_is_isotropic_goes_on_cosets():
    lifted = lifted_in(SE2, NoLift())
    bernstein = build("convolution", basis="bernstein")
    invariants = build("convolution", coordinates="invariants")

    @jax.jit
    def compute(lifted, h):
        h = h.at[..., 2:].set(0.0)
        turned = dataclasses.replace(lifted, elements=SE2.group.compose(lifted.elements, h))
        return bernstein(lifted), invariants(turned), invariants(lifted)

    out, of_turned, expected = compute(lifted, draws.elements(SE2.group, 0, 2, N, 1))
    assert np.all(np.isfinite(out))
    np.testing.assert_allclose(of_turned, expected, atol=1e-12)
    for kind in KINDS:
        with pytest.raises(ValueError, match=r"coordinates must be .* on a lift by NoLift"):
            build(kind)(lifted)


@pytest.mark.parametrize("kind", some(KINDS[1:], "convolution"))
def test_no_matrix_and_no_channels_are_made_for_a_pair(kind):
    """Forward and backward: the largest array holds a few numbers for each pair of points."""
    num_points, dim, widest = 64, 32, 6  # of the MLPs of a pair
    points = np.zeros((num_points, 2))
    lifted = compiled(lift)(PLANE, points, np.ones((num_points, dim)))
    layer = build(kind, PLANE, dim=dim)
    loss = lambda x: jnp.sum(layer(dataclasses.replace(lifted, elements=x)))
    program = jax.make_jaxpr(jax.grad(loss))(lifted.elements)
    largest = max(arrays_in(program.jaxpr))
    assert largest == num_points**2 * widest < num_points**2 * dim


@pytest.mark.parametrize("norm", ["pre", "none"])
@pytest.mark.usefixtures("no_type_checks")
def test_the_bottleneck_block_by_its_definition(norm):
    layer = build("convolution", dim=3)
    block = BottleneckBlock(layer, DIM, norm=norm, param_dtype=float, rngs=nnx.Rngs(1))

    @jax.jit
    def compute(lifted):
        x, silu = lifted.features, jax.nn.silu
        if norm == "pre":
            centered = x - x.mean(-1, keepdims=True)
            x = centered / jnp.sqrt((centered**2).mean(-1, keepdims=True) + 1e-5)
        narrow = silu(silu(x) @ block.down.kernel[...])
        convolved = silu(layer(lifted.replace_features(narrow)))
        expected = lifted.features + convolved @ block.up.kernel[...]
        return block(lifted).features, expected

    np.testing.assert_allclose(*compute(lifted_in(SE2)), atol=1e-12)
    with pytest.raises(ValueError, match=r"norm must be one of .* got 'post'"):
        BottleneckBlock(layer, DIM, norm="post", rngs=nnx.Rngs(1))


def test_options_that_a_layer_uses():
    """No layer has a field of another, so that no option can be taken and ignored."""
    fields_of = lambda cls: {field.name for field in dataclasses.fields(cls)}
    of_weights = {
        "num_heads",
        "content",
        "content_dim",
        "location",
        "combine",
        "normalize",
        "cutoff",
    }
    of_all = {"coordinates", "implementation"}
    assert fields_of(Attention) == of_weights | of_all
    assert fields_of(AttentiveConvolution) == of_weights | of_all | {"values"}
    assert fields_of(Convolution) == of_all | {"values"}
    for cls, option in (
        (Attention, "values"),
        *((Convolution, option) for option in sorted(of_weights)),
        *((cls, "dim") for cls in (Attention, AttentiveConvolution, Convolution)),
        (BernsteinValues, "num_radial"),
        (BernsteinValues, "dim"),
        (FourierValues, "dim"),
    ):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{option}'"):
            cls(**{option: None})


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda: AttentiveConvolution(values="SineValues()"),
            "values of AttentiveConvolution: 'SineValues' is unknown, known are BernsteinV.*, Four",
        ),
        (
            lambda: Convolution(values="MLPLocation()"),
            "values of Convolution must be one of BernsteinValues, .* got 'MLPLocation",
        ),
        (lambda: build("convolution", num_basis=0), "num_basis must be at least 1, got 0"),
        (lambda: build("convolution", depth=0), "num_layers must be at least 1, got 0"),
        (
            lambda: build("convolution")(lifted_in(SE2), None, lifted_in(PLANE)),
            r"keys must have elements of SE\(2\), got elements of shape \(2, 5, 2, 2\)",
        ),
        (
            lambda: build("convolution", dim=4)(lifted_in(SE2)),
            r"lifted must have 4 channels, got features of shape \(2, 5, 2, 6\)",
        ),
        (
            lambda: build("convolution")(lifted_in(SE2), NearestNeighbors(2)),
            "neighborhood must be a Neighborhood, which find_neighbors makes, got NearestNeighbors",
        ),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("no_type_checks")
def test_errors(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.usefixtures("no_type_checks")
def test_errors_of_type():
    with pytest.raises(TypeError, match=r"num_basis of MLPValues must be an integer, got 2\.5"):
        build("convolution", num_basis=2.5)
    with pytest.raises(TypeError, match="values of Convolution must be a ValueBasis, got None"):
        Convolution(values=None)
    with pytest.raises(TypeError, match=r"layer must be a Convolution, got Attention\(\)"):
        LieConv(4, SE2, Attention(), rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match=r"layer must be a Attention, got Convolution\(\)"):
        LieSelfAttention(8, SE2, Convolution(), rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="space must be a Space, got 'SE3'"):
        BernsteinBasis("SE3", 3)

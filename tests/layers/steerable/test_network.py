"""Networks of fields: exact, local, far from the origin, and what they can tell apart."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import eqattn
from eqattn import testing
from eqattn.attention import NearestNeighbors, RadiusNeighbors
from eqattn.fields import FieldType
from eqattn.groups import SE, SO, E, O, Sim, T
from eqattn.layers import (
    BernsteinValues,
    DotProductContent,
    MLPLocation,
    MultiplyLogits,
    RelativePositionContent,
)
from eqattn.layers.steerable import FieldLayer, HarmonicKernel, Places, split_parts
from eqattn.layers.steerable.kernel_query import KernelQuery
from eqattn.models import (
    AccelerationNetwork,
    FieldNetwork,
    FieldNetworkConfig,
    HamiltonianNetwork,
    LieTransformer,
)
from eqattn.representations import solid_harmonics
from eqattn.spaces import RadialSpace, euclidean, position_orientation, sphere
from eqattn.specification import parse
from tests.grids import each_once, some
from tests.layers.steerable.shapes import alike_by_distances, handed
from tests.tolerances import NEGATIVE_CONTROL

HIDDEN = {
    SE(2): "8x scalar + 4x vector + 4x irrep(2)",
    E(2): "8x scalar + 4x pseudoscalar + 4x vector",
    SE(3): "8x scalar + 4x vector + 4x irrep(2)",
    E(3): "8x scalar + 4x pseudoscalar + 4x vector + 4x pseudovector",
}
GROUP = SE(3)
TIMES = np.linspace(0.0, 0.5, 3)
LOCATION = MLPLocation(dim=8, num_layers=2, num_radial=6, cutoff=4.0)
KERNEL = HarmonicKernel(max_degree=2, radial=BernsteinValues(num_basis=3, cutoff=4.0))
CONVOLUTION = FieldLayer(num_heads=2, content=None, location=None, kernel=KERNEL)
LAYERS = {
    "vectors": FieldLayer(num_heads=2, location=LOCATION),
    "local": FieldLayer(num_heads=2, location=LOCATION, cutoff=3.0),
    "product": FieldLayer(
        num_heads=2, location=LOCATION, combine=MultiplyLogits(), normalize="mean"
    ),
    "kernel": FieldLayer(num_heads=2, location=LOCATION, kernel=KERNEL, cutoff=3.0),
    "convolution": CONVOLUTION,
    "kernel in logits": FieldLayer(
        num_heads=2,
        location=LOCATION,
        kernel=HarmonicKernel(
            max_degree=2, radial=BernsteinValues(num_basis=3, cutoff=4.0), in_logits=True
        ),
        cutoff=3.0,
    ),
}


def kernel_layer(max_degree):
    kernel = HarmonicKernel(max_degree=max_degree, radial=KERNEL.radial)
    return FieldLayer(num_heads=2, location=LOCATION, kernel=kernel)


ONLY_VECTORS = dataclasses.replace(kernel_layer(1), differences=False)


def build(group=GROUP, layer="vectors", param_dtype=jnp.float64, **options):
    """A network of one layer, which most of what is stated here does not depend on."""
    given = {
        "input_field": "scalar + vector",
        "output_field": "scalar + vector",
        "hidden_field": "8x scalar + 4x vector",
        "num_layers": 1,
        "layer": LAYERS[layer] if isinstance(layer, str) else layer,
        "param_dtype": param_dtype,
        "rngs": nnx.Rngs(0),
    }
    given |= options
    return FieldNetwork(euclidean(group), **given)


network = functools.cache(build)
"""The same network for all tests that ask for it, none of which change it."""


def cloud(dim=3, num_points=6, batch=2, channels=4, seed=0):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(batch, num_points, dim))
    return jnp.asarray(points), jnp.asarray(rng.normal(size=(batch, num_points, channels)))


def error(model, group, dtype=jnp.float64):
    return error_of(jax.jit(lambda x, f: model(x, f)), group, dtype)


def error_of(run, group, dtype=jnp.float64):
    field = "scalar + vector"
    return testing.equivariance_error(
        run,
        euclidean(group),
        input_field=field,
        output_field=field,
        dtype=dtype,
    )


@pytest.mark.parametrize(
    ("group", "layer"),
    each_once([*HIDDEN], ["kernel", "kernel in logits", "convolution", "vectors"]),
)
def test_exact_to_the_whole_group(group, layer):
    products = layer != "convolution"
    options = {"hidden_field": HIDDEN[group], "products": products, "num_layers": 2}
    assert error(network(group, layer, **options), group) < 1e-10


@pytest.mark.parametrize("layer", some(["vectors", "kernel"], "kernel"))
def test_exact_in_float32(layer):
    model = network(SE(3), layer, param_dtype=jnp.float32)
    wide = build(SE(3), layer)
    nnx.update(wide, jax.tree.map(lambda x: x.astype(jnp.float64), nnx.state(model, nnx.Param)))
    points, features = cloud(batch=16)
    narrow = jax.jit(model)(points.astype(jnp.float32), features.astype(jnp.float32))
    exact = jax.jit(wide)(points, features)
    difference = testing.relative_error(narrow, exact, (1, 3))
    assert error(model, SE(3), jnp.float32) < testing.float32_tolerance(difference)


@pytest.mark.parametrize(
    "space",
    some(
        [sphere(SO(3)), sphere(O(3)), euclidean(SO(3)), euclidean(O(2)), sphere(SO(2))],
        *("sphere(SO(3))", "euclidean(O(2))"),
    ),
)
def test_exact_about_an_origin(space):
    """On the sphere and in Rⁿ under rotations; translations would not be, which are in SE(n)."""
    field = "scalar + vector"
    model = FieldNetwork(
        space,
        field,
        field,
        hidden_field="8x scalar + 4x vector",
        layer=LAYERS["kernel"],
        num_layers=1,
        param_dtype=jnp.float64,
        rngs=nnx.Rngs(0),
    )
    options = {"input_field": field, "output_field": field, "dtype": jnp.float64}
    run = jax.jit(lambda x, f: model(x, f))
    assert testing.equivariance_error(run, space, **options) < 1e-10
    dim = space.point_dim
    if isinstance(space, RadialSpace) and dim == 3:
        affine = euclidean(SE(dim))
        assert testing.equivariance_error(run, affine, **options) > NEGATIVE_CONTROL


def test_a_point_knows_where_it_is_about_an_origin():
    """A vector at a single point can come from nothing but its position, along which it is."""
    model = FieldNetwork(
        sphere(SO(3)), "scalar", "vector", hidden_field="8x scalar + 4x vector",
        layer=LAYERS["vectors"], num_layers=1, param_dtype=jnp.float64, rngs=nnx.Rngs(0),
    )  # fmt: skip
    point = jnp.array([0.48, 0.6, 0.64])
    out = jax.jit(model)(point[None, None], jnp.ones((1, 1, 1)))[0, 0]
    assert jnp.linalg.norm(out) > 1e-3
    np.testing.assert_allclose(jnp.cross(out, point), 0, atol=1e-12)


def test_points_off_the_sphere_are_refused():
    model = FieldNetwork(sphere(SO(3)), "scalar", "scalar", num_layers=1, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"points of sphere\(SO\(3\)\) must be"):
        model(jnp.ones((1, 4, 3)), jnp.ones((1, 4, 1)))


class BentNorm(nnx.Module):
    """A norm that also applies an activation to the components of what it is given."""

    def __init__(self, norm):
        self.norm = norm

    def __call__(self, parts):
        return tuple(jax.nn.relu(x) for x in self.norm(parts))


def test_what_singles_out_a_direction_is_noticed():
    """Negative controls: an activation of components, and weights of one component of a vector."""
    model = build()
    model.blocks[0].mlp_norm = BentNorm(model.blocks[0].mlp_norm)
    assert error(model, SE(3)) > NEGATIVE_CONTROL
    model = network(input_field="4x scalar")
    out = jax.jit(lambda x, f: model(x, f))
    found = testing.equivariance_error(
        out, euclidean(SE(3)), input_field="scalar + vector", output_field="scalar + vector"
    )
    assert found > NEGATIVE_CONTROL


def test_a_kernel_of_the_wrong_parity_is_noticed():
    """One of SE(3) that takes vectors to vectors by a cross product is none of E(3)."""
    model = network(SE(3), "kernel", hidden_field="8x scalar + 4x vector", products=True)
    run = jax.jit(lambda x, f: model(x, f))
    assert error_of(run, SE(3)) < 1e-10
    assert error_of(run, E(3)) > NEGATIVE_CONTROL


@pytest.mark.parametrize("layer", some(["local", "kernel"], "kernel"))
def test_a_point_beyond_the_cutoff_changes_nothing(layer):
    """One 50 Å away changes no other point's output; without a cutoff it does."""
    points, features = cloud(num_points=7)
    far = points.at[:, -1].set(jnp.array([50.0, 0.0, 0.0]))
    everything = jnp.ones((2, 7), bool)
    for cutoff, is_local in ((LAYERS[layer].cutoff, True), (None, False)):
        options = {**vars(LAYERS[layer]), "cutoff": cutoff}
        run = jax.jit(network(layer=FieldLayer(**options)))
        without = run(points, features, everything.at[:, -1].set(False))
        change = (run(far, features, everything) - without)[:, :-1]
        if is_local:
            assert np.abs(change).max() < 1e-10
        else:
            assert np.abs(change).max() > 1e-4


@pytest.mark.parametrize("layer", some(LAYERS, "kernel in logits"))
def test_far_from_the_origin(layer):
    """A shift by 1e4 Å: nothing in float64, in float32 what rounding the input makes of it."""
    points, features = cloud()
    run = jax.jit(network(layer=layer))
    np.testing.assert_allclose(run(points + 1e4, features), run(points, features), atol=1e-10)
    narrow = jax.jit(network(layer=layer, param_dtype=jnp.float32))
    shifted = (points + 1e4).astype(jnp.float32)
    rounded = (shifted.astype(jnp.float64) - 1e4).astype(jnp.float32)
    features = features.astype(jnp.float32)
    out = narrow(shifted, features)
    np.testing.assert_allclose(out, narrow(rounded, features), atol=2e-5)


@pytest.mark.parametrize(
    ("hidden", "layer", "apart"),
    [
        ("8x scalar", FieldLayer(num_heads=2, location=LOCATION, differences=False), False),
        ("8x scalar + 4x vector", LAYERS["vectors"], True),
        ("8x scalar + 4x vector + 4x irrep(2)", LAYERS["kernel"], True),
    ],
)
def test_points_that_distances_cannot_tell_apart(hidden, layer, apart):
    """Two subsets of an icosahedron's vertices, of which all points have the same distances."""
    model = network(
        E(3),
        layer,
        hidden_field=hidden,
        input_field="scalar",
        output_field="scalar",
        output="invariant",
        num_layers=3,
        norm="none",
        pool="sum",
    )
    sets = jnp.asarray(np.stack(alike_by_distances()))
    first, second = jax.jit(model)(sets, jnp.ones((2, 6, 1)))
    difference = float(jnp.abs(first - second).max())
    assert difference > 1e-3 if apart else difference < 1e-12


@pytest.mark.parametrize("group", some([SE(3), E(3)], "E(3)"))
def test_distances_alone_tell_neither_apart(group):
    """A transformer of cosets by rotations sees distances: both pairs of shapes are one to it."""
    model = LieTransformer(
        euclidean(group), 1, 1, dim=8, num_layers=2, param_dtype=jnp.float64, rngs=nnx.Rngs(0)
    )
    for pair in (alike_by_distances(), handed()):
        sets = jnp.asarray(np.stack(pair))
        first, second = jax.jit(model)(sets, jnp.ones((*sets.shape[:2], 1)))
        assert float(jnp.abs(first - second).max()) < 1e-12


def test_mirror_images():
    """Equal under E(3); told apart under SE(3) by cross products, in MLPs or kernels alone."""
    images = jnp.asarray(np.stack(handed()))
    features = jnp.asarray(np.random.default_rng(0).normal(size=(1, 5, 1))).repeat(2, axis=0)
    differences = {}
    cases = ((E(3), True), (SE(3), True), (SE(3), False), (SE(3), "kernel"))
    for group, products in cases:
        hidden = "8x scalar + 8x vector" + " + 8x pseudovector" * (group == E(3))
        model = network(
            group,
            hidden_field=hidden,
            input_field="scalar",
            output_field="scalar",
            output="invariant",
            products=products is True,
            layer=kernel_layer(1) if products == "kernel" else LAYERS["vectors"],
            num_layers=3,
            pool="sum",
        )
        first, second = jax.jit(model)(images, features)
        differences[group, products] = float(jnp.abs(first - second).max())
    assert differences[E(3), True] < 1e-12
    assert differences[SE(3), True] > 1e-3
    assert differences[SE(3), "kernel"] > 1e-3
    assert differences[SE(3), False] < 1e-12


@pytest.mark.parametrize("layer", some(LAYERS, "kernel in logits"))
def test_derivatives_are_finite_where_points_coincide(layer):
    """Values, first and second derivatives by points and features."""
    points, features = cloud(num_points=4, batch=1)
    points = points.at[:, 1].set(points[:, 0])
    model = network(layer=layer, num_layers=1)

    def loss(points, features):
        return jnp.sum(jnp.sin(model(points, features)))

    def steepness(points, features):
        slopes = jax.grad(loss, argnums=(0, 1))(points, features)
        return sum(jnp.sum(s**2) for s in slopes), slopes

    second, first = jax.jit(jax.grad(steepness, argnums=(0, 1), has_aux=True))(points, features)
    for found in (first, second):
        assert all(np.isfinite(x).all() for x in found)
        assert all(np.abs(x).max() > 1e-6 for x in found)


@pytest.mark.parametrize(
    "layer", some(["vectors", "kernel", "kernel in logits"], "kernel in logits")
)
def test_back_ends_agree(layer):
    points, features = cloud(num_points=9)
    mask = jnp.arange(9) < jnp.array([[9], [6]])
    out = {}
    for name in ("dense", "folded", "chunked"):
        options = {**vars(LAYERS[layer]), "implementation": name}
        out[name] = jax.jit(network(layer=FieldLayer(**options)))(points, features, mask)
    np.testing.assert_allclose(out["folded"], out["dense"], atol=1e-12)
    np.testing.assert_allclose(out["chunked"], out["dense"], atol=1e-12)


@pytest.mark.parametrize("layer", some(LAYERS, "kernel in logits"))
def test_padding_changes_nothing(layer):
    """Masked points may hold NaN, and their outputs are zeros; gradients are finite."""
    points, features = cloud(num_points=5)
    run = jax.jit(network(layer=layer))
    expected = run(points, features)
    wide = [
        jnp.concatenate([x, jnp.full((2, 3, x.shape[-1]), jnp.nan)], axis=1)
        for x in (points, features)
    ]
    mask = jnp.broadcast_to(jnp.arange(8) < 5, (2, 8))
    out = run(*wide, mask)
    np.testing.assert_allclose(out[:, :5], expected, atol=1e-12)
    assert np.all(np.asarray(out[:, 5:]) == 0)
    slope = jax.jit(jax.grad(lambda x: jnp.sum(run(x, wide[1], mask) ** 2)))(wide[0])
    assert np.isfinite(slope).all()


def test_a_layer_gives_zeros_at_masked_points():
    """Biases and all; at the others it gives none."""
    field, space = FieldType.parse("4x scalar + 4x vector"), euclidean(SE(3))
    layer = LAYERS["vectors"].build(field, space, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    graph, state = nnx.split(layer)
    layer = nnx.merge(graph, jax.tree.map(lambda x: x + 0.1, state))
    points, features = cloud(channels=16)
    mask = jnp.broadcast_to(jnp.arange(6) < 4, (2, 6))
    parts = split_parts(space, field, jnp.where(mask[..., None], features, 0))
    places = Places.of(points, mask)
    for out in jax.jit(lambda *parts: layer(parts, places))(*parts):
        assert (out[:, 4:] == 0).all()
        assert (jnp.abs(out[:, :4]).max(axis=(-2, -1)) > 1e-3).all()


def test_what_is_not_finite_fails_its_example_alone():
    points, features = cloud()
    out = jax.jit(network())(points.at[0, 1, 2].set(jnp.nan), features)
    assert np.isnan(out[0]).all()
    assert np.isfinite(out[1]).all()


@pytest.mark.parametrize("layer", some(["vectors", "convolution"], "vectors"))
def test_a_point_that_is_split_into_halves(layer):
    """Quadrature weights: two points of half the weight are one."""
    points, features = cloud(num_points=4)
    run = jax.jit(network(layer=layer, norm="none"))
    whole = run(points, features, log_weights=jnp.zeros((2, 4)))
    twice = [jnp.concatenate([x, x[:, -1:]], axis=1) for x in (points, features)]
    halves = jnp.zeros((2, 5)).at[:, 3:].set(jnp.log(0.5))
    split = run(*twice, log_weights=halves)
    # The difference of a point to its own other half is 0, as that to itself is.
    np.testing.assert_allclose(split[:, :4], whole, atol=1e-10)
    assert np.abs(run(*twice)[:, :4] - whole).max() > 1e-4


def test_neighborhoods():
    """All neighbors are as all points; random ones need a key in training, and are drawn by it."""
    points, features = cloud(num_points=7)
    data = jnp.asarray(np.random.default_rng(3).normal(size=(2, 7, 7, 2)))
    everything = jax.jit(network(num_pair_data=2))(points, features, pair_data=data)
    near = network(num_pair_data=2, neighborhood=NearestNeighbors(7))
    out = jax.jit(near)(points, features, pair_data=data)
    np.testing.assert_allclose(out, everything, atol=1e-12)
    ball = network(num_pair_data=2, neighborhood=RadiusNeighbors(1.5, 7))
    assert np.abs(jax.jit(ball)(points, features, pair_data=data) - everything).max() > 1e-3
    drawn = network(neighborhood=NearestNeighbors(2, candidates=6))
    assert drawn.is_stochastic
    with pytest.raises(ValueError, match="key must be given in training"):
        drawn(points, features, training=True)


def test_data_of_pairs_are_seen():
    points, features = cloud()
    data = jnp.asarray(np.random.default_rng(3).normal(size=(2, 6, 6, 1)))
    run = jax.jit(network(num_pair_data=1))
    out = run(points, features, pair_data=data)
    assert np.abs(out - run(points, features, pair_data=-data)).max() > 1e-3
    with pytest.raises(ValueError, match="pair_data must have 1 numbers of each pair, got 0"):
        jax.eval_shape(network(num_pair_data=1), points, features)
    with pytest.raises(ValueError, match="pair_data must have 0 numbers of each pair, got 1"):
        jax.eval_shape(network(), points, features, pair_data=data)
    near = network(num_pair_data=1, neighborhood=NearestNeighbors(3))
    with pytest.raises(ValueError, match=r"pair_data must have shape \(2, 6, 6\) \+ \(P,\)"):
        jax.eval_shape(near, points, features, pair_data=data[:, :, :4])


def test_dropout_is_keyed_by_example():
    """Equivariant for each key; the draws of an example do not depend on its batch."""
    model = network(dropout=0.3)
    points, features = cloud()
    ids, key = jnp.array([4, 9]), jax.random.key(1)
    run = jax.jit(lambda x, f, ids: model(x, f, key=key, example_ids=ids, training=True))
    out = run(points, features, ids)
    alone = run(points[1:], features[1:], ids[1:])
    np.testing.assert_allclose(out[1:], alone, atol=1e-12)
    assert np.abs(out - jax.jit(model)(points, features)).max() > 1e-3
    field = "scalar + vector"
    found = testing.equivariance_error(
        lambda x, f: run(x, f, jnp.arange(len(x))),
        euclidean(SE(3)),
        input_field=field,
        output_field=field,
        dtype=jnp.float64,
    )
    assert found < 1e-10
    with pytest.raises(ValueError, match="key must be given in training"):
        model(points, features, training=True)


def test_bfloat16_keeps_geometry_in_float32():
    """Far from the origin too: features are rounded, positions are not."""
    model = network(param_dtype=jnp.float32)
    points, features = cloud(batch=8)
    exact = jax.jit(model)(points.astype(jnp.float32), features.astype(jnp.float32))
    rounded = network(param_dtype=jnp.float32, dtype=jnp.bfloat16)
    far = jnp.asarray(points + 100.0, jnp.float32)
    for x in (points.astype(jnp.float32), far):
        out = jax.jit(rounded)(x, features.astype(jnp.bfloat16)).astype(jnp.float32)
        assert float(jnp.sqrt(jnp.mean((out - exact) ** 2) / jnp.mean(exact**2))) < 0.05


def test_saved_and_loaded(tmp_path):
    model = network(param_dtype=jnp.float32)
    eqattn.save(model, tmp_path / "model")
    loaded, _ = eqattn.load(tmp_path / "model")
    points, features = (x.astype(jnp.float32) for x in cloud())
    expected = jax.jit(model)(points, features)
    np.testing.assert_array_equal(jax.jit(loaded)(points, features), expected)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"hidden_field": "7x scalar"}, "multiple of num_heads=2 copies"),
        ({"hidden_field": "8x vector", "input_field": "vector"}, "field must have scalars"),
        ({"hidden_field": "2x gauge(vector) + 2x scalar"}, "in no gauge"),
        ({"output_field": "vector", "output": "invariant"}, "must be scalars to be pooled"),
        ({"dropout": 1.0}, "dropout must be in"),
        ({"mlp_ratio": 0.0}, "mlp_ratio must be finite and above 0"),
        ({"num_layers": 0}, "num_layers must be at least 1"),
    ],
)
def test_options_that_make_no_sense(options, match):
    with pytest.raises(ValueError, match=match):
        network(**options)


@pytest.mark.parametrize(
    ("group", "options", "match"),
    [
        (SE(3), {"hidden_field": "8x scalar"}, "takes up nothing of vector"),
        (SE(3), {"output_field": "irrep(2)"}, r"leads to no irrep\(2\)"),
        (E(3), {"output_field": "pseudoscalar"}, "leads to no pseudoscalar"),
    ],
)
def test_fields_that_lead_nowhere_are_refused(group, options, match):
    """An input that would be dropped, and an output that would be 0, without a word."""
    given = {"hidden_field": "8x scalar + 4x vector", **options}
    with pytest.raises(ValueError, match=match):
        network(group, **given)


@pytest.mark.parametrize(
    ("hidden", "options", "is_zero"),
    [
        ("8x scalar + 4x vector + 4x irrep(2)", {}, True),
        ("8x scalar + 4x vector + 4x irrep(2)", {"products": True}, False),
        ("8x scalar + 2x vector + 4x irrep(2)", {"products": True}, False),
        ("8x scalar + 4x vector + 4x irrep(2)", {"layer": LAYERS["kernel"]}, False),
        ("8x scalar + 4x irrep(2)", {"layer": ONLY_VECTORS, "input_field": "scalar"}, True),
        ("8x scalar + 4x irrep(2)", {"layer": kernel_layer(2), "input_field": "scalar"}, False),
    ],
)
def test_hidden_fields_that_nothing_leads_to_are_refused(hidden, options, is_zero):
    """They, and outputs that are made of them alone, would be zeros at all points."""
    given = {"hidden_field": hidden, "output_field": "irrep(2)", "num_layers": 2, **options}
    if is_zero:
        with pytest.raises(ValueError, match=r"4x irrep\(2\) would be zeros"):
            network(SE(3), **given)
        return
    points, features = cloud()
    model = network(SE(3), **given)
    out = jax.jit(model)(points, features[..., : model.in_features])
    assert (jnp.abs(out).max(axis=1) > 1e-3).all()


@pytest.mark.parametrize("hidden", ["8x scalar + 2x vector + 4x irrep(2)", "8x scalar + 6x vector"])
def test_products_of_other_numbers_of_copies(hidden):
    """Copies are paired as far as both terms have them; which are, no rotation changes."""
    model = network(SE(3), hidden_field=hidden, products=True, num_layers=2)
    counts = [term.multiplicity for term in model.blocks[0].mlp.others]
    assert len(model.blocks[0].mlp.paths) >= len(counts)
    assert error(model, SE(3)) < 1e-10


def test_options_that_nothing_would_use_are_refused():
    with pytest.raises(ValueError, match="products must be False for the field 8x scalar"):
        # Cross products are pseudovectors.
        network(E(3), hidden_field="8x scalar + 4x vector", products=True)
    with pytest.raises(ValueError, match="products must be False for the field 8x scalar"):
        network(
            input_field="scalar",
            output_field="scalar",
            hidden_field="8x scalar",
            products=True,
            layer=dataclasses.replace(LAYERS["vectors"], differences=False),
        )
    with pytest.raises(ValueError, match="differences must be False for the field 8x scalar"):
        network(input_field="scalar", output_field="scalar", hidden_field="8x scalar")
    with pytest.raises(ValueError, match="4x vector with harmonics up to degree 0"):
        network(layer=kernel_layer(0))
    scalars = {"input_field": "scalar", "output_field": "scalar", "hidden_field": "8x scalar"}
    with pytest.raises(ValueError, match="8x scalar with harmonics up to degree 2"):
        network(layer=kernel_layer(2), **scalars)
    network(T(3), layer=kernel_layer(1), **scalars)  # where directions are scalars
    blind = FieldLayer(num_heads=2, location=None, kernel=kernel_layer(1).kernel)
    for layer in (blind, FieldLayer(num_heads=2, location=None)):
        with pytest.raises(ValueError, match="num_pair_data must be 0 where nothing sees"):
            network(layer=layer, num_pair_data=1)


@pytest.mark.usefixtures("no_type_checks")
def test_wrong_arguments_of_a_call_are_refused():
    points, features = cloud()
    model = network(num_pair_data=1)
    data = jnp.ones((2, 6, 6, 1))
    with pytest.raises(TypeError, match="pair_data must be real, got complex128"):
        model(points, features, pair_data=1j * data)
    with pytest.raises(ValueError, match=r"example_ids must have shape \(2,\), got \(3,\)"):
        model(points, features, pair_data=data, example_ids=jnp.arange(3))
    with pytest.raises(TypeError, match="example_ids must be integers, got float64"):
        model(points, features, pair_data=data, example_ids=jnp.zeros(2))
    given = (data, data.tolist())
    array, lists = jax.jit(lambda x, f: [model(x, f, pair_data=y) for y in given])(points, features)
    np.testing.assert_array_equal(array, lists)
    with pytest.raises(TypeError, match="rngs must be"):
        build(rngs=jax.random.key(0))


@pytest.mark.parametrize("name", ["input_field", "output_field"])
def test_fields_in_a_gauge_are_refused(name):
    """The layers are those of R³, where a tangent vector has three components."""
    given = {"input_field": "scalar", "output_field": "scalar", name: "gauge(vector)"}
    with pytest.raises(ValueError, match=f"{name} must be in no gauge"):
        FieldNetwork(sphere(SO(3)), **given, rngs=nnx.Rngs(0))


def test_parts_of_another_layout_are_refused():
    field, space = FieldType.parse("2x scalar + 4x vector"), euclidean(SE(3))
    layer = LAYERS["vectors"].build(field, space, rngs=nnx.Rngs(0))
    points = jax.random.normal(jax.random.key(0), (5, 3))
    parts = split_parts(space, field, jnp.ones((5, 14)))
    out = jax.eval_shape(lambda *parts: layer(parts, Places.of(points)), *parts)
    assert [x.shape for x in out] == [(5, 1, 2), (5, 3, 4)]
    swapped = tuple(jnp.swapaxes(x, -1, -2) for x in parts)
    for wrong in (swapped, parts[:1]):
        with pytest.raises(ValueError, match=r"shapes \[\*B 1 2\], \[\*B 3 4\], components before"):
            layer(wrong, Places.of(points))


def test_a_sphere_without_vectors_inside_is_refused():
    """The position of a point is a vector, which scalars cannot take up."""
    with pytest.raises(ValueError, match="takes up nothing of vector"):
        FieldNetwork(sphere(SO(3)), "scalar", "scalar", hidden_field="8x scalar", rngs=nnx.Rngs(0))


def test_spaces_without_kernels_are_refused():
    oriented = position_orientation(SE(3))
    for space, match in ((euclidean(Sim(3)), "homogeneous"), (oriented, "harmonics need")):
        with pytest.raises(ValueError, match=match):
            FieldNetwork(space, "scalar", "scalar", rngs=nnx.Rngs(0))


def test_layers_that_make_no_sense():
    with pytest.raises(ValueError, match="only inner products are invariants"):
        FieldLayer(content=RelativePositionContent())
    with pytest.raises(ValueError, match="kernel must be given"):
        FieldLayer(content=None, location=None)
    with pytest.raises(ValueError, match="cutoff must be finite and above 0"):
        FieldLayer(cutoff=-1.0)
    with pytest.raises(ValueError, match="content must be given where kernels are in the logits"):
        FieldLayer(content=None, kernel=HarmonicKernel(in_logits=True))
    with pytest.raises(ValueError, match="length must be finite and above 0"):
        HarmonicKernel(length=0.0)
    points, features = cloud()
    with pytest.raises(ValueError, match="features of the field 1x scalar"):
        network()(points, features[..., :2])
    with pytest.raises(ValueError, match="input_field 1x scalar has 1 channels"):
        FieldNetworkConfig().build(3, 1, rngs=nnx.Rngs(0))


def test_under_translations_alone_all_fields_are_scalars():
    """Kernels of all degrees are allowed, and a vector is three scalars."""
    space = euclidean(T(3))
    model = FieldNetwork(
        space,
        "vector",
        "vector",
        hidden_field="4x scalar + 4x vector",
        layer=FieldLayer(num_heads=2, kernel=KERNEL, content=DotProductContent()),
        num_layers=1,
        param_dtype=jnp.float64,
        rngs=nnx.Rngs(0),
    )
    found = testing.equivariance_error(
        jax.jit(lambda x, f: model(x, f)),
        space,
        input_field="vector",
        output_field="vector",
        dtype=jnp.float64,
    )
    assert found < 1e-10


def test_it_gives_accelerations_and_potentials():
    """In the place of a FieldModel, and of a model of invariants: both turn with the particles."""
    sizes = {"hidden_field": "4x scalar + 4x vector", "num_layers": 2}
    fields = network(input_field="vector + 2x scalar", output_field="vector", **sizes)
    potential = network(input_field="2x scalar", output_field="scalar", output="invariant", **sizes)
    rng = np.random.default_rng(0)
    positions, momenta = (jnp.asarray(rng.normal(size=(2, 5, 3))) for _ in range(2))
    particles = jnp.asarray(rng.uniform(0.5, 2.0, size=(2, 5, 2)))
    turn = SE(3).sample(jax.random.key(3), (), jnp.float64).at[4:].set(0)
    turned = jax.jit(lambda x: SE(3).act(turn, x))
    for model in (AccelerationNetwork(fields), HamiltonianNetwork(potential)):
        run = jax.jit(lambda q, p, model=model: model.roll_out(q, p, particles, TIMES))
        before, after = run(positions, momenta), run(turned(positions), turned(momenta))
        before, after = np.asarray(before), np.asarray(after)
        for part in (slice(0, 3), slice(3, 6)):
            np.testing.assert_allclose(after[..., part], turned(before[..., part]), atol=1e-10)
        assert np.abs(after - before).max() > NEGATIVE_CONTROL
        assert np.abs(before[:, -1, :, 3:] - momenta).max() > 1e-4
    with pytest.raises(ValueError, match="output at each point"):
        AccelerationNetwork(potential)
    config = AccelerationNetwork(fields).config
    assert parse(config.full_text(), type(config)) == config


def test_logits_see_how_fields_lie_to_the_line_between_points():
    """Wide queries make invariants of two fields and the line between their points."""
    space, field = euclidean(E(3)), FieldType.parse("2x scalar + 2x vector + 2x irrep(2)")
    options = {"num_heads": 2, "num_radial": 1, "max_degree": 2, "rngs": nnx.Rngs(0)}
    query = KernelQuery(space, field, param_dtype=jnp.float64, **options)
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=3))
    q, k = (jnp.asarray(rng.normal(size=field.size(space))) for _ in range(2))

    def logits(x, q, k):
        """One for each of the two heads, which has a copy of each term."""
        parts, keys = (split_parts(space, field, y[None]) for y in (q, k))
        wide = query(parts)[0].reshape(2, query.num_basis, -1)
        keys = jnp.concatenate([y[0].T for y in keys], axis=-1)
        functions = jnp.concatenate([jnp.stack(ys) for ys in solid_harmonics(2, tuple(x))])
        return jnp.einsum("m,hmc,hc->h", functions, wide, keys)

    @jax.jit
    def compute(x, q, k):
        turn = space.embed_stabilizer(space.stabilizer.sample(jax.random.key(4), (), jnp.float64))
        turned, moved = space.group.act(turn, x), (field.transform(space, turn, y) for y in (q, k))
        return logits(x, q, k), logits(turned, *moved), logits(turned, q, k)

    before, after, of_point_alone = map(np.asarray, compute(x, q, k))
    np.testing.assert_allclose(after, before, atol=1e-12)
    assert np.abs(before).min() > 1e-3
    assert np.abs(of_point_alone - before).max() > NEGATIVE_CONTROL


def test_as_many_scalars_as_there_are_features():
    """A configuration that says so is built for any number, and refuses no other field less."""
    config = FieldNetworkConfig(
        input_field="scalars", hidden_field="4x scalar + 2x vector", num_layers=1,
        layer=FieldLayer(num_heads=2), output="per_point",
    )  # fmt: skip
    config.check()
    for number in (1, 5):
        model = config.build(number, 1, rngs=nnx.Rngs(0))
        assert model.config.input_field == f"{number}x scalar"
        assert model.in_features == number
    with pytest.raises(ValueError, match="input_field 2x scalar has 2 channels on"):
        dataclasses.replace(config, input_field="2x scalar").build(3, 1, rngs=nnx.Rngs(0))

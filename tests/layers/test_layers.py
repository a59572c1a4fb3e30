"""Pooling, heads, blocks and the attention layer, each by its own definition."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import groups, spaces
from eqattn.layers import (
    Attention,
    AttentiveConvolution,
    DotProductContent,
    Head,
    LieSelfAttention,
    MLPLocation,
    RadialLocation,
    TokenMLP,
    TransformerBlock,
    pool,
)
from eqattn.lift import Haar, Lifted, lift
from tests import draws, small
from tests.compiled import compiled
from tests.grids import each_once, some_rows

SPACE = spaces.euclidean(groups.SE(2))


@pytest.fixture(scope="module")
def lifted():
    points, features = draws.normal(0, 2, 4, 2), draws.normal(1, 2, 4, 6)
    mask = np.array([[True, True, True, False], [False] * 4])
    weights = np.log([[1.0, 2.0, 0.5, 9.0]] * 2)
    out = compiled(lift)(
        SPACE, points, features, mask, key=jax.random.key(2), lift=Haar(3), log_weights=weights
    )
    noise = draws.normal(3, *out.features.shape)
    return out.replace_features(jnp.asarray(np.asarray(out.features) + noise))


@functools.partial(jax.jit, static_argnums=1, static_argnames="over_points")
def pooled(lifted, kind, **options):
    return pool(lifted, kind, **options)


def test_pool_by_definition(lifted):
    w = np.array([1.0, 2.0, 0.5])[:, None, None] / 3
    values = np.asarray(lifted.features)[0, :3]
    total = (w * values).sum((0, 1))
    pools = {kind: np.asarray(pooled(lifted, kind)) for kind in ("sum", "mean", "max")}
    np.testing.assert_allclose(pools["sum"][0], total, atol=1e-12)
    np.testing.assert_allclose(pools["mean"][0], total / 3.5, atol=1e-12)
    np.testing.assert_array_equal(pools["max"][0], values.max((0, 1)))
    each = np.asarray(pooled(lifted, "mean", over_points=False))
    np.testing.assert_allclose(each[0, :3], values.mean(1), atol=1e-12)


@pytest.mark.parametrize("kind", ["mean", "sum", "max"])
def test_pool_of_nothing_is_zero_with_finite_gradients(lifted, kind):
    @jax.jit
    def gradient(features):
        loss = lambda f: pool(lifted.replace_features(f), kind).sum()
        return jax.grad(loss)(features)

    assert np.all(np.asarray(pooled(lifted, kind))[1] == 0)
    assert np.all(np.isfinite(gradient(lifted.features)))


@pytest.mark.parametrize("kind", ["mean", "sum"])
def test_pool_of_a_point_split_in_two_of_half_weight(lifted, kind):
    @jax.jit
    def compute(lifted):
        twice = Lifted(*(jnp.concatenate([a, a[:, :1]], 1) for a in jax.tree.leaves(lifted)))
        halves = twice.log_weights.at[:, 0].add(-np.log(2.0)).at[:, -1].add(-np.log(2.0))
        halved = dataclasses.replace(twice, log_weights=halves)
        return [pool(x, kind) for x in (lifted, halved, twice)]

    whole, halved, twice = map(np.asarray, compute(lifted))
    np.testing.assert_allclose(halved, whole, atol=1e-12)
    assert np.max(np.abs(twice - whole)) > 1e-3


def test_pool_of_infinite_log_weight_is_masked(lifted):
    weights, mask = np.array(lifted.log_weights), np.array(lifted.mask)
    weights[0, 1], mask[0, 1] = -np.inf, False
    out = dataclasses.replace(lifted, log_weights=jnp.asarray(weights))
    dropped = dataclasses.replace(lifted, mask=jnp.asarray(mask))
    for kind in ("mean", "sum", "max"):
        np.testing.assert_array_equal(pooled(out, kind), pooled(dropped, kind))


def test_head_is_activation_then_linear():
    head = Head(6, 2, depth=3, param_dtype=jnp.float64, rngs=nnx.Rngs(0))

    @jax.jit
    def compute(x):
        expected = x
        for linear in head.linears:
            expected = jax.nn.swish(expected) @ linear.kernel[...] + linear.bias[...]
        return head(x), expected

    np.testing.assert_allclose(*compute(draws.normal(0, 5, 6)), atol=1e-12)
    assert [linear.kernel.shape for linear in head.linears] == [(6, 6), (6, 6), (6, 2)]
    with pytest.raises(ValueError, match="depth must be at least 1"):
        Head(6, 2, depth=0, rngs=nnx.Rngs(0))


def attention(**options):
    layer = small.attention(width=5, **options)
    return LieSelfAttention(6, SPACE, layer, param_dtype=jnp.float64, rngs=nnx.Rngs(0))


def layer_norm(x, norm):
    centered = x - x.mean(-1, keepdims=True)
    scale = jnp.sqrt((centered**2).mean(-1, keepdims=True) + 1e-5)
    return centered / scale * norm.scale[...] + norm.bias[...]


@pytest.mark.parametrize("norm", ["pre", "post", "none"])
def test_block_places_its_norms(lifted, norm):
    layer = attention()
    mlp = TokenMLP(6, 12, param_dtype=jnp.float64, rngs=nnx.Rngs(1))
    block = TransformerBlock(layer, mlp, 6, norm=norm, param_dtype=jnp.float64, rngs=nnx.Rngs(2))
    for branch in (block.attention_norm, block.mlp_norm):
        if branch is not None:
            branch.scale[...] = jnp.asarray(np.linspace(0.5, 1.5, 6))

    @jax.jit
    def compute(lifted):
        x = lifted.features
        attend = lambda y: layer(lifted.replace_features(y))
        for branch_norm, fn in ((block.attention_norm, attend), (block.mlp_norm, mlp)):
            if norm == "pre":
                x = x + fn(layer_norm(x, branch_norm))
            elif norm == "post":
                x = x + layer_norm(fn(x), branch_norm)
            else:
                x = x + fn(x)
        return block(lifted).features, x

    np.testing.assert_allclose(*compute(lifted), atol=1e-10)


@pytest.mark.usefixtures("no_type_checks")
def test_unknown_norm():
    rngs = nnx.Rngs(0)
    with pytest.raises(ValueError, match="norm must be one of"):
        TransformerBlock(attention(), TokenMLP(6, 12, rngs=rngs), 6, norm="x", rngs=rngs)


def test_options_that_a_term_does_not_see_are_refused():
    """By the class that the user called: none is taken and ignored."""
    for make, option in (
        (lambda: DotProductContent(num_radial=4), "num_radial"),
        (lambda: RadialLocation(dim=4), "dim"),
        (lambda: MLPLocation(outputs=2), "outputs"),
        (lambda: Attention(num_radial=4), "num_radial"),
    ):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{option}'"):
            make()
    message = (
        r"LieSelfAttention has no argument 'num_heads', got 2; .* go into Attention\(...\): coo"
    )
    with pytest.raises(TypeError, match=message):
        LieSelfAttention(8, SPACE, num_heads=2, rngs=nnx.Rngs(0))


def test_final_activation_of_the_mlp():
    plain, final = (
        TokenMLP(6, 12, final_activation=f, param_dtype=jnp.float64, rngs=nnx.Rngs(1))
        for f in (False, True)
    )
    compute = jax.jit(lambda x: (final(x), jax.nn.swish(plain(x))))
    np.testing.assert_allclose(*compute(draws.normal(0, 5, 6)), atol=1e-12)


def test_attention_layer_keeps_masked_points_at_zero(lifted):
    out = np.asarray(jax.jit(attention())(lifted))
    assert out.shape == lifted.features.shape
    assert np.all(out[~np.asarray(lifted.mask)] == 0)
    assert np.std(out[0, :3]) > 1e-3


def test_content_free_attention_has_no_query_and_key():
    layer = attention(content=None)
    assert layer.query is None
    assert layer.key is None
    names = {str(path) for path, _ in nnx.to_flat_state(nnx.state(layer, nnx.Param))}
    assert not any("query" in name or "key" in name for name in names)


@pytest.mark.parametrize(
    ("group", "levels"),
    some_rows(
        [(groups.SE(2), (3,)), (groups.SE(2), (0, 1)), (groups.E(3), (0, 1, 3))],
        "SE(2)-(3,)",
    ),
)
def test_a_distance_of_zero_is_zero_however_a_program_is_compiled(group, levels):
    """A compiler may compute a square twice, 0 here and 1e-17 there, on both sides of a branch."""
    space = spaces.euclidean(group)
    layer = small.attention(depth=2, coordinates="invariants").build(
        8, space, param_dtype=jnp.float32, rngs=nnx.Rngs(0)
    )
    x = jax.jit(lambda key: space.sample_points(key, (3, 4), jnp.float32))(jax.random.key(0))
    f = draws.normal(0, 3, 4, 8).astype(np.float32)
    place = lambda x, f: lift(space, x, f, key=jax.random.key(0), lift=Haar(1))
    expected = np.asarray(layer(jax.jit(place)(x, f)))  # operation by operation
    assert np.std(expected) > 0.01
    for level in levels:
        options = {"xla_backend_optimization_level": level}
        found = jax.jit(lambda x, f: layer(place(x, f)), compiler_options=options)(x, f)
        np.testing.assert_allclose(found, expected, atol=2e-6 * float(np.std(expected)) + 1e-7)


def test_the_layer_on_the_pallas_back_end(lifted):
    layers = [
        LieSelfAttention(6, SPACE, small.attention(width=4, implementation=name), rngs=nnx.Rngs(0))
        for name in ("pallas", "dense")
    ]
    compute = jax.jit(lambda lifted: [layer(lifted) for layer in layers])
    np.testing.assert_allclose(*compute(lifted), atol=1e-10)


@pytest.mark.parametrize(
    ("kind", "normalize"),
    each_once(
        [Attention, AttentiveConvolution],
        ["softmax", "mean"],
        ids=lambda option: getattr(option, "__name__", option),
    ),
)
def test_a_cutoff_makes_the_layer_local(kind, normalize):
    """A point 50 Å away changes no other point's output; without a cutoff it does."""
    points, features = draws.normal(0, 1, 5, 2), draws.normal(1, 1, 5, 4)
    points[0, -1] += 50.0
    points, features = jnp.asarray(points), jnp.asarray(features)

    def change(cutoff):
        layer = kind(num_heads=2, normalize=normalize, cutoff=cutoff).build(
            4, SPACE, param_dtype=np.float64, rngs=nnx.Rngs(0)
        )

        @jax.jit
        def apply(mask):
            lifted = lift(SPACE, points, features, mask, key=jax.random.key(2), lift=Haar(2))
            return layer(lifted)

        out = [np.asarray(apply(jnp.arange(5)[None] < n))[:, :4] for n in (4, 5)]
        return np.abs(out[1] - out[0]).max() / out[0].std()

    assert change(5.0) < 1e-12
    assert change(None) > 1e-2


def test_a_cutoff_must_be_a_distance():
    with pytest.raises(ValueError, match="cutoff must be finite and above 0, got -1"):
        Attention(cutoff=-1.0)

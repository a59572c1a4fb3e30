"""Pooling, heads, blocks and the attention layer, each by its own definition."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import groups, spaces
from eqattn.layers import (
    Head,
    LieSelfAttention,
    TokenMLP,
    TransformerBlock,
    build_layer,
    pool,
)
from eqattn.lift import Haar, Lifted, lift
from tests.compiled import compiled

lift = compiled(lift)

SPACE = spaces.euclidean(groups.SE(2))


@pytest.fixture(scope="module")
def lifted():
    points = jax.random.normal(jax.random.key(0), (2, 4, 2))
    features = jax.random.normal(jax.random.key(1), (2, 4, 6))
    mask = jnp.array([[True, True, True, False], [False] * 4])
    weights = jnp.log(jnp.array([[1.0, 2.0, 0.5, 9.0]] * 2))
    out = lift(
        SPACE, points, features, mask, key=jax.random.key(2), strategy=Haar(3), log_weights=weights
    )
    noise = jax.random.normal(jax.random.key(3), out.features.shape)
    return out.replace_features(out.features + noise)


def test_pool_by_definition(lifted):
    w = np.array([1.0, 2.0, 0.5])[:, None, None] / 3
    values = np.asarray(lifted.features[0, :3])
    total = (w * values).sum((0, 1))
    np.testing.assert_allclose(pool(lifted, "sum")[0], total, atol=1e-12)
    np.testing.assert_allclose(pool(lifted, "mean")[0], total / 3.5, atol=1e-12)
    np.testing.assert_array_equal(pool(lifted, "max")[0], values.max((0, 1)))
    each = pool(lifted, "mean", over_points=False)
    np.testing.assert_allclose(each[0, :3], values.mean(1), atol=1e-12)


@pytest.mark.parametrize("kind", ["mean", "sum", "max"])
def test_pool_of_nothing_is_zero_with_finite_gradients(lifted, kind):
    assert jnp.all(pool(lifted, kind)[1] == 0)
    loss = lambda f: pool(lifted.replace_features(f), kind).sum()
    assert jnp.all(jnp.isfinite(jax.grad(loss)(lifted.features)))


@pytest.mark.parametrize("kind", ["mean", "sum"])
def test_pool_of_a_point_split_in_two_of_half_weight(lifted, kind):
    twice = Lifted(*(jnp.concatenate([a, a[:, :1]], 1) for a in jax.tree.leaves(lifted)))
    halves = twice.log_weights.at[:, 0].add(-jnp.log(2.0)).at[:, -1].add(-jnp.log(2.0))
    halved = dataclasses.replace(twice, log_weights=halves)
    np.testing.assert_allclose(pool(halved, kind), pool(lifted, kind), atol=1e-12)
    assert jnp.max(jnp.abs(pool(twice, kind) - pool(lifted, kind))) > 1e-3


def test_pool_of_infinite_log_weight_is_masked(lifted):
    out = dataclasses.replace(lifted, log_weights=lifted.log_weights.at[0, 1].set(-jnp.inf))
    dropped = dataclasses.replace(lifted, mask=lifted.mask.at[0, 1].set(False))
    for kind in ("mean", "sum", "max"):
        np.testing.assert_array_equal(pool(out, kind), pool(dropped, kind))


def test_head_is_activation_then_linear():
    head = Head(6, 2, depth=3, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (5, 6))
    expected = x
    for linear in head.linears:
        expected = jax.nn.swish(expected) @ linear.kernel[...] + linear.bias[...]
    np.testing.assert_allclose(head(x), expected, atol=1e-12)
    assert [linear.kernel.shape for linear in head.linears] == [(6, 6), (6, 6), (6, 2)]
    with pytest.raises(ValueError, match="depth must be at least 1"):
        Head(6, 2, depth=0, rngs=nnx.Rngs(0))


def attention(**options):
    return LieSelfAttention(
        6, 2, SPACE, coordinates="embedding", location_dim=5, param_dtype=jnp.float64,
        rngs=nnx.Rngs(0), **options,
    )  # fmt: skip


def layer_norm(x, norm):
    centered = x - x.mean(-1, keepdims=True)
    scale = np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-5)
    return centered / scale * norm.scale[...] + norm.bias[...]


@pytest.mark.parametrize("norm", ["pre", "post", "none"])
def test_block_places_its_norms(lifted, norm):
    layer = attention()
    mlp = TokenMLP(6, 12, param_dtype=jnp.float64, rngs=nnx.Rngs(1))
    block = TransformerBlock(layer, mlp, 6, norm=norm, param_dtype=jnp.float64, rngs=nnx.Rngs(2))
    for branch in (block.attention_norm, block.mlp_norm):
        if branch is not None:
            branch.scale[...] = jnp.linspace(0.5, 1.5, 6)
    x = lifted.features
    attend = lambda y: layer(lifted.replace_features(y))
    for branch_norm, fn in ((block.attention_norm, attend), (block.mlp_norm, mlp)):
        if norm == "pre":
            x = x + fn(layer_norm(x, branch_norm))
        elif norm == "post":
            x = x + layer_norm(fn(x), branch_norm)
        else:
            x = x + fn(x)
    np.testing.assert_allclose(block(lifted).features, x, atol=1e-10)


@pytest.mark.usefixtures("no_type_checks")
def test_unknown_norm():
    rngs = nnx.Rngs(0)
    with pytest.raises(ValueError, match="norm must be one of"):
        TransformerBlock(attention(), TokenMLP(6, 12, rngs=rngs), 6, norm="x", rngs=rngs)


def test_radial_functions_that_no_term_sees_are_refused():
    message = "num_radial must be 0 where no term sees pairs, as with location='none' and content"
    with pytest.raises(ValueError, match=message):
        attention(location="none", num_radial=4)
    # These do see them.
    attention(location="none", content="relative_position", num_radial=4)
    attention(location="raw", combine="mlp", num_radial=4)


def test_final_activation_of_the_mlp():
    plain, final = (
        TokenMLP(6, 12, final_activation=f, param_dtype=jnp.float64, rngs=nnx.Rngs(1))
        for f in (False, True)
    )
    x = jax.random.normal(jax.random.key(0), (5, 6))
    np.testing.assert_allclose(final(x), jax.nn.swish(plain(x)), atol=1e-12)


def test_attention_layer_keeps_masked_points_at_zero(lifted):
    out = attention()(lifted)
    assert out.shape == lifted.features.shape
    assert jnp.all(out[~lifted.mask] == 0)
    assert jnp.std(out[0, :3]) > 1e-3


def test_content_free_attention_has_no_query_and_key():
    layer = attention(content="none")
    assert layer.query is None
    assert layer.key is None
    names = {str(path) for path, _ in nnx.to_flat_state(nnx.state(layer, nnx.Param))}
    assert not any("query" in name or "key" in name for name in names)


@pytest.mark.parametrize("group", [groups.SE(2), groups.E(3)])
def test_a_distance_of_zero_is_zero_however_a_program_is_compiled(group):
    """A compiler may compute a square twice, 0 here and 1e-17 there, on both sides of a branch."""
    space = spaces.euclidean(group)
    layer = build_layer(
        "attention", 8, space, num_heads=2, location_dim=8, location_layers=2,
        coordinates="invariants", param_dtype=jnp.float32, rngs=nnx.Rngs(0),
    )  # fmt: skip
    x = space.sample_points(jax.random.key(0), (3, 4), jnp.float32)
    f = jax.random.normal(jax.random.key(0), (3, 4, 8), jnp.float32)
    run = lambda x, f: layer(lift(space, x, f, key=jax.random.key(0), strategy=Haar(1)))
    expected = run(x, f)
    assert jnp.std(expected) > 0.01
    for level in (0, 1, 3):
        options = {"xla_backend_optimization_level": level}
        found = jax.jit(run, compiler_options=options)(x, f)
        np.testing.assert_allclose(found, expected, atol=2e-6 * float(jnp.std(expected)) + 1e-7)


def test_the_layer_on_the_pallas_back_end(lifted):
    layers = [
        LieSelfAttention(6, 2, SPACE, location_dim=4, implementation=name, rngs=nnx.Rngs(0))
        for name in ("pallas", "dense")
    ]
    np.testing.assert_allclose(*(layer(lifted) for layer in layers), atol=1e-10)

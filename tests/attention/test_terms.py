"""Content and location terms against their formulas, one pair at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn import groups, spaces
from eqattn.attention import (
    CombineMLP,
    Content,
    DotProduct,
    LinearConcat,
    Location,
    PairFeatures,
    PairMLP,
    RawPairs,
    RelativePosition,
    attend,
)
from eqattn.attention.mlp import init_mlp

SPACE = spaces.euclidean(groups.SE(2))
FEATURES = PairFeatures(SPACE, "log")
B, T, H, C = 2, 4, 3, 5
RELATIVE = RelativePosition(
    *(
        jax.random.normal(jax.random.key(i), shape)
        for i, shape in enumerate([(3, H, C), (H, C), (H, C), (H, C)], start=1)
    ),
    FEATURES,
)
CONCAT = LinearConcat(
    jax.random.normal(jax.random.key(5), (2 * C, 4)), jax.random.normal(jax.random.key(6), (4,))
)


def inputs():
    q, k, v = jax.random.normal(jax.random.key(0), (3, B, T, H, C))
    return q, k, v, SPACE.group.sample(jax.random.key(1), (B, T))


def combination(num_features):
    weights, biases = init_mlp(jax.random.key(8), (num_features, 6, 1), H, float)
    return CombineMLP(weights, biases, final_activation=True)


def silu(x):
    return x / (1 + np.exp(-x))


def by_pair(formula):
    """A formula of (b, i, j, h) over all of them: [B H T T F]."""
    q, k, _, g = inputs()
    q, k = np.asarray(q), np.asarray(k)
    pairs = np.asarray(SPACE.pair_coordinates(g[:, :, None], g[:, None], "log"))
    out = [
        [
            [
                [formula(q[b, i, h], k[b, j, h], pairs[b, i, j], h) for j in range(T)]
                for i in range(T)
            ]
            for h in range(H)
        ]
        for b in range(B)
    ]
    return np.asarray(out)


def relative_position(q, k, pair, h):
    weight, bias, u, v = (np.asarray(a) for a in jax.tree.leaves(RELATIVE))
    e = pair @ weight[:, h] + bias[h]
    return [(q @ k + e @ (q + v[h]) + u[h] @ k) / np.sqrt(C)]


TERMS = {  # content, location, formulas of their features
    "relative position": (RELATIVE, None, relative_position, None),
    "concat and raw": (
        LinearConcat(), RawPairs(FEATURES), lambda q, k, p, h: [*q, *k], lambda q, k, p, h: p,
    ),
    "concat linear and raw": (
        CONCAT,
        RawPairs(FEATURES),
        lambda q, k, p, h: np.asarray(CONCAT.weight).T @ [*q, *k] + np.asarray(CONCAT.bias),
        lambda q, k, p, h: p,
    ),
    "dot product and raw": (
        DotProduct(),
        RawPairs(FEATURES),
        lambda q, k, p, h: [q @ k / np.sqrt(C)],
        lambda q, k, p, h: p,
    ),
}  # fmt: skip


def combine(parts, mlp, num_features):
    """An MLP for each head, written out."""
    x = np.concatenate([np.broadcast_to(p, (B, H, T, T, p.shape[-1])) for p in parts], -1)
    assert x.shape[-1] == num_features
    for w, b in zip(mlp.weights, mlp.biases, strict=True):
        x = silu(np.einsum("bhijf,hfg->bhijg", x, w) + np.asarray(b)[:, None, None])
    return x[..., 0]


@pytest.mark.parametrize("name", TERMS)
def test_terms_follow_their_formulas(name):
    content, location, *formulas = TERMS[name]
    q, k, v, g = inputs()
    parts = [by_pair(formula) for formula in formulas if formula is not None]
    size = sum(p.shape[-1] for p in parts)
    mlp = combination(size) if location is not None else "sum"
    out = attend(q, k, v, g, g, location, content=content, combine=mlp, normalize="mean")
    logits = parts[0][..., 0] if location is None else combine(parts, mlp, size)
    expected = np.einsum("bhij,bjhc->bihc", logits, v) / T
    np.testing.assert_allclose(out, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", TERMS)
def test_terms_are_equivariant(name):
    """Negative control: the same terms of the pair g_j g_i⁻¹."""
    content, location, *formulas = TERMS[name]
    size = sum(by_pair(f).shape[-1] for f in formulas if f is not None)
    mlp = combination(size) if location is not None else "sum"
    q, k, v, g = inputs()
    run = jax.jit(lambda g: attend(q, k, v, g, g, location, content=content, combine=mlp))
    moved = SPACE.group.compose(SPACE.group.sample(jax.random.key(4), (B, 1)), g)
    inverse = SPACE.group.inverse
    scale = np.std(run(g))
    assert np.max(np.abs(run(moved) - run(g))) / scale <= 1e-10
    assert np.max(np.abs(run(inverse(moved)) - run(inverse(g)))) / scale > 1e-2


def test_per_head_location_may_have_features():
    weights, biases = init_mlp(jax.random.key(2), (FEATURES.size, 7, 3), H, float)
    q, k, v, g = inputs()
    mlp = combination(4)
    term = PairMLP(weights, biases, FEATURES)
    out = attend(q, k, v, g, g, term, combine=mlp, normalize="mean")
    pairs = np.asarray(SPACE.pair_coordinates(g[:, :, None], g[:, None], "log"))
    x = silu(np.einsum("bijf,hfg->bhijg", pairs, weights[0]) + biases[0][:, None, None])
    x = np.einsum("bhijf,hfg->bhijg", x, weights[1]) + biases[1][:, None, None]
    content = by_pair(lambda q, k, p, h: [q @ k / np.sqrt(C)])
    logits = combine([content, np.asarray(x)], mlp, 4)
    np.testing.assert_allclose(out, np.einsum("bhij,bjhc->bihc", logits, v) / T, atol=1e-12)


def test_radial_location_is_an_expansion():
    """One layer over radial features alone: Σ_m w_m exp(-(d - c_m)² / 2)."""
    features = PairFeatures(SPACE, None, num_radial=3, cutoff=2.0)
    assert features.size == 3
    weights, biases = init_mlp(jax.random.key(2), (3, H), dtype=float)
    _, _, v, g = inputs()
    out = attend(None, None, v, g, g, PairMLP(weights, biases, features), normalize="mean")
    points = np.asarray(g[..., 2:])
    distance = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
    basis = np.exp(-0.5 * (distance[..., None] - np.arange(3.0)) ** 2)
    logits = np.moveaxis(basis @ weights[0] + biases[0], -1, 1)
    np.testing.assert_allclose(out, np.einsum("bhij,bjhc->bihc", logits, v) / T, atol=1e-12)


@pytest.mark.parametrize(("content", "name"), [(LinearConcat(), "content"), (CONCAT, "content")])
def test_terms_of_more_than_one_feature_need_an_mlp(content, name):
    q, k, v, g = inputs()
    size = 4 if content is CONCAT else 2 * C
    with pytest.raises(ValueError, match=rf"{name} term of one feature, got {size}; use an MLP"):
        attend(q, k, v, g, g, content=content)
    with pytest.raises(ValueError, match="location term of one feature, got 3; use an MLP"):
        attend(q, k, v, g, g, RawPairs(FEATURES), combine="product")


def test_terms_have_their_protocols():
    for content in (DotProduct(), LinearConcat(), CONCAT, RELATIVE):
        assert isinstance(content, Content)
    assert isinstance(RawPairs(FEATURES), Location)


@pytest.mark.parametrize("name", TERMS)
def test_low_precision_keeps_logits_in_float32(name):
    content, location, *formulas = TERMS[name]
    size = sum(by_pair(f).shape[-1] for f in formulas if f is not None)
    mlp = combination(size) if location is not None else "sum"
    q, k, v, g = inputs()
    exact = attend(q, k, v, g, g, location, content=content, combine=mlp)
    for dtype, bound in ((jnp.float32, 1e-5), (jnp.bfloat16, 0.05)):
        narrow = (a.astype(dtype) for a in (q, k, v))
        g32 = g.astype(jnp.float32)
        out = attend(*narrow, g32, g32, location, content=content, combine=mlp)
        assert out.dtype == dtype
        assert jnp.max(jnp.abs(out - exact)) / jnp.std(exact) < bound

"""Content and location terms against their formulas, one pair at a time."""

import functools

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
from tests import draws
from tests.compiled import compiled
from tests.grids import some

SPACE = spaces.euclidean(groups.SE(2))
FEATURES = PairFeatures(SPACE, "log")
B, T, H, C = 2, 4, 3, 5
RELATIVE = RelativePosition(
    *(
        jnp.asarray(draws.normal(seed, *shape))
        for seed, shape in enumerate([(3, H, C), (H, C), (H, C), (H, C)], start=1)
    ),
    FEATURES,
)
CONCAT = LinearConcat(jnp.asarray(draws.normal(5, 2 * C, 4)), jnp.asarray(draws.normal(6, 4)))


def inputs():
    return *draws.normal(0, 3, B, T, H, C), draws.elements(SPACE.group, 1, B, T)


@functools.cache
def pairs():
    g = inputs()[-1]
    return np.asarray(compiled(SPACE.pair_coordinates)(g[:, :, None], g[:, None], "log"))


def combination(num_features):
    return CombineMLP(*draws.mlp(8, (num_features, 6, 1), H), final_activation=True)


def silu(x):
    return x / (1 + np.exp(-x))


def by_pair(formula):
    """A formula of (b, i, j, h) over all of them: [B H T T F]."""
    q, k, *_ = inputs()
    out = [
        [
            [
                [formula(q[b, i, h], k[b, j, h], pairs()[b, i, j], h) for j in range(T)]
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
        w, b = np.asarray(w), np.asarray(b)
        x = silu(np.einsum("bhijf,hfg->bhijg", x, w) + b[:, None, None])
    return x[..., 0]


@pytest.mark.parametrize("name", TERMS)
def test_terms_follow_their_formulas(name):
    content, location, *formulas = TERMS[name]
    q, k, v, g = inputs()
    parts = [by_pair(formula) for formula in formulas if formula is not None]
    size = sum(p.shape[-1] for p in parts)
    mlp = combination(size) if location is not None else "sum"
    options = {"content": content, "combine": mlp, "normalize": "mean"}
    out = compiled(attend)(q, k, v, g, g, location, **options)
    logits = parts[0][..., 0] if location is None else combine(parts, mlp, size)
    expected = np.einsum("bhij,bjhc->bihc", logits, v) / T
    np.testing.assert_allclose(out, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", some(TERMS, "relative position", "concat linear and raw"))
def test_terms_are_equivariant(name):
    """Negative control: the same terms of the pair g_j g_i⁻¹."""
    content, location, *formulas = TERMS[name]
    size = sum(by_pair(f).shape[-1] for f in formulas if f is not None)
    mlp = combination(size) if location is not None else "sum"
    q, k, v, g = inputs()

    @jax.jit
    def compute(g, u):
        run = lambda g: attend(*map(jnp.asarray, (q, k, v)), g, g, location, **options)
        options = {"content": content, "combine": mlp}
        inverse, moved = SPACE.group.inverse, SPACE.group.compose(u, g)
        return [run(x) for x in (g, moved, inverse(g), inverse(moved))]

    u = draws.elements(SPACE.group, 4, B, 1)
    out, of_moved, of_inverse, of_moved_inverse = map(np.asarray, compute(g, u))
    assert np.max(np.abs(of_moved - out)) / np.std(out) <= 1e-10
    assert np.max(np.abs(of_moved_inverse - of_inverse)) / np.std(out) > 1e-2


def test_per_head_location_may_have_features():
    term = PairMLP(*draws.mlp(2, (FEATURES.size, 7, 3), H), FEATURES)
    q, k, v, g = inputs()
    mlp = combination(4)
    out = compiled(attend)(q, k, v, g, g, term, combine=mlp, normalize="mean")
    weights, biases = ([np.asarray(x) for x in part] for part in (term.weights, term.biases))
    x = silu(np.einsum("bijf,hfg->bhijg", pairs(), weights[0]) + biases[0][:, None, None])
    x = np.einsum("bhijf,hfg->bhijg", x, weights[1]) + biases[1][:, None, None]
    content = by_pair(lambda q, k, p, h: [q @ k / np.sqrt(C)])
    logits = combine([content, x], mlp, 4)
    np.testing.assert_allclose(out, np.einsum("bhij,bjhc->bihc", logits, v) / T, atol=1e-12)


def test_radial_location_is_an_expansion():
    """One layer over radial features alone: Σ_m w_m exp(-(d - c_m)² / 2)."""
    features = PairFeatures(SPACE, None, num_radial=3, cutoff=2.0)
    assert features.size == 3
    term = PairMLP(*draws.mlp(2, (3, H)), features)
    _, _, v, g = inputs()
    out = compiled(attend)(None, None, v, g, g, term, normalize="mean")
    points = g[..., 2:]
    distance = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
    basis = np.exp(-0.5 * (distance[..., None] - np.arange(3.0)) ** 2)
    logits = np.moveaxis(basis @ np.asarray(term.weights[0]) + np.asarray(term.biases[0]), -1, 1)
    np.testing.assert_allclose(out, np.einsum("bhij,bjhc->bihc", logits, v) / T, atol=1e-12)


@pytest.mark.parametrize(("content", "name"), [(LinearConcat(), "content"), (CONCAT, "content")])
def test_terms_of_more_than_one_feature_need_an_mlp(content, name):
    q, k, v, g = inputs()
    size = 4 if content is CONCAT else 2 * C
    with pytest.raises(ValueError, match=rf"{name} term of one feature, got {size}; use an MLP"):
        compiled(attend)(q, k, v, g, g, content=content)
    with pytest.raises(ValueError, match="location term of one feature, got 3; use an MLP"):
        compiled(attend)(q, k, v, g, g, RawPairs(FEATURES), combine="product")


def test_terms_have_their_protocols():
    for content in (DotProduct(), LinearConcat(), CONCAT, RELATIVE):
        assert isinstance(content, Content)
    assert isinstance(RawPairs(FEATURES), Location)


@pytest.mark.parametrize("name", some(TERMS, "relative position", "concat and raw"))
def test_low_precision_keeps_logits_in_float32(name):
    content, location, *formulas = TERMS[name]
    size = sum(by_pair(f).shape[-1] for f in formulas if f is not None)
    mlp = combination(size) if location is not None else "sum"
    q, k, v, g = inputs()
    narrow = [[a.astype(t) for a in (q, k, v)] for t in (np.float32, jnp.bfloat16)]

    @jax.jit
    def compute(exact, narrow, g):
        run = lambda features, g: attend(*features, g, g, location, content=content, combine=mlp)
        return run(exact, g), [run(features, g.astype(jnp.float32)) for features in narrow]

    exact, outputs = compute((q, k, v), narrow, g)
    for out, (dtype, bound) in zip(
        outputs, ((jnp.float32, 1e-5), (jnp.bfloat16, 0.05)), strict=True
    ):
        assert out.dtype == dtype
        assert np.max(np.abs(np.asarray(out, float) - exact)) / np.std(exact) < bound

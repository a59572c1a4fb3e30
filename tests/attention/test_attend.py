"""The semantics of ``attend``, against a loop in numpy; masks, weights, types and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn import groups, spaces
from eqattn.attention import CombineMLP, PairFeatures, PairMLP, TokenBlock, attend
from eqattn.attention.mlp import init_mlp

SPACE = spaces.euclidean(groups.SE(2))
B, T, H, C, V = 2, 5, 2, 3, 4


def inputs(dtype=jnp.float64, seed=0):
    keys = jax.random.split(jax.random.key(seed), 5)
    shapes = [(B, T, H, C), (B, T, H, C), (B, T, H, V)]
    q, k, v = (jax.random.normal(key, s, dtype) for key, s in zip(keys, shapes, strict=False))
    return q, k, v, SPACE.group.sample(keys[3], (B, T), dtype)


def location(num_heads=None, layers=2, **features):
    spec = PairFeatures(SPACE, **{"coordinates": "log", **features})
    sizes = (spec.size, *(7,) * (layers - 1), 1 if num_heads else H)
    weights, biases = init_mlp(jax.random.key(9), sizes, num_heads, jnp.float64)
    return PairMLP(weights, biases, spec)


def silu(x):
    return x / (1 + np.exp(-x))


def loop_location(term, g):
    """Location logits [H T T], one pair and one head at a time."""
    out = np.zeros((H, T, T))
    group = SPACE.group
    for i in range(T):
        for j in range(T):
            pair = group.compose(group.inverse(g[i]), g[j])
            x0 = np.asarray(group.log(pair))
            for h in range(H):
                x = x0
                for n, (w, b) in enumerate(zip(term.weights, term.biases, strict=True)):
                    w, b = (np.asarray(w[h]), np.asarray(b[h])) if w.ndim == 3 else (w, b)
                    x = x @ np.asarray(w) + np.asarray(b)
                    x = silu(x) if n < len(term.weights) - 1 else x
                out[h, i, j] = x[0] if term.weights[0].ndim == 3 else x[h]
    return out


def loop_attend(q, k, v, content_on, where, combine, normalize, mask, log_weights):
    """Attention of one example, written out."""
    out = np.zeros((T, H, V))
    for h in range(H):
        for i in range(T):
            logits, omegas, values = [], [], []
            for j in range(T):
                if not mask[j]:
                    continue
                content = q[i, h] @ k[j, h] / np.sqrt(C)
                parts = ([content] if content_on else []) + (
                    [] if where is None else [where[h, i, j]]
                )
                total = np.prod(parts) if combine == "product" else np.sum(parts)
                logits.append(total)
                omegas.append(np.exp(log_weights[j]))
                values.append(v[j, h])
            logits, omegas = np.array(logits), np.array(omegas)
            if normalize == "softmax":
                w = omegas * np.exp(logits) / np.sum(omegas * np.exp(logits))
            elif normalize == "mean":
                w = omegas * logits / np.sum(omegas)
            else:
                w = omegas * np.exp(logits) / np.sum(omegas)
            out[i, h] = w @ np.array(values)
    return out


@pytest.mark.parametrize("normalize", ["softmax", "mean", "exponential_mean"])
@pytest.mark.parametrize("combine", ["sum", "product"])
@pytest.mark.parametrize("terms", ["both", "content", "trunk", "per_head"])
def test_agrees_with_a_loop(terms, combine, normalize):
    q, k, v, g = inputs()
    term = {"content": None, "per_head": location(H)}.get(terms, location())
    content_on = terms in ("both", "content")
    mask = np.array([[True, True, False, True, True], [True, False, False, True, False]])
    log_weights = np.log(np.linspace(0.5, 2.0, B * T).reshape(B, T))
    out = attend(
        q if content_on else None, k if content_on else None, v, g, g, term,
        key_mask=jnp.asarray(mask), log_weights=jnp.asarray(log_weights),
        combine=combine, normalize=normalize,
    )  # fmt: skip
    for b in range(B):
        where = None if term is None else loop_location(term, g[b])
        arrays = (np.asarray(a[b]) for a in (q, k, v))
        expected = loop_attend(
            *arrays, content_on, where, combine, normalize, mask[b], log_weights[b]
        )
        np.testing.assert_allclose(out[b], expected, rtol=1e-10, atol=1e-12)


def test_without_terms_it_is_the_weighted_mean():
    _, _, v, g = inputs()
    log_weights = jnp.log(jnp.linspace(0.2, 1.0, B * T).reshape(B, T))
    out = attend(None, None, v, g, g, log_weights=log_weights)
    expected = jnp.einsum("bk,bkhv->bhv", jax.nn.softmax(log_weights), v)
    np.testing.assert_allclose(out, jnp.broadcast_to(expected[:, None], out.shape), atol=1e-13)


def test_combine_mlp_sees_content_then_location():
    q, k, v, g = inputs()
    term = location()
    weights = (jnp.tile(jnp.array([[1.0], [2.0]]), (H, 1, 1)),)
    mlp = CombineMLP(weights, (jnp.full((H, 1), 0.5),))
    out = attend(q, k, v, g, g, term, combine=mlp, normalize="mean")
    content = attend(q, k, v, g, g, normalize="mean")
    where = attend(None, None, v, g, g, term, normalize="mean")
    np.testing.assert_allclose(out, content + 2 * where + 0.5 * v.mean(1)[:, None], atol=1e-12)


@pytest.mark.parametrize("normalize", ["softmax", "mean", "exponential_mean"])
def test_splitting_a_key_into_two_of_half_weight_changes_nothing(normalize):
    q, k, v, g = inputs()
    double = lambda a: jnp.concatenate([a, a[:, -1:]], axis=1)
    halves = jnp.zeros((B, T + 1)).at[:, -2:].set(-jnp.log(2.0))
    split = attend(
        q, double(k), double(v), g, double(g), location(), log_weights=halves, normalize=normalize
    )
    np.testing.assert_allclose(
        split, attend(q, k, v, g, g, location(), normalize=normalize), atol=1e-12
    )
    unweighted = attend(q, double(k), double(v), g, double(g), location(), normalize=normalize)
    assert jnp.max(jnp.abs(unweighted - split)) > 1e-3  # the weights are what does it


@pytest.mark.parametrize("normalize", ["softmax", "mean", "exponential_mean"])
def test_masked_keys_do_not_matter_and_masked_rows_are_zero(normalize):
    q, k, v, g = inputs()
    mask = jnp.array([[True, True, False, True, False], [False] * 5])
    out = attend(
        q, k, v.at[0, 2].set(jnp.nan), g, g, location(),
        key_mask=mask, query_mask=mask, normalize=normalize,
    )  # fmt: skip
    assert jnp.all(out[0, ~mask[0]] == 0)
    assert jnp.all(out[1] == 0)
    kept = jnp.flatnonzero(mask[0])
    take = lambda a: a[:1, kept]
    alone = attend(take(q), take(k), take(v), take(g), take(g), location(), normalize=normalize)
    np.testing.assert_allclose(out[:1, kept], alone, atol=1e-12)


def test_padding_of_nan_harms_no_gradient():
    q, k, v, g = inputs()
    mask = jnp.array([[True, True, False, True, False], [False] * 5])
    spoil = lambda a: jnp.where(mask.reshape(B, T, *(1,) * (a.ndim - 2)), a, jnp.nan)
    spoilt = [spoil(a) for a in (q, k, v, g)]

    def loss(arrays, term):
        q, k, v, g = arrays
        return attend(q, k, v, g, g, term, query_mask=mask, key_mask=mask).sum()

    value, grads = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(spoilt, location())
    clean, expected = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))([q, k, v, g], location())
    assert jnp.isfinite(value)
    np.testing.assert_allclose(value, clean, atol=1e-12)
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_log_weight_of_nan_is_not_hidden():
    q, k, v, g = inputs()
    out = attend(q, k, v, g, g, log_weights=jnp.zeros((B, T)).at[0, 1].set(jnp.nan))
    assert jnp.all(jnp.isnan(out[0]))
    assert jnp.all(jnp.isfinite(out[1]))


@pytest.mark.parametrize("shape", [(0, T), (B, 0)])
@pytest.mark.parametrize("normalize", ["softmax", "mean"])
@pytest.mark.parametrize("heads", [None, H])
def test_no_examples_or_no_tokens(shape, normalize, heads):
    q, k, v, g = (a[: shape[0], : shape[1]] for a in inputs())
    assert attend(q, k, v, g, g, location(heads), normalize=normalize).shape == (*shape, H, V)


def test_log_weight_of_minus_infinity_is_a_mask():
    q, k, v, g = inputs()
    mask = jnp.array([[True, True, False, True, False], [False] * 5])
    by_weight = lambda v: attend(
        q, k, v, g, g, location(), log_weights=jnp.where(mask, 0.0, -jnp.inf)
    )
    by_mask = attend(q, k, v, g, g, location(), key_mask=mask)
    np.testing.assert_array_equal(by_weight(v), by_mask)
    assert jnp.all(jnp.isfinite(jax.grad(lambda v: by_weight(v).sum())(v)))


def test_all_elements_times_u_change_nothing_but_the_other_pair_does():
    """Negative control: g_j g_i⁻¹ instead of g_i⁻¹ g_j is not left-invariant."""
    q, k, v, g = inputs()
    u = SPACE.group.sample(jax.random.key(4), (B, 1), jnp.float64)
    right = lambda g: attend(q, k, v, g, g, location())
    wrong = lambda g: right(SPACE.group.inverse(g))
    moved = SPACE.group.compose(u, g)
    scale = jnp.std(right(g))
    assert jnp.max(jnp.abs(right(moved) - right(g))) / scale < 1e-10
    assert jnp.max(jnp.abs(wrong(moved) - wrong(g))) / scale > 1e-2


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_low_precision_keeps_geometry_and_softmax_in_float32(dtype):
    q, k, v, g = inputs()
    exact = attend(q, k, v, g, g, location())
    out = attend(
        *(a.astype(dtype) for a in (q, k, v)),
        g.astype(jnp.float32),
        g.astype(jnp.float32),
        location(),
    )
    assert out.dtype == dtype
    bound = {jnp.float32: 2e-6, jnp.bfloat16: 0.02}[dtype]  # bfloat16 keeps 8 bits
    assert jnp.max(jnp.abs(out.astype(jnp.float64) - exact)) / jnp.std(exact) < bound


def test_radial_features_are_gaussians_of_the_distance():
    spec = PairFeatures(SPACE, "invariants", num_radial=3, cutoff=2.0)
    g = SPACE.group.exp(jnp.array([[0.0, 0.0, 0.0], [0.3, 1.0, 0.0]]))
    queries = TokenBlock(tuple(c[:, None] for c in g.T), ())
    keys = TokenBlock(tuple(c[None, :] for c in g.T), ())
    features = spec(queries, keys)
    distance = float(jnp.linalg.norm(g[1, 2:]))
    expected = [distance, *(np.exp(-0.5 * (distance - c) ** 2) for c in (0.0, 1.0, 2.0))]
    np.testing.assert_allclose(features[:, 0, 1], expected, atol=1e-12)
    assert spec.size == 4


ERRORS = [
    ({"normalize": "max"}, ValueError, "normalize must be one of"),
    ({"combine": "divide"}, ValueError, "combine must be one of"),
    ({"implementation": "magic"}, ValueError, "implementation must be one of"),
    ({"neighborhood": "near"}, TypeError, "neighborhood must be .*, got 'near'"),
]


@pytest.mark.parametrize(("options", "error", "match"), ERRORS)
@pytest.mark.usefixtures("no_type_checks")
def test_unknown_options(options, error, match):
    q, k, v, g = inputs()
    with pytest.raises(error, match=match):
        attend(q, k, v, g, g, location(), **options)


def test_terms_that_are_needed():
    q, k, v, g = inputs()
    with pytest.raises(ValueError, match="needs a content or a location term"):
        attend(None, None, v, g, g, normalize="mean")
    with pytest.raises(ValueError, match="given both or neither"):
        attend(q, None, v, g, g)
    mlp = CombineMLP((jnp.ones((H, 2, 1)),), (jnp.zeros((H, 1)),))
    with pytest.raises(ValueError, match="needs both a content and a location term"):
        attend(q, k, v, g, g, combine=mlp)


@pytest.mark.usefixtures("no_type_checks")
def test_wrong_shapes():
    q, k, v, g = inputs()
    with pytest.raises(ValueError, match=r"key_elements must have leading shape \(2, 5\)"):
        attend(q, k, v, g, g[:, 1:])
    with pytest.raises(ValueError, match=r"key must have shape \(2, 5, 2\)"):
        attend(q, k[:, 1:], v, g, g)
    with pytest.raises(ValueError, match=r"query must have shape \(2, 5, 2, 3\), got"):
        attend(q[..., :2], k, v, g, g)
    for name in ("query_mask", "key_mask", "log_weights"):
        with pytest.raises(ValueError, match=rf"{name} must have leading shape \(2, 5\), got"):
            attend(q, k, v, g, g, **{name: jnp.ones((2, 1), bool)})
    for name in ("query_orbits", "key_orbits"):
        with pytest.raises(ValueError, match=rf"{name} must have leading shape \(2, 5\), got"):
            attend(q, k, v, g, g, **{name: jnp.ones((5, 1))})
    with pytest.raises(ValueError, match="value must have shape"):
        attend(q, k, v[0, 0], g, g)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"num_radial": 1}, "num_radial must be 0 or at least 2"),
        ({"num_radial": -2}, "num_radial must be at least 0, got -2"),
        ({"cutoff": 0.0}, "cutoff must be finite and above 0"),
        ({"cutoff": float("nan")}, "cutoff must be finite and above 0"),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_bad_pair_features(options, match):
    with pytest.raises(ValueError, match=match):
        PairFeatures(SPACE, **options)


def test_unknown_activation():
    term = location()
    bad = PairMLP(term.weights, term.biases, term.features, activation="tan")
    q, k, v, g = inputs()
    with pytest.raises(ValueError, match="activation must be one of"):
        attend(q, k, v, g, g, bad)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"content": "dot_product"}, "content must be a Content, got 'dot_product'"),
        ({"location": "mlp"}, "location must be a Location, got 'mlp'"),
        ({"value": jnp.ones((B, T, H, V), int)}, "value must be of a floating point type, got int"),
        ({"query": jnp.ones((B, T, H, C), int)}, "query must be of a floating point type, got int"),
        ({"value": jnp.ones((B, T, 0, V))}, "value must have heads and channels, got shape"),
        (
            {"location": lambda query, key: jnp.ones((1, B, H + 1, T, T))},
            "location must return features with shape .* got ",
        ),
        ({"key_mask": jnp.ones((B, T))}, "key_mask must be boolean, got float"),
        ({"query_elements": jnp.ones((B, T, 3))}, "query_elements must have shape"),
        (
            {"location": PairFeatures(SPACE, "invariants")},
            r"location must return features with shape \[F \*B H T K\] for logits",
        ),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_terms_and_types_that_are_none(change, match):
    q, k, v, g = inputs()
    arguments = {
        "query": q, "key": k, "value": v, "query_elements": g, "key_elements": g, **change,
    }  # fmt: skip
    with pytest.raises(ValueError, match=match):
        attend(**arguments)

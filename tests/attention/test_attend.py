"""The semantics of ``attend``, against a loop in numpy; masks, weights, types and errors."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn import groups, spaces
from eqattn.attention import CombineMLP, PairFeatures, PairMLP, TokenBlock, attend
from tests import draws
from tests.compiled import compiled

eager_attend, attend = attend, compiled(attend)

SPACE = spaces.euclidean(groups.SE(2))
B, T, H, C, V = 2, 5, 2, 3, 4


NORMALIZE = "softmax", "mean", "exponential_mean"
COMBINE = "sum", "product"
MASK = np.array([[True, True, False, True, False], [False] * 5])


def inputs():
    features = (draws.normal(seed, B, T, H, size) for seed, size in enumerate((C, C, V)))
    return *features, draws.elements(SPACE.group, 3, B, T)


def location(num_heads=None, layers=2, **features):
    spec = PairFeatures(SPACE, **{"coordinates": "log", **features})
    sizes = (spec.size, *(7,) * (layers - 1), 1 if num_heads else H)
    return PairMLP(*draws.mlp(9, sizes, num_heads), spec)


def silu(x):
    return x / (1 + np.exp(-x))


@functools.cache
def pair_logs():
    """Logarithms of the pairs [B T T 3]."""
    group = SPACE.group

    @jax.jit
    def compute(g):
        inverse = group.inverse(g)
        pairs = [[group.compose(inverse[:, i], g[:, j]) for j in range(T)] for i in range(T)]
        return group.log(jnp.stack([jnp.stack(row, 1) for row in pairs], 1))

    return np.asarray(compute(inputs()[3]))


@functools.cache
def loop_location(per_head):
    """Location logits [B H T T], one pair and one head at a time."""
    out = np.zeros((B, H, T, T))
    term = location(H if per_head else None)
    weights, biases = ([np.asarray(x) for x in part] for part in (term.weights, term.biases))
    for b, h, i, j in itertools.product(range(B), range(H), range(T), range(T)):
        x = pair_logs()[b, i, j]
        for n, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            x = x @ (weight[h] if per_head else weight) + (bias[h] if per_head else bias)
            x = silu(x) if n < len(weights) - 1 else x
        out[b, h, i, j] = x[0] if per_head else x[h]
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


LOOP_MASK = np.array([[True, True, False, True, True], [True, False, False, True, False]])
LOG_WEIGHTS = np.log(np.linspace(0.5, 2.0, B * T).reshape(B, T))


@functools.cache
def outputs(terms):
    """Those of every way to combine and normalize, in one program."""
    term = {"content": None, "per_head": location(H)}.get(terms, location())

    @jax.jit
    def compute(q, k, v, g):
        q, k = (q, k) if terms in ("both", "content") else (None, None)
        options = {"key_mask": LOOP_MASK, "log_weights": LOG_WEIGHTS}
        return {
            (combine, normalize): attend(
                q, k, v, g, g, term, combine=combine, normalize=normalize, **options
            )
            for combine, normalize in itertools.product(COMBINE, NORMALIZE)
        }

    return compute(*inputs())


@pytest.mark.parametrize("normalize", NORMALIZE)
@pytest.mark.parametrize("combine", COMBINE)
@pytest.mark.parametrize("terms", ["both", "content", "trunk", "per_head"])
def test_agrees_with_a_loop(terms, combine, normalize):
    out = outputs(terms)[combine, normalize]
    arrays = inputs()[:3]
    for b in range(B):
        where = None if terms == "content" else loop_location(terms == "per_head")[b]
        expected = loop_attend(
            *(a[b] for a in arrays), terms in ("both", "content"), where, combine, normalize,
            LOOP_MASK[b], LOG_WEIGHTS[b],
        )  # fmt: skip
        np.testing.assert_allclose(out[b], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_without_jit_it_is_the_same():
    q, k, v, g = map(jnp.asarray, inputs())
    arguments, mask = (q, k, v, g, g, location()), jnp.asarray(MASK)
    eager = eager_attend(*arguments, key_mask=mask, query_mask=mask)
    jitted = attend(*arguments, key_mask=mask, query_mask=mask)
    np.testing.assert_allclose(eager, jitted, atol=1e-13)


def test_without_terms_it_is_the_weighted_mean():
    _, _, v, g = inputs()
    weights = np.linspace(0.2, 1.0, B * T).reshape(B, T)
    out = attend(None, None, v, g, g, log_weights=np.log(weights))
    expected = np.einsum("bk,bkhv->bhv", weights / weights.sum(1, keepdims=True), v)
    np.testing.assert_allclose(out, np.broadcast_to(expected[:, None], out.shape), atol=1e-13)


def test_combine_mlp_sees_content_then_location():
    q, k, v, g = inputs()
    term = location()
    weights = (jnp.asarray(np.tile([[1.0], [2.0]], (H, 1, 1))),)
    mlp = CombineMLP(weights, (jnp.asarray(np.full((H, 1), 0.5)),))

    @jax.jit
    def compute(q, k, v, g):
        return (
            attend(q, k, v, g, g, term, combine=mlp, normalize="mean"),
            attend(q, k, v, g, g, normalize="mean"),
            attend(None, None, v, g, g, term, normalize="mean"),
        )

    out, content, where = map(np.asarray, compute(q, k, v, g))
    np.testing.assert_allclose(out, content + 2 * where + 0.5 * v.mean(1)[:, None], atol=1e-12)


@pytest.mark.parametrize("normalize", NORMALIZE)
def test_splitting_a_key_into_two_of_half_weight_changes_nothing(normalize):
    q, k, v, g = inputs()
    double = lambda a: np.concatenate([a, a[:, -1:]], axis=1)
    halves = np.zeros((B, T + 1))
    halves[:, -2:] = -np.log(2.0)

    @jax.jit
    def compute(q, once, twice):
        def out(keys, log_weights=None):
            key, value, rows, columns = keys
            options = {"log_weights": log_weights, "normalize": normalize}
            return attend(q, key, value, rows, columns, location(), **options)

        return out(twice, halves), out(once), out(twice)

    split, whole, unweighted = compute(q, (k, v, g, g), (double(k), double(v), g, double(g)))
    np.testing.assert_allclose(split, whole, atol=1e-12)
    assert np.max(np.abs(unweighted - split)) > 1e-3  # the weights are what does it


@pytest.mark.parametrize("normalize", NORMALIZE)
def test_masked_keys_do_not_matter_and_masked_rows_are_zero(normalize):
    q, k, v, g = inputs()
    v[0, 2] = np.nan
    kept = np.flatnonzero(MASK[0])

    @jax.jit
    def compute(q, k, v, g):
        masks = {"key_mask": MASK, "query_mask": MASK}
        out = attend(q, k, v, g, g, location(), **masks, normalize=normalize)
        q, k, v, g = (a[:1, kept] for a in (q, k, v, g))
        return out, attend(q, k, v, g, g, location(), normalize=normalize)

    out, alone = map(np.asarray, compute(q, k, v, g))
    assert np.all(out[0, ~MASK[0]] == 0)
    assert np.all(out[1] == 0)
    np.testing.assert_allclose(out[:1, kept], alone, atol=1e-12)


def test_padding_of_nan_harms_no_gradient():
    q, k, v, g = inputs()
    spoil = lambda a: np.where(MASK.reshape(B, T, *(1,) * (a.ndim - 2)), a, np.nan)
    spoilt = [spoil(a) for a in (q, k, v, g)]

    def loss(arrays, term):
        q, k, v, g = arrays
        return attend(q, k, v, g, g, term, query_mask=MASK, key_mask=MASK).sum()

    run = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    value, grads = run(spoilt, location())
    clean, expected = run([q, k, v, g], location())
    assert np.isfinite(value)
    np.testing.assert_allclose(value, clean, atol=1e-12)
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_log_weight_of_nan_is_not_hidden():
    q, k, v, g = inputs()
    log_weights = np.zeros((B, T))
    log_weights[0, 1] = np.nan
    out = np.asarray(attend(q, k, v, g, g, log_weights=log_weights))
    assert np.all(np.isnan(out[0]))
    assert np.all(np.isfinite(out[1]))


@pytest.mark.parametrize("shape", [(0, T), (B, 0)])
@pytest.mark.parametrize("normalize", ["softmax", "mean"])
@pytest.mark.parametrize("heads", [None, H])
def test_no_examples_or_no_tokens(shape, normalize, heads):
    q, k, v, g = (a[: shape[0], : shape[1]] for a in inputs())
    assert attend(q, k, v, g, g, location(heads), normalize=normalize).shape == (*shape, H, V)


def test_log_weight_of_minus_infinity_is_a_mask():
    q, k, v, g = inputs()

    @jax.jit
    def compute(q, k, v, g):
        def by_weight(v):
            log_weights = jnp.where(MASK, 0.0, -jnp.inf)
            out = attend(q, k, v, g, g, location(), log_weights=log_weights)
            return out.sum(), out

        return *jax.grad(by_weight, has_aux=True)(v), attend(
            q, k, v, g, g, location(), key_mask=MASK
        )

    gradient, by_weight, by_mask = compute(q, k, v, g)
    np.testing.assert_array_equal(by_weight, by_mask)
    assert np.all(np.isfinite(gradient))


def test_all_elements_times_u_change_nothing_but_the_other_pair_does():
    """Negative control: g_j g_i⁻¹ instead of g_i⁻¹ g_j is not left-invariant."""
    q, k, v, g = inputs()
    u = draws.elements(SPACE.group, 4, B, 1)

    @jax.jit
    def compute(q, k, v, g, u):
        right = lambda g: attend(q, k, v, g, g, location())
        wrong = lambda g: right(SPACE.group.inverse(g))
        moved = SPACE.group.compose(u, g)
        return right(g), right(moved), wrong(g), wrong(moved)

    right, right_moved, wrong, wrong_moved = map(np.asarray, compute(q, k, v, g, u))
    assert np.max(np.abs(right_moved - right)) / np.std(right) < 1e-10
    assert np.max(np.abs(wrong_moved - wrong)) / np.std(right) > 1e-2


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_low_precision_keeps_geometry_and_softmax_in_float32(dtype):
    q, k, v, g = inputs()
    exact = np.asarray(attend(q, k, v, g, g, location()))
    g = g.astype(np.float32)
    out = attend(*(a.astype(dtype) for a in (q, k, v)), g, g, location())
    assert out.dtype == dtype
    bound = {jnp.float32: 2e-6, jnp.bfloat16: 0.02}[dtype]  # bfloat16 keeps 8 bits
    assert np.max(np.abs(np.asarray(out, float) - exact)) / np.std(exact) < bound


def test_radial_features_are_gaussians_of_the_distance():
    spec = PairFeatures(SPACE, "invariants", num_radial=3, cutoff=2.0)

    @jax.jit
    def compute(algebra):
        g = SPACE.group.exp(algebra)
        queries = TokenBlock(tuple(c[:, None] for c in g.T), ())
        keys = TokenBlock(tuple(c[None, :] for c in g.T), ())
        return g, spec(queries, keys)

    g, features = map(np.asarray, compute(np.array([[0.0, 0.0, 0.0], [0.3, 1.0, 0.0]])))
    distance = np.linalg.norm(g[1, 2:])
    expected = [distance, *(np.exp(-0.5 * (distance - c) ** 2) for c in (0.0, 1.0, 2.0))]
    np.testing.assert_allclose(features[:, 0, 1], expected, atol=1e-12)
    assert spec.size == 4


def test_a_distance_is_computed_once_for_all_radial_features():
    """One more of them costs its Gaussian, and not the distance of each pair as well."""
    points = TokenBlock(tuple(jnp.ones((3, 40))), ())
    queries, keys = (jax.tree.map(lambda x, at=at: x[at], points) for at in (np.s_[:, None], None))

    def cost(num_radial):
        features = PairFeatures(spaces.euclidean(groups.T(3)), None, num_radial=num_radial)
        return jax.jit(features).lower(queries, keys).compile().cost_analysis()["flops"]

    assert cost(40) - cost(8) < 10 * 32 * 40**2


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
    mlp = CombineMLP((jnp.asarray(np.ones((H, 2, 1))),), (jnp.asarray(np.zeros((H, 1))),))
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
            attend(q, k, v, g, g, **{name: np.ones((2, 1), bool)})
    for name in ("query_orbits", "key_orbits"):
        with pytest.raises(ValueError, match=rf"{name} must have leading shape \(2, 5\), got"):
            attend(q, k, v, g, g, **{name: np.ones((5, 1))})
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
        ({"value": np.ones((B, T, H, V), int)}, "value must be of a floating point type, got int"),
        ({"query": np.ones((B, T, H, C), int)}, "query must be of a floating point type, got int"),
        ({"value": np.ones((B, T, 0, V))}, "value must have heads and channels, got shape"),
        (
            {"location": lambda query, key: jnp.ones((1, B, H + 1, T, T))},
            "location must return features with shape .* got ",
        ),
        ({"key_mask": np.ones((B, T))}, "key_mask must be boolean, got float"),
        ({"query_elements": np.ones((B, T, 3))}, "query_elements must have shape"),
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

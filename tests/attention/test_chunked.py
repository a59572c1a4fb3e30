"""The chunked back end, in every regime, and the folded one: equal to the dense one.

Chunked memory is linear in the tokens.
"""

import dataclasses
import functools
import itertools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn import groups, spaces
from eqattn.attention import (
    BernsteinBasis,
    CombineMLP,
    DotProduct,
    FourierBasis,
    LinearConcat,
    NearestNeighbors,
    Neighborhood,
    PairFeatures,
    PairMLP,
    RawPairs,
    RelativePosition,
    attend,
    find_neighbors,
)
from eqattn.attention.api import pick_implementation
from eqattn.attention.backends import dense
from eqattn.attention.backends.chunked import Chunked
from eqattn.attention.backends.dense import Dense
from eqattn.attention.backends.folded import Folded
from eqattn.attention.backends.sizes import ACCELERATOR, BY_DEVICE, CPU
from eqattn.lift import Haar, lift
from tests import draws
from tests.compiled import compiled
from tests.grids import each_once, some

SPACE = spaces.euclidean(groups.SE(2))
B, T, K, H, C, V = 3, 7, 9, 2, 3, 4
EMBEDDING, LOG = (PairFeatures(SPACE, kind) for kind in ("embedding", "log"))
INVARIANTS = PairFeatures(SPACE, "invariants", num_radial=3)


# Sizes with which a few tokens make several tiles and slices, the last of them partly filled.
FEW = CPU._replace(
    slice_pairs=10, near_pairs=20, block=4, small_pairs=0, medium_bytes=0, kept_bytes=0
)
REGIMES = {
    "large": FEW,
    "kept": FEW._replace(kept_bytes=2**25),
    "medium": FEW._replace(medium_bytes=2**25, kept_bytes=2**25),
    "small": FEW._replace(slice_pairs=T * K, small_pairs=2**14, kept_bytes=2**12),
    "near": FEW,
    "folded": None,  # another back end
}


def back_end(regime):
    return "folded" if regime == "folded" else Chunked(REGIMES[regime])


@pytest.fixture(params=some(REGIMES, "large", "folded"))
def regime(request):
    return request.param


def pair_mlp(features, outputs, num_heads=None):
    return PairMLP(*draws.mlp(8, (features.size, 5, outputs), num_heads), features)


def position():
    shapes = (EMBEDDING.size, H, C), (H, C), (H, C), (H, C)
    arrays = (jnp.asarray(draws.normal(seed, *shape)) for seed, shape in enumerate(shapes))
    return RelativePosition(*arrays, EMBEDDING)


def mlp_of(num_features):
    return CombineMLP(*draws.mlp(9, (num_features, 4, 1), H))


def fourier():
    frequencies = jnp.asarray(draws.normal(10, EMBEDDING.size, 3))
    return FourierBasis(frequencies, jnp.asarray(np.arange(3.0)), EMBEDDING)


TERMS = {
    "content alone": {},
    "shared trunk": {"location": pair_mlp(LOG, H)},
    "per head": {"location": pair_mlp(EMBEDDING, 1, H), "combine": "product"},
    "radial": {"location": pair_mlp(INVARIANTS, H)},
    "MLP of logits": {
        "content": LinearConcat(),
        "location": RawPairs(EMBEDDING),
        "combine": mlp_of(2 * C + EMBEDDING.size),
    },
    "relative position": {"content": position()},
    "attentive convolution": {"location": pair_mlp(LOG, H), "basis": fourier()},
    "LieConv": {"basis": BernsteinBasis(SPACE, 2, 3.0), "no_content": True},
}


def arrays(dtype=np.float64):
    """Query, key and value of that type, and elements of float32 or wider."""
    shapes = (B, T, H, C), (B, K, H, C), (B, K, H, V)
    features = [draws.normal(seed, *shape).astype(dtype) for seed, shape in enumerate(shapes)]
    wide = jnp.promote_types(dtype, jnp.float32)
    rows, columns = (draws.elements(SPACE.group, n, B, n).astype(wide) for n in (T, K))
    return *features, rows, columns


def neighborhood():
    """Keys drawn for each query; some are none."""
    random = np.random.default_rng(6)
    indices = random.integers(0, K, (B, T, 4))
    weights = random.uniform(0.1, 1.0, (B, T, 4))
    mask = weights > 0.3
    mask[1, 2] = False
    fields = indices, mask, weights, np.zeros((B, T), bool)
    return Neighborhood(*map(jnp.asarray, fields), K)


def call(implementation, regime, differentiable, options):
    """Attention with masks and weights; two examples have masked tokens, one has no valid key."""
    return compiled(masked)(implementation, regime, differentiable, options)


def masked(implementation, regime, differentiable, options):
    (query, key, value, rows, columns), terms = differentiable
    if options.get("no_content"):
        query = key = None
    options = {k: v for k, v in options.items() if k != "no_content"}
    query_mask, key_mask = np.ones((B, T), bool), np.ones((B, K), bool)
    query_mask[2, -1] = key_mask[0, 3:6] = key_mask[1] = False
    log_weights = np.linspace(-1.0, 1.0, B * K).reshape(B, K)
    log_weights[2, 0] = -np.inf
    return attend(
        query, key, value, rows, columns,
        neighborhood=neighborhood() if regime == "near" else None,
        query_mask=jnp.asarray(query_mask),
        key_mask=jnp.asarray(key_mask),
        log_weights=jnp.asarray(log_weights),
        implementation=implementation,
        **{**options, **terms},
    )  # fmt: skip


@compiled
def each(implementations, *arguments, **options):
    """Attention by each of the back ends, in one program."""
    return [attend(*arguments, **options, implementation=i) for i in implementations]


def derivatives(implementation, regime, options):
    """The result, and gradient and Hessian-vector product of a loss of it, by everything."""
    terms = {k: options[k] for k in ("location", "basis", "content") if k in options}
    rest = {k: v for k, v in options.items() if k not in terms}
    weights = draws.normal(11, B, T, H, 1)

    def loss(differentiable):
        out = masked(implementation, regime, differentiable, rest)
        return jnp.sum(jnp.sin(out) * weights), out

    def cosines(x):
        return jnp.asarray(np.cos(np.arange(x.size)).reshape(x.shape))

    @jax.jit
    def compute(point):
        direction = jax.tree.map(cosines, point)
        gradient = jax.grad(loss, has_aux=True)
        (first, out), (second, _) = jax.jvp(gradient, (point,), (direction,))
        return out, first, second

    return compute((arrays(), terms))


def assert_close(actual, expected, tolerance):
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        scale = float(np.max(np.abs(b), initial=1.0))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale)


@functools.cache
def reference(name, normalize, is_near):
    options = {**TERMS[name], "normalize": normalize}
    return derivatives("dense", "near" if is_near else "large", options)


FAST = {
    # The regimes have the same tiles, and differ in what is kept of them.
    ("shared trunk", "softmax", "large"),
    ("content alone", "softmax", "kept"),
    # Tiles of neighborhoods are dense themselves, whatever the terms.
    ("content alone", "softmax", "near"),
    ("MLP of logits", "softmax", "folded"),
    ("LieConv", "exponential_mean", "large"),
}
CASES = [
    pytest.param(*case, marks=() if case in FAST else pytest.mark.slow)
    for case in itertools.product(TERMS, ("softmax", "mean", "exponential_mean"), REGIMES)
    if not (case[0] == "LieConv" and case[1] == "mean")  # weights without a term would all be 0
]


@pytest.mark.parametrize(("name", "normalize", "regime"), CASES, indirect=["regime"])
def test_values_and_derivatives_equal_those_of_dense(name, normalize, regime):
    options = {**TERMS[name], "normalize": normalize}
    actual = derivatives(back_end(regime), regime, options)
    expected = reference(name, normalize, regime == "near")
    assert np.std(expected[0]) > 1e-2
    assert_close(actual, expected, 1e-10)


def test_a_lost_key_is_noticed(regime, monkeypatch):
    """Negative control: the comparison above sees that one key of each tile is left out."""
    weighted_values, normalize_logits = dense.weighted_values, dense.normalize_logits
    expected = call("dense", regime, (arrays(), {}), TERMS["shared trunk"])
    monkeypatch.setattr(
        dense,
        "weighted_values",
        lambda weights, *rest: weighted_values(weights.at[..., 0].set(0.0), *rest),
    )
    monkeypatch.setattr(
        dense,
        "normalize_logits",
        lambda *rest, **axis: normalize_logits(*rest, **axis).at[:, :, 0].set(0.0),
    )
    actual = call(back_end(regime), regime, (arrays(), {}), TERMS["shared trunk"])
    assert np.max(np.abs(actual - expected)) > 1e-3


BOUNDS = {"float32": 5e-6, "bfloat16": 2e-2}


@pytest.mark.parametrize(
    ("dtype", "regime"), each_once(list(BOUNDS), ["folded", "large"]), indirect=["regime"]
)
def test_low_precision(dtype, regime):
    dtype, tolerance = jnp.dtype(dtype), BOUNDS[dtype]
    options = TERMS["shared trunk"]
    actual = call(back_end(regime), regime, (arrays(dtype), {}), options)
    expected = call("dense", regime, (arrays(), {}), options)
    assert actual.dtype == dtype
    error = np.max(np.abs(np.asarray(actual, float) - expected)) / np.std(expected)
    assert error < tolerance


@pytest.mark.parametrize(
    ("narrow", "regime"),
    each_once(["features", "elements"], ["large", "folded"]),
    indirect=["regime"],
)
def test_features_and_elements_of_different_types(narrow, regime):
    features, elements = arrays()[:3], arrays()[3:]
    if narrow == "features":
        features = [x.astype(jnp.float32) for x in features]
    else:
        elements = [x.astype(jnp.float32) for x in elements]
    point = (*features, *elements), {}
    actual = call(back_end(regime), regime, point, TERMS["shared trunk"])
    expected = call("dense", regime, point, TERMS["shared trunk"])
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, atol=3e-6)


def test_logits_far_apart_stay_finite(regime):
    """Sums of tiles are in units of their largest exponent, whichever tile comes first."""
    query, key, value, *elements = arrays()
    key = key * np.where(np.arange(K) % 5 == 4, 400.0, -300.0)[:, None, None]

    def loss(point):
        out = masked(back_end(regime), regime, (point, {}), {})
        return out.sum(), out

    @jax.jit
    def compute(point):
        gradient, out = jax.grad(loss, has_aux=True)(point)
        return gradient, out, masked("dense", regime, (point, {}), {})

    gradient, actual, expected = compute((query, key, value, *elements))
    np.testing.assert_allclose(actual, expected, atol=1e-12)
    chex.assert_tree_all_finite(gradient)


@pytest.mark.parametrize(
    ("regime", "batch"),
    each_once(["large", "near", "folded", "small"], [(), (2, 3), (0,)]),
    indirect=["regime"],
)
def test_any_batch(batch, regime):
    num = math.prod(batch)
    near = neighborhood() if regime == "near" else None

    def examples(x):
        return np.concatenate([x, x[::-1]])[:num].reshape(*batch, *x.shape[1:])

    inputs = [examples(x) for x in arrays()]
    near = jax.tree.map(lambda x: jnp.asarray(examples(x)), near)
    out = each((back_end(regime), "dense"), *inputs, pair_mlp(LOG, H), neighborhood=near)
    assert out[0].shape == (*batch, T, H, V)
    np.testing.assert_allclose(*out, atol=1e-12)


@pytest.mark.parametrize(
    ("sizes", "regime"),
    each_once([(0, K), (T, 0), (2, K), (T, 2)], ["large", "folded"]),
    indirect=["regime"],
)
def test_few_or_no_tokens(sizes, regime):
    query, key, value, rows, columns = arrays()
    rows, columns = rows[:, : sizes[0]], columns[:, : sizes[1]]
    features = query[:, : sizes[0]], key[:, : sizes[1]], value[:, : sizes[1]]
    out = each((back_end(regime), "dense"), *features, rows, columns, pair_mlp(LOG, H))
    np.testing.assert_allclose(*out, atol=1e-12)


def test_the_rule_of_back_ends():
    limit = CPU.dense_numbers
    assert pick_implementation(limit, 1, "cpu") == "dense"
    assert pick_implementation(limit + 1, 1, "cpu") == "chunked"
    assert pick_implementation(limit // 8 + 1, 8, "cpu") == "chunked"
    assert pick_implementation(limit + 1, 1, "gpu") == "dense"
    assert pick_implementation(ACCELERATOR.dense_numbers + 1, 1, "rocm") == "chunked"
    wide = CPU.wide_numbers // CPU.wide_pair
    assert pick_implementation(wide, CPU.wide_pair, "cpu") == "dense"
    assert pick_implementation(wide + 1, CPU.wide_pair, "cpu") == "chunked"
    assert pick_implementation(wide + 1, CPU.wide_pair, "gpu") == "dense"
    assert pick_implementation(wide + 1, CPU.wide_pair - 1, "cpu") == "dense"
    small = {"num_examples": 8, "example_pairs": 144}
    assert pick_implementation(limit, 1, "cpu", **small) == "folded"
    assert pick_implementation(limit // CPU.wide_pair, CPU.wide_pair, "cpu", **small) == "folded"
    assert pick_implementation(limit, 1, "gpu", **small) == "dense"
    assert pick_implementation(limit + 1, 1, "cpu", **small) == "chunked"
    for change in ({"num_examples": 7}, {"example_pairs": 145}):
        assert pick_implementation(limit, 1, "cpu", **{**small, **change}) == "dense"


def test_implementation_none_follows_the_rule(monkeypatch):
    seen = []
    for kind in (Chunked, Dense, Folded):

        def recorded(*arguments, name=kind.name, attend=kind.attend):
            seen.append(name)
            return attend(*arguments)

        monkeypatch.setattr(kind, "attend", recorded)
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setitem(BY_DEVICE, "cpu", CPU._replace(dense_numbers=5 * 3 * 64))
    x, g = np.ones((1, 64, 1, 1)), np.ones((1, 64, 4))
    term = pair_mlp(EMBEDDING, 1)
    assert (term.width, pair_mlp(EMBEDDING, 1, H).width) == (5, 5 * H)
    trace = functools.partial(jax.eval_shape, attend)
    trace(x[:, :3], x, x, g[:, :3], g, term)
    trace(x[:, :4], x, x, g[:, :4], g)  # one number for each pair
    trace(x[:, :4], x, x, g[:, :4], g, term)
    assert seen == ["dense", "dense", "chunked"]
    seen.clear()
    x, g = x.reshape(8, 8, 1, 1), g.reshape(8, 8, -1)
    trace(x, x, x, g, g)
    fields = np.zeros((8, 8, 1), int), np.ones((8, 8, 1), bool), np.ones((8, 8, 1))
    whole = Neighborhood(*map(jnp.asarray, (*fields, np.zeros((8, 8), bool))), 8)
    trace(x, x, x, g, g, neighborhood=whole)
    concat = LinearConcat(jnp.asarray(np.ones((2, 1))))
    jax.eval_shape(lambda *inputs: attend(*inputs, content=concat), x, x, x, g, g)
    assert seen == ["folded", "dense", "dense"]


class DoubledDotProduct(DotProduct):
    def __call__(self, *arguments):
        return 2.0 * super().__call__(*arguments)


def test_none_folds_no_terms_of_others(monkeypatch):
    """Which may expect the axes of the batch."""
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    inputs = [np.concatenate([x] * 3) for x in arrays()]
    heads = np.linspace(0.1, 1.0, H)[:, None, None]
    per_key = np.linspace(0.0, 1.0, 3 * B * K).reshape(3 * B, 1, 1, K)
    options = (
        {"content": DoubledDotProduct()},
        {"location": lambda q, k: jnp.broadcast_to(heads, (1, 1, H, 1, 1))},
        {"basis": lambda q, k: jnp.asarray(per_key[None])},
        {"location": RawPairs(INVARIANTS), "content": LinearConcat(),
         "combine": lambda a, b: jnp.einsum("fbhtk,gbhtk->bhtk", a, b) + per_key},
    )  # fmt: skip

    @jax.jit
    def compute(inputs):
        return [[attend(*inputs, **o, implementation=i) for i in (None, "dense")] for o in options]

    for out, expected in compute(inputs):
        np.testing.assert_allclose(out, expected, atol=1e-12)


def test_folded_content_and_functions_of_both_terms_are_those_of_dense():
    def combine(content, location):
        assert content.shape == (2 * C, B, H, T, K)
        return jnp.mean(content, 0) * jnp.mean(location, 0) + np.arange(B)[:, None, None, None]

    def of_heads(*_):
        return jnp.asarray(np.linspace(0.0, 1.0, H * K).reshape(1, 1, H, 1, K))

    raw = RawPairs(EMBEDDING)
    options = (
        {"content": DoubledDotProduct()},
        {"content": of_heads, "location": pair_mlp(LOG, H)},
        {"content": LinearConcat(), "location": raw, "combine": combine},
    )

    @jax.jit
    def compute(inputs):
        back_ends = "folded", "dense"
        return [[attend(*inputs, **o, implementation=i) for i in back_ends] for o in options]

    for out in compute(arrays()):
        np.testing.assert_allclose(*out, atol=1e-12)
    for options, message in (
        ({"content": lambda *a: jnp.ones((1, B, T, H, K))}, "content must return features"),
        ({"location": lambda *a: jnp.ones((1, B, 1, 1, 1))}, "location must return features"),
    ):
        with pytest.raises(ValueError, match=message):
            each(["folded"], *arrays(), **options)
    with pytest.raises(ValueError, match="combine must be one of"):
        each(["folded"], None, None, *arrays()[2:], combine="nonsense")


def test_folded_neighborhoods_are_those_of_dense():
    """Functions of both terms see examples in front, also where each query has its own keys."""

    def combine(content, location):
        return jnp.mean(content, 0) * jnp.mean(location, 0) + np.arange(B)[:, None, None, None]

    raw = RawPairs(EMBEDDING)
    options = [
        *(TERMS[name] for name in ("shared trunk", "relative position", "attentive convolution")),
        {"content": LinearConcat(), "location": raw, "combine": combine, "normalize": "mean"},
    ]
    for terms in options:
        found, expected = (call(end, "near", (arrays(), {}), terms) for end in ("folded", "dense"))
        np.testing.assert_allclose(found, expected, atol=1e-12)


def temporary_bytes(num_tokens, implementation):
    """Of forward and backward, by the compiler; nothing runs."""
    space = spaces.euclidean(groups.T(3))
    features = PairFeatures(space, "log")
    mlp = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, jnp.float32),
        draws.mlp(0, (features.size, 16, 16, 8)),
    )
    tokens = jax.ShapeDtypeStruct((1, num_tokens, 8, 16), jnp.float32)
    elements = jax.ShapeDtypeStruct((1, num_tokens, 3), jnp.float32)

    def loss(mlp, query, key, value, elements):
        term = PairMLP(*mlp, features)
        out = attend(query, key, value, elements, elements, term, implementation=implementation)
        return jnp.sum(out**2)

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3)))
    program = gradient.lower(mlp, tokens, tokens, tokens, elements).compile()
    return program.memory_analysis().temp_size_in_bytes


def test_memory_is_linear_in_the_tokens():
    sizes = 2_048, 16_384

    def of_few_and_many(implementation):
        return [temporary_bytes(n, implementation) for n in sizes]

    def exponent(few, many):
        return math.log(many / few) / math.log(sizes[1] / sizes[0])

    chunked_bytes = of_few_and_many("chunked")
    assert exponent(*chunked_bytes) <= 1.1
    assert exponent(*of_few_and_many("dense")) > 1.9  # negative control
    assert chunked_bytes[1] < 1e9


def test_a_second_call_compiles_nothing(regime):
    @jax.jit
    @chex.assert_max_traces(n=1)
    def compute(point):
        return masked(back_end(regime), regime, (point, {}), TERMS["shared trunk"])

    for scale in (1.0, 2.0):
        query, *rest = arrays()
        compute((scale * query, *rest))


@pytest.mark.parametrize("content", [True, False])
def test_elements_without_components(content, regime):
    """Those of the trivial group, whose tokens may have nothing to them but their number."""
    query, key, value, *_ = arrays()
    features = (query, key, value) if content else (None, None, value)
    near = neighborhood() if regime == "near" else None
    elements = np.zeros((B, T, 0)), np.zeros((B, K, 0))
    out = each((back_end(regime), "dense"), *features, *elements, neighborhood=near)
    np.testing.assert_allclose(*out, atol=1e-12)


def test_neighbors_that_are_masked_or_of_a_narrow_type():
    """Indices of masked neighbors mean nothing; those of all examples exceed 127."""
    repeated = lambda x: jnp.asarray(np.tile(x, (8, *(1,) * (x.ndim - 1))))
    near = jax.tree.map(repeated, neighborhood())
    narrow = np.where(near.mask, near.indices, 100).astype(np.int8)
    changed = dataclasses.replace(near, indices=jnp.asarray(narrow))

    @compiled
    def compute(inputs, term, near, changed):
        calls = (near, "dense"), (changed, "chunked"), (changed, "dense")
        return [attend(*inputs, term, neighborhood=n, implementation=i) for n, i in calls]

    out = compute([repeated(x) for x in arrays()], pair_mlp(LOG, H), near, changed)
    assert np.std(out[0]) > 1e-2
    np.testing.assert_allclose(out[1], out[0], atol=1e-12)
    np.testing.assert_allclose(out[2], out[0], atol=1e-12)


@pytest.mark.parametrize(
    "term",
    [
        lambda query, key: key.elements[0][None, ..., None, :, :],
        lambda query, key: query.elements[0][None, ..., None, :, :],
        lambda query, key: jnp.ones((1,) * (query.elements[0].ndim + 2)),
    ],
    ids=["of keys", "of queries", "constant"],
)
def test_terms_that_are_the_same_for_some_pairs(term, regime):
    near = neighborhood() if regime == "near" else None
    out = each((back_end(regime), "dense"), *arrays(), term, basis=term, neighborhood=near)
    np.testing.assert_allclose(*out, atol=1e-12)


def test_neighborhoods_of_orbits_alone():
    """Elements of the trivial group do not tell whether each query has keys of its own."""
    space = spaces.euclidean(groups.Trivial(2))
    features = PairFeatures(space, "invariants")
    query, key, value, *_ = arrays()
    elements = np.zeros((B, T, 0)), np.zeros((B, K, 0))
    fields = np.tile(np.arange(K), (B, T, 1)), np.ones((B, T, K), bool), np.ones((B, T, K))
    whole = Neighborhood(*map(jnp.asarray, (*fields, np.zeros((B, T), bool))), K)
    term = pair_mlp(features, H)

    @compiled
    def compute(*inputs):
        orbits = {"query_orbits": draws.normal(4, B, T, 2), "key_orbits": draws.normal(5, B, K, 2)}
        orbits = {name: jnp.asarray(array) for name, array in orbits.items()}
        calls = ("dense", None), ("dense", whole), ("chunked", whole)
        return [
            attend(*inputs, term, **orbits, neighborhood=near, implementation=i)
            for i, near in calls
        ]

    out = compute(query, key, value, *elements)
    assert np.std(out[0]) > 1e-2
    np.testing.assert_allclose(out[1], out[0], atol=1e-12)
    np.testing.assert_allclose(out[2], out[0], atol=1e-12)


@pytest.mark.slow
def test_neighborhoods_of_a_lift():
    """Tokens found by the geometry, not drawn."""

    @jax.jit
    def compute(points, x):
        lifted = lift(SPACE, points, points, key=jax.random.key(1), lift=Haar(2))
        found = find_neighbors(SPACE, lifted, NearestNeighbors(5))
        elements = lifted.elements.reshape(2, 80, -1)
        calls = ("dense", found), ("chunked", found), ("chunked", None)
        return [
            attend(x, x, x, elements, elements, pair_mlp(LOG, H), neighborhood=near,
                   implementation=implementation)
            for implementation, near in calls
        ]  # fmt: skip

    expected, actual, of_all = compute(draws.normal(0, 2, 40, 2), draws.normal(2, 2, 80, H, C))
    np.testing.assert_allclose(actual, expected, atol=1e-12)
    assert np.max(np.abs(actual - of_all)) > 1e-3

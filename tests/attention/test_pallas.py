"""The Pallas back end, interpreted: equal to the dense one; its kernels lower for accelerators."""

import contextlib
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn import groups, spaces
from eqattn.attention import (
    BernsteinBasis,
    LinearConcat,
    Neighborhood,
    PairFeatures,
    PairMLP,
    RawPairs,
    attend,
)
from eqattn.attention.backends import sizes
from eqattn.attention.backends.pallas import attention, fitting
from tests import draws
from tests.compiled import compiled
from tests.grids import some, some_rows
from tests.tolerances import NEGATIVE_CONTROL, tolerance

B, T, K, C, V = 2, 19, 35, 5, 3
"""Two tiles of queries and two of keys, the last of each partly filled."""
SE2, SE3 = (spaces.euclidean(groups.SE(n)) for n in (2, 3))
T3 = spaces.euclidean(groups.T(3))


def location(space, coordinates, num_heads, per_head=False, layers=3, dtype=jnp.float64, **options):
    radial = options.pop("num_radial", 0)
    features = PairFeatures(space, coordinates, radial, 2.0)
    sizes = (features.size, *(6,) * (layers - 1), 1 if per_head else num_heads)
    mlp = draws.mlp(8, sizes, num_heads if per_head else None)
    weights, biases = (tuple(jnp.asarray(np.asarray(x, dtype)) for x in part) for part in mlp)
    return PairMLP(weights, biases, features, **options)


def arrays(space, num_heads, dtype=jnp.float64):
    """Features of a type; elements and orbit invariants of float32 or wider, and log-weights."""
    shapes = {"query": (B, T), "key": (B, K), "value": (B, K)}
    out = {
        name: draws.normal(seed, *shape, num_heads, V if name == "value" else C).astype(dtype)
        for seed, (name, shape) in enumerate(shapes.items())
    }
    wide = jnp.promote_types(dtype, jnp.float32)
    for name, size in (("query", T), ("key", K)):
        out[f"{name}_elements"] = draws.elements(space.group, size, B, size).astype(wide)
        if space.num_orbit_invariants:
            orbits = np.random.default_rng(size).uniform(size=(B, size, space.num_orbit_invariants))
            out[f"{name}_orbits"] = orbits.astype(wide)
    out["log_weights"] = np.linspace(-1.0, 1.0, B * K, dtype=wide).reshape(B, K)
    return out


KEY_MASK, QUERY_MASK = np.ones((B, K), bool), np.ones((B, T), bool)
KEY_MASK[0, 3:6] = QUERY_MASK[1, -2:] = False


@compiled
def by_both(*arguments, **options):
    """Attention of the Pallas and of the dense back end, in one program."""
    return [attend(*arguments, **options, implementation=i) for i in ("pallas", "dense")]


def derivatives(implementation, differentiable, **options):
    """The result, and the gradient of a loss of it by everything."""

    def loss(differentiable):
        out = attend(
            **differentiable,
            key_mask=jnp.asarray(KEY_MASK),
            query_mask=jnp.asarray(QUERY_MASK),
            implementation=implementation,
            **options,
        )
        wide = out.astype(jnp.promote_types(out.dtype, jnp.float32))
        return jnp.sum(jnp.sin(wide) * (1.0 + np.arange(V))), out

    (_, out), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(differentiable)
    return out, gradient


def assert_close(actual, expected, bound):
    """Leaf by leaf: |error| / max(1, |values|)."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        scale = float(np.max(np.abs(b), initial=1.0))
        np.testing.assert_allclose(a, b, rtol=0.0, atol=bound * scale)


CASES = {
    "content alone": (SE2, 2, None),
    "T(3), a shared trunk": (T3, 2, {"coordinates": "log"}),
    "SE(3), for each head": (SE3, 2, {"coordinates": "log", "per_head": True, "layers": 2}),
    "SE(2), linear": (SE2, 2, {"coordinates": "embedding", "layers": 1, "num_radial": 3}),
    "SO(3), orbits": (
        spaces.euclidean(groups.SO(3)),
        1,
        {"coordinates": "embedding", "layers": 2, "activation": "gelu", "final_activation": True},
    ),
    "R3xS2, invariants, no content": (
        spaces.position_orientation(groups.SE(3)),
        1,
        {"coordinates": "invariants", "layers": 2, "activation": "softplus"},
    ),
    "T(3), for each head": (T3, 2, {"coordinates": "log", "per_head": True, "layers": 2}),
}


def case(name, dtype=jnp.float64):
    space, num_heads, options = CASES[name]
    out = arrays(space, num_heads, dtype)
    if options is not None:
        wide = jnp.promote_types(dtype, jnp.float32)
        out["location"] = location(space, num_heads=num_heads, dtype=wide, **options)
    if "no content" in name:
        out |= {"query": None, "key": None}
    return out


COMPARED = ("T(3), for each head", "content alone", *list(CASES)[1:3], "SO(3), orbits")


@pytest.mark.parametrize("name", some(COMPARED, *COMPARED[:2], "T(3), a shared trunk"))
def test_values_and_gradients_equal_those_of_dense(name):
    inputs = case(name)
    expected = derivatives("dense", inputs)
    assert np.std(expected[0]) > 1e-2
    assert_close(derivatives("pallas", inputs), expected, tolerance(jnp.float64))


@pytest.mark.parametrize("name", ["R3xS2, invariants, no content", "SO(3), orbits"])
def test_values_from_invariants_equal_those_of_dense(name):
    inputs = case(name)
    out = by_both(**inputs)
    np.testing.assert_allclose(*out, atol=tolerance(jnp.float64))


def test_float32():
    """Gradients are sums over all pairs, of which each adds its rounding: 10 times the bound."""
    inputs = case("SE(2), linear", jnp.float32)
    expected = derivatives("dense", inputs)
    assert_close(derivatives("pallas", inputs), expected, 10 * tolerance(jnp.float32))


def test_bfloat16():
    """Features are rounded; geometry and softmax are not."""
    inputs = case("T(3), a shared trunk", jnp.bfloat16)
    actual = compiled(attend)(**inputs, implementation="pallas")
    wide = {**inputs, **{n: inputs[n].astype(float) for n in ("query", "key", "value")}}
    expected = np.asarray(compiled(attend)(**wide, implementation="dense"))
    assert actual.dtype == jnp.bfloat16
    error = np.max(np.abs(np.asarray(actual, float) - expected)) / np.std(expected)
    assert error < 2e-2


def test_masked_tokens_may_hold_anything_and_rows_without_keys_are_zero():
    inputs = case("T(3), a shared trunk")
    key_mask = KEY_MASK.copy()
    key_mask[1] = False
    bad = {name: x.copy() for name, x in inputs.items() if name != "location"}
    for name in ("key", "value", "key_elements"):
        bad[name][0, 3] = np.nan
    bad["query_elements"][1, -1] = np.nan
    # A weight of zero is a mask too; the first example has one valid key in its second tile.
    log_weights = bad["log_weights"]
    log_weights[0, 33:] = -np.inf
    bad["location"] = inputs["location"]

    @jax.jit
    def compute(bad, good):
        def loss(inputs, implementation="pallas"):
            masks = {"query_mask": jnp.asarray(QUERY_MASK), "key_mask": jnp.asarray(key_mask)}
            rest = {**inputs, "log_weights": jnp.asarray(log_weights)}
            out = attend(**rest, **masks, implementation=implementation)
            return jnp.sum(out**2), out

        return jax.grad(loss, has_aux=True)(bad), loss(good, "dense")[1]

    (gradient, out), expected = compute(bad, inputs)
    out = np.asarray(out)
    assert np.all(out[1] == 0)
    assert np.std(out[0]) > 1e-2
    chex.assert_tree_all_finite(jax.tree.leaves(gradient))
    np.testing.assert_allclose(out, expected, atol=1e-12)


def test_second_derivatives_are_those_of_dense():
    inputs = case("T(3), a shared trunk")
    fixed = {n: inputs.pop(n) for n in ("location", "log_weights", "query", "key")}
    fixed = jax.tree.map(jnp.asarray, fixed)

    def curvature(implementation):
        def energy(inputs):
            return jnp.sum(attend(**inputs, **fixed, implementation=implementation) ** 2)

        def force_loss(inputs):
            return sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(jax.grad(energy)(inputs)))

        return jax.jit(jax.grad(force_loss))(inputs)

    assert_close(curvature("pallas"), curvature("dense"), tolerance(jnp.float64))


def test_forward_mode_raises():
    inputs = jax.tree.map(jnp.asarray, case("content alone"))
    value = inputs.pop("value")
    with pytest.raises(TypeError, match="custom_vjp"):
        jax.jvp(lambda x: attend(value=x, **inputs, implementation="pallas"), (value,), (value,))


def test_moving_all_elements_changes_nothing():
    """Exact equivariance of the regular representation: the pairs g_i⁻¹ g_j stay as they are."""
    inputs = case("SE(3), for each head")
    names = "query_elements", "key_elements"

    @jax.jit
    def compute(inputs):
        move = SE3.group.sample_bounded(jax.random.key(9), (), jnp.float64)
        moved = {n: SE3.group.compose(move, inputs[n]) for n in names}
        wrong = {n: SE3.group.compose(inputs[n], move) for n in names}
        run = jax.jit(functools.partial(attend, implementation="pallas"))
        return [run(**{**inputs, **elements}) for elements in ({}, moved, wrong)]

    out, of_moved, of_wrong = map(np.asarray, compute(inputs))
    np.testing.assert_allclose(of_moved, out, atol=tolerance(jnp.float64))
    error = np.max(np.abs(of_wrong - out)) / np.std(out)
    assert error > NEGATIVE_CONTROL


def test_an_mlp_of_one_head_serves_all():
    inputs = case("content alone")
    term = location(T3, "log", 1, per_head=True, layers=2)
    inputs["query_elements"] = np.ones((B, T, 3))
    inputs["key_elements"] = np.ones((B, K, 3)) * np.arange(K)[:, None]
    out = by_both(**inputs, location=term)
    np.testing.assert_allclose(*out, atol=tolerance(jnp.float64))


@pytest.mark.parametrize(("batch", "queries", "keys"), [((), 3, 2), ((1, 2), 1, K), ((2,), 0, 3)])
def test_any_batch_and_number_of_tokens(batch, queries, keys):
    size = int(np.prod(batch))
    x = draws.normal(0, size, K, 1, C).reshape(*batch, K, 1, C)
    g = np.zeros((*batch, K, 0))
    inputs = x[..., :queries, :, :], x[..., :keys, :, :], x[..., :keys, :, :]
    elements = g[..., :queries, :], g[..., :keys, :]
    out = by_both(*inputs, *elements)
    assert out[0].shape == (*batch, queries, 1, C)
    np.testing.assert_allclose(*out, atol=tolerance(jnp.float64))


EMBEDDING = PairFeatures(SE2, "embedding")
UNSUPPORTED = {
    "content LinearConcat": {
        "content": LinearConcat(jnp.ones((2 * C, 1)), jnp.ones(1)),
    },
    "location RawPairs": {"location": RawPairs(PairFeatures(SE2, None, 2)), "combine": "sum"},
    "basis BernsteinBasis": {"basis": BernsteinBasis(SE2, 2)},
    "neighborhood Neighborhood": {
        "neighborhood": Neighborhood(
            jnp.zeros((B, T, 1), int),
            jnp.ones((B, T, 1), bool),
            jnp.ones((B, T, 1)),
            jnp.zeros((B, T), bool),
            K,
        )
    },
    "combine 'product'": {"combine": "product"},
    "normalize 'mean'": {"normalize": "mean"},
    "query NoneType": {"query": None, "key": None},
}


@pytest.mark.parametrize("what", UNSUPPORTED)
def test_what_is_not_supported_says_so(what):
    inputs = {**arrays(SE2, 2), **UNSUPPORTED[what]}
    if "RawPairs" in what:
        inputs["location"] = RawPairs(PairFeatures(spaces.euclidean(groups.T(1)), "log"))
        inputs |= {n: inputs[n][..., :1] for n in ("query_elements", "key_elements")}
    match = f"does not support {what}; use implementation='chunked'"
    with pytest.raises(NotImplementedError, match=match):
        compiled(attend)(**inputs, implementation="pallas")


def test_terms_that_do_not_fit_raise_as_everywhere():
    inputs = arrays(SE2, 2)
    with pytest.raises(ValueError, match="needs a location term of one feature, got 3"):
        compiled(attend)(
            **inputs,
            location=PairMLP(*draws.mlp(8, (EMBEDDING.size, 3), 2), EMBEDDING),
            implementation="pallas",
        )


def test_float64_is_for_the_interpreter(monkeypatch):
    monkeypatch.setattr(attention, "_target", lambda: "gpu")
    with pytest.raises(NotImplementedError, match="float64 on a GPU; use implementation='chunked'"):
        compiled(attend)(**arrays(SE2, 2), implementation="pallas")


def on_an_h100():
    """Since jax 0.11, lowering for a GPU asks which one it is."""
    if jax.__version_info__ < (0, 11):
        return contextlib.nullcontext()
    device = jax.sharding.AbstractDevice("NVIDIA H100 80GB HBM3", None, "gpu")  # pyright: ignore
    mesh = jax.sharding.AbstractMesh((), (), abstract_device=device)  # pyright: ignore
    return jax.sharding.use_abstract_mesh(mesh)


PLATFORMS = {"gpu": ("cuda", "__gpu$xla.gpu.triton"), "tpu": ("tpu", "tpu_custom_call")}


@pytest.mark.parametrize(
    ("target", "name"),
    some_rows(
        [("gpu", name) for name in CASES] + [("tpu", name) for name in list(CASES)[:3]],
        *("gpu-R3xS2, invariants, no content", "gpu-T(3), a shared trunk"),
        "tpu-SE(3), for each head",
    ),
)
def test_kernels_lower_without_a_device(target, name, monkeypatch):
    """As far as that tells: to the language of the platform's compiler, which does not run."""
    monkeypatch.setattr(attention, "_target", lambda: target)
    platform, call = PLATFORMS[target]
    inputs = jax.tree.map(jnp.asarray, case(name, jnp.float32))
    gradient = jax.grad(lambda x: jnp.sum(attend(**x, implementation="pallas")))
    with on_an_h100() if target == "gpu" else contextlib.nullcontext():
        lowered = jax.jit(lambda: gradient(inputs)).trace().lower(lowering_platforms=(platform,))
    assert lowered.as_text().count(call) >= 3  # forward, by queries, by keys


def test_tiles_are_what_kernels_take():
    for table in sizes._KERNELS.values():
        for entry in table.values():
            assert min(entry.rows, entry.columns) >= fitting.SMALLEST
            assert entry.rows & (entry.rows - 1) == entry.columns & (entry.columns - 1) == 0
    assert sizes.kernel_tiles("gpu", "any", False, 500) == sizes.kernel_tiles(
        "gpu", "any", False, 128
    )


@pytest.mark.gpu
@pytest.mark.skipif(jax.default_backend() != "gpu", reason="needs a GPU")
@pytest.mark.parametrize("name", CASES)
def test_on_a_gpu(name):
    """Against float64 of the dense back end; products of TF32 are not asked for."""
    inputs = case(name, jnp.float32)
    wide = jax.tree.map(lambda x: jnp.asarray(np.asarray(x, float)), inputs)
    highest = jax.lax.Precision.HIGHEST
    actual = derivatives("pallas", inputs, precision=highest)
    expected = derivatives("dense", wide, precision=highest)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5 * max(1.0, float(jnp.max(jnp.abs(b)))))

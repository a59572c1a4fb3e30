"""Representations, and attention by them: explicit pairs, equivariance also far away, masks."""

import dataclasses
import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn import groups, spaces, testing
from eqattn.attention import (
    DirectSum,
    FiniteRotary,
    Harmonics,
    Matrices,
    OfFactor,
    Paraboloid,
    Rotary,
    default_representation,
    representation_attend,
)
from eqattn.attention.plain_sums import stock_kernel
from eqattn.lift import Subgroup

B, T, K, H = 2, 4, 5, 2
KEYS = jax.random.split(jax.random.key(0), 9)
SE2, SE3, SO3 = groups.SE(2), groups.SE(3), groups.SO(3)
UPRIGHT = groups.Product((SE2, groups.T(1)))
SIGMAS = {
    "rotary of T(3)": Rotary(groups.T(3), jax.random.normal(KEYS[7], (3, 3))),
    "rotary of R+xSO(2)": Rotary(groups.RxSO2(), jnp.array([[0.3], [-0.5]]), (1, 2)),
    "rotary of T(2) and a finite group": FiniteRotary(SE2, "cyclic(4)", jnp.ones((1, 2))),
    "the same with reflections": FiniteRotary(groups.E(2), "cyclic(3)", jnp.ones((1, 2)), True),
    "O(3)": Matrices(groups.O(3)),
    "sum of irreps of SO(3)": DirectSum(tuple(Harmonics(SO3, n) for n in (0, 1, 2)), (1, 2, 1)),
    "SE(2)": Matrices(SE2),
    "SE(3)": Matrices(SE3, 2.0),
    "paraboloid of SE(3)": Paraboloid(SE3, 2.0),
    "paraboloid of Sim(2)": Paraboloid(groups.Sim(2)),
    "SE(2)xT(1)": default_representation(UPRIGHT, 10),
}  # fmt: skip
each = pytest.mark.parametrize("name", SIGMAS)
MOVED_FAR = ("rotary of T(3)", "SE(2)", "SE(3)", "paraboloid of SE(3)", "the same with reflections")


def draw(sigma, key, shape):
    """Elements of the group that σ is a representation of."""
    if isinstance(sigma, FiniteRotary):
        finite = Subgroup(sigma.name, reflections=sigma.reflections)
        space = spaces.euclidean(sigma.group)
        return testing.guaranteed_elements(space, finite, key, shape, jnp.float64)
    return sigma.group.sample_bounded(key, shape, jnp.float64)


def inputs(sigma, copies=2, dtype=jnp.float64):
    shapes = [(B, n, H, copies * sigma.size) for n in (T, K, K)]
    features = [jax.random.normal(k, s).astype(dtype) for k, s in zip(KEYS, shapes, strict=False)]
    wide = jnp.promote_types(dtype, jnp.float32)
    elements = [draw(sigma, k, (B, n)) for k, n in zip(KEYS[4:6], (T, K), strict=True)]
    return *features, *(x.astype(wide) for x in elements)


def matrices(sigma, g, size, method="apply"):
    """σ(g) on all channels of a head [*B size size]."""
    g = jnp.broadcast_to(g[..., None, :], (*g.shape[:-1], size, g.shape[-1]))
    columns = jnp.broadcast_to(jnp.eye(size)[:, None], (*g.shape[:-1], 1, size))
    return jnp.swapaxes(getattr(sigma, method)(g, columns)[..., 0, :], -1, -2)


@each
def test_it_is_a_representation_with_inverse_and_dual(name):
    sigma = SIGMAS[name]
    size, (g, h) = 2 * sigma.size, draw(sigma, KEYS[0], (2,))
    both = jnp.stack([g, h, sigma.group.compose(g, h)])
    of_g, of_h, product = np.asarray(matrices(sigma, both, size))
    np.testing.assert_allclose(product, of_g @ of_h, atol=1e-12)
    inverse = matrices(sigma, g, size, "apply_inverse")
    np.testing.assert_allclose(inverse, np.linalg.inv(of_g), atol=1e-12)
    np.testing.assert_allclose(matrices(sigma, g, size, "apply_dual"), inverse.T, atol=1e-12)
    assert np.max(np.abs(of_g - np.eye(size))) > 1e-2


def explicit(query, key, value, rows, columns, sigma, valid, log_weights, kernel, turns_values):
    """The same with the matrix of each pair g_i⁻¹ g_j."""
    group, channels = sigma.group, query.shape[-1]
    pairs = group.compose(group.inverse(rows)[:, :, None], columns[:, None])
    turns = matrices(sigma, pairs, channels)
    omega = jnp.where(valid, jnp.exp(log_weights), 0)[:, None, None]
    phi = (lambda x: jnp.where(x > 0, 1 + x, jnp.exp(x))) if kernel == "linear" else lambda x: x
    logits = jnp.einsum("bthc,btkcd,bkhd->bhtk", phi(query), turns, phi(key))
    if kernel == "linear":
        total = jnp.einsum("bthc,bkhc->bhtk", phi(query), phi(key))
        weights = omega * logits / jnp.sum(omega * total, -1, keepdims=True)
    else:
        weights = omega * jnp.exp(logits / jnp.sqrt(channels))
        weights = weights / weights.sum(-1, keepdims=True)
    if not turns_values:
        turns = jnp.broadcast_to(jnp.eye(channels), turns.shape)
    return jnp.einsum("bhtk,btkcd,bkhd->bthc", weights, turns, value)


COMPARED = ("rotary of T(3)", "SE(2)", "O(3)")  # by default; the others take long to compile
CASES = [
    pytest.param(name, "softmax", True, marks=() if name in COMPARED else pytest.mark.slow)
    for name in SIGMAS
]
CASES += [("rotary of T(3)", "linear", True), ("SE(2)", "linear", False)]
WITH_MOVES = ("rotary of T(3)", "SE(2)")  # exponentials of others take long to compile


@pytest.mark.parametrize(("name", "kernel", "turns_values"), CASES)
def test_agrees_with_explicit_pairs_forward_and_backward(name, kernel, turns_values):
    """Gradients of features, some elements (along the group), log-weights and frequencies."""
    sigma, options = SIGMAS[name], {"kernel": kernel, "turns_values": turns_values}
    implementation = "chunked" if name == "O(3)" else None
    *features, rows, columns = inputs(sigma)
    valid = jnp.ones((B, K), bool).at[0, 0].set(False).at[1, 3].set(False)
    log_weights = jnp.linspace(-1.0, 1.0, B * K).reshape(B, K)
    still = [jnp.zeros((*g.shape[:-1], sigma.group.algebra_dim)) for g in (rows, columns)]
    compose, exp = sigma.group.compose, sigma.group.exp

    @jax.jit
    def both(*arguments):
        def value_and_grad(attend):
            def loss(features, moves, log_weights, sigma):
                moved = [
                    compose(g, exp(a)) if name in WITH_MOVES else g
                    for g, a in zip((rows, columns), moves, strict=True)
                ]
                out = attend(*features, *moved, sigma, valid, log_weights)
                return jnp.sum(jnp.sin(out)), out

            return jax.value_and_grad(loss, argnums=(0, 1, 2, 3), has_aux=True)(*arguments)

        fast = lambda *a: representation_attend(
            *a[:6], key_mask=a[6], log_weights=a[7], implementation=implementation, **options
        )
        return value_and_grad(fast), value_and_grad(lambda *a: explicit(*a, **options))

    found, expected = both(features, still, log_weights, sigma)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11)
    assert jnp.std(expected[0][1]) > 0.1


@dataclasses.dataclass(frozen=True)
class WithoutDual(Matrices):
    """Broken: queries are turned as keys are, which only orthogonal matrices allow."""

    def apply_dual(self, elements, x):
        return self.apply(elements, x)


jax.tree_util.register_static(WithoutDual)


@dataclasses.dataclass(frozen=True)
class NotClosed(FiniteRotary):
    """Broken: a rotation leaves each frequency where it is."""

    def _permuted(self, x, index):
        return x


class NotWhole(Rotary):
    """Broken: a full turn is taken to half a turn."""

    def _angles(self, elements):
        return 0.5 * super()._angles(elements)


for broken in (NotClosed, NotWhole):
    fields = [f.name for f in dataclasses.fields(broken) if not f.metadata.get("static")]
    static = [f.name for f in dataclasses.fields(broken) if f.metadata.get("static")]
    jax.tree_util.register_dataclass(broken, fields, static)
BROKEN = {
    "SE(2)": WithoutDual(SE2),
    "rotary of T(2) and a finite group": NotClosed(SE2, "cyclic(4)", jnp.array([[1.0, 0.3]])),
    "rotary of R+xSO(2)": NotWhole(groups.RxSO2(), jnp.array([[0.3], [-0.5]]), (1, 3)),
}


@pytest.mark.parametrize(
    ("name", "kernel"), [*((name, "softmax") for name in SIGMAS), ("SE(3)", "linear")]
)
def test_all_elements_times_u_and_another_order_of_the_keys(name, kernel):
    """Neither changes anything; elements are relative to the first key, whichever it is."""
    sigma = SIGMAS[name]
    u, compose = draw(sigma, KEYS[6], (B, 1)), sigma.group.compose

    @jax.jit
    def changes(sigma, query, key, value, rows, columns):
        def out(rows, columns, order=slice(None)):
            keys = (x[:, order] for x in (key, value, columns))
            key_, value_, columns_ = keys
            return representation_attend(query, key_, value_, rows, columns_, sigma, kernel=kernel)

        still = out(rows, columns)
        others = (
            out(compose(u, rows), compose(u, columns)),
            out(rows, columns, jnp.roll(jnp.arange(K), 1)),
            out(rows, compose(u, columns)),
        )
        return [jnp.max(jnp.abs(other - still)) / jnp.std(still) for other in others]

    moved, rolled, only_keys = changes(sigma, *inputs(sigma))
    assert moved < 1e-10
    assert rolled < 1e-10
    assert only_keys > 1e-2  # g_i⁻¹ g_j is another
    if name in BROKEN and kernel == "softmax":
        assert changes(BROKEN[name], *inputs(sigma))[1] > 1e-2


@pytest.mark.parametrize(("dtype", "epsilon"), [(jnp.float32, 6e-8), (jnp.float64, 1e-16)])
@pytest.mark.parametrize("name", MOVED_FAR)
def test_all_points_shifted_by_a_thousand(name, dtype, epsilon):
    sigma = SIGMAS[name]
    query, key, value, rows, columns = inputs(sigma, dtype=dtype)
    place = -2 if sigma.group == groups.E(2) else -1  # of a translation
    far = sigma.group.identity(dtype=dtype).at[place].set(1_000.0)
    run = jax.jit(lambda *elements: representation_attend(query, key, value, *elements, sigma))
    still = run(rows, columns)
    moved = run(sigma.group.compose(far, rows), sigma.group.compose(far, columns))
    # What a type leaves of coordinates near 1,000: of float32 six digits after the point.
    assert jnp.max(jnp.abs(moved - still)) / jnp.std(still) < 20 * 1_000 * epsilon


def test_the_paraboloid_knows_the_squared_distance():
    """Exactly, in float32 a thousand away too; only its softmax is left of all else."""
    sigma, far = Paraboloid(SE3, 2.0), jnp.array([1, 0, 0, 0, 1_000, 0, 0], jnp.float32)
    elements = SE3.sample(KEYS[0], (K,), jnp.float64).astype(jnp.float32)
    x = elements[:, 4:]
    distances = jnp.sum((x[:, None] - x) ** 2, axis=-1) / 2.0**2
    e = jnp.eye(5, dtype=jnp.float32)
    query, key = (
        jnp.tile(y, (K, 1, 1)) for y in (-jnp.sqrt(5.0).astype(jnp.float32) * e[0], e[-1])
    )
    value = jnp.broadcast_to(jnp.eye(K, dtype=jnp.float32)[:, None], (K, 1, K))
    for g, bound in ((elements, 2e-6), (SE3.compose(far, elements), 2e-3)):
        out = representation_attend(query, key, value, g, g, sigma, turns_values=False)
        np.testing.assert_allclose(out[:, 0], jax.nn.softmax(-distances), atol=bound)


@pytest.mark.parametrize("kernel", ["softmax", "linear"])
def test_masked_tokens_may_hold_anything(kernel):
    sigma = SIGMAS["SE(3)"]
    arrays = inputs(sigma)
    rows_exist = jnp.ones((B, T), bool).at[0, 1].set(False)
    keys_exist = jnp.ones((B, K), bool).at[0, 0].set(False).at[1].set(False)
    log_weights = jnp.zeros((B, K))

    @jax.jit
    def value_and_grad(arrays, log_weights):
        def loss(arrays, log_weights):
            out = representation_attend(
                *arrays, sigma, query_mask=rows_exist, key_mask=keys_exist, kernel=kernel,
                log_weights=log_weights,
            )  # fmt: skip
            return jnp.sum(out**2), out

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(arrays, log_weights)

    masks = (rows_exist, keys_exist, keys_exist, rows_exist, keys_exist)
    spoil = lambda m, x: jnp.where(m.reshape(*m.shape, *(1,) * (x.ndim - 2)), x, jnp.nan)
    spoilt = tuple(spoil(m, x) for m, x in zip(masks, arrays, strict=True))
    gradient, out = value_and_grad(spoilt, spoil(keys_exist, log_weights))
    _, expected = value_and_grad(arrays, log_weights)
    np.testing.assert_allclose(out, expected, atol=1e-12)
    assert jnp.all(out[0, 1] == 0)
    assert jnp.all(out[1] == 0)
    assert jnp.std(out[0]) > 0.1
    assert all(jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(gradient))


def test_a_weight_of_minus_infinity_is_a_mask():
    sigma = SIGMAS["O(3)"]
    mask = jnp.ones((B, K), bool).at[:, 2].set(False)
    weights = jnp.where(mask, 0.0, -jnp.inf)
    for kernel in ("softmax", "linear"):
        by_weight, by_mask = (
            representation_attend(*inputs(sigma), sigma, kernel=kernel, **options)
            for options in ({"log_weights": weights}, {"key_mask": mask})
        )
        np.testing.assert_allclose(by_weight, by_mask, atol=1e-13)


@pytest.mark.parametrize(("dtype", "bound"), [(jnp.float32, 2e-6), (jnp.bfloat16, 0.05)])
@pytest.mark.parametrize("name", ["rotary of T(3)", "SE(3)", "paraboloid of SE(3)"])
def test_low_precision(name, dtype, bound):
    """Float32 to 2e-6; bfloat16, of 8 bits, to 0.05 of the standard deviation."""
    sigma = SIGMAS[name]
    options = {"log_weights": jnp.linspace(-9.0, 1.0, B * K).reshape(B, K)}
    run = jax.jit(lambda *arrays: representation_attend(*arrays, sigma, **options))
    exact, out = run(*inputs(sigma)), run(*inputs(sigma, dtype=dtype))
    assert out.dtype == dtype
    assert jnp.max(jnp.abs(out.astype(jnp.float64) - exact)) / jnp.std(exact) < bound


def test_second_derivatives():
    """Forward over reverse, against finite differences."""
    sigma = Paraboloid(groups.T(3))
    *arrays, columns = inputs(sigma)
    direction = jax.random.normal(KEYS[8], (B, K, 3))

    @jax.jit
    def slope(x):
        def loss(x):
            out = representation_attend(*arrays, columns + x * direction, sigma)
            return jnp.sum(jnp.sin(out))

        return jax.jvp(jax.grad(loss), (x,), (1.0,))

    (low, _), (high, _), (_, curvature) = (slope(x) for x in (-1e-5, 1e-5, 0.0))
    np.testing.assert_allclose(curvature, (high - low) / 2e-5, rtol=1e-6)


def test_many_pairs_are_chunked(monkeypatch):
    sigma, called = SIGMAS["O(3)"], []
    module = importlib.import_module("eqattn.attention.representation_attention")
    chunked = importlib.import_module("eqattn.attention.chunked")
    back_end = chunked.attend
    spy = lambda *arguments: called.append(1) or back_end(*arguments)
    monkeypatch.setattr(chunked, "attend", spy)
    expected = representation_attend(*inputs(sigma), sigma)
    assert not called
    monkeypatch.setattr(module, "DENSE_PAIRS", B * T * K - 1)
    out = representation_attend(*inputs(sigma), sigma)
    np.testing.assert_allclose(out, expected, atol=1e-12)
    assert called


def test_no_tokens():
    sigma = SIGMAS["O(3)"]
    query, key, value, rows, columns = inputs(sigma)
    out = representation_attend(query, key[:, :0], value[:, :0], rows, columns[:, :0], sigma)
    assert jnp.all(out == jnp.zeros_like(query))


@pytest.mark.parametrize(
    "group",
    [
        groups.T(1), groups.T(3), groups.RxSO2(), groups.RxSO3(), groups.SO(2), groups.O(2),
        groups.SO(3), groups.O(3), SE2, SE3, groups.E(3), groups.Sim(2), groups.Trivial(3), UPRIGHT,
        groups.Product((groups.SO(2), groups.Trivial(1))), groups.Product((groups.Trivial(2),)),
    ],
    ids=str,
)  # fmt: skip
def test_every_group_has_a_representation_by_default(group):
    for channels in (8, 9):
        sigma = default_representation(group, channels, dtype=jnp.float32)
        assert sigma.group == group
        assert channels % sigma.size == 0
        assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(sigma))
    if group.element_dim:
        with pytest.raises(ValueError, match=r"channels of a head must be at least \d .* got 1"):
            default_representation(group, 1)


def test_stock_attention_agrees():
    """In float32 and bfloat16, with masks and log-weights, and gradients of the former."""
    sigma = SIGMAS["SE(2)"]
    arrays = inputs(sigma)
    tokens = {
        "key_mask": jnp.ones((B, K), bool).at[0, 0].set(False).at[1].set(False),
        "log_weights": jnp.linspace(-3.0, 3.0, B * K).reshape(B, K).at[0, 1].set(-jnp.inf),
        "query_mask": jnp.ones((B, T), bool).at[0, -1].set(False),
    }

    @functools.partial(jax.jit, static_argnames="implementation")
    def both(features, implementation, shift=0.0):
        def loss(features):
            weights = {**tokens, "log_weights": tokens["log_weights"] * (1 + shift)}
            out = representation_attend(
                *features, *arrays[3:], sigma, implementation=implementation, **weights
            )
            return jnp.sum(jnp.sin(out.astype(jnp.float32))), out

        return jax.value_and_grad(loss, has_aux=True)(features)

    for dtype, bound in ((jnp.float32, 2e-6), (jnp.bfloat16, 0.05)):
        features = [x.astype(dtype) for x in arrays[:3]]
        found, expected = both(features, "stock"), both(features, "dense")
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            a, b = (x.astype(jnp.float32) for x in (a, b))
            assert jnp.max(jnp.abs(a - b)) < bound * max(1.0, float(jnp.std(b)))
    other = both(features, "stock", 0.5)  # negative control: log-weights are seen
    assert jnp.max(jnp.abs(other[0][1] - found[0][1])) > 0.05
    assert stock_kernel("gpu", jnp.dtype("float16"), 136) == "xla"


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"implementation": "stock"}, NotImplementedError, "'stock' has no float64: use 'dense'"),
        (
            {"implementation": "stock", "precision": jax.lax.Precision.HIGHEST},
            ValueError,
            "precision must be None for implementation 'stock', got",
        ),
        ({"query": jnp.ones((B, T, H, 7))}, ValueError, "query must have shape .* multiple of 3"),
        ({"value": jnp.ones((B, K, H, 4))}, ValueError, "value must have shape .* multiple of 3"),
        ({"key": jnp.ones((B, K, 1, 6))}, ValueError, r"key must have shape \(2, 5, 2\)"),
        ({"query_elements": jnp.ones((B, T, 3))}, ValueError, r"query_elements must have shape \("),
        ({"kernel": "cosine"}, ValueError, "kernel must be one of"),
        ({"key": jnp.ones((B, K, H, 6), int)}, ValueError, "key must be of a floating point type"),
        ({"representation": "rotary"}, TypeError, "representation must be"),
        ({"implementation": "fast"}, ValueError, "implementation must be one of .* got 'fast'"),
        (
            {"implementation": "dense", "kernel": "linear"},
            ValueError,
            "implementation must be None for 'linear', got 'dense'",
        ),
        ({"key_mask": jnp.ones((B, T), bool)}, ValueError, r"key_mask must have shape \(2, 5\)"),
        ({"query_mask": jnp.ones((B, T))}, ValueError, "query_mask must be boolean, got float64"),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_errors(change, error, match):
    names = ("query", "key", "value", "query_elements", "key_elements", "representation")
    sigma = Matrices(SO3)
    arguments = dict(zip(names, (*inputs(sigma), sigma), strict=True)) | change
    with pytest.raises(error, match=match):
        representation_attend(**arguments)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: Rotary(SE2, jnp.ones((1, 3))), TypeError, "group must be a T or RxSO2"),
        (
            lambda: Rotary(groups.T(3), jnp.ones((2, 2))),
            ValueError,
            r"frequencies must have shape \(F, 3\), got \(2, 2\)",
        ),
        (
            lambda: Rotary(groups.RxSO2(), jnp.ones((2, 1)), (1,)),
            ValueError,
            r"turns must be 2 integers for RxSO2\(\), got \(1,\)",
        ),
        (
            lambda: Rotary(groups.RxSO2(), jnp.ones((1, 1)), (0.5,)),
            TypeError,
            r"turns must be integers, got \(0.5,\)",
        ),
        (
            lambda: FiniteRotary(groups.T(2), "cyclic(4)", jnp.ones((1, 2))),
            TypeError,
            "group must be a SE2, SE3 or Reflected",
        ),
        (
            lambda: FiniteRotary(SE2, "octahedral", jnp.ones((1, 2))),
            ValueError,
            r"the finite group 'octahedral' is not in SO2",
        ),
        (
            lambda: FiniteRotary(SE2, "cyclic(4)", jnp.ones((1, 3))),
            ValueError,
            r"frequencies must have shape \(F, 2\), got \(1, 3\)",
        ),
        (lambda: Matrices("SO(3)"), TypeError, "group must be a LieGroup, got 'SO"),
        (
            lambda: default_representation(SO3, 8, length=2.0),
            ValueError,
            r"length must be 1 for SO3\(\), got 2.0",
        ),
        (lambda: Matrices(SO3, 2.0), ValueError, r"length must be 1 for SO3\(\), got 2.0"),
        (lambda: Matrices(SE3, 0.0), ValueError, "length must be finite and above 0, got 0.0"),
        (lambda: Paraboloid(SO3), ValueError, r"group must be T\(n\), .* got SO3\(\)"),
        (lambda: Harmonics(SO3, -1), ValueError, "degree must be at least 0, got -1"),
        (lambda: Harmonics(groups.T(4), 1), ValueError, r"degree must be 0 for T\(n=4\)"),
        (lambda: DirectSum((), ()), ValueError, "copies must be a number for each of 0"),
        (lambda: DirectSum((Matrices(SO3),), (0,)), ValueError, r"copies\[0\] must be at least 1"),
        (lambda: DirectSum((SO3,), (1,)), TypeError, "representations must be a Representation"),
        (
            lambda: DirectSum((Matrices(SO3), Matrices(SE3)), (1, 1)),
            ValueError,
            "representations must be of one group",
        ),
        (lambda: OfFactor(SE2, 0, Matrices(SE2)), TypeError, "group must be a Product"),
        (lambda: OfFactor(UPRIGHT, 2, Matrices(SE2)), ValueError, "index must be below 2"),
        (
            lambda: OfFactor(UPRIGHT, 1, Matrices(SE2)),
            ValueError,
            r"representation must be of the factor T\(n=1\)",
        ),
        (lambda: default_representation("T", 2), TypeError, "group must be a LieGroup"),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_errors_of_representations(make, error, match):
    with pytest.raises(error, match=match):
        make()

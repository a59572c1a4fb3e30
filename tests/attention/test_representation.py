"""Representations, and attention by them: explicit pairs, equivariance also far away, masks."""

import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn import groups, spaces, testing
from eqattn.attention import representation_attend
from eqattn.attention.backends.chunked import Chunked
from eqattn.attention.backends.dot_product import jax_nn_kernel
from eqattn.attention.backends.sizes import BY_DEVICE, CPU
from eqattn.lift import Subgroup
from eqattn.pytrees import register_dataclass
from eqattn.representations import (
    ConformalRepresentation,
    DefiningRepresentation,
    DirectSum,
    FiniteRotary,
    Irrep,
    Rotary,
    Tensor,
    default_representation,
)
from tests.compiled import compiled
from tests.grids import each_once, some, some_rows

B, T, K, H = 2, 4, 5, 2
SE2, SE3, SO3 = groups.SE(2), groups.SE(3), groups.SO(3)
UPRIGHT = groups.Product((SE2, groups.T(1)))
FREQUENCIES = np.random.default_rng(7).normal(size=(3, 3))
IRREPS = DirectSum((Tensor(0), Irrep(1), Irrep(2)), (1, 2, 1))
SIGMAS = {
    "rotary of T(3)": (groups.T(3), Rotary(jnp.asarray(FREQUENCIES))),
    "rotary of R+xSO(2)": (groups.RxSO2(), Rotary(jnp.array([[0.3], [-0.5]]), (1, 2))),
    "rotary of T(2) and a finite group": (SE2, FiniteRotary("cyclic(4)", jnp.ones((1, 2)))),
    "the same with reflections": (groups.E(2), FiniteRotary("cyclic(3)", jnp.ones((1, 2)), True)),
    "O(3)": (groups.O(3), DefiningRepresentation()),
    "sum of irreps of SO(3)": (SO3, IRREPS),
    "SE(2)": (SE2, DefiningRepresentation()),
    "SE(3)": (SE3, DefiningRepresentation(2.0)),
    "conformal of SE(3)": (SE3, ConformalRepresentation(2.0)),
    "conformal of Sim(2)": (groups.Sim(2), ConformalRepresentation()),
    "SE(2)xT(1)": (UPRIGHT, default_representation(UPRIGHT, 10)),
}
each = pytest.mark.parametrize("name", SIGMAS)
MOVED_FAR = ("rotary of T(3)", "SE(2)", "SE(3)", "conformal of SE(3)", "the same with reflections")


@functools.cache
def elements_of(group, finite):
    """Rows [B T], columns [B K], u [B 1] and two more [2] of what σ is a representation of."""
    shapes = ((B, T), (B, K), (B, 1), (2,))
    sizes = [math.prod(shape) for shape in shapes]
    if not finite:
        sample = group.sample_bounded
    else:
        sample = functools.partial(testing.guaranteed_elements, spaces.euclidean(group), finite)
    program = jax.jit(lambda key: sample(key, (sum(sizes),), jnp.float64))
    parts = np.split(np.asarray(program(jax.random.key(0))), np.cumsum(sizes)[:-1])
    return [
        jnp.asarray(part.reshape(*shape, -1)) for part, shape in zip(parts, shapes, strict=True)
    ]


def draw(group, sigma):
    finite = isinstance(sigma, FiniteRotary)
    subgroup = Subgroup(sigma.name, reflections=sigma.reflections) if finite else None
    return elements_of(group, subgroup)


def inputs(group, sigma, copies=2, dtype=jnp.float64):
    rng = np.random.default_rng(0)
    features = [rng.normal(size=(B, n, H, copies * sigma.size(group))) for n in (T, K, K)]
    wide = jnp.promote_types(dtype, jnp.float32)
    rows, columns, *_ = (np.asarray(x).astype(wide) for x in draw(group, sigma))
    return *(jnp.asarray(x, dtype) for x in features), jnp.asarray(rows), jnp.asarray(columns)


def matrices(group, sigma, g, size, method="apply"):
    """σ(g) on all channels of a head [*B size size]."""
    g = jnp.broadcast_to(g[..., None, :], (*g.shape[:-1], size, g.shape[-1]))
    columns = jnp.broadcast_to(jnp.eye(size)[:, None], (*g.shape[:-1], 1, size))
    return jnp.swapaxes(getattr(sigma, method)(group, g, columns)[..., 0, :], -1, -2)


# The others are seen below, and by default there alone.
BY_THEMSELVES = (
    *("rotary of T(3)", "the same with reflections", "O(3)", "sum of irreps of SO(3)"),
    *("conformal of SE(3)", "conformal of Sim(2)"),
)


@pytest.mark.parametrize("name", some(SIGMAS, *BY_THEMSELVES))
def test_it_is_a_representation_with_inverse_and_dual(name):
    group, sigma = SIGMAS[name]
    sigma.check(group)
    size, (g, h) = 2 * sigma.size(group), draw(group, sigma)[3]

    @jax.jit
    def all_matrices(sigma, g, h):
        both = jnp.stack([g, h, group.compose(g, h)])
        others = (matrices(group, sigma, g, size, name) for name in ("apply_inverse", "apply_dual"))
        single = sigma.matrix(group, g), sigma.inverse_matrix(group, g)
        return *matrices(group, sigma, both, size), *others, *single

    of_g, of_h, product, inverse, dual, *single = map(np.asarray, all_matrices(sigma, g, h))
    np.testing.assert_allclose(product, of_g @ of_h, atol=1e-12)
    np.testing.assert_allclose(inverse, np.linalg.inv(of_g), atol=1e-12)
    np.testing.assert_allclose(dual, inverse.T, atol=1e-12)
    assert np.max(np.abs(of_g - np.eye(size))) > 1e-2
    assert sigma.is_orthogonal(group) <= np.allclose(of_g @ of_g.T, np.eye(size))
    for copies, own in zip((of_g, inverse), single, strict=True):
        if not isinstance(sigma, FiniteRotary | Rotary | DirectSum):  # copies are in parts of these
            np.testing.assert_allclose(np.kron(own, np.eye(2)), copies, atol=1e-12)


def explicit(
    query, key, value, rows, columns, group, sigma, valid, log_weights, kernel, turns_values
):
    """The same with the matrix of each pair g_i⁻¹ g_j."""
    channels = query.shape[-1]
    pairs = group.compose(group.inverse(rows)[:, :, None], columns[:, None])
    turns = matrices(group, sigma, pairs, channels)
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


COMPARED = ("SE(2)", "O(3)")  # by default; the others take long to compile
CASES = [
    pytest.param(name, "softmax", True, marks=() if name in COMPARED else pytest.mark.slow)
    for name in SIGMAS
]
CASES += [("rotary of T(3)", "linear", True)]
CASES += [pytest.param("SE(2)", "linear", False, marks=pytest.mark.slow)]
WITH_MOVES = ("rotary of T(3)", "SE(2)")  # exponentials of others take long to compile


@pytest.mark.parametrize(("name", "kernel", "turns_values"), CASES)
def test_agrees_with_explicit_pairs_forward_and_backward(name, kernel, turns_values):
    """Gradients of features, some elements (along the group), log-weights and frequencies."""
    (group, sigma), options = SIGMAS[name], {"kernel": kernel, "turns_values": turns_values}
    implementation = "chunked" if name == "O(3)" else None
    *features, rows, columns = inputs(group, sigma)
    valid = np.ones((B, K), bool)
    valid[0, 0] = valid[1, 3] = False
    valid = jnp.asarray(valid)
    log_weights = np.linspace(-1.0, 1.0, B * K).reshape(B, K)
    still = [np.zeros((*g.shape[:-1], group.algebra_dim)) for g in (rows, columns)]
    compose, exp = group.compose, group.exp

    @jax.jit
    def both(*arguments):
        def value_and_grad(attend):
            def loss(features, moves, log_weights, sigma):
                moved = [
                    compose(g, exp(a)) if name in WITH_MOVES else g
                    for g, a in zip((rows, columns), moves, strict=True)
                ]
                out = attend(*features, *moved, group, sigma, valid, log_weights)
                return jnp.sum(jnp.sin(out)), out

            return jax.value_and_grad(loss, argnums=(0, 1, 2, 3), has_aux=True)(*arguments)

        fast = lambda *a: representation_attend(
            *a[:7], key_mask=a[7], log_weights=a[8], implementation=implementation, **options
        )
        return value_and_grad(fast), value_and_grad(lambda *a: explicit(*a, **options))

    found, expected = both(features, still, log_weights, sigma)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11)
    assert np.std(expected[0][1]) > 0.1


@dataclasses.dataclass(frozen=True)
class WithoutDual(DefiningRepresentation):
    """Broken: queries are turned as keys are, which only orthogonal matrices allow."""

    def apply_dual(self, group, elements, x):
        return self.apply(group, elements, x)


@dataclasses.dataclass(frozen=True)
class NotClosed(FiniteRotary):
    """Broken: a rotation leaves each frequency where it is."""

    def _permuted(self, x, index):
        return x


class NotWhole(Rotary):
    """Broken: a full turn is taken to half a turn."""

    def _angles(self, group, elements):
        return 0.5 * super()._angles(group, elements)


for broken in (NotClosed, NotWhole):
    register_dataclass(broken)
BROKEN = {
    "SE(2)": WithoutDual(),
    "rotary of T(2) and a finite group": NotClosed("cyclic(4)", jnp.array([[1.0, 0.3]])),
    "rotary of R+xSO(2)": NotWhole(jnp.array([[0.3], [-0.5]]), (1, 3)),
}


@pytest.mark.parametrize(
    ("name", "kernel"),
    some_rows(
        [*((name, "softmax") for name in SIGMAS), ("SE(3)", "linear")],
        *(f"{name}-softmax" for name in (*BROKEN, "SE(2)xT(1)")),
        "SE(3)-linear",
    ),
)
def test_all_elements_times_u_and_another_order_of_the_keys(name, kernel):
    """Neither changes anything; elements are relative to the first key, whichever it is."""
    group, sigma = SIGMAS[name]
    u, compose = draw(group, sigma)[2], group.compose

    @jax.jit
    def changes(sigma, query, key, value, rows, columns):
        """Of one call, whose batch holds the inputs as they are and changed in three ways."""
        still = (query, key, value, rows, columns)
        order = np.roll(np.arange(K), 1)
        cases = (
            still,
            (query, key, value, compose(u, rows), compose(u, columns)),
            (query, key[:, order], value[:, order], rows, columns[:, order]),
            (query, key, value, rows, compose(u, columns)),
        )
        batch = [jnp.concatenate(arrays) for arrays in zip(*cases, strict=True)]
        out = representation_attend(*batch, group, sigma, kernel=kernel)
        still, *others = out.reshape(len(cases), *query.shape)
        return [jnp.max(jnp.abs(other - still)) / jnp.std(still) for other in others]

    moved, rolled, only_keys = changes(sigma, *inputs(group, sigma))
    assert moved < 1e-10
    assert rolled < 1e-10
    assert only_keys > 1e-2  # g_i⁻¹ g_j is another
    if name in BROKEN and kernel == "softmax":
        assert changes(BROKEN[name], *inputs(group, BROKEN[name]))[1] > 1e-2


def type_or_name(value):
    return value if isinstance(value, str) else value.__name__


EPSILONS = {jnp.float32: 6e-8, jnp.float64: 1e-16}


@pytest.mark.parametrize(
    ("name", "dtype"),
    some_rows(
        list(itertools.product(MOVED_FAR, EPSILONS)),
        *("SE(2)-float32", "conformal of SE(3)-float64"),
        ids=type_or_name,
    ),
)
def test_all_points_shifted_by_a_thousand(name, dtype):
    group, sigma = SIGMAS[name]
    query, key, value, *elements = inputs(group, sigma, dtype=dtype)
    place = -2 if group == groups.E(2) else -1  # of a translation
    identity = np.array(group.identity(dtype=dtype))
    far = identity.copy()
    far[place] = 1_000.0

    @jax.jit
    def run(u):
        moved = (group.compose(u, g) for g in elements)
        return representation_attend(query, key, value, *moved, group, sigma)

    still, moved = map(np.asarray, (run(identity), run(far)))
    # What a type leaves of coordinates near 1,000: of float32 six digits after the point.
    assert np.max(np.abs(moved - still)) / np.std(still) < 20 * 1_000 * EPSILONS[dtype]


def test_the_conformal_representation_knows_the_squared_distance():
    """Exactly, in float32 a thousand away too; only its softmax is left of all else."""
    sigma, far = ConformalRepresentation(2.0), np.array([1, 0, 0, 0, 1_000, 0, 0], np.float32)
    elements = np.float32(draw(SE3, sigma)[1][0])
    x = elements[:, 4:]
    distances = np.sum((x[:, None] - x) ** 2, axis=-1) / 2.0**2
    weights = np.exp(-distances)
    e, eye = np.eye(5, dtype=np.float32), np.eye(K, dtype=np.float32)
    query, key = (np.tile(y, (K, 1, 1)) for y in (-np.sqrt(np.float32(5)) * e[0], e[-1]))
    value = eye[:, None]
    query, key, value, elements = map(jnp.asarray, (query, key, value, elements))

    @jax.jit
    def run(u):
        g = SE3.compose(u, elements)
        return representation_attend(query, key, value, g, g, SE3, sigma, turns_values=False)

    for u, bound in ((np.float32([1, 0, 0, 0, 0, 0, 0]), 2e-6), (far, 2e-3)):
        expected = weights / weights.sum(-1, keepdims=True)
        np.testing.assert_allclose(run(u)[:, 0], expected, atol=bound)


@pytest.mark.parametrize("kernel", some(["softmax", "linear"], "linear"))
def test_masked_tokens_may_hold_anything(kernel):
    case = SIGMAS["SE(2)"]
    arrays = inputs(*case)
    rows_exist, keys_exist = np.ones((B, T), bool), np.ones((B, K), bool)
    rows_exist[0, 1] = keys_exist[0, 0] = keys_exist[1] = False
    log_weights = np.zeros((B, K))

    @jax.jit
    def value_and_grad(arrays, log_weights):
        def loss(arrays, log_weights):
            out = representation_attend(
                *arrays, *case, query_mask=jnp.asarray(rows_exist), kernel=kernel,
                key_mask=jnp.asarray(keys_exist), log_weights=log_weights,
            )  # fmt: skip
            return jnp.sum(out**2), out

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(arrays, log_weights)

    masks = (rows_exist, keys_exist, keys_exist, rows_exist, keys_exist)
    spoil = lambda m, x: np.where(m.reshape(*m.shape, *(1,) * (x.ndim - 2)), x, np.nan)
    spoilt = tuple(spoil(m, x) for m, x in zip(masks, arrays, strict=True))
    gradient, out = value_and_grad(spoilt, spoil(keys_exist, log_weights))
    _, expected = value_and_grad(arrays, log_weights)
    np.testing.assert_allclose(out, expected, atol=1e-12)
    out = np.asarray(out)
    assert np.all(out[0, 1] == 0)
    assert np.all(out[1] == 0)
    assert np.std(out[0]) > 0.1
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(gradient))


def test_a_weight_of_minus_infinity_is_a_mask():
    case = SIGMAS["O(3)"]
    mask = np.ones((B, K), bool)
    mask[:, 2] = False
    weights, mask = jnp.asarray(np.where(mask, 0.0, -np.inf)), jnp.asarray(mask)

    @jax.jit
    def both(*arrays):
        return [
            [
                representation_attend(*arrays, *case, kernel=kernel, **options)
                for options in ({"log_weights": weights}, {"key_mask": mask})
            ]
            for kernel in ("softmax", "linear")
        ]

    for by_weight, by_mask in both(*inputs(*case)):
        np.testing.assert_allclose(by_weight, by_mask, atol=1e-13)


BOUNDS = {jnp.float32: 2e-6, jnp.bfloat16: 0.05}


@pytest.mark.parametrize(
    ("name", "dtype"),
    each_once(["rotary of T(3)", "SE(2)", "conformal of SE(3)"], list(BOUNDS), ids=type_or_name),
)
def test_low_precision(name, dtype):
    """Float32 to 2e-6; bfloat16, of 8 bits, to 0.05 of the standard deviation."""
    case = SIGMAS[name]
    options = {"log_weights": jnp.asarray(np.linspace(-9.0, 1.0, B * K).reshape(B, K))}
    run = jax.jit(lambda *arrays: representation_attend(*arrays, *case, **options))
    exact, out = run(*inputs(*case)), run(*inputs(*case, dtype=dtype))
    assert out.dtype == dtype
    assert np.max(np.abs(np.float64(out) - exact)) / np.std(exact) < BOUNDS[dtype]


def test_second_derivatives():
    """Forward over reverse, against finite differences."""
    case = groups.T(3), ConformalRepresentation()
    *arrays, columns = inputs(*case)
    direction = np.random.default_rng(8).normal(size=(B, K, 3))

    @jax.jit
    def slope(x):
        def loss(x):
            out = representation_attend(*arrays, columns + x * direction, *case)
            return jnp.sum(jnp.sin(out))

        return jax.jvp(jax.grad(loss), (x,), (1.0,))

    (low, _), (high, _), (_, curvature) = (slope(x) for x in (-1e-5, 1e-5, 0.0))
    np.testing.assert_allclose(curvature, (high - low) / 2e-5, rtol=1e-6)


def test_many_pairs_are_chunked(monkeypatch):
    case, called = SIGMAS["O(3)"], []
    back_end = Chunked.attend
    spy = lambda *arguments: called.append(1) or back_end(*arguments)
    monkeypatch.setattr(Chunked, "attend", spy)
    expected = jax.jit(lambda *a: representation_attend(*a, *case))(*inputs(*case))
    assert not called
    monkeypatch.setitem(BY_DEVICE, "cpu", CPU._replace(dot_product_pairs=B * T * K - 1))
    out = jax.jit(lambda *a: representation_attend(*a, *case))(*inputs(*case))
    np.testing.assert_allclose(out, expected, atol=1e-12)
    assert called


def test_no_tokens():
    case = SIGMAS["O(3)"]
    query, key, value, rows, columns = inputs(*case)
    run = compiled(representation_attend)
    key, value, columns = (np.asarray(x)[:, :0] for x in (key, value, columns))
    out = run(query, key, value, rows, columns, *case)
    np.testing.assert_array_equal(out, np.zeros(query.shape))


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
        sigma.check(group)
        assert channels % sigma.size(group) == 0
        assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(sigma))
    if group.element_dim:
        with pytest.raises(ValueError, match=r"channels of a head must be at least \d .* got 1"):
            default_representation(group, 1)


def test_attention_of_jax_nn_agrees():
    """In float32 and bfloat16, with masks and log-weights, and gradients of the former."""
    case = SIGMAS["SE(2)"]
    arrays = inputs(*case)
    masks = {"key_mask": np.ones((B, K), bool), "query_mask": np.ones((B, T), bool)}
    masks["key_mask"][0, 0] = masks["key_mask"][1] = masks["query_mask"][0, -1] = False
    log_weights = np.linspace(-3.0, 3.0, B * K).reshape(B, K)
    log_weights[0, 1] = -np.inf

    @functools.partial(jax.jit, static_argnames="implementation")
    def both(features, implementation, shift):
        def loss(features):
            weights = {"log_weights": jnp.asarray(log_weights) * (1 + shift)}
            weights |= {name: jnp.asarray(mask) for name, mask in masks.items()}
            out = representation_attend(
                *features, *arrays[3:], *case, implementation=implementation, **weights
            )
            return jnp.sum(jnp.sin(out.astype(jnp.float32))), out

        return jax.value_and_grad(loss, has_aux=True)(features)

    for dtype, bound in ((jnp.float32, 2e-6), (jnp.bfloat16, 0.05)):
        features = [np.asarray(x).astype(dtype) for x in arrays[:3]]
        found, expected = (both(features, name, 0.0) for name in ("jax_nn", "dense"))
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            a, b = (np.asarray(x).astype(np.float32) for x in (a, b))
            assert np.max(np.abs(a - b)) < bound * max(1.0, np.std(b))
    other = both(features, "jax_nn", 0.5)  # negative control: log-weights are seen
    difference = np.float32(other[0][1]) - np.float32(found[0][1])
    assert np.max(np.abs(difference)) > 0.05
    assert jax_nn_kernel("gpu", jnp.dtype("float16"), 136) == "xla"


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"implementation": "jax_nn"}, NotImplementedError, "'jax_nn' has no float64: use 'dense'"),
        (
            {"implementation": "jax_nn", "precision": jax.lax.Precision.HIGHEST},
            ValueError,
            "precision must be None for implementation 'jax_nn', got",
        ),
        ({"query": np.ones((B, T, H, 7))}, ValueError, "query must have shape .* multiple of 3"),
        ({"value": np.ones((B, K, H, 4))}, ValueError, "value must have shape .* multiple of 3"),
        ({"key": np.ones((B, K, 1, 6))}, ValueError, r"key must have shape \(2, 5, 2\)"),
        ({"query_elements": np.ones((B, T, 3))}, ValueError, r"query_elements must have shape \("),
        ({"kernel": "cosine"}, ValueError, "kernel must be one of"),
        ({"key": np.ones((B, K, H, 6), int)}, ValueError, "key must be of a floating point type"),
        ({"representation": "rotary"}, TypeError, "representation must be"),
        ({"group": "SO(3)"}, TypeError, "group must be a LieGroup, got 'SO"),
        (
            {"representation": DefiningRepresentation(2.0)},
            ValueError,
            r"length must be 1 for SO\(3\), got 2.0",
        ),
        ({"implementation": "fast"}, ValueError, "implementation must be one of .* got 'fast'"),
        (
            {"implementation": "dense", "kernel": "linear"},
            ValueError,
            "implementation must be None for 'linear', got 'dense'",
        ),
        ({"key_mask": np.ones((B, T), bool)}, ValueError, r"key_mask must have shape \(2, 5\)"),
        ({"query_mask": np.ones((B, T))}, ValueError, "query_mask must be boolean, got float64"),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_errors(change, error, match):
    names = ("query", "key", "value", "query_elements", "key_elements", "group", "representation")
    case = SO3, DefiningRepresentation()
    arguments = dict(zip(names, (*inputs(*case), *case), strict=True)) | change
    with pytest.raises(error, match=match):
        compiled(representation_attend)(**arguments)

"""Location-dependent values: sums of basis functions times values, against loops in numpy."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn import groups, spaces
from eqattn.attention import (
    BernsteinBasis,
    FourierBasis,
    PairFeatures,
    PairMLP,
    RadiusNeighbors,
    attend,
    find_neighbors,
)
from eqattn.lift import lift
from tests import draws
from tests.compiled import compiled

SPACE = spaces.euclidean(groups.SE(2))
FEATURES = PairFeatures(SPACE, "embedding")
B, T, H, C, V, M = 2, 5, 2, 3, 4, 3
MASK = np.array([[True, True, False, True, True], [False] * 5])
LOG_WEIGHTS = np.log(np.linspace(0.5, 2.0, B * T).reshape(B, T))
WEIGHTS = ["softmax", "mean", "exponential_mean", "uniform"]
by_weights = pytest.mark.parametrize("weights", WEIGHTS)


def mlp(num_features, heads=1):
    sizes = (FEATURES.size, 6, num_features)
    return PairMLP(*draws.mlp(9, sizes, heads), FEATURES)


FOURIER = FourierBasis(
    *map(jnp.asarray, (draws.normal(7, FEATURES.size, M), np.linspace(0, 2, M))), FEATURES
)
BASES = {"mlp": mlp(M), "fourier": FOURIER, "bernstein": BernsteinBasis(SPACE, M, 3.0)}
every_basis = pytest.mark.parametrize("basis", BASES.values(), ids=BASES)


@jax.tree_util.register_static
class One:
    """The basis of one function, 1."""

    def __call__(self, query, key):
        shape = jnp.broadcast_shapes(query.elements[0].shape, key.elements[0].shape)
        return jnp.ones((1, *shape[:-2], 1, *shape[-2:]))


def inputs():
    features = (draws.normal(seed, B, T, H, size) for seed, size in enumerate((C, C, V)))
    return *features, draws.elements(SPACE.group, 3, B, T)


@functools.partial(jax.jit, static_argnums=0)
def run(weights, arrays, **options):
    """Attention with those weights; uniform ones have neither content nor location.

    The keys have the elements of the queries, or those given after them.
    """
    q, k, v, g, keys = arrays if len(arrays) == 5 else (*arrays, arrays[-1])
    if weights == "uniform":
        return attend(None, None, v, g, keys, **options)
    return attend(q, k, v, g, keys, mlp(1, H), normalize=weights, **options)


def by_formula(basis, g):
    """Basis functions [M T T] of one example, in numpy."""
    pairs = compiled(SPACE.pair_coordinates)(g[:, None], g[None], "embedding")
    x = np.asarray(pairs)  # cos, sin, x, y
    if isinstance(basis, FourierBasis):
        out = np.sqrt(2) * np.cos(x @ np.asarray(basis.frequencies) + np.asarray(basis.phases))
    elif isinstance(basis, PairMLP):
        (w, v), (b, c) = basis.weights, basis.biases
        x = x @ np.asarray(w[0]) + np.asarray(b[0])
        out = (x / (1 + np.exp(-x))) @ np.asarray(v[0]) + np.asarray(c[0])
    else:
        u = np.minimum(np.sum(x[..., 2:] ** 2, -1, keepdims=True) / basis.cutoff**2, 1.0)
        binomials = np.array([1, 5, 10])
        integrals = binomials**2 / (11 * np.array([1, 45, 210]))  # of the squares
        powers = np.arange(M)
        out = np.sqrt(M / integrals.sum()) * binomials * u**powers * (1 - u) ** (5 - powers)
    return np.moveaxis(out, -1, 0)


@every_basis
def test_agrees_with_its_formula(basis):
    """Σ_j w_ij φ_m(g_i⁻¹ g_j) v_j, with w from plain attention to an identity matrix."""
    q, k, v, g = inputs()
    options = {"key_mask": MASK, "log_weights": LOG_WEIGHTS}
    out = np.asarray(run("softmax", (q, k, v, g), basis=basis, **options))
    each = np.broadcast_to(np.eye(T)[:, None], (B, T, H, T))
    w = np.asarray(run("softmax", (q, k, each, g), **options))[0]
    expected = np.einsum("thk,mtk,khv->thmv", w, by_formula(basis, g[0]), v[0])
    np.testing.assert_allclose(out[0], expected.reshape(T, H, M * V), atol=1e-12)
    assert np.all(out[1] == 0)  # where no key is valid


@by_weights
def test_one_constant_function_is_plain_attention(weights):
    arrays = inputs()
    options = {"key_mask": MASK, "log_weights": LOG_WEIGHTS}
    out = run(weights, arrays, basis=One(), **options)
    np.testing.assert_allclose(out, run(weights, arrays, **options), atol=1e-12)


def test_uniform_weights_are_the_quadrature_weights():
    _, _, v, g = inputs()
    out = np.asarray(run("uniform", inputs(), basis=FOURIER, log_weights=LOG_WEIGHTS))
    omega = np.exp(LOG_WEIGHTS[0]) / np.sum(np.exp(LOG_WEIGHTS[0]))
    expected = np.einsum("k,mtk,khv->thmv", omega, by_formula(FOURIER, g[0]), v[0])
    np.testing.assert_allclose(out[0], expected.reshape(T, H, M * V), atol=1e-12)


@pytest.mark.parametrize("weights", ["softmax", "uniform"])
def test_of_neighbors_it_is_the_same_under_their_mask(weights):
    """And splitting a key into two of half weight changes nothing, there or here."""
    q, k, v, g = inputs()
    points = g[..., 2:]

    @jax.jit
    def neighbors(points, g):
        lifted = dataclasses.replace(
            lift(SPACE, points, points, jnp.asarray(MASK), key=jax.random.key(0)),
            elements=g[..., None, :],
            log_weights=jnp.asarray(LOG_WEIGHTS[..., None]),
        )
        return find_neighbors(SPACE, lifted, RadiusNeighbors(1.5, T, smooth=False))

    options = {"basis": FOURIER, "key_mask": MASK, "log_weights": LOG_WEIGHTS}
    near = neighbors(points, g)
    out = np.asarray(run(weights, (q, k, v, g), neighborhood=near, **options))
    distance = np.linalg.norm(points[0, :, None] - points[0], axis=-1)
    assert 0 < np.sum(distance > 1.5) < T * (T - 1)
    for i in np.flatnonzero(MASK[0]):
        options["key_mask"] = MASK & (distance[i] < 1.5)
        alone = np.asarray(run(weights, (q, k, v, g), **options))
        np.testing.assert_allclose(out[0, i], alone[0, i], atol=1e-12)


@by_weights
def test_splitting_a_key_into_two_of_half_weight_changes_nothing(weights):
    q, k, v, g = inputs()
    k, v, keys = (np.concatenate([a, a[:, -1:]], axis=1) for a in (k, v, g))
    double, whole, halves = np.concatenate([LOG_WEIGHTS, LOG_WEIGHTS[:, -1:]], axis=1)[None].repeat(
        3, axis=0
    )
    whole[:, -1] = -np.inf
    halves[:, -2:] -= np.log(2.0)

    def split(log_weights):
        options = {"basis": FOURIER, "log_weights": log_weights}
        return np.asarray(run(weights, (q, k, v, g, keys), **options))

    np.testing.assert_allclose(split(halves), split(whole), atol=1e-12)
    assert np.max(np.abs(split(double) - split(whole))) > 1e-3


@every_basis
def test_padding_of_nan_harms_no_gradient(basis):
    arrays = inputs()
    spoil = lambda a: np.where(MASK.reshape(B, T, *(1,) * (a.ndim - 2)), a, np.nan)

    @jax.jit
    def gradients(arrays, basis):
        def loss(arrays, basis):
            out = run("uniform", arrays, query_mask=MASK, key_mask=MASK, basis=basis)
            return jnp.sum(out**2)

        return jax.value_and_grad(loss, argnums=(0, 1))(arrays, basis)

    results = gradients(tuple(map(spoil, arrays)), basis), gradients(arrays, basis)
    assert results[0][0] > 1e-3
    for a, b in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


@every_basis
def test_second_derivatives_where_points_coincide(basis):
    """Finite, and what finite differences say: the bases are smooth in the embedding."""
    g0, far = np.array([[1.0, 0.0, 0.2, -0.1]]), np.array([[0.6, 0.8, 1.0, 0.5]])

    def energy(x):
        moved = jnp.stack([jnp.cos(x), jnp.sin(x), 0.2 + x, -0.1 + 2 * x])[None]
        g = jnp.concatenate([g0, moved, far])
        v = jnp.array([[1.0], [2.0], [-1.5]])[:, None]
        return jnp.sum(attend(None, None, v, g, g, basis=basis) ** 2)

    derivatives = jax.jit(lambda x: jax.jvp(jax.value_and_grad(energy), (x,), (1.0,)))
    step = 1e-4
    low, slope_low = derivatives(-step)[0]
    high, slope_high = derivatives(step)[0]
    slope, curvature = derivatives(0.0)[1]
    np.testing.assert_allclose(slope, (high - low) / (2 * step), rtol=1e-6, atol=1e-8)
    numeric = (slope_high - slope_low) / (2 * step)
    np.testing.assert_allclose(curvature, numeric, rtol=1e-6, atol=1e-8)
    assert abs(curvature) > 1e-3


def bernstein(distance, num_basis=4, cutoff=2.0):
    """All functions of one pair at that distance on a line."""
    space = spaces.euclidean(groups.T(1))
    g = jnp.stack([jnp.zeros(1), distance[None]])
    v = jnp.ones((2, 1, 1)).at[0].set(0.0)
    out = attend(None, None, v, g[:1], g, basis=BernsteinBasis(space, num_basis, cutoff))
    return 2 * out[0, 0]  # the mean over two keys, of which one has the value 0


def test_bernstein_polynomials_end_smoothly_at_the_cutoff():
    """Values, slopes and curvatures are 0 there and beyond; their mean square is 1 before."""
    f = lambda x: jnp.sum(bernstein(x) * np.arange(1, 5))
    orders = [f, jax.grad(f), jax.grad(jax.grad(f))]

    @jax.jit
    def compute(x, u):
        values = jax.vmap(lambda x: jnp.stack([order(x) for order in orders]))(x)
        return values, jax.vmap(lambda u: jnp.mean(bernstein(2 * jnp.sqrt(u)) ** 2))(u)

    x = np.array([1.0, 2.0 - 1e-10, 2.0 + 1e-10, 1e3])
    values, squares = map(np.asarray, compute(x, (np.arange(2000) + 0.5) / 2000))
    assert np.min(np.abs(values[0])) > 1e-2
    np.testing.assert_allclose(values[1:], 0.0, atol=1e-6)
    np.testing.assert_allclose(np.mean(squares), 1, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@every_basis
def test_low_precision_keeps_geometry_and_basis_in_float32(basis, dtype):
    q, k, v, g = inputs()
    exact = run("softmax", (q, k, v, g), basis=basis)
    low = *(a.astype(dtype) for a in (q, k, v)), g.astype(np.float32)
    out = run("softmax", low, basis=basis)
    assert out.dtype == dtype
    bound = {jnp.float32: 4e-6, jnp.bfloat16: 0.05}[dtype]  # bfloat16 keeps 8 bits
    np.testing.assert_allclose(np.asarray(out, float), exact, atol=bound, rtol=bound)


def uniform(basis):
    _, _, v, g = inputs()
    return compiled(attend)(None, None, v, g, g, basis=basis)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: uniform("mlp"), "basis must be a Location, got 'mlp'"),
        (
            lambda: uniform(lambda q, k: jnp.ones((M, T, T))),
            r"basis must return features with shape \[F \*B H T K\] .* got \(3, 5, 5\)",
        ),
        (lambda: BernsteinBasis(SPACE, 0), "num_basis must be at least 1, got 0"),
        (lambda: BernsteinBasis(SPACE, 3, -1.0), "cutoff must be finite and above 0, got -1.0"),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_errors(make, match):
    with pytest.raises(ValueError, match=match):
        make()

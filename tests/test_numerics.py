"""The elementary functions: values, and first and second derivatives, on both sides of a switch."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.special

from eqattn import numerics
from tests.grids import some
from tests.tolerances import tolerance

NAMES = {jnp.float64: "float64", jnp.float32: "float32"}
DTYPES = pytest.mark.parametrize("dtype", NAMES, ids=NAMES.get)
WIDE = pytest.mark.parametrize("dtype", some(NAMES, jnp.float64, ids=NAMES.get))


def series(coefficient, first=0):
    """Sum of coefficient(k) t^2k, in as many terms as float64 can notice for t <= 4."""
    return lambda t: sum(coefficient(k) * t ** (2 * (k - first)) for k in range(first, 60))


def cotangent_coefficient(k):
    return 2 * scipy.special.zeta(2 * k) / (2 * math.pi) ** (2 * k)


# Each function of t², with a reference in t that is exact to float64 rounding for 0 < t <= pi.
FUNCTIONS = {
    "sinc": (numerics.sinc, series(lambda k: (-1) ** k / math.factorial(2 * k + 1))),
    "cosine": (numerics.cosine, np.cos),
    "versine_ratio": (
        numerics.versine_ratio,
        series(lambda k: (-1) ** k / math.factorial(2 * k + 2)),
    ),
    "sine_defect_ratio": (
        numerics.sine_defect_ratio,
        series(lambda k: (-1) ** k / math.factorial(2 * k + 3)),
    ),
    "half_cotangent_defect": (
        numerics.half_cotangent_defect,
        series(cotangent_coefficient, first=1),
    ),
    "angle_over_sine": (
        lambda x: numerics.angle_over_sine(x * numerics.sinc(x) ** 2, jnp.abs(numerics.cosine(x))),
        lambda t: np.where(t < math.pi / 2, t, math.pi - t) / np.sin(t),
    ),
}


SWITCHES = [0.099, 0.1, 0.101, 0.999, 1.001, 1.999, 2.0, 2.001]
ANGLES = np.concatenate([np.logspace(-8, 0, 33), SWITCHES, np.linspace(0.05, 3.1, 40)])


@functools.cache
def derivatives(function):
    """A program for the value, and the first and second derivative."""
    first = jax.grad(function)
    return jax.jit(jax.vmap(lambda x: (function(x), first(x), jax.jacfwd(first)(x))))


@DTYPES
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values(name, dtype):
    function, reference = FUNCTIONS[name]
    angle_sq = jnp.asarray(ANGLES**2, dtype)
    exact = reference(np.sqrt(np.asarray(angle_sq, np.float64)))
    found = function(angle_sq)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, exact, rtol=0, atol=tolerance(dtype))


@WIDE
@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives(name, dtype):
    """Finite and smooth at zero; in float64 correct, by central differences, on both branches."""
    function, reference = FUNCTIONS[name]
    near_zero = np.array([0.0, 1e-30, 1e-14, 1e-7, 0.0099, 0.0101])
    x = np.concatenate([near_zero, np.linspace(0.15, 2.2, 30) ** 2])
    results = derivatives(function)(jnp.asarray(x, dtype))
    slope = (reference(0.11) - reference(0.09)) / (0.11**2 - 0.09**2)
    np.testing.assert_allclose(results[1][:6], slope, rtol=3e-3)
    for result in results:
        np.testing.assert_allclose(result[:6], result[0], rtol=2e-2)
    if dtype == jnp.float32:
        return
    step = 1e-5
    slopes = (reference(np.sqrt(x[6:] + step)) - reference(np.sqrt(x[6:] - step))) / (2 * step)
    np.testing.assert_allclose(results[1][6:], slopes, rtol=1e-6, atol=1e-8)
    ahead, behind = (derivatives(function)(jnp.asarray(x + sign * step))[1] for sign in (1, -1))
    curves = (ahead - behind) / (2 * step)
    np.testing.assert_allclose(results[2][6:], curves[6:], rtol=1e-6, atol=1e-8)


@DTYPES
def test_safe_sqrt(dtype):
    x = jnp.asarray([4.0, 0.0, -1.0, 1e-40, 1e-30, 1e-20], dtype)
    exact = np.where(x > (1e-24 if dtype == jnp.float32 else 1e-150), np.sqrt(np.abs(x)), 0.0)
    np.testing.assert_allclose(numerics.safe_sqrt(x), exact, rtol=1e-6)
    _, first, second = derivatives(numerics.safe_sqrt)(x)
    np.testing.assert_allclose(first[:3], [0.25, 0.0, 0.0])
    np.testing.assert_allclose(second[:3], [-1 / 32, 0.0, 0.0])
    assert np.all(np.isfinite(first))


@pytest.mark.parametrize(
    "after", [lambda r: 1.0 / r, jnp.log, jnp.sqrt], ids=["1/r", "log", "sqrt"]
)
def test_what_is_infinite_after_a_root_of_zero_has_derivatives_of_zero(after):
    """Of 1/r, say, which a model then leaves out by ``jnp.where``."""
    function = lambda x: after(numerics.safe_sqrt(x))
    _, first, second = derivatives(function)(jnp.asarray([0.0, -1.0, 4.0]))
    np.testing.assert_array_equal([first[:2], second[:2]], 0.0)
    np.testing.assert_allclose(first[2], 0.25 * jax.grad(after)(2.0), rtol=1e-12)


@DTYPES
def test_norms(dtype):
    vectors = jnp.asarray([[3.0, 4.0], [0.0, 0.0], [1e-30, 0.0]], dtype)

    def norm(v):
        return numerics.safe_norm((v[0], v[1]))

    program = jax.jit(jax.vmap(lambda v: (norm(v), jax.grad(norm)(v), jax.hessian(norm)(v))))
    length, gradient, hessian = program(vectors)
    np.testing.assert_allclose(length[:2], [5.0, 0.0])
    np.testing.assert_allclose(gradient[:2], [[0.6, 0.8], [0.0, 0.0]], rtol=1e-6)
    np.testing.assert_array_equal(hessian[1], 0.0)
    assert np.all(np.isfinite(gradient))
    assert np.all(np.isfinite(hessian))
    assert float(numerics.squared_norm((jnp.asarray(3.0), jnp.asarray(4.0)))) == 25.0


def test_angle_over_sine_is_homogeneous_and_finite():
    rng = np.random.default_rng(0)
    angle, scale = rng.uniform(0.0, math.pi / 2, 50), rng.uniform(0.5, 2.0, 50)
    sine, cosine = jnp.sin(angle), jnp.cos(angle)
    scaled = numerics.angle_over_sine((scale * sine) ** 2, scale * cosine)
    np.testing.assert_allclose(scaled * scale, angle / sine, rtol=1e-13)
    hessian = jax.jit(jax.vmap(jax.hessian(numerics.angle_over_sine, argnums=(0, 1))))
    sine_sq, cosine = jnp.array([[1.0, 0.0, 1e-14, 1.0, 0.0], [0.0, 1.0, 1.0, 1e-7, 0.0]])
    assert np.all(np.isfinite(hessian(sine_sq, cosine)))


def squared_angle_of(x):
    """Between unit vectors at the angle x."""
    a, b = jnp.stack([jnp.cos(x), jnp.sin(x)]), jnp.asarray([1.0, 0.0], x.dtype)
    return numerics.squared_angle(jnp.sum((a - b) ** 2, 0), jnp.sum((a + b) ** 2, 0))


# Functions of any sign, with references that are exact where the argument is not tiny.
SIGNED = {
    "asinh_ratio": (
        numerics.asinh_ratio,
        lambda x: (
            np.where(x > 0, np.arcsinh(np.sqrt(abs(x))), np.arcsin(np.sqrt(np.clip(-x, 0, 1))))
            / np.sqrt(abs(x))
        ),
        [-0.9, -0.5, -0.051, -0.049, -0.01, 0.01, 0.049, 0.051, 0.5, 3.0, 300.0],
        [1.0, -1 / 6, 3 / 20],
    ),
    "squared_angle": (
        squared_angle_of,
        np.square,
        [-3.1, -2.0, -0.19, -0.21, 0.1, 1.0, 3.0, 3.141],
        [0.0, 0.0, 2.0],
    ),
}


@pytest.mark.parametrize("name", SIGNED)
def test_functions_of_either_sign(name):
    """Values, and both derivatives by central differences and at zero; finite in float32."""
    function, reference, x, at_zero = SIGNED[name]
    x, step = np.array([*x, 0.0, 1e-9, -1e-9]), 1e-5
    program = lambda y: [np.asarray(z) for z in derivatives(function)(jnp.asarray(y))]
    value, first, second = program(x)
    np.testing.assert_allclose(value[:-3], reference(x[:-3]), rtol=1e-12)
    ahead, behind = (program(x + s * step) for s in (1, -1))
    for exact, index in ((first, 0), (second, 1)):
        slope = (ahead[index] - behind[index]) / (2 * step)
        np.testing.assert_allclose(exact, slope, rtol=1e-5, atol=1e-7)
    for found, exact in zip((value, first, second), at_zero, strict=True):
        np.testing.assert_allclose(found[-3:], exact, atol=1e-8)
    for result in derivatives(function)(jnp.asarray([*x, -np.pi / 2, 1e-30], jnp.float32)):
        assert np.all(np.isfinite(result[-1 if name == "asinh_ratio" else 0 :]))


LOG_SCALES = [0.0, -1e-9, 0.6, -0.9, 1.1, -5.0, 40.0, -40.0]
INTEGRALS = (numerics.exponential_integral, numerics.inverse_exponential_integral)


def integral_arguments(dtype):
    """Log-scales and squared angles [32], each of one with four of the other."""
    angles = [0.0, 1e-9, 0.5, 0.8, 1.2, 3.0, 3.1, math.pi]
    grid = [(log_scale, angles[(i + 2 * k) % 8] ** 2)
            for i, log_scale in enumerate(LOG_SCALES) for k in range(4)]  # fmt: skip
    return tuple(jnp.asarray(column, dtype) for column in np.transpose(grid))


def test_exponential_integrals():
    """Against scipy's exponential of an augmented matrix, and one the inverse of the other."""
    log_scale, angle_sq = integral_arguments(jnp.float64)
    there, back = (np.stack(function(log_scale, angle_sq)) for function in INTEGRALS)
    for index in range(0, len(log_scale), 3):
        angle = np.sqrt(angle_sq[index])
        turn = np.array([[0.0, -angle, 0.0], [angle, 0.0, 0.0], [0.0, 0.0, 0.0]])
        generator = np.zeros((6, 6))
        generator[:3] = np.concatenate([turn + log_scale[index] * np.eye(3), np.eye(3)], axis=1)
        exact = scipy.linalg.expm(generator)[:3, 3:]
        a, b, c = there[:, index]
        error = a * np.eye(3) + b * turn + c * turn @ turn - exact
        assert np.abs(error).max() <= 1e-10 * np.abs(exact).max()
    # (a + bΩ + cΩ²)(p + qΩ + rΩ²) = 1, with Ω³ = -t² Ω.
    (a, b, c), (p, q, r) = there, back
    square = np.asarray(angle_sq)
    np.testing.assert_allclose(a * p, 1.0, rtol=1e-12)
    np.testing.assert_allclose(a * q + b * p - square * (b * r + c * q), 0.0, atol=1e-11)
    np.testing.assert_allclose(a * r + b * q + c * p - square * c * r, 0.0, atol=1e-11)


@WIDE
@pytest.mark.parametrize("function", INTEGRALS, ids=lambda f: f.__name__)
def test_derivatives_of_exponential_integrals(function, dtype):
    """In dense directions: finite for scales up to e^±40; in float64 right by differences.

    Eagerly: compiling second derivatives takes ten times as long.
    """
    ones = lambda x: tuple(jnp.full_like(y, s) for y, s in zip(x, (0.7, -1.3, 0.4), strict=False))
    reverse = lambda *x: jax.vjp(function, *x)[1](ones(function(*x)))
    derivatives = lambda x: jax.jvp(reverse, x, ones(x))
    inputs = integral_arguments(dtype)
    first, second = derivatives(inputs)
    assert all(np.all(np.isfinite(x)) for x in (*function(*inputs), *first, *second))
    if dtype == jnp.float32:
        return
    moved = [tuple(x + s * 1e-5 * v for x, v in zip(inputs, ones(inputs), strict=True))
             for s in (1, -1)]  # fmt: skip
    values, slopes = zip(*((function(*x), derivatives(x)[0]) for x in moved), strict=True)
    weigh = lambda x: sum(a * b for a, b in zip(x, ones(x), strict=True))
    moderate = np.abs(inputs[0]) <= 1.1
    for exact, found in ((weigh(first), map(weigh, values)), (weigh(second), map(weigh, slopes))):
        ahead, behind = found
        error = np.asarray(exact - (ahead - behind) / 2e-5)[moderate]
        assert np.abs(error).max() <= 1e-8


@DTYPES
def test_planar_angle(dtype):
    lowest = np.nextafter(np.asarray(-1.0, dtype), np.asarray(0.0, dtype))
    cos_sin = jnp.asarray(
        [[1, 0], [1, -0.0], [0, 1], [0, -1], [-1, 0], [-1, -0.0], [lowest, -1e-3]], dtype
    )
    angle = numerics.planar_angle(cos_sin[:, 0], cos_sin[:, 1])
    pi = np.asarray(math.pi, dtype)
    np.testing.assert_allclose(angle[:-1], [0, 0, pi / 2, -pi / 2, pi, pi], rtol=1e-7)
    np.testing.assert_allclose(angle[-1], -math.pi + 1e-3, rtol=1e-6)
    assert angle.dtype == dtype


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [
        (jnp.float64, jnp.float64),
        (jnp.float32, jnp.float32),
        (jnp.bfloat16, jnp.float32),
        (jnp.float16, jnp.float32),
        (jnp.int32, jnp.float32),
        (jnp.bool_, jnp.float32),
    ],
)
def test_at_least_float32(dtype, wide):
    assert numerics.at_least_float32(jnp.ones(3, dtype)).dtype == wide


@pytest.mark.parametrize(
    "function",
    [
        numerics.safe_sqrt,
        numerics.sinc,
        numerics.cosine,
        numerics.versine_ratio,
        numerics.sine_defect_ratio,
        numerics.half_cotangent_defect,
        numerics.asinh_ratio,
        lambda x: numerics.angle_over_sine(x, jnp.asarray(0.5)),
        lambda x: numerics.angle_over_sine(0.5, x),
        lambda x: numerics.planar_angle(x, 0.5),
        lambda x: numerics.planar_angle(0.5, x),
        lambda x: numerics.squared_angle(x, jnp.asarray(0.5)),
        lambda x: numerics.squared_angle(0.5, x),
        lambda x: sum(numerics.exponential_integral(x, 0.5)),
        pytest.param(lambda x: sum(numerics.exponential_integral(0.5, x)), marks=pytest.mark.slow),
        pytest.param(
            lambda x: sum(numerics.inverse_exponential_integral(x, 0.5)), marks=pytest.mark.slow
        ),
        lambda x: sum(numerics.inverse_exponential_integral(0.5, x)),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_nan_is_not_replaced(function):
    assert np.all(np.isnan(derivatives(function)(jnp.asarray([jnp.nan, jnp.nan]))))


def test_roots_of_what_is_not_finite():
    """The value of the report: they were 0."""
    found = numerics.safe_sqrt(jnp.asarray([jnp.nan, jnp.inf, 4.0, 0.0, -1.0]))
    np.testing.assert_array_equal(found, [np.nan, np.inf, 2.0, 0.0, 0.0])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64, jnp.bfloat16])
@pytest.mark.parametrize("size", [1, 5, 37])
def test_the_largest_numbers_are_finite(dtype, size):
    x = np.full((5, size), float(jnp.finfo(dtype).max))
    x[1, -1], x[2, 0], x[3, -1] = np.nan, np.inf, -np.inf
    found = numerics.nan_unless_finite(jnp.asarray(x, dtype))
    np.testing.assert_array_equal(found, [0.0, np.nan, np.nan, np.nan, 0.0])


@pytest.mark.usefixtures("no_type_checks")
def test_integers_are_finite():
    for kind in (np.int8, np.int64, bool):
        found = numerics.nan_unless_finite(jnp.ones((2, 9), kind), jnp.ones((2, 1), kind))
        np.testing.assert_array_equal(found, np.zeros(2))


def test_second_derivatives_of_roots_are_finite_in_loops():
    """Forward over reverse, jax forgets rules of derivatives within a loop."""

    def loss(x, in_loop):
        row = lambda y: jnp.sum(jnp.sin(numerics.safe_sqrt((y - x) ** 2)))
        return jnp.sum((jax.lax.map(row, x) if in_loop else jax.vmap(row)(x)) ** 2)

    x, direction = jnp.array([0.0, 1e-80, 0.5]), jnp.array([1.0, 0.5, -2.0])
    found, expected = (
        jax.jvp(jax.grad(lambda x, end=end: loss(x, end)), (x,), (direction,))
        for end in (True, False)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert jnp.isfinite(jnp.stack(found)).all()

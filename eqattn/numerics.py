"""Elementary functions whose values, first and second derivatives are finite everywhere.

The functions of a rotation angle are written in the squared angle, in which they are analytic.
Those of a logarithm, made for every pair of tokens, are one polynomial for all angles, without
a branch or a call of atan2, which would cost more than all the rest. Of the others, a power series
serves near zero and the closed form elsewhere. ``jnp.where`` differentiates both of
its branches, so the argument of the branch that is not taken is first moved to a harmless value
(the *inner* ``where``); without it an infinite derivative times zero gives NaN. That value is the
one at which the branches meet: a compiler may compute an argument twice, once in each loop that
needs it, with roundings that disagree about the branch, and then either has to do.

"Finite everywhere" means for finite arguments. NaN and infinity are never replaced: a comparison
with NaN is false, so every condition here is written such that false leads to the formula.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from eqattn.typing import Array, Bool, Components, Float

# The closed forms lose digits to cancellation below this squared angle; at it the series below
# have converged to float64 rounding.
_SERIES_BELOW = 1.0
_NUM_TERMS = 11
_NUM_COLUMNS = 4

_SINC_SERIES = tuple((-1.0) ** k / math.factorial(2 * k + 1) for k in range(_NUM_TERMS))
_CUBE_SERIES = tuple((-1.0) ** k / math.factorial(2 * k + 3) for k in range(_NUM_TERMS))
_SINHC_SERIES = tuple(abs(c) for c in _SINC_SERIES)
_MIXED_SERIES = tuple(0.25**k / math.factorial(2 * k + 1) for k in range(1, 10))
_ASINH_SERIES = tuple((-0.25) ** k * math.comb(2 * k, k) / (2 * k + 1) for k in range(15))


def _near_minimax(function, upper: float, num_terms: int) -> tuple[float, ...]:
    """Coefficients, lowest power first, of the Chebyshev interpolant on [0, upper]."""
    series = np.polynomial.Chebyshev.interpolate(function, num_terms - 1, domain=[0.0, upper])
    power = series.convert(kind=np.polynomial.Polynomial, domain=[-1, 1], window=[-1, 1])
    return tuple(float(c) for c in power.coef)


def _arctangent_ratio(square: np.ndarray) -> np.ndarray:
    return np.arctan(np.sqrt(square)) / np.sqrt(square)


def _cotangent_defect(angle_sq: np.ndarray) -> np.ndarray:
    """(1 - (t/2) cot(t/2)) / t² = Σ 2 ζ(2k) t^(2k-2) / (2π)^2k, to float64 rounding to t = pi."""
    k = np.arange(1, 30)
    coefficients = 2.0 * scipy.special.zeta(2.0 * k) / (2.0 * math.pi) ** (2 * k)
    return np.polynomial.polynomial.polyval(angle_sq, coefficients)


# For up to 32 bits, and for 64: the errors are below 1e-8 and 1e-16.
_ATAN_TERMS, _COT_TERMS = (7, 13), (8, 15)
_ATAN = [_near_minimax(_arctangent_ratio, math.tan(math.pi / 8) ** 2, n) for n in _ATAN_TERMS]
_COT = [_near_minimax(_cotangent_defect, math.pi**2, n) for n in _COT_TERMS]


def at_least_float32(x: Array) -> Array:
    """Casts integers and floats narrower than 32 bits to float32; geometry needs that much."""
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating) or jnp.finfo(x.dtype).bits < 32:
        return x.astype(jnp.float32)
    return x


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    """Horner's rule, lowest power first."""
    total = jnp.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


@jax.custom_jvp
def safe_sqrt(x: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """Square root of max(x, 0) whose derivatives are 0, not infinite, at and next to 0."""
    smallest = 1e-24 if jnp.finfo(x.dtype).bits == 32 else 1e-150
    # In loops second derivatives forward over reverse are of these lines: jax drops the rule below.
    root = jnp.sqrt(jnp.where(x <= smallest, smallest, x))
    # A condition on the root: one on x would be computed again, with x, by all that take the root.
    return jnp.where(root <= 2.0 * math.sqrt(smallest), 0.0, root)


@safe_sqrt.defjvp
def _safe_sqrt_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """1 / (2 root), as a function of the root alone.

    Of points that coincide, one loop of a program may compute the squared distance 0, and another
    one what rounding has left, say 1e-34. A condition on the square itself, with ``smallest`` in
    place of 0 as the argument of the root, could then give the slope there, 5e74, times that
    rounding. Here either value of the root has a harmless slope, and 1 stands for a root of 0.
    """
    root = safe_sqrt(*primals)
    is_zero = root <= 0.0
    # Selected, not multiplied by a slope of 0: what follows the root may be infinite there.
    moved = 0.5 / jnp.where(is_zero, 1.0, root) * tangents[0]
    return root, jnp.where(is_zero, 0.0, moved)


def nan_unless_finite(*arrays: Float[Array, "*B _"] | None) -> Float[Array, "*B"]:
    """0 where all entries over the last axis are finite, NaN elsewhere: to be added to something.

    Args:
      *arrays: Arrays whose leading axes broadcast; those that are None do not count.
    """
    found = [_is_finite(jax.lax.stop_gradient(x)) for x in arrays if x is not None]
    return jnp.where(functools.reduce(jnp.logical_and, found), 0.0, jnp.nan)


def mean_position(
    positions: Float[Array | np.ndarray, "*B N D"],
    mask: Bool[Array | np.ndarray, "*B N"] | None = None,
) -> Any:
    """The mean [*B 1 D] of the positions that exist; 0 where none does.

    Arrays of NumPy are averaged by NumPy, in their own precision.

    Args:
      positions: Coordinates of points.
      mask: Marks the points that exist; by default all do.
    """
    xp: Any = np if isinstance(positions, np.ndarray) else jnp
    if mask is None:
        return xp.mean(positions, axis=-2, keepdims=True)
    mask = (np.asarray(mask) if xp is np else mask)[..., None]
    count = xp.maximum(xp.sum(mask, axis=-2, keepdims=True), 1)
    return xp.sum(xp.where(mask, positions, 0), axis=-2, keepdims=True) / count


def centered(
    positions: Float[Array | np.ndarray, "*B N D"],
    mask: Bool[Array | np.ndarray, "*B N"] | None = None,
) -> Any:
    """Positions relative to the mean of those that exist; zeros where none does.

    Args:
      positions: Coordinates of points.
      mask: Marks the points that exist; by default all do.
    """
    relative = positions - mean_position(positions, mask)
    return relative if mask is None else jnp.where(mask[..., None], relative, 0)


def flat(x: Float[Array, "*B H C"]) -> Float[Array, "*B _"]:
    """The last two axes as one."""
    return x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1])


def spread_infinities(x: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """The same, with NaN for infinities; the derivative is that of the identity."""
    return x + jax.lax.stop_gradient(jnp.where(jnp.isfinite(x), 0.0, jnp.nan).astype(x.dtype))


def _is_finite(x: Array) -> Array:
    size = x.shape[-1]
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return jnp.ones(x.shape[:-1], bool)
    if size < _NUM_COLUMNS:
        return jnp.all(jnp.isfinite(x), axis=-1)
    # Means by a product of several columns, which on CPU costs no more than a copy: a reduction of
    # each row would cost three times as much. Half the mean of finite numbers is finite, however it
    # is rounded, as long as the numbers themselves are not rounded to fewer digits.
    columns = jnp.full((size, _NUM_COLUMNS), 0.5 / size, x.dtype)
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    rows = x.reshape(math.prod(x.shape[:-1]), size)
    means = jnp.matmul(
        rows, columns, precision=jax.lax.Precision.HIGHEST, preferred_element_type=dtype
    )[:, 0]
    return jnp.isfinite(means).reshape(x.shape[:-1])


def squared_norm(components: Components) -> Array:
    """Sum of squares over the components of a vector."""
    total = components[0] * components[0]
    for component in components[1:]:
        total = total + component * component
    return total


def safe_norm(components: Components) -> Array:
    """Euclidean norm over components, with zero derivatives at the zero vector."""
    return safe_sqrt(squared_norm(components))


def sinc(angle_sq: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """sin(t) / t as a function of t²."""
    near = angle_sq < _SERIES_BELOW
    angle = jnp.sqrt(jnp.where(near, _SERIES_BELOW, angle_sq))
    series = _polynomial(_SINC_SERIES, jnp.where(near, angle_sq, _SERIES_BELOW))
    return jnp.where(near, series, jnp.sin(angle) / angle)


def cosine(angle_sq: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """cos(t) as a function of t², by the half angle: 1 - t² sinc(t / 2)² / 2."""
    return 1.0 - angle_sq * versine_ratio(angle_sq)


def versine_ratio(angle_sq: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """(1 - cos t) / t² as a function of t², without cancellation."""
    half = sinc(0.25 * angle_sq)
    return 0.5 * half * half


def sine_defect_ratio(angle_sq: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """(t - sin t) / t³ as a function of t²."""
    near = angle_sq < _SERIES_BELOW
    far_sq = jnp.where(near, _SERIES_BELOW, angle_sq)
    series = _polynomial(_CUBE_SERIES, jnp.where(near, angle_sq, _SERIES_BELOW))
    return jnp.where(near, series, (1.0 - sinc(far_sq)) / far_sq)


def angle_over_sine(sine_sq: Float[Array, "*B"], cosine: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """atan2(s, c) / s as a function of s² and c >= 0; homogeneous of degree -1 in (s, c).

    The angle is halved twice, by tan(t/2) = s / (c + sqrt(s² + c²)); what is left is at most pi/8.
    """
    norm_sq = sine_sq + cosine * cosine
    # A zero quaternion or vector is no group element; the value 1 keeps its derivatives finite.
    half = cosine + jnp.sqrt(jnp.where(norm_sq <= 0.0, 1.0, norm_sq))
    quarter = half + jnp.sqrt(sine_sq + half * half)
    inverse = 1.0 / quarter
    return 4.0 * inverse * _polynomial(_for_type(_ATAN, quarter), sine_sq * inverse * inverse)


def half_cotangent_defect(angle_sq: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """(1 - (t/2) cot(t/2)) / t² as a function of t², with t at most pi."""
    return _polynomial(_for_type(_COT, angle_sq), angle_sq)


def _for_type(coefficients: list[tuple[float, ...]], x: Array) -> tuple[float, ...]:
    return coefficients[jnp.finfo(x.dtype).bits > 32]


def planar_angle(cos: Float[Array, "*B"], sin: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """Angle of a unit vector in (-pi, pi], in radians; the half-turn is pi for either zero sign."""
    behind = cos < 0.0
    acute = sin * angle_over_sine(sin * sin, jnp.where(behind, -cos, cos))
    half_turn = jnp.where(sin < 0.0, -math.pi, math.pi).astype(acute.dtype)
    return jnp.where(behind, half_turn - acute, acute)


def squared_angle(chord_sq: Float[Array, "*B"], sum_sq: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """Squared angle between unit vectors a and b, from |a - b|² and |a + b|²; in radians²."""
    half_sine_sq, half_cosine = 0.25 * chord_sq, 0.5 * safe_sqrt(sum_sq)
    return chord_sq * angle_over_sine(half_sine_sq, half_cosine) ** 2


def asinh_ratio(square: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """asinh(x) / x as a function of x²; of -t² in (-1, 0), asin(t) / t.

    A rapidity is ``s * asinh_ratio(s²)`` for its hyperbolic sine s.
    """
    limit = 0.05
    near = jnp.abs(square) < limit
    series = _polynomial(_ASINH_SERIES, jnp.where(near, square, jnp.copysign(limit, square)))
    below = ~near & (square < 0.0)
    above = ~near & ~below
    sine_h = jnp.sqrt(jnp.where(above, square, limit))
    sine = jnp.sqrt(jnp.where(below, -square, limit))
    far = jnp.where(above, jnp.arcsinh(sine_h) / sine_h, jnp.arcsin(sine) / sine)
    return jnp.where(near, series, far)


def exponential_integral(
    log_scale: Float[Array, "*B"], angle_sq: Float[Array, "*B"]
) -> tuple[Float[Array, "*B"], Float[Array, "*B"], Float[Array, "*B"]]:
    """Coefficients of ∫₀¹ exp(s (λ + Ω)) ds = a + b Ω + c Ω², where Ω is a rotation generator.

    Args:
      log_scale: Logarithm λ of the scale.
      angle_sq: Square of the angle t of Ω, of any size.
    """
    (a, b, c), _ = _centered_integral(log_scale, angle_sq)
    scale = jnp.exp(0.5 * log_scale)
    return scale * a, scale * b, scale * c


def inverse_exponential_integral(
    log_scale: Float[Array, "*B"], angle_sq: Float[Array, "*B"]
) -> tuple[Float[Array, "*B"], Float[Array, "*B"], Float[Array, "*B"]]:
    """Coefficients of the inverse matrix of :func:`exponential_integral`, in the same form.

    Args:
      log_scale: Logarithm λ of the scale.
      angle_sq: t², with t at most pi.
    """
    (a, b, c), norm_sq = _centered_integral(log_scale, angle_sq)
    scale = jnp.exp(-0.5 * log_scale)
    third = (b * b + angle_sq * c * c - a * c) / norm_sq
    return scale / a, -scale * b / norm_sq, scale * third / a


def _centered_integral(
    log_scale: Array, angle_sq: Array
) -> tuple[tuple[Array, Array, Array], Array]:
    """Coefficients of the integral over exp(λ/2), and its squared modulus on the plane of rotation.

    There Ω is the number it, and the integral (e^z - 1)/z = e^(z/2) S with z = λ + it and
    S = sinh(z/2)/(z/2) = C - λ² D + iλt D, where C = cosh(λ/2) sinc(t/2), and
    D = (C - sinhc(λ/2) cos(t/2)) / |z|² is analytic in λ² and t².
    """
    square = log_scale * log_scale
    sine_h, sine = _sinhc(0.25 * square), sinc(0.25 * angle_sq)
    cos, mixed = cosine(0.25 * angle_sq), jnp.cosh(0.5 * log_scale) * sine
    near = square + angle_sq < _SERIES_BELOW
    series = _mixed_series(jnp.where(near, square, 0.0), jnp.where(near, angle_sq, 0.0))
    far = (mixed - sine_h * cos) / jnp.where(near, _SERIES_BELOW, square + angle_sq)
    defect = jnp.where(near, series, far)
    real = mixed - square * defect
    odd = log_scale * defect
    first = sine_h
    second = 0.5 * sine * real + cos * odd
    third = 0.25 * sine_h * sine * sine - cos * defect + 0.5 * sine * odd
    return (first, second, third), real * real + angle_sq * odd * odd


def _mixed_series(square: Array, angle_sq: Array) -> Array:
    """D above, from S = Σ z^2k / (4^k (2k+1)!): Im z^2k = 2 λt y with y by recurrence."""
    difference, product = square - angle_sq, 4.0 * square * angle_sq
    real, imaginary = difference, jnp.ones_like(square)
    total = 2.0 * _MIXED_SERIES[0] * imaginary
    for coefficient in _MIXED_SERIES[1:]:
        real, imaginary = (
            difference * real - product * imaginary,
            difference * imaginary + real,
        )
        total = total + 2.0 * coefficient * imaginary
    return total


def _sinhc(square: Array) -> Array:
    """sinh(x) / x as a function of x²."""
    near = square < _SERIES_BELOW
    far = jnp.sqrt(jnp.where(near, _SERIES_BELOW, square))
    series = _polynomial(_SINHC_SERIES, jnp.where(near, square, _SERIES_BELOW))
    return jnp.where(near, series, jnp.sinh(far) / far)

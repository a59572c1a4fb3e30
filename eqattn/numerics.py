"""Elementary functions whose values, first and second derivatives are finite everywhere.

The functions of a rotation angle are written in the squared angle, in which they are analytic: a
power series serves near zero and the closed form elsewhere. ``jnp.where`` differentiates both of
its branches, so the argument of the branch that is not taken is first moved to a harmless value
(the *inner* ``where``); without it an infinite derivative times zero gives NaN.
"""

import math

import jax.numpy as jnp

from eqattn.typing import Array, Components, Float

# The closed forms lose digits to cancellation below this squared angle; at it the series below
# have converged to float64 rounding.
_SERIES_BELOW = 1.0
_NUM_TERMS = 11
_ATAN_SERIES_BELOW = 0.01

_SINC_SERIES = tuple((-1.0) ** k / math.factorial(2 * k + 1) for k in range(_NUM_TERMS))
_CUBE_SERIES = tuple((-1.0) ** k / math.factorial(2 * k + 3) for k in range(_NUM_TERMS))
_ATAN_SERIES = tuple((-1.0) ** k / (2 * k + 1) for k in range(9))


# |B_2k| for the Bernoulli numbers B_2 … B_24: x cot x has the coefficients (2x)^2k |B_2k| / (2k)!.
_BERNOULLI = (
    *(1 / 6, 1 / 30, 1 / 42, 1 / 30, 5 / 66, 691 / 2730, 7 / 6, 3617 / 510),
    *(43867 / 798, 174611 / 330, 854513 / 138, 236364091 / 2730),
)
_COT_SERIES = tuple(b / math.factorial(2 * k) for k, b in enumerate(_BERNOULLI, start=1))


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


def safe_sqrt(x: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """Square root of max(x, 0) whose derivatives are 0, not infinite, at and next to 0."""
    smallest = 1e-24 if jnp.finfo(x.dtype).bits == 32 else 1e-150
    positive = x > smallest
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)


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
    angle = jnp.sqrt(jnp.where(near, 1.0, angle_sq))
    series = _polynomial(_SINC_SERIES, jnp.where(near, angle_sq, 0.0))
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
    far_sq = jnp.where(near, 1.0, angle_sq)
    series = _polynomial(_CUBE_SERIES, jnp.where(near, angle_sq, 0.0))
    return jnp.where(near, series, (1.0 - sinc(far_sq)) / far_sq)


def angle_over_sine(sine_sq: Float[Array, "*B"], cosine: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """atan2(s, c) / s as a function of s² and c >= 0; homogeneous of degree -1 in (s, c)."""
    near = sine_sq < _ATAN_SERIES_BELOW * cosine * cosine
    near_cosine = jnp.where(near, cosine, 1.0)
    ratio_sq = jnp.where(near, sine_sq, 0.0) / (near_cosine * near_cosine)
    series = _polynomial(_ATAN_SERIES, ratio_sq) / near_cosine
    # A zero quaternion or vector is no group element; the value 1 keeps its derivatives finite.
    sine = jnp.sqrt(jnp.where(near | (sine_sq <= 0.0), 1.0, sine_sq))
    return jnp.where(near, series, jnp.arctan2(sine, cosine) / sine)


def half_cotangent_defect(
    angle_sq: Float[Array, "*B"], half_cotangent: Float[Array, "*B"]
) -> Float[Array, "*B"]:
    """(1 - (t/2) cot(t/2)) / t² for |t| <= pi, given t² and (t/2) cot(t/2) itself.

    The second argument is used away from zero only, where the caller has it without cancellation
    from the stored sine and cosine (at t = pi it is 0).
    """
    near = angle_sq < _SERIES_BELOW
    series = _polynomial(_COT_SERIES, jnp.where(near, angle_sq, 0.0))
    return jnp.where(near, series, (1.0 - half_cotangent) / jnp.where(near, 1.0, angle_sq))


def planar_angle(cos: Float[Array, "*B"], sin: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """Angle of a unit vector in (-pi, pi], in radians; the half-turn is pi for either zero sign."""
    angle = jnp.arctan2(sin, cos)
    lowest = -jnp.asarray(math.pi, angle.dtype)
    return angle + jnp.where(angle <= lowest, 2.0 * math.pi, 0.0)

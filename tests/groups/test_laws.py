"""The laws of a group, each for every group, in float64 and float32.

The laws run eagerly at one batch size: the groups then share compiled operations, where one
compiled program for each group would take ten seconds.
"""

import functools

import hypothesis
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.groups.cases import (
    DTYPES,
    GROUPS,
    NEAR_IDENTITY,
    NEAR_PI,
    algebra_samples,
    relative_error,
)
from tests.tolerances import tolerance

NUM = 32


def laws(group, a, b, c, small, p):
    """Relative errors [NUM] of every law at samples given by algebra coordinates and points.

    Rotations of ``small`` stay below a half-turn, where log inverts exp.
    """
    g, h, k = group.exp(a), group.exp(b), group.exp(c)
    compose, inverse, close = group.compose, group.inverse, relative_error
    identity = group.identity(a.shape[:-1], a.dtype)
    gh, g_inverse = compose(g, h), inverse(g)
    close = functools.partial(relative_error)

    def matrix(x):
        return np.asarray(group.matrix(x), np.float64)

    def distance(x, y):
        return np.asarray(group.distance(x, y), np.float64)

    def apply(x, y):
        return (np.asarray(x, np.float64) @ np.asarray(y)[..., None])[..., 0]

    linear, linear_h = (np.asarray(group.linear_matrix(x), np.float64) for x in (g, h))
    adjoint, adjoint_h = (np.asarray(group.adjoint(x), np.float64) for x in (g, h))
    eye = np.broadcast_to(np.eye(linear.shape[-1]), linear.shape)
    conjugate = compose(compose(g, group.exp(b)), g_inverse)
    turned = jnp.asarray(apply(adjoint, b), b.dtype)
    d_gh = distance(g, h)
    chord = np.linalg.norm(np.asarray(group.embedding(g)) - group.embedding(h), axis=-1)
    size = np.maximum(1.0, d_gh)
    moved, start = np.asarray(group.act(g, p)), np.asarray(group.act(g, jnp.zeros_like(p)))
    return {
        "associativity": close(compose(gh, k), compose(g, compose(h, k)), g, h, k),
        "left identity": close(compose(identity, g), g),
        "right identity": close(compose(g, identity), g),
        "left inverse": close(matrix(compose(g_inverse, g)), matrix(identity), g),
        "right inverse": close(matrix(compose(g, g_inverse)), matrix(identity), g),
        "inverse of a product": close(inverse(gh), compose(inverse(h), g_inverse), g, h),
        "matrix of a product": close(matrix(gh), matrix(g) @ matrix(h), g, h),
        "action of a product": close(group.act(gh, p), group.act(g, group.act(h, p)), g, h, p),
        "action of the identity": close(group.act(identity, p), p),
        "linear part of the action": close(
            moved - start, stretch(group, g) * apply(linear, p), g, moved
        ),
        "linear matrix orthogonal": close(linear @ np.swapaxes(linear, -1, -2), eye),
        "linear matrix of a product": close(group.linear_matrix(gh), linear @ linear_h),
        "determinant": close(group.determinant(g), np.linalg.det(linear)),
        "log-scale of a product": close(
            group.log_scale(gh), np.asarray(group.log_scale(g)) + group.log_scale(h)
        ),
        "adjoint": close(matrix(conjugate), matrix(group.exp(turned)), g, h, conjugate),
        "adjoint of a product": close(group.adjoint(gh), adjoint @ adjoint_h, g, h),
        "exp of log": close(matrix(group.exp(group.log(g))), matrix(g)),
        "log of exp": close(group.log(group.exp(small)), small),
        "distance of the same": close(distance(g, g), 0 * d_gh, g),
        "distance symmetric": close(distance(h, g), d_gh, g, h),
        "distance left-invariant": close(distance(compose(k, g), compose(k, h)), d_gh, g, h, k),
        "triangle inequality": np.maximum(distance(g, k) - d_gh - distance(h, k), 0.0) / size,
        # Chords are between 2/pi and sqrt(2) times the arcs: injective, and no cut anywhere.
        "embedding injective": np.maximum(0.63 * d_gh - chord, 0.0) / size,
        "embedding continuous": np.maximum(chord - 1.42 * d_gh, 0.0) / size,
    }


def stretch(group, g):
    """Factor by which the action stretches each coordinate of space."""
    parts, component = [], 0
    for factor in getattr(group, "factors", (group,)):
        log_scale = g[:, component + 2] if factor == GROUPS["RxSO2"] else 0 * g[:, :1].sum(-1)
        parts += [np.exp(log_scale)] * factor.point_dim
        component += factor.element_dim
    return np.stack(parts, axis=-1)


LAWS = sorted(laws(GROUPS["T(1)"], *([jnp.zeros((NUM, 1))] * 5)))


@functools.cache
def worst_errors(name, dtype):
    """The largest error of each law over hard and random samples."""
    group = GROUPS[name]
    hard = (*NEAR_IDENTITY, *NEAR_PI)
    a = algebra_samples(group, hard, seed=1)
    b = algebra_samples(group, hard[::-1], seed=2)
    c = algebra_samples(group, seed=3)
    # Across the cut of the logarithm: elements whose difference is small, identical or a half-turn.
    b[8:12], b[12] = a[8:12] * (1 + 1e-7), a[12]
    a[13], b[13] = a[5], -a[5]
    # float32 has no number between pi - 1e-7 and pi.
    below_pi = NEAR_PI[:1] if dtype == jnp.float32 else NEAR_PI[:2]
    small = algebra_samples(group, (*NEAR_IDENTITY, *below_pi), seed=4)
    p = np.random.default_rng(5).uniform(-1, 1, (NUM, group.point_dim))
    errors = laws(group, *(jnp.asarray(x, dtype) for x in (a, b, c, small, p)))
    return {law: float(np.max(error)) for law, error in errors.items()}


@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", GROUPS)
def test_law(name, law, dtype):
    assert worst_errors(name, dtype)[law] <= tolerance(dtype)


@hypothesis.settings(max_examples=30)
@hypothesis.given(name=st.sampled_from(sorted(GROUPS)), data=st.data())
def test_laws_at_any_sample(name, data):
    group = GROUPS[name]
    numbers = st.floats(-3.0, 3.0)
    drawn = [
        data.draw(arrays(np.float64, size, elements=numbers))
        for size in (*(group.algebra_dim,) * 4, group.point_dim)
    ]
    drawn[3] = drawn[3] * 0.5  # rotation vectors shorter than pi
    towards_identity = np.logspace(-15, 0, NUM)[:, None]
    errors = laws(group, *(jnp.asarray(towards_identity * x) for x in drawn))
    for law, error in errors.items():
        assert float(np.max(error)) <= tolerance(jnp.float64), law

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

from eqattn.laws import group_laws
from tests.grids import some
from tests.groups.cases import (
    BY_DEFAULT,
    DTYPES,
    GROUPS,
    NEAR_IDENTITY,
    NEAR_PI,
    algebra_samples,
    elements,
)
from tests.tolerances import tolerance

NUM = 32


def laws(group, a, b, c, small, p):
    """Errors [NUM] of every law at samples given by algebra coordinates and points."""
    g, h, k = (elements(group, x, seed=seed) for seed, x in enumerate((a, b, c)))
    return group_laws(group, g, h, k, b, small, p)


SCALED = ("RxSO2", "SE(2)xRxSO2", "RxSO3", "Sim(2)", "Sim(3)")


@functools.cache
def hard_samples(name, dtype):
    """Algebra coordinates a, b, c, small, and points."""
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
    return tuple(jnp.asarray(x, dtype) for x in (a, b, c, small, p))


# Groups that between them have every formula whose rounding differs much.
IN_FLOAT32 = ("SO(3)",)
IN_FLOAT64 = [name for name in BY_DEFAULT if name not in ("O(2)", "RxSO3", "Trivial")]
CASES = [
    pytest.param(
        *(name, dtype),
        id=f"{name}-{dtype.__name__}",
        marks=() if name in fast else pytest.mark.slow,
    )
    for dtype, fast in zip(DTYPES, (IN_FLOAT64, IN_FLOAT32), strict=True)
    for name in GROUPS
]


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_laws(name, dtype):
    errors = laws(GROUPS[name], *hard_samples(name, dtype))
    largest = {law: float(np.max(error)) for law, error in errors.items()}
    broken = {law: error for law, error in largest.items() if not error <= tolerance(dtype)}
    assert not broken


@pytest.mark.parametrize(
    "name",
    some([n for n in GROUPS if n not in SCALED], *(n for n in BY_DEFAULT if n not in SCALED)),
)
def test_chords_of_the_embedding_are_near_the_arcs(name):
    """Between 2/pi and sqrt(2) times; with scalings the embedding stretches more."""
    group = GROUPS[name]
    a, b, *_ = hard_samples(name, jnp.float64)
    g, h = elements(group, a, seed=1), elements(group, b, seed=2)
    chord = np.linalg.norm(np.asarray(group.embedding(g)) - group.embedding(h), axis=-1)
    arc = np.asarray(group.distance(g, h))
    assert np.all(chord >= 0.63 * arc - tolerance(jnp.float64))
    assert np.all(chord <= 1.42 * arc + tolerance(jnp.float64))


@hypothesis.settings(max_examples=3)
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

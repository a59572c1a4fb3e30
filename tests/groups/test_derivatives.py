"""First and second derivatives: finite everywhere, and correct, for every group and function.

They are taken of the component formulas, which the array functions only stack, and eagerly: the
groups then share the compiled operations on single components.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn import groups
from tests.grids import some
from tests.groups.cases import (
    BY_DEFAULT,
    DTYPES,
    GROUPS,
    NEAR_IDENTITY,
    NEAR_PI,
    ONE_OF_EACH,
    algebra_samples,
    relative_error,
    rotation_slices,
    special_elements,
)
from tests.tolerances import tolerance

NUM = 32


def _distance(group):
    def distance(g, h):
        between = group.compose_components(group.inverse_components(g), h)
        return (group.distance_components(between, 1.0),)

    return distance


FUNCTIONS = {
    "exp": lambda group, a, g, h, p: (group.exp_components, a),
    "log": lambda group, a, g, h, p: (group.log_components, g),
    "distance": lambda group, a, g, h, p: (_distance(group), g, h),
    "compose": lambda group, a, g, h, p: (group.compose_components, g, h),
    "inverse": lambda group, a, g, h, p: (group.inverse_components, g),
    "act": lambda group, a, g, h, p: (group.act_components, g, p),
    "embedding": lambda group, a, g, h, p: (group.embedding_components, g),
}
MATRIX_GROUPS = ("SO(2)", "SO(3)", "SE(2)", "SE(3)", "Sim(2)", "E(2)")
MATRICES = {
    "matrix": lambda group: lambda g: group.matrix(jnp.stack(g, axis=-1)),
    "adjoint": lambda group: lambda g: group.adjoint(jnp.stack(g, axis=-1)),
}
ALL = slice(None)
# The logarithm is cut at half-turns, and the distance has a kink at 0 besides.
SMOOTH = {"log": np.array([0, 3, 4, *range(16, 32)]), "distance": slice(16, 32)}
NONTRIVIAL = [name for name in GROUPS if name != "Trivial"]
OWN = {  # the formulas of groups that take the others from those that they are made of
    "O(2)": ("compose", "inverse", "act"),
    "O(3)": ("compose", "act"),
    "E(2)": ("compose", "distance"),
    "E(3)": ("inverse", "act"),
    "RxSO3": ("compose", "act"),
    "Sim(2)": ("exp", "log", "distance"),
    "Sim(3)": ("exp", "log"),
}
IN_FLOAT32 = ("SO(3)",)
IN_FLOAT64 = [name for name in BY_DEFAULT if name != "SE(2)xRxSO2"]
# Formulas with branches are tested in both dtypes; by default those of one group.
CASES = [
    pytest.param(
        *(name, function, dtype),
        marks=()
        if name in IN_FLOAT64 and (dtype == jnp.float64 or name in IN_FLOAT32)
        else pytest.mark.slow,
    )
    for name in NONTRIVIAL
    for function in OWN.get(name, FUNCTIONS)
    for dtype in (DTYPES if name not in OWN or name == "Sim(2)" else DTYPES[:1])
]


def name_of(value):
    return value if isinstance(value, str) else value.__name__


def components(array, dtype):
    return tuple(jnp.asarray(column, dtype) for column in np.asarray(array).T)


def arguments(group, dtype):
    """Algebra coordinates, elements g, h and points: one half special, one half generic.

    The special pairs are of an element with itself, and with another special element.
    """
    a = algebra_samples(group, (*NEAR_IDENTITY, *NEAR_PI, 0.0, np.pi), num=16)
    a[6] = 0.0
    generic = algebra_samples(group, (0.3, 1.3, 2.8, 1e-4, np.pi - 1e-3), num=16, seed=6)
    others = algebra_samples(group, (0.7, 2.1), num=16, seed=7)
    a = np.concatenate([a, generic])
    special = special_elements(group)
    g, h = (np.asarray(group.exp(jnp.asarray(x))) for x in (generic, others))
    g = np.concatenate([special, special, g])
    h = np.concatenate([special, np.roll(special, 1, axis=0), h])
    p = np.random.default_rng(8).uniform(-1.0, 1.0, (NUM, group.point_dim))
    return tuple(components(x, dtype) for x in (a, g, h, p))


def random_like(tree, seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), tree)


def directional(fn, inputs):
    """Value, forward, reverse, and forward-over-reverse derivatives, in dense random directions.

    A dense direction meets every entry of the Jacobian and the Hessian, so that one entry that is
    not finite shows; jacfwd, jacrev and jacfwd of jacrev are these at the unit vectors.
    """
    tangents = random_like(inputs, 1)

    def reverse(*x):
        value, transpose = jax.vjp(fn, *x)
        return transpose(random_like(value, 2))

    return (*jax.jvp(fn, inputs, tangents), *jax.jvp(reverse, inputs, tangents))


def assert_finite_and_correct(derivatives, inputs, dtype, rows=ALL):
    """All finite; in float64, the rows where they are smooth against central differences."""
    value, forward, backward, second = results = derivatives(inputs)
    for result in jax.tree.leaves(results):
        assert result.dtype == dtype
        assert np.all(np.isfinite(result))
    if dtype == jnp.float32:
        return
    tangents, step = random_like(inputs, 1), 1e-5
    moved = [
        jax.tree.map(lambda x, v, sign=sign: x + sign * step * v, inputs, tangents)
        for sign in (1, -1)
    ]
    (ahead, _, backward_ahead, _), (behind, _, backward_behind, _) = map(derivatives, moved)
    slopes, curves = (
        (as_array(plus) - as_array(minus)) / (2 * step)
        for plus, minus in ((ahead, behind), (backward_ahead, backward_behind))
    )
    weights = as_array(random_like(value, 2))
    both = (as_array(backward) * as_array(tangents), weights * as_array(forward))
    pairings = (np.sum(x, axis=-1, keepdims=True) for x in both)
    for found, exact in ((forward, slopes), (second, curves), pairings):
        error = relative_error(as_array(found), exact)[rows]
        assert np.max(error) <= tolerance(jnp.float64, "finite_difference")


def as_array(tree):
    return np.concatenate([np.reshape(x, (NUM, -1)) for x in jax.tree.leaves(tree)], axis=-1)


@pytest.mark.parametrize(("name", "function", "dtype"), CASES, ids=name_of)
def test_derivatives(name, function, dtype):
    group = GROUPS[name]
    fn, *inputs = FUNCTIONS[function](group, *arguments(group, dtype))
    derivatives = functools.partial(directional, fn)
    assert_finite_and_correct(derivatives, tuple(inputs), dtype, SMOOTH.get(function, ALL))


@pytest.mark.parametrize("function", MATRICES)
@pytest.mark.parametrize(
    "name", some([name for name in ONE_OF_EACH if name != "Trivial"], *MATRIX_GROUPS)
)
def test_derivatives_of_matrices(name, function):
    """One program for each: polynomials, with no branch that depends on the dtype."""
    group = GROUPS[name]
    program = jax.jit(functools.partial(directional, MATRICES[function](group)))
    _, g, _, _ = arguments(group, jnp.float64)
    assert_finite_and_correct(program, (g,), jnp.float64)


@pytest.mark.parametrize(
    "name",
    some([n for n in ONE_OF_EACH if rotation_slices(GROUPS[n])], "SO(2)", "SE(3)", "Sim(2)"),
)
def test_derivatives_of_log_at_half_turns_are_their_limits(name):
    """At the cut, from the side on which the logarithm takes its value there."""
    group = GROUPS[name]
    algebra = algebra_samples(group, (np.pi,) * NUM)
    for part in rotation_slices(group):
        algebra[:, part] *= np.where(algebra[:, part.start] < 0, -1.0, 1.0)[:, None]
    g = np.array(group.exp(jnp.asarray(algebra)))
    beside = np.array(group.exp(jnp.asarray(algebra * (1 - 1e-8))))
    g[np.abs(g) < 1e-15] = 0.0
    results, limits = (
        directional(group.log_components, (components(x, jnp.float64),)) for x in (g, beside)
    )
    for found, limit in zip(results, limits, strict=True):
        assert np.max(relative_error(as_array(found), as_array(limit))) <= 1e-5


def test_log_of_a_half_turn_is_one_function_of_the_element():
    """q and -q are one element: the derivative in the direction of both is the same."""
    group = groups.SE(3)
    slope = jax.jit(jax.jacobian(group.log))
    for q in ((0.0, 1.0, 0.0, 0.0), (0.0, -0.6, 0.0, 0.8), (0.2, -0.4, 0.4, 0.8)):
        g = jnp.array([*q, 0.3, 0.5, 0.7])
        sign = jnp.array([-1.0] * 4 + [1.0] * 3)
        there, here = slope(sign * g), slope(g)
        np.testing.assert_allclose(there * sign, here, atol=1e-12)

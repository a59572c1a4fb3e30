"""The interface that all groups share: batch shapes, dtypes, transformations, errors."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.groups import SE, SO, E, O, Product, RxSO2, Sim, T, Trivial
from eqattn.groups.reflected import Reflected
from tests.grids import some
from tests.groups.cases import GROUPS, ONE_OF_EACH, algebra_samples

UNARY = (
    *("inverse", "log", "matrix", "linear_matrix", "adjoint", "embedding"),
    *("determinant", "log_scale"),
)
PAIRS = ("compose", "distance")
NUM = 32
FEW = ("SE(3)", "Trivial")


def methods(group, a, g, h, p):
    """Every method with batch axes, by name."""
    results = {name: getattr(group, name)(g) for name in UNARY}
    results |= {name: getattr(group, name)(g, h) for name in PAIRS}
    return results | {"exp": group.exp(a), "act": group.act(g, p)}


def samples(group, dtype=jnp.float32):
    a = jnp.asarray(algebra_samples(group, num=NUM), dtype)
    g = group.exp(a)
    return a, g, g[::-1], jnp.ones((NUM, group.point_dim), dtype)


@pytest.mark.parametrize("name", some(ONE_OF_EACH, *FEW))
def test_batch_shapes_and_transformations(name):
    """Two batch axes under jit give what one batch axis gives; vmap adds one to one element."""
    group, traces = GROUPS[name], []

    @functools.partial(jax.jit, static_argnums=0)
    def compiled(group, *inputs):
        traces.append(group)
        return methods(group, *inputs)

    inputs = samples(group)
    folded = [x.reshape(4, 8, x.shape[-1]) for x in inputs]
    flat, table = methods(group, *inputs), compiled(group, *folded)
    for method, expected in flat.items():
        assert table[method].shape == (4, 8, *expected.shape[1:]), method
        np.testing.assert_allclose(table[method].reshape(expected.shape), expected, atol=1e-6)
    over_one = jax.eval_shape(jax.vmap(functools.partial(methods, group)), *inputs)
    for method, expected in flat.items():
        assert over_one[method].shape == expected.shape, method
    # Groups are static arguments by value: an equal one compiles nothing.
    equal = type(group)(**{f: getattr(group, f) for f in group.__dataclass_fields__})
    assert equal == group
    assert hash(equal) == hash(group)
    compiled(equal, *folded)
    assert len(traces) == 1


@pytest.mark.parametrize("name", some(ONE_OF_EACH, *FEW))
def test_broadcasting(name):
    group = GROUPS[name]
    _, g, h, p = map(np.asarray, samples(group))
    cases = {"compose": h, "distance": h, "act": p}

    @jax.jit
    def tables(left, others):
        return {method: getattr(group, method)(left, others[method]) for method in others}

    rows, columns = np.divmod(np.arange(NUM), 8)
    table = tables(g[:4, None], {method: other[:8] for method, other in cases.items()})
    listed = {
        method: getattr(group, method)(jnp.asarray(g[rows]), jnp.asarray(other[columns]))
        for method, other in cases.items()
    }
    for method, expected in listed.items():
        assert table[method].shape == (4, 8, *expected.shape[1:])
        np.testing.assert_allclose(table[method].reshape(expected.shape), expected, atol=1e-6)
    ones = jax.eval_shape(tables, g[:2, None], {method: x[:1] for method, x in cases.items()})
    assert {x.shape[:2] for x in ones.values()} == {(2, 1)}
    no_axis = jax.eval_shape(tables, g[:4], {method: x[0] for method, x in cases.items()})
    assert {x.shape[:1] for x in no_axis.values()} == {(4,)}


@pytest.mark.parametrize("name", ONE_OF_EACH)
@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.bfloat16])
def test_dtypes(name, dtype):
    group = GROUPS[name]
    sizes = (group.algebra_dim, *(group.element_dim,) * 2, group.point_dim)
    inputs = [jax.ShapeDtypeStruct((2, size), dtype) for size in sizes]
    wide = jnp.float32 if dtype == jnp.bfloat16 else dtype
    for method, result in jax.eval_shape(functools.partial(methods, group), *inputs).items():
        assert result.dtype == wide, method


def test_groups_are_distinct():
    assert len(set(GROUPS.values())) == len(GROUPS)
    assert SO(3) != SE(3)
    assert T(2) != T(3)
    assert GROUPS["T(2)"].is_compact is False
    assert SO(2).is_compact
    assert not SE(2).is_compact
    assert not RxSO2().is_compact
    assert Product((SO(2), SO(3))).is_compact
    assert O(3).is_compact
    assert not E(3).is_compact
    assert not Sim(3).is_compact
    assert not Product((SO(2), T(1))).is_compact


@pytest.mark.parametrize("name", GROUPS)
def test_dimensions(name):
    group = GROUPS[name]
    _, g, _, _ = samples(group)
    shape = lambda function: jax.eval_shape(function, g).shape
    assert shape(group.embedding) == (NUM, group.embedding_dim)
    assert shape(group.linear_matrix) == (NUM, group.point_dim, group.point_dim)
    assert shape(group.adjoint) == (NUM, group.algebra_dim, group.algebra_dim)


@pytest.mark.parametrize(
    ("construct", "message"),
    [
        (lambda: SO(4), r"n of SO\(n\) must be 2 or 3, got 4"),
        (lambda: SE(1), r"n of SE\(n\) must be 2 or 3, got 1"),
        (lambda: O(1), r"n of O\(n\) must be 2 or 3, got 1"),
        (lambda: E(4), r"n of E\(n\) must be 2 or 3, got 4"),
        (lambda: Reflected(T(2)), r"proper of Reflected must be .*, got T\(2\)"),
        (lambda: Reflected(Trivial(2)), r"proper of Reflected must be .*, got Trivial\(n=2\)"),
        (lambda: T(0), r"n of T\(n\) must be at least 1, got 0"),
        (lambda: Trivial(0), r"n of Trivial\(n\) must be at least 1, got 0"),
        (lambda: Product(()), r"factors must be a non-empty tuple of groups, got \(\)"),
        (lambda: Product((SO(2), 3)), r"factors must be a non-empty tuple of groups, got .*3"),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_bad_groups_raise(construct, message):
    with pytest.raises(ValueError, match=message):
        construct()


@pytest.mark.parametrize("construct", [SO, SE, O, E, Sim, T, Trivial], ids=lambda f: f.__name__)
@pytest.mark.usefixtures("no_type_checks")
def test_dimensions_are_integers(construct):
    for wrong in (3.0, True, "3", None, np.float32(2)):
        message = (
            rf"n of {construct.__name__}\(n\) must be an integer, got {re.escape(repr(wrong))}"
        )
        with pytest.raises(TypeError, match=message):
            construct(wrong)
    assert construct(np.int64(3)) == construct(3)


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize(
    ("method", "argument", "sizes"),
    [
        ("exp", "algebra", "A"),
        *((method, "g", "E") for method in UNARY),
        ("compose", "g", "Ee"),
        ("compose", "h", "eE"),
        ("distance", "g", "Ee"),
        ("distance", "h", "eE"),
        ("act", "g", "Ed"),
        ("act", "point", "eD"),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_wrong_last_axes_raise(name, method, argument, sizes):
    """Capital letters stand for a size that is wrong by one."""
    group = GROUPS[name]
    size = {"a": group.algebra_dim, "e": group.element_dim, "d": group.point_dim}
    arrays = [jnp.zeros((2, size[s.lower()] + s.isupper())) for s in sizes]
    with pytest.raises(ValueError, match=rf"{argument} of .* must have a last axis of size"):
        getattr(group, method)(*arrays)

"""Field types: reading, sizes, and the representation that they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.fields import (
    FieldType,
    Gauge,
    Term,
    custom,
    gauge,
    pack_traceless,
    scalars,
    unpack_traceless,
    vectors,
)
from eqattn.representations import Irrep, Tensor
from tests.groups.cases import relative_error
from tests.spaces.cases import NUM, SPACES, elements
from tests.tolerances import NEGATIVE_CONTROL

every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
MIXED = FieldType.parse("2x scalar + vector + scalar + 3x vector")


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("scalar", [(1, Tensor(0))]),
        ("8x scalar + 2x vector", [(8, Tensor(0)), (2, Tensor(1))]),
        ("12 x vector+scalar", [(12, Tensor(1)), (1, Tensor(0))]),
        ("  vector  ", [(1, Tensor(1))]),
        ("pseudoscalar + pseudovector", [(1, Tensor(0, True)), (1, Tensor(1, True))]),
        ("3x tensor(2) + pseudotensor( 3 )", [(3, Tensor(2)), (1, Tensor(3, True))]),
        ("tensor(0) + tensor(1)", [(1, Tensor(0)), (1, Tensor(1))]),
        ("irrep(2) + irrep(3, even)", [(1, Irrep(2)), (1, Irrep(3, "even"))]),
        ("irrep(0) + irrep(0, odd)", [(1, Tensor(0)), (1, Tensor(0, True))]),
        ("symmetric_traceless(2)", [(1, Irrep(2))]),
        ("2x vector[1] + scalar [-0.5]", [(2, Tensor(1), 1.0), (1, Tensor(0), -0.5)]),
        ("vector[1e+1] + scalar", [(1, Tensor(1), 10.0), (1, Tensor(0))]),
        ("2x gauge(irrep(2)) + scalar", [(2, Irrep(2), 0.0, Gauge()), (1, Tensor(0))]),
    ],
)
def test_parse(text, terms):
    field = FieldType.parse(text)
    assert field == FieldType(tuple(Term(*term) for term in terms))
    assert FieldType.parse(str(field)) == field
    assert hash(FieldType.parse(str(field))) == hash(field)


def test_sizes_and_constructors():
    line, plane, space = SPACES["T(1)"], SPACES["SE(2)"], SPACES["SE(3)"]
    assert [MIXED.size(s) for s in (line, plane, space)] == [7, 11, 15]
    for text, sizes in {
        "pseudoscalar": (1, 1),
        "tensor(2)": (4, 9),
        "pseudotensor(3)": (8, 27),
        "irrep(1)": (2, 3),
        "irrep(4)": (2, 9),
        "3x symmetric_traceless(2)[2]": (6, 15),
        "gauge(vector) + gauge(irrep(2))": (4, 8),
    }.items():
        assert tuple(FieldType.parse(text).size(s) for s in (plane, space)) == sizes
    assert scalars(4) == FieldType.parse("4x scalar")
    assert vectors(2) == FieldType.parse("2x vector")
    assert scalars() == FieldType.parse("scalar")
    assert gauge("vector", num=2) == FieldType.parse("2x gauge(vector)")
    assert scalars(2) + vectors() == FieldType.parse("2x scalar + vector")
    assert scalars(3).is_scalar
    assert not any(
        FieldType.parse(t).is_scalar for t in ("scalar + vector", "pseudoscalar", "scalar[1]")
    )
    assert str(MIXED) == "2x scalar + 1x vector + 1x scalar + 3x vector"
    assert str(custom(np.sin, 2, 3) + gauge("vector", np.cos)) == (
        "3x custom(sin, 2) + 1x gauge(vector, cos)"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spinor", r"kind of a field must be one of \('scalar', 'pseudoscalar', .*, got 'spinor'"),
        ("tensor", r"kind must be written tensor\(rank\), got 'tensor'"),
        ("tensor(x)", r"kind must be written tensor\(rank\), got 'tensor\(x\)'"),
        ("tensor(2, even)", r"kind must be written tensor\(rank\), got 'tensor\(2, even\)'"),
        ("vector(2)", r"kind must be written vector, got 'vector\(2\)'"),
        ("irrep(1, up)", r"kind must be written irrep\(degree\) or .*, got 'irrep\(1, up\)'"),
        ("irrep(-1)", r"kind must be written irrep\(degree\) or .*, got 'irrep\(-1\)'"),
        ("gauge()", r"kind must be written gauge\(kind\), got 'gauge\(\)'"),
        ("gauge(2x vector)", r"kind of a gauge field must be a single one, got 2x vector"),
        ("gauge(vector + scalar)", r"kind of a gauge field must be a single one, got 1x vector"),
        ("gauge(vector[1])", r"kind of a gauge field must be a single one, got 1x vector\[1\]"),
        ("gauge(gauge(vector))", r"kind of a gauge field must not be gauge\(vector\)"),
        ("00x scalar", r"multiplicity of a field must be at least 1, got 0"),
        ("vector[big]", r"scale weight of a field must be a number, got 'big'"),
        ("vector[inf]", r"scale weight of a field must be finite, got inf"),
        ("0x scalar", r"multiplicity of a field must be at least 1, got 0"),
        ("scalar + ", r"field type 'scalar \+ ' has the unreadable term ''"),
        ("2 vector", r"field type '2 vector' has the unreadable term '2 vector'"),
        ("-1x vector", r"unreadable term '-1x vector'"),
        ("vector[1", r"unreadable term 'vector\[1'"),
        ("", r"field type '' has the unreadable term ''"),
        ("16x0e", r"unreadable term '16x0e', which is written '16x scalar'"),
        ("scalar + 1e", r"unreadable term '1e', which is written '1x pseudovector'"),
        ("4x2o", r"unreadable term '4x2o', which is written '4x irrep\(2, odd\)'"),
        ("irrep(99999999999)", r"degree of an irrep must be at most 64, got 99999999999"),
        ("tensor(40)", r"rank of a tensor must be at most 8, got 40"),
    ],
)
def test_unreadable_types_raise(text, message):
    with pytest.raises(ValueError, match=message):
        FieldType.parse(text)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Tensor(-1), "rank of a tensor must be at least 0, got -1"),
        (lambda: Irrep(0), "degree of an irrep must be at least 1, got 0"),
        (lambda: Irrep(1, "up"), r"parity of an irrep must be one of \('even', 'odd'\), got 'up'"),
        (
            lambda: custom(np.sin, 0),
            "channels of a custom representation must be at least 1, got 0",
        ),
        (lambda: pack_traceless(jnp.ones((2, 3))), r"matrices must have the last axes .*\(2, 3\)"),
        (lambda: unpack_traceless(jnp.ones(3)), r"last axis of 2 or 5, got \(3,\)"),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_bad_kinds_raise(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_empty_type_raises():
    with pytest.raises(ValueError, match="terms of a field type must not be empty"):
        FieldType(())


@every_space
def test_wrong_channels_raise(space):
    size = MIXED.size(space)
    message = rf"field type 2x scalar .* must have {size} channels, got shape \(32, {size + 1}\)"
    with pytest.raises(ValueError, match=message):
        MIXED.transform(space, elements(space), jnp.zeros((NUM, size + 1)))


def features(space, dtype):
    size = MIXED.size(space)
    return jnp.asarray(np.random.default_rng(40).normal(size=(NUM, size)), dtype)


@every_space
def test_vectors_turn_as_the_points_do(space):
    """Scalars stay, and vectors turn with the orthogonal part of the action."""
    g, f, n = elements(space), features(space, jnp.float64), space.point_dim
    turned = MIXED.transform(space, g, f)
    matrices = np.asarray(space.group.linear_matrix(g))
    scalar = np.array([0, 1, 2 + n])
    np.testing.assert_array_equal(turned[:, scalar], f[:, scalar])
    for start in (2, 3 + n, 3 + 2 * n, 3 + 3 * n):
        exact = np.einsum("bij,bj->bi", matrices, f[:, start : start + n])
        np.testing.assert_allclose(turned[:, start : start + n], exact, atol=1e-14)
    if np.abs(matrices - np.eye(n)).max() > NEGATIVE_CONTROL:
        wrong = MIXED.transform(space, g, f, inverse=True)
        assert np.max(relative_error(wrong, turned)) > NEGATIVE_CONTROL


def test_broadcasting_and_dtypes():
    space = SPACES["SE(3)"]
    g, f = elements(space), features(space, jnp.float64)

    @jax.jit
    def compute(g, f):
        pairs = MIXED.transform(space, g[:4, None], f[:8])
        one_by_one = jax.vmap(lambda e: MIXED.transform(space, e, f[:8]))(g[:4])
        narrow = MIXED.transform(space, g.astype(jnp.float32), f.astype(jnp.bfloat16))
        of_scalars = scalars(2).transform(space, g[:4, None], f[:8, :2])
        return pairs, one_by_one, of_scalars, narrow, MIXED.transform(space, g, f)

    pairs, expected, of_scalars, narrow, wide = map(np.asarray, compute(g, f))
    np.testing.assert_allclose(pairs, expected, atol=1e-15)
    assert of_scalars.shape == (4, 8, 2)
    assert narrow.dtype == jnp.bfloat16
    np.testing.assert_allclose(narrow.astype(np.float64), wide, atol=0.05)

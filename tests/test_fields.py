"""Field types: reading, sizes, and the representation that they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.fields import FieldType, scalars, vectors
from tests.groups.cases import relative_error
from tests.spaces.cases import NUM, SPACES, elements
from tests.tolerances import NEGATIVE_CONTROL, tolerance

every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
every_dtype = pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32], ids=lambda d: d.__name__)
MIXED = FieldType.parse("2x scalar + vector + scalar + 3x vector")


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("scalar", ((1, "scalar"),)),
        ("8x scalar + 2x vector", ((8, "scalar"), (2, "vector"))),
        ("12 x vector+scalar", ((12, "vector"), (1, "scalar"))),
        ("  vector  ", ((1, "vector"),)),
    ],
)
def test_parse(text, terms):
    field = FieldType.parse(text)
    assert field.terms == terms
    assert FieldType.parse(str(field)) == field
    assert hash(FieldType(terms)) == hash(field)


def test_sizes_and_constructors():
    assert MIXED.size(3) == 2 + 3 + 1 + 9
    assert MIXED.size(2) == 2 + 2 + 1 + 6
    assert scalars(4) == FieldType.parse("4x scalar")
    assert vectors(2) == FieldType.parse("2x vector")
    assert scalars() == FieldType.parse("scalar")
    assert scalars(3).is_scalar
    assert not MIXED.is_scalar
    assert str(MIXED) == "2x scalar + 1x vector + 1x scalar + 3x vector"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tensor", r"kind of a field must be one of \('scalar', 'vector'\), got 'tensor'"),
        ("0x scalar", r"multiplicity of a field must be at least 1, got 0"),
        ("scalar + ", r"field type 'scalar \+ ' has the unreadable term ''"),
        ("2 vector", r"field type '2 vector' has the unreadable term '2 vector'"),
        ("-1x vector", r"unreadable term '-1x vector'"),
        ("", r"field type '' has the unreadable term ''"),
    ],
)
def test_unreadable_types_raise(text, message):
    with pytest.raises(ValueError, match=message):
        FieldType.parse(text)


def test_empty_type_raises():
    with pytest.raises(ValueError, match="terms of a field type must not be empty"):
        FieldType(())


@every_space
def test_wrong_channels_raise(space):
    size = MIXED.size(space.point_dim)
    message = rf"field type 2x scalar .* must have {size} channels, got shape \(32, {size + 1}\)"
    with pytest.raises(ValueError, match=message):
        MIXED.transform(space, elements(space), jnp.zeros((NUM, size + 1)))


def features(space, dtype):
    size = MIXED.size(space.point_dim)
    return jnp.asarray(np.random.default_rng(40).normal(size=(NUM, size)), dtype)


@every_dtype
@every_space
def test_transform_is_a_representation(space, dtype):
    g, h, f = elements(space, 1, dtype), elements(space, 2, dtype), features(space, dtype)
    compose = space.group.compose
    both = MIXED.transform(space, compose(g, h), f)
    one_by_one = MIXED.transform(space, g, MIXED.transform(space, h, f))
    assert both.dtype == dtype
    assert np.max(relative_error(one_by_one, both)) <= tolerance(dtype)
    identity = space.group.identity((NUM,), dtype)
    np.testing.assert_array_equal(MIXED.transform(space, identity, f), f)
    there_and_back = MIXED.transform(space, g, MIXED.transform(space, g, f), inverse=True)
    assert np.max(relative_error(there_and_back, f)) <= tolerance(dtype)
    inverted = MIXED.transform(space, space.group.inverse(g), f)
    assert np.max(relative_error(MIXED.transform(space, g, f, inverse=True), inverted)) <= (
        tolerance(dtype)
    )


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
    pairs = MIXED.transform(space, g[:4, None], f[:8])
    expected = jax.vmap(lambda e: MIXED.transform(space, e, f[:8]))(g[:4])
    np.testing.assert_allclose(pairs, expected, atol=1e-15)
    assert scalars(2).transform(space, g[:4, None], f[:8, :2]).shape == (4, 8, 2)
    narrow = MIXED.transform(space, g.astype(jnp.float32), f.astype(jnp.bfloat16))
    assert narrow.dtype == jnp.bfloat16
    np.testing.assert_allclose(narrow.astype(jnp.float64), MIXED.transform(space, g, f), atol=0.05)

"""A back end of one's own is one class, and other sizes are an instance of the library's."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn import groups
from eqattn.attention import attend
from eqattn.attention.backends import BackEnd, Chunked, Dense, Terms, device_sizes


@dataclasses.dataclass(frozen=True)
class ByQuery(BackEnd):
    """One query after the other, as an example of a loop of one's own."""

    name = "by_query"
    scale: float = 1.0

    def attend(self, queries, keys, neighborhood, terms):
        if neighborhood is not None:
            raise NotImplementedError("by_query has no neighborhoods")

        def row(i):
            one = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, i, 1, axis=1), queries)
            return Dense().attend(one, keys, None, terms)[:, 0]

        out = jax.lax.map(row, jnp.arange(queries.failed.shape[1]))
        return self.scale * jnp.moveaxis(out, 0, 1)


def inputs():
    rng = np.random.default_rng(0)
    query, key, value = map(jnp.asarray, rng.normal(size=(3, 2, 5, 2, 4)))
    elements = groups.SE(2).sample(jax.random.key(0), (2, 5), jnp.float64)
    return query, key, value, elements, elements


def test_it_is_used_with_all_that_attend_does_around_it():
    mask = jnp.arange(5) < jnp.array([[5], [3]])
    options = {"query_mask": mask, "key_mask": mask}
    back_ends = "dense", ByQuery(), ByQuery(scale=1.5)
    run = jax.jit(lambda *x: [attend(*x, **options, implementation=i) for i in back_ends])
    expected, found, wrong = map(np.asarray, run(*inputs()))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert np.abs(expected).max() > 0.1
    assert not np.any(found[~np.asarray(mask)])
    assert np.abs(wrong - expected).max() > 0.1


def test_other_sizes():
    few = device_sizes("cpu")._replace(block=2, small_pairs=0, medium_bytes=0)
    back_ends = Chunked(few), "dense"
    run = jax.jit(lambda *x: [attend(*x, implementation=i) for i in back_ends])
    found, expected = run(*inputs())
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert device_sizes("cpu") != device_sizes("gpu") == device_sizes("rocm")


@pytest.mark.usefixtures("no_type_checks")
def test_what_is_no_back_end():
    with pytest.raises(ValueError, match=r"implementation must be one of .*, got 'by_query'"):
        attend(*inputs(), implementation="by_query")
    with pytest.raises(NotImplementedError, match="by_query has no neighborhoods"):
        ByQuery().attend(None, None, "some", Terms(*[None] * 6))


@dataclasses.dataclass(frozen=True)
class OneQuery(BackEnd):
    """Forgets all queries but the first."""

    def attend(self, queries, keys, neighborhood, terms):
        return Dense().attend(queries, keys, neighborhood, terms)[:, :1]


def test_what_a_back_end_returns_is_checked():
    assert OneQuery.name == "OneQuery"
    message = r"'OneQuery' must return float64 of shape \(2, 5, 2\) .* of shape \(2, 1, 2, 4\)"
    with pytest.raises(ValueError, match=message):
        attend(*inputs(), query_mask=jnp.ones((2, 5), bool), implementation=OneQuery())


@pytest.mark.usefixtures("no_type_checks")
@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        ("few", TypeError, "sizes must be a Sizes"),
        (device_sizes("cpu")._replace(block=0), ValueError, "block must be at least 1, got 0"),
    ],
)
def test_sizes_that_are_none(sizes, error, message):
    with pytest.raises(error, match=message):
        Chunked(sizes)

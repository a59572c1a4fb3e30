"""The chunked back end: pairs in tiles, none of which outlives its use.

What an MLP makes of pairs is computed slice by slice, used and forgotten, and computed again for
derivatives, which exist to any order. What else is made of pairs depends on how many there are:

=================  ===============================================================================
neighborhoods      queries with keys of their own, of all examples on one axis, tile by tile
small examples     logits are stored; examples are stacked, since products of one are too small
                   to be fast
medium examples    logits are stored, example by example, since stacked products are slow
large examples     queries times keys, whose softmax is put together tile by tile ("online",
                   arXiv 2205.14135); memory is linear in the tokens
=================  ===============================================================================

Of a large example, sums so far are kept for derivatives where all of them take up to
:attr:`Sizes.kept_bytes`; beyond, they are computed once more, which costs a third more time.
"""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from eqattn.attention.backends import dense
from eqattn.attention.backends.base import BackEnd, Terms, each_device_its_examples
from eqattn.attention.backends.key_tokens import Keys, Queries
from eqattn.attention.backends.sizes import Sizes, device_sizes
from eqattn.attention.backends.slicing import (
    map_tiles,
    pack,
    sliced,
    sliced_combine,
    split_tiles,
    unpack,
)
from eqattn.attention.neighborhoods import Neighborhood
from eqattn.checks import check_instance, check_sizes
from eqattn.lift.weights import positive
from eqattn.typing import Array, Float


@dataclasses.dataclass(frozen=True)
class Chunked(BackEnd):
    """Attention by tiles.

    Args:
      sizes: Sizes of the tiles; by default those for the device that programs run on.
    """

    name = "chunked"
    sizes: Sizes | None = None

    def __post_init__(self):
        check_instance("sizes", self.sizes, Sizes | None)
        if self.sizes is not None:
            check_sizes({"block": self.sizes.block})

    def attend(
        self, queries: Queries, keys: Keys, neighborhood: Neighborhood | None, terms: Terms
    ) -> Float[Array, "*B T H _"]:
        """See :meth:`BackEnd.attend`."""
        if 0 in (*keys.values.shape[:-2], queries.failed.shape[-1]):
            return dense.attend(queries, keys, neighborhood, terms)
        run = functools.partial(_attend, terms=terms, sizes=self.sizes or device_sizes())
        return each_device_its_examples(run, queries, keys, neighborhood)


def _attend(
    queries: Queries, keys: Keys, neighborhood: Neighborhood | None, terms: Terms, sizes: Sizes
) -> Float[Array, "B T H _"]:
    """The same of examples that one device has."""
    if neighborhood is not None:
        return _near(queries, keys, neighborhood, terms, sizes)
    size, num_queries, num_keys = *queries.failed.shape, keys.values.shape[1]
    pair_bytes = _pair_bytes(queries, keys, terms)
    slice_pairs = sizes.slice_pairs
    terms = terms._replace(
        location=sliced(terms.location, slice_pairs),
        basis=sliced(terms.basis, slice_pairs),
        envelope=sliced(terms.envelope, slice_pairs),
        combine=sliced_combine(terms.combine, slice_pairs),
    )
    num_pairs = num_queries * num_keys
    num_bytes = num_pairs * pair_bytes
    is_medium = num_bytes <= sizes.medium_bytes and size * num_bytes <= sizes.kept_bytes
    if num_pairs <= sizes.small_pairs:
        return _small(queries, keys, terms, sizes, pair_bytes)
    if is_medium:
        return _medium(queries, keys, terms)
    return _large(queries, keys, terms, sizes, pair_bytes)


def _near(
    queries: Queries, keys: Keys, neighborhood: Neighborhood, terms: Terms, sizes: Sizes
) -> Array:
    """Rows of all examples on one axis; the keys of a tile are gathered in it."""
    num_examples, num_queries, size = neighborhood.indices.shape
    num_keys = keys.values.shape[1]
    starts = num_keys * jnp.arange(num_examples, dtype=jnp.int32)
    neighborhood = dataclasses.replace(
        neighborhood,
        indices=neighborhood.indices.astype(jnp.int32) + starts[:, None, None],
        num_keys=num_examples * num_keys,
    )
    rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (queries, neighborhood))
    keys = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), keys)

    def tile(rows: tuple[Queries, Neighborhood]) -> Array:
        queries, neighborhood = rows
        return dense.attend(queries, keys, neighborhood, terms)

    out = map_tiles(tile, rows, max(1, sizes.near_pairs // max(1, size)))
    return out.reshape(num_examples, num_queries, *out.shape[1:])


class _Sums(NamedTuple):
    """Sums over some of the keys, in units of exp(``top``), the largest exponent among them."""

    top: Float[Array, "*B #H #T 1"]
    total: Float[Array, "*B #H #T 1"]
    values: Float[Array, "*B T H _"]

    def mean(self, failed: Float[Array, "*B T"]) -> Array:
        """The values, by the total weight; NaN for queries that failed."""
        total = jnp.swapaxes(positive(self.total), -3, -2)
        return self.values / (total + failed[..., None, None].astype(total.dtype))


def _small(queries: Queries, keys: Keys, terms: Terms, sizes: Sizes, pair_bytes: int) -> Array:
    """Stacked examples, as many as may be kept."""

    def tile(examples: tuple[Queries, Keys]) -> Array:
        queries, keys = examples
        return _tile(queries, keys, terms).mean(queries.failed)

    example_bytes = queries.failed.shape[1] * keys.values.shape[1] * pair_bytes
    return map_tiles(tile, (queries, keys), max(1, sizes.kept_bytes // example_bytes))


def _medium(queries: Queries, keys: Keys, terms: Terms) -> Array:
    """One example after the other."""

    def example(arrays: tuple[Queries, Keys]) -> Array:
        queries, keys = arrays
        return _tile(queries, keys, terms).mean(queries.failed)

    return jax.lax.map(example, (queries, keys))


def _large(queries: Queries, keys: Keys, terms: Terms, sizes: Sizes, pair_bytes: int) -> Array:
    """Queries by keys, one example after the other."""
    num_keys = keys.values.shape[1]
    block = 2 ** int(0.5 * math.log2(max(1, sizes.tile_bytes // pair_bytes)))
    num_queries, num_keys = queries.failed.shape[1], keys.values.shape[1]
    num_rows, num_columns = (min(block, sizes.block, n) for n in (num_queries, num_keys))
    first = jax.tree.map(lambda x: x[0, :num_rows], queries)
    first = first._replace(data=jax.tree.map(lambda x: x[:, :num_columns], first.data))
    columns = jax.tree.map(lambda x: x[0, :num_columns], keys)
    shapes = jax.eval_shape(lambda: _tile(first, columns, terms))
    start = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    start = start._replace(top=jnp.full_like(start.top, jnp.finfo(start.top.dtype).min))
    num_tiles = math.ceil(num_queries / num_rows) * math.ceil(num_keys / num_columns)
    is_kept = num_tiles * sum(x.size * x.dtype.itemsize for x in start) <= sizes.kept_bytes

    def example(arrays: tuple[Queries, Keys]) -> Array:
        queries, keys = arrays
        columns = split_tiles((keys._replace(tokens=()), pack(keys.tokens)), num_columns)

        def rows(arrays: tuple[Any, Any]) -> Array:
            queries = arrays[0]._replace(tokens=unpack(arrays[1]))
            data = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), queries.data)

            def step(sums: _Sums, columns: tuple[Any, Any, Any]) -> tuple[_Sums, None]:
                keys = columns[0]._replace(tokens=unpack(columns[1]))
                data = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), columns[2])
                return _merge(sums, _tile(queries._replace(data=data), keys, terms)), None

            tiles = (*columns, split_tiles(data, num_columns))
            sums, _ = jax.lax.scan(jax.checkpoint(step, prevent_cse=False), start, tiles)
            return sums.mean(queries.failed)

        rows = rows if is_kept else jax.checkpoint(rows, prevent_cse=False)
        tiles = split_tiles((queries._replace(tokens=()), pack(queries.tokens)), num_rows)
        out = jax.lax.map(rows, tiles)
        return out.reshape(-1, *out.shape[2:])[:num_queries]

    return jax.lax.map(example, (queries, keys))


def _pair_bytes(queries: Queries, keys: Keys, terms: Terms) -> int:
    """Bytes that a pair has in the largest array of all pairs."""
    num_heads = keys.values.shape[-2]
    one_query, one_key = jax.tree.map(lambda x: x[0, :1], (queries, keys))
    one_query = one_query._replace(data=jax.tree.map(lambda x: x[:, :1], one_query.data))
    features = jax.eval_shape(lambda: dense.term_features(one_query, one_key, terms))
    itemsize = max(4, keys.values.dtype.itemsize)
    return itemsize * num_heads * max((x.shape[0] for x in features if x is not None), default=1)


def _tile(queries: Queries, keys: Keys, terms: Terms) -> _Sums:
    """The sums of one tile."""
    logits, functions, pairs = dense.pair_terms(queries, keys, terms)
    weights, total, top = dense.exponential_weights(logits, pairs, terms.normalize)
    values = dense.weighted_values(weights, functions, keys.values, terms.precision)
    values = values.astype(jnp.promote_types(values.dtype, logits.dtype))  # which merging makes
    return _Sums(top, total, values)


def _merge(a: _Sums, b: _Sums) -> _Sums:
    """The sums over the keys of both."""
    top = jnp.maximum(a.top, b.top)
    scale_a, scale_b = jnp.exp(a.top - top), jnp.exp(b.top - top)
    values = jnp.swapaxes(scale_a, -3, -2) * a.values + jnp.swapaxes(scale_b, -3, -2) * b.values
    return _Sums(top, scale_a * a.total + scale_b * b.total, values)

"""The chunked back end: tiles of pairs, none of which outlives its use.

What belongs to the pairs of a tile (coordinates, hidden layers, logits) is computed, used and
forgotten, and computed again for derivatives, which exist to any order. How pairs make tiles:

=================  ===============================================================================
neighborhoods      queries with keys of their own, of all examples on one axis
small examples     whole examples, several to a tile
large examples     queries times keys, whose softmax is put together tile by tile ("online",
                   arXiv 2205.14135); memory is linear in the tokens
=================  ===============================================================================

Of a large example, sums so far are kept for derivatives where all of them take up to
``STORED_BYTES``; beyond, they are computed once more, which costs a third more time.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from eqattn.attention import dense
from eqattn.attention.keys import Keys
from eqattn.attention.location import TokenBlock
from eqattn.attention.neighborhoods import Neighborhood
from eqattn.typing import Array, Float

PAIRS = 16_384
"""Pairs of a tile of neighborhoods or small examples: hidden layers stay in cache."""
BLOCK = 128
"""Queries, and keys, of a tile of a large example."""
STORED_BYTES = 2**25
"""Bytes of sums of a large example that are kept for its derivatives."""


def attend(
    query: Float[Array, "*B T H C"] | None,
    tokens: TokenBlock,
    keys: Keys,
    neighborhood: Neighborhood | None,
    terms: dense.Terms,
    num_queries: int,
) -> Float[Array, "*B T H _"]:
    """Attention by tiles; arguments as of :func:`eqattn.attention.dense.attend`."""
    batch, num_keys = keys.values.shape[:-3], keys.values.shape[-3]
    if 0 in (*batch, num_queries, num_keys):
        return dense.attend(query, tokens, keys, neighborhood, terms, num_queries)
    size = math.prod(batch)
    query, tokens, keys, neighborhood = jax.tree.map(
        lambda x: x.reshape(size, *x.shape[len(batch) :]), (query, tokens, keys, neighborhood)
    )
    if neighborhood is not None:
        out = _near(query, tokens, keys, neighborhood, terms)
    elif num_queries * num_keys <= PAIRS:
        out = _small(query, tokens, keys, terms, num_queries)
    else:
        out = _large(query, tokens, keys, terms, num_queries)
    return out.reshape(*batch, *out.shape[1:]).astype(keys.values.dtype)


def _near(
    query: Array | None,
    tokens: TokenBlock,
    keys: Keys,
    neighborhood: Neighborhood,
    terms: dense.Terms,
) -> Array:
    """Rows of all examples on one axis; the keys of a tile are gathered in it."""
    num_examples, num_queries, size = neighborhood.indices.shape
    num_keys = keys.values.shape[1]
    starts = num_keys * jnp.arange(num_examples, dtype=neighborhood.indices.dtype)
    neighborhood = dataclasses.replace(
        neighborhood,
        indices=neighborhood.indices + starts[:, None, None],
        num_keys=num_examples * num_keys,
    )
    rows = (query, tokens, neighborhood)
    rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rows)
    keys = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), keys)

    def tile(rows: tuple[Any, TokenBlock, Neighborhood]) -> Array:
        query, tokens, neighborhood = rows
        num_rows = neighborhood.indices.shape[0]
        return dense.attend(query, tokens, keys, neighborhood, terms, num_rows)

    out = _map(tile, rows, max(1, PAIRS // max(1, size)))
    return out.reshape(num_examples, num_queries, *out.shape[1:])


def _small(
    query: Array | None, tokens: TokenBlock, keys: Keys, terms: dense.Terms, num_queries: int
) -> Array:
    """Whole examples."""

    def tile(examples: tuple[Any, TokenBlock, Keys]) -> Array:
        query, tokens, keys = examples
        return dense.attend(query, tokens, keys, None, terms, num_queries)

    pairs = num_queries * keys.values.shape[1]
    return _map(tile, (query, tokens, keys), PAIRS // pairs)


class _Sums(NamedTuple):
    """Sums over some of the keys, in units of exp(``top``), the largest exponent among them."""

    top: Float[Array, "H T 1"]
    total: Float[Array, "H T 1"]
    values: Float[Array, "T H _"]


def _large(
    query: Array | None, tokens: TokenBlock, keys: Keys, terms: dense.Terms, num_queries: int
) -> Array:
    """Queries by keys, one example after the other."""
    num_keys = keys.values.shape[1]
    num_rows, num_columns = min(BLOCK, num_queries), min(BLOCK, num_keys)
    first = jax.tree.map(lambda x: x[0, :num_rows], (query, tokens))
    columns = jax.tree.map(lambda x: x[0, :num_columns], keys)
    shapes = jax.eval_shape(lambda: _tile(first[0], first[1], columns, terms, num_rows))
    start = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    start = start._replace(top=jnp.full_like(start.top, jnp.finfo(start.top.dtype).min))
    row_tiles = math.ceil(num_queries / num_rows)
    num_tiles = row_tiles * math.ceil(num_keys / num_columns)
    is_stored = num_tiles * sum(x.size * x.dtype.itemsize for x in start) <= STORED_BYTES

    def example(arrays: tuple[Any, Keys]) -> Array:
        queries, keys = arrays
        columns = _tiles(keys, num_columns)

        def rows(queries: tuple[Array, Any, TokenBlock]) -> Array:
            _, query, tokens = queries

            def step(sums: _Sums, keys: Keys) -> tuple[_Sums, None]:
                return _merge(sums, _tile(query, tokens, keys, terms, num_rows)), None

            sums, _ = jax.lax.scan(jax.checkpoint(step, prevent_cse=False), start, columns)
            return sums.values / jnp.moveaxis(jnp.where(sums.total > 0, sums.total, 1.0), 0, 1)

        rows = rows if is_stored else jax.checkpoint(rows, prevent_cse=False)
        # Numbered, since queries of the trivial group may have nothing to them.
        out = jax.lax.map(rows, (jnp.arange(row_tiles), *_tiles(queries, num_rows)))
        return out.reshape(-1, *out.shape[2:])[:num_queries]

    return jax.lax.map(example, ((query, tokens), keys))


def _tile(
    query: Array | None, tokens: TokenBlock, keys: Keys, terms: dense.Terms, num_rows: int
) -> _Sums:
    """The sums of one tile; no infinity is made, which derivatives would turn to NaN."""
    logits, functions = dense.pair_terms(query, tokens, keys, terms, num_rows)
    valid, log_weights = dense.per_query(keys)
    log_omega = jnp.where(valid, log_weights.astype(logits.dtype), 0.0)
    logits = jnp.where(valid, logits, 0.0)
    exponent = logits + log_omega if terms.normalize == "softmax" else log_omega
    exponent = jnp.broadcast_to(exponent, logits.shape)
    lowest = jnp.finfo(logits.dtype).min
    top = jnp.max(jnp.where(valid, exponent, lowest), axis=-1, keepdims=True)
    top = jax.lax.stop_gradient(top)
    omega = jnp.where(valid, jnp.exp(jnp.where(valid, exponent - top, 0.0)), 0.0)
    weights = omega
    if terms.normalize != "softmax":
        weights = omega * (jnp.exp(logits) if terms.normalize == "exponential_mean" else logits)
    values = dense.weighted_values(weights, functions, keys.values, terms.precision)
    values = values.astype(jnp.promote_types(values.dtype, logits.dtype))  # which merging makes
    return _Sums(top, jnp.sum(omega, axis=-1, keepdims=True), values)


def _merge(a: _Sums, b: _Sums) -> _Sums:
    """The sums over the keys of both."""
    top = jnp.maximum(a.top, b.top)
    scale_a, scale_b = jnp.exp(a.top - top), jnp.exp(b.top - top)
    values = jnp.moveaxis(scale_a, 0, 1) * a.values + jnp.moveaxis(scale_b, 0, 1) * b.values
    return _Sums(top, scale_a * a.total + scale_b * b.total, values)


def _map(tile: Any, arrays: Any, size: int) -> Array:
    """A function of tiles of at most so many rows, applied to all rows of the arrays."""
    num_rows = jax.tree.leaves(arrays)[0].shape[0]
    num_tiles = math.ceil(num_rows / size)
    if num_tiles == 1:
        return tile(arrays)
    tiles = _tiles(arrays, math.ceil(num_rows / num_tiles))
    out = jax.lax.map(jax.checkpoint(tile, prevent_cse=False), tiles)
    return out.reshape(-1, *out.shape[2:])[:num_rows]


def _tiles(arrays: Any, size: int) -> Any:
    """Arrays [R ...] as tiles [R/size size ...]: the last row fills up, and is no valid key."""

    def split(x: Array) -> Array:
        missing = -x.shape[0] % size
        widths = ((0, missing), *((0, 0),) * (x.ndim - 1))
        x = jnp.pad(x, widths) if x.dtype == bool else jnp.pad(x, widths, mode="edge")
        return x.reshape(-1, size, *x.shape[1:])

    return jax.tree.map(split, arrays)

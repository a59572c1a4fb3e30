"""Tiles: parts of arrays that a program goes through one after the other, forgetting each.

What an MLP makes of pairs is many times what it is given, and fast only while it stays in the
cache, so that terms of pairs are computed slice by slice, and again for derivatives.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from eqattn.attention.terms.combine import Combine
from eqattn.attention.terms.location import Location, TokenBlock
from eqattn.groups.base import unstack
from eqattn.pytrees import register_dataclass
from eqattn.typing import Array, Float


def split_tiles(arrays: Any, size: int) -> Any:
    """Arrays [R ...] as tiles [R/size size ...]: the last row fills up, and is no valid key."""

    def split(x: Array) -> Array:
        missing = -x.shape[0] % size
        widths = ((0, missing), *((0, 0),) * (x.ndim - 1))
        x = jnp.pad(x, widths) if x.dtype == bool else jnp.pad(x, widths, mode="edge")
        return x.reshape(-1, size, *x.shape[1:])

    return jax.tree.map(split, arrays)


def map_tiles(function: Callable[[Any], Array], arrays: Any, size: int) -> Array:
    """A function of tiles of at most so many rows, applied to all rows of the arrays.

    Where there are several, nothing of a tile but its result is kept, for derivatives either.
    """
    num_rows = jax.tree.leaves(arrays)[0].shape[0]
    num_tiles = math.ceil(num_rows / size)
    if num_tiles == 1:
        return function(arrays)
    tiles = split_tiles(arrays, math.ceil(num_rows / num_tiles))
    out = jax.lax.map(jax.checkpoint(function, prevent_cse=False), tiles)
    return out.reshape(-1, *out.shape[2:])[:num_rows]


Packed = tuple[Array | None, ...]
"""Elements [*B E], orbit invariants [*B Q] and data of pairs; None where there is no component."""


def pack(tokens: TokenBlock) -> Packed:
    """Components on a last axis, so that a tile of tokens is one copy.

    Slices of one component each would be taken again wherever a pair needs them, at twice the cost
    of all else that is done to the pair.
    """
    return tuple(jnp.stack(part, axis=-1) if part else None for part in tokens)


def unpack(packed: Packed) -> TokenBlock:
    """The components again."""
    return TokenBlock(*(() if part is None else unstack(part) for part in packed))


def _pair_shape(*blocks: TokenBlock) -> tuple[int, ...]:
    """That which the components of blocks broadcast to; () if there is no component."""
    return jnp.broadcast_shapes(*(c.shape for block in blocks for part in block for c in part))


@register_dataclass
@dataclasses.dataclass(frozen=True)
class SlicedTerm:
    """A term of pairs, a few pairs at a time.

    Args:
      term: A location term or a basis.
      num_pairs: Most pairs of a slice, unless one query has more.
    """

    term: Location
    num_pairs: int = dataclasses.field(metadata={"static": True})

    def __call__(self, query: TokenBlock, key: TokenBlock) -> Float[Array, "F *B #H T K"]:
        """The features of all pairs of a block of queries [*B T 1] and keys [*B 1 K]."""
        shape = _pair_shape(query, key)
        if not shape:  # tokens without components, of which nothing can be seen
            return self.term(query, key)
        if math.prod(shape) <= self.num_pairs:
            return self._whole(query, key)
        *batch, num_queries, num_keys = shape
        size = math.prod(batch)
        blocks = jax.tree.map(
            lambda x: x.reshape(size, *x.shape[len(batch) :]), (pack(query), pack(key))
        )
        if num_queries * num_keys <= self.num_pairs:
            num_examples = self.num_pairs // (num_queries * num_keys)
            out = map_tiles(self._examples, blocks, num_examples)
        else:
            out = jax.lax.map(self._rows, blocks)
        return jnp.moveaxis(out.reshape(*batch, *out.shape[1:]), len(batch), 0)

    def _whole(self, query: TokenBlock, key: TokenBlock) -> Float[Array, "F *B #H T K"]:
        """Of all pairs, also where the term is the same for some."""
        out = self.term(query, key)
        *batch, num_queries, num_keys = _pair_shape(query, key)
        heads = out.shape[-3]
        return jnp.broadcast_to(out, (out.shape[0], *batch, heads, num_queries, num_keys))

    def _examples(self, blocks: tuple[Packed, Packed]) -> Float[Array, "B F #H T K"]:
        return jnp.moveaxis(self._whole(*(unpack(block) for block in blocks)), 0, 1)

    def _rows(self, blocks: tuple[Packed, Packed]) -> Float[Array, "F #H T K"]:
        """Of one example, some queries at a time."""
        queries, (*keys, data) = blocks

        def rows(arrays: tuple[Packed, Array | None]) -> Float[Array, "T F #H K"]:
            queries, data = arrays
            return jnp.moveaxis(self._whole(unpack(queries), unpack((*keys, data))), 2, 0)

        num_keys = _pair_shape(unpack((*keys, data)))[-1]
        out = map_tiles(rows, (queries, data), max(1, self.num_pairs // num_keys))
        return jnp.moveaxis(out, 0, 2)


@register_dataclass
@dataclasses.dataclass(frozen=True)
class SlicedCombine:
    """A function of content and location, a few pairs at a time.

    Args:
      combine: The function.
      num_pairs: Most pairs of a slice, unless one query has more of each example.
    """

    combine: Callable[[Array, Array], Array]
    num_pairs: int = dataclasses.field(metadata={"static": True})

    def __call__(
        self, content: Float[Array, "F *B H T K"], location: Float[Array, "G *B H T K"]
    ) -> Float[Array, "*B H T K"]:
        """The logits of all pairs of a block."""
        *batch, _, _, num_keys = content.shape[1:]
        rows = jax.tree.map(lambda x: jnp.moveaxis(x, -2, 0), (content, location))

        def slice_of(rows: tuple[Array, Array]) -> Array:
            return jnp.moveaxis(self.combine(*(jnp.moveaxis(x, 0, -2) for x in rows)), -2, 0)

        size = max(1, self.num_pairs // max(1, math.prod(batch) * num_keys))
        return jnp.moveaxis(map_tiles(slice_of, rows, size), 0, -2)


def sliced(term: Location | None, num_pairs: int) -> Location | None:
    """The same term by slices."""
    return None if term is None else SlicedTerm(term, num_pairs)


def sliced_combine(combine: Combine, num_pairs: int) -> Combine:
    """The same function by slices; those that have a name cost nothing."""
    return SlicedCombine(combine, num_pairs) if callable(combine) else combine

"""The folded back end: pairs of many small examples, with the examples on the last axis.

Products of a few tokens are too small to be fast as products. With the examples last they are sums
of long vectors, and the pairs of all examples lie as the MLPs of location terms want them. To a
location term or a basis, all pairs of all examples are queries with one key each.

=============================  =======================
queries, keys, values          [H C N B]
keys, values of neighborhoods  [H C T K B]
logits, weights                [H T K B]
=============================  =======================
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from eqattn import numerics
from eqattn.attention.backends import dense
from eqattn.attention.backends.base import BackEnd, Terms, each_device_its_examples
from eqattn.attention.backends.key_tokens import Keys, Queries, gather
from eqattn.attention.neighborhoods import Neighborhood
from eqattn.attention.terms.combine import Combine, CombineMLP, combine_logits
from eqattn.attention.terms.content import DotProduct
from eqattn.attention.terms.location import Location, TokenBlock
from eqattn.typing import Array, Components, Float


class Folded(BackEnd):
    """Attention of all examples at once.

    Dot products and sums of values are made in float32 or wider, whatever the precision is.
    """

    name = "folded"

    def attend(
        self, queries: Queries, keys: Keys, neighborhood: Neighborhood | None, terms: Terms
    ) -> Float[Array, "*B T H _"]:
        """See :meth:`BackEnd.attend`."""
        if 0 in (*keys.values.shape[:-2], queries.failed.shape[-1]):
            return dense.attend(queries, keys, neighborhood, terms)
        run = functools.partial(_attend, terms=terms)
        return each_device_its_examples(run, queries, keys, neighborhood)


def _attend(
    queries: Queries, keys: Keys, neighborhood: Neighborhood | None, terms: Terms
) -> Float[Array, "B T H _"]:
    """The same of examples that one device has."""
    if neighborhood is not None:
        keys = gather(keys, neighborhood, queries.pair_values)
    num_examples, *_, num_keys, num_heads, _ = keys.values.shape
    num_queries = queries.failed.shape[-1]
    shape = (num_heads, num_queries, num_keys, num_examples)
    values = _channels_first(keys.values)
    content = _content(queries, keys, terms, (num_examples, *shape[:-1]))
    tokens = queries.tokens, keys.tokens._replace(data=queries.pair_data)
    others = (terms.location, terms.basis, terms.envelope)
    location, functions, envelope = (
        None if term is None else _of_pairs(name, term, *tokens, shape)
        for name, term in zip(dense.TERMS[1:], others, strict=True)
    )
    logits = _combine(content, location, terms.combine)
    if logits is None:
        logits = jnp.zeros((), jnp.promote_types(keys.values.dtype, jnp.float32))
    known = (keys.valid, keys.log_weights, *(() if keys.weights is None else (keys.weights,)))
    pairs = dense.PairWeights(*(_examples_last(x, x.ndim - 1) for x in known)).times(envelope)
    failed = _examples_last(queries.failed, 1)[:, None]
    logits = jnp.broadcast_to(logits, shape)
    weights = dense.normalize_logits(logits, pairs, terms.normalize, failed, axis=-2)
    dtype = jnp.promote_types(weights.dtype, values.dtype)
    sums = _sums(weights.astype(dtype), functions, values.astype(dtype))
    return jnp.transpose(sums, (3, 2, 0, 1))


def _examples_last(x: Array, num_axes: int) -> Array:
    """All axes but so many as one, and last."""
    x = x.reshape(math.prod(x.shape[: x.ndim - num_axes]), *x.shape[x.ndim - num_axes :])
    return jnp.moveaxis(x, 0, -1)


def _channels_first(x: Float[Array, "B ... H C"]) -> Float[Array, "H C ... B"]:
    """Tokens, or the neighbors of each, on the axes before the last."""
    num_axes = x.ndim - 3
    x = _examples_last(x, x.ndim - 1)
    return jnp.moveaxis(x, tuple(range(num_axes)), tuple(range(2, 2 + num_axes)))


def _as_pairs(x: Float[Array, "C ... B"]) -> Float[Array, "C #T K B"]:
    """What keys of one head have, or the neighbors of each query, as pairs have it."""
    return x if x.ndim == 4 else x[:, None]


def _content(
    queries: Queries, keys: Keys, terms: Terms, shape: tuple[int, ...]
) -> Float[Array, "F H T K B"] | None:
    """The features of the content term, whose logits have that shape [*B H T K]."""
    query = queries.features
    if query is None or keys.features is None or type(terms.content) is not DotProduct:
        alone = terms._replace(location=None, basis=None, envelope=None)
        features, *_ = dense.term_features(queries, keys, alone)
        if features is None:
            return None
        features = dense.features_of_pairs("content", features, shape)
        features = jnp.broadcast_to(features, (features.shape[0], *shape))
        return _examples_last(jnp.moveaxis(features, 0, -4), 4)
    dtype = jnp.promote_types(query.dtype, jnp.float32)
    rows, columns = (_channels_first(x).astype(dtype) for x in (query, keys.features))
    logits = _of_each_head(
        lambda q, k: jnp.sum(q[:, :, None, :] * _as_pairs(k), axis=0), rows, columns
    )
    return numerics.spread_infinities(logits / math.sqrt(query.shape[-1]))[None]


def _of_pairs(
    name: str, term: Location, query: TokenBlock, key: TokenBlock, shape: tuple[int, ...]
) -> Float[Array, "F #H T K B"]:
    """The features of a term; to the term, all pairs are queries with one key each."""
    num_heads, num_queries, num_keys, num_examples = shape

    def pairs(components: Components, axis: int) -> Components:
        full = (num_queries, num_keys, num_examples)
        known = (_examples_last(c, c.ndim - 1) for c in components)
        spread = (c if c.ndim == 3 else jnp.expand_dims(c, axis) for c in known)
        return tuple(jnp.broadcast_to(c, full).reshape(-1, 1) for c in spread)

    rows, columns = (
        TokenBlock(*(pairs(part, axis) for part in block[:2]))
        for block, axis in ((query, 1), (key, 0))
    )
    data = tuple(_examples_last(c, 2).reshape(-1, 1) for c in key.data)
    columns = columns._replace(data=data)
    num_pairs = num_queries * num_keys * num_examples
    features = dense.features_of_pairs(name, term(rows, columns), (num_heads, num_pairs, 1))
    return features.reshape(*features.shape[:2], *shape[1:])


def _combine(
    content: Float[Array, "F H T K B"] | None,
    location: Float[Array, "G #H T K B"] | None,
    combine: Combine,
) -> Float[Array, "#H T K B"] | None:
    """The logits, where there are any."""
    if callable(combine) and not isinstance(combine, CombineMLP):
        # One axis of examples, in front, as functions of features may expect.
        content, location = (
            None if x is None else jnp.moveaxis(x, -1, 1) for x in (content, location)
        )
        logits = combine_logits(content, location, combine)
        return None if logits is None else jnp.moveaxis(logits, 0, -1)
    shape = next((x.shape[-2:] for x in (content, location) if x is not None), ())

    def flat(x: Array | None) -> Array | None:
        """Keys of all examples as if they were those of one."""
        return None if x is None else x.reshape(*x.shape[:3], math.prod(shape))

    logits = combine_logits(flat(content), flat(location), combine)
    return None if logits is None else logits.reshape(*logits.shape[:2], *shape)


def _sums(
    weights: Float[Array, "H T K B"],
    functions: Float[Array, "M #H T K B"] | None,
    values: Float[Array, "H V ... B"],
) -> Float[Array, "H _ T B"]:
    """Sums of values under attention weights, functions first, then channels."""
    factors = weights[None] if functions is None else weights * functions
    sums = _of_each_head(
        lambda w, v: jnp.sum(w[:, None] * _as_pairs(v), axis=-2),
        jnp.moveaxis(factors, 1, 0),
        values,
    )
    return sums.reshape(sums.shape[0], math.prod(sums.shape[1:3]), *sums.shape[3:])


def _of_each_head(function: Callable[[Array, Array], Array], a: Array, b: Array) -> Array:
    """A sum of products, head by head.

    As a loop, since XLA would otherwise make the factors again for each of the products; of which
    nothing but the factors is kept for derivatives.
    """
    body = jax.checkpoint(lambda arrays: function(*arrays), prevent_cse=False)
    return jax.lax.map(body, (a, b))

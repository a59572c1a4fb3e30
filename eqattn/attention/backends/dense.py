"""The dense back end: obviously right, it defines what every other back end computes."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from eqattn.attention.backends.base import BackEnd, Terms
from eqattn.attention.backends.key_tokens import Keys, Queries, gather
from eqattn.attention.neighborhoods import Neighborhood
from eqattn.attention.terms.combine import combine_logits
from eqattn.attention.terms.location import pair_blocks
from eqattn.lift.weights import masked_exp, positive
from eqattn.typing import Array, Bool, Float

TERMS = ("content", "location", "basis", "envelope")
"""What is made of pairs; the last three are functions of where they are alone."""


class Dense(BackEnd):
    """Attention with all logits at once."""

    name = "dense"
    takes_symbolic_sizes = True

    def attend(
        self, queries: Queries, keys: Keys, neighborhood: Neighborhood | None, terms: Terms
    ) -> Float[Array, "*B T H _"]:
        """See :meth:`BackEnd.attend`."""
        return attend(queries, keys, neighborhood, terms)


def attend(
    queries: Queries, keys: Keys, neighborhood: Neighborhood | None, terms: Terms
) -> Float[Array, "*B T H _"]:
    """Attention with all logits at once; arguments as of :meth:`BackEnd.attend`."""
    if neighborhood is not None:
        keys = gather(keys, neighborhood, queries.pair_values)
    logits, functions, pairs = pair_terms(queries, keys, terms)
    failed = queries.failed[..., None, :, None]
    weights = normalize_logits(logits, pairs, terms.normalize, failed)
    out = weighted_values(weights, functions, keys.values, terms.precision)
    return out.astype(keys.values.dtype)


def pair_terms(
    queries: Queries, keys: Keys, terms: Terms
) -> tuple[Float[Array, "*B H T K"], Float[Array, "M *B #H T K"] | None, "PairWeights"]:
    """Logits of all pairs of a block, basis functions where there are any, and weights of keys."""
    batch = keys.values.shape[: -3 if keys.weights is None else -4]
    num_queries = queries.failed.shape[-1]
    shape = (*batch, keys.values.shape[-2], num_queries, keys.values.shape[-3])
    features = term_features(queries, keys, terms)
    content, location, functions, envelope = (
        None if term is None else features_of_pairs(name, term, shape)
        for name, term in zip(TERMS, features, strict=True)
    )
    logits = combine_logits(content, location, terms.combine)
    if logits is None:
        logits = jnp.zeros((), jnp.promote_types(keys.values.dtype, jnp.float32))
    return jnp.broadcast_to(logits, shape), functions, of_pairs(keys).times(envelope)


def features_of_pairs(name: str, term: Array, shape: tuple[int, ...]) -> Array:
    """The features of a term for all pairs, also where it is the same for some of them.

    Raises:
      ValueError: For features of another shape.
    """
    fits = term.ndim == len(shape) + 1 and all(
        n in (1, size) for n, size in zip(term.shape[1:], shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"{name} must return features with shape [F *B H T K] for logits {shape}, "
            f"got {term.shape}"
        )
    *batch, _, num_queries, num_keys = shape
    return jnp.broadcast_to(term, (term.shape[0], *batch, term.shape[-3], num_queries, num_keys))


def term_features(queries: Queries, keys: Keys, terms: Terms) -> tuple[Array | None, ...]:
    """Features of all pairs of a block by each of :data:`TERMS`, where there are such."""
    pair = pair_blocks(queries.tokens, keys.tokens, queries.pair_data)
    content, query, key = None, queries.features, keys.features
    if terms.content is not None and query is not None and key is not None:
        content = terms.content(query, key, *pair, terms.precision)
    others = (terms.location, terms.basis, terms.envelope)
    return content, *(None if term is None else term(*pair) for term in others)


class PairWeights(NamedTuple):
    """What the keys of each query say of their weights, beside logits; all broadcast to those.

    Attributes:
      valid: Marks the keys that count.
      log_weights: Logarithms of their weights.
      factors: Factors of their weights, by the neighborhood or the envelope. A key whose factor
        is 0 does not count.
    """

    valid: Bool[Array, "..."]
    log_weights: Float[Array, "..."]
    factors: Float[Array, "..."] | None = None

    def times(self, envelope: Float[Array, "F ..."] | None) -> "PairWeights":
        """The same with one more factor: the single feature of an envelope, if there is one.

        Raises:
          ValueError: For an envelope of several features.
        """
        if envelope is None:
            return self
        if envelope.shape[0] != 1:
            raise ValueError(f"envelope must have one feature, got {envelope.shape[0]}")
        factors = envelope[0] if self.factors is None else self.factors * envelope[0]
        return self._replace(factors=factors)


def of_pairs(keys: Keys) -> PairWeights:
    """The same with axes of heads and queries in front of the keys [*B 1 #T K]."""
    if keys.weights is None:  # all queries have the same keys
        return PairWeights(*(x[..., None, None, :] for x in (keys.valid, keys.log_weights)))
    return PairWeights(*(x[..., None, :, :] for x in (keys.valid, keys.log_weights, keys.weights)))


def exponential_weights(
    logits: Float[Array, "..."], pairs: PairWeights, normalize: str, axis: int = -1
) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
    """Attention weights of the keys of each query, up to a factor.

    ======================  ===================  ========
    ``normalize``           weights              divided by
    ======================  ===================  ========
    ``softmax``             ω exp(logit)         Σ ω exp(logit)
    ``mean``                ω logit              Σ ω
    ``exponential_mean``    ω exp(logit)         Σ ω
    ======================  ===================  ========

    ω is the factor times the exponential of the log-weight. Keys that do not count have weight 0.

    Args:
      logits: Logits of all pairs.
      pairs: Validity and weights of the keys.
      normalize: Normalization of the logits.
      axis: Axis of the keys.

    Returns:
      Weights and their divisor, both divided by exp(top), and top, which the quotient does not
      depend on.
    """
    # A factor that is NaN leaves the key where it is, so that the output is NaN.
    valid = pairs.valid if pairs.factors is None else pairs.valid & ~(pairs.factors <= 0)
    log_omega = jnp.where(valid, pairs.log_weights.astype(logits.dtype), 0.0)
    logits = jnp.where(valid, logits, 0.0)
    is_softmax = normalize == "softmax"
    omega, top = masked_exp(logits + log_omega if is_softmax else log_omega, valid, axis)
    if pairs.factors is not None:
        omega = jnp.where(valid, pairs.factors.astype(logits.dtype), 0.0) * omega
    weights = omega
    if not is_softmax:
        weights = omega * (jnp.exp(logits) if normalize == "exponential_mean" else logits)
    return weights, jnp.sum(omega, axis, keepdims=True), top


def normalize_logits(
    logits: Float[Array, "..."],
    pairs: PairWeights,
    normalize: str,
    failed: Float[Array, "..."],
    axis: int = -1,
) -> Float[Array, "..."]:
    """Attention weights of the keys of each query: 0 where it has none, NaN where it failed."""
    weights, total, _ = exponential_weights(logits, pairs, normalize, axis)
    return weights / (positive(total) + failed.astype(total.dtype))


def weighted_values(
    weights: Float[Array, "*B H T K"],
    functions: Float[Array, "M *B #H T K"] | None,
    value: Float[Array, "..."],
    precision: jax.lax.Precision | None,
) -> Float[Array, "*B T H _"]:
    """Sums of values [*B K H V], or [*B T K H V], under attention weights.

    With basis functions it is one sum for each, in one product: functions first, then channels.
    The sums are float32 or wider.
    """
    keys = "tkhv" if value.ndim > weights.ndim else "khv"
    rows, sums = "htk", "thv"
    if functions is not None:
        weights = jnp.moveaxis(weights * functions, 0, -2)
        rows, sums = "htmk", "thmv"
    out = jnp.einsum(
        f"...{rows},...{keys}->...{sums}",
        weights.astype(value.dtype),
        value,
        precision=precision,
        preferred_element_type=jnp.promote_types(value.dtype, jnp.float32),
    )
    return out if functions is None else out.reshape(*out.shape[:-2], math.prod(out.shape[-2:]))

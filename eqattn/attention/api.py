"""``attend``: attention over group elements, dispatched to a back end."""

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp
from jax.export import is_symbolic_dim

from eqattn import numerics
from eqattn.attention.backends.base import BackEnd, Terms
from eqattn.attention.backends.chunked import Chunked
from eqattn.attention.backends.dense import Dense
from eqattn.attention.backends.exports import check_known_sizes
from eqattn.attention.backends.folded import Folded
from eqattn.attention.backends.key_tokens import Keys, Queries
from eqattn.attention.backends.sizes import device_sizes
from eqattn.attention.inputs import (
    check_leading,
    check_neighborhood,
    check_pairs,
    check_shapes,
    clean,
    failures,
    seen_failures,
    seen_pairs,
    token_block,
    validity,
)
from eqattn.attention.neighborhoods import Neighborhood
from eqattn.attention.terms.combine import Combine, CombineMLP
from eqattn.attention.terms.content import Content, DotProduct
from eqattn.attention.terms.harmonics import HarmonicBasis
from eqattn.attention.terms.location import (
    Location,
    PairMLP,
    RawPairs,
    SmoothEnvelope,
)
from eqattn.attention.terms.value_basis import BernsteinBasis, FourierBasis
from eqattn.checks import check_instance, check_option
from eqattn.sharding import on_any_mesh, share_of_device
from eqattn.typing import Array, Bool, Float

Normalize = Literal["softmax", "mean", "exponential_mean"]
Implementation = Literal["dense", "folded", "chunked", "pallas"]
FOLDED_TERMS = (PairMLP, RawPairs, FourierBasis, BernsteinBasis, SmoothEnvelope)
"""Terms that ``None`` folds; others may expect the axes of the batch."""


def pick_implementation(
    num_pairs: int,
    pair_numbers: int,
    device: str,
    *,
    num_examples: int = 1,
    example_pairs: int | None = None,
) -> Implementation:
    """The back end that ``implementation=None`` stands for.

    ``"chunked"`` for many numbers, which then is faster and takes less memory. For few numbers
    ``"dense"`` or, on a CPU, ``"folded"`` if there are many examples of few pairs; otherwise
    ``"chunked"`` for fewer numbers if many of them are made of each pair. Derivatives of any order
    exist in all three. The limits are those of ``eqattn/attention/backends/sizes.py``.
    ``"pallas"`` is never picked: how fast it is on a GPU has not been measured yet. Where the
    number of pairs is not known, in an export with symbolic sizes, it is ``"dense"``, which
    compares no sizes.

    Args:
      num_pairs: Number of pairs of a query and a key, in all examples together.
      pair_numbers: Numbers made of each pair: the heads, or the widest layer of a :class:`PairMLP`,
        of all heads together, where that is more.
      device: ``jax.default_backend()``.
      num_examples: Number of examples in the batch.
      example_pairs: Number of pairs of one of them, where ``"folded"`` may be picked: without a
        neighborhood, for the terms of this package, and dot products or no content.

    >>> pick_implementation(16 * 19 * 19, 8, "cpu"), pick_implementation(512 * 512, 8, "cpu")
    ('dense', 'chunked')
    >>> pick_implementation(16 * 19 * 19, 128, "cpu")
    'chunked'
    >>> pick_implementation(100 * 6 * 6, 128, "cpu", num_examples=100, example_pairs=6 * 6)
    'folded'
    """
    if is_symbolic_dim(num_pairs):
        return "dense"
    sizes, num_numbers = device_sizes(device), num_pairs * pair_numbers
    if num_numbers > sizes.dense_numbers:
        return "chunked"
    is_small = example_pairs is not None and example_pairs <= sizes.folded_pairs
    if is_small and sizes.folded_examples is not None and num_examples >= sizes.folded_examples:
        return "folded"
    is_wide = pair_numbers >= sizes.wide_pair and num_numbers > sizes.wide_numbers
    return "chunked" if is_wide else "dense"


@on_any_mesh("value", 3)
def attend(
    query: Float[Array, "*B T H _"] | None,
    key: Float[Array, "*B K H C"] | None,
    value: Float[Array, "*B K H V"],
    query_elements: Float[Array, "*B T E"],
    key_elements: Float[Array, "*B K E"],
    location: Location | None = None,
    *,
    content: Content = DotProduct(),
    basis: Location | None = None,
    envelope: Location | None = None,
    pair_data: Float[Array, "*B T _ P"] | None = None,
    pair_values: Float[Array, "*B T _ _"] | None = None,
    neighborhood: Neighborhood | None = None,
    query_orbits: Float[Array, "*B T Q"] | None = None,
    key_orbits: Float[Array, "*B K Q"] | None = None,
    query_mask: Bool[Array, "*B T"] | None = None,
    key_mask: Bool[Array, "*B K"] | None = None,
    log_weights: Float[Array, "*B K"] | None = None,
    combine: Combine = "sum",
    normalize: Normalize = "softmax",
    precision: jax.lax.Precision | None = None,
    implementation: Implementation | BackEnd | None = None,
) -> Float[Array, "*B T H _"]:
    """Attention that sees the group elements of a query and a key only as g_i⁻¹ g_j.

    out_i = Σ_j w_ij v_j, w_ij = normalize_j(combine(content(q_i, k_j), location(g_i⁻¹ g_j))),
    and with a basis out_im = Σ_j w_ij φ_m(g_i⁻¹ g_j) v_j: all that location-dependent values
    Σ_m φ_m(g_i⁻¹ g_j) W_m v_j need, since the W_m can follow the sum (attentive convolution). If
    there is neither content nor location, the weights are uniform (LieConv, arXiv 2002.12880).

    Equivariance: exact to the group, [u·F](g) = F(u⁻¹ g): with all elements replaced by u g the
    result is the same. Published as LieSelfAttention, arXiv 2012.10885.

    Args:
      query: Features of the queries, or None for logits without content.
      key: Features of the keys, or None with ``query``.
      value: Values of the keys.
      query_elements: Group elements g_i.
      key_elements: Group elements g_j.
      location: Term of the logits in g_i⁻¹ g_j (see :class:`Location`), or None.
      content: Term of the logits in q_i and k_j: q_i·k_j / sqrt(C) by default, or another
        :class:`Content`.
      basis: φ, the M features of a function of pairs (see :class:`Location`), or None.
      envelope: Factor of the weights ω of keys, a function of pairs such as
        :class:`SmoothEnvelope`. A key at which it is 0 counts as masked for the query, in every
        normalization.
      pair_data: Numbers that are known of each pair, such as a kind of bond, which terms of pairs
        see as the ``data`` of their block of keys; with a neighborhood, those of the pairs of each
        query with its K neighbors.
      pair_values: Values of the pairs of each query with its K neighbors, the same for all heads,
        which are summed beside those of keys: channels after the V of ``value``. They need a
        neighborhood.
      neighborhood: Keys that each query attends to, see :func:`find_neighbors`; all by default.
      query_orbits: Orbit invariants that ``location`` sees, if any.
      key_orbits: The same of the keys.
      query_mask: Marks the valid queries; the others may hold anything, and get zeros.
      key_mask: Marks the valid keys; the others may hold anything. If none is valid, the result is
        0.
      log_weights: Logarithms of quadrature weights ω of the keys; -inf counts as masked.
      combine: ``"sum"``, ``"product"`` or a callable such as :class:`CombineMLP`, which terms of
        more than one feature need.
      normalize: ``"softmax"``; ``"mean"``, by the total weight of valid keys, without an
        exponential; ``"exponential_mean"``.
      precision: Precision of the products with query, key and value. Geometry is always full
        precision.
      implementation: ``"dense"`` stores what it computes of all pairs; ``"folded"`` too, with the
        examples on the last axis, which is fast for many of few tokens, without a neighborhood, and
        for terms that take all shapes from their blocks; ``"chunked"`` computes tiles of pairs,
        again for derivatives, in memory linear in the tokens; ``"pallas"`` does so in fused kernels
        on a GPU, for the terms that :mod:`eqattn.attention.backends.pallas.attention` lists, and is
        interpreted (slow, for tests) on a CPU; None picks one of the first three by
        :func:`pick_implementation`. Those have derivatives of any order and mode; of ``"pallas"``,
        first derivatives are kernels, and further ones chunked, in reverse mode only: in forward
        mode jax raises a TypeError. Or a :class:`BackEnd`, such as one of your own.

    Returns:
      The attended values [*B T H V], or with a basis [*B T H M V] with the last two axes as one,
      in the type of ``value``; logits, weights and basis are float32 or wider. A query that is not
      finite, or sees a valid key of which anything is not, gets NaN; no other query does.

    Raises:
      TypeError: If ``neighborhood`` has another type.
      ValueError: For shapes or types that do not fit, an unknown option, or
        ``normalize="mean"`` without content and location, where all weights would be 0.
      NotImplementedError: For terms or types that ``implementation="pallas"`` does not support, or
        symbolic sizes (of :mod:`jax.export`) with any but
        ``"dense"``.
    """
    check_option("normalize", normalize, Normalize)
    back_end = None if implementation is None else get_back_end(implementation)
    if back_end is not None and not back_end.takes_symbolic_sizes:
        check_known_sizes(back_end.name, query_elements.shape[:-1], key_elements.shape[:-1])
    for name, term, kind in (
        ("content", content, Content),
        ("location", location, Location),
        ("basis", basis, Location),
        ("envelope", envelope, Location),
    ):
        if term is not None and not callable(term):
            raise ValueError(f"{name} must be a {kind.__name__}, got {term!r}")
    check_instance("neighborhood", neighborhood, Neighborhood | None)
    check_shapes(query, key, value, query_elements, key_elements, content)
    check_leading(
        query_elements.shape[:-1],
        {"query_mask": query_mask, "query_orbits": query_orbits},
    )
    check_leading(
        key_elements.shape[:-1],
        {"key_mask": key_mask, "key_orbits": key_orbits, "log_weights": log_weights},
    )
    if normalize == "mean" and query is None and location is None:
        raise ValueError("normalize='mean' needs a content or a location term")
    valid, log_weights = validity(value.shape[:-2], key_mask, log_weights)
    query, key, value = clean(query, query_mask), clean(key, valid), clean(value, valid)
    rows = clean(query_elements, query_mask, 1), clean(query_orbits, query_mask)
    columns = clean(key_elements, valid, 1), clean(key_orbits, valid)
    num_columns = value.shape[-3]
    if neighborhood is not None:
        check_neighborhood(neighborhood, query_elements, value)
        num_columns = neighborhood.indices.shape[-1]
    elif pair_values is not None:
        raise ValueError("pair_values need a neighborhood, got None")
    check_pairs(
        (*query_elements.shape[:-1], num_columns),
        {"pair_data": pair_data, "pair_values": pair_values},
    )
    if neighborhood is not None and neighborhood.elements is not None:
        moved = clean(neighborhood.elements, seen_pairs(valid, query_mask, neighborhood), 1)
        neighborhood = dataclasses.replace(neighborhood, elements=moved)
    if pair_data is not None:
        pair_data = clean(pair_data, seen_pairs(valid, query_mask, neighborhood))
    if pair_values is not None:
        pair_values = clean(pair_values, seen_pairs(valid, query_mask, neighborhood))
    if back_end is None:
        num_examples = share_of_device(value, math.prod(value.shape[:-3]))
        num_pairs = num_examples * query_elements.shape[-2] * num_columns
        made = (x for x in (location, basis) if isinstance(x, PairMLP | HarmonicBasis))
        widths = (term.width for term in made)
        can_fold = (
            neighborhood is None
            and (query is None or type(content) is DotProduct)
            and all(map(_can_be_folded, (location, basis, envelope)))
            and (not callable(combine) or type(combine) is CombineMLP)
        )
        name = pick_implementation(
            num_pairs,
            max(value.shape[-2], *widths, 0),
            jax.default_backend(),
            num_examples=num_examples,
            example_pairs=query_elements.shape[-2] * num_columns if can_fold else None,
        )
        back_end = get_back_end(name)
    content_term = None if query is None else content
    terms = Terms(content_term, location, basis, combine, normalize, precision, envelope)
    # A term that does not see it, or tends to 0, would hide a token that is not finite.
    is_shown = type(content) is DotProduct and back_end.shows_failed_features
    features = (None, None) if is_shown else (query, key)
    failed_keys = failures((features[1], value), (*columns, clean(log_weights, valid)[..., None]))
    failed = failures((features[0],), rows) + seen_failures(failed_keys, neighborhood)
    moved = None if neighborhood is None else neighborhood.elements
    for pairs in (pair_data, pair_values, moved):
        if pairs is not None:
            failed = failed + jnp.sum(numerics.nan_unless_finite(pairs), axis=-1)
    out = back_end.attend(
        Queries(query, token_block(*rows), failed, pair_data, pair_values),
        Keys(key, value, token_block(*columns), valid, log_weights),
        neighborhood,
        terms,
    )
    expected = (*query_elements.shape[:-1], value.shape[-2])
    if out.shape[:-1] != expected or out.dtype != value.dtype:
        raise ValueError(
            f"implementation {back_end.name!r} must return {value.dtype} of shape {expected} + "
            f"(channels,), got {out.dtype} of shape {out.shape}"
        )
    return out if query_mask is None else jnp.where(query_mask[..., None, None], out, 0)


def _can_be_folded(term: Location | None) -> bool:
    """Whether a term takes all shapes from its blocks, as far as is known."""
    if isinstance(term, HarmonicBasis):
        return _can_be_folded(term.radial)
    return term is None or type(term) in FOLDED_TERMS


def get_back_end(implementation: Implementation | BackEnd) -> BackEnd:
    """Returns a back end as it is, or that of the library with a name.

    Args:
      implementation: The back end, or its name.

    Raises:
      ValueError: For anything else.
    """
    if isinstance(implementation, BackEnd):
        return implementation
    check_option("implementation", implementation, Implementation)
    if implementation == "pallas":
        # Loading Pallas takes a third of a second.
        from eqattn.attention.backends.pallas.attention import Pallas

        return Pallas()
    return {"dense": Dense, "folded": Folded, "chunked": Chunked}[implementation]()

"""The Pallas back end of :func:`eqattn.attention.attend`: what it supports, and how.

What belongs to a pair never leaves the chip, forward or backward; what is kept for derivatives is
the result, and one number for each query and head.

=====================  ===========================================================================
terms                  ``DotProduct`` or no content; ``PairMLP`` with ``PairFeatures``, in both
                       forms, or no location; not none of both. ``combine="sum"``,
                       ``normalize="softmax"``, no basis, no neighborhood
first derivatives      by features, elements, orbit invariants, log-weights and parameters: kernels
further derivatives    by the chunked back end, exact and at its speed. Forward-mode derivatives
                       (``jax.jvp``, ``jax.jacfwd``) raise a TypeError: use the chunked back end
types                  geometry, MLP, softmax and sums are float32; float64 where interpreted
devices                GPUs, compiled by Triton. TPUs: the kernels lower for them, with all tokens
                       of an example in fast memory, and have never run on one. Elsewhere kernels
                       are interpreted: right, but slow, and meant for tests
=====================  ===========================================================================

Which of them is decided by ``jax.default_backend()``. Tiles are those of
:mod:`eqattn.attention.backends.sizes`.
"""

import math
from typing import cast

import jax
import jax.numpy as jnp

from eqattn.attention.backends import dense
from eqattn.attention.backends.base import BackEnd, Terms
from eqattn.attention.backends.key_tokens import Keys, Queries
from eqattn.attention.backends.pallas.derivatives import fused_attention
from eqattn.attention.backends.pallas.fitting import fit, heads_of_program, padded
from eqattn.attention.backends.pallas.layout import Inputs, Parameters
from eqattn.attention.backends.pallas.tile_ops import Plan, Target
from eqattn.attention.backends.sizes import kernel_tiles
from eqattn.attention.neighborhoods import Neighborhood
from eqattn.attention.terms.content import DotProduct
from eqattn.attention.terms.location import PairFeatures, PairMLP
from eqattn.typing import Array, Float


class Pallas(BackEnd):
    """Attention by fused kernels, for what the table above lists."""

    name = "pallas"
    shows_failed_features = False  # products of a kernel do not

    def attend(
        self, queries: Queries, keys: Keys, neighborhood: Neighborhood | None, terms: Terms
    ) -> Float[Array, "*B T H _"]:
        """See :meth:`BackEnd.attend`."""
        # For the errors of terms that do not fit.
        jax.eval_shape(lambda: dense.pair_terms(queries, keys, terms))
        _check_supported(queries, neighborhood, terms)
        batch, num_keys, num_heads = keys.values.shape[:-3], *keys.values.shape[-3:-1]
        if 0 in (*batch, queries.failed.shape[-1], num_keys, *keys.values.shape[-2:]):
            return dense.attend(queries, keys, neighborhood, terms)
        size = math.prod(batch)
        queries, keys = jax.tree.map(
            lambda x: x.reshape(size, *x.shape[len(batch) :]), (queries, keys)
        )
        location = terms.location if isinstance(terms.location, PairMLP) else None
        parameters = None if location is None else _for_all_heads(location, num_heads)
        inputs = Inputs(
            queries.features,
            queries.tokens,
            keys.features,
            keys.values,
            keys.tokens,
            keys.log_weights,
            parameters,
        )
        plan = make_plan(inputs, location, terms.precision, _target())
        out, _ = cast(tuple[Array, Array], fused_attention(plan, inputs, keys.valid))
        out = out + queries.failed[..., None, None].astype(out.dtype)
        return out.reshape(*batch, *out.shape[1:])


def _check_supported(queries: Queries, neighborhood: Neighborhood | None, terms: Terms) -> None:
    location, query = terms.location, queries.features
    is_mlp = type(location) is PairMLP and type(location.features) is PairFeatures
    for name, value, is_supported in (
        ("content", terms.content, terms.content is None or type(terms.content) is DotProduct),
        ("location", location, location is None or is_mlp),
        ("basis", terms.basis, terms.basis is None),
        ("envelope", terms.envelope, terms.envelope is None),
        ("pair_data", queries.data, queries.data is None),
        ("neighborhood", neighborhood, neighborhood is None),
        ("combine", terms.combine, terms.combine == "sum"),
        ("normalize", terms.normalize, terms.normalize == "softmax"),
        ("query", query, query is not None or location is not None),
    ):
        if not is_supported:
            shown = repr(value) if isinstance(value, str) else type(value).__name__
            raise NotImplementedError(
                f"implementation='pallas' does not support {name} {shown}; "
                "use implementation='chunked'"
            )


def _for_all_heads(location: PairMLP, num_heads: int) -> Parameters:
    """Weights and biases with an output, or an MLP, for each head."""
    weights, biases = tuple(location.weights), tuple(location.biases)
    if weights[0].ndim == 3 and weights[0].shape[0] == 1:
        weights, biases = (tuple(x[0] for x in part) for part in (weights, biases))
    if weights[0].ndim == 2 and weights[-1].shape[1] == 1:
        weights, biases = (
            (*part[:-1], jnp.repeat(part[-1], num_heads, axis=-1)) for part in (weights, biases)
        )
    return weights, biases


def _target() -> Target:
    """What runs kernels by default, as JAX's default backend is."""
    backend = jax.default_backend()
    return cast(Target, backend if backend in ("gpu", "tpu") else "interpreter")


def make_plan(
    inputs: Inputs,
    location: PairMLP | None,
    precision: jax.lax.Precision | None,
    target: Target,
) -> Plan:
    """Types and tiles of one call.

    Raises:
      NotImplementedError: For float64 where kernels are compiled.
    """
    arrays = [inputs.value] + ([] if inputs.query is None else [inputs.query, inputs.key])
    if location is not None:
        arrays += jax.tree.leaves((inputs.tokens, inputs.key_tokens))
    dtype = jnp.result_type(jnp.float32, *arrays)
    if target != "interpreter" and dtype == jnp.float64:
        raise NotImplementedError(
            f"implementation='pallas' does not support float64 on a {target.upper()}; "
            "use implementation='chunked'"
        )
    num_keys, num_heads, channels = inputs.value.shape[1:]
    key_channels = 0 if inputs.query is None else inputs.query.shape[-1]
    sizes = padded(channels), padded(key_channels)
    tiles = kernel_tiles(target, jax.devices()[0].device_kind, location is not None, max(sizes))
    is_shared = location is not None and location.weights[0].ndim == 2
    return Plan(
        rows=fit(tiles.rows, inputs.num_queries),
        columns=fit(tiles.columns, num_keys),
        heads=heads_of_program(num_heads, sum(sizes)) if is_shared else 1,
        num_elements=len(inputs.tokens.elements),
        features=None if location is None else location.features,
        activation="" if location is None else location.activation,
        final_activation=location is not None and location.final_activation,
        scale=1.0 / math.sqrt(max(1, key_channels)),
        dtype=dtype,
        precision=precision,
        num_warps=tiles.num_warps,
        num_stages=tiles.num_stages,
        target=target,
    )

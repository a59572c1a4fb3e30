"""Sums of plain attention, to which representation attention comes down: no geometry is left here.

Queries [*B T H C], keys [*B K H C] and values [*B K H V]; keys may be invalid and have log-weights,
those of invalid ones finite.
"""

import functools
import math
from typing import Literal

import jax
import jax.numpy as jnp

from eqattn import numerics
from eqattn.attention.backends.base import Terms
from eqattn.attention.backends.chunked import Chunked
from eqattn.attention.backends.key_tokens import Keys, Queries
from eqattn.attention.backends.sizes import CUDNN_CHANNELS
from eqattn.attention.terms.content import DotProduct
from eqattn.attention.terms.location import TokenBlock
from eqattn.lift.weights import masked_exp, positive
from eqattn.typing import Array

_MASKED = -1e30


def softmax(
    query: Array,
    key: Array,
    value: Array,
    valid: Array | None,
    log_weights: Array | None,
    precision: jax.lax.Precision | None,
) -> Array:
    """Sums in float32 or wider.

    What :func:`jax.nn.dot_product_attention` does, with heads before tokens, which on CPU saves the
    compiler transposed copies of all weights, and with the division after the sum.
    """
    query, key, value = (jnp.swapaxes(x, -3, -2) for x in (query, key, value))
    dtype = jnp.promote_types(key.dtype, jnp.float32)
    options = {"precision": precision, "preferred_element_type": dtype}
    # Powers of two lose no digit of a narrow query; what is left of the factor meets the logits.
    scale = 1 / math.sqrt(query.shape[-1])
    power = 2.0 ** round(math.log2(scale))
    logits = jnp.einsum("...htc,...hkc->...htk", query * power, key, **options)
    if scale != power:
        logits = logits * (scale / power)
    logits = numerics.spread_infinities(logits)
    bias = _bias(valid, log_weights, dtype)
    if bias is not None:
        logits = logits + bias[..., None, None, :]
    # The quotient does not depend on it, so that no derivative is lost.
    top = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    weights = jnp.exp(logits - top)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    options["preferred_element_type"] = jnp.promote_types(value.dtype, jnp.float32)
    sums = jnp.einsum("...htk,...hkv->...htv", weights.astype(value.dtype), value, **options)
    return jnp.swapaxes(sums / total, -3, -2)


def jax_nn_softmax(
    query: Array, key: Array, value: Array, valid: Array | None, log_weights: Array | None
) -> Array:
    """The same by :func:`jax.nn.dot_product_attention`, fused where the device has a kernel.

    Log-weights ride as two more channels, since a bias would be made for all pairs; where the type
    is narrow, the second is what rounding takes from the first.
    """
    batch, num_values = query.shape[:-3], value.shape[-1]
    scale = 1 / math.sqrt(query.shape[-1])
    dtype = jnp.result_type(query, key, value)
    query, key, value = (x.astype(dtype) for x in (query, key, value))
    if valid is not None and log_weights is not None:
        # At most 0, and no less than a narrow type holds; the softmax does not see the difference.
        _, top = masked_exp(log_weights, valid, -1)
        top = jnp.where(valid, top, 0)
        least = 0.5 * scale * float(jnp.finfo(dtype).min)
        log_weights = jnp.clip(log_weights - top, least, 0)
        high = (log_weights / scale).astype(key.dtype)
        low = (log_weights / scale - high.astype(log_weights.dtype)).astype(key.dtype)
        parts = jnp.broadcast_to(
            jnp.stack([high, low], axis=-1)[..., None, :], (*key.shape[:-1], 2)
        )
        key = jnp.concatenate([key, parts], axis=-1)
        query = jnp.concatenate([query, jnp.ones((*query.shape[:-1], 2), query.dtype)], axis=-1)
    width = 8 * math.ceil(max(query.shape[-1], num_values) / 8)  # one for all three

    def padded(x: Array) -> Array:
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, width - x.shape[-1])])
        return x.reshape(-1, *x.shape[len(batch) :])

    mask = None if valid is None else valid.reshape(-1, 1, 1, valid.shape[-1])
    out = jax.nn.dot_product_attention(
        padded(query),
        padded(key),
        padded(value),
        mask=mask,
        scale=scale,
        implementation=jax_nn_kernel(jax.default_backend(), key.dtype, width),
    )
    return out[..., :num_values].reshape(*batch, *out.shape[1:-1], num_values)


def jax_nn_kernel(device: str, dtype: jnp.dtype, width: int) -> Literal["cudnn", "xla"]:
    """Which kernel of ``jax.nn.dot_product_attention`` serves on a kind of device.

    >>> jax_nn_kernel("gpu", jnp.dtype("bfloat16"), 64)
    'cudnn'
    >>> jax_nn_kernel("cpu", jnp.dtype("bfloat16"), 64)
    'xla'
    """
    is_narrow = dtype in (jnp.bfloat16, jnp.float16)
    return "cudnn" if device == "gpu" and is_narrow and width <= CUDNN_CHANNELS else "xla"


def chunked_softmax(
    query: Array,
    key: Array,
    value: Array,
    valid: Array | None,
    log_weights: Array | None,
    precision: jax.lax.Precision | None,
) -> Array:
    """The same tile by tile: attention to elements of which nothing is left to be seen."""
    shape = value.shape[:-2]
    valid = jnp.ones(shape, bool) if valid is None else valid
    log_weights = jnp.zeros(shape, jnp.float32) if log_weights is None else log_weights
    nothing = TokenBlock((), ())
    keys = Keys(key, value, nothing, valid, log_weights)
    terms = Terms(DotProduct(), None, None, "sum", "softmax", precision)
    queries = Queries(query, nothing, jnp.zeros(query.shape[:-2], jnp.float32))
    return Chunked().attend(queries, keys, None, terms)


def _bias(valid: Array | None, log_weights: Array | None, dtype) -> Array | None:
    """One number for each key: its log-weight, or what no logit makes up for."""
    if valid is None:
        return None
    weights = 0.0 if log_weights is None else log_weights.astype(dtype)
    return jnp.where(valid, weights, jnp.asarray(_MASKED, dtype))


def linear(
    plain_query: Array,
    plain_key: Array,
    query: Array,
    key: Array,
    value: Array,
    valid: Array | None,
    log_weights: Array | None,
    precision: jax.lax.Precision | None,
) -> Array:
    """Sums over keys first, in float32 or wider."""
    dtype = jnp.promote_types(value.dtype, jnp.float32)
    plain_query, plain_key, query, key, value = (
        x.astype(dtype) for x in (plain_query, plain_key, query, key, value)
    )
    if valid is not None:
        omega = valid.astype(dtype)
        if log_weights is not None:
            omega, _ = masked_exp(log_weights.astype(dtype), valid, -1)
        plain_key, key = (omega[..., None, None] * x for x in (plain_key, key))
    einsum = functools.partial(jnp.einsum, precision=precision)
    sums = einsum("...khc,...khv->...hcv", key, value)
    total = einsum("...thc,...hc->...th", plain_query, jnp.sum(plain_key, axis=-3))
    out = einsum("...thc,...hcv->...thv", query, sums)
    return out / positive(total)[..., None]

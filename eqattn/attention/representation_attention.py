"""Representation attention: geometry is applied to tokens, and stock attention does the rest.

For a matrix representation σ of G, q_iᵀ σ(g_i⁻¹ g_j) k_j = (σ(g_i)⁻ᵀ q_i)ᵀ (σ(g_j) k_j), and
Σ_j w_ij σ(g_i⁻¹ g_j) v_j = σ(g_i)⁻¹ Σ_j w_ij σ(g_j) v_j: geometry costs O(N), and nothing but
logits is made for a pair.
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp

from eqattn.attention import dense
from eqattn.attention.content import DotProduct
from eqattn.attention.keys import Keys
from eqattn.attention.location import TokenBlock
from eqattn.attention.representation import Representation
from eqattn.checks import check_instance, check_option
from eqattn.groups.base import LieGroup
from eqattn.typing import Array, Bool, Float

Kernel = Literal["softmax", "linear"]


def representation_attend(
    query: Float[Array, "*B T H C"],
    key: Float[Array, "*B K H C"],
    value: Float[Array, "*B K H V"],
    query_elements: Float[Array, "*B T E"],
    key_elements: Float[Array, "*B K E"],
    representation: Representation,
    *,
    turns_values: bool = True,
    query_mask: Bool[Array, "*B T"] | None = None,
    key_mask: Bool[Array, "*B K"] | None = None,
    log_weights: Float[Array, "*B K"] | None = None,
    kernel: Kernel = "softmax",
) -> Float[Array, "*B T H V"]:
    """Attention with the logits q_iᵀ σ(g_i⁻¹ g_j) k_j / sqrt(C) and the values σ(g_i⁻¹ g_j) v_j.

    The sums are those of ``jax.nn.dot_product_attention``, which is fused on accelerators (in
    float64, which it does not compute in, those of :func:`attend` without a location). With
    ``kernel="linear"`` the weights are proportional to φ(q_i)ᵀ σ(g_i⁻¹ g_j) φ(k_j), φ = 1 + elu,
    divided by the sum of φ(q_i)ᵀ φ(k_j), at a cost linear in the tokens (arXiv 2006.16236).

    Equivariance: exact to the group, [u·F](g) = F(u⁻¹ g): with all elements replaced by u g the
    result is the same. Elements are taken relative to the first valid key, so that this holds to
    rounding of the elements wherever the origin is.

    Args:
      query: features of the queries.
      key: features of the keys.
      value: values of the keys.
      query_elements: group elements g_i.
      key_elements: group elements g_j.
      representation: σ, whose size divides C, and V with ``turns_values``.
      turns_values: whether σ(g_i⁻¹ g_j) is applied to the values, too.
      query_mask: valid queries; the others may hold anything, and get zeros.
      key_mask: valid keys; the others may hold anything. Where none is valid the result is zero.
      log_weights: logarithms of quadrature weights of the keys; -inf counts as masked.
      kernel: ``"softmax"`` or ``"linear"``.

    Returns:
      The attended values, in the type of ``value``. Geometry is float32 or wider.

    Raises:
      ValueError: for shapes that do not fit, or an unknown kernel.
      TypeError: for a ``representation`` that is none.
    """
    check_option("kernel", kernel, Kernel)
    check_instance("representation", representation, Representation)
    _check_shapes(query, key, value, query_elements, key_elements, representation, turns_values)
    group, batch = representation.group, value.shape[:-3]
    valid = jnp.ones(value.shape[:-2], bool) if key_mask is None else key_mask
    if log_weights is not None:
        valid = valid & (log_weights != -jnp.inf)
        log_weights = jnp.where(valid, log_weights, 0)
    if 0 in (*batch, query.shape[-3], key.shape[-3]):
        return jnp.zeros((*batch, query.shape[-3], *value.shape[-2:]), value.dtype)
    rows = _relative(group, query_elements, query_mask, key_elements, valid)
    columns = _relative(group, key_elements, valid, key_elements, valid)
    query, key, value = _clean(query, query_mask), _clean(key, valid), _clean(value, valid)
    if kernel == "linear":
        query, key = 1 + jax.nn.elu(query), 1 + jax.nn.elu(key)
    turned = (
        _wide(representation.apply_dual, rows, query),
        _wide(representation.apply, columns, key),
        _wide(representation.apply, columns, value) if turns_values else value,
    )
    if kernel == "linear":
        out = _linear(query, key, *turned, valid, log_weights)
    else:
        out = _softmax(*turned, valid, log_weights)
    if turns_values:
        out = _wide(representation.apply_inverse, rows, out)
    exists = jnp.any(valid, axis=-1)[..., None]
    exists = exists if query_mask is None else exists & query_mask
    return jnp.where(exists[..., None, None], out, 0).astype(value.dtype)


def _softmax(
    query: Array, key: Array, value: Array, valid: Array, log_weights: Array | None
) -> Array:
    if key.dtype == jnp.float64:  # whose logits stock attention makes in float32
        weights = jnp.zeros(valid.shape) if log_weights is None else log_weights
        nothing = TokenBlock((), ())
        keys = Keys(key, value, nothing, valid, weights)
        terms = dense.Terms(DotProduct(), None, None, "sum", "softmax", None)
        return dense.attend(query, nothing, keys, None, terms, query.shape[-3])
    scale = 1 / math.sqrt(query.shape[-1])
    if log_weights is not None:
        # As channels, in two parts where the type is narrow: a bias would be made for all pairs.
        parts = _parts(log_weights / scale, key.dtype)[..., None, :]
        key = jnp.concatenate([key, jnp.broadcast_to(parts, (*key.shape[:-1], 2))], axis=-1)
        query = jnp.concatenate([query, jnp.ones((*query.shape[:-1], 2), query.dtype)], axis=-1)
    batch, num_values = query.shape[:-3], value.shape[-1]
    width = max(query.shape[-1], num_values)  # which has to be that of all three

    def padded(x: Array) -> Array:
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, width - x.shape[-1])])
        return x.reshape(-1, *x.shape[len(batch) :])

    arrays = (padded(x.astype(key.dtype)) for x in (query, key, value))
    mask = valid.reshape(-1, 1, 1, valid.shape[-1])
    out = jax.nn.dot_product_attention(*arrays, mask=mask, scale=scale)[..., :num_values]
    return out.reshape(*batch, *out.shape[1:])


def _linear(
    plain_query: Array,
    plain_key: Array,
    query: Array,
    key: Array,
    value: Array,
    valid: Array,
    log_weights: Array | None,
) -> Array:
    dtype = jnp.promote_types(value.dtype, jnp.float32)
    omega = valid.astype(dtype)
    if log_weights is not None:
        omega = omega * jnp.exp(log_weights - jnp.max(log_weights, axis=-1, keepdims=True))
    plain_query, plain_key, query, key, value = (
        x.astype(dtype) for x in (plain_query, plain_key, query, key, value)
    )
    sums = jnp.einsum("...k,...khc,...khv->...hcv", omega, key, value)
    total = jnp.einsum("...k,...khc->...hc", omega, plain_key)
    total = jnp.einsum("...thc,...hc->...th", plain_query, total)
    out = jnp.einsum("...thc,...hcv->...thv", query, sums)
    return out / jnp.where(total > 0, total, 1)[..., None]


def _relative(group: LieGroup, elements, mask, key_elements, valid) -> Array:
    """Elements g₀⁻¹ g for the first valid key g₀; those of masked tokens are the identity."""
    first = jnp.argmax(valid, axis=-1)[..., None, None]
    origin = jnp.take_along_axis(key_elements, first, axis=-2)
    some = jnp.any(valid, axis=-1)[..., None, None]
    identity = group.identity(dtype=key_elements.dtype)
    origin = jnp.where(some, origin, identity)
    if mask is not None:
        elements = jnp.where(mask[..., None], elements, origin)
    return group.compose(group.inverse(origin), elements)


def _wide(apply, elements: Array, x: Array) -> Array:
    """Applied in float32 or wider; the result has the type of the features."""
    return apply(elements, x.astype(jnp.promote_types(x.dtype, jnp.float32))).astype(x.dtype)


def _parts(x: Array, dtype) -> Array:
    """A number as the sum of two of a type that is perhaps narrower."""
    high = x.astype(dtype)
    return jnp.stack([high, (x - high.astype(x.dtype)).astype(dtype)], axis=-1)


def _clean(x: Array, mask: Array | None) -> Array:
    return x if mask is None else jnp.where(mask[..., None, None], x, 0)


def _check_shapes(query, key, value, query_elements, key_elements, representation, turns_values):
    sizes = {"query": query} | ({"value": value} if turns_values else {})
    for name, array in sizes.items():
        if array.ndim < 3 or array.shape[-1] % representation.size:
            raise ValueError(
                f"{name} must have shape [*B T H C] with C a multiple of {representation.size}, "
                f"the size of the representation, got {array.shape}"
            )
    if key.shape[:-1] != value.shape[:-1]:
        raise ValueError(f"key must have shape {value.shape[:-1]} + (C,), got {key.shape}")
    if query.shape[:-3] != key.shape[:-3] or query.shape[-2:] != key.shape[-2:]:
        raise ValueError(
            f"query must have shape {key.shape[:-3]} + (T,) + {key.shape[-2:]}, got {query.shape}"
        )
    for name, elements, features in (
        ("query_elements", query_elements, query),
        ("key_elements", key_elements, key),
    ):
        expected = (*features.shape[:-2], representation.group.element_dim)
        if elements.shape != expected:
            raise ValueError(f"{name} must have shape {expected}, got {elements.shape}")

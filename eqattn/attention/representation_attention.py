"""Representation attention: geometry is applied to tokens, and plain attention does the rest.

For a matrix representation σ of G, q_iᵀ σ(g_i⁻¹ g_j) k_j = (σ(g_i)⁻ᵀ q_i)ᵀ (σ(g_j) k_j), and
Σ_j w_ij σ(g_i⁻¹ g_j) v_j = σ(g_i)⁻¹ Σ_j w_ij σ(g_j) v_j: geometry costs O(N), and nothing but
logits is made for a pair. This is the identity of Geometric Transform Attention (arXiv 2310.10375).
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jax.export import is_symbolic_dim

from eqattn import numerics
from eqattn.attention.backends import dot_product
from eqattn.attention.backends.exports import check_known_sizes
from eqattn.attention.backends.sizes import device_sizes
from eqattn.checks import check_instance, check_option
from eqattn.groups import LieGroup
from eqattn.representations import Representation
from eqattn.sharding import on_any_mesh, share_of_device
from eqattn.typing import Array, Bool, Float

Kernel = Literal["softmax", "linear"]
Implementation = Literal["dense", "chunked", "jax_nn"]


@on_any_mesh("value", 3)
def representation_attend(
    query: Float[Array, "*B T H C"],
    key: Float[Array, "*B K H C"],
    value: Float[Array, "*B K H V"],
    query_elements: Float[Array, "*B T E"],
    key_elements: Float[Array, "*B K E"],
    group: LieGroup,
    representation: Representation,
    *,
    turns_values: bool = True,
    query_mask: Bool[Array, "*B T"] | None = None,
    key_mask: Bool[Array, "*B K"] | None = None,
    log_weights: Float[Array, "*B K"] | None = None,
    kernel: Kernel = "softmax",
    precision: jax.lax.Precision | None = None,
    implementation: Implementation | None = None,
) -> Float[Array, "*B T H V"]:
    """Attention with the logits q_iᵀ σ(g_i⁻¹ g_j) k_j / sqrt(C) and the values σ(g_i⁻¹ g_j) v_j.

    With ``kernel="linear"`` the weights are proportional to φ(q_i)ᵀ σ(g_i⁻¹ g_j) φ(k_j),
    φ = 1 + elu, divided by the sum of φ(q_i)ᵀ φ(k_j), at a cost linear in the tokens
    (arXiv 2006.16236).

    Equivariance: exact to the group, [u·F](g) = F(u⁻¹ g): with all elements replaced by u g the
    result is the same. Elements are taken relative to the first valid key, so that this holds to
    rounding of the elements wherever the origin is.

    Args:
      query: Features of the queries.
      key: Features of the keys.
      value: Values of the keys.
      query_elements: Group elements g_i.
      key_elements: Group elements g_j.
      group: G, whose elements these are.
      representation: σ, a representation of G whose size divides C, and V with ``turns_values``.
      turns_values: Whether σ(g_i⁻¹ g_j) is applied to the values, too.
      query_mask: Marks the valid queries; the others may hold anything, and get zeros.
      key_mask: Marks the valid keys; the others may hold anything. If none is valid, the result is
        0.
      log_weights: Logarithms of quadrature weights of the keys; -inf counts as masked.
      kernel: ``"softmax"`` or ``"linear"``.
      precision: Precision of the products with query, key and value. Geometry is always full
        precision.
      implementation: Back end of softmax: ``"dense"`` stores the logits of all pairs; ``"chunked"``
        computes them tile by tile, as :func:`attend` does, in memory linear in the tokens, both
        with derivatives of any order; ``"jax_nn"`` is ``jax.nn.dot_product_attention``, on a GPU
        that of cuDNN for bfloat16 and float16 heads of up to 128 channels, of which log-weights
        take two; it has first derivatives only. None picks one of the first two by the number of
        pairs.

    Returns:
      The attended values, in the type of ``value``. Geometry, logits and weights are float32 or
      wider; of bfloat16 inputs the turned ones are bfloat16, too.

    Raises:
      ValueError: For shapes that do not fit, a representation that is none of the group, an unknown
        kernel or implementation, one with the kernel ``"linear"``, or a ``precision`` with
        ``"jax_nn"``.
      NotImplementedError: For float64 with ``"jax_nn"``, which has logits of float32, and for
        symbolic sizes (of :mod:`jax.export`) with any but ``"dense"``.
      TypeError: If ``group`` or ``representation`` has another type, or is not one that the other
        goes with.

    References:
      Miyato, Jaeger, Welling and Geiger, *GTA: A Geometry-Aware Attention Mechanism for Multi-View
      Transformers*, arXiv 2310.10375.
    """
    check_option("kernel", kernel, Kernel)
    if implementation is not None:
        check_option("implementation", implementation, Implementation)
        if implementation != "dense":
            check_known_sizes(implementation, query_elements.shape[:-1], key_elements.shape[:-1])
        if kernel == "linear":
            raise ValueError(f"implementation must be None for 'linear', got {implementation!r}")
    if implementation == "jax_nn":
        if precision is not None:
            raise ValueError(f"precision must be None for implementation 'jax_nn', got {precision}")
        if jnp.float64 in (query.dtype, key.dtype, value.dtype):
            raise NotImplementedError("implementation 'jax_nn' has no float64: use 'dense'")
    check_instance("group", group, LieGroup)
    check_instance("representation", representation, Representation)
    representation.check(group)
    size = representation.size(group)
    _check_channels(size, {"query": query} | ({"value": value} if turns_values else {}))
    _check_shapes(query, key, value, query_elements, key_elements, group.element_dim)
    _check_tokens(query_elements, {"query_mask": query_mask})
    _check_tokens(key_elements, {"key_mask": key_mask, "log_weights": log_weights})
    batch = value.shape[:-3]
    if 0 in (*batch, *query.shape[-3:-1], key.shape[-3]):
        return jnp.zeros((*batch, query.shape[-3], *value.shape[-2:]), value.dtype)
    valid = key_mask
    if log_weights is not None:
        finite = log_weights != -jnp.inf
        valid = finite if key_mask is None else key_mask & finite
        log_weights = jnp.where(valid, log_weights, 0)
    origin = _origin(group, key_elements, valid)
    rows = _relative(group, query_elements, query_mask, origin)
    columns = _relative(group, key_elements, valid, origin)
    query, key, value = _clean(query, query_mask), _clean(key, valid), _clean(value, valid)
    # What logits do not show would be hidden by a weight of 0. All queries of an example see it.
    is_shown = kernel == "softmax" and implementation != "jax_nn"
    wide = [
        None if x is None else numerics.flat(x)
        for x in (*((None, None) if is_shown else (query, key)), value)
    ]
    failed_keys = numerics.nan_unless_finite(*wide[1:], columns)
    if log_weights is not None:
        failed_keys = failed_keys + numerics.nan_unless_finite(log_weights[..., None])
    failed = numerics.nan_unless_finite(wide[0], rows)
    failed = failed + jnp.sum(failed_keys, axis=-1, keepdims=True)
    if kernel == "linear":
        query, key = 1 + jax.nn.elu(query), 1 + jax.nn.elu(key)
    turned = (
        _wide(representation.apply_dual, group, rows, query),
        _wide(representation.apply, group, columns, key),
        _wide(representation.apply, group, columns, value) if turns_values else value,
    )
    num_pairs = share_of_device(key, math.prod(batch)) * query.shape[-3] * key.shape[-3]
    is_small = is_symbolic_dim(num_pairs) or num_pairs <= device_sizes().dot_product_pairs
    if kernel == "linear":
        out = dot_product.linear(query, key, *turned, valid, log_weights, precision)
    elif implementation == "chunked" or (implementation is None and not is_small):
        out = dot_product.chunked_softmax(*turned, valid, log_weights, precision)
    elif implementation == "jax_nn":
        out = dot_product.jax_nn_softmax(*turned, valid, log_weights)
    else:
        out = dot_product.softmax(*turned, valid, log_weights, precision)
    if turns_values:
        out = representation.apply_inverse(group, rows, out)
    out = out + failed[..., None, None].astype(out.dtype)
    if valid is not None:
        exists = jnp.any(valid, axis=-1)[..., None]
        out = jnp.where(exists[..., None, None], out, 0)
    return _clean(out, query_mask).astype(value.dtype)


def _origin(group: LieGroup, key_elements: Array, valid: Array | None) -> Array:
    """The element of the first valid key, the identity where there is none."""
    if valid is None:
        return key_elements[..., :1, :]
    first = jnp.argmax(valid, axis=-1)[..., None, None]
    origin = jnp.take_along_axis(key_elements, first, axis=-2)
    some = jnp.any(valid, axis=-1)[..., None, None]
    return jnp.where(some, origin, group.identity(dtype=key_elements.dtype))


def _relative(group: LieGroup, elements: Array, mask: Array | None, origin: Array) -> Array:
    """Elements g₀⁻¹ g; those of masked tokens are the identity."""
    if mask is not None:
        elements = jnp.where(mask[..., None], elements, origin)
    return group.compose(group.inverse(origin), elements)


def _wide(apply, group: LieGroup, elements: Array, x: Array) -> Array:
    """Applied in float32 or wider; the result has the type of the features."""
    return apply(group, elements, x.astype(jnp.promote_types(x.dtype, jnp.float32))).astype(x.dtype)


def _clean(x: Array, mask: Array | None) -> Array:
    return x if mask is None else jnp.where(mask[..., None, None], x, 0)


def _check_channels(size: int, arrays: dict[str, Array]) -> None:
    for name, array in arrays.items():
        if array.ndim < 3 or array.shape[-1] % size or not array.shape[-1]:
            raise ValueError(
                f"{name} must have shape [*B T H C] with C a multiple of {size}, the size of the "
                f"representation, got {array.shape}"
            )


def _check_shapes(query, key, value, query_elements, key_elements, element_dim):
    for name, array in (("query", query), ("key", key), ("value", value)):
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise ValueError(f"{name} must be of a floating point type, got {array.dtype}")
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
        expected = (*features.shape[:-2], element_dim)
        if elements.shape != expected:
            raise ValueError(f"{name} must have shape {expected}, got {elements.shape}")


def _check_tokens(elements: Array, arrays: dict[str, Array | None]) -> None:
    for name, array in arrays.items():
        if array is not None and array.shape != elements.shape[:-1]:
            raise ValueError(f"{name} must have shape {elements.shape[:-1]}, got {array.shape}")
        if array is not None and name.endswith("mask") and array.dtype != bool:
            raise ValueError(f"{name} must be boolean, got {array.dtype}")

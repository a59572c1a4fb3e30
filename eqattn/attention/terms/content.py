"""Content terms: functions of the features of a query and a key, and of their pair.

Like location terms they lie features first: one feature is a logit, more go through an MLP of
logits. Keys have the shape [*B K H C], or [*B T K H C] where each query has keys of its own.
"""

import dataclasses
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from eqattn import numerics
from eqattn.attention.terms.location import Location, PairFeatures, TokenBlock
from eqattn.pytrees import register_dataclass
from eqattn.typing import Array, Float


@runtime_checkable
class Content(Protocol):
    """A content term of attention; also a pytree of its parameters.

    Queries have as many channels as keys, unless the term has a method ``query_channels`` that says
    how many for a number of channels of keys.
    """

    def __call__(
        self,
        query: Float[Array, "*B T H C"],
        key: Float[Array, "..."],
        query_tokens: TokenBlock,
        key_tokens: TokenBlock,
        precision: jax.lax.Precision | None,
    ) -> Float[Array, "F *B H T K"]:
        """Features of the pairs of a block; a single one is the logit."""
        ...


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class DotProduct:
    """q_i·k_j / sqrt(C), accumulated in float32 or wider.

    A product that is not finite is NaN: -inf would be a weight of 0, and hide what made it.
    """

    def __call__(
        self,
        query: Float[Array, "*B T H C"],
        key: Float[Array, "..."],
        query_tokens: TokenBlock,
        key_tokens: TokenBlock,
        precision: jax.lax.Precision | None = None,
    ) -> Float[Array, "1 *B H T K"]:
        logits = _dot(query, key, precision)
        return numerics.spread_infinities(logits / _sqrt_channels(query, logits))[None]


@register_dataclass
@dataclasses.dataclass(frozen=True)
class LinearConcat:
    """[q_i, k_j], all 2 C features; or a linear map of them, the same for all heads.

    The map is applied to queries and keys before they meet: W [q_i, k_j] = W_q q_i + W_k k_j.

    Args:
      weight: Matrix of the map, queries first; None for the features themselves.
      bias: Bias of the map.
    """

    weight: Float[Array, "C2 F"] | None = None
    bias: Float[Array, " F"] | None = None

    def __call__(
        self,
        query: Float[Array, "*B T H C"],
        key: Float[Array, "..."],
        query_tokens: TokenBlock,
        key_tokens: TokenBlock,
        precision: jax.lax.Precision | None = None,
    ) -> Float[Array, "F *B H T K"]:
        dtype = jnp.promote_types(query.dtype, jnp.float32)
        if self.weight is not None:
            top, bottom = jnp.split(self.weight, [query.shape[-1]])
            query, key = (
                jnp.matmul(x, w.astype(x.dtype), precision=precision, preferred_element_type=dtype)
                for x, w in ((query, top), (key, bottom))
            )
        rows = _features_first(query.astype(dtype)[..., :, None, :, :])
        key = key.astype(dtype)
        columns = _features_first(key if key.ndim > query.ndim else key[..., None, :, :, :])
        if self.weight is None:
            shape = jnp.broadcast_shapes(rows.shape, columns.shape)
            return jnp.concatenate([jnp.broadcast_to(x, shape) for x in (rows, columns)])
        if self.bias is not None:
            bias = self.bias.astype(dtype)
            rows = rows + bias.reshape(-1, *(1,) * (rows.ndim - 1))
        return rows + columns


@register_dataclass
@dataclasses.dataclass(frozen=True)
class RelativePosition:
    """(q_i·k_j + e_ij·(q_i + v) + u·k_j) / sqrt(C), with e_ij a linear map of the pair.

    The map is taken to the query's side, e_ij·q = Σ_f pair_f (W_f·q) + b·q, so that no array of
    channels over pairs is made.

    Args:
      weight: Matrix of the map from the features of a pair.
      bias: Bias of the map.
      key_vector: The vector u.
      pair_vector: The vector v.
      features: What the term sees of a pair.
    """

    weight: Float[Array, "F H C"]
    bias: Float[Array, "H C"]
    key_vector: Float[Array, "H C"]
    pair_vector: Float[Array, "H C"]
    features: PairFeatures = dataclasses.field(metadata={"static": True})

    def __call__(
        self,
        query: Float[Array, "*B T H C"],
        key: Float[Array, "..."],
        query_tokens: TokenBlock,
        key_tokens: TokenBlock,
        precision: jax.lax.Precision | None = None,
    ) -> Float[Array, "1 *B H T K"]:
        logits = _dot(query + self.key_vector.astype(query.dtype), key, precision)
        pairs = self.features(query_tokens, key_tokens).astype(logits.dtype)
        shifted = query.astype(logits.dtype) + self.pair_vector.astype(logits.dtype)
        exact = jax.lax.Precision.HIGHEST
        slopes = jnp.einsum(
            "fhc,...thc->f...ht", self.weight.astype(logits.dtype), shifted, precision=exact
        )
        offset = jnp.einsum(
            "hc,...thc->...ht", self.bias.astype(logits.dtype), shifted, precision=exact
        )
        located = jnp.sum(slopes[..., None] * pairs[..., None, :, :], axis=0) + offset[..., None]
        return ((logits + located) / _sqrt_channels(query, logits))[None]


@register_dataclass
@dataclasses.dataclass(frozen=True)
class KernelContent:
    """Σ_m φ_m(g_i⁻¹ g_j) (q_im·k_j) / sqrt(M C): a dot product with what a kernel makes of k_j.

    Queries hold one vector for each basis function, the first function first. No matrix is applied
    to a pair: q_im is the query by the transposed matrix of φ_m (arXiv 2006.10503).

    Args:
      basis: φ, the M features of a function of pairs.
      num_basis: M.
    """

    basis: Location
    num_basis: int = dataclasses.field(metadata={"static": True})

    def query_channels(self, key_channels: int) -> int:
        """Channels of a query for keys with a number of channels."""
        return self.num_basis * key_channels

    def __call__(
        self,
        query: Float[Array, "*B T H MC"],
        key: Float[Array, "..."],
        query_tokens: TokenBlock,
        key_tokens: TokenBlock,
        precision: jax.lax.Precision | None = None,
    ) -> Float[Array, "1 *B H T K"]:
        functions = self.basis(query_tokens, key_tokens)
        vectors = query.reshape(
            *query.shape[:-1], self.num_basis, query.shape[-1] // self.num_basis
        )
        keys = "tkhc" if key.ndim > query.ndim else "khc"
        dtype = jnp.promote_types(query.dtype, jnp.float32)
        products = jnp.einsum(
            f"...thmc,...{keys}->m...htk",
            vectors,
            key,
            precision=precision,
            preferred_element_type=dtype,
        )
        logits = jnp.sum(functions.astype(dtype) * products, axis=0)
        return numerics.spread_infinities(logits / _sqrt_channels(query, logits))[None]


def _dot(query: Array, key: Array, precision: jax.lax.Precision | None) -> Array:
    equation = "...thc,...tkhc->...htk" if key.ndim > query.ndim else "...thc,...khc->...htk"
    dtype = jnp.promote_types(query.dtype, jnp.float32)
    return jnp.einsum(equation, query, key, precision=precision, preferred_element_type=dtype)


def _sqrt_channels(query: Array, logits: Array) -> Array:
    return jnp.sqrt(jnp.asarray(query.shape[-1], logits.dtype))


def _features_first(x: Float[Array, "*B T K H F"]) -> Float[Array, "F *B H T K"]:
    return jnp.moveaxis(jnp.moveaxis(x, -2, -4), -1, 0)

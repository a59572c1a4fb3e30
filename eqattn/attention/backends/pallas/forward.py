"""The kernel of attention itself: one program for a tile of queries and a group of heads.

It goes over the keys tile by tile and puts the softmax together as it goes ("online",
arXiv 2205.14135): the pairs of a tile are made, used and forgotten without leaving the chip.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from eqattn.attention.backends.pallas import tile_ops
from eqattn.attention.backends.pallas.call import call, head_specs, packed_specs
from eqattn.attention.backends.pallas.layout import Packed
from eqattn.attention.backends.pallas.tile_ops import Plan
from eqattn.typing import Array, Float


def forward(plan: Plan, packed: Packed) -> tuple[Float[Array, "B H T V"], Float[Array, "B H T 1"]]:
    """Weighted values, and logarithms of the sums of exponentials that they were divided by."""
    batch, num_heads, _, channels = packed.value.shape
    num_rows = packed.rows.shape[1] if packed.query is None else packed.query.shape[2]
    dtypes = packed.value.dtype, plan.dtype
    return call(
        functools.partial(_kernel, plan),
        plan,
        grid=(num_rows // plan.rows, num_heads // plan.heads, batch),
        in_specs=(packed_specs(plan, packed, "rows"),),
        out_specs=(
            head_specs(plan.heads, plan.rows, channels),
            head_specs(plan.heads, plan.rows, 1),
        ),
        out_shape=tuple(
            jax.ShapeDtypeStruct((batch, num_heads, num_rows, size), dtype)
            for size, dtype in zip((channels, 1), dtypes, strict=True)
        ),
        arguments=(packed,),
        name="eqattn_forward",
    )


def _kernel(plan: Plan, refs: Packed, out_ref: Any, lse_ref: Any) -> None:
    mlp = None if refs.mlp is None else tile_ops.load(refs.mlp)
    rows = () if refs.rows is None else tile_ops.row_components(refs.rows, slice(None))
    lowest = tile_ops.masked_exponent(plan.dtype)

    def step(j: Array, sums: Any) -> Any:
        window = pl.ds(j * plan.columns, plan.columns)
        columns = () if refs.columns is None else tile_ops.column_components(refs.columns, window)
        bias = refs.bias[:, window]
        valid = tile_ops.is_valid(plan, bias)
        located = tile_ops.location_logits(plan, mlp, rows, columns)
        merged = []
        for head, (top, total, values) in enumerate(sums):
            logits = tile_ops.exponents(
                plan,
                None if refs.query is None else refs.query[head],
                None if refs.key is None else refs.key[head, window, :],
                located[head] if located else None,
                bias,
            )
            new_top = jnp.maximum(top, jnp.max(logits, axis=1, keepdims=True))
            scale = jnp.exp(top - new_top)
            weights = jnp.where(valid, jnp.exp(logits - new_top), 0.0)
            value = refs.value[head, window, :]
            added = tile_ops.product(plan, weights.astype(value.dtype), value)
            total = scale * total + jnp.sum(weights, axis=1, keepdims=True)
            merged.append((new_top, total, scale * values + added))
        return tuple(merged)

    def column(value: float) -> Array:
        return jnp.full((plan.rows, 1), value, plan.dtype)

    zeros = jnp.zeros((plan.rows, out_ref.shape[-1]), plan.dtype)
    start = ((column(lowest), column(0.0), zeros),) * plan.heads
    num_tiles = refs.value.shape[1] // plan.columns
    sums = jax.lax.fori_loop(jnp.int32(0), jnp.int32(num_tiles), step, start)
    for head, (top, total, values) in enumerate(sums):
        some = total > 0.0
        total = jnp.where(some, total, 1.0)
        out_ref[head] = (values / total).astype(out_ref.dtype)
        lse_ref[head] = jnp.where(some, top + jnp.log(total), 0.0)

"""The kernels of derivatives: tiles of pairs are computed again, from the sums that are known.

With w_ij = exp(logit_ij - lse_i) and s_ij = w_ij (∂out_i·v_j - ∂out_i·out_i), the derivative by
the logit, everything else follows tile by tile. Derivatives by what belongs to queries, and by the
MLP's parameters, come from a kernel whose programs go over the keys of a tile of queries;
derivatives by what belongs to keys from one whose programs go over the queries of a tile of keys.
So no two programs write to one place. Sums over programs are taken afterwards: those of
parameters, of which each program writes its own, and those of tokens over groups of heads.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from eqattn.attention.backends.pallas import tile_ops
from eqattn.attention.backends.pallas.call import call, head_specs, packed_specs
from eqattn.attention.backends.pallas.layout import Packed
from eqattn.attention.backends.pallas.tile_ops import Plan
from eqattn.typing import Array, Components


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Wanted:
    """Which derivatives are computed besides those by queries, keys, values and log-weights.

    Attributes:
      tokens: Gradients with respect to the components of elements and orbit invariants.
      location: Gradients with respect to the parameters of the location term.
    """

    tokens: bool
    location: bool


class Results(NamedTuple):
    """What is known of the queries after :func:`forward`, and the derivative by the values.

    Attributes:
      cotangent: ∂out, [B H T V].
      lse: Logarithms of the sums of exponentials, [B H T 1].
      delta: ∂out_i·out_i, [B H T 1].
    """

    cotangent: Any
    lse: Any
    delta: Any


def backward(plan: Plan, wanted: Wanted, packed: Packed, results: Results) -> Packed:
    """Derivatives by what was packed; None for what is not wanted, or not there."""
    query, rows, mlp = _by_rows(plan, wanted, packed, results)
    key, value, columns, bias = _by_columns(plan, wanted, packed, results)

    def of_parameters(x: Array, parameters: Array) -> Array:
        is_shared = parameters.shape[0] == 1
        return jnp.sum(x, axis=(0, 1, 2) if is_shared else (0, 2)).reshape(parameters.shape)

    def of_groups(x: Array | None) -> Array | None:
        return None if x is None else jnp.sum(x, axis=1)

    return Packed(
        query=query,
        rows=of_groups(rows),
        key=key,
        value=value,
        columns=of_groups(columns),
        bias=of_groups(bias),
        mlp=None if mlp is None else jax.tree.map(of_parameters, mlp, packed.mlp),
    )


def _by_rows(
    plan: Plan, wanted: Wanted, packed: Packed, results: Results
) -> tuple[Array | None, Array | None, Any]:
    """By queries, by their components for each group, and by parameters for each program."""
    batch, num_heads, num_rows, _ = results.cotangent.shape
    tiles, groups = num_rows // plan.rows, num_heads // plan.heads
    shapes: list[Any] = [None] * 3
    specs: list[Any] = [None] * 3
    if packed.query is not None:
        shapes[0] = jax.ShapeDtypeStruct(packed.query.shape, plan.dtype)
        specs[0] = head_specs(plan.heads, plan.rows, packed.query.shape[3])
    if wanted.tokens:
        size = packed.rows.shape[2]
        shapes[1] = jax.ShapeDtypeStruct((batch, groups, num_rows, size), plan.dtype)
        specs[1] = pl.BlockSpec((None, None, plan.rows, size), lambda i, g, b: (b, g, i, 0))
    if wanted.location:

        def parameters(x: Array) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((batch, groups, tiles, *x.shape[1:]), plan.dtype)

        def program(x: Array) -> pl.BlockSpec:
            return pl.BlockSpec((None,) * 3 + x.shape[1:], lambda i, g, b: (b, g, i, 0, 0))

        shapes[2], specs[2] = (jax.tree.map(of, packed.mlp) for of in (parameters, program))
    if shapes == [None] * 3:
        return None, None, None
    return call(
        functools.partial(_rows_kernel, plan, wanted),
        plan,
        grid=(tiles, groups, batch),
        in_specs=(packed_specs(plan, packed, "rows"), _results_specs(plan, results, True)),
        out_specs=tuple(specs),
        out_shape=tuple(shapes),
        arguments=(packed, results),
        name="eqattn_backward_rows",
    )


def _by_columns(
    plan: Plan, wanted: Wanted, packed: Packed, results: Results
) -> tuple[Array | None, Array, Array | None, Array]:
    """By keys and values, and for each group by their components and log-weights."""
    batch, num_heads, num_columns, channels = packed.value.shape
    groups = num_heads // plan.heads
    shapes: list[Any] = [None, jax.ShapeDtypeStruct(packed.value.shape, plan.dtype), None]
    specs: list[Any] = [None, head_specs(plan.heads, plan.columns, channels), None]

    def own(size: int) -> tuple[jax.ShapeDtypeStruct, pl.BlockSpec]:
        shape = jax.ShapeDtypeStruct((batch, groups, size, num_columns), plan.dtype)
        block = (None, None, size, plan.columns)
        return shape, pl.BlockSpec(block, lambda j, g, b: (b, g, 0, j))

    if packed.key is not None:
        shapes[0] = jax.ShapeDtypeStruct(packed.key.shape, plan.dtype)
        specs[0] = head_specs(plan.heads, plan.columns, packed.key.shape[3])
    if wanted.tokens:
        shapes[2], specs[2] = own(packed.columns.shape[1])
    bias_shape, bias_spec = own(1)
    return call(
        functools.partial(_columns_kernel, plan, wanted),
        plan,
        grid=(num_columns // plan.columns, groups, batch),
        in_specs=(packed_specs(plan, packed, "columns"), _results_specs(plan, results, False)),
        out_specs=(*specs, bias_spec),
        out_shape=(*shapes, bias_shape),
        arguments=(packed, results),
        name="eqattn_backward_columns",
    )


def _results_specs(plan: Plan, results: Results, is_tiled: bool) -> Results:
    def spec(x: Array) -> pl.BlockSpec:
        tokens = plan.rows if is_tiled else x.shape[2]
        return head_specs(plan.heads, tokens, x.shape[3], is_tiled)

    return Results(*(spec(x) for x in results))


def _rows_kernel(
    plan: Plan,
    wanted: Wanted,
    refs: Packed,
    results: Results,
    query_ref: Any,
    rows_ref: Any,
    mlp_refs: Any,
) -> None:
    mlp = None if refs.mlp is None else tile_ops.load(refs.mlp)
    rows: Components = () if refs.rows is None else tile_ops.row_components(refs.rows, slice(None))
    inputs: dict[str, Any] = {"rows": rows} if wanted.tokens else {}
    inputs |= {"mlp": mlp} if wanted.location else {}
    by_blocks = wanted.location and plan.target != "tpu"  # whose compiler takes no such reshapes
    layer = tile_ops.linear_by_blocks if by_blocks else tile_ops.linear

    def step(j: Array, sums: Any) -> Any:
        window = pl.ds(j * plan.columns, plan.columns)
        columns = () if refs.columns is None else tile_ops.column_components(refs.columns, window)
        rest = {"rows": rows, "columns": columns, "mlp": mlp, "layer": layer}
        located, pull = jax.vjp(lambda x: tile_ops.location_logits(plan, **{**rest, **x}), inputs)
        _, slopes = _weights_and_slopes(plan, refs, results, located, slice(None), window)
        by_query = ()
        if query_ref is not None:
            keys = [refs.key[head, window, :] for head in range(plan.heads)]
            by_query = tuple(
                plan.scale * tile_ops.product(plan, slope.astype(key.dtype), key)
                for slope, key in zip(slopes, keys, strict=True)
            )
        return jax.tree.map(jnp.add, sums, (by_query, *pull(slopes if located else ())))

    by_query = () if query_ref is None else _zeros(plan, query_ref)
    start = by_query, jax.tree.map(jnp.zeros_like, inputs)
    num_tiles = refs.value.shape[1] // plan.columns
    by_query, by_inputs = jax.lax.fori_loop(jnp.int32(0), jnp.int32(num_tiles), step, start)
    _write(query_ref, by_query)
    for i, x in enumerate(by_inputs.get("rows", ())):
        rows_ref[:, i : i + 1] = x.astype(plan.dtype)
    if wanted.location:
        tile_ops.store(mlp_refs, jax.tree.map(lambda x: x.astype(plan.dtype), by_inputs["mlp"]))


def _columns_kernel(
    plan: Plan,
    wanted: Wanted,
    refs: Packed,
    results: Results,
    key_ref: Any,
    value_ref: Any,
    columns_ref: Any,
    bias_ref: Any,
) -> None:
    mlp = None if refs.mlp is None else tile_ops.load(refs.mlp)
    columns = () if refs.columns is None else tile_ops.column_components(refs.columns, slice(None))
    inputs: dict[str, Any] = {"columns": columns} if wanted.tokens else {}

    def step(i: Array, sums: Any) -> Any:
        window = pl.ds(i * plan.rows, plan.rows)
        rows = () if refs.rows is None else tile_ops.row_components(refs.rows, window)
        rest = {"rows": rows, "columns": columns, "mlp": mlp}
        located, pull = jax.vjp(lambda x: tile_ops.location_logits(plan, **{**rest, **x}), inputs)
        weights, slopes = _weights_and_slopes(plan, refs, results, located, window, slice(None))
        cotangents = [results.cotangent[head, window, :] for head in range(plan.heads)]
        by_value = tuple(
            tile_ops.product(plan, weight.T.astype(x.dtype), x)
            for weight, x in zip(weights, cotangents, strict=True)
        )
        by_key = ()
        if key_ref is not None:
            queries = [refs.query[head, window, :] for head in range(plan.heads)]
            by_key = tuple(
                plan.scale * tile_ops.product(plan, slope.T.astype(query.dtype), query)
                for slope, query in zip(slopes, queries, strict=True)
            )
        by_bias = sum(jnp.sum(slope, axis=0, keepdims=True) for slope in slopes)
        return jax.tree.map(
            jnp.add, sums, (by_key, by_value, by_bias, *pull(slopes if located else ()))
        )

    start = (
        () if key_ref is None else _zeros(plan, key_ref),
        _zeros(plan, value_ref),
        jnp.zeros((1, plan.columns), plan.dtype),
        jax.tree.map(jnp.zeros_like, inputs),
    )
    num_tiles = results.cotangent.shape[1] // plan.rows
    sums = jax.lax.fori_loop(jnp.int32(0), jnp.int32(num_tiles), step, start)
    by_key, by_value, bias_ref[...], by_inputs = sums
    _write(key_ref, by_key)
    _write(value_ref, by_value)
    for i, x in enumerate(by_inputs.get("columns", ())):
        columns_ref[i : i + 1, :] = x.astype(plan.dtype)


def _write(ref: Any, heads: Components) -> None:
    for head, x in enumerate(heads):
        ref[head] = x


def _zeros(plan: Plan, ref: Any) -> Components:
    return tuple(jnp.zeros(ref.shape[1:], plan.dtype) for _ in range(plan.heads))


def _weights_and_slopes(
    plan: Plan,
    refs: Packed,
    results: Results,
    located: Components,
    row_window: Any,
    column_window: Any,
) -> tuple[Components, Components]:
    """Attention weights of a tile, and derivatives by its logits, for each head."""
    bias = refs.bias[:, column_window]
    valid = tile_ops.is_valid(plan, bias)
    weights, slopes = [], []
    for head in range(plan.heads):
        logits = tile_ops.exponents(
            plan,
            None if refs.query is None else refs.query[head, row_window, :],
            None if refs.key is None else refs.key[head, column_window, :],
            located[head] if located else None,
            bias,
        )
        weight = jnp.where(valid, jnp.exp(logits - results.lse[head, row_window, :]), 0.0)
        value = refs.value[head, column_window, :]
        change = tile_ops.product(plan, results.cotangent[head, row_window, :], value.T)
        weights.append(weight)
        slopes.append(weight * (change - results.delta[head, row_window, :]))
    return tuple(weights), tuple(slopes)

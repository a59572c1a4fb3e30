"""How kernels are called: which blocks of its arrays a program sees, and by what compiler."""

from collections.abc import Callable
from typing import Any, Literal

import jax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from eqattn.attention.backends.pallas.layout import Packed
from eqattn.attention.backends.pallas.tile_ops import MLP, Plan

Side = Literal["rows", "columns"]


def call(
    kernel: Callable[..., None],
    plan: Plan,
    *,
    grid: tuple[int, int, int],
    in_specs: Any,
    out_specs: Any,
    out_shape: Any,
    arguments: tuple[Any, ...],
    name: str,
) -> Any:
    """Runs a kernel on a grid (tiles, groups of heads, examples).

    On a GPU by Triton: the default compiler wants tiles of other shapes, and pipelines written out.
    """
    params = None
    if plan.target == "gpu":
        params = triton.CompilerParams(num_warps=plan.num_warps, num_stages=plan.num_stages)
    return pl.pallas_call(
        kernel,
        grid=grid,
        in_specs=in_specs,
        out_specs=out_specs,
        out_shape=out_shape,
        compiler_params=params,
        interpret=plan.target == "interpreter",
        name=name,
    )(*arguments)


def head_specs(heads: int, tokens: int, channels: int, is_tiled: bool = True) -> pl.BlockSpec:
    """Of an array [B H N C]: the heads of a program, and its tile of the tokens or all of them."""
    return pl.BlockSpec(
        (None, heads, tokens, channels), lambda i, g, b: (b, g, i if is_tiled else 0, 0)
    )


def packed_specs(plan: Plan, packed: Packed, side: Side) -> Packed:
    """Of the arrays that attention depends on: a tile of one side, and all of the other."""

    def heads(x: Any, own: Side, size: int) -> pl.BlockSpec | None:
        if x is None:
            return None
        is_tiled = side == own
        return head_specs(plan.heads, size if is_tiled else x.shape[2], x.shape[3], is_tiled)

    rows = columns = None
    if packed.rows is not None:
        rows = components_spec(packed.rows, plan.rows, 1, side == "rows")
        columns = components_spec(packed.columns, plan.columns, 2, side == "columns")
    return Packed(
        query=heads(packed.query, "rows", plan.rows),
        rows=rows,
        key=heads(packed.key, "columns", plan.columns),
        value=heads(packed.value, "columns", plan.columns),
        columns=columns,
        bias=components_spec(packed.bias, plan.columns, 2, side == "columns"),
        mlp=None if packed.mlp is None else mlp_specs(packed.mlp),
    )


def components_spec(x: Any, size: int, axis: int, is_tiled: bool) -> pl.BlockSpec:
    """Of an array of one example, [B ...], with tokens on the given axis."""
    shape = [None, *x.shape[1:]]
    if is_tiled:
        shape[axis] = size
    return pl.BlockSpec(
        tuple(shape),
        lambda i, g, b: (b, *(i if is_tiled and n == axis else 0 for n in range(1, len(shape)))),
    )


def mlp_specs(mlp: MLP) -> MLP:
    """Of parameters [G ...], or [1 ...] which all groups of heads share."""

    def spec(x: Any) -> pl.BlockSpec:
        is_shared = x.shape[0] == 1
        return pl.BlockSpec((None, *x.shape[1:]), lambda i, g, b: (0 if is_shared else g, 0, 0))

    return jax.tree.map(spec, mlp)

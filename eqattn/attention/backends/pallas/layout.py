"""Arrays as kernels take them: heads before tokens, padded to whole tiles and powers of two."""

from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from eqattn.attention.backends.pallas.fitting import multiple, padded
from eqattn.attention.backends.pallas.tile_ops import MLP, Plan, masked_exponent
from eqattn.attention.terms.location import TokenBlock
from eqattn.typing import Array, Bool, Float

Parameters: TypeAlias = tuple[tuple[Array, ...], tuple[Array, ...]]


class Inputs(NamedTuple):
    """What attention depends on differentiably; batch axes are one axis.

    Attributes:
      query: [B T H C], None without content.
      tokens: Components of the queries, [B T].
      key: [B K H C], None without content.
      value: [B K H V].
      key_tokens: Components of the keys, [B K].
      log_weights: Log-weights of the keys, finite.
      parameters: Weights and biases of the location term's MLP, which has an output or weights for
        each head; None without a location term.
    """

    query: Float[Array, "B T H C"] | None
    tokens: TokenBlock
    key: Float[Array, "B K H C"] | None
    value: Float[Array, "B K H V"]
    key_tokens: TokenBlock
    log_weights: Float[Array, "B K"]
    parameters: Parameters | None

    @property
    def num_queries(self) -> int:
        """T."""
        first = jax.tree.leaves(self.tokens)[0] if self.query is None else self.query
        return first.shape[1]


class Packed(NamedTuple):
    """The same for kernels; or derivatives by it. C and V are powers of two, G groups of heads.

    Attributes:
      query: [B H T C], None without content.
      rows: Components of the queries, [B T R], None without a location term.
      key: [B H K C], None without content.
      value: [B H K V].
      columns: Components of the keys, [B R K].
      bias: Log-weights, [B 1 K], the masked exponent where a key is masked.
      mlp: Parameters, [G ...], or [1 ...] where all heads share them.
    """

    query: Any
    rows: Any
    key: Any
    value: Any
    columns: Any
    bias: Any
    mlp: MLP | None


def pack(plan: Plan, inputs: Inputs, valid: Bool[Array, "B K"]) -> Packed:
    """Arrays for the kernels; tokens that fill up a tile are masked, and ones as elements."""
    num_keys = inputs.value.shape[1]
    rows, columns = multiple(inputs.num_queries, plan.rows), multiple(num_keys, plan.columns)
    bias = jnp.where(valid, inputs.log_weights.astype(plan.dtype), masked_exponent(plan.dtype))
    missing = ((0, 0), (0, columns - num_keys))
    bias = jnp.pad(bias, missing, constant_values=masked_exponent(plan.dtype))
    row_components = column_components = mlp = None
    if inputs.parameters is not None:
        row_components = _components(inputs.tokens, rows)
        column_components = jnp.swapaxes(_components(inputs.key_tokens, columns), 1, 2)
        dtype = jnp.result_type(row_components, column_components)
        mlp = pack_mlp(inputs.parameters, num_groups(inputs, plan), plan.heads, dtype)
    return Packed(
        query=None if inputs.query is None else _heads_first(inputs.query, rows),
        rows=row_components,
        key=None if inputs.key is None else _heads_first(inputs.key, columns),
        value=_heads_first(inputs.value, columns),
        columns=column_components,
        bias=bias[:, None],
        mlp=mlp,
    )


def pack_queries(x: Float[Array, "B T H V"], plan: Plan) -> Float[Array, "B H _ _"]:
    """An array that lies as the queries do, such as the derivative by the result."""
    return _heads_first(x, multiple(x.shape[1], plan.rows))


def pack_mlp(parameters: Parameters, groups: int, heads: int, dtype: Any) -> MLP:
    """The parameters of the location term in the type of the geometry; linear in them."""
    weights, biases = ([x.astype(dtype) for x in part] for part in parameters)
    if weights[0].ndim == 2:  # outputs are heads: [units H] as [groups heads units]
        *weights, last = weights
        *biases, last_bias = biases
        last = last.T.reshape(groups, heads, last.shape[0])
        last_bias = last_bias.reshape(groups, 1, heads)
        weights, biases = [w[None] for w in weights], [b[None] for b in biases]
    else:
        *weights, last = weights
        *biases, last_bias = biases
        last, last_bias = jnp.swapaxes(last, 1, 2), last_bias[:, None]
    layers = []
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        _, size, width = weight.shape
        weight = _pad(weight, {1: padded(size) if layer else size, 2: padded(width)})
        layers.append((weight, _pad(bias, {1: padded(width)})[:, None]))
    if not layers:
        return MLP(None, (), (last, last_bias))
    return MLP(layers[0], tuple(layers[1:]), (_pad(last, {2: padded(last.shape[2])}), last_bias))


def unpack_heads(packed: Float[Array, "B H _ _"], like: Any) -> Float[Array, "B N H C"]:
    """An array of queries, keys or values as it was, from one with heads first."""
    out = jnp.swapaxes(packed, 1, 2)[:, : like.shape[1], :, : like.shape[3]]
    return out.astype(like.dtype)


def unpack(plan: Plan, gradients: Packed, inputs: Inputs, valid: Bool[Array, "B K"]) -> Inputs:
    """Derivatives by the inputs, from those by what was packed of them; zeros for None."""

    def heads(x: Any, like: Any) -> Any:
        return None if like is None else unpack_heads(x, like)

    def tokens(x: Any, like: TokenBlock) -> TokenBlock:
        if x is None:
            return jax.tree.map(jnp.zeros_like, like)
        parts, structure = jax.tree.flatten(like)
        columns = [x[:, : c.shape[1], i].astype(c.dtype) for i, c in enumerate(parts)]
        return jax.tree.unflatten(structure, columns)

    by_columns = None if gradients.columns is None else jnp.swapaxes(gradients.columns, 1, 2)
    by_bias = gradients.bias[:, 0, : valid.shape[1]]
    parameters = jax.tree.map(jnp.zeros_like, inputs.parameters)
    if inputs.parameters is not None and gradients.mlp is not None:
        groups = num_groups(inputs, plan)
        parameters = _unpack_mlp(gradients.mlp, inputs.parameters, groups, plan.heads)
    return Inputs(
        query=heads(gradients.query, inputs.query),
        tokens=tokens(gradients.rows, inputs.tokens),
        key=heads(gradients.key, inputs.key),
        value=unpack_heads(gradients.value, inputs.value),
        key_tokens=tokens(by_columns, inputs.key_tokens),
        log_weights=jnp.where(valid, by_bias, 0.0).astype(inputs.log_weights.dtype),
        parameters=parameters,
    )


def _unpack_mlp(gradients: MLP, like: Parameters, groups: int, heads: int) -> Parameters:
    dtype = jax.tree.leaves(gradients)[0].dtype
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), like)
    transpose = jax.linear_transpose(lambda x: pack_mlp(x, groups, heads, dtype), shapes)
    return transpose(gradients)[0]


def _components(tokens: TokenBlock, size: int) -> Float[Array, "B _ R"]:
    out = jnp.stack([*tokens.elements, *tokens.orbits], axis=-1)
    # At ones every formula is finite.
    return jnp.pad(out, ((0, 0), (0, size - out.shape[1]), (0, 0)), constant_values=1)


def _heads_first(x: Array, tokens: int) -> Array:
    x = jnp.swapaxes(x, 1, 2)
    return _pad(x, {2: tokens, 3: padded(x.shape[3])})


def _pad(x: Array, sizes: dict[int, int]) -> Array:
    return jnp.pad(x, [(0, sizes.get(axis, size) - size) for axis, size in enumerate(x.shape)])


def num_groups(inputs: Inputs, plan: Plan) -> int:
    """Programs that share the heads."""
    return inputs.value.shape[2] // plan.heads

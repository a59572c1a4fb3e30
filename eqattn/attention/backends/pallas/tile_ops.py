"""What a kernel computes of one tile of pairs: functions of small arrays, traced inside kernels.

All arrays are two-dimensional, and of sizes that are powers of two, which is what the compilers
of kernels take. Hidden layers of an MLP lie [pairs, units], so that the warps of a GPU share the
pairs of a product and repeat nothing; logits lie [rows, columns].
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from eqattn.activations import activation_fn
from eqattn.attention.terms.location import PairFeatures, TokenBlock
from eqattn.typing import Activation, Array, Components, DType

Target = Literal["gpu", "tpu", "interpreter"]
"""What runs a kernel: a GPU by Triton, a TPU by Mosaic, or any device by interpretation."""


class Plan(NamedTuple):
    """What is known before a kernel is traced; hashable.

    Attributes:
      rows: Queries of a tile.
      columns: Keys of a tile.
      heads: Number of heads of a program.
      num_elements: Components of a token that are of its element; the others are orbit invariants.
      features: What the location term sees of a pair, None without one.
      activation: Activation of its MLP.
      final_activation: Whether it follows the last layer too.
      scale: Scale of the content term, where there is one.
      dtype: Data type of logits and sums, float32 or wider.
      precision: Precision of the products with query, key and value.
      num_warps: Number of warps of a program, on a GPU.
      num_stages: Number of stages of its pipeline, on a GPU.
      target: What runs the kernel.
    """

    rows: int
    columns: int
    heads: int
    num_elements: int
    features: PairFeatures | None
    activation: Activation
    final_activation: bool
    scale: float
    dtype: DType
    precision: jax.lax.Precision | None
    num_warps: int
    num_stages: int
    target: Target

    @property
    def exact(self) -> jax.lax.Precision | jax.lax.DotAlgorithmPreset:
        """The precision of the MLP's products: float32.

        On a GPU as three products of its tensor cores, which make up for the bits that one of
        them drops; without tensor cores every multiplication is an instruction of its own, and
        kernels take minutes to compile.
        """
        if self.target == "gpu":
            return jax.lax.DotAlgorithmPreset.TF32_TF32_F32_X3
        return jax.lax.Precision.HIGHEST


class MLP(NamedTuple):
    """Parameters of the location MLP, for the heads of a program.

    Arrays have an axis in front: of the programs' groups of heads, or of size 1 where all heads
    share them. In a kernel, after :func:`load`, rows of the first and last weight are apart.

    Attributes:
      first: Weight [features, units] and bias [1, units] of the first layer, None if it is also
        the last.
      hidden: Weights [units below, units] and biases [1, units].
      last: Weight [heads, units below] and bias [1, heads].
    """

    first: Any
    hidden: Any
    last: Any


def load(mlp: MLP) -> MLP:
    """The parameters, from their references."""
    first = None
    if mlp.first is not None:
        weight, bias = mlp.first
        first = tuple(weight[i : i + 1, :] for i in range(weight.shape[0])), bias[...]
    hidden = tuple((weight[...], bias[...]) for weight, bias in mlp.hidden)
    weight, bias = mlp.last
    heads = range(weight.shape[0])
    if first is None:  # numbers: one for each feature
        features = range(weight.shape[1])
        weights = tuple(tuple(weight[h : h + 1, f : f + 1] for f in features) for h in heads)
    else:
        weights = tuple(weight[h : h + 1, :] for h in heads)
    return MLP(first, hidden, (weights, tuple(bias[:, h : h + 1] for h in heads)))


def store(refs: MLP, mlp: MLP) -> None:
    """Writes what :func:`load` would read, such as derivatives by it."""
    if refs.first is not None:
        for i, row in enumerate(mlp.first[0]):
            refs.first[0][i : i + 1, :] = row
        refs.first[1][...] = mlp.first[1]
    for (weight_ref, bias_ref), (weight, bias) in zip(refs.hidden, mlp.hidden, strict=True):
        weight_ref[...] = weight
        bias_ref[...] = bias
    weight_ref, bias_ref = refs.last
    for h, (weight, bias) in enumerate(zip(*mlp.last, strict=True)):
        bias_ref[:, h : h + 1] = bias
        if refs.first is None:
            for f, number in enumerate(weight):
                weight_ref[h : h + 1, f : f + 1] = number
        else:
            weight_ref[h : h + 1, :] = weight


def linear(plan: Plan, hidden: Array, weight: Array) -> Array:
    """A hidden layer before its bias: [pairs, units below] to [pairs, units]."""
    return jnp.dot(hidden, weight, precision=plan.exact)


linear_by_blocks = jax.custom_vjp(linear, nondiff_argnums=(0,))
"""The same, where derivatives by the weight are wanted; kernels without such do not lower it."""


def _linear_forward(plan: Plan, hidden: Array, weight: Array) -> tuple[Array, Any]:
    return linear(plan, hidden, weight), (hidden, weight)


def _linear_backward(plan: Plan, residuals: Any, cotangent: Array) -> tuple[Array, Array]:
    """The sum over pairs of hiddenᵀ cotangent, of blocks of pairs side by side.

    The product of two narrow arrays over many pairs would be done by every warp of a GPU anew, and
    in registers that it does not have. With blocks side by side the warps share it, and what
    belongs to two different blocks is left out.
    """
    hidden, weight = residuals
    num_blocks = max(1, _WIDE // max(weight.shape))
    a, b = (
        x.reshape(x.shape[0] // num_blocks, num_blocks * x.shape[1]) for x in (hidden, cotangent)
    )
    products = jnp.dot(a.T, b, precision=plan.exact)
    row, column = (
        jax.lax.broadcasted_iota(jnp.int32, products.shape, axis) // size
        for axis, size in enumerate(weight.shape)
    )
    products = jnp.where(row == column, products, 0.0)
    blocks = products.reshape(num_blocks, weight.shape[0], num_blocks * weight.shape[1])
    blocks = jnp.sum(blocks, axis=0).reshape(weight.shape[0], num_blocks, weight.shape[1])
    return jnp.dot(cotangent, weight.T, precision=plan.exact), jnp.sum(blocks, axis=1)


linear_by_blocks.defvjp(_linear_forward, _linear_backward)
_WIDE = 64
"""Rows of a product that all warps of a program share."""


def location_logits(
    plan: Plan,
    mlp: MLP | None,
    rows: Components,
    columns: Components,
    layer: Callable[[Plan, Array, Array], Array] = linear,
) -> Components:
    """The location term of all pairs of a tile, [rows, columns] for each head of the program.

    Args:
      plan: Plan that holds the features of a pair and the activations.
      mlp: Parameters from :func:`load`.
      rows: Components of the queries, [rows, 1] each.
      columns: Components of the keys, [1, columns] each.
      layer: Computes a hidden layer.
    """
    if plan.features is None or mlp is None:
        return ()
    size = plan.num_elements
    pairs = plan.features.components(
        *(TokenBlock(part[:size], part[size:]) for part in (rows, columns))
    )
    shape = plan.rows, plan.columns
    activation = activation_fn(plan.activation)
    if mlp.first is None:
        logits = [
            bias + sum(weight * feature for weight, feature in zip(weights, pairs, strict=True))
            for weights, bias in zip(*mlp.last, strict=True)
        ]
    else:
        weights, hidden = mlp.first
        for weight, feature in zip(weights, pairs, strict=True):
            column = jnp.broadcast_to(feature, shape).reshape(plan.rows * plan.columns, 1)
            hidden = hidden + column * weight
        hidden = activation(hidden)
        for weight, bias in mlp.hidden:
            hidden = activation(layer(plan, hidden, weight) + bias)
        logits = [
            jnp.sum(hidden * weight, axis=1, keepdims=True) + bias
            for weight, bias in zip(*mlp.last, strict=True)
        ]
    if plan.final_activation:
        logits = [activation(x) for x in logits]
    return tuple(x.astype(plan.dtype).reshape(shape) for x in logits)


def masked_exponent(dtype: DType) -> float:
    """The exponent of keys that are masked: finite, and below all that is computed."""
    return float(jnp.finfo(dtype).min) / 4


def exponents(
    plan: Plan, query: Array | None, key: Array | None, located: Array | None, bias: Array
) -> Array:
    """Logits of a tile and one head plus log-weights, [rows, columns]."""
    total = jnp.broadcast_to(bias, (plan.rows, plan.columns))
    if located is not None:
        total = total + located
    if query is not None and key is not None:
        total = total + plan.scale * product(plan, query, key.T)
    return jnp.where(is_valid(plan, bias), total, masked_exponent(plan.dtype))


def is_valid(plan: Plan, bias: Array) -> Array:
    """Which keys are not masked, from their log-weights [1, columns]."""
    return bias > 0.5 * masked_exponent(plan.dtype)


def product(plan: Plan, a: Array, b: Array) -> Array:
    """A matrix product of tiles, accumulated in the type of the logits."""
    dtype = jnp.promote_types(a.dtype, b.dtype)
    out = jnp.dot(
        a.astype(dtype),
        b.astype(dtype),
        precision=plan.precision,
        preferred_element_type=jnp.promote_types(dtype, jnp.float32),
    )
    return out.astype(plan.dtype)


def row_components(ref: Any, window: Any) -> Components:
    """Components of queries, [rows, 1] each, from a reference [tokens, R]."""
    return tuple(ref[window, i : i + 1] for i in range(ref.shape[1]))


def column_components(ref: Any, window: Any) -> Components:
    """Components of keys, [1, columns] each, from a reference [R, tokens]."""
    return tuple(ref[i : i + 1, window] for i in range(ref.shape[0]))

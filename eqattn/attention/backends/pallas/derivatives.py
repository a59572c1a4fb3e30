"""Attention by kernels as one differentiable function."""

import functools
from typing import Any, cast

import jax
import jax.numpy as jnp

from eqattn.attention.backends.base import Terms
from eqattn.attention.backends.chunked import Chunked
from eqattn.attention.backends.key_tokens import Keys, Queries
from eqattn.attention.backends.pallas import layout
from eqattn.attention.backends.pallas.backward import Results, Wanted, backward
from eqattn.attention.backends.pallas.forward import forward
from eqattn.attention.backends.pallas.layout import Inputs
from eqattn.attention.backends.pallas.tile_ops import Plan
from eqattn.attention.terms.content import DotProduct
from eqattn.attention.terms.location import PairMLP
from eqattn.typing import Array, Bool, Float


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def fused_attention(
    plan: Plan, inputs: Inputs, valid: Bool[Array, "B K"]
) -> tuple[Float[Array, "B T H V"], Float[Array, "B H _ 1"]]:
    """Weighted values, and the logarithms of the sums of exponentials, padded to whole tiles.

    The second result is for derivatives; it has none itself.
    """
    out, lse = forward(plan, layout.pack(plan, inputs, valid))
    batch, _, *sizes = inputs.value.shape
    shape = jax.ShapeDtypeStruct((batch, inputs.num_queries, *sizes), inputs.value.dtype)
    return layout.unpack_heads(out, shape), lse


def _attend_forward(plan: Plan, inputs: Any, valid: Any) -> tuple[Any, Any]:
    parameters = inputs.parameters
    wanted = Wanted(
        tokens=parameters is not None and _is_perturbed((inputs.tokens, inputs.key_tokens)),
        location=_is_perturbed(parameters),
    )
    inputs, valid = jax.tree.map(lambda x: x.value, (inputs, valid))
    # Called as it is from outside, so that derivatives of this very computation are known too.
    out, lse = cast(tuple[Any, Any], fused_attention(plan, inputs, valid))
    return (out, lse), (inputs, valid, out, lse, wanted)


def _attend_backward(plan: Plan, residuals: Any, cotangents: Any) -> tuple[Any, None]:
    inputs, valid, out, lse, wanted = residuals
    cotangent, _ = cotangents
    if isinstance(cotangent, jax.custom_derivatives.SymbolicZero):
        cotangent = jnp.zeros(out.shape, out.dtype)
    return _gradients(plan, wanted, inputs, valid, out, lse, cotangent), None


fused_attention.defvjp(_attend_forward, _attend_backward, symbolic_zeros=True)


def _is_perturbed(tree: Any) -> bool:
    return any(x.perturbed for x in jax.tree.leaves(tree))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _gradients(
    plan: Plan,
    wanted: Wanted,
    inputs: Inputs,
    valid: Array,
    out: Array,
    lse: Array,
    cotangent: Array,
) -> Inputs:
    """Derivatives by the inputs; zeros for what is not wanted."""
    packed = layout.pack(plan, inputs, valid)
    delta = jnp.sum(cotangent.astype(plan.dtype) * out.astype(plan.dtype), axis=-1, keepdims=True)
    delta = layout.pack_queries(delta, plan)[..., :1]
    results = Results(layout.pack_queries(cotangent, plan), lse, delta)
    return layout.unpack(plan, backward(plan, wanted, packed, results), inputs, valid)


@_gradients.defjvp
def _gradients_jvp(plan: Plan, wanted: Wanted, primals: Any, tangents: Any) -> tuple[Any, Any]:
    """By the chunked back end: these are functions of the inputs and the cotangent alone."""
    inputs, valid, _, _, cotangent = primals

    def gradients(inputs: Inputs, cotangent: Array) -> Inputs:
        _, pull = jax.vjp(lambda x: _chunked(plan, x, valid), inputs)
        (by_inputs,) = pull(cotangent)
        return _only(wanted, by_inputs)

    directions = tangents[0], tangents[4]
    _, out_tangents = jax.jvp(gradients, (inputs, cotangent), directions)
    return _gradients(plan, wanted, *primals), out_tangents


def _chunked(plan: Plan, inputs: Inputs, valid: Array) -> Array:
    content = None if inputs.query is None else DotProduct()
    location = None
    if plan.features is not None and inputs.parameters is not None:
        weights, biases = inputs.parameters
        kind = plan.features, plan.activation, plan.final_activation
        location = PairMLP(weights, biases, *kind)
    terms = Terms(content, location, None, "sum", "softmax", plan.precision)
    keys = Keys(inputs.key, inputs.value, inputs.key_tokens, valid, inputs.log_weights)
    failed = jnp.zeros((inputs.value.shape[0], inputs.num_queries), jnp.float32)
    return Chunked().attend(Queries(inputs.query, inputs.tokens, failed), keys, None, terms)


def _only(wanted: Wanted, gradients: Inputs) -> Inputs:
    """Zeros for what is not wanted."""
    if not wanted.tokens:
        tokens = jax.tree.map(jnp.zeros_like, (gradients.tokens, gradients.key_tokens))
        gradients = gradients._replace(tokens=tokens[0], key_tokens=tokens[1])
    if not wanted.location:
        parameters = jax.tree.map(jnp.zeros_like, gradients.parameters)
        gradients = gradients._replace(parameters=parameters)
    return gradients

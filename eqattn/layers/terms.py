"""The learned terms of attention logits, as NNX modules: thin shells of :mod:`eqattn.attention`."""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from eqattn.attention import FourierBasis, LinearConcat, PairFeatures, RelativePosition
from eqattn.attention.mlp import init_mlp
from eqattn.typing import Activation, Array, DType


class MLPParameters(nnx.Module):
    """The parameters of a pair MLP, as NNX holds them.

    Args:
      sizes: Sizes of the input, the hidden layers and the output.
      num_heads: an MLP for each head; None for one shared trunk.
      preserve: an activation with which initial outputs keep the mean square of the inputs, see
        :func:`eqattn.attention.mlp.init_mlp`.
      param_dtype: Data type of the parameters.
      rngs: for the initial values.
    """

    def __init__(
        self,
        sizes: tuple[int, ...],
        num_heads: int | None = None,
        *,
        preserve: Activation | None = None,
        param_dtype: DType = float,
        rngs: nnx.Rngs,
    ):
        weights, biases = init_mlp(
            rngs.params(), sizes, num_heads, param_dtype, activation=preserve
        )
        self.weights = nnx.List([nnx.Param(w) for w in weights])
        self.biases = nnx.List([nnx.Param(b) for b in biases])

    def arrays(self) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Weights and biases as plain arrays."""
        return tuple(w[...] for w in self.weights), tuple(b[...] for b in self.biases)


class FourierParameters(nnx.Module):
    """The parameters of :class:`eqattn.attention.FourierBasis`.

    Frequencies are standard normal at first, and phases uniform in a turn.

    Args:
      features: what the basis sees of a pair.
      num_basis: number of basis functions.
      param_dtype: Data type of the parameters.
      rngs: for the initial values.
    """

    def __init__(
        self,
        features: PairFeatures,
        num_basis: int,
        *,
        param_dtype: DType = float,
        rngs: nnx.Rngs,
    ):
        self.features = features
        shape = (features.size, num_basis)
        self.frequencies = nnx.Param(jax.random.normal(rngs.params(), shape, param_dtype))
        turn = jax.random.uniform(rngs.params(), (num_basis,), param_dtype, 0, 2 * math.pi)
        self.phases = nnx.Param(turn)

    def term(self) -> FourierBasis:
        """The basis."""
        return FourierBasis(self.frequencies[...], self.phases[...], self.features)


class LinearConcatParameters(nnx.Module):
    """The parameters of :class:`eqattn.attention.LinearConcat`.

    Args:
      head_dim: channels of a query.
      num_features: Number of features of the result.
      param_dtype: Data type of the parameters.
      rngs: for the initial values.
    """

    def __init__(
        self, head_dim: int, num_features: int, *, param_dtype: DType = float, rngs: nnx.Rngs
    ):
        sizes = (2 * head_dim, num_features)
        (weight,), (bias,) = init_mlp(rngs.params(), sizes, dtype=param_dtype)
        self.weight, self.bias = nnx.Param(weight), nnx.Param(bias)

    def term(self) -> LinearConcat:
        """The content term."""
        return LinearConcat(self.weight[...], self.bias[...])


class RelativePositionParameters(nnx.Module):
    """The parameters of :class:`eqattn.attention.RelativePosition`.

    Args:
      features: what the term sees of a pair.
      num_heads: number of heads.
      head_dim: channels of a query.
      param_dtype: Data type of the parameters.
      rngs: for the initial values.
    """

    def __init__(
        self,
        features: PairFeatures,
        num_heads: int,
        head_dim: int,
        *,
        param_dtype: DType = float,
        rngs: nnx.Rngs,
    ):
        self.features = features
        bound, shape = 1 / math.sqrt(features.size), (num_heads, head_dim)

        def uniform(*lead: int) -> nnx.Param:
            value = jax.random.uniform(rngs.params(), (*lead, *shape), param_dtype, -bound, bound)
            return nnx.Param(value)

        self.weight, self.bias = uniform(features.size), uniform()
        self.key_vector = nnx.Param(jnp.zeros(shape, param_dtype))
        self.pair_vector = nnx.Param(jnp.zeros(shape, param_dtype))

    def term(self) -> RelativePosition:
        """The content term."""
        return RelativePosition(
            self.weight[...],
            self.bias[...],
            self.key_vector[...],
            self.pair_vector[...],
            self.features,
        )

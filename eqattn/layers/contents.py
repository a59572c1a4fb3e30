"""Content terms: what attention logits see of the features of a query and a key.

A term of one's own is a class: its options, and how it is built.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from flax import nnx

from eqattn.attention import DotProduct, LinearConcat, PairFeatures, RelativePosition
from eqattn.attention.terms.mlp import init_mlp
from eqattn.checks import check_sizes
from eqattn.initial import uniform
from eqattn.layers.pairs import LogitTerm, PairTerm, Surroundings


@dataclass(frozen=True, repr=False)
class ContentTerm(LogitTerm):
    """A content term of attention."""

    sees_coordinates: ClassVar[bool] = False
    """Whether the term depends on the coordinates of pairs."""


@dataclass(frozen=True, repr=False)
class DotProductContent(ContentTerm):
    """q_i·k_j / sqrt(C), see :class:`eqattn.attention.DotProduct`."""

    def build(self, around: Surroundings) -> DotProduct:
        """See :meth:`LogitTerm.build`."""
        del around
        return DotProduct()


@dataclass(frozen=True, repr=False, kw_only=True)
class LinearConcatContent(ContentTerm):
    """[q_i, k_j], or a linear map of them, see :class:`eqattn.attention.LinearConcat`."""

    map_features: int | None = None
    """Outputs of the linear map; None for no map, and the features themselves. More than 1 need the
    combination :class:`MLPLogits`."""

    def __post_init__(self):
        super().__post_init__()
        if self.map_features is not None:
            check_sizes({"map_features": self.map_features})

    def num_features(self, around: Surroundings) -> int:
        """See :meth:`LogitTerm.num_features`."""
        return 2 * around.head_dim if self.map_features is None else self.map_features

    def build(self, around: Surroundings) -> nnx.Module | LinearConcat:
        """See :meth:`LogitTerm.build`."""
        if self.map_features is None:
            return LinearConcat()
        return LinearConcatParameters(self.map_features, around)


class LinearConcatParameters(nnx.Module):
    """The parameters of :class:`eqattn.attention.LinearConcat`.

    Args:
      num_features: Outputs of the linear map.
      around: The layer.
    """

    def __init__(self, num_features: int, around: Surroundings):
        sizes = (2 * around.head_dim, num_features)
        (weight,), (bias,) = init_mlp(around.rngs.params(), sizes, dtype=around.param_dtype)
        self.weight, self.bias = nnx.Param(weight), nnx.Param(bias)

    def term(self) -> LinearConcat:
        """The content term."""
        return LinearConcat(self.weight[...], self.bias[...])


@dataclass(frozen=True, repr=False, kw_only=True)
class RelativePositionContent(PairTerm, ContentTerm):
    """A dot product that also sees the pair, see :class:`eqattn.attention.RelativePosition`."""

    sees_coordinates: ClassVar[bool] = True

    def build(self, around: Surroundings) -> nnx.Module:
        """See :meth:`LogitTerm.build`."""
        return RelativePositionParameters(self.features(around, around.coordinates), around)


class RelativePositionParameters(nnx.Module):
    """The parameters of :class:`eqattn.attention.RelativePosition`.

    Args:
      features: What the term sees of a pair.
      around: The layer.
    """

    def __init__(self, features: PairFeatures, around: Surroundings):
        self.features = features
        bound, shape = 1 / math.sqrt(features.size), (around.num_heads, around.head_dim)

        def parameter(*lead: int) -> nnx.Param:
            key, dtype = around.rngs.params(), around.param_dtype
            return nnx.Param(uniform(key, (*lead, *shape), dtype, -bound, bound))

        self.weight, self.bias = parameter(features.size), parameter()
        self.key_vector = nnx.Param(jnp.zeros(shape, around.param_dtype))
        self.pair_vector = nnx.Param(jnp.zeros(shape, around.param_dtype))

    def term(self) -> RelativePosition:
        """The content term."""
        return RelativePosition(
            self.weight[...],
            self.bias[...],
            self.key_vector[...],
            self.pair_vector[...],
            self.features,
        )

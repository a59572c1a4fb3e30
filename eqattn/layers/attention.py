"""LieSelfAttention and attentive convolution: multi-head attention on a sampled group."""

from dataclasses import dataclass
from typing import Any, Unpack

from flax import nnx

from eqattn.attention.api import Normalize
from eqattn.checks import check_sizes
from eqattn.layers.family import LayerTypes, check_call
from eqattn.layers.group_layer import GroupLayer, PairLayer
from eqattn.layers.pairs import term_of
from eqattn.layers.tokens import Tokens
from eqattn.layers.values import MLPValues, ValueBasis
from eqattn.layers.weights import WeightOptions
from eqattn.spaces.base import Space


@dataclass(frozen=True, repr=False, kw_only=True)
class Attention(WeightOptions, PairLayer):
    """Attention by terms of content and of location (arXiv 2012.10885)."""

    content_dim: int | None = None
    """Channels of queries and of keys, all heads together; None for those of the layer."""

    def __post_init__(self):
        super().__post_init__()
        if self.content_dim is not None:
            check_sizes({"content_dim": self.content_dim})

    @property
    def sees_coordinates(self) -> bool:
        """See :attr:`PairLayer.sees_coordinates`."""
        return any(term.sees_coordinates for term in (self.content, self.location) if term)

    def build(
        self, dim: int, space: Space, *, rngs: nnx.Rngs, **types: Unpack[LayerTypes]
    ) -> "LieSelfAttention":
        """See :meth:`eqattn.layers.Layer.build`."""
        return LieSelfAttention(dim, space, self, rngs=rngs, **types)


@dataclass(frozen=True, repr=False, kw_only=True)
class AttentiveConvolution(Attention):
    """Attention whose values depend on location."""

    values: ValueBasis = MLPValues()
    """Basis of the values."""

    @property
    def sees_coordinates(self) -> bool:
        """See :attr:`PairLayer.sees_coordinates`."""
        return super().sees_coordinates or self.values.sees_coordinates


class LieSelfAttention(GroupLayer):
    """Multi-head self-attention on the group (arXiv 2012.10885).

    out_i = W_O concat_h Σ_j w_ij^h W_V^h F_j, with the weights of :func:`eqattn.attention.attend`;
    with :class:`AttentiveConvolution` values depend on location, see :class:`GroupLayer`.

    Equivariance: exact to G acting on the elements of the lift, [u·F](g) = F(u⁻¹ g); on data, as
    exact as the lift is.

    With a ``cutoff`` it is local: an element beyond it changes nothing, in any normalization, and
    weights and outputs are twice continuously differentiable where it comes in.

    Features that are equal at all points hide the locations where weights sum to 1, as those of a
    softmax do: the mean of equal values is that value, whatever the weights. Outputs then do not
    depend on where the points are, and forces are 0. Features that differ help, or values that
    depend on location, or weights that need not sum to 1, as those of ``combine=MultiplyLogits(),
    normalize="mean"``.

    Args:
      dim: Channels in and out, a multiple of the number of heads.
      space: Space of the points.
      layer: Options of the layer.
      rngs: Random streams of the initial values.
      **types: Activations, data types and precision, as :class:`GroupLayer` takes them.

    Raises:
      TypeError: For a size that is not an integer, or a ``space`` or ``layer`` of another type.
      ValueError: For a ``dim`` or ``content_dim`` that the number of heads does not divide, or
        terms that do not go together; also as :class:`GroupLayer`.
    """

    options: Attention

    def __init__(
        self,
        dim: int,
        space: Space,
        layer: Attention = Attention(),
        *,
        rngs: nnx.Rngs,
        **types: Unpack[LayerTypes],
    ):
        check_call("LieSelfAttention", space, layer, Attention, types)
        num_heads = layer.num_heads
        content_dim = dim if layer.content_dim is None else layer.content_dim
        check_sizes({"dim": dim})
        for name, size in (("dim", dim), ("content_dim", content_dim)):
            if size % num_heads:
                raise ValueError(f"{name} must be a multiple of num_heads={num_heads}, got {size}")
        head_dim = content_dim // num_heads
        values = layer.values if isinstance(layer, AttentiveConvolution) else None
        super().__init__(
            dim,
            space,
            layer,
            num_heads=num_heads,
            head_dim=head_dim,
            values=values,
            rngs=rngs,
            **types,
        )
        self.normalize: Normalize = layer.normalize
        has_content = layer.content is not None
        self.query = self._linear(dim, content_dim, rngs) if has_content else None
        self.key = self._linear(dim, content_dim, rngs) if has_content else None
        self.value = self._linear(dim, dim, rngs)
        self.output = self._linear(self.num_basis * dim, dim, rngs)
        built = layer.build_terms(self._around(head_dim, rngs))
        self.content_term, self.location, self.combination = built

    def _weights(self, queries: Tokens, keys: Tokens) -> dict[str, Any]:
        weights: dict[str, Any] = {
            "query": None if self.query is None else self._heads(self.query(queries.features)),
            "key": None if self.key is None else self._heads(self.key(keys.features)),
            "location": term_of(self.location),
            "combine": term_of(self.combination),
            "normalize": self.normalize,
            "envelope": self.options.envelope(self.space),
        }
        if self.content_term is not None:
            weights["content"] = term_of(self.content_term)
        return weights

"""LieSelfAttention and attentive convolution: multi-head attention on a sampled group."""

from dataclasses import dataclass
from typing import Any, Unpack

from flax import nnx

from eqattn.attention.api import Normalize
from eqattn.checks import check_sizes
from eqattn.layers.combinations import AddLogits, Combination
from eqattn.layers.contents import ContentTerm, DotProductContent
from eqattn.layers.family import LayerTypes, check_call
from eqattn.layers.group_layer import GroupLayer, PairLayer
from eqattn.layers.locations import LocationTerm, MLPLocation
from eqattn.layers.pairs import term_of
from eqattn.layers.tokens import Tokens
from eqattn.layers.values import MLPValues, ValueBasis
from eqattn.spaces.base import Space


@dataclass(frozen=True, repr=False, kw_only=True)
class Attention(PairLayer):
    """Attention by terms of content and of location (arXiv 2012.10885)."""

    num_heads: int = 8
    """Attention heads; divides the channels of the layer."""
    content: ContentTerm | None = DotProductContent()
    """Content term of the logits; None for weights from location alone."""
    content_dim: int | None = None
    """Channels of queries and of keys, all heads together; None for those of the layer."""
    location: LocationTerm | None = MLPLocation()
    """Location term of the logits; None for weights from content alone."""
    combine: Combination = AddLogits()
    """Combination of both terms."""
    normalize: Normalize = "softmax"
    """Normalization of the weights over keys."""

    def __post_init__(self):
        super().__post_init__()
        sizes = {"num_heads": self.num_heads}
        if self.content_dim is not None:
            sizes["content_dim"] = self.content_dim
        check_sizes(sizes)
        is_alone = self.content is None or self.location is None
        if self.combine.needs_both and is_alone:
            raise ValueError(
                f"combine={self.combine} needs a content and a location term, "
                f"got content={self.content}, location={self.location}"
            )
        if self.normalize == "mean" and self.content is self.location is None:
            raise ValueError("normalize='mean' needs a content or a location term")

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
        content, location, around = layer.content, layer.location, self._around(head_dim, rngs)
        num_features = [term.num_features(around) if term else 0 for term in (content, location)]
        if not layer.combine.takes_features and max(num_features) > 1:
            raise ValueError(
                f"combine must be MLPLogits() for terms of more than one feature, "
                f"got {layer.combine} for {num_features[0]} of {content} and {num_features[1]} of "
                f"{location}"
            )
        self.normalize: Normalize = layer.normalize
        self.query = None if content is None else self._linear(dim, content_dim, rngs)
        self.key = None if content is None else self._linear(dim, content_dim, rngs)
        self.value = self._linear(dim, dim, rngs)
        self.output = self._linear(self.num_basis * dim, dim, rngs)
        self.content_term = None if content is None else content.build(around)
        self.location = None if location is None else location.build(around)
        self.combination = layer.combine.build(sum(num_features), around)

    def _weights(self, queries: Tokens, keys: Tokens) -> dict[str, Any]:
        weights: dict[str, Any] = {
            "query": None if self.query is None else self._heads(self.query(queries.features)),
            "key": None if self.key is None else self._heads(self.key(keys.features)),
            "location": term_of(self.location),
            "combine": term_of(self.combination),
            "normalize": self.normalize,
        }
        if self.content_term is not None:
            weights["content"] = term_of(self.content_term)
        return weights

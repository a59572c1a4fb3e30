"""LieSelfAttention and attentive convolution: multi-head attention on a sampled group."""

import dataclasses
from typing import Any, Literal

from flax import nnx

from eqattn import attention
from eqattn.attention import CombineMLP, DotProduct, LinearConcat
from eqattn.attention.api import Normalize
from eqattn.checks import check_option, check_sizes
from eqattn.layers.group_layer import GroupLayer
from eqattn.layers.terms import LinearConcatParameters, MLPParameters, RelativePositionParameters
from eqattn.layers.tokens import Tokens
from eqattn.spaces.base import Space

Location = Literal["mlp", "mlp_per_head", "radial", "raw", "none"]
Content = Literal[
    "dot_product", "linear_concat", "linear_concat_linear", "relative_position", "none"
]
Combine = Literal["sum", "product", "mlp"]


class LieSelfAttention(GroupLayer):
    """Multi-head self-attention on the group (arXiv 2012.10885).

    out_i = W_O concat_h Σ_j w_ij^h W_V^h F_j, with the weights of :func:`eqattn.attention.attend`;
    with a ``basis`` it is attentive convolution, whose values depend on location, see
    :class:`GroupLayer`.

    Equivariance: exact to G acting on the elements of the lift, [u·F](g) = F(u⁻¹ g); on data, as
    exact as the lift is.

    Features that are equal at all points hide the locations where weights sum to 1, as those of a
    softmax do: the mean of equal values is that value, whatever the weights. Outputs then do not
    depend on where the points are, and forces are 0. Features that differ help, or values that
    depend on location (a ``basis``), or weights that need not sum to 1, as those of
    ``combine="product", normalize="mean"``.

    Args:
      dim: channels in and out, a multiple of ``num_heads``.
      num_heads: number of heads.
      space: where the points live.
      content: ``"dot_product"``; ``"linear_concat"``, features of query and key side by side, and
        ``"linear_concat_linear"``, a linear map of them; ``"relative_position"``, which also sees
        the pair; or ``"none"`` for weights from location alone.
      content_dim: channels of queries and of keys, all heads together; ``dim`` by default.
      content_features: Number of features of ``"linear_concat_linear"``.
      location: ``"mlp"``, one shared trunk with an output for each head; ``"mlp_per_head"``, the
        published form; ``"radial"``, a linear map of radial basis functions; ``"raw"``, the
        features of the pair as they are; ``"none"``.
      location_features: Number of features of ``"mlp_per_head"``.
      combine: Combination of the content and location logits. Terms of more than one feature
        (``"raw"``, ``"linear_concat"``, or ``*_features`` above 1) need ``"mlp"``.
      normalize: Normalization of the logits.
      rngs: for the initial values.
      **options: further arguments of :class:`GroupLayer`.

    Raises:
      TypeError: for a size that is not an integer, or a ``space`` that is none.
      ValueError: for a ``dim`` or ``content_dim`` that ``num_heads`` does not divide, an unknown
        option, or options that do not go together; also as :class:`GroupLayer`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        space: Space,
        *,
        content: Content = "dot_product",
        content_dim: int | None = None,
        content_features: int = 1,
        location: Location = "mlp",
        location_features: int = 1,
        combine: Combine = "sum",
        normalize: Normalize = "softmax",
        rngs: nnx.Rngs,
        **options: Any,
    ):
        super().__init__(dim, num_heads, space, rngs=rngs, **options)
        content_dim = dim if content_dim is None else content_dim
        check_sizes({"content_dim": content_dim})
        for name, size in (("dim", dim), ("content_dim", content_dim)):
            if size % num_heads:
                raise ValueError(f"{name} must be a multiple of num_heads={num_heads}, got {size}")
        check_option("content", content, Content)
        check_option("location", location, Location)
        check_option("combine", combine, Combine)
        check_option("normalize", normalize, Normalize)
        if combine != "sum" and "none" in (content, location):
            raise ValueError(
                f"combine={combine!r} needs a content and a location term, "
                f"got content={content!r}, location={location!r}"
            )
        if normalize == "mean" and content == location == "none":
            raise ValueError("normalize='mean' needs a content or a location term")
        for name, size, kind, owner in (
            ("content_features", content_features, content, "linear_concat_linear"),
            ("location_features", location_features, location, "mlp_per_head"),
        ):
            check_sizes({name: size})
            if size > 1 and kind != owner:
                raise ValueError(f"{name} must be 1 unless the term is {owner!r}, got {size}")
        head_dim = content_dim // num_heads
        self.location_pairs = self.features
        if location == "radial":
            self.location_pairs = dataclasses.replace(self.features, coordinates=None)
        num_features = (
            {"linear_concat": 2 * head_dim, "none": 0}.get(content, content_features),
            {"raw": self.features.size, "none": 0}.get(location, location_features),
        )
        if combine != "mlp" and max(num_features) > 1:
            raise ValueError(
                f"combine must be 'mlp' for terms of more than one feature, got {combine!r} for "
                f"{num_features[0]} of content {content!r} and {num_features[1]} of location "
                f"{location!r}"
            )
        self.combine = combine
        self.normalize: Normalize = normalize

        def mlp(sizes: tuple[int, ...], heads: int | None) -> MLPParameters:
            return MLPParameters(sizes, heads, param_dtype=self.param_dtype, rngs=rngs)

        self.content, self.location_kind = content, location
        is_seen = location != "none" or content == "relative_position" or self.basis is not None
        if self.features.num_radial and not is_seen:
            raise ValueError(
                f"num_radial must be 0 where no term sees pairs, as with location={location!r} and "
                f"content={content!r}, got {self.features.num_radial}"
            )
        self.query = None if content == "none" else self._linear(dim, content_dim, rngs)
        self.key = None if content == "none" else self._linear(dim, content_dim, rngs)
        self.value = self._linear(dim, dim, rngs)
        self.output = self._linear(self.num_basis * dim, dim, rngs)
        types: dict[str, Any] = {"param_dtype": self.param_dtype, "rngs": rngs}
        self.content_term = (
            LinearConcatParameters(head_dim, content_features, **types)
            if content == "linear_concat_linear"
            else RelativePositionParameters(self.features, num_heads, head_dim, **types)
            if content == "relative_position"
            else None
        )
        num_pair = self.location_pairs.size
        self.location = (
            mlp((num_pair, *self.hidden, location_features), num_heads)
            if location == "mlp_per_head"
            else mlp((num_pair, *self.hidden, num_heads), None)
            if location == "mlp"
            else mlp((num_pair, num_heads), None)
            if location == "radial"
            else None
        )
        sizes = (sum(num_features), *self.hidden, 1)
        self.combination = mlp(sizes, num_heads) if combine == "mlp" else None

    def _weights(self, queries: Tokens, keys: Tokens) -> dict[str, Any]:
        return {
            "query": None if self.query is None else self._heads(self.query(queries.features)),
            "key": None if self.key is None else self._heads(self.key(keys.features)),
            "location": self._location(),
            "content": self._content(),
            "combine": self._combine(),
            "normalize": self.normalize,
        }

    @property
    def _sees_coordinates(self) -> bool:
        return (
            super()._sees_coordinates
            or self.location_kind not in ("radial", "none")
            or self.content == "relative_position"
        )

    def _content(self) -> attention.Content:
        if self.content_term is not None:
            return self.content_term.term()
        return LinearConcat() if self.content == "linear_concat" else DotProduct()

    def _location(self) -> attention.Location | None:
        if self.location is None:
            return attention.RawPairs(self.features) if self.location_kind == "raw" else None
        term = self._pair_mlp(self.location)
        if self.location_kind == "radial":
            term = dataclasses.replace(term, features=self.location_pairs, final_activation=False)
        return term

    def _combine(self) -> str | CombineMLP:
        if self.combination is None:
            return self.combine
        weights, biases = self.combination.arrays()
        return CombineMLP(weights, biases, self.activation, self.final_activation)

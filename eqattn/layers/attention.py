"""LieSelfAttention: multi-head self-attention on a sampled group."""

from typing import Literal

import jax
from flax import nnx

from eqattn import attention
from eqattn.attention import CombineMLP, DotProduct, LinearConcat, Neighborhood, PairFeatures
from eqattn.attention.api import Normalize
from eqattn.attention.mlp import activation_fn
from eqattn.checks import check_option, check_sizes
from eqattn.layers.terms import LinearConcatParameters, MLPParameters, RelativePositionParameters
from eqattn.lift import Lifted
from eqattn.spaces.base import Coordinates, Space
from eqattn.typing import Array, DType, Float

Location = Literal["mlp", "mlp_per_head", "radial", "raw", "none"]
Content = Literal[
    "dot_product", "linear_concat", "linear_concat_linear", "relative_position", "none"
]
Combine = Literal["sum", "product", "mlp"]


class LieSelfAttention(nnx.Module):
    """Multi-head self-attention on the group (arXiv 2012.10885).

    out_i = W_O concat_h Σ_j w_ij^h W_V^h F_j, with the weights of :func:`eqattn.attention.attend`.

    Equivariance: exact to G acting on the elements of the lift, [u·F](g) = F(u⁻¹ g); on data, as
    exact as the lift is.

    Args:
      dim: channels in and out, a multiple of ``num_heads``.
      num_heads: number of heads.
      space: where the points live.
      coordinates: of the pairs that the location term sees.
      content: ``"dot_product"``; ``"linear_concat"``, features of query and key side by side, and
        ``"linear_concat_linear"``, a linear map of them; ``"relative_position"``, which also sees
        the pair; or ``"none"`` for weights from location alone.
      content_dim: channels of queries and of keys, all heads together; ``dim`` by default.
      content_features: of ``"linear_concat_linear"``.
      location: ``"mlp"``, one shared trunk with an output for each head; ``"mlp_per_head"``, the
        published form; ``"radial"``, a linear map of radial basis functions; ``"raw"``, the
        features of the pair as they are; ``"none"``.
      location_features: of ``"mlp_per_head"``.
      location_dim: width of the location MLP.
      location_layers: number of its linear maps, at least 1.
      num_radial: radial basis functions of the distance that it sees besides the coordinates; see
        :class:`eqattn.attention.PairFeatures`.
      cutoff: where the last of them is centered (under T(n) and SE(n), in the unit of the points).
      combine: of the content and location logits. Terms of more than one feature (``"raw"``,
        ``"linear_concat"``, or ``*_features`` above 1) need ``"mlp"``.
      normalize: of the logits.
      activation: of the MLPs.
      final_activation: whether it also follows the last layer of the MLPs, as published.
      dtype: of the products; geometry and logits stay float32 or wider.
      param_dtype: of the parameters.
      precision: of the products.
      implementation: back end of :func:`eqattn.attention.attend`.
      rngs: for the initial values.

    Raises:
      ValueError: for a ``dim`` or ``content_dim`` that ``num_heads`` does not divide, an unknown
        option, or options that do not go together; in a call, for coordinates that the lift does
        not allow (:meth:`eqattn.lift.Lifted.check_coordinates`).
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        space: Space,
        *,
        coordinates: Coordinates = "embedding",
        content: Content = "dot_product",
        content_dim: int | None = None,
        content_features: int = 1,
        location: Location = "mlp",
        location_features: int = 1,
        location_dim: int = 32,
        location_layers: int = 3,
        num_radial: int = 0,
        cutoff: float = 1.0,
        combine: Combine = "sum",
        normalize: Normalize = "softmax",
        activation: str = "swish",
        final_activation: bool = False,
        dtype: DType | None = None,
        param_dtype: DType = float,
        precision: jax.lax.Precision | None = None,
        implementation: str | None = None,
        rngs: nnx.Rngs,
    ):
        check_sizes({"dim": dim, "num_heads": num_heads})
        content_dim = dim if content_dim is None else content_dim
        check_sizes({"content_dim": content_dim})
        for name, size in (("dim", dim), ("content_dim", content_dim)):
            if size % num_heads:
                raise ValueError(f"{name} must be a multiple of num_heads={num_heads}, got {size}")
        check_sizes({"location_dim": location_dim, "location_layers": location_layers})
        check_option("content", content, Content)
        check_option("location", location, Location)
        check_option("combine", combine, Combine)
        check_option("normalize", normalize, Normalize)
        activation_fn(activation)
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
        self.num_heads = num_heads
        self.features = PairFeatures(
            space, None if location == "radial" else coordinates, num_radial, cutoff
        )
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
        self.activation = activation
        self.final_activation = final_activation
        self.combine = combine
        self.normalize: Normalize = normalize
        self.precision = precision
        self.implementation = implementation

        def linear(size: int = dim) -> nnx.Linear:
            return nnx.Linear(
                dim, size, dtype=dtype, param_dtype=param_dtype, precision=precision, rngs=rngs
            )

        def mlp(sizes: tuple[int, ...], heads: int | None) -> MLPParameters:
            return MLPParameters(sizes, heads, param_dtype=param_dtype, rngs=rngs)

        self.content, self.location_kind = content, location
        self.query = None if content == "none" else linear(content_dim)
        self.key = None if content == "none" else linear(content_dim)
        self.value = linear()
        self.output = linear()
        options = {"param_dtype": param_dtype, "rngs": rngs}
        self.content_term = (
            LinearConcatParameters(head_dim, content_features, **options)
            if content == "linear_concat_linear"
            else RelativePositionParameters(
                PairFeatures(space, coordinates, num_radial, cutoff), num_heads, head_dim, **options
            )
            if content == "relative_position"
            else None
        )
        hidden = (location_dim,) * (location_layers - 1)
        self.location = (
            mlp((self.features.size, *hidden, location_features), num_heads)
            if location == "mlp_per_head"
            else mlp((self.features.size, *hidden, num_heads), None)
            if location == "mlp"
            else mlp((self.features.size, num_heads), None)
            if location == "radial"
            else None
        )
        sizes = (sum(num_features), *hidden, 1)
        self.combination = mlp(sizes, num_heads) if combine == "mlp" else None

    def __call__(
        self, lifted: Lifted, neighborhood: Neighborhood | None = None
    ) -> Float[Array, "*B N S C"]:
        """Attends over all points and samples, or those of a neighborhood; masked points get 0."""
        coordinates = self.features.coordinates
        if self._sees_pairs:
            lifted.check_coordinates(self.features.space, coordinates)
        *batch, num_points, num_samples, dim = lifted.features.shape
        if dim != self.value.in_features:
            raise ValueError(
                f"lifted must have {self.value.in_features} channels, got features of shape "
                f"{lifted.features.shape}"
            )
        if lifted.elements.shape[-1] != self.features.space.group.element_dim:
            raise ValueError(
                f"lifted must have elements of {self.features.space.group}, got elements of shape "
                f"{lifted.elements.shape}"
            )
        if neighborhood is not None and not isinstance(neighborhood, Neighborhood):
            raise ValueError(
                f"neighborhood must be a Neighborhood, which find_neighbors makes, "
                f"got {neighborhood!r}"
            )
        # Zeros where nothing counts: padding may hold NaN, which gradients of weights would keep.
        x = jax.numpy.where(lifted.valid[..., None], lifted.features, 0)
        tokens = num_points * num_samples

        def split(linear: nnx.Linear) -> Array:
            return linear(x).reshape(
                *batch, tokens, self.num_heads, linear.out_features // self.num_heads
            )

        def per_token(y: Array) -> Array:
            y = jax.numpy.broadcast_to(
                y[..., None, :], (*batch, num_points, num_samples, y.shape[-1])
            )
            return y.reshape(*batch, tokens, y.shape[-1])

        elements = lifted.elements.reshape(*batch, tokens, lifted.elements.shape[-1])
        mask = per_token(lifted.mask[..., None])[..., 0]
        orbits = per_token(lifted.orbits)
        attended = attention.attend(
            None if self.query is None else split(self.query),
            None if self.key is None else split(self.key),
            split(self.value),
            elements,
            elements,
            self._location(),
            content=self._content(),
            neighborhood=neighborhood,
            query_orbits=orbits,
            key_orbits=orbits,
            query_mask=mask,
            key_mask=mask,
            log_weights=lifted.log_weights.reshape(*batch, tokens),
            combine=self._combine(),
            normalize=self.normalize,
            precision=self.precision,
            implementation=self.implementation,
        )
        out = self.output(attended.reshape(*batch, num_points, num_samples, dim))
        return jax.numpy.where(lifted.mask[..., None, None], out, 0)

    @property
    def _sees_pairs(self) -> bool:
        return self.location_kind != "none" or self.content == "relative_position"

    def _content(self) -> attention.Content:
        if self.content_term is not None:
            return self.content_term.term()
        return LinearConcat() if self.content == "linear_concat" else DotProduct()

    def _location(self) -> attention.Location | None:
        if self.location is None:
            return attention.RawPairs(self.features) if self.location_kind == "raw" else None
        weights, biases = self.location.arrays()
        final_activation = self.final_activation and self.location_kind != "radial"
        return attention.PairMLP(weights, biases, self.features, self.activation, final_activation)

    def _combine(self) -> str | CombineMLP:
        if self.combination is None:
            return self.combine
        weights, biases = self.combination.arrays()
        return CombineMLP(weights, biases, self.activation, self.final_activation)

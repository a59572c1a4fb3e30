"""LieSelfAttention: multi-head self-attention on a sampled group."""

from typing import Literal

import jax
from flax import nnx

from eqattn.attention import CombineMLP, PairFeatures, PairMLP, attend
from eqattn.attention.api import Normalize
from eqattn.attention.location import activation_fn, init_mlp
from eqattn.checks import check_option, check_sizes
from eqattn.lift import Lifted
from eqattn.spaces.base import Coordinates, Space
from eqattn.typing import Array, DType, Float

Location = Literal["mlp", "mlp_per_head", "none"]
Content = Literal["dot_product", "none"]
Combine = Literal["sum", "product", "mlp"]


class MLPParameters(nnx.Module):
    """The parameters of a pair MLP, as NNX holds them.

    Args:
      sizes: of the input, the hidden layers and the output.
      num_heads: an MLP for each head; None for one shared trunk.
      param_dtype: of the parameters.
      rngs: for the initial values.
    """

    def __init__(
        self,
        sizes: tuple[int, ...],
        num_heads: int | None = None,
        *,
        param_dtype: DType = float,
        rngs: nnx.Rngs,
    ):
        weights, biases = init_mlp(rngs.params(), sizes, num_heads, param_dtype)
        self.weights = nnx.List([nnx.Param(w) for w in weights])
        self.biases = nnx.List([nnx.Param(b) for b in biases])

    def arrays(self) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Weights and biases as plain arrays."""
        return tuple(w[...] for w in self.weights), tuple(b[...] for b in self.biases)


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
      content: ``"dot_product"``, or ``"none"`` for weights from location alone.
      location: ``"mlp"``, one shared trunk with an output for each head; ``"mlp_per_head"``, the
        published form; ``"none"``.
      location_dim: width of the location MLP.
      location_layers: number of its linear maps, at least 1.
      num_radial: radial basis functions of the distance that it sees besides the coordinates; see
        :class:`eqattn.attention.PairFeatures`.
      cutoff: where the last of them is centered (under T(n) and SE(n), in the unit of the points).
      combine: of the content and location logits.
      normalize: of the logits.
      activation: of the MLPs.
      final_activation: whether it also follows the last layer of the MLPs, as published.
      dtype: of the products; geometry and logits stay float32 or wider.
      param_dtype: of the parameters.
      precision: of the products.
      implementation: back end of :func:`eqattn.attention.attend`.
      rngs: for the initial values.

    Raises:
      ValueError: for a ``dim`` that ``num_heads`` does not divide, an unknown option, or options
        that do not go together; in a call, for other coordinates on an ``Unlifted`` lift.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        space: Space,
        *,
        coordinates: Coordinates = "embedding",
        content: Content = "dot_product",
        location: Location = "mlp",
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
        check_sizes({"location_dim": location_dim, "location_layers": location_layers})
        if dim % num_heads:
            raise ValueError(f"dim must be a multiple of num_heads={num_heads}, got {dim}")
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
        self.num_heads = num_heads
        self.features = PairFeatures(space, coordinates, num_radial, cutoff)
        self.activation = activation
        self.final_activation = final_activation
        self.combine = combine
        self.normalize: Normalize = normalize
        self.precision = precision
        self.implementation = implementation

        def linear():
            return nnx.Linear(
                dim, dim, dtype=dtype, param_dtype=param_dtype, precision=precision, rngs=rngs
            )

        def mlp(size: int, per_head: bool):
            hidden = (location_dim,) * (location_layers - 1)
            sizes = (size, *hidden, 1 if per_head else num_heads)
            heads = num_heads if per_head else None
            return MLPParameters(sizes, heads, param_dtype=param_dtype, rngs=rngs)

        has_content = content == "dot_product"
        self.query = linear() if has_content else None
        self.key = linear() if has_content else None
        self.value = linear()
        self.output = linear()
        per_head = location == "mlp_per_head"
        self.location = None if location == "none" else mlp(self.features.size, per_head)
        self.combination = mlp(2, True) if combine == "mlp" else None

    def __call__(self, lifted: Lifted) -> Float[Array, "*B N S C"]:
        """Attends over all points and samples; masked points get 0."""
        if lifted.is_coset and self.location is not None:
            coordinates = self.features.coordinates
            if coordinates != "invariants":
                raise ValueError(
                    f"coordinates must be 'invariants' on an Unlifted lift, got {coordinates!r}"
                )
        x = lifted.features
        *batch, num_points, num_samples, dim = x.shape
        tokens = num_points * num_samples

        def split(y: Array) -> Array:
            return y.reshape(*batch, tokens, self.num_heads, dim // self.num_heads)

        def per_token(y: Array) -> Array:
            y = jax.numpy.broadcast_to(
                y[..., None, :], (*batch, num_points, num_samples, y.shape[-1])
            )
            return y.reshape(*batch, tokens, y.shape[-1])

        elements = lifted.elements.reshape(*batch, tokens, lifted.elements.shape[-1])
        mask = per_token(lifted.mask[..., None])[..., 0]
        orbits = per_token(lifted.orbits)
        attended = attend(
            None if self.query is None else split(self.query(x)),
            None if self.key is None else split(self.key(x)),
            split(self.value(x)),
            elements,
            elements,
            self._location(),
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

    def _location(self) -> PairMLP | None:
        if self.location is None:
            return None
        weights, biases = self.location.arrays()
        return PairMLP(weights, biases, self.features, self.activation, self.final_activation)

    def _combine(self):
        if self.combination is None:
            return self.combine
        weights, biases = self.combination.arrays()
        return CombineMLP(weights, biases, self.activation, self.final_activation)

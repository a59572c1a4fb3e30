"""FieldNetwork: fields in and out, exact to the whole group, with no lift and nothing drawn."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from eqattn.activations import activation_fn
from eqattn.attention.neighborhoods import NeighborhoodKind
from eqattn.checks import check_instance, check_sizes
from eqattn.fields import FieldType, vectors
from eqattn.groups import SE, T
from eqattn.kernels.solver import kernel_space
from eqattn.layers import Head, pool
from eqattn.layers.pooling import Pool
from eqattn.layers.steerable import (
    FieldBlock,
    FieldEmbedding,
    FieldLayer,
    FieldLinear,
    HarmonicKernel,
    Parts,
    Places,
    join_parts,
    split_parts,
)
from eqattn.layers.steerable.block import FieldNormPlace
from eqattn.layers.steerable.linear import check_reach
from eqattn.layers.steerable.parts import check_field
from eqattn.lift import Lifted, NoLift, lift, spread_failures
from eqattn.models.config import NetworkConfig, Output, dtype_name
from eqattn.models.field_map import FieldMapConfig
from eqattn.models.lifts import dropout_key_of, mean_over_lifts
from eqattn.models.neighbor_lists import check_field_neighbors, neighborhood_of_points
from eqattn.neighbors import NeighborList
from eqattn.sharding import on_any_mesh
from eqattn.spaces import DistanceSpace, Space, euclidean
from eqattn.typing import Activation, Array, Bool, DType, Float, Int, Key

SCALARS = "scalars"
"""Input field of as many scalars as a model is built for."""


@dataclass(frozen=True, repr=False, kw_only=True)
class FieldNetworkConfig(NetworkConfig, FieldMapConfig):
    """A network of fields."""

    space: Space = euclidean(SE(3))
    """Space of the points, with the group of the equivariance: Rⁿ under T(n), SE(n) or E(n), or
    about its origin under SO(n) or O(n), or the sphere."""
    input_field: str = "scalar"
    """Type of the features of a point, such as "2x scalar + vector"; "scalars" for as many as there
    are features."""
    output_field: str = "scalar"
    """Type of the output."""
    hidden_field: str = "64x scalar + 64x vector"
    """Type of what layers hand on, with copies of each term for all heads."""
    num_layers: int = 4
    """Blocks."""
    layer: FieldLayer = FieldLayer()
    """What a block sums over points by."""
    neighbor_embedding: HarmonicKernel | None = None
    """Kernels of the points around, up to the cutoff of the layer, for the embedding of each point;
    None for an embedding of its own features alone."""
    neighborhood: NeighborhoodKind | None = None
    """Which points each point sees, chosen once for all layers; None for all."""
    num_pair_data: int = 0
    """Numbers that are known of each pair."""
    norm: FieldNormPlace = "pre"
    """Where a block applies norms."""
    mlp_ratio: float = 2.0
    """Hidden width of a block's MLP, as a multiple of the scalars of the hidden field."""
    products: bool = False
    """Whether a block's MLP multiplies fields to fields, such as vectors by the cross product."""
    activation: Activation = "swish"
    """Activation function, everywhere."""
    dropout: float = 0.0
    """Share of the copies of each block's branches that training sets to 0."""
    pool: Pool = "mean"
    """Pooling over points of invariant outputs."""
    output: Output = "per_point"
    """One field per point, or invariants of an example, of scalars only."""

    def __post_init__(self):
        super().__post_init__()
        check_sizes({"num_layers": self.num_layers})
        check_sizes({"num_pair_data": self.num_pair_data}, minimum=0)
        activation_fn(self.activation)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if not (math.isfinite(self.mlp_ratio) and self.mlp_ratio > 0):
            raise ValueError(f"mlp_ratio must be finite and above 0, got {self.mlp_ratio}")

    def check(self) -> None:
        """See :meth:`ModelConfig.check`."""
        hidden_field = FieldType.parse(self.hidden_field)
        check_field(hidden_field, kernel_space(self.space), self.layer.num_heads)
        output_field = FieldType.parse(self.output_field)
        input_field = self._known_input(in_features=1)
        fields = {"input_field": FieldType.parse(input_field), "output_field": output_field}
        for name, field in fields.items():
            if any(term.gauge is not None or term.weight for term in field.terms):
                raise ValueError(f"{name} must be in no gauge and have no weight, got {field}")
        if self.output == "invariant" and not output_field.is_scalar:
            raise ValueError(f"output_field must be scalars to be pooled, got {output_field}")

    def build(self, in_features: int, out_features: int, *, rngs: nnx.Rngs) -> "FieldNetwork":
        """See :meth:`ModelConfig.build`."""
        input_field = self._known_input(in_features)
        for name, text, channels in (
            ("input_field", input_field, in_features),
            ("output_field", self.output_field, out_features),
        ):
            field = FieldType.parse(text)
            if field.size(self.space) != channels:
                raise ValueError(
                    f"{name} {field} has {field.size(self.space)} channels on {self.space}, "
                    f"got {channels}"
                )
        given: dict[str, Any] = self.arguments() | {"input_field": input_field}
        return FieldNetwork(rngs=rngs, **given)

    def _known_input(self, in_features: int) -> str:
        """The type of so many features."""
        return f"{in_features}x scalar" if self.input_field == SCALARS else self.input_field


class FieldNetwork(nnx.Module):
    """Blocks of :class:`eqattn.layers.steerable.FieldAttention` on fields of a type of one's own.

    Nothing is lifted and nothing drawn: predictions are exact, smooth in the points where norms,
    activations and neighborhoods are, and local where the layer has a cutoff.

    On the sphere, and in Rⁿ about its origin, layers are those of Rⁿ under SE(n) or E(n), and the
    position of each point is one more vector of its input: what turns about the origin is all that
    is left of their symmetry.

    Equivariance: exact to all of G = Rⁿ ⋊ H, or SO(n) or O(n), from the input to the output field.

    Args:
      space: Rⁿ under T(n), SE(n) or E(n), or under SO(n) or O(n), for n = 2 or 3; or the sphere.
      input_field: Type of the features, as it is written: ``"2x scalar + vector"``.
      output_field: Type of the output.
      hidden_field: Type of what layers hand on; it has scalars.
      num_layers: Number of blocks.
      layer: Options of what a block sums over points by.
      neighbor_embedding: Kernels of the points around, for the embedding of each; by default none.
        See :class:`eqattn.layers.steerable.FieldEmbedding`.
      neighborhood: Rule that says which points each point sees; all by default.
      num_pair_data: Numbers that are known of each pair.
      norm: ``"pre"`` for norms before each branch, or ``"none"``.
      mlp_ratio: Hidden width of the MLPs, as a multiple of the scalars of the hidden field.
      products: Whether MLPs multiply fields to fields. Vectors have cross products under SE(3),
        which tells mirror images apart; under E(3) these are pseudovectors.
      activation: Activation function, or its name in ``jax.nn``.
      dropout: Share of the copies of each block's branches that training sets to 0.
      pool: Pooling over points of invariant outputs.
      output: ``"per_point"`` for a field, ``"invariant"`` for scalars of an example.
      dtype: Data type of the products; geometry is float32 or wider.
      param_dtype: Data type of the parameters.
      precision: Precision of the products.
      rngs: Random streams of the initial values.

    Raises:
      TypeError: For a value of another type.
      ValueError: For an unknown option, a space without kernels by harmonics, a hidden field that
        takes up nothing of a term of the input or leads to none of the output, or one that does not
        fit; see :class:`eqattn.layers.steerable.FieldAttention`.

    >>> import eqattn, jax
    >>> space = eqattn.spaces.euclidean(eqattn.groups.SE(3))
    >>> model = FieldNetwork(
    ...     space, "scalar + vector", "vector", hidden_field="8x scalar + 4x vector",
    ...     layer=FieldLayer(num_heads=2), num_layers=1, rngs=nnx.Rngs(0),
    ... )
    >>> points = jax.random.normal(jax.random.key(0), (2, 5, 3))
    >>> features = jax.random.normal(jax.random.key(1), (2, 5, 4))
    >>> out = jax.jit(model)(points, features)
    >>> out.shape, bool(out.std(axis=1).min() > 0.01)
    ((2, 5, 3), True)
    """

    def __init__(
        self,
        space: Space,
        input_field: str,
        output_field: str,
        *,
        hidden_field: str = FieldNetworkConfig.hidden_field,
        num_layers: int = FieldNetworkConfig.num_layers,
        layer: FieldLayer = FieldNetworkConfig.layer,
        neighbor_embedding: HarmonicKernel | None = FieldNetworkConfig.neighbor_embedding,
        neighborhood: NeighborhoodKind | None = FieldNetworkConfig.neighborhood,
        num_pair_data: int = FieldNetworkConfig.num_pair_data,
        norm: FieldNormPlace = FieldNetworkConfig.norm,
        mlp_ratio: float = FieldNetworkConfig.mlp_ratio,
        products: bool = FieldNetworkConfig.products,
        activation: Activation = FieldNetworkConfig.activation,
        dropout: float = FieldNetworkConfig.dropout,
        pool: Pool = FieldNetworkConfig.pool,
        output: Output = FieldNetworkConfig.output,
        dtype: DType | None = None,
        param_dtype: DType = float,
        precision: jax.lax.Precision | None = None,
        rngs: nnx.Rngs,
    ):
        self.config = config = FieldNetworkConfig(
            space=space,
            input_field=input_field,
            output_field=output_field,
            hidden_field=hidden_field,
            num_layers=num_layers,
            layer=layer,
            neighbor_embedding=neighbor_embedding,
            neighborhood=neighborhood,
            num_pair_data=num_pair_data,
            norm=norm,
            mlp_ratio=mlp_ratio,
            products=products,
            activation=activation,
            dropout=dropout,
            pool=pool,
            output=output,
            dtype=dtype_name(dtype, param_dtype),
        )
        config.check()
        check_instance("rngs", rngs, nnx.Rngs)
        self.space, self.per_point = space, output == "per_point"
        self.input_field, self.output_field, self.field = (
            FieldType.parse(text) for text in (input_field, output_field, hidden_field)
        )
        self.input_field.check(space)
        self.output_field.check(space)
        inside = kernel_space(space)
        self.knows_origin = inside != space
        self.in_features = self.input_field.size(space)
        self.out_features = self.output_field.size(space)
        self.lift = NoLift()
        self.positions = DistanceSpace(T(space.point_dim))
        types: dict[str, Any] = {
            "dtype": dtype, "param_dtype": param_dtype, "precision": precision, "rngs": rngs,
        }  # fmt: skip
        given = self.input_field + vectors() if self.knows_origin else self.input_field
        kinds = inside, given, self.field
        self.embedding = FieldEmbedding(*kinds, neighbor_embedding, layer, **types)
        check_reach(self.embedding.lost_terms, f"hidden_field {hidden_field} takes up nothing of")

        def block() -> FieldBlock:
            return FieldBlock(
                self.field,
                inside,
                layer,
                num_pair_data=num_pair_data,
                mlp_ratio=mlp_ratio,
                products=products,
                norm=norm,
                dropout=dropout,
                activation=activation,
                **types,
            )

        self.blocks = nnx.List([block() for _ in range(num_layers)])
        self._check_hidden(self.embedding.reached(set(range(len(given.terms)))))
        if self.per_point:
            self.head = FieldLinear(inside, self.field, self.output_field, **types)
            check_reach(self.head.empty_terms, f"hidden_field {hidden_field} leads to no")
        else:
            dim = sum(term.multiplicity for term in self.field.terms if term.is_trivial)
            self.head = Head(dim, self.out_features, activation=activation, **types)

    def _check_hidden(self, reached: set[int]) -> None:
        """Raises a ValueError where a term of the hidden field is zeros in all layers."""
        for block in self.blocks:
            reached = block.reached(reached)
        zeros = [t for i, t in enumerate(self.field.terms) if i not in reached]
        if zeros:
            names = ", ".join(map(str, zeros))
            raise ValueError(
                f"hidden_field {self.field}: {names} would be zeros, since no layer leads from the "
                "input to them; leave them out, or take products=True, a kernel with harmonics of "
                "a higher max_degree, or more layers"
            )

    @property
    def is_stochastic(self) -> bool:
        """Whether predictions depend on a key: by random neighbors."""
        return self.config.neighborhood is not None and self.config.neighborhood.is_stochastic

    @on_any_mesh("points", 2)
    def __call__(
        self,
        points: Float[Array, "*B N D"],
        features: Float[Array, "*B N C"],
        mask: Bool[Array, "*B N"] | None = None,
        key: Key[Array, ""] | None = None,
        *,
        neighbors: NeighborList | None = None,
        pair_data: Float[Array, "*B N _ P"] | None = None,
        example_ids: Int[Array, "*B"] | None = None,
        log_weights: Float[Array, "*B N"] | None = None,
        training: bool = False,
        num_lifts: int = 1,
    ) -> Float[Array, "*B N O"] | Float[Array, "*B O"]:
        """Predicts the output field, or invariants of each example.

        A NaN or an infinity in a point that counts, or in its features, makes all outputs of its
        example NaN, and changes no other example.

        Args:
          points: Coordinates.
          features: Values of the input field.
          mask: Marks the points that exist; by default all do. Outputs are zeros elsewhere.
          key: Random key of the dropout and of random neighbors.
          neighbors: Points that each point sees, the lattice vectors that move them, and what is
            known of these pairs; by default the rule of the model finds them. A rule
            ``RadiusNeighbors`` gives listed points their weights.
          pair_data: Numbers that are known of each pair of points, where no list has them.
          example_ids: Identity of each example, which draws are keyed by.
          log_weights: Logarithms of quadrature weights of the points.
          training: Whether channels are dropped, and a missing key is an error where that draws.
          num_lifts: Number of draws that the output is averaged over, where any is made.

        Raises:
          ValueError: For wrong shapes, or in training a missing key where something is drawn.
        """
        points, features = jnp.asarray(points), jnp.asarray(features)
        pair_data = None if pair_data is None else jnp.asarray(pair_data)
        if features.shape[-1:] != (self.in_features,):
            raise ValueError(
                f"features of the field {self.input_field} must have {self.in_features} channels, "
                f"got shape {features.shape}"
            )
        if pair_data is not None and pair_data.shape[:-1] != (*points.shape[:-1], points.shape[-2]):
            raise ValueError(
                f"pair_data must have shape {(*points.shape[:-1], points.shape[-2])} + (P,), "
                f"got {pair_data.shape}"
            )
        check_field_neighbors(self.config, neighbors, pair_data)
        self.space.check_points(points)
        self.space.check_domain(points, mask)
        drops = training and self.config.dropout > 0

        def predict(lift_key: Key[Array, ""], neighbor_key: Key[Array, ""] | None) -> Array:
            lifted = lift(
                self.positions,
                points,
                features,
                mask,
                lift=self.lift,
                example_ids=example_ids,
                log_weights=log_weights,
            )
            dropout_key = dropout_key_of(lift_key) if drops else None
            return self._apply(lifted, neighbors, pair_data, neighbor_key, example_ids, dropout_key)

        return mean_over_lifts(
            predict,
            key,
            num_lifts=num_lifts,
            draws=self.is_stochastic or drops,
            training=training,
            source=f"the neighborhood {self.config.neighborhood} and dropout {self.config.dropout}",
        )

    def _apply(
        self,
        lifted: Lifted,
        neighbors: NeighborList | None,
        pair_data: Array | None,
        key: Key[Array, ""] | None,
        example_ids: Int[Array, "*B"] | None,
        dropout_key: Key[Array, ""] | None,
    ) -> Array:
        features = jnp.where(lifted.valid[..., None], lifted.features, 0)
        lifted = spread_failures(lifted.replace_features(features))
        places = Places(
            lifted.elements[..., 0, :], lifted.valid[..., 0], lifted.log_weights[..., 0]
        )
        neighborhood, pair_data = neighborhood_of_points(
            self.positions, lifted, self.config.neighborhood, neighbors, pair_data, key, example_ids
        )
        parts = split_parts(self.space, self.input_field, lifted.features[..., 0, :])
        if self.knows_origin:
            place = jnp.where(places.mask[..., None], places.positions, 0).astype(parts[0].dtype)
            parts = (*parts, place[..., None])
        parts = self.embedding(parts, places, neighborhood)
        for index, block in enumerate(self.blocks):
            drop = None if dropout_key is None else jax.random.fold_in(dropout_key, index)
            parts = block(parts, places, neighborhood, pair_data, drop, example_ids)
        return self._apply_head(parts, lifted)

    def _apply_head(self, parts: Parts, lifted: Lifted) -> Array:
        if isinstance(self.head, FieldLinear):
            return jnp.where(lifted.valid, join_parts(self.head(parts)), 0)
        terms = zip(parts, self.field.terms, strict=True)
        scalars = jnp.concatenate([x for x, term in terms if term.is_trivial], axis=-1)
        return self.head(pool(lifted.replace_features(scalars), self.config.pool))

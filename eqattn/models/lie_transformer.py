"""LieTransformer: lift, attend on the group, pool."""

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from eqattn.attention import find_neighbors
from eqattn.attention.neighborhoods import NeighborhoodKind
from eqattn.checks import check_option, check_sizes
from eqattn.layers import Head, LieSelfAttention, TokenMLP, TransformerBlock, pool
from eqattn.layers.block import Norm
from eqattn.layers.pooling import Pool
from eqattn.lift import (
    Haar,
    Lifted,
    Strategy,
    check_coordinates,
    check_strategy,
    lift,
    pair_space,
    strategy_draws,
)
from eqattn.models.lifts import mean_over_lifts
from eqattn.spaces.base import Coordinates, Space
from eqattn.typing import Array, Bool, DType, Float, Int, Key

HeadKind = Literal["mlp", "token"]
Output = Literal["invariant", "per_point"]


class LieTransformer(nnx.Module):
    """A transformer on the group that a field on X = G/H is lifted to (arXiv 2012.10885).

    Equivariance: the output is invariant to G, as exactly as the lift is: see
    :func:`eqattn.lift.guarantee` and the strategies there.

    Args:
      space: where the points live, such as ``eqattn.spaces.euclidean(eqattn.groups.SE(3))``.
      in_features: channels of the scalar features of the points.
      out_features: channels of the output.
      dim: width.
      num_layers: number of transformer blocks.
      num_heads: heads of each; divides ``dim``.
      strategy: of the lift.
      coordinates: of the pairs that location terms see; ``Unlifted`` and ``Coset`` need
        ``"invariants"``, ``Grid``, ``Subgroup`` and ``Frames`` exclude ``"log"``.
      mlp_ratio: width of the block's MLP over ``dim``.
      norm: ``"pre"``, ``"post"`` or ``"none"``.
      neighborhood: which points each point attends to, chosen once for all layers: a
        :class:`eqattn.attention.Nearest` or :class:`eqattn.attention.Ball`; all by default.
      pool: ``"mean"``, ``"sum"`` or ``"max"`` over points and samples.
      head: ``"mlp"``: pool, then three layers; ``"token"``: one layer of each token, then pool.
      output: ``"invariant"`` for one output of an example, ``"per_point"`` for a scalar field.
      activation: everywhere.
      final_activation: whether it also follows the last layers of location and block MLPs, as
        published.
      dtype: of the products; None for that of the inputs and parameters. Geometry, norms and
        logits are float32 or wider.
      param_dtype: of the parameters.
      precision: of the products.
      rngs: for the initial values.
      **attention: further arguments of :class:`LieSelfAttention`.

    Raises:
      ValueError: for an unknown option, or a strategy that the space or the coordinates exclude.

    >>> import jax, eqattn
    >>> space = eqattn.spaces.euclidean(eqattn.groups.SE(3))
    >>> model = LieTransformer(space, 4, 1, dim=16, num_layers=1, num_heads=2, rngs=nnx.Rngs(0))
    >>> points = jax.random.normal(jax.random.key(0), (2, 5, 3))
    >>> model(points, jax.numpy.ones((2, 5, 4)), key=jax.random.key(1)).shape
    (2, 1)
    """

    def __init__(
        self,
        space: Space,
        in_features: int,
        out_features: int,
        *,
        dim: int = 128,
        num_layers: int = 4,
        num_heads: int = 8,
        strategy: Strategy = Haar(),
        coordinates: Coordinates = "embedding",
        mlp_ratio: float = 2.0,
        norm: Norm = "pre",
        neighborhood: NeighborhoodKind | None = None,
        pool: Pool = "mean",
        head: HeadKind = "mlp",
        output: Output = "invariant",
        activation: str = "swish",
        final_activation: bool = False,
        dtype: DType | None = None,
        param_dtype: DType = float,
        precision: jax.lax.Precision | None = None,
        rngs: nnx.Rngs,
        **attention: Any,
    ):
        for name, value, kinds in (
            ("space", space, Space),
            ("strategy", strategy, Strategy),
            ("neighborhood", neighborhood, NeighborhoodKind | None),
        ):
            if not isinstance(value, kinds):
                raise ValueError(f"{name} must be an instance of {kinds}, got {value!r}")
        check_strategy(space, strategy)
        tokens = pair_space(space, strategy)
        check_coordinates(strategy, tokens, coordinates)
        check_option("head", head, HeadKind)
        check_option("pool", pool, Pool)
        check_option("output", output, Output)
        check_sizes({"in_features": in_features, "out_features": out_features})
        check_sizes({"dim": dim, "num_layers": num_layers})
        if not (math.isfinite(mlp_ratio) and round(mlp_ratio * dim) >= 1):
            raise ValueError(f"mlp_ratio must be finite and at least 1 / dim, got {mlp_ratio}")
        self.in_features = in_features
        self.out_features = out_features
        self.space = space
        self.strategy = strategy
        self.neighborhood = neighborhood
        self.pool: Pool = pool
        self.head_kind = head
        self.per_point = output == "per_point"
        options: dict[str, Any] = {
            "dtype": dtype, "param_dtype": param_dtype, "precision": precision, "rngs": rngs,
        }  # fmt: skip
        self.embedding = nnx.Linear(in_features, dim, **options)

        def block() -> TransformerBlock:
            activations = {"activation": activation, "final_activation": final_activation}
            layer = LieSelfAttention(
                dim,
                num_heads,
                tokens,
                coordinates=coordinates,
                **activations,
                **options,
                **attention,
            )
            mlp = TokenMLP(dim, round(mlp_ratio * dim), **activations, **options)
            return TransformerBlock(layer, mlp, dim, norm=norm, param_dtype=param_dtype, rngs=rngs)

        self.blocks = nnx.List([block() for _ in range(num_layers)])
        depth = 3 if head == "mlp" else 1
        self.head = Head(dim, out_features, depth=depth, activation=activation, **options)

    @property
    def draws_samples(self) -> bool:
        """Whether predictions depend on a key: by a random lift, or random neighbors."""
        by_lift = strategy_draws(self.space, self.strategy)
        return by_lift or getattr(self.neighborhood, "pool", None) is not None

    def __call__(
        self,
        points: Float[Array, "*B N D"],
        features: Float[Array, "*B N C"],
        mask: Bool[Array, "*B N"] | None = None,
        key: Key[Array, ""] | None = None,
        *,
        example_ids: Int[Array, "*B"] | None = None,
        log_weights: Float[Array, "*B N"] | None = None,
        training: bool = False,
        num_lifts: int = 1,
    ) -> Float[Array, "*B O"] | Float[Array, "*B N O"]:
        """Lifts, applies the network, and averages over lifts.

        Args:
          points: coordinates.
          features: scalar features.
          mask: which points exist; all by default.
          key: for the lift's samples, and for a random subset of the nearest points. Without one,
            evaluation lifts with the fixed key ``jax.random.key(eqattn.lift.EVALUATION_SEED)`` and
            takes the nearest.
          example_ids: identity of each example; samples are keyed by it and the point's index.
          log_weights: logarithms of quadrature weights of the points.
          training: whether a missing key is an error.
          num_lifts: number of independent lifts that the output is averaged over.

        Raises:
          ValueError: for wrong shapes, ``num_lifts`` below 1, or in training a missing key where
            the lift draws samples.
        """
        if features.shape[-1] != self.in_features:
            raise ValueError(
                f"features must have {self.in_features} channels, got shape {features.shape}"
            )

        def predict(lift_key: Key[Array, ""], neighbor_key: Key[Array, ""] | None) -> Array:
            lifted = lift(
                self.space,
                points,
                features,
                mask,
                key=lift_key,
                strategy=self.strategy,
                example_ids=example_ids,
                log_weights=log_weights,
            )
            return self.apply_lifted(lifted, neighbor_key, example_ids)

        return mean_over_lifts(
            predict,
            key,
            num_lifts=num_lifts,
            draws=self.draws_samples,
            training=training,
            source=f"{self.strategy} on {self.space} and the neighborhood {self.neighborhood}",
        )

    def apply_lifted(
        self,
        lifted: Lifted,
        key: Key[Array, ""] | None = None,
        example_ids: Int[Array, "*B"] | None = None,
    ) -> Float[Array, "*B O"] | Float[Array, "*B N O"]:
        """Applies the network to given elements: invariant outputs, exactly for these elements.

        Args:
          lifted: elements and scalar features.
          key: for a random subset of the nearest points; without one they are the nearest.
          example_ids: identity of each example, which that draw is keyed by.
        """
        if self.head_kind == "token":
            lifted = self.apply_regular(lifted, key, example_ids)
            out = pool(lifted, self.pool, over_points=not self.per_point)
        else:
            lifted = self.apply_blocks(lifted, key, example_ids)
            out = self.head(pool(lifted, self.pool, over_points=not self.per_point))
        valid = jnp.any(lifted.valid, axis=-1)
        return jnp.where(valid[..., None], out, 0) if self.per_point else out

    def apply_regular(
        self,
        lifted: Lifted,
        key: Key[Array, ""] | None = None,
        example_ids: Int[Array, "*B"] | None = None,
    ) -> Lifted:
        """Functions on the group in and out, the head applied to every token: no pooling.

        Equivariance: [u·F](g) = F(u⁻¹ g), exactly for the elements given; see
        :class:`eqattn.models.RegularModel`.

        Args:
          lifted: elements and scalar features.
          key: for a random subset of the nearest points; without one they are the nearest.
          example_ids: identity of each example, which that draw is keyed by.

        Returns:
          The same elements with ``out_features`` channels; zeros at masked points.
        """
        lifted = self.apply_blocks(lifted, key, example_ids)
        out = self.head(lifted.features)
        return lifted.replace_features(jnp.where(lifted.valid[..., None], out, 0))

    def apply_blocks(
        self,
        lifted: Lifted,
        key: Key[Array, ""] | None = None,
        example_ids: Int[Array, "*B"] | None = None,
    ) -> Lifted:
        """Embeds the features and applies the blocks: functions on the group in and out."""
        neighbors = None
        if self.neighborhood is not None:
            neighbors = find_neighbors(self.space, lifted, self.neighborhood, key, example_ids)
        features = jnp.where(lifted.valid[..., None], lifted.features, 0)
        lifted = lifted.replace_features(self.embedding(features))
        for block in self.blocks:
            lifted = block(lifted, neighbors)
        return lifted

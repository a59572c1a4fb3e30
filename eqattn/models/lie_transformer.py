"""LieTransformer: lift, attend on the group, pool."""

import math
from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx

from eqattn.attention.neighborhoods import NeighborhoodKind
from eqattn.checks import check_sizes
from eqattn.layers import Attention, Head, Layer, TokenMLP, TransformerBlock
from eqattn.layers.block import Norm
from eqattn.layers.pooling import Pool
from eqattn.lift import Lift, Lifted
from eqattn.models.config import HeadKind, LiftedModelConfig, Output, dtype_name
from eqattn.models.lifted_model import LiftedModel
from eqattn.neighbors import NeighborList
from eqattn.spaces.base import Space
from eqattn.typing import Activation, Array, DType, Int, Key


@dataclass(frozen=True, repr=False, kw_only=True)
class LieTransformerConfig(LiftedModelConfig):
    """A transformer on the group that a field is lifted to (arXiv 2012.10885)."""

    num_layers: int = 4
    """Transformer blocks."""
    layer: Layer = Attention()
    """What a block sums over points by: Attention, AttentiveConvolution, Convolution or
    RepresentationAttention."""
    norm: Norm = "pre"
    """Where a block applies layer normalization."""
    mlp_ratio: float = 2.0
    """Hidden width of a block's MLP, as a multiple of ``dim``."""
    final_activation: bool = False
    """Whether the activation also follows the last layers of location and block MLPs, as
    published."""

    def __post_init__(self):
        super().__post_init__()
        check_sizes({"num_layers": self.num_layers})
        if not (math.isfinite(self.mlp_ratio) and round(self.mlp_ratio * self.dim) >= 1):
            raise ValueError(f"mlp_ratio must be finite and at least 1 / dim, got {self.mlp_ratio}")

    def check(self) -> None:
        """See :meth:`ModelConfig.check`."""
        super().check()
        self.layer.check_neighborhood(self.neighborhood)
        self.layer.on_lift(self.lift, self.space)

    def build(self, in_features: int, out_features: int, *, rngs: nnx.Rngs) -> "LieTransformer":
        """See :meth:`ModelConfig.build`."""
        return LieTransformer(
            in_features=in_features, out_features=out_features, rngs=rngs, **self.arguments()
        )


class LieTransformer(LiftedModel):
    """A transformer on the group that a field on X = G/H is lifted to (arXiv 2012.10885).

    Equivariance: the output is invariant to G, as exactly as the lift is: see
    :func:`eqattn.lift.guarantee` and the lifts there.

    Args:
      space: Space of the points, such as ``eqattn.spaces.euclidean(eqattn.groups.SE(3))``.
      in_features: Channels of the scalar features of the points.
      out_features: Channels of the output.
      dim: Channels of every token.
      num_layers: Number of transformer blocks.
      layer: What a block sums over points by, such as
        ``eqattn.layers.Attention(num_heads=4)``.
      lift: Rule that says which elements stand for a point, such as ``Haar(num_samples)``.
      neighborhood: Rule that says which points each point attends to, chosen once for all layers: a
        :class:`eqattn.attention.NearestNeighbors` or :class:`eqattn.attention.RadiusNeighbors`; all
        by default.
      norm: Place of the layer norms: ``"pre"``, ``"post"`` or ``"none"``.
      mlp_ratio: Hidden width of the block's MLP over ``dim``.
      activation: Activation function everywhere, or its name in ``jax.nn``.
      final_activation: Whether it also follows the last layers of location and block MLPs, as
        published.
      dropout: Share of the channels of each block's branches that training sets to 0.
      pool: Pooling over points and samples: ``"mean"``, ``"sum"`` or ``"max"``.
      head: Output head: ``"mlp"``: pool, then three layers; ``"token"``: one layer of each token,
        then pool.
      output: ``"invariant"`` for one output of an example, ``"per_point"`` for a scalar field.
      dtype: Data type of the products; None for that of the inputs and parameters. Geometry, norms
        and logits are float32 or wider.
      param_dtype: Data type of the parameters.
      precision: Precision of the products.
      rngs: Random streams of the initial values.

    Raises:
      TypeError: For a value of another type.
      ValueError: For an unknown option, or a lift that the space or the layer excludes.

    >>> import jax, eqattn
    >>> space = eqattn.spaces.euclidean(eqattn.groups.SE(3))
    >>> layer = eqattn.layers.Attention(num_heads=2)
    >>> model = LieTransformer(space, 4, 1, dim=16, num_layers=1, layer=layer, rngs=nnx.Rngs(0))
    >>> points = jax.random.normal(jax.random.key(0), (2, 5, 3))
    >>> features = jax.random.normal(jax.random.key(1), (2, 5, 4))
    >>> predict = jax.jit(lambda model, *batch: model(*batch))
    >>> out = predict(model, points, features)
    >>> out.shape, bool(out.std() > 0.01)
    ((2, 1), True)
    """

    def __init__(
        self,
        space: Space,
        in_features: int,
        out_features: int,
        *,
        dim: int = LieTransformerConfig.dim,
        num_layers: int = LieTransformerConfig.num_layers,
        layer: Layer = LieTransformerConfig.layer,
        lift: Lift = LieTransformerConfig.lift,
        neighborhood: NeighborhoodKind | None = LieTransformerConfig.neighborhood,
        norm: Norm = LieTransformerConfig.norm,
        mlp_ratio: float = LieTransformerConfig.mlp_ratio,
        activation: Activation = LieTransformerConfig.activation,
        final_activation: bool = LieTransformerConfig.final_activation,
        dropout: float = LieTransformerConfig.dropout,
        pool: Pool = LieTransformerConfig.pool,
        head: HeadKind = LieTransformerConfig.head,
        output: Output = LieTransformerConfig.output,
        dtype: DType | None = None,
        param_dtype: DType = float,
        precision: jax.lax.Precision | None = None,
        rngs: nnx.Rngs,
    ):
        types: dict[str, Any] = {
            "dtype": dtype, "param_dtype": param_dtype, "precision": precision, "rngs": rngs,
        }  # fmt: skip
        config = LieTransformerConfig(
            space=space,
            dim=dim,
            num_layers=num_layers,
            layer=layer,
            lift=lift,
            neighborhood=neighborhood,
            norm=norm,
            mlp_ratio=mlp_ratio,
            activation=activation,
            final_activation=final_activation,
            dropout=dropout,
            pool=pool,
            head=head,
            output=output,
            dtype=dtype_name(dtype, param_dtype),
        )
        super().__init__(config, in_features, out_features, types)
        activations = {"activation": activation, "final_activation": final_activation}
        layer = config.layer.on_lift(config.lift, config.space)

        def block() -> TransformerBlock:
            summation = layer.build(dim, self.pair_space, **activations, **types)
            mlp = TokenMLP(dim, round(mlp_ratio * dim), **activations, **types)
            return TransformerBlock(
                summation,
                mlp,
                dim,
                norm=norm,
                dropout=dropout,
                param_dtype=param_dtype,
                rngs=rngs,
            )

        self.blocks = nnx.List([block() for _ in range(num_layers)])
        depth = 3 if head == "mlp" else 1
        self.head = Head(dim, out_features, depth=depth, activation=activation, **types)

    def apply_blocks(
        self,
        lifted: Lifted,
        key: Key[Array, ""] | None = None,
        example_ids: Int[Array, "*B"] | None = None,
        dropout_key: Key[Array, ""] | None = None,
        neighbors: NeighborList | None = None,
    ) -> Lifted:
        """Embeds the features and applies the blocks: functions on the group in and out."""
        neighborhood = self._neighbors(lifted, key, example_ids, neighbors=neighbors)
        lifted = self._embed(lifted)
        for index, block in enumerate(self.blocks):
            lifted = block(
                lifted=lifted,
                neighborhood=neighborhood,
                dropout_key=None if dropout_key is None else jax.random.fold_in(dropout_key, index),
                example_ids=example_ids,
            )
        return lifted

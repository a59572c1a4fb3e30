"""LieConvNetwork: lift, convolve on the group in bottleneck blocks, pool."""

from dataclasses import dataclass
from typing import Any, Literal, cast

import jax
from flax import nnx

from eqattn.attention import subsample
from eqattn.attention.neighborhoods import NeighborhoodKind
from eqattn.checks import check_sizes
from eqattn.layers import BottleneckBlock, Convolution, Head, LieConv
from eqattn.layers.pooling import Pool
from eqattn.lift import Lift, Lifted
from eqattn.models.config import HeadKind, LiftedModelConfig, Output, dtype_name
from eqattn.models.lifted_model import LiftedModel
from eqattn.neighbors import NeighborList
from eqattn.spaces.base import Space
from eqattn.typing import Activation, Array, DType, Int, Key


@dataclass(frozen=True, repr=False, kw_only=True)
class LieConvNetworkConfig(LiftedModelConfig):
    """Residual bottleneck blocks of convolutions on the group (arXiv 2002.12880)."""

    num_layers: int = 6
    """Bottleneck blocks."""
    layer: Convolution = Convolution()
    """The convolution of every block."""
    bottleneck: int = 4
    """Channels of a convolution are ``dim // bottleneck``; divides ``dim``."""
    subsampling: tuple[int, ...] = ()
    """Points that the first blocks leave, one number for each; 0 leaves all."""
    norm: Literal["pre", "none"] = "pre"
    """Where a block applies layer normalization."""

    def __post_init__(self):
        super().__post_init__()
        check_sizes({"num_layers": self.num_layers, "bottleneck": self.bottleneck})
        sizes = {f"subsampling[{i}]": size for i, size in enumerate(self.subsampling)}
        check_sizes(sizes, minimum=0)

    def check(self) -> None:
        """See :meth:`ModelConfig.check`."""
        super().check()
        if self.dim % self.bottleneck:
            raise ValueError(f"bottleneck must divide dim={self.dim}, got {self.bottleneck}")
        if len(self.subsampling) > self.num_layers:
            raise ValueError(
                f"subsampling must have at most num_layers={self.num_layers} numbers, "
                f"got {self.subsampling}"
            )
        if self.output == "per_point" and any(self.subsampling):
            raise ValueError(
                f"subsampling must leave all points for the output 'per_point', "
                f"got {self.subsampling}"
            )
        self.layer.on_lift(self.lift, self.space)

    def build(self, in_features: int, out_features: int, *, rngs: nnx.Rngs) -> "LieConvNetwork":
        """See :meth:`ModelConfig.build`."""
        return LieConvNetwork(
            in_features=in_features, out_features=out_features, rngs=rngs, **self.arguments()
        )


class LieConvNetwork(LiftedModel):
    """Residual bottleneck blocks of convolutions on the group (after LieConv, arXiv 2002.12880).

    Between blocks points may be dropped: a block then convolves from all of them to the farthest
    points that stay (:func:`eqattn.attention.subsample`).

    Equivariance: that of :class:`eqattn.models.LieTransformer`; with subsampling, except where
    distances tie.

    Args:
      space: Space of the points.
      in_features: Channels of the scalar features of the points.
      out_features: Channels of the output.
      dim: Channels of every token.
      num_layers: Number of bottleneck blocks.
      layer: Convolution of every block.
      bottleneck: Quotient of ``dim`` and the channels of a convolution; divides ``dim``.
      subsampling: Points that the first blocks leave, one number for each; 0 leaves all.
      lift: Rule that says which elements stand for a point, such as ``Haar(num_samples)``.
      norm: Place of the layer norms: ``"pre"`` or ``"none"``.
      neighborhood: Points that each convolution sums over, chosen anew where points were dropped;
        all by default.
      dropout: Share of the channels of each block's branches that training sets to 0.
      pool: Pooling over points and samples: ``"mean"``, ``"sum"`` or ``"max"``.
      head: Output head: ``"mlp"``: pool, then three layers; ``"token"``: one layer of each token,
        then pool.
      output: ``"invariant"`` for one output of an example, ``"per_point"`` for a scalar field.
      activation: Activation function everywhere, or its name in ``jax.nn``.
      dtype: Data type of the products; None for that of the inputs and parameters. Geometry, norms
        and bases are float32 or wider.
      param_dtype: Data type of the parameters.
      precision: Precision of the products.
      rngs: Random streams of the initial values.

    Raises:
      TypeError: For a value of another type.
      ValueError: For an unknown option, a ``bottleneck`` that does not divide ``dim``, more numbers
        in ``subsampling`` than blocks, or some where the output is ``"per_point"``.

    >>> import eqattn
    >>> space = eqattn.spaces.euclidean(eqattn.groups.SE(3))
    >>> model = LieConvNetwork(
    ...     space, 4, 1, dim=16, num_layers=2, subsampling=(8,), rngs=nnx.Rngs(0)
    ... )
    >>> points = jax.random.normal(jax.random.key(0), (2, 12, 3))
    >>> features = jax.random.normal(jax.random.key(1), (2, 12, 4))
    >>> out = jax.jit(lambda model, *batch: model(*batch))(model, points, features)
    >>> out.shape, bool(out.std() > 0.01)
    ((2, 1), True)
    """

    def __init__(
        self,
        space: Space,
        in_features: int,
        out_features: int,
        *,
        dim: int = LieConvNetworkConfig.dim,
        num_layers: int = LieConvNetworkConfig.num_layers,
        layer: Convolution = LieConvNetworkConfig.layer,
        bottleneck: int = LieConvNetworkConfig.bottleneck,
        subsampling: tuple[int, ...] = LieConvNetworkConfig.subsampling,
        lift: Lift = LieConvNetworkConfig.lift,
        norm: Literal["pre", "none"] = LieConvNetworkConfig.norm,
        neighborhood: NeighborhoodKind | None = LieConvNetworkConfig.neighborhood,
        dropout: float = LieConvNetworkConfig.dropout,
        pool: Pool = LieConvNetworkConfig.pool,
        head: HeadKind = LieConvNetworkConfig.head,
        output: Output = LieConvNetworkConfig.output,
        activation: Activation = LieConvNetworkConfig.activation,
        dtype: DType | None = None,
        param_dtype: DType = float,
        precision: jax.lax.Precision | None = None,
        rngs: nnx.Rngs,
    ):
        types: dict[str, Any] = {
            "dtype": dtype, "param_dtype": param_dtype, "precision": precision, "rngs": rngs,
        }  # fmt: skip
        config = LieConvNetworkConfig(
            space=space,
            dim=dim,
            num_layers=num_layers,
            layer=layer,
            bottleneck=bottleneck,
            subsampling=subsampling,
            lift=lift,
            norm=norm,
            neighborhood=neighborhood,
            dropout=dropout,
            pool=pool,
            head=head,
            output=output,
            activation=activation,
            dtype=dtype_name(dtype, param_dtype),
        )
        super().__init__(config, in_features, out_features, types)
        self.subsampling = (*subsampling, *(0,) * (num_layers - len(subsampling)))
        layer = cast(Convolution, config.layer.on_lift(config.lift, config.space))

        def block() -> BottleneckBlock:
            width = dim // bottleneck
            convolution = LieConv(width, self.pair_space, layer, activation=activation, **types)
            return BottleneckBlock(
                convolution, dim, norm=norm, dropout=dropout, activation=activation, **types
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
        if neighbors is not None and any(self.subsampling):
            raise ValueError(
                f"neighbors must be None with subsampling, got a list and {self.subsampling}: a "
                "list is of the points that are there before some are dropped"
            )
        lifted, found, is_current = self._embed(lifted), None, False
        for index, (block, size) in enumerate(zip(self.blocks, self.subsampling, strict=True)):
            level_key, block_key = (
                None if k is None else jax.random.fold_in(k, index) for k in (key, dropout_key)
            )
            drawn: dict[str, Any] = {"dropout_key": block_key, "example_ids": example_ids}
            if size:
                kept = subsample(self.space, lifted, size)
                near = self._neighbors(lifted, level_key, example_ids, queries=kept)
                lifted = block(lifted=kept, neighborhood=near, keys=lifted, **drawn)
                is_current = False
                continue
            if not is_current:
                found = self._neighbors(lifted, level_key, example_ids, neighbors=neighbors)
                is_current = True
            lifted = block(lifted=lifted, neighborhood=found, **drawn)
        return lifted

    def apply_regular(
        self,
        lifted: Lifted,
        key: Key[Array, ""] | None = None,
        example_ids: Int[Array, "*B"] | None = None,
        dropout_key: Key[Array, ""] | None = None,
        neighbors: NeighborList | None = None,
    ) -> Lifted:
        """As :meth:`LiftedModel.apply_regular`.

        Raises:
          ValueError: With subsampling, which does not give the elements back.
        """
        if any(self.subsampling):
            raise ValueError(
                f"subsampling must leave all points for functions on the group, "
                f"got {self.subsampling}"
            )
        return super().apply_regular(
            lifted=lifted,
            key=key,
            example_ids=example_ids,
            dropout_key=dropout_key,
            neighbors=neighbors,
        )

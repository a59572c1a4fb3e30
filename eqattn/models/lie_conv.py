"""LieConvNetwork: lift, convolve on the group in bottleneck blocks, pool."""

from typing import Any, Literal

import jax
from flax import nnx

from eqattn.attention import subsample
from eqattn.attention.neighborhoods import NeighborhoodKind
from eqattn.checks import check_sizes
from eqattn.layers import BottleneckBlock, Head, LieConv
from eqattn.layers.pooling import Pool
from eqattn.lift import Haar, Lift, Lifted
from eqattn.models.lifted_model import HeadKind, LiftedModel, Output
from eqattn.spaces.base import Coordinates, Space
from eqattn.typing import Activation, Array, DType, Int, Key


class LieConvNetwork(LiftedModel):
    """Residual bottleneck blocks of convolutions on the group (after LieConv, arXiv 2002.12880).

    Between blocks points may be dropped: a block then convolves from all of them to the farthest
    points that stay (:func:`eqattn.attention.subsample`).

    Equivariance: that of :class:`eqattn.models.LieTransformer`; with subsampling, except where
    distances tie.

    Args:
      space: where the points live.
      in_features: channels of the scalar features of the points.
      out_features: channels of the output.
      dim: width.
      num_layers: number of bottleneck blocks.
      bottleneck: channels of a convolution are ``dim // bottleneck``; divides ``dim``.
      subsampling: points that the first blocks leave, one number for each; 0 leaves all.
      lift: Which group elements stand for a point, such as ``Haar(num_samples)``.
      coordinates: Coordinates of the pairs that convolutions see; ``NoLift`` needs
        ``"invariants"``.
      norm: ``"pre"`` or ``"none"``.
      neighborhood: over which points each convolution sums, chosen anew where points were dropped;
        all by default.
      pool: ``"mean"``, ``"sum"`` or ``"max"`` over points and samples.
      head: ``"mlp"``: pool, then three layers; ``"token"``: one layer of each token, then pool.
      output: ``"invariant"`` for one output of an example, ``"per_point"`` for a scalar field.
      activation: Activation function everywhere, or its name in ``jax.nn``.
      dtype: Data type of the products; None for that of the inputs and parameters. Geometry, norms
        and bases are float32 or wider.
      param_dtype: Data type of the parameters.
      precision: Precision of the products.
      rngs: for the initial values.
      **convolution: further arguments of :class:`eqattn.layers.LieConv`.

    Raises:
      TypeError: for a size that is not an integer.
      ValueError: for an unknown option, a ``bottleneck`` that does not divide ``dim``, more numbers
        in ``subsampling`` than blocks, or some where the output is ``"per_point"``.

    >>> import eqattn
    >>> space = eqattn.spaces.euclidean(eqattn.groups.SE(3))
    >>> model = LieConvNetwork(
    ...     space, 4, 1, dim=16, num_layers=2, subsampling=(8,), rngs=nnx.Rngs(0)
    ... )
    >>> points = jax.random.normal(jax.random.key(0), (2, 12, 3))
    >>> features = jax.random.normal(jax.random.key(1), (2, 12, 4))
    >>> out = jax.jit(model)(points, features, key=jax.random.key(2))
    >>> out.shape, bool(out.std() > 0.01)
    ((2, 1), True)
    """

    def __init__(
        self,
        space: Space,
        in_features: int,
        out_features: int,
        *,
        dim: int = 128,
        num_layers: int = 6,
        bottleneck: int = 4,
        subsampling: tuple[int, ...] = (),
        lift: Lift = Haar(),
        coordinates: Coordinates = "embedding",
        norm: Literal["pre", "none"] = "pre",
        neighborhood: NeighborhoodKind | None = None,
        pool: Pool = "mean",
        head: HeadKind = "mlp",
        output: Output = "invariant",
        activation: Activation = "swish",
        dtype: DType | None = None,
        param_dtype: DType = float,
        precision: jax.lax.Precision | None = None,
        rngs: nnx.Rngs,
        **convolution: Any,
    ):
        options: dict[str, Any] = {
            "dtype": dtype, "param_dtype": param_dtype, "precision": precision, "rngs": rngs,
        }  # fmt: skip
        super().__init__(
            space,
            in_features,
            out_features,
            dim=dim,
            num_layers=num_layers,
            lift=lift,
            coordinates=coordinates,
            neighborhood=neighborhood,
            pool=pool,
            head=head,
            output=output,
            options=options,
        )
        check_sizes({"bottleneck": bottleneck})
        if dim % bottleneck:
            raise ValueError(f"bottleneck must divide dim={dim}, got {bottleneck}")
        check_sizes({f"subsampling[{i}]": size for i, size in enumerate(subsampling)}, minimum=0)
        if len(subsampling) > num_layers:
            raise ValueError(
                f"subsampling must have at most num_layers={num_layers} numbers, got {subsampling}"
            )
        if self.per_point and any(subsampling):
            raise ValueError(
                f"subsampling must leave all points for the output 'per_point', got {subsampling}"
            )
        self.subsampling = (*subsampling, *(0,) * (num_layers - len(subsampling)))

        def block() -> BottleneckBlock:
            layer = LieConv(
                dim // bottleneck,
                self.pair_space,
                coordinates=coordinates,
                activation=activation,
                **options,
                **convolution,
            )
            return BottleneckBlock(layer, dim, norm=norm, activation=activation, **options)

        self.blocks = nnx.List([block() for _ in range(num_layers)])
        depth = 3 if head == "mlp" else 1
        self.head = Head(dim, out_features, depth=depth, activation=activation, **options)

    def apply_blocks(
        self,
        lifted: Lifted,
        key: Key[Array, ""] | None = None,
        example_ids: Int[Array, "*B"] | None = None,
    ) -> Lifted:
        """Embeds the features and applies the blocks: functions on the group in and out."""
        lifted, neighbors, is_current = self._embed(lifted), None, False
        for index, (block, size) in enumerate(zip(self.blocks, self.subsampling, strict=True)):
            level_key = None if key is None else jax.random.fold_in(key, index)
            if size:
                kept = subsample(self.space, lifted, size)
                near = self._neighbors(lifted, level_key, example_ids, queries=kept)
                lifted, is_current = block(lifted=kept, neighborhood=near, keys=lifted), False
                continue
            if not is_current:
                neighbors, is_current = self._neighbors(lifted, level_key, example_ids), True
            lifted = block(lifted=lifted, neighborhood=neighbors)
        return lifted

    def apply_regular(
        self,
        lifted: Lifted,
        key: Key[Array, ""] | None = None,
        example_ids: Int[Array, "*B"] | None = None,
    ) -> Lifted:
        """As :meth:`LiftedModel.apply_regular`.

        Raises:
          ValueError: with subsampling, which does not give the elements back.
        """
        if any(self.subsampling):
            raise ValueError(
                f"subsampling must leave all points for functions on the group, "
                f"got {self.subsampling}"
            )
        return super().apply_regular(lifted=lifted, key=key, example_ids=example_ids)

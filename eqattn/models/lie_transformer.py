"""LieTransformer: lift, attend on the group, pool."""

import math
from typing import Any

import jax
from flax import nnx

from eqattn.attention.neighborhoods import NeighborhoodKind
from eqattn.checks import check_numbers
from eqattn.layers import Head, TokenMLP, TransformerBlock, build_layer, layer_options
from eqattn.layers.block import Norm
from eqattn.layers.family import AttentionKind, LayerKind
from eqattn.layers.pooling import Pool
from eqattn.layers.representation import check_no_neighborhood, check_whole_elements
from eqattn.lift import Haar, Lift, Lifted
from eqattn.models.lifted_model import HeadKind, LiftedModel, Output
from eqattn.spaces.base import Coordinates, Space
from eqattn.typing import Activation, Array, DType, Int, Key

DEFAULT_COORDINATES: Coordinates = "embedding"


class LieTransformer(LiftedModel):
    """A transformer on the group that a field on X = G/H is lifted to (arXiv 2012.10885).

    Equivariance: the output is invariant to G, as exactly as the lift is: see
    :func:`eqattn.lift.guarantee` and the lifts there.

    Args:
      space: where the points live, such as ``eqattn.spaces.euclidean(eqattn.groups.SE(3))``.
      in_features: channels of the scalar features of the points.
      out_features: channels of the output.
      dim: width.
      num_layers: number of transformer blocks.
      layer: ``"attention"``, ``"attentive_convolution"`` or ``"convolution"``, see
        :func:`eqattn.layers.build_layer`.
      attention: Attention of the layer ``"attention"``: ``"location"``, or ``"representation"`` for
        :class:`eqattn.layers.RepresentationAttention`, which sees whole elements of the group: it
        uses no ``coordinates``, and wants no ``neighborhood`` and no lift to cosets.
      lift: Which group elements stand for a point, such as ``Haar(num_samples)``.
      coordinates: Coordinates of the pairs that layers see; ``NoLift`` and ``Coset`` need
        ``"invariants"``, ``Grid``, ``Subgroup`` and ``Frames`` exclude ``"log"``.
      mlp_ratio: width of the block's MLP over ``dim``.
      norm: ``"pre"``, ``"post"`` or ``"none"``.
      neighborhood: which points each point attends to, chosen once for all layers: a
        :class:`eqattn.attention.NearestNeighbors` or :class:`eqattn.attention.RadiusNeighbors`; all
        by default.
      pool: ``"mean"``, ``"sum"`` or ``"max"`` over points and samples.
      head: ``"mlp"``: pool, then three layers; ``"token"``: one layer of each token, then pool.
      output: ``"invariant"`` for one output of an example, ``"per_point"`` for a scalar field.
      activation: Activation function everywhere, or its name in ``jax.nn``.
      final_activation: whether it also follows the last layers of location and block MLPs, as
        published.
      dtype: Data type of the products; None for that of the inputs and parameters. Geometry, norms
        and logits are float32 or wider.
      param_dtype: Data type of the parameters.
      precision: Precision of the products.
      rngs: for the initial values.
      **options_of_layer: further arguments of :func:`eqattn.layers.build_layer`, such as
        ``num_heads`` (8 by default; divides ``dim``) or ``basis``.

    Raises:
      ValueError: for an unknown option, one that the layer does not use, or a lift that the
        space or the coordinates exclude.

    >>> import jax, eqattn
    >>> space = eqattn.spaces.euclidean(eqattn.groups.SE(3))
    >>> model = LieTransformer(space, 4, 1, dim=16, num_layers=1, num_heads=2, rngs=nnx.Rngs(0))
    >>> points = jax.random.normal(jax.random.key(0), (2, 5, 3))
    >>> features = jax.random.normal(jax.random.key(1), (2, 5, 4))
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
        num_layers: int = 4,
        layer: LayerKind = "attention",
        attention: AttentionKind = "location",
        lift: Lift = Haar(),
        coordinates: Coordinates = DEFAULT_COORDINATES,
        mlp_ratio: float = 2.0,
        norm: Norm = "pre",
        neighborhood: NeighborhoodKind | None = None,
        pool: Pool = "mean",
        head: HeadKind = "mlp",
        output: Output = "invariant",
        activation: Activation = "swish",
        final_activation: bool = False,
        dtype: DType | None = None,
        param_dtype: DType = float,
        precision: jax.lax.Precision | None = None,
        rngs: nnx.Rngs,
        **options_of_layer: Any,
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
            coordinates=None if attention == "representation" else coordinates,
            neighborhood=neighborhood,
            pool=pool,
            head=head,
            output=output,
            options=options,
        )
        check_numbers({"mlp_ratio": mlp_ratio})
        if not (math.isfinite(mlp_ratio) and round(mlp_ratio * dim) >= 1):
            raise ValueError(f"mlp_ratio must be finite and at least 1 / dim, got {mlp_ratio}")
        activations = {"activation": activation, "final_activation": final_activation}
        used = layer_options(layer, attention)
        if attention == "representation":
            check_whole_elements(lift, self.pair_space)
            check_no_neighborhood(neighborhood)
            if coordinates != DEFAULT_COORDINATES:
                raise ValueError(
                    "coordinates cannot be given with attention='representation', which sees "
                    f"whole elements, got {coordinates!r}"
                )
        shared = {"attention": attention, "coordinates": coordinates, **activations, **options}
        shared = {name: value for name, value in shared.items() if name in used or name == "rngs"}

        def block() -> TransformerBlock:
            summation = build_layer(layer, dim, self.pair_space, **shared, **options_of_layer)
            mlp = TokenMLP(dim, round(mlp_ratio * dim), **activations, **options)
            return TransformerBlock(
                summation, mlp, dim, norm=norm, param_dtype=param_dtype, rngs=rngs
            )

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
        neighbors = self._neighbors(lifted, key, example_ids)
        lifted = self._embed(lifted)
        for block in self.blocks:
            lifted = block(lifted=lifted, neighborhood=neighbors)
        return lifted

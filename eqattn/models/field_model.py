"""FieldModel: any model of functions on the group, with fields of any type in and out."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from flax import nnx

from eqattn.fields import FieldType
from eqattn.layers import pool
from eqattn.lift import Lift, Lifted, by_sample, check_lift, project
from eqattn.lift import lift as lift_field
from eqattn.models.config import LiftedModelConfig, ModelConfig, NetworkConfig
from eqattn.models.field_map import FieldMapConfig
from eqattn.models.lie_transformer import LieTransformerConfig
from eqattn.models.lifts import dropout_key_of, mean_over_lifts
from eqattn.models.neighbor_lists import check_neighbors
from eqattn.models.regular import RegularModel
from eqattn.neighbors import NeighborList
from eqattn.sharding import on_any_mesh
from eqattn.typing import Array, Bool, Float, Int, Key


@dataclass(frozen=True, repr=False, kw_only=True)
class FieldModelConfig(FieldMapConfig):
    """Fields in and out, around a model of functions on the group."""

    model: ModelConfig = LieTransformerConfig(output="per_point")
    """The model inside."""
    input_field: str = "scalar"
    """Type of the features of a point, such as "2x scalar + vector"."""
    output_field: str = "scalar"
    """Type of the output at each point."""
    pooled: bool = False
    """Whether the output is averaged over points: invariants of an example, of scalars only."""

    def check(self) -> None:
        """See :meth:`ModelConfig.check`."""
        super().check()
        pool = getattr(self.model, "pool", LiftedModelConfig.pool)
        if pool != LiftedModelConfig.pool:
            raise ValueError(f"pool is not used inside a field model, got {pool!r}")

    def build(self, in_features: int, out_features: int, *, rngs: nnx.Rngs) -> "FieldModel":
        """See :meth:`ModelConfig.build`."""
        self.check()
        inner: Any = self.model.build(in_features, out_features, rngs=rngs)
        return FieldModel(inner, self.input_field, self.output_field, pooled=self.pooled)


class FieldModel(nnx.Module):
    """A model with fields in and out, around one of functions on the group: the drop-in.

    The input field is lifted, F(g) = ρ_in(g)⁻¹ f(x), the model is applied to F as it is to scalars,
    and the output is projected: the weighted mean of ρ_out(g) F_out(g) over the samples of a
    point. Nothing inside the model changes.

    Equivariance: from ρ_in to ρ_out, as exactly as the lift is: see
    :func:`eqattn.lift.guarantee`.

    Args:
      model: Such as :class:`eqattn.models.LieTransformer`; its pooling is not used, and its
        ``in_features`` and ``out_features`` are the sizes of the two fields.
      input_field: Type of the features, or how it is written: ``"2x scalar + vector"``.
      output_field: Type of the output at each point.
      pooled: Whether the output is averaged over points, by their weights: invariants of an
        example. Only scalars can be.

    Raises:
      ValueError: If a field makes no sense on the model's space, is excluded by its lift, or
        does not have the model's number of channels.

    >>> import eqattn, jax
    >>> space = eqattn.spaces.euclidean(eqattn.groups.SE(3))
    >>> inner = eqattn.models.LieTransformer(
    ...     space, 4, 3, dim=16, num_layers=1, lift=eqattn.lift.Haar(2), rngs=nnx.Rngs(0)
    ... )
    >>> model = FieldModel(inner, "scalar + vector", "vector")
    >>> points = jax.random.normal(jax.random.key(0), (2, 5, 3))
    >>> features = jax.random.normal(jax.random.key(1), (2, 5, 4))
    >>> out = jax.jit(model)(points, features, key=jax.random.key(2))
    >>> out.shape, bool(out.std(axis=1).min() > 0.01)  # points differ
    ((2, 5, 3), True)
    """

    def __init__(
        self,
        model: RegularModel,
        input_field: FieldType | str,
        output_field: FieldType | str,
        *,
        pooled: bool = False,
    ):
        if not isinstance(model, RegularModel):
            raise TypeError(
                "model must be one of functions on the group, such as a LieTransformer, "
                f"got a {type(model).__name__}"
            )
        self.model = model
        self.space = model.space
        self.input_field = FieldType.read(input_field)
        self.output_field = FieldType.read(output_field)
        self._fields = str(input_field), str(output_field)
        self.per_point = not pooled
        if pooled and not all(term.is_trivial for term in self.output_field.terms):
            raise ValueError(f"output_field must be scalars to be pooled, got {self.output_field}")
        for name, field, channels in (
            ("input_field", self.input_field, model.in_features),
            ("output_field", self.output_field, model.out_features),
        ):
            check_lift(self.space, self.lift, field)
            if field.size(self.space) != channels:
                raise ValueError(
                    f"{name} {field} has {field.size(self.space)} channels on {self.space}, "
                    f"the model has {channels}"
                )

    @property
    def config(self) -> FieldModelConfig:
        """What the model is built from, where the model inside says it too.

        Raises:
          ValueError: For a field of a representation that has no text.
        """
        inner: Any = self.model
        for field in self._fields:
            try:
                FieldType.parse(field)
            except ValueError as error:
                raise ValueError(
                    f"a FieldModel of {field} has no configuration, which holds fields as texts: "
                    f"{error}"
                ) from None
        return FieldModelConfig(
            model=inner.config,
            input_field=self._fields[0],
            output_field=self._fields[1],
            pooled=not self.per_point,
        )

    @property
    def lift(self) -> Lift:
        """The lift of the model."""
        return self.model.lift

    @property
    def in_features(self) -> int:
        """Channels of the input field."""
        return self.model.in_features

    @property
    def out_features(self) -> int:
        """Channels of the output field."""
        return self.model.out_features

    @property
    def is_stochastic(self) -> bool:
        """Whether predictions depend on a key: by a random lift, or random neighbors."""
        return self.model.is_stochastic

    @on_any_mesh("points", 2)
    def __call__(
        self,
        points: Float[Array, "*B N D"],
        features: Float[Array, "*B N C"],
        mask: Bool[Array, "*B N"] | None = None,
        key: Key[Array, ""] | None = None,
        *,
        neighbors: NeighborList | None = None,
        example_ids: Int[Array, "*B"] | None = None,
        log_weights: Float[Array, "*B N"] | None = None,
        training: bool = False,
        num_lifts: int = 1,
        lift: Lift | None = None,
    ) -> Float[Array, "*B N O"] | Float[Array, "*B O"]:
        """Lifts the field, applies the model, projects, and averages over lifts.

        Args:
          points: Coordinates.
          features: Values of the input field.
          mask: Marks the points that exist; by default all do. Outputs are zeros elsewhere.
          key: Random key of the lift's samples, and for a random subset of the nearest points.
            Without one, evaluation lifts with the fixed key
            ``jax.random.key(eqattn.lift.EVALUATION_SEED)`` and takes the nearest.
          neighbors: Points that each point sees, and the group elements that move them; by default
            the rule of the model finds them.
          example_ids: Identity of each example; samples are keyed by it and the point's index.
          log_weights: Logarithms of quadrature weights of the points.
          training: Whether channels are dropped, the lift may choose fewer elements
            (``Frames(training_frames=1)``), and a missing key is an error.
          num_lifts: Number of independent lifts that the output is averaged over.
          lift: Another lift for this call, whose elements stand for as much as those of the model's
            lift, such as :class:`eqattn.lift.Given`; that of the model by default.

        Raises:
          ValueError: For wrong shapes, ``num_lifts`` below 1, or in training a missing key where
            the lift draws samples.
        """
        size, used = self.input_field.size(self.space), self.lift if lift is None else lift
        points, features = jnp.asarray(points), jnp.asarray(features)
        if features.shape[-1:] != (size,):
            raise ValueError(
                f"features of the field {self.input_field} must have {size} channels, "
                f"got shape {features.shape}"
            )

        config = getattr(self.model, "config", None)
        if isinstance(config, NetworkConfig):
            check_neighbors(config, neighbors)
        drops = training and getattr(config, "dropout", 0.0) > 0

        def predict(lift_key: Key[Array, ""], neighbor_key: Key[Array, ""] | None) -> Array:
            lifted = lift_field(
                self.space,
                points,
                features,
                mask,
                key=lift_key,
                lift=used,
                field=self.input_field,
                example_ids=example_ids,
                log_weights=log_weights,
                training=training,
            )
            # Models of one's own need not know of dropout, nor of lists.
            drawn: dict[str, Any] = {"dropout_key": dropout_key_of(lift_key)} if drops else {}

            def of_samples(lifted: Lifted, known: Any) -> Lifted:
                ids, listed = known
                given = drawn if listed is None else drawn | {"neighbors": listed}
                return self.model.apply_regular(
                    lifted=lifted, key=neighbor_key, example_ids=ids, **given
                )

            lifted = by_sample(of_samples, lifted, (example_ids, neighbors))
            if not self.per_point:
                return pool(lifted, "mean")
            return project(self.space, lifted, self.output_field, points=points)

        return mean_over_lifts(
            predict,
            key,
            num_lifts=num_lifts,
            draws=self.is_stochastic or used.is_stochastic(self.space) or drops,
            training=training,
            source=f"{used} on {self.space}",
        )

"""Particles whose accelerations are a vector field that a model of fields gives."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import nnx

from eqattn import numerics
from eqattn.fields import FieldType, vectors
from eqattn.models.config import ModelConfig
from eqattn.models.field_map import FieldMap, FieldMapConfig
from eqattn.models.field_model import FieldModelConfig
from eqattn.models.particles import Nested, ParticleModel, particle_velocities
from eqattn.sharding import on_any_mesh
from eqattn.typing import Array, Bool, Float, Key


@dataclass(frozen=True, repr=False, kw_only=True)
class AccelerationNetworkConfig(ModelConfig):
    """Particles with learned accelerations."""

    field_model: FieldMapConfig = FieldModelConfig(
        input_field="vector + 2x scalar", output_field="vector"
    )
    """What gives accelerations for velocities and features of the particles."""
    center: bool = True
    """Whether it sees positions relative to their mean."""

    def build(
        self, in_features: int, out_features: int, *, rngs: nnx.Rngs
    ) -> "AccelerationNetwork":
        """See :meth:`ModelConfig.build`."""
        inner: Any = self.field_model.build(in_features, out_features, rngs=rngs)
        return AccelerationNetwork(inner, center=self.center)


class AccelerationNetwork(ParticleModel):
    """Particles under dq/dt = v, dv/dt = a(q - mean q, v), with learned accelerations a.

    Newton's equation through a model of fields: a vector field (velocities) and scalars (masses and
    the like) go into a :class:`FieldModel`, which is the drop-in for models of functions on the
    group, or into a :class:`FieldNetwork`, and a vector field comes out. A roll-out draws its lift
    once: one key, one field of accelerations. States are positions and momenta p = m v, as in
    :class:`HamiltonianNetwork`.

    Equivariance: that of the field model, and exactly to translations where positions are
    centered. Nothing is conserved by construction, neither momentum nor energy.

    Args:
      field_model: Model of a group that acts on the space of the particles, from ``"vector + F x
        scalar"``, of which the first scalar is the mass, to ``"vector"``; see :class:`FieldMap`.
      center: Whether it sees positions relative to their mean.

    Raises:
      TypeError: For anything that is no :class:`FieldMap`.
      ValueError: If its fields are others, or it has no output at each point.

    >>> import jax, eqattn
    >>> from flax import nnx
    >>> space = eqattn.spaces.euclidean(eqattn.groups.T(2))
    >>> inner = eqattn.models.LieTransformer(
    ...     space, 4, 2, dim=8, num_layers=1, rngs=nnx.Rngs(0)
    ... )
    >>> model = AccelerationNetwork(eqattn.models.FieldModel(inner, "vector + 2x scalar", "vector"))
    >>> q, p = jax.random.normal(jax.random.key(0), (2, 3, 6, 2))
    >>> particles = jax.random.uniform(jax.random.key(1), (3, 6, 2), minval=0.5, maxval=2.0)
    >>> forces = jax.jit(lambda q: model.vector_field(q, p, particles)[1])
    >>> bool(jnp.abs(forces(q) - forces(2 * q)).max() > 1e-3)
    True
    >>> model.roll_out(q, p, particles, jnp.linspace(0, 1, 5)).shape
    (3, 5, 6, 4)
    """

    forces_see_momenta: ClassVar[bool] = True

    def __init__(self, field_model: FieldMap, *, center: bool = True):
        if not isinstance(field_model, FieldMap):
            raise TypeError(
                f"field_model must be a model of fields such as a FieldModel, got {field_model!r}"
            )
        if not field_model.per_point:
            raise ValueError("field_model must have an output at each point, got one of examples")
        if not _is_vector_and_scalars(field_model.input_field):
            raise ValueError(
                "input_field of field_model must be a vector and then scalars, such as 'vector + "
                f"2x scalar', got {field_model.input_field}"
            )
        if field_model.output_field != vectors():
            raise ValueError(
                f"output_field of field_model must be 'vector', got {field_model.output_field}"
            )
        self.field_model = field_model
        self.center = center

    @property
    def config(self) -> AccelerationNetworkConfig:
        """What the model is built from, where the model inside says it too."""
        inner: Any = self.field_model
        return AccelerationNetworkConfig(field_model=inner.config, center=self.center)

    @property
    def in_features(self) -> int:
        """Channels of the input field."""
        return self.field_model.in_features

    @property
    def out_features(self) -> int:
        """Channels of the output field."""
        return self.field_model.out_features

    @property
    def is_stochastic(self) -> bool:
        """Whether the lift is random, so that roll-outs depend on a key."""
        return self.field_model.is_stochastic

    @property
    def num_features(self) -> int:
        """Features of a particle: its mass and the other scalars of the input field."""
        return self.field_model.in_features - self.field_model.out_features

    @on_any_mesh("positions", 2)
    def accelerations(
        self,
        positions: Float[Array, "*B N D"] | Nested,
        velocities: Float[Array, "*B N D"] | Nested,
        system_features: Float[Array, "*B N F"] | Nested,
        mask: Bool[Array, "*B N"] | None = None,
        key: Key[Array, ""] | None = None,
        **options: Any,
    ) -> Float[Array, "*B N D"]:
        """The accelerations a; zeros where no particle exists.

        Args:
          positions: Positions of the particles.
          velocities: Velocities of the particles.
          system_features: Masses of the particles, then what else is known of them (spring
            constants).
          mask: Marks the particles that exist; by default all do.
          key: Random key of the lift's samples, as in :meth:`FieldModel.__call__`.
          **options: ``example_ids``, ``training`` and ``num_lifts``, likewise.

        Raises:
          ValueError: For wrong shapes.
        """
        points, vectors, scalars, *_ = self.arrays(positions, velocities, system_features, mask)
        return self._accelerations(points, vectors, scalars, mask, key, options)

    def _accelerations(
        self,
        points: Array,
        vectors: Array,
        scalars: Array,
        mask: Array | None,
        key: Array | None,
        options: dict[str, Any],
    ) -> Array:
        if self.center:
            points = numerics.centered(points, mask)
        features = jnp.concatenate([vectors, scalars], axis=-1)
        out = self.field_model(points, features, mask, key, **options)
        return numerics.at_least_float32(out)

    def _forces(
        self,
        positions: Array,
        momenta: Array,
        features: Array,
        masses: Array,
        mask: Array | None,
        key: Array | None,
        options: dict[str, Any],
    ) -> Array:
        velocities = particle_velocities(momenta, masses, mask)
        accelerations = self._accelerations(positions, velocities, features, mask, key, options)
        forces = masses[..., None] * accelerations
        return forces if mask is None else jnp.where(mask[..., None], forces, 0)


def _is_vector_and_scalars(field: FieldType) -> bool:
    first, *others = field.terms
    is_vector = first == vectors().terms[0]
    return is_vector and bool(others) and FieldType(tuple(others)).is_scalar

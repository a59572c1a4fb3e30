"""The model of the task "winds": tangent vectors and scalars in, a tangent vector out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from flax import nnx

from eqattn import numerics
from eqattn.fields import FieldType
from eqattn.groups import SO, T
from eqattn.groups.base import unstack
from eqattn.lift import Given, Guarantee, Lift, Lifting, LiftInputs
from eqattn.lift.base import exact
from eqattn.lift.frames import rotation_element
from eqattn.models import (
    FieldModel,
    FieldModelConfig,
    FieldNetwork,
    FieldNetworkConfig,
    LieTransformerConfig,
    ModelConfig,
)
from eqattn.spaces import Space, euclidean, sphere
from eqattn.typing import Array, Float, Int, Key

__all__ = [
    "NUM_WINDS",
    "PLAIN",
    "SYMMETRIC",
    "WindFrames",
    "WindModel",
    "WindModelConfig",
    "check_wind_model",
    "input_field",
    "num_features",
    "num_vectors",
    "wind_frames",
]

OUTPUT = "vector + scalar"
NUM_OUTPUTS = 4
NUM_WINDS = 3
"""Winds at a point: of this month, of the one before, and what the climatology says next."""
NUM_SCALARS = 4
"""Cosine and sine of the phase of the year, height, and part of land."""
SYMMETRIC, PLAIN = sphere(SO(3)), euclidean(T(3))
"""The globe, and the space in which a network has no symmetry of it."""
SMALLEST = 1e-6
"""A wind below this, in the unit of the vectors, has no direction."""


@dataclass(frozen=True, repr=False)
class WindFrames(Lift):
    """One element above each point, the frame of the wind there; see :func:`wind_frames`.

    Equivariance: exact to SO(3), up to rounding.
    """

    def check(self, space: Space) -> None:
        """See :meth:`Lift.check`: it is for the globe."""
        if space != SYMMETRIC:
            raise ValueError(f"WindFrames needs '{SYMMETRIC}', got '{space}'.")

    def guarantee(self, space: Space) -> Guarantee:
        """See :meth:`Lift.guarantee`."""
        return exact(str(space.group))

    def elements(self, space: Space, inputs: LiftInputs) -> Lifting:
        """Always raises: points alone have no frames, :class:`WindModel` makes them of winds."""
        raise ValueError(f"WindFrames needs winds beside {inputs.points.shape[-2]} points.")


@dataclass(frozen=True, repr=False, kw_only=True)
class WindModelConfig(ModelConfig):
    """A network of functions on the group, with fields on the globe around it."""

    inner: ModelConfig = LieTransformerConfig(
        space=SYMMETRIC, lift=WindFrames(), output="per_point"
    )
    """The network inside: of functions on the group with any lift, or of fields, on the globe; or
    on "euclidean(T(3))" without symmetry."""

    def check(self) -> None:
        """See :meth:`ModelConfig.check`."""
        if not isinstance(self.inner, FieldNetworkConfig):
            FieldModelConfig(model=self.inner).check()  # with what it says of networks inside
            return
        self.inner.check()
        fields = {"input_field": input_field(num_vectors(self)), "output_field": OUTPUT}
        for name, field in fields.items():
            given = getattr(self.inner, name)
            if FieldType.parse(given) != FieldType.parse(field):
                raise ValueError(f"{name} must be {field!r} for winds, got {given!r}.")

    def build(self, in_features: int, out_features: int, *, rngs: nnx.Rngs) -> WindModel:
        """See :meth:`ModelConfig.build`; a wind has 3 components, whatever a network gives."""
        del out_features
        self.check()
        network: Any = self.inner.build(in_features, NUM_OUTPUTS, rngs=rngs)
        if not isinstance(network, FieldNetwork):
            network = FieldModel(network, input_field(num_vectors(self)), OUTPUT)
        return WindModel(network)


def input_field(num_vectors: int) -> str:
    """Returns the type of the fields that a model sees, as it is written.

    Args:
      num_vectors: Vectors at a point.
    """
    return f"{num_vectors}x vector + {NUM_SCALARS}x scalar"


def num_vectors(config: ModelConfig) -> int:
    """Returns how many vectors a model sees at a point: the winds, and without symmetry the place.

    Args:
      config: Architecture of the model.
    """
    return NUM_WINDS + int(getattr(config.network, "space", None) == PLAIN)


def num_features(config: ModelConfig) -> int:
    """Returns how many channels a model sees at a point.

    Args:
      config: Architecture of the model.
    """
    return 3 * num_vectors(config) + NUM_SCALARS


def check_wind_model(config: ModelConfig) -> None:
    """Raises a ValueError unless a model can forecast winds.

    Args:
      config: Architecture of the model.
    """
    network: Any = config.network
    if not isinstance(config, WindModelConfig):
        raise ValueError(f"model must be a WindModelConfig for winds, got {type(config).__name__}.")
    if network.output != "per_point":
        raise ValueError(f"output must be 'per_point' for winds, got {network.output!r}.")
    if network.space not in (SYMMETRIC, PLAIN):
        raise ValueError(
            f"space must be '{SYMMETRIC}' for winds, or '{PLAIN}' for the model without the "
            f"symmetry, got '{network.space}'."
        )


class WindModel(nnx.Module):
    """A model of fields on the globe, and what all forecasts of winds have in common.

    The output is c + a v, where v is the first of the vectors (this month's departure from the
    climatology), and the model inside says the vector c and the scalar a at each point; what of it
    is not tangent is dropped.

    Equivariance: to rotations, where the model inside lives on the sphere under SO(3). A
    :class:`FieldNetwork`, and a :class:`FieldModel` with the lift :class:`WindFrames`, are exact up
    to rounding; by another lift it is as exact as that. One on R³ under T(3), which is given the
    points as a further vector, has no symmetry of the globe.

    Args:
      field_model: Model from some vectors and scalars to a vector and a scalar.

    Raises:
      ValueError: If it gives another field.
    """

    def __init__(self, field_model: FieldModel | FieldNetwork):
        if field_model.output_field != FieldType.parse(OUTPUT):
            raise ValueError(f"output_field must be {OUTPUT}, got {field_model.output_field}")
        self.field_model = field_model

    @property
    def config(self) -> WindModelConfig:
        """What the model is built from."""
        model: Any = self.field_model
        return WindModelConfig(inner=getattr(model, "model", model).config)

    @property
    def in_features(self) -> int:
        """Channels at a point."""
        return self.field_model.in_features

    @property
    def out_features(self) -> int:
        """Components of a wind."""
        return 3

    def __call__(
        self,
        points: Float[Array, "*B N 3"],
        vectors: Float[Array, "*B N V 3"],
        scalars: Float[Array, "*B N C"],
        *,
        key: Key[Array, ""] | None = None,
        example_ids: Int[Array, "*B"] | None = None,
        log_weights: Float[Array, "*B N"] | None = None,
        training: bool = False,
        num_lifts: int = 1,
    ) -> Float[Array, "*B N 3"]:
        """Returns a tangent vector at each point.

        Args:
          points: Unit vectors.
          vectors: Tangent vectors of the sphere; the last is the wind that frames are made of.
          scalars: Scalars of each point.
          key: Key of the samples of a lift, and of random neighbors.
          example_ids: Identity of each example, which samples are keyed by.
          log_weights: Logarithms of the areas that the points stand for.
          training: Whether a missing key is an error where anything is drawn.
          num_lifts: Draws to average, where anything is drawn.

        Raises:
          ValueError: In training, for a missing key where the lift or the network draws.
        """
        features = jnp.concatenate([vectors.reshape(*vectors.shape[:-2], -1), scalars], axis=-1)
        given: dict[str, Any] = {}
        if isinstance(self.field_model.lift, WindFrames):
            given["lift"] = Given(wind_frames(points, vectors[..., -1, :])[..., None, :])
        out = self.field_model(
            points,
            features,
            key=key,
            example_ids=example_ids,
            log_weights=log_weights,
            training=training,
            num_lifts=num_lifts,
            **given,
        )
        departure = out[..., :3] + out[..., 3:] * vectors[..., 0, :]
        return departure - jnp.sum(departure * points, axis=-1, keepdims=True) * points


def wind_frames(
    points: Float[Array, "*B N 3"], winds: Float[Array, "*B N 3"]
) -> Float[Array, "*B N 4"]:
    """Returns the rotations whose axes are the wind, what is left of it, and up.

    They take (0, 0, 1) to the points, and so lift the sphere to SO(3); and where all points and
    winds are rotated by u, they become u times what they were: exactly, with no stabilizer to
    sample. They are not continuous where the wind vanishes; below 1e-6 the frame is that of some
    other direction, which does not rotate along.

    Args:
      points: Unit vectors.
      winds: Tangent to the sphere there.
    """
    along = winds - jnp.sum(winds * points, axis=-1, keepdims=True) * points
    squares = numerics.squared_norm(unstack(along))[..., None]
    is_calm = squares <= SMALLEST**2
    # The coordinate axis that is farthest from the point is never parallel to it.
    other = jnp.eye(3, dtype=points.dtype)[jnp.argmin(jnp.abs(points), axis=-1)]
    other = other - jnp.sum(other * points, axis=-1, keepdims=True) * points
    other = other / jnp.sqrt(jnp.sum(other * other, axis=-1, keepdims=True))
    first = jnp.where(is_calm, other, along / jnp.sqrt(jnp.where(is_calm, 1.0, squares)))
    return rotation_element(jnp.stack([first, jnp.cross(points, first), points], axis=-1))

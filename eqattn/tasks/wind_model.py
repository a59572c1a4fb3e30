"""The model of the task "winds": tangent vectors and scalars in, a tangent vector out."""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx

from eqattn import numerics
from eqattn.fields import FieldType
from eqattn.groups.base import unstack
from eqattn.lift import Given, Lifted, lift, project
from eqattn.lift.frames import rotation_element
from eqattn.models import FieldModel, LieTransformer
from eqattn.models.lifts import mean_over_lifts
from eqattn.spaces.sphere import Sphere
from eqattn.typing import Array, Float, Int, Key

__all__ = ["NUM_OUTPUTS", "WindModel", "wind_frames"]

OUTPUT = FieldType.parse("vector + scalar")
NUM_OUTPUTS = 4
SMALLEST = 1e-6
"""A wind below this, in the unit of the vectors, has no direction."""


class WindModel(nnx.Module):
    """A network of functions on the group, with fields on the globe around it.

    The output is c + a v, where v is the first of the vectors (this month's departure from the
    climatology), and the network says the vector c and the scalar a at each point; what of it is
    not tangent is dropped.

    Equivariance: to rotations, where the network lives on the sphere under SO(3). In the frames of
    the winds (see :func:`wind_frames`) it is exact, up to rounding; by the lift of the network it
    is as exact as that lift. A network on R³ under T(3), which is given the points as a further
    vector, has no symmetry of the globe.

    Args:
        network: Network of functions on the group.
        num_vectors: Vectors at a point.
        num_scalars: Scalars at a point.
        frames: Whether the one element above each point is the frame that the last vector gives,
            and not what the lift of the network draws.

    Raises:
        ValueError: If the network does not have the channels of these fields, or for frames
            anywhere but on the sphere.
    """

    def __init__(
        self, network: LieTransformer, *, num_vectors: int, num_scalars: int, frames: bool
    ):
        inputs = FieldType.parse(f"{num_vectors}x vector + {num_scalars}x scalar")
        self.field_model = FieldModel(network, inputs, OUTPUT)
        self.frames = frames
        near = network.neighborhood
        self.draws_neighbors = near is not None and near.is_stochastic
        if frames and not (isinstance(network.space, Sphere) and network.space.point_dim == 3):
            raise ValueError(f"frames of winds must be on the sphere, got {network.space}.")

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
            vectors: Tangent to the sphere.
            scalars: Scalars of each point.
            key: For the samples of a lift, and for random neighbors.
            example_ids: Identity of each example, which samples are keyed by.
            log_weights: Logarithms of the areas that the points stand for.
            training: Whether a missing key is an error where anything is drawn.
            num_lifts: Draws to average, where anything is drawn.

        Raises:
            ValueError: In training, for a missing key where the lift or the network draws.
        """
        features = jnp.concatenate([vectors.reshape(*vectors.shape[:-2], -1), scalars], axis=-1)
        if self.frames:
            lifted = self._lift_to_frames(points, vectors[..., -1, :], features, log_weights)
            out = mean_over_lifts(
                lambda _, neighbor_key: self._apply(points, lifted, neighbor_key, example_ids),
                key,
                num_lifts=num_lifts,
                draws=self.draws_neighbors,
                training=training,
                source="random neighbors",
            )
        else:
            out = self.field_model(
                points,
                features,
                key=key,
                example_ids=example_ids,
                log_weights=log_weights,
                training=training,
                num_lifts=num_lifts,
            )
        departure = out[..., :3] + out[..., 3:] * vectors[..., 0, :]
        return departure - jnp.sum(departure * points, axis=-1, keepdims=True) * points

    def _lift_to_frames(
        self,
        points: Float[Array, "*B N 3"],
        guide: Float[Array, "*B N 3"],
        features: Float[Array, "*B N F"],
        log_weights: Float[Array, "*B N"] | None,
    ) -> Lifted:
        """One element above each point, the frame of the guide, and F(g) = ρ(g)⁻¹ f(x)."""
        return lift(
            self.field_model.space,
            points,
            features,
            lift=Given(wind_frames(points, guide)[..., None, :]),
            field=self.field_model.input_field,
            log_weights=log_weights,
        )

    def _apply(
        self,
        points: Float[Array, "*B N 3"],
        lifted: Lifted,
        neighbor_key: Key[Array, ""] | None,
        example_ids: Int[Array, "*B"] | None,
    ) -> Float[Array, "*B N 4"]:
        """Applies the network, and projects."""
        found = self.field_model.model.apply_regular(
            lifted=lifted, key=neighbor_key, example_ids=example_ids
        )
        return project(self.field_model.space, found, OUTPUT, points=points)


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

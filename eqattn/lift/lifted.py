"""Functions on the group, sampled, and their quadrature weights."""

import dataclasses

import jax.numpy as jnp

from eqattn import numerics
from eqattn.lift.base import Lift
from eqattn.pytrees import register_dataclass
from eqattn.spaces.base import Coordinates, Space
from eqattn.typing import Array, Bool, Float


@register_dataclass
@dataclasses.dataclass(frozen=True)
class Lifted:
    """Functions on the group, sampled: a pytree, constructible from the first five alone.

    Attributes:
      elements: Group elements g_ik, stored as the group says.
      features: Values of the functions at the elements.
      orbit_invariants: Invariants of the orbits of the points; Q may be 0.
      mask: Marks the points that exist.
      log_weights: Logarithms of quadrature weights; -inf counts as masked.
      fallback: Marks examples whose axes were drawn because they are not well separated, with the
        lift ``Frames``; else None.
      lift: How the elements were chosen, where that limits what layers may see of them; set by
        :func:`lift`, and None for ``Haar``.
    """

    elements: Float[Array, "*B N S E"]
    features: Float[Array, "*B N S C"]
    orbit_invariants: Float[Array, "*B N Q"]
    mask: Bool[Array, "*B N"]
    log_weights: Float[Array, "*B N S"]
    fallback: Bool[Array, "*B"] | None = None
    lift: Lift | None = dataclasses.field(default=None, metadata={"static": True})

    @property
    def valid(self) -> Bool[Array, "*B N S"]:
        """Which elements count: those of existing points, with a weight that is not zero."""
        return self.mask[..., None] & (self.log_weights != -jnp.inf)

    @property
    def is_coset(self) -> bool:
        """Whether elements stand for cosets, by the lift ``NoLift`` or ``Coset``."""
        return self.lift is not None and self.lift.is_coset

    def replace_features(self, features: Float[Array, "*B N S C"]) -> "Lifted":
        """The same elements with other features."""
        return dataclasses.replace(self, features=features)

    def check_coordinates(self, space: Space, coordinates: Coordinates | None) -> None:
        """Makes sure that a layer may see pairs of these elements in such coordinates.

        Args:
          space: Space that the layer takes coordinates from.
          coordinates: Coordinates of its pairs; None where it sees distances only, or nothing.

        Raises:
          ValueError: For coordinates other than ``"invariants"`` of the right space where elements
            stand for cosets, and for ``"log"`` where pairs are full of half-turns.
        """
        if self.lift is not None:
            self.lift.check_coordinates(space, coordinates)


def spread_failures(lifted: Lifted, *inputs: Float[Array, "*B N _"]) -> Lifted:
    """Makes all features of an example NaN where anything that counts in it is not finite.

    No other example is touched, and neither is one whose masked points, or points of no weight, are
    not finite. What is made of a NaN or an infinity is then no plausible number, whatever a layer
    sees of it: a ball would leave the point out, a kernel of distances would fall to 0.

    Args:
      lifted: The lift.
      *inputs: What the lift was made of; the elements, orbits and log-weights count by themselves.
    """
    log_weights = lifted.log_weights[..., None]
    failed = numerics.nan_unless_finite(lifted.features, lifted.elements, log_weights)
    failed = failed + numerics.nan_unless_finite(lifted.orbit_invariants, *inputs)[..., None]
    failed = jnp.sum(jnp.where(lifted.valid, failed, 0.0), axis=(-2, -1), keepdims=True)
    # Integers know no NaN; a narrow type of features stays.
    is_float = jnp.issubdtype(lifted.features.dtype, jnp.inexact)
    dtype = lifted.features.dtype if is_float else lifted.elements.dtype
    features = lifted.features.astype(dtype) + failed[..., None].astype(dtype)
    return lifted.replace_features(features)

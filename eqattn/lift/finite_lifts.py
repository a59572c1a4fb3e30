"""Lifts by the elements of a finite subgroup of the stabilizer, the same at every point."""

import abc
import dataclasses
import math
import numbers
import typing
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.checks import check_flags, check_sizes
from eqattn.groups.base import uniform_angle
from eqattn.groups.finite import finite_elements, grid_elements, parse_name
from eqattn.lift.base import Guarantee, LiftInputs, StabilizerLift, exact, random_moves
from eqattn.lift.prng import point_keys
from eqattn.spaces.base import Space
from eqattn.typing import Array, DType, Float, Key


class _FiniteLift(StabilizerLift):
    """What both have: they need a section in a normal subgroup N, and are exact to N ⋊ F."""

    has_half_turns = True

    def check(self, space: Space) -> None:
        """See :meth:`Lift.check`."""
        if not space.section_is_normal:
            raise ValueError(
                f"{self} needs a section in a normal subgroup, which that of {space} is not; "
                "use Frames() or Haar(num_samples)"
            )
        if space.has_exceptional_orbits:
            raise ValueError(
                f"{self} needs one stabilizer for all points, got {space} with exceptional "
                "orbits, where others are drawn; use Haar(num_samples)"
            )
        self.finite_samples(space)

    @abc.abstractmethod
    def finite_samples(self, space: Space) -> np.ndarray:
        """See :meth:`StabilizerLift.finite_samples`."""

    def samples(self, space: Space, inputs: LiftInputs) -> Float[Array, "*B #N S E"]:
        """See :meth:`StabilizerLift.samples`: the same for all points of an example."""
        elements = space.embed_stabilizer(self._turned(space, inputs, inputs.points.dtype))
        return jnp.broadcast_to(elements, (*inputs.points.shape[:-2], 1, *elements.shape[-2:]))

    def _turned(
        self, space: Space, inputs: LiftInputs | None, dtype: DType
    ) -> Float[Array, "... S E"]:
        """The samples as elements of the stabilizer; no turn is drawn where there are no inputs."""
        del inputs
        return jnp.asarray(self.finite_samples(space), dtype)

    def exact_elements(
        self, space: Space, key: Key[Array, ""], shape: tuple[int, ...], dtype: DType
    ) -> Float[Array, "*S E"]:
        """See :meth:`Lift.exact_elements`: those of N ⋊ F."""
        move_key, turn_key = jax.random.split(key)
        group = space.group
        turns = space.embed_stabilizer(self._turned(space, None, dtype))
        turns = group.compose(turns, group.inverse(turns[:1]))  # o f o⁻¹ from o f
        turns = jax.random.choice(turn_key, self._exact(turns), shape)
        return group.compose(random_moves(space, move_key, shape, dtype), turns)

    def _exact(self, turns: Array) -> Array:
        return turns


@dataclasses.dataclass(frozen=True, repr=False)
class Grid(_FiniteLift):
    """Equally spaced rotations of the plane; under O(2), the same number of reflections too.

    Equivariance: exact to N ⋊ F, with N the translations and F the rotations of the grid (with
    reflections: about axes turned by the offset). With a random offset that is so for each key,
    and the mean over keys is equivariant to all rotations. Needs a normal section and planar
    rotations as stabilizer: R² under SE(2), E(2) or Sim(2).

    Args:
      num_samples: Number of rotations.
      offset: Angle in radians that all are turned by, or ``"random"`` for one that is drawn for
        each example, keyed as ``Haar`` samples are.

    Raises:
      TypeError: If ``num_samples`` is not an integer.
      ValueError: If ``num_samples`` is below 1, or the offset is neither finite nor ``"random"``.
    """

    num_samples: int
    offset: float | typing.Literal["random"] = 0.0

    def __post_init__(self):
        check_sizes({"num_samples": self.num_samples})
        is_number = isinstance(self.offset, numbers.Real) and not isinstance(self.offset, bool)
        if self.offset != "random" and not (is_number and math.isfinite(self.offset)):
            raise ValueError(f"offset must be a finite angle or 'random', got {self.offset!r}")

    def is_stochastic(self, space: Space) -> bool:
        """See :meth:`Lift.is_stochastic`."""
        return self.offset == "random"

    def guarantee(self, space: Space) -> Guarantee:
        """See :meth:`Lift.guarantee`."""
        part = f"N ⋊ cyclic({self.num_samples}) of {space.group}"
        if self.offset != "random":
            return exact(part)
        text = f"exactly equivariant to {part}; in expectation over the key to all rotations"
        return Guarantee(True, part, text, mean="all rotations")

    def finite_samples(self, space: Space) -> np.ndarray:
        """See :meth:`StabilizerLift.finite_samples`."""
        return grid_elements(space.stabilizer, self.num_samples)

    def _turned(
        self, space: Space, inputs: LiftInputs | None, dtype: DType
    ) -> Float[Array, "... S E"]:
        group, elements = space.stabilizer, super()._turned(space, inputs, dtype)
        offset = jnp.asarray(0.0 if self.offset == "random" else self.offset, dtype)
        if self.offset == "random" and inputs is not None:
            batch, key = inputs.points.shape[:-2], cast(Array, inputs.key)
            keys = point_keys(key, batch, jnp.zeros(1, int), inputs.example_ids)

            def draw(point_key: Key[Array, ""]) -> Array:
                return uniform_angle(point_key, (), elements.dtype)

            for _ in keys.shape:
                draw = jax.vmap(draw)
            offset = draw(keys)
        others = jnp.zeros((*offset.shape, group.algebra_dim - 1), elements.dtype)
        turn = group.exp(jnp.concatenate([offset[..., None], others], -1))
        return group.compose(turn[..., None, :], elements)

    def _exact(self, turns: Array) -> Array:
        # Reflections are about axes that turn with a random offset.
        return turns[: self.num_samples] if self.offset == "random" else turns


@dataclasses.dataclass(frozen=True, repr=False)
class Subgroup(_FiniteLift):
    """The elements of a finite subgroup F of the stabilizer, the same at every point.

    Equivariance: exact to N ⋊ F, with N the translations, and to no other rotation. Needs a normal
    section: Rⁿ under SE(n), E(n) or Sim(n).

    Args:
      name: ``"cyclic(n)"``, ``"dihedral(n)"``, ``"tetrahedral"`` (12 rotations), ``"octahedral"``
        (24) or ``"icosahedral"`` (60); of space about the last axis. In the plane ``"cyclic(n)"``
        and, with reflections, ``"dihedral(n)"``.
      reflections: Whether the mirror images are added, under O(n) and E(n): twice as many elements.

    Raises:
      TypeError: If ``reflections`` is neither True nor False.
      ValueError: For another name.
    """

    name: str
    reflections: bool = False

    def __post_init__(self):
        parse_name(self.name)
        check_flags({"reflections": self.reflections})

    def guarantee(self, space: Space) -> Guarantee:
        """See :meth:`Lift.guarantee`."""
        mirrored = " with reflections" if self.reflections else ""
        return exact(f"N ⋊ {self.name}{mirrored} of {space.group}")

    def finite_samples(self, space: Space) -> np.ndarray:
        """See :meth:`StabilizerLift.finite_samples`."""
        return finite_elements(space.stabilizer, self.name, reflections=self.reflections)

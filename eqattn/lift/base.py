"""What a lift is: elements over points, what they guarantee, and what layers may see of them."""

import abc
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np

from eqattn.fields import FieldType
from eqattn.lift.weights import normalized_weights
from eqattn.spaces.base import Coordinates, Space
from eqattn.specification import Named
from eqattn.typing import Array, Bool, DType, Float, Int, Key


class Guarantee(NamedTuple):
    """What a lift guarantees about the model between it and the projection.

    Attributes:
      exact: Whether outputs are equivariant to ``group`` for each key, not only in their mean.
      group: Elements to which that applies.
      text: The whole statement.
      part: Elements to which outputs are equivariant for each key where ``exact`` is False; "" for
        none that depend on the lift.
      mean: Elements beyond ``group`` to which the mean over keys is equivariant where ``exact`` is
        True; "" for none.
    """

    exact: bool
    group: str
    text: str
    part: str = ""
    mean: str = ""


class LiftInputs(NamedTuple):
    """What elements are chosen by.

    Attributes:
      points: Coordinates; those that do not count are the origin.
      log_weights: Logarithms of the weights of the points.
      mask: Marks the points that exist.
      key: Key of all draws; not None where :meth:`Lift.is_stochastic` says so.
      example_ids: Identity of each example, which its draws are keyed by; 0 by default.
      training: Whether a model is being trained, where a lift may choose fewer elements.
    """

    points: Float[Array, "*B N D"]
    log_weights: Float[Array, "*B N"]
    mask: Bool[Array, "*B N"]
    key: Key[Array, ""] | None = None
    example_ids: Int[Array, "*B"] | None = None
    training: bool = False

    @property
    def weights(self) -> Float[Array, "*B N"]:
        """Weights of the points, with sum 1, or 0 in an example without points."""
        weights = normalized_weights(self.log_weights, self.mask, axis=-1)
        return weights.astype(self.points.dtype)


class Lifting(NamedTuple):
    """What a lift chooses over the points of a batch.

    Attributes:
      elements: Group elements g_ik over each point x_i.
      fallback: Examples for which the lift had to do something else than it is named after; None
        for lifts that never have to.
    """

    elements: Float[Array, "*B N S E"]
    fallback: Bool[Array, "*B"] | None = None


class Lift(Named, abc.ABC):
    """Which group elements over each point stand for it, and what that guarantees.

    Lifts are specifications: frozen dataclasses of plain values. One of your own says what is
    abstract here, and what else differs from these defaults; then models, layers, the projection
    and the certificate take it like those of the library.
    """

    is_coset: ClassVar[bool] = False
    """Whether elements stand for cosets, of which layers see the invariants of pairs alone."""
    has_half_turns: ClassVar[bool] = False
    """Whether pairs are full of half-turns, where the logarithm jumps."""
    has_fallback: ClassVar[bool] = False
    """Whether some examples are lifted in another way, see :class:`Lifting`."""
    keeps_samples_apart: ClassVar[bool] = False
    """Whether models let sample k of a point see only sample k of each point, and average their
    outputs over k; see :func:`eqattn.lift.samples_apart`."""

    @abc.abstractmethod
    def check(self, space: Space) -> None:
        """Makes sure that the lift keeps what it promises on a space.

        Args:
          space: Space of the points.

        Raises:
          ValueError: Where it does not, with the reason and what to use.
        """

    @abc.abstractmethod
    def guarantee(self, space: Space) -> Guarantee:
        """States what the lift guarantees on a space that :meth:`check` accepts.

        Args:
          space: Space of the points.
        """

    @abc.abstractmethod
    def elements(self, space: Space, inputs: LiftInputs) -> Lifting:
        """Chooses elements that take the origin of the space to the points.

        Where all points are moved by u, the elements must become u times what they were, up to what
        :meth:`guarantee` says.

        Args:
          space: Space of the points.
          inputs: The points, and what draws are keyed by.
        """

    def is_stochastic(self, space: Space) -> bool:
        """Whether the lift depends on a key.

        Args:
          space: Space of the points.
        """
        del space
        return False

    def check_field(self, space: Space, field: FieldType) -> None:
        """Makes sure that a field can be had back from the lift.

        Args:
          space: Space of the points.
          field: Type of the field.

        Raises:
          ValueError: If it cannot.
        """
        del space, field

    def pair_space(self, space: Space) -> Space:
        """The space that layers on the lift take pair coordinates from.

        Args:
          space: Space of the points.
        """
        return space

    def stands_for_cosets(self, space: Space) -> bool:
        """Whether elements stand for cosets of more than one element.

        Args:
          space: Space that layers take coordinates from.
        """
        return self.is_coset and space.stabilizer.element_dim > 0

    def default_coordinates(self, space: Space) -> Coordinates:
        """The coordinates of pairs that layers on the lift see where none are named.

        Args:
          space: Space that layers take coordinates from.
        """
        return "invariants" if self.stands_for_cosets(space) else "embedding"

    def check_coordinates(self, space: Space, coordinates: Coordinates | None) -> None:
        """Makes sure that layers on the lift may see pairs in such coordinates.

        Args:
          space: Space that the layer takes coordinates from.
          coordinates: Coordinates of its pairs; None where it sees distances only, or nothing.

        Raises:
          ValueError: If they may not.
        """
        if coordinates is None:
            return
        if space.num_coordinates(coordinates) == 0:
            raise ValueError(
                f"coordinates {coordinates!r} of {space} are none, so that layers see nothing of a "
                "pair; use Frames() with 'embedding'"
            )
        if self.stands_for_cosets(space) and coordinates != "invariants":
            raise ValueError(
                f"coordinates must be 'invariants' on a lift by {self}, whose elements stand for "
                f"cosets, got {coordinates!r}"
            )
        if self.has_half_turns and coordinates == "log":
            raise ValueError(
                f"coordinates must not be 'log' on a lift by {self}, whose pairs are full of "
                "half-turns, where the logarithm jumps; use 'embedding'"
            )

    def fixed_part(self, space: Space, field: FieldType, features: Array) -> Array:
        """What of features ρ(g)⁻¹ f [*B C] is a function of what elements stand for.

        Args:
          space: Space of the points.
          field: Type of the features.
          features: Features in the frames of the elements.
        """
        del space, field
        return features

    def restored(self, space: Space, field: FieldType, features: Array) -> Array:
        """Features [*B C] whose weighted mean of ρ(g) over the samples of a point is the field.

        Args:
          space: Space of the points.
          field: Type of the features.
          features: Functions on what elements stand for.
        """
        del space, field
        return features

    def exact_elements(
        self, space: Space, key: Key[Array, ""], shape: tuple[int, ...], dtype: DType
    ) -> Float[Array, "*S E"] | None:
        """Random elements that each single lift is equivariant to; None for any of the group.

        Args:
          space: Space of the points.
          key: Key of the draw.
          shape: Leading shape of the result.
          dtype: Data type of the elements.
        """
        del space, key, shape, dtype
        return None


class StabilizerLift(Lift):
    """A lift that chooses samples h_ik of the stabilizer, by no look at the other points.

    The elements are g_ik = section(x_i) h_ik.
    """

    @abc.abstractmethod
    def samples(self, space: Space, inputs: LiftInputs) -> Float[Array, "*B #N S E"]:
        """The samples, as elements of the group.

        Args:
          space: Space of the points.
          inputs: The points, and what draws are keyed by.
        """

    @abc.abstractmethod
    def finite_samples(self, space: Space) -> np.ndarray | None:
        """The finite group of the stabilizer that samples are of; None for all of it.

        Projecting from a lift to cosets averages over it.

        Args:
          space: Space of the points.

        Returns:
          Its elements [n E], as elements of the stabilizer, without an offset of the samples.
        """

    def elements(self, space: Space, inputs: LiftInputs) -> Lifting:
        """See :meth:`Lift.elements`."""
        section = space.section(inputs.points)[..., None, :]
        samples = self.samples(space, inputs)
        return Lifting(space.group.compose(section, samples.astype(section.dtype)))


def exact(group: str) -> Guarantee:
    """The guarantee of a lift whose outputs are equivariant for each key.

    Args:
      group: Elements to which they are.
    """
    return Guarantee(True, group, f"exactly equivariant to {group}")


def random_moves(
    space: Space, key: Key[Array, ""], shape: tuple[int, ...], dtype: DType
) -> Float[Array, "*S E"]:
    """Random elements of the section of a space.

    Args:
      space: Space whose section it is.
      key: Key of the draw.
      shape: Leading shape of the result.
      dtype: Data type of the elements.
    """
    return space.section(space.sample_points(key, shape, jnp.dtype(dtype)))

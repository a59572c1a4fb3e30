"""A lift by elements that the data gives."""

import dataclasses

from eqattn.lift.base import Guarantee, Lift, Lifting, LiftInputs
from eqattn.spaces.base import Space
from eqattn.typing import Array, Float


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Given(Lift):
    """Elements that come with the data, such as the frame of the wind at each place.

    Equivariance: exact, if the elements over points that are moved by u are u times what they were.

    Args:
      group_elements: Elements g_ik that take the origin of the space to the points.
    """

    text_name = ""

    group_elements: Float[Array, "*B N S E"]

    def check(self, space: Space) -> None:
        """See :meth:`Lift.check`."""
        size = space.group.element_dim
        if self.group_elements.ndim < 3 or self.group_elements.shape[-1] != size:
            raise ValueError(
                f"group_elements must have shape [*B N S {size}] on {space}, "
                f"got {self.group_elements.shape}"
            )

    def guarantee(self, space: Space) -> Guarantee:
        """See :meth:`Lift.guarantee`."""
        group = str(space.group)
        text = f"exactly equivariant to {group} where the given elements move along with the points"
        return Guarantee(True, group, text)

    def elements(self, space: Space, inputs: LiftInputs) -> Lifting:
        """See :meth:`Lift.elements`."""
        del space
        expected = inputs.points.shape[:-1]
        if self.group_elements.shape[:-2] != expected:
            raise ValueError(
                f"group_elements must have the leading shape of points {expected}, "
                f"got shape {self.group_elements.shape}"
            )
        return Lifting(self.group_elements)

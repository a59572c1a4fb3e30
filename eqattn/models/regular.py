"""The protocol of models of functions on the group, which field models wrap."""

from typing import Protocol, runtime_checkable

from eqattn.lift import Lift, Lifted
from eqattn.spaces.base import Space
from eqattn.typing import Array


@runtime_checkable
class RegularModel(Protocol):
    """A model of functions on the group: :class:`eqattn.models.LieTransformer`, or one like it.

    All that is asked of it is equivariance in the regular representation: if the elements of
    ``lifted`` are all replaced by u g, the features that come back are the same. Then a lift
    before it and a projection after it make an equivariant model of fields of any type.
    """

    space: Space
    lift: Lift
    """The lift that the model is made for: its layers take fitting pair coordinates."""
    in_features: int
    out_features: int

    @property
    def is_stochastic(self) -> bool:
        """Whether outputs on data depend on a key: by the lift, or by random neighbors."""
        ...

    def apply_regular(
        self, lifted: Lifted, key: Array | None = None, example_ids: Array | None = None
    ) -> Lifted:
        """Functions on the group in and out: the same elements and mask, with new features.

        Args:
          lifted: Elements with features [*B N S in_features].
          key: Random key of random neighbors, where the model draws any; without one, the nearest.
          example_ids: Identity of each example [*B], which that draw is keyed by.

        Returns:
          The same elements with features [*B N S out_features]; zeros at masked points.
        """
        ...

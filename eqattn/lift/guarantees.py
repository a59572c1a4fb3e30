"""Where each lift keeps what it promises, and what that is."""

from eqattn import fields
from eqattn.checks import check_instance
from eqattn.lift.base import Guarantee, Lift
from eqattn.spaces.base import Space


def check_lift(space: Space, lift: Lift, field: fields.FieldType | None = None) -> None:
    """Makes sure that a lift keeps what it promises.

    Args:
      space: Space of the points.
      lift: The lift.
      field: Type of the features that are lifted, or of the output that is projected, if known.

    Raises:
      TypeError: For arguments of other types, such as the name of a lift.
      ValueError: Where it does not, saying why and naming what to use.
    """
    check_instance("space", space, Space)
    check_instance("lift", lift, Lift)
    check_instance("field", field, fields.FieldType | None)
    lift.check(space)
    if field is not None:
        field.check(space)
        lift.check_field(space, field)


def guarantee(space: Space, lift: Lift, field: fields.FieldType | None = None) -> Guarantee:
    """States what a lift of a field guarantees.

    Args:
      space: Space of the points.
      lift: The lift.
      field: Type of the field; scalars by default.

    Raises:
      TypeError: For arguments of other types.
      ValueError: Where the combination is excluded, with the reason.

    >>> import eqattn
    >>> plane = eqattn.spaces.euclidean(eqattn.groups.SE(2))
    >>> guarantee(plane, eqattn.lift.Subgroup("cyclic(4)")).text
    'exactly equivariant to N ⋊ cyclic(4) of SE(2)'
    """
    check_lift(space, lift, field)
    return lift.guarantee(space)

"""Spaces with a group action: sections, stabilizers, orbits and pair coordinates."""

from eqattn.groups import SO, LieGroup, O, Product, RxSO2, T, Trivial
from eqattn.groups.affine import Affine
from eqattn.groups.reflected import Reflected
from eqattn.groups.rigid import SE2, SE3
from eqattn.spaces.base import Coordinates, Space
from eqattn.spaces.euclidean import AffineSpace, DistanceSpace, TrivialSpace
from eqattn.spaces.group_space import GroupSpace
from eqattn.spaces.position_orientation import PositionOrientation
from eqattn.spaces.product import ProductSpace
from eqattn.spaces.radial import PuncturedPlane, RadialSpace
from eqattn.spaces.sphere import EXCEPTIONAL_RADIUS, Sphere
from eqattn.specification import nameable


@nameable
def euclidean(group: LieGroup) -> Space:
    """Rⁿ under a group.

    Args:
      group: A group such as ``eqattn.groups.T(n)``, ``SE(n)``, ``E(n)``, ``Sim(n)``, ``SO(n)``,
        ``O(n)``, ``RxSO2()``, ``Trivial(n)``, or a ``Product`` of these: ``Product((SE(2), T(1)))``
        keeps the last axis of space, ``Product((SO(2), Trivial(1)))`` also the heights along it.

    Returns:
      The space, with its section, stabilizer, orbits and pair coordinates.

    Raises:
      ValueError: For another group.

    >>> from eqattn.groups import SE
    >>> euclidean(SE(3)).stabilizer_dim
    3
    """
    if isinstance(group, Product):
        return ProductSpace(tuple(euclidean(factor) for factor in group.factors))
    if isinstance(group, Trivial):
        return TrivialSpace(group)
    if group in (SO(2), SO(3), O(2), O(3)):
        return RadialSpace(group)
    if group == RxSO2():
        return PuncturedPlane()
    if isinstance(group, T | Affine | Reflected):
        return AffineSpace(group)
    names = "T(n), SE(n), E(n), Sim(n), SO(n), O(n), RxSO2(), Trivial(n) or a Product of these"
    raise ValueError(f"group must be {names} to act on Euclidean space, got {group}")


@nameable
def sphere(group: LieGroup) -> Sphere:
    """The sphere S² under SO(3) or O(3), or the circle S¹ under SO(2) or O(2).

    Args:
      group: Group, one of these four.

    Raises:
      ValueError: For another group.

    >>> sphere(SO(3)).stabilizer
    SO(2)
    """
    return Sphere(group)


@nameable
def position_orientation(group: SE2 | SE3 | Reflected) -> PositionOrientation:
    """R²×S¹ or R³×S²: points [position, unit vector], under SE(n) or E(n).

    Args:
      group: SE(2), SE(3), E(2) or E(3).

    Raises:
      ValueError: For another group.

    >>> from eqattn.groups import SE
    >>> position_orientation(SE(3)).point_dim
    6
    """
    return PositionOrientation(group)


@nameable
def group_space(group: LieGroup) -> GroupSpace:
    """A group acting on itself: points are its stored elements.

    >>> group_space(SO(3)).point_dim
    4
    """
    return GroupSpace(group)


@nameable
def product_space(*spaces: Space) -> ProductSpace:
    """X × Y × … under the product of the groups, with points side by side.

    Raises:
      ValueError: If there is no space.

    >>> from eqattn.groups import T
    >>> product_space(sphere(SO(3)), euclidean(T(1))).point_dim
    4
    """
    return ProductSpace(spaces)


__all__ = [
    "EXCEPTIONAL_RADIUS",
    "AffineSpace",
    "Coordinates",
    "DistanceSpace",
    "GroupSpace",
    "PositionOrientation",
    "ProductSpace",
    "PuncturedPlane",
    "RadialSpace",
    "Space",
    "Sphere",
    "TrivialSpace",
    "euclidean",
    "group_space",
    "position_orientation",
    "product_space",
    "sphere",
]

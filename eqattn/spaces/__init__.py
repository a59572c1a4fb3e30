"""Spaces with a group action: sections, stabilizers, orbits and pair coordinates."""

from eqattn.groups import SO, LieGroup, RxSO2, T
from eqattn.groups.rigid import SE2, SE3
from eqattn.spaces.base import Coordinates, Space
from eqattn.spaces.euclidean import TranslatedSpace
from eqattn.spaces.rotated import EXCEPTIONAL_RADIUS, PuncturedPlane, RotatedSpace


def euclidean(group: LieGroup) -> Space:
    """Rⁿ under a group: T(n), SE(n), SO(n), or R₊×SO(2) on the plane.

    Args:
      group: one of ``eqattn.groups.T(n)``, ``SE(n)``, ``SO(n)``, ``RxSO2()``.

    Returns:
      The space, with its section, stabilizer, orbits and pair coordinates.

    Raises:
      ValueError: for another group.

    >>> from eqattn.groups import SE
    >>> euclidean(SE(3)).stabilizer_dim
    3
    """
    if isinstance(group, T | SE2 | SE3):
        return TranslatedSpace(group)
    if group in (SO(2), SO(3)):
        return RotatedSpace(group)
    if group == RxSO2():
        return PuncturedPlane()
    names = "T(n), SE(2), SE(3), SO(2), SO(3), RxSO2()"
    raise ValueError(f"group must be one of {names} to act on Euclidean space, got {group}")


__all__ = [
    "EXCEPTIONAL_RADIUS",
    "Coordinates",
    "PuncturedPlane",
    "RotatedSpace",
    "Space",
    "TranslatedSpace",
    "euclidean",
]

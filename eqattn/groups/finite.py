"""Finite groups of rotations and reflections, as elements of the groups that contain them."""

import functools
import itertools
import re
from typing import NamedTuple

import numpy as np

from eqattn.groups.base import LieGroup
from eqattn.groups.product import Product
from eqattn.groups.reflected import Reflected
from eqattn.groups.rotation import SO2, SO3
from eqattn.groups.similarity import RxSO2, RxSO3

_NAME = re.compile(r"(cyclic|dihedral)\((\d+)\)|(tetrahedral|octahedral|icosahedral)")
_GOLDEN = (1.0 + 5.0**0.5) / 2.0
_THIRD_TURN = (0.5, 0.5, 0.5, 0.5)  # about (1, 1, 1)
_GENERATORS = {
    "tetrahedral": ((0.0, 0.0, 0.0, 1.0), _THIRD_TURN),
    "octahedral": ((0.5**0.5, 0.0, 0.0, 0.5**0.5), _THIRD_TURN),
    "icosahedral": ((_GOLDEN / 2.0, 0.5, 0.5 / _GOLDEN, 0.0), _THIRD_TURN),
}
"""Unit quaternions (w, x, y, z) that generate the rotations of the solids."""


class GroupName(NamedTuple):
    """A finite group by family and order of its main axis (0 for the solids)."""

    family: str
    order: int


def parse_name(name: str) -> GroupName:
    """Reads ``"cyclic(n)"``, ``"dihedral(n)"`` or the name of a solid's rotations.

    Raises:
      ValueError: For another name.
    """
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None or (match[2] is not None and int(match[2]) == 0):
        raise ValueError(
            "name of a finite group must be 'cyclic(n)', 'dihedral(n)', 'tetrahedral', "
            f"'octahedral' or 'icosahedral', got {name!r}"
        )
    return GroupName(match[1] or match[3], int(match[2] or 0))


def finite_elements(group: LieGroup, name: str, *, reflections: bool = False) -> np.ndarray:
    """The elements of a finite subgroup of a group about a point [n E], the identity first.

    In space the main axis is the last one; ``"dihedral(n)"`` has half-turns about axes across it.
    In the plane ``"dihedral(n)"`` is ``"cyclic(n)"`` with reflections.

    Args:
      group: SO(n) or O(n), the same with scalings, or one of them times trivial groups.
      name: Name of the subgroup, as :func:`parse_name` reads it.
      reflections: Whether to add the mirror images: products with -1 in space, with diag(1, -1) in
        the plane.

    Raises:
      ValueError: If the finite group is not in that group.
    """
    family, order = parse_name(name)
    group = _only_factor(group, f"the finite group {name!r}")
    if group.point_dim == 2 and family == "dihedral":
        family, reflections = "cyclic", True
    rotations, reflects = _split(group)
    contained = rotations is not None and (reflects or not reflections)
    if not contained or (rotations == SO2() and family != "cyclic"):
        mirrored = " with reflections" if reflections else ""
        raise ValueError(f"the finite group {name!r}{mirrored} is not in {group}")
    proper = _planar(order) if rotations == SO2() else _spatial(family, order)
    if not reflections:
        identity = np.asarray(group.identity_components())[proper.shape[1] :]
        return np.concatenate([proper, np.tile(identity, (len(proper), 1))], axis=1)
    signs = np.repeat([1.0, -1.0], len(proper))[:, None]
    return np.concatenate([np.tile(proper, (2, 1)), signs], axis=1)


def grid_elements(group: LieGroup, num_samples: int) -> np.ndarray:
    """Equally spaced rotations of the plane, and reflections where the group has them [n E].

    Args:
      group: SO(2) or O(2), the same with scalings, or one of them times trivial groups.
      num_samples: Number of rotations.

    Raises:
      ValueError: For another group.
    """
    group = _only_factor(group, "Grid")
    rotations, reflects = _split(group)
    if rotations != SO2():
        raise ValueError(
            f"Grid needs planar rotations as stabilizer, got {group}; "
            "use Subgroup(name) or Haar(num_samples)"
        )
    return finite_elements(group, f"cyclic({num_samples})", reflections=reflects)


def _split(group: LieGroup) -> tuple[LieGroup | None, bool]:
    """The rotations in a group, whose components come first, and whether it has reflections."""
    if group in (SO2(), SO3()):
        return group, False
    if isinstance(group, Reflected) and group.proper in (SO2(), SO3()):
        return group.proper, True
    if isinstance(group, RxSO2 | RxSO3):
        return group.rotation, False
    return None, False


def _only_factor(group: LieGroup, name: str) -> LieGroup:
    """The one factor that is not trivial; a group that is no product, as it is."""
    if not isinstance(group, Product):
        return group
    factors = [factor for factor in group.factors if factor.element_dim]
    if len(factors) != 1:
        raise ValueError(f"{name} needs a product of trivial groups and one other, got {group}")
    return _only_factor(factors[0], name)


def _planar(order: int) -> np.ndarray:
    angles = 2.0 * np.pi * np.arange(order) / order
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


@functools.cache
def _spatial(family: str, order: int) -> np.ndarray:
    if family in _GENERATORS:
        return _closure(np.array(_GENERATORS[family]))
    half = np.pi * np.arange(order) / order
    zeros = np.zeros(order)
    turns = np.stack([np.cos(half), zeros, zeros, np.sin(half)], axis=-1)
    if family == "cyclic":
        return turns
    across = np.stack([zeros, np.cos(half), np.sin(half), zeros], axis=-1)
    return np.concatenate([turns, across])


def _closure(generators: np.ndarray) -> np.ndarray:
    """All products of unit quaternions, one of q and -q."""
    found = np.eye(1, 4)
    while True:
        products = [_multiply(g, q) for g, q in itertools.product(found, generators)]
        together = np.concatenate([found, np.stack(products)])
        overlaps = np.abs(together @ together.T) > 1.0 - 1e-9
        unique = together[np.argmax(overlaps, axis=0) == np.arange(len(together))]
        if len(unique) == len(found):
            return found
        found = unique


def _multiply(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    w, v, a, b = p[0], p[1:], q[0], q[1:]
    return np.concatenate([[w * a - v @ b], w * b + a * v + np.cross(v, b)])

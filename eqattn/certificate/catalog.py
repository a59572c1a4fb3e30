"""What is certified: every space of the library by its group and name, fields, and lifts."""

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from eqattn.certificate.options import all_options
from eqattn.fields import FieldType, custom
from eqattn.groups import SE, SO, E, O, Product, RxSO2, Sim, T, Trivial
from eqattn.lift import (
    Coset,
    Frames,
    Grid,
    Haar,
    Lift,
    NoLift,
    Subgroup,
    check_lift,
)
from eqattn.spaces import (
    Space,
    euclidean,
    group_space,
    position_orientation,
    product_space,
    sphere,
)


class Geometry(NamedTuple):
    """A space under a group, as tables name them.

    Attributes:
      group: Name of the group.
      name: Name of the space.
      space: The space itself.
      cosets: Names of the spaces between it and the group that data may be lifted to.
    """

    group: str
    name: str
    space: Space
    cosets: tuple[str, ...] = ()


GEOMETRIES: tuple[Geometry, ...] = (
    Geometry("T(2)", "R2", euclidean(T(2))),
    Geometry("T(3)", "R3", euclidean(T(3))),
    Geometry("SO(2)", "R2", euclidean(SO(2))),
    Geometry("SO(3)", "R3", euclidean(SO(3))),
    Geometry("O(2)", "R2", euclidean(O(2))),
    Geometry("O(3)", "R3", euclidean(O(3))),
    Geometry("RxSO2", "R2", euclidean(RxSO2())),
    Geometry("SE(2)", "R2", euclidean(SE(2)), ("R2xS1",)),
    Geometry("SE(3)", "R3", euclidean(SE(3)), ("R3xS2",)),
    Geometry("E(2)", "R2", euclidean(E(2)), ("R2xS1",)),
    Geometry("E(3)", "R3", euclidean(E(3)), ("R3xS2",)),
    Geometry("Sim(2)", "R2", euclidean(Sim(2))),
    Geometry("Sim(3)", "R3", euclidean(Sim(3))),
    Geometry("SO(2)x1", "R3", euclidean(Product((SO(2), Trivial(1))))),
    Geometry("SE(2)xT(1)", "R3", euclidean(Product((SE(2), T(1))))),
    Geometry("SO(2)", "S1", sphere(SO(2))),
    Geometry("O(2)", "S1", sphere(O(2))),
    Geometry("SO(3)", "S2", sphere(SO(3))),
    Geometry("O(3)", "S2", sphere(O(3))),
    Geometry("SE(2)", "R2xS1", position_orientation(SE(2))),
    Geometry("E(2)", "R2xS1", position_orientation(E(2))),
    Geometry("SE(3)", "R3xS2", position_orientation(SE(3))),
    Geometry("E(3)", "R3xS2", position_orientation(E(3))),
    Geometry("SO(3)", "group", group_space(SO(3))),
    Geometry("SE(3)", "group", group_space(SE(3))),
    Geometry("Sim(3)", "group", group_space(Sim(3))),
    Geometry("SO(3)xT(1)", "S2xR1", product_space(sphere(SO(3)), euclidean(T(1)))),
)
"""Every space of the library, under each group that acts on it in two and three dimensions."""

ADJOINT = "custom(adjoint)"
"""Name of the field of Lie-algebra elements, which :func:`eqattn.fields.custom` makes."""

FIELDS: tuple[str, ...] = (
    "scalar",
    "pseudoscalar",
    "vector",
    "pseudovector",
    "vector[1]",
    "tensor(2)",
    "symmetric_traceless(2)",
    "irrep(3)",
    "gauge(vector)",
    ADJOINT,
)
"""Fields of every kind: with a scale weight, in a gauge, and of a representation of the user's."""

LIFTS: Mapping[str, Lift] = MappingProxyType(
    {
        "Haar(1)": Haar(1),
        "Haar(1, shared)": Haar(1, shared=True),
        "Frames": Frames(),
        "Frames(across)": Frames(pairs="across"),
        "NoLift": NoLift(),
    }
)
PLANAR: Mapping[str, Lift] = MappingProxyType(
    {
        "Grid(4)": Grid(4),
        "Grid(3, random)": Grid(3, offset="random"),
        "Subgroup(cyclic(3))": Subgroup("cyclic(3)"),
        "Subgroup(cyclic(3), reflections)": Subgroup("cyclic(3)", reflections=True),
    }
)
SPATIAL: Mapping[str, Lift] = MappingProxyType(
    {
        "Subgroup(icosahedral)": Subgroup("icosahedral"),
        "Subgroup(octahedral, reflections)": Subgroup("octahedral", reflections=True),
    }
)
"""Lifts that spaces are tried with: all, those of the plane, and those of three dimensions."""


def find_field(name: str, space: Space) -> FieldType:
    """The field of a name on a space.

    Raises:
      ValueError: For a name that cannot be read.
    """
    if name == ADJOINT:
        return custom(space.group.adjoint, space.group.algebra_dim)
    return FieldType.parse(name)


def lifts_for(geometry: Geometry) -> Mapping[str, Lift]:
    """Lifts to try on a space, those that it excludes among them.

    Where the stabilizer is trivial all lifts give one lift, and one stands for them.
    """
    if not geometry.space.stabilizer.element_dim:
        return {"Haar(1)": LIFTS["Haar(1)"]}
    # About one axis of space, too, there are the rotations of the plane.
    is_planar = geometry.space.vector_dim == 2 or geometry.space.stabilizer.algebra_dim == 1
    found = {**LIFTS, **(PLANAR if is_planar else SPATIAL)}
    # Enough rotations to give a vector back from its component along an orientation.
    few = "cyclic(3)" if is_planar else "tetrahedral"
    for name in geometry.cosets:
        coset = _space(geometry.group, name)
        found[f"Coset({name}, Haar(1))"] = Coset(coset, Haar(1))
        found[f"Coset({name}, Subgroup({few}))"] = Coset(coset, Subgroup(few))
    return found


@functools.cache
def _space(group: str, name: str) -> Space:
    (found,) = (g.space for g in GEOMETRIES if (g.group, g.name) == (group, name))
    return found


def reason_excluded(space: Space, lift: Lift, field: FieldType | None = None) -> str | None:
    """Why a combination is excluded; None where it is not."""
    try:
        check_lift(space, lift, field)
    except ValueError as error:
        return str(error)
    if not all_options(space, lift):
        return f"layers see nothing of a pair on {space}"
    return None

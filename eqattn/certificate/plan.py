"""Which combinations are measured: all of them, or a selection that meets every choice."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from eqattn.certificate.catalog import GEOMETRIES, Geometry, lifts_for, reason_excluded
from eqattn.certificate.options import NEIGHBORHOODS, Options, all_options, back_ends
from eqattn.lift import Lift
from eqattn.spaces import Space

DTYPES = ("float64", "float32")
LIFTS_AT_ONCE, FIELDS_AT_ONCE = 2, 2
"""Lifts on a space, and fields of one measurement, of the selection at the most."""

STATED = {
    ("SE(2)", "R2"): ("Haar(1, shared)", "NoLift", "Grid(4)"),
    ("SE(3)", "R3"): ("Haar(1)", "NoLift", "Subgroup(icosahedral)"),
    ("E(3)", "R3"): ("Frames", "Coset(R3xS2, Haar(1))", "Subgroup(octahedral, reflections)"),
}
"""Lifts of the selection where docs/concepts.md states several guarantees for one space."""

DATA_CASES = (
    ("T(2)", "R2", "Haar(1)"),
    ("SE(3)", "R3", "NoLift"),
    ("SE(2)", "R2", "Grid(4)"),
    ("SO(3)", "S2", "Frames"),
    ("E(2)", "R2", "Subgroup(cyclic(3), reflections)"),
)
"""Spaces and lifts, none of which draws samples, on which padding and the like are measured."""


class Wanted(NamedTuple):
    """What to measure, all by name, as it is sent to a process.

    Attributes:
      fields: Types of fields.
      lifts: Names of lifts; all if none is given.
      layers: Names of layers.
      dtypes: Number types.
      is_full: Whether every combination is measured.
      all_fields: Whether every field is measured with each lift, because they were named.
      all_layers: Whether padding and the like are measured in every layer on each space, because
        spaces or groups were named.
    """

    fields: tuple[str, ...]
    lifts: tuple[str, ...]
    layers: tuple[str, ...]
    dtypes: tuple[str, ...]
    is_full: bool
    all_fields: bool = False
    all_layers: bool = False


def choose_lifts(geometry: Geometry, wanted: Wanted, index: int) -> dict[str, Lift]:
    """The lifts on a space that are tried: of the selection, one each of a few classes.

    Those that the library refuses are always among them.

    Args:
      geometry: The space.
      wanted: What to measure.
      index: Index of the space, by which the selection differs.
    """
    found = {
        name: lift
        for name, lift in lifts_for(geometry).items()
        if not wanted.lifts or name in wanted.lifts
    }
    if wanted.is_full or wanted.lifts:
        return found
    allowed = [name for name in found if reason_excluded(geometry.space, found[name]) is None]
    chosen = STATED.get((geometry.group, geometry.name)) or _one_of_each(allowed, index)
    left = set(allowed) - set(chosen)
    return {name: lift for name, lift in found.items() if name not in left}


def _one_of_each(names: Sequence[str], index: int) -> list[str]:
    """Names of a few classes of lifts in turn, one of each class."""
    classes: dict[str, list[str]] = {}
    for name in names:
        classes.setdefault(name.partition("(")[0], []).append(name)
    found = [members[index % len(members)] for members in classes.values()]
    start = index * LIFTS_AT_ONCE % max(1, len(found))
    return (found * 2)[start : start + min(LIFTS_AT_ONCE, len(found))]


def choose_options(
    space: Space, lift: Lift, wanted: Wanted, *, index: int, is_random: bool
) -> list[tuple[Options, str]]:
    """Options of a lift with number types: all that are wanted, or one pair of them.

    Args:
      space: Where the points live.
      lift: The lift.
      wanted: What to measure.
      index: Index of the combination, by which the selection goes through all options.
      is_random: Whether means over draws are measured, which wants float64.
    """
    options = [o for o in all_options(space, lift) if o.layer in wanted.layers]
    if wanted.is_full:
        return [(o, dtype) for o in options for dtype in wanted.dtypes]
    if not options:
        return []
    layers = list(dict.fromkeys(o.layer for o in options))
    layer, others = layers[index % len(layers)], index // len(layers)
    options = [o for o in options if o.layer == layer]
    # Float32 costs twice, since it is compared with float64.
    dtype = wanted.dtypes[-1 if index % 3 == 2 and not is_random else 0]
    return [(options[others % len(options)], dtype)]


def choose_fields(names: Sequence[str], wanted: Wanted, index: int) -> list[str]:
    """Names of fields that are measured together: of the selection, the next few in turn.

    Args:
      names: Names of all that a lift allows.
      wanted: What to measure.
      index: Index of the combination.
    """
    if wanted.is_full or wanted.all_fields or len(names) <= FIELDS_AT_ONCE:
        return list(names)
    start = index * FIELDS_AT_ONCE
    return [names[(start + i) % len(names)] for i in range(FIELDS_AT_ONCE)]


def choose_back_ends(index: int, wanted: Wanted) -> list[Options]:
    """Layers, back ends and neighborhoods in which padding and the like are measured.

    Args:
      index: Index of one of ``DATA_CASES``.
      wanted: What to measure.
    """
    geometry, lift = find_case(index)
    is_coset = lift.is_coset
    coordinates = "invariants" if is_coset else "embedding"
    found = []
    for number, layer in enumerate(wanted.layers):
        turn, seen = number + index, coordinates
        neighborhoods = list(NEIGHBORHOODS) if wanted.is_full else [_in_turn(NEIGHBORHOODS, turn)]
        if layer == "representation":
            sees_cosets = is_coset and geometry.space.stabilizer.element_dim > 0
            neighborhoods, seen = [] if sees_cosets else ["all"], "none"
        # Every other layer of each case, so that each comes with several lifts.
        is_part = not (wanted.is_full or wanted.all_layers) and len(wanted.layers) > 2
        if is_part and turn % 2:
            continue
        for neighborhood in neighborhoods:
            names = back_ends(layer, neighborhood, has_pallas=wanted.is_full)
            found += [Options(layer, seen, name, neighborhood) for name in names]
    return found


def _in_turn(names: Collection[str], turn: int) -> str:
    return list(names)[turn % len(names)]


def find_case(index: int) -> tuple[Geometry, Lift]:
    """The space and lift of one of ``DATA_CASES``."""
    group, name, lift = DATA_CASES[index]
    (geometry,) = (g for g in GEOMETRIES if (g.group, g.name) == (group, name))
    return geometry, lifts_for(geometry)[lift]

"""The certificate: laws, invariances of the data and equivariance, measured row by row."""

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import NamedTuple

import jax

from eqattn.attention import NearestNeighbors
from eqattn.certificate import inputs, invariances, measure, potentials
from eqattn.certificate.catalog import (
    FIELDS,
    GEOMETRIES,
    Geometry,
    find_field,
    lifts_for,
    reason_excluded,
)
from eqattn.certificate.inputs import is_random
from eqattn.certificate.invariances import DTYPE, Layer, make_layer, measure_invariances
from eqattn.certificate.lawful import measure_group, measure_space
from eqattn.certificate.options import LAYERS, NEIGHBORHOODS, Options
from eqattn.certificate.plan import (
    DATA_CASES,
    DTYPES,
    Wanted,
    choose_back_ends,
    choose_fields,
    choose_lifts,
    choose_options,
    find_case,
)
from eqattn.fields import FieldType
from eqattn.laws import check as laws
from eqattn.lift import Lift

FAMILIES = ("laws", "data", "potentials", "equivariance")
"""Kinds of rows, in the order in which they are measured: each relies on those before."""


class Row(NamedTuple):
    """One measurement.

    Attributes:
      family: ``"laws"`` of a group or a space; ``"data"``: what padding, splitting and order must
        not change; ``"potentials"``: energies, forces and stresses of crystals; ``"equivariance"``.
      group: Name of the group.
      space: Name of the space; empty for laws of a group.
      field: Type of the features in and out; empty for laws, as are the next three.
      lift: The lift.
      layer: ``"attention"``, ``"attentive_convolution"``, ``"convolution"``, ``"representation"``
        or ``"model"``.
      options: Pair coordinates, back end and neighborhood.
      dtype: ``"float32"`` or ``"float64"``.
      guarantee: What was measured, in words.
      max_error: The largest error, relative to the standard deviation of the output; of a mean over
        draws, in standard errors; of potentials as the guarantee says.
      mean_error: The mean of those whose largest is ``max_error``.
      bound: What ``max_error`` must not exceed.
      ok: Whether it does not.
    """

    family: str
    group: str
    space: str
    field: str
    lift: str
    layer: str
    options: str
    dtype: str
    guarantee: str
    max_error: float
    mean_error: float
    bound: float
    ok: bool


class Excluded(NamedTuple):
    """A combination that the library refuses.

    Attributes:
      group: Name of the group.
      space: Name of the space.
      field: Type of the features, or ``"any"``.
      lift: Name of the lift, or ``"any"``.
      reason: The message of the error.
    """

    group: str
    space: str
    field: str
    lift: str
    reason: str


class _Task(NamedTuple):
    """A part of the certificate, as it is sent to a process.

    Attributes:
      family: Name of the family, one of ``FAMILIES``.
      index: Index of a geometry, of a case of padding and the like, or of a potential.
      is_of_group: Whether laws of the geometry's group are meant, not of the space.
    """

    family: str
    index: int
    is_of_group: bool = False


def certify(
    *,
    families: Collection[str] = (),
    groups: Collection[str] = (),
    spaces: Collection[str] = (),
    fields: Sequence[str] = (),
    lifts: Collection[str] = (),
    layers: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    is_full: bool = False,
    pool: Executor | None = None,
) -> Iterator[Row | Excluded]:
    """Measures a selection of combinations, or all of them, of what is named.

    First come the laws, then what must not change with the data, then equivariance, space by space;
    those that the library refuses before those that are measured.

    Args:
      families: Some of ``FAMILIES``; by default all, but for the laws where fields, lifts or
        layers are named, which laws have none of.
      groups: Names of groups.
      spaces: Names of spaces, with the laws of their groups.
      fields: Any field types, as they are written; see :class:`eqattn.fields.FieldType`.
      lifts: Names of lifts.
      layers: Names of layers.
      dtypes: ``"float32"`` or ``"float64"``.
      is_full: Whether all combinations are measured, and not a selection that meets every space,
        class of lifts, layer, back end, neighborhood and kind of coordinates.
      pool: Where parts are measured side by side, in processes with ``jax_enable_x64``; by
        default one after the other, here.

    Raises:
      FloatingPointError: When read, if an output is not finite, or hardly varies.
      ValueError: For an unknown name, or without ``jax_enable_x64``; when read, where nothing
        was left to measure.
    """
    if not jax.config.read("jax_enable_x64"):
        raise ValueError("the certificate needs jax_enable_x64: inputs are moved in float64")
    known = [name for geometry in GEOMETRIES for name in lifts_for(geometry)]
    _check("family", families, FAMILIES)
    _check("group", groups, [geometry.group for geometry in GEOMETRIES])
    _check("space", spaces, [geometry.name for geometry in GEOMETRIES])
    _check("lift", lifts, known)
    _check("layer", layers, LAYERS)
    _check("dtype", dtypes, DTYPES)
    for name in fields:
        find_field(name, GEOMETRIES[0].space)
    wanted = Wanted(
        tuple(dict.fromkeys(fields or FIELDS)),
        tuple(lifts),
        tuple(layers or LAYERS),
        tuple(dtypes or DTYPES),
        is_full,
        all_fields=bool(fields),
        all_layers=bool(groups or spaces),
    )
    # Laws have no fields, lifts or layers, and would not be what was asked for.
    by_default = FAMILIES[1:] if fields or lifts or layers else FAMILIES
    tasks = [
        task for task in _tasks(groups, spaces, wanted) if task.family in (families or by_default)
    ]
    if pool is None or len(tasks) < 2:
        return _checked(_run(task, wanted) for task in tasks)
    # All laws in one process, for they share what they compile. Else what takes longest first, so
    # that none is left alone with it at the end.
    lawful = [task for task in tasks if task.family == "laws"]
    others = [task for task in tasks if task.family != "laws"]
    first = [pool.submit(_run_all, lawful, wanted)] if lawful else []
    pending = {task: pool.submit(_run, task, wanted) for task in sorted(others, key=_weight)}
    return _checked(_read([*first, *(pending[task] for task in others)]))


def _tasks(groups: Collection[str], spaces: Collection[str], wanted: Wanted) -> Iterator[_Task]:
    """All tasks that the names leave, in order."""
    chosen = [
        index
        for index, geometry in enumerate(GEOMETRIES)
        if (not groups or geometry.group in groups) and (not spaces or geometry.name in spaces)
    ]
    first = {GEOMETRIES[index].space.group: index for index in reversed(chosen)}
    yield from (_Task("laws", index, is_of_group=True) for index in sorted(first.values()))
    yield from (_Task("laws", index) for index in chosen)
    for index, (group, space, lift) in enumerate(DATA_CASES):
        is_wanted = not wanted.lifts or lift in wanted.lifts
        if (group, space) in {GEOMETRIES[i][:2] for i in chosen} and is_wanted:
            yield _Task("data", index)
    is_wanted = ("SE(3)", "R3") in {GEOMETRIES[i][:2] for i in chosen} and "model" in wanted.layers
    if is_wanted and "NoLift" in (wanted.lifts or ("NoLift",)):
        yield from (_Task("potentials", index) for index in range(len(potentials.POTENTIALS)))
    for index in chosen:
        known = lifts_for(GEOMETRIES[index]).keys()
        if not wanted.lifts or known & set(wanted.lifts):
            yield _Task("equivariance", index)


def _weight(task: _Task) -> int:
    """Orders tasks by how long they take, the longest first."""
    is_of_space = task.family in ("laws", "equivariance")
    return -10 * len(lifts_for(GEOMETRIES[task.index])) if is_of_space else -20


def _run(task: _Task, wanted: Wanted) -> list[Row | Excluded]:
    """All results of one part."""
    if task.family == "laws":
        return _lawful(task, wanted)
    if task.family == "data":
        return _invariant(task.index, wanted)
    if task.family == "potentials":
        return _potential(task.index, wanted)
    return _equivariant(task.index, wanted)


def _run_all(tasks: Sequence[_Task], wanted: Wanted) -> list[Row | Excluded]:
    """All results of several parts."""
    return [result for task in tasks for result in _run(task, wanted)]


def _lawful(task: _Task, wanted: Wanted) -> list[Row | Excluded]:
    """Laws of a group or a space; in the selection in the first number type."""
    geometry, rows = GEOMETRIES[task.index], []
    for dtype in wanted.dtypes if wanted.is_full else wanted.dtypes[:1]:
        if task.is_of_group:
            found, name = measure_group(geometry.space.group, dtype), ""
        else:
            found, name = measure_space(geometry, dtype), geometry.name
        what = ("laws", geometry.group, name, "", "", "", "", dtype)
        rows += [_row(what, m) for m in found]
    forget_programs()
    return rows


def _invariant(index: int, wanted: Wanted) -> list[Row | Excluded]:
    """What padding and the like must not change, by each back end against the dense one."""
    if DTYPE not in wanted.dtypes or "scalar" not in wanted.fields:
        return []
    geometry, lift = find_case(index)
    place, found = (geometry.group, geometry.name, "scalar", DATA_CASES[index][2]), []
    layers: dict[Options, Layer] = {}
    for options in choose_back_ends(index, wanted):
        dense = options._replace(implementation="dense")
        for needed in {options, dense} - layers.keys():
            layers[needed] = make_layer(needed, geometry.space, lift)
        can_split = not isinstance(NEIGHBORHOODS[options.neighborhood], NearestNeighbors)
        try:
            errors = measure_invariances(
                layers[options], layers[dense], geometry.space, can_split=can_split
            )
        except NotImplementedError as error:
            found.append(Excluded(*place, str(error)))
            continue
        what = ("data", *place, options.layer, str(options), DTYPE)
        found += [_row(what, m) for m in errors]
    forget_programs()
    return found


def _potential(index: int, wanted: Wanted) -> list[Row | Excluded]:
    """What energies of crystals, and their derivatives, keep to."""
    if DTYPE not in wanted.dtypes or "scalar" not in wanted.fields:
        return []
    name = list(potentials.POTENTIALS)[index]
    what = ("potentials", "SE(3)", "R3", "scalar", "NoLift", "model", f"{name}, lists", DTYPE)
    rows: list[Row | Excluded] = [_row(what, m) for m in potentials.measure_potential(name)]
    forget_programs()
    return rows


def _row(what: Sequence[str], found: tuple[str, float, float, float]) -> Row:
    """A row from its first eight columns, and a statement with errors and bound."""
    _, largest, _, bound = found
    return Row._make((*what, *found, largest <= bound))


def _read(futures: Sequence[Future[list[Row | Excluded]]]) -> Iterator[list[Row | Excluded]]:
    """Yields the results in this order; what was not begun when one fails is not begun then."""
    try:
        for future in futures:
            yield future.result()
    finally:
        for future in futures:
            future.cancel()


def _checked(parts: Iterable[Sequence[Row | Excluded]]) -> Iterator[Row | Excluded]:
    """Hands on all results; raises a ValueError at the end if none was measured."""
    reasons: dict[str, None] = {}
    is_empty = True
    for result in itertools.chain.from_iterable(parts):
        if isinstance(result, Row):
            is_empty = False
        else:
            reasons[result.reason] = None
        yield result
    if is_empty:
        raise ValueError(
            f"nothing is left to measure: {'; '.join(reasons) or 'no space has all of the names'}"
        )


def _equivariant(index: int, wanted: Wanted) -> list[Row | Excluded]:
    """How equivariant layers are on one space under one group."""
    geometry = GEOMETRIES[index]
    place = ("equivariance", geometry.group, geometry.name)
    excluded: list[Excluded] = []
    rows: list[Row] = []
    there = _fields_on(geometry, wanted.fields, excluded)
    for number, (name, lift) in enumerate(choose_lifts(geometry, wanted, index).items()):
        kept = dict(_liftable(geometry, there, name, lift, excluded))
        if not kept:
            continue
        turn = index + number
        names = choose_fields(list(kept), wanted, turn)
        together = [(field, kept[field]) for field in names]
        space, draws = geometry.space, is_random(geometry.space, lift)
        for options, dtype in choose_options(space, lift, wanted, index=turn, is_random=draws):
            for m in measure.measure(space, lift, together, options, dtype):
                what = (*place, m.field, name, options.layer, str(options), dtype)
                rows.append(_row(what, m[1:]))
        if wanted.is_full:
            forget_programs()
            jax.clear_caches()  # of single operations too, of which there are thousands
    forget_programs()
    return [*excluded, *rows]


def forget_programs() -> None:
    """Gives back the memory of compiled programs; hundreds exhaust what a process may map."""
    laws.forget_programs()
    rooms = inputs, invariances, measure, potentials
    for program in (program for room in rooms for program in room.PROGRAMS):
        program.clear_cache()


def _check(name: str, given: Collection[str], known: Collection[str]) -> None:
    for value in given:
        if value not in known:
            raise ValueError(
                f"{name} must be one of {', '.join(dict.fromkeys(known))}, got {value!r}"
            )


def _fields_on(
    geometry: Geometry, names: Sequence[str], excluded: list[Excluded]
) -> list[tuple[str, FieldType]]:
    """The fields that make sense on a space."""
    found = []
    for name in names:
        field = find_field(name, geometry.space)
        try:
            field.check(geometry.space)
        except ValueError as error:
            excluded.append(Excluded(geometry.group, geometry.name, name, "any", str(error)))
        else:
            found.append((name, field))
    return found


def _liftable(
    geometry: Geometry,
    fields: Sequence[tuple[str, FieldType]],
    name: str,
    lift: Lift,
    excluded: list[Excluded],
) -> tuple[tuple[str, FieldType], ...]:
    """The fields that a lift lifts and gives back."""
    place = geometry.group, geometry.name
    reason = reason_excluded(geometry.space, lift)
    if reason is not None:
        excluded.append(Excluded(*place, "any", name, reason))
        return ()
    kept = []
    for field_name, field in fields:
        reason = reason_excluded(geometry.space, lift, field)
        if reason is None:
            kept.append((field_name, field))
        else:
            excluded.append(Excluded(*place, field_name, name, reason))
    return tuple(kept)

"""The certificate: measured equivariance over spaces, fields, strategies, layers, number types."""

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import NamedTuple

import jax

from eqattn.certificate.catalog import (
    FIELDS,
    GEOMETRIES,
    Geometry,
    find_field,
    reason_excluded,
    strategies_for,
)
from eqattn.certificate.measure import forget_programs, measure
from eqattn.certificate.options import LAYERS
from eqattn.fields import FieldType
from eqattn.lift import Strategy

DTYPES = ("float64", "float32")


class Row(NamedTuple):
    """One measurement.

    Attributes:
      group: name of the group.
      space: name of the space.
      field: type of the features in and out.
      strategy: of the lift.
      layer: ``"attention"``, ``"attentive_convolution"``, ``"convolution"`` or ``"model"``.
      dtype: ``"float32"`` or ``"float64"``.
      guarantee: what was measured, in words.
      max_error: the largest error, relative to the standard deviation of the output; of a mean over
        draws, in standard errors.
      mean_error: the mean of those whose largest is ``max_error``.
      bound: what ``max_error`` must not exceed.
      ok: whether it does not.
    """

    group: str
    space: str
    field: str
    strategy: str
    layer: str
    dtype: str
    guarantee: str
    max_error: float
    mean_error: float
    bound: float
    ok: bool


class Excluded(NamedTuple):
    """A combination that the library refuses.

    Attributes:
      group: name of the group.
      space: name of the space.
      field: type of the features, or ``"any"``.
      strategy: of the lift, or ``"any"``.
      reason: the message of the error.
    """

    group: str
    space: str
    field: str
    strategy: str
    reason: str


class _Wanted(NamedTuple):
    """What of a geometry to measure, all by name, as it is sent to a process."""

    fields: tuple[str, ...]
    strategies: tuple[str, ...]
    layers: tuple[str, ...]
    dtypes: tuple[str, ...]


def certify(
    *,
    groups: Collection[str] = (),
    spaces: Collection[str] = (),
    fields: Sequence[str] = (),
    strategies: Collection[str] = (),
    layers: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    pool: Executor | None = None,
) -> Iterator[Row | Excluded]:
    """Measures every combination of the named ones, by default of all there are.

    Results come space by space, those that the library refuses before those that are measured.

    Args:
      groups: names of groups.
      spaces: names of spaces.
      fields: any field types, as they are written; see :class:`eqattn.fields.FieldType`.
      strategies: names of strategies.
      layers: names of layers.
      dtypes: ``"float32"`` or ``"float64"``.
      pool: where spaces are measured side by side, in processes with ``jax_enable_x64``; by
        default one after the other, here.

    Raises:
      FloatingPointError: when read, if an output is not finite, or hardly varies.
      ValueError: for an unknown name, or without ``jax_enable_x64``; when read, where nothing
        was left to measure.
    """
    if not jax.config.read("jax_enable_x64"):
        raise ValueError("the certificate needs jax_enable_x64: inputs are moved in float64")
    known = [name for geometry in GEOMETRIES for name in strategies_for(geometry)]
    _check("group", groups, [geometry.group for geometry in GEOMETRIES])
    _check("space", spaces, [geometry.name for geometry in GEOMETRIES])
    _check("strategy", strategies, known)
    _check("layer", layers, LAYERS)
    _check("dtype", dtypes, DTYPES)
    for name in fields:
        find_field(name, GEOMETRIES[0].space)
    chosen = [
        index
        for index, geometry in enumerate(GEOMETRIES)
        if (not groups or geometry.group in groups) and (not spaces or geometry.name in spaces)
    ]
    wanted = _Wanted(
        tuple(dict.fromkeys(fields or FIELDS)),
        tuple(strategies),
        tuple(layers or LAYERS),
        tuple(dtypes or DTYPES),
    )
    if pool is None or len(chosen) < 2:
        return _checked(_measured(index, wanted) for index in chosen)
    # Those with most strategies first, so that none is left alone with one of them at the end.
    order = sorted(chosen, key=lambda index: -len(strategies_for(GEOMETRIES[index])))
    pending = {index: pool.submit(_measured, index, wanted) for index in order}
    return _checked(_read([pending[index] for index in chosen]))


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


def _measured(index: int, wanted: _Wanted) -> list[Row | Excluded]:
    """All results of one space under one group."""
    geometry = GEOMETRIES[index]
    excluded: list[Excluded] = []
    rows: list[Row] = []
    there = _fields_on(geometry, wanted.fields, excluded)
    for name, strategy in strategies_for(geometry).items():
        if wanted.strategies and name not in wanted.strategies:
            continue
        kept = _liftable(geometry, there, name, strategy, excluded)
        for dtype in wanted.dtypes if kept else ():
            for m in measure(geometry.space, strategy, kept, wanted.layers, dtype):
                place = geometry.group, geometry.name, m.field, name, m.layer, dtype
                errors = m.guarantee, m.max_error, m.mean_error, m.bound
                rows.append(Row(*place, *errors, m.max_error <= m.bound))
    forget_programs()
    return [*excluded, *rows]


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
    strategy: Strategy,
    excluded: list[Excluded],
) -> tuple[tuple[str, FieldType], ...]:
    """The fields that a strategy lifts and gives back."""
    place = geometry.group, geometry.name
    reason = reason_excluded(geometry.space, strategy)
    if reason is not None:
        excluded.append(Excluded(*place, "any", name, reason))
        return ()
    kept = []
    for field_name, field in fields:
        reason = reason_excluded(geometry.space, strategy, field)
        if reason is None:
            kept.append((field_name, field))
        else:
            excluded.append(Excluded(*place, field_name, name, reason))
    return tuple(kept)

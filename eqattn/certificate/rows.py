"""The certificate: measured equivariance over spaces, fields, strategies, layers, number types."""

import itertools
import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from eqattn.certificate.measure import LAYERS, measure
from eqattn.fields import FieldType
from eqattn.lift import Strategy

DTYPES = ("float64", "float32")
_WORKERS = min(os.cpu_count() or 1, 8)


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


class _Job(NamedTuple):
    geometry: Geometry
    strategy: str
    dtype: str
    measured: Strategy
    fields: tuple[tuple[str, FieldType], ...]


def certify(
    *,
    groups: Collection[str] = (),
    spaces: Collection[str] = (),
    fields: Sequence[str] = (),
    strategies: Collection[str] = (),
    layers: Sequence[str] = (),
    dtypes: Sequence[str] = (),
) -> Iterator[Row | Excluded]:
    """Measures every combination of the named ones, by default of all there are.

    Several are measured at a time, and each as it is ready is given back in its order; those that
    the library refuses come before all that are measured.

    Args:
      groups: names of groups.
      spaces: names of spaces.
      fields: any field types, as they are written; see :class:`eqattn.fields.FieldType`.
      strategies: names of strategies.
      layers: names of layers.
      dtypes: ``"float32"``, or ``"float64"``, which needs ``jax_enable_x64``.

    Raises:
      FloatingPointError: if an output is not finite, or hardly varies.
      ValueError: for an unknown name, where nothing is left to measure, or without
        ``jax_enable_x64``.
    """
    if not jax.config.read("jax_enable_x64"):
        raise ValueError("the certificate needs jax_enable_x64: inputs are moved in float64")
    known = [name for geometry in GEOMETRIES for name in strategies_for(geometry)]
    _check("group", groups, [geometry.group for geometry in GEOMETRIES])
    _check("space", spaces, [geometry.name for geometry in GEOMETRIES])
    _check("strategy", strategies, known)
    _check("layer", layers, LAYERS)
    _check("dtype", dtypes, DTYPES)
    fields, layers, dtypes = fields or FIELDS, layers or LAYERS, dtypes or DTYPES
    jobs: list[_Job] = []
    excluded: list[Excluded] = []
    for geometry in GEOMETRIES:
        if (groups and geometry.group not in groups) or (spaces and geometry.name not in spaces):
            continue
        there = _fields_on(geometry, fields, excluded)
        for name, strategy in strategies_for(geometry).items():
            if not strategies or name in strategies:
                kept = _liftable(geometry, there, name, strategy, excluded)
                jobs += [_Job(geometry, name, d, strategy, kept) for d in dtypes if kept]
    if not jobs:
        reasons = "; ".join(dict.fromkeys(e.reason for e in excluded))
        raise ValueError(
            f"nothing is left to measure: {reasons or 'no space has all of the names'}"
        )
    return itertools.chain(excluded, _measured(jobs, layers))


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


def _measured(jobs: Sequence[_Job], layers: Sequence[str]) -> Iterator[Row]:
    """Rows of all jobs in order; compiling, which takes the time, goes on beside them."""

    def rows(job: _Job) -> list[Row]:
        found = measure(job.geometry.space, job.measured, job.fields, layers, job.dtype)
        return [
            Row(
                job.geometry.group,
                job.geometry.name,
                m.field,
                job.strategy,
                m.layer,
                job.dtype,
                m.guarantee,
                m.max_error,
                m.mean_error,
                m.bound,
                m.max_error <= m.bound,
            )
            for m in found
        ]

    with ThreadPoolExecutor(_WORKERS) as pool:
        yield from itertools.chain.from_iterable(pool.map(rows, jobs))

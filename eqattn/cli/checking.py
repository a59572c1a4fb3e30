"""``eqattn check``: the certificate, as a table for people or JSON for programs."""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import tyro

from eqattn.cli.errors import RunFailedError
from eqattn.cli.parsing import parse
from eqattn.cli.scoring import enable_x64

if TYPE_CHECKING:
    from rich.table import Table

    from eqattn.certificate import Excluded, Row

__all__ = ["check"]

Names = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]


@dataclass(frozen=True)
class CheckArguments:
    """Measure laws of groups and spaces, and how equivariant layers and models are on them.

    Each option may be given several times, and keeps what it names.
    """

    family: Names = ()
    """laws, data (what padding, splitting and order of points must not change), potentials
    (energies, forces and stresses of crystals), equivariance; by default all, but for the laws
    where a field, lift or layer is named."""
    group: Names = ()
    """Names of groups, such as "SE(3)"."""
    space: Names = ()
    """Names of spaces, such as R3, S2, R3xS2, or group for a group on itself."""
    field: Names = ()
    """Types of fields, such as "scalar + 2x vector"."""
    lift: Names = ()
    """Lifts, such as "Haar(1)" or "Subgroup(icosahedral)"."""
    layer: Names = ()
    """attention, attentive_convolution, convolution, representation or model."""
    dtype: Names = ()
    """float64 or float32."""
    full: bool = False
    """Measure every combination, which takes many times as long; by default a selection that meets
    each space, class of lifts, layer, back end, neighborhood and field."""
    json: bool = False
    """Print nothing but a JSON array of all measurements, on stdout."""


def check(arguments: list[str]) -> None:
    """Runs ``eqattn check``.

    Args:
      arguments: The words after the command.

    Raises:
      RunFailedError: If a negative control passes, or a measurement is above its bound.
    """
    options = parse(CheckArguments, "check", arguments)
    enable_x64()
    from eqattn import certificate

    # Forks of a process with threads may hang; others start anew.
    context = multiprocessing.get_context("spawn")
    named = replace(options, full=False, json=False)
    with ProcessPoolExecutor(os.cpu_count(), context, _begin_worker) as pool:
        # Beside the measurements where nothing is named; else last, so that a request that leaves
        # nothing to measure is refused at once.
        controls = pool.submit(certificate.passing_controls) if named == CheckArguments() else None
        results = certificate.certify(
            families=options.family,
            groups=options.group,
            spaces=options.space,
            fields=options.field,
            lifts=options.lift,
            layers=options.layer,
            dtypes=options.dtype,
            is_full=options.full,
            pool=pool,
        )
        try:
            rows, excluded = _collect(results, is_quiet=options.json)
            passing = controls.result() if controls else certificate.passing_controls()
        except FloatingPointError as error:
            raise RunFailedError(f"{error}.") from error
        except BrokenProcessPool as error:
            raise RunFailedError(
                "a process that measured was ended from outside, perhaps for want of memory; name "
                "some groups to measure fewer at once."
            ) from error
    if not options.json:
        from rich.console import Console

        console = Console(stderr=True)
        console.print(_table(rows, certificate.DTYPES))
        if excluded:
            console.print(_refused(excluded))
        console.print(
            f"{len(rows)} measurements, {sum(row.ok for row in rows)} within their bounds"
        )
    if passing:
        found = ", ".join(f"{name} (error {error:.2g})" for name, error in passing.items())
        raise RunFailedError(f"the measurements cannot be trusted, they do not notice {found}.")
    if options.json:
        print(json.dumps([row._asdict() for row in rows], allow_nan=False), flush=True)
    failed = [row for row in rows if not row.ok]
    if failed:
        worst = max(failed, key=lambda row: row.max_error / row.bound)
        raise RunFailedError(
            f"{len(failed)} of {len(rows)} measurements are above their bounds; the worst: "
            f"{_subject(worst)}, {worst.dtype}: {worst.max_error:.3g} > {worst.bound:.3g} "
            f"({worst.guarantee})."
        )


def _begin_worker() -> None:
    """Prepares a process that measures, which ends with the one that started it, however that ends.

    An executor's processes wait for work for ever once theirs is killed.
    """
    enable_x64()
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _subject(row: Row) -> str:
    """What was measured, in words."""
    where = f"{row.space} under {row.group}" if row.space else row.group
    if row.family == "laws":
        return where
    return f"{row.layer} ({row.options}) of {row.field} on {where}, {row.lift}"


def _collect(
    results: Iterable[Row | Excluded], *, is_quiet: bool
) -> tuple[list[Row], list[Excluded]]:
    """Waits for all results; shows where they are unless asked to be quiet."""
    from rich.console import Console
    from rich.status import Status

    from eqattn.certificate import Row

    rows: list[Row] = []
    excluded: list[Excluded] = []
    with Status("compiling", console=Console(stderr=True, quiet=is_quiet)) as status:
        for result in results:
            if isinstance(result, Row):
                rows.append(result)
                status.update(f"{result.family}: {_subject(result)}")
            else:
                excluded.append(result)
    return rows, excluded


def _table(rows: Sequence[Row], dtypes: Sequence[str]) -> Table:
    """One line for each space and lift, in each family: the worst of all fields and layers."""
    from rich.table import Table

    table = Table(title="Largest errors and their bounds (coupled lifts among them)")
    for name in ("family", "group", "space", "lift", *dtypes, "mean over draws", ""):
        table.add_column(name, overflow="fold")
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.family, row.group, row.space, row.lift].append(row)
    for key, members in groups.items():
        is_ok = all(row.ok for row in members)
        exact = [row for row in members if row.bound < 1]
        columns = [_worst([row for row in exact if row.dtype == dtype]) for dtype in dtypes]
        draws = _worst([row for row in members if row.bound >= 1])
        verdict = "ok" if is_ok else "[bold red]FAIL"
        table.add_row(*key, *columns, draws, verdict)
    return table


def _refused(excluded: Sequence[Excluded]) -> Table:
    """What the library refuses, with the reason."""
    from rich.table import Table

    table = Table(title="Combinations that the library refuses")
    for name in ("group", "space", "lift", "field", "reason"):
        table.add_column(name, overflow="fold")
    for item in excluded:
        table.add_row(item.group, item.space, item.lift, item.field, f"n/a: {item.reason}")
    return table


def _worst(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    row = max(rows, key=lambda row: row.max_error / row.bound)
    return (
        f"{row.max_error:.1e} ≤ {row.bound:.0e}"
        if row.bound < 1
        else f"{row.max_error:.1f} ≤ {row.bound:.0f} s.e."
    )

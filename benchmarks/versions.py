"""This code against another checkout of it, interleaved in one process.

Absolute times of two processes differ by half for reasons of the machine. Within one process, with
the two versions taking turns, the medians of their ratios show a few percent.
"""

import contextlib
import functools
import importlib
import itertools
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.measuring import interleaved

PACKAGES = ("eqattn", "benchmarks")
HERE = Path(__file__).parents[1]


@contextlib.contextmanager
def loaded_from(checkout: Path) -> Iterator[ModuleType]:
    """The module ``benchmarks.attention`` of a checkout, around the ``eqattn`` beside it.

    Names of the library change, so that each checkout is measured by the file that came with it.

    Args:
      checkout: Folder that holds the package ``eqattn``.

    Raises:
      ValueError: For a folder without it.
    """
    if not (checkout / "eqattn" / "__init__.py").is_file():
        raise ValueError(f"against must be a checkout of eqattn, got {checkout}")
    before = _take_modules()
    path = list(sys.path)
    try:
        sys.path.insert(0, str(checkout.resolve()))
        yield importlib.import_module("benchmarks.attention")
    finally:
        sys.path[:] = path
        _take_modules()
        sys.modules.update(before)


def _take_modules() -> dict[str, ModuleType]:
    """Forgets what was imported of both packages, and returns it."""
    names = [name for name in sys.modules if name.split(".")[0] in PACKAGES]
    return {name: sys.modules.pop(name) for name in names}


def compiled_calls(
    checkout: Path, workload: str, cases: tuple[tuple[str, str], ...]
) -> dict[tuple[str, str, str], Callable[[], Any]]:
    """Programs of a checkout, by back end, location term and column, with their arguments.

    Args:
      checkout: Folder that holds the package ``eqattn``.
      workload: Name of the workload.
      cases: Back ends and location terms.
    """
    calls = {}
    with loaded_from(checkout) as attention:
        chosen = attention.get_workload(workload)
        arrays = attention.inputs(chosen)
        columns = {
            "forward_ms": attention.forward,
            "forward_backward_ms": attention.forward_backward,
        }
        for (implementation, kind), (column, function) in itertools.product(cases, columns.items()):
            term = attention.geometry(chosen, implementation, kind)
            program, _, _ = attention.compile_program(
                functools.partial(function, implementation), term, arrays
            )
            calls[implementation, kind, column] = functools.partial(program, term, arrays)
    return calls


def time_ratios(
    against: Path, workload: str, cases: tuple[tuple[str, str], ...], num_rounds: int
) -> dict[tuple[str, str, str], float]:
    """Time of this code over that of another checkout: the median over rounds of their ratio.

    Args:
      against: Folder of the other checkout.
      workload: Name of the workload.
      cases: Back ends and location terms.
      num_rounds: How often each program takes its turn.
    """
    versions = [compiled_calls(checkout, workload, cases) for checkout in (HERE, against)]
    calls = {
        (*case, version): call for version, own in enumerate(versions) for case, call in own.items()
    }
    times = interleaved(calls, num_rounds)
    return {
        case: statistics.median(
            ours / others for ours, others in zip(times[*case, 0], times[*case, 1], strict=True)
        )
        for case in versions[0]
    }

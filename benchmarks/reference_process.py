"""The published PyTorch LieTransformer, from the user's checkout, as processes that take turns.

Each workload gets two fresh processes (:mod:`benchmarks.reference_worker`): ``reference`` with
glibc's allocator as it is, and ``reference_tuned`` with one that never returns memory to the
system, which makes it up to three times as fast on large inputs.
"""

import contextlib
import dataclasses
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.measuring import memory_limit

TUNED = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "1000000000000"}
ENVIRONMENTS: dict[str, dict[str, str]] = {"reference": {}, "reference_tuned": TUNED}
LOCATION = "mlp_per_head"
ROOT = Path(__file__).parents[1]


class WorkerError(Exception):
    """A worker cannot measure, for the reason that is its text."""


@dataclasses.dataclass(frozen=True)
class Reference:
    """Where the published code is, and what runs it.

    Attributes:
      checkout: Folder of the checkout, with its submodule LieConv.
      python: Interpreter that has torch, numpy, einops and, for springs, torchdiffeq.
    """

    checkout: Path
    python: Path = Path(sys.executable)

    def __post_init__(self):
        if not (self.checkout / "eqv_transformer" / "eqv_attention.py").is_file():
            raise ValueError(
                "reference must be a checkout of LieTransformer, with a folder eqv_transformer, "
                f"got {self.checkout}"
            )
        if not os.access(self.python, os.X_OK) or self.python.is_dir():
            raise ValueError(
                f"reference_python must be the path of an interpreter, got {self.python}"
            )


def make_reference(checkout: Path | None, python: Path | None) -> Reference | None:
    """What the options of a command ask for: None without a checkout.

    Raises:
      ValueError: For an interpreter without a checkout, or as :class:`Reference`.
    """
    if checkout is None:
        if python is not None:
            raise ValueError(f"reference must be given with reference_python, got {python}")
        return None
    return Reference(checkout, Path(sys.executable) if python is None else python)


class Worker:
    """One process; it answers one request at a time."""

    def __init__(self, reference: Reference, environment: dict[str, str]):
        # Not resolved: the python of a virtual environment is a link that must stay one.
        python, checkout = reference.python.absolute(), reference.checkout.resolve()
        kept = {name: value for name, value in os.environ.items() if name not in TUNED}
        self._errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.reference_worker", checkout],
            cwd=ROOT,
            env={**kept, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """The answer to a request.

        Raises:
          WorkerError: If the process says that it failed, or has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(self._last_words())
        reply = json.loads(line)
        if "failed" in reply:
            raise WorkerError(reply["failed"])
        return reply

    def _last_words(self) -> str:
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return lines[-1] if lines else f"the worker ended with status {status}"

    def close(self) -> None:
        """Ends the process, which frees its memory."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()


@contextlib.contextmanager
def prepared(
    reference: Reference, workload: dict[str, Any]
) -> Iterator[tuple[dict[str, dict[str, Any]], dict[Any, Callable[[], float | None]]]]:
    """Processes that are ready to measure a workload, until the context ends.

    Args:
      reference: What is measured.
      workload: Workload that :func:`benchmarks.reference_programs.build` takes.

    Yields:
      Columns of the result for each name in :data:`ENVIRONMENTS`, and timers for
      :func:`benchmarks.measuring.medians`, keyed by ``(implementation, location), program``. Both
      change when a process ends: the column ``skipped`` says why.
    """
    columns: dict[str, dict[str, Any]] = {}
    timers: dict[Any, Callable[[], float | None]] = {}
    with contextlib.ExitStack() as stack:
        for implementation, environment in ENVIRONMENTS.items():
            worker = Worker(reference, environment)
            stack.callback(worker.close)
            own = columns[implementation] = {}
            # A third of the memory each, as this process takes some too.
            limit = 2 * memory_limit() // 3
            reply = ask(worker, own, prepare=workload, memory_limit=limit)
            if reply is None:
                worker.close()
                continue
            own.update(temp_bytes=reply["peak_bytes"], torch=reply["torch"])
            for program in reply["programs"]:
                case = (implementation, LOCATION)
                timers[case, program] = functools.partial(measure, worker, own, program)
        yield columns, timers


def measure(worker: Worker, columns: dict[str, Any], program: str) -> float | None:
    """Milliseconds of one call, or None."""
    reply = ask(worker, columns, measure=program)
    return None if reply is None else reply["milliseconds"]


def ask(worker: Worker, columns: dict[str, Any], **request: Any) -> dict[str, Any] | None:
    """The answer, or None where the worker fails or has failed before: ``skipped`` says why."""
    if columns.get("skipped") is not None:
        return None
    try:
        return worker.ask(**request)
    except WorkerError as error:
        columns["skipped"] = str(error)
        return None

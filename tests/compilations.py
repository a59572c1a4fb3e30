"""Counts what each file of tests compiles: ``pytest -p tests.compilations``.

Compiling takes nearly all of the suite's time, so that this table says where to look. Seconds are
processor time of the whole file; of them those of tracing, of lowering and of XLA.
"""

import collections
import time

import jax
import pytest

PARTS = {
    "/jax/core/compile/jaxpr_trace_duration": "trace",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower",
    "/jax/core/compile/backend_compile_duration": "compile",
}


class Counter:
    """Programs and seconds of each file."""

    def __init__(self):
        self.rows = collections.defaultdict(collections.Counter)
        self.file = None
        jax.monitoring.register_event_duration_secs_listener(self._record)

    def _record(self, event: str, seconds: float, **_) -> None:
        if self.file is None or event not in PARTS:
            return
        row = self.rows[self.file]
        row[PARTS[event]] += seconds
        row["programs"] += PARTS[event] == "compile"

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item):
        self.file = item.location[0]
        began = time.process_time()
        yield
        row = self.rows[self.file]
        row["tests"] += 1
        row["seconds"] += time.process_time() - began
        self.file = None

    def pytest_terminal_summary(self, terminalreporter):
        columns = ("tests", "programs", "seconds", "trace", "lower", "compile")
        terminalreporter.write_line("".join(f"{c:>9}" for c in columns) + "  file")
        total = collections.Counter()
        for file, row in sorted(self.rows.items(), key=lambda item: -item[1]["seconds"]):
            total.update(row)
            terminalreporter.write_line(_line(row, columns) + f"  {file}")
        terminalreporter.write_line(_line(total, columns) + "  all")


def _line(row, columns) -> str:
    return "".join(
        f"{row[c]:9.0f}" if c in ("tests", "programs") else f"{row[c]:9.1f}" for c in columns
    )


def pytest_configure(config):
    config.pluginmanager.register(Counter())

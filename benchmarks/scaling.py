"""Memory and time of attention against the number of tokens: forward + backward of one layer.

Memory is what the compiler plans, for which nothing runs; time is measured up to what finishes in
seconds. Exponents are slopes of straight lines through the logarithms, from 1,024 tokens on.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
import tyro

from benchmarks.attention import forward_backward, geometry, inputs, write_rows
from benchmarks.measuring import compile_program, medians
from benchmarks.workloads import Workload, get_workload

SIZES = (512, 1_024, 2_048, 4_096, 8_192, 16_384)
MAX_TIMED = {"dense": 2_048, "chunked": 4_096, "representation": 4_096, "plain": 4_096}
KINDS = {"dense": "mlp", "chunked": "mlp", "representation": "none", "plain": "none"}
NUM_ROUNDS = 5


def measure(workload: Workload, sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """One row for each back end and number of tokens."""
    rows, calls = [], {}
    for implementation, kind in KINDS.items():
        function = functools.partial(forward_backward, implementation)
        for size in sizes:
            one = dataclasses.replace(workload, num_points=size // workload.num_samples)
            term = geometry(one, implementation, kind)
            shapes = jax.eval_shape(functools.partial(inputs, one))
            program, _, temp_bytes = compile_program(function, term, shapes)
            rows.append(
                {
                    "implementation": implementation,
                    "location": kind,
                    "tokens": size,
                    "temp_bytes": temp_bytes,
                    "seconds": None,
                }
            )
            if size <= MAX_TIMED[implementation]:
                calls[implementation, size] = functools.partial(program, term, inputs(one))
    for (implementation, size), milliseconds in medians(calls, NUM_ROUNDS).items():
        for row in rows:
            if (row["implementation"], row["tokens"]) == (implementation, size):
                row["seconds"] = round(1e-3 * milliseconds, 5)
    for implementation in KINDS:
        own = [row for row in rows if row["implementation"] == implementation]
        slopes = {
            "memory_exponent": exponent(own, "temp_bytes"),
            "time_exponent": exponent(own, "seconds"),
        }
        for row in own:
            row.update(slopes)
    return rows


def exponent(rows: list[dict[str, Any]], column: str) -> float | None:
    """Slope of a line through the logarithms; None for less than two points."""
    known = [row for row in rows if row[column] is not None and row["tokens"] >= 1_024]
    if len(known) < 2:
        return None
    tokens, values = (np.log([row[name] for row in known]) for name in ("tokens", column))
    return round(float(np.polyfit(tokens, values, 1)[0]), 3)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Both, in doubly logarithmic axes."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    columns = ("temp_bytes", 1e-6, "temporary memory, MB"), ("seconds", 1.0, "processor time, s")
    for axis, (column, scale, label) in zip(axes, columns, strict=True):
        for implementation, kind in KINDS.items():
            own = [r for r in rows if r["implementation"] == implementation and r[column]]
            slope = own[0]["memory_exponent" if column == "temp_bytes" else "time_exponent"]
            text = f"{implementation}, location {kind}: slope {slope}"
            values = [scale * r[column] for r in own]
            axis.loglog([r["tokens"] for r in own], values, "o-", label=text)
        axis.set(xlabel="tokens", ylabel=label)
        axis.minorticks_off()
        sizes = sorted({r["tokens"] for r in rows if r[column]})
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=45)
        axis.legend(fontsize="x-small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(
    json: Path | None = None,
    figure: Path = Path("benchmarks/figures/scaling.png"),
    workload: str = "cloud-se3-1024x4",
) -> None:
    """Measures how memory and time grow with the tokens.

    Args:
      json: File for the rows, a list of objects; by default they go to stdout.
      figure: File for the plot.
      workload: Whose space, width and heads are taken.
    """
    rows = measure(get_workload(workload))
    write_rows(rows, json)
    plot(rows, figure)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)

"""Measures two workloads again, and compares ratios with the recorded ones.

What is compared are times as multiples of plain attention's in the same run, and the memory that
the compiler plans; exits with status 1 where one grew by more than its margin.

With ``--against``, the back ends take turns with those of another checkout in one process instead,
which shows changes of a few percent.
"""

import json
import sys
from pathlib import Path
from typing import Any

import tyro

from benchmarks.attention import measure
from benchmarks.versions import time_ratios
from benchmarks.workloads import get_workload

RECORDED = Path(__file__).parent / "results" / "attention-cpu.json"
NAMES = ("molecules-se3-19x4", "cloud-se3-128x4")
TIME_MARGIN = 2.0
"""Plain attention takes 39 ms in one process and 57 in another, so that ratios vary by 1.5."""
MEMORY_MARGIN = 1.2
AGAINST_CASES = (("dense", "none"), ("dense", "mlp"), ("chunked", "none"), ("chunked", "mlp"))
"""Back ends and location terms that are compared with another checkout's."""
TIMES = ("forward_ms", "forward_backward_ms")


def failures(rows: list[dict[str, Any]], recorded: list[dict[str, Any]]) -> list[str]:
    """What grew beyond its margin, one sentence each.

    Raises:
      ValueError: For a row that is not among the recorded ones.
    """
    known = {_case(row): row for row in recorded if row["skipped"] is None}
    plain = {row["workload"]: row for row in rows if row["implementation"] == "plain"}
    found = []
    for row in rows:
        if row["implementation"] == "plain" or row["skipped"] is not None:
            continue
        case = _case(row)
        if case not in known:
            raise ValueError(f"recorded has no row of {case}")
        then = known[case]
        plain_then = next(
            r for r in known.values()
            if r["implementation"] == "plain" and r["workload"] == row["workload"]
        )  # fmt: skip
        for name in TIMES:
            ratio = row[name] / plain[row["workload"]][name]
            ratio_then = then[name] / plain_then[name]
            if ratio > TIME_MARGIN * ratio_then:
                found.append(
                    f"{case}: {name} is {ratio:.2f} times plain, recorded {ratio_then:.2f}"
                )
        if row["temp_bytes"] > MEMORY_MARGIN * then["temp_bytes"]:
            found.append(
                f"{case}: temp_bytes is {row['temp_bytes']}, recorded {then['temp_bytes']}"
            )
    return found


def _case(row: dict[str, Any]) -> str:
    return ", ".join(str(row.get(name)) for name in ("workload", "implementation", "location"))


def slower(against: Path, num_rounds: int, margin: float) -> list[str]:
    """Which medians of ratios of time are above a margin, one sentence each; all are printed."""
    found = []
    for name in NAMES:
        for case, ratio in time_ratios(against, name, AGAINST_CASES, num_rounds).items():
            sentence = f"{name}, {', '.join(case)}: {ratio:.3f} of the time of {against}"
            print(sentence, file=sys.stderr)
            if ratio > margin:
                found.append(f"{sentence}, more than {margin}")
    return found


def main(
    recorded: Path = RECORDED,
    against: Path | None = None,
    rounds: int = 41,
    margin: float = 1.03,
) -> None:
    """Compares this machine and code with a recorded run, or with another checkout.

    Args:
      recorded: Rows that ``benchmarks.attention --json`` wrote.
      against: Another checkout of this code, such as ``git worktree add`` makes; its times are
        then compared instead.
      rounds: How often each program of the two checkouts takes its turn.
      margin: Ratio of times of the two checkouts above which this code counts as slower.
    """
    if against is not None:
        found = slower(against, rounds, margin)
        rows = 2 * len(NAMES) * len(AGAINST_CASES)
    else:
        measured = [row for name in NAMES for row in measure(get_workload(name))]
        found, rows = failures(measured, json.loads(recorded.read_text())), len(measured)
    for sentence in found:
        print(sentence, file=sys.stderr)
    if found:
        raise SystemExit(1)
    print(f"{rows} rows are within their margins.", file=sys.stderr)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)

"""Plants faults one by one and runs the tests that should notice: see ``make mutants``."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutants.by_hand import FAULTS
from tests.mutants.drawn import DRAWN, draw, read_drawn
from tests.mutants.faults import Fault, PlantingError, plant

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / ".mutants" / "results.json"
COPIED = (
    *("eqattn", "tests", "benchmarks", "colabs", "docs"),
    *("pyproject.toml", "README.md", "CONTRIBUTING.md", "CITATION.cff", "CHANGELOG.md", "LICENSE"),
    "Makefile",
)
LIMIT_SECONDS = 1200
CAUGHT, MISSED, NEVER_RAN, NO_PLACE = "caught", "missed", "never ran", "no place"


def copied_tree(folder: Path) -> None:
    """The tree, as links: only what is planted is written."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, copy_function=os.link)
        elif source.is_file():
            os.link(source, folder / name)


def run(fault: Fault, pytest_args: list[str]) -> dict[str, object]:
    """Plants one fault, and runs its tests until the first that fails."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=RESULTS.parent) as name:
        folder = Path(name)
        copied_tree(folder)
        try:
            plant(folder, fault)
        except PlantingError as error:
            return {"outcome": NO_PLACE, "by": str(error), "seconds": 0.0}
        marker = folder / "ran"
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        command += [*pytest_args, *(f"tests/{test}" for test in fault.tests)]
        environment = os.environ | {"PYTHONPATH": name, "EQATTN_FAULT_RAN": str(marker)}
        try:
            process = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True,
                timeout=LIMIT_SECONDS, check=False,
            )  # fmt: skip
            outcome, text = process.returncode, process.stdout
        except subprocess.TimeoutExpired:
            outcome, text = 1, f"FAILED by running for more than {LIMIT_SECONDS} s"
        seconds = round(time.monotonic() - began, 1)
        failed = [line for line in text.splitlines() if line.startswith(("FAILED", "ERROR"))]
        if not marker.exists():
            return {"outcome": NEVER_RAN, "by": text[-400:], "seconds": seconds}
        if outcome == 0:
            return {"outcome": MISSED, "by": None, "seconds": seconds}
        return {"outcome": CAUGHT, "by": failed[0] if failed else text[-400:], "seconds": seconds}


def summarize(title: str, faults: list[Fault], results: dict[str, dict]) -> bool:
    """Prints what became of a list of faults; whether none of them is an error or was missed."""
    known = {fault.digest: fault for fault in faults if fault.digest in results}
    caught = [digest for digest in known if results[digest]["outcome"] == CAUGHT]
    print(f"{title}: {len(caught)} of {len(faults)} caught, {len(faults) - len(known)} not run")
    for digest, fault in known.items():
        if digest not in caught:
            print(f"  {results[digest]['outcome']}: {fault.name}")
    return len(caught) == len(faults)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--list", choices=("hand", "drawn", "both"), default="both")
    parser.add_argument("--only", help="run faults whose name contains this")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    parser.add_argument("--draw", action="store_true", help="draw the second list anew, and end")
    parser.add_argument("--show", action="store_true", help="show earlier results, and end")
    parser.add_argument("pytest_args", nargs="*", help="more arguments for pytest, after --")
    options = parser.parse_args()
    if options.draw:
        DRAWN.write_text(json.dumps(draw(ROOT), indent=1) + "\n")
        return
    lists = {"hand": list(FAULTS), "drawn": read_drawn()}
    if options.list != "both":
        lists = {options.list: lists[options.list]}
    RESULTS.parent.mkdir(exist_ok=True)
    results = {}
    if RESULTS.exists() and not options.fresh:
        results = json.loads(RESULTS.read_text())
    for faults in () if options.show else lists.values():
        for fault in faults:
            if fault.digest in results or (options.only and options.only not in fault.name):
                continue
            found = run(fault, options.pytest_args)
            results[fault.digest] = {"name": fault.name, **found}
            aside = RESULTS.with_suffix(".new")
            aside.write_text(json.dumps(results, indent=1))
            aside.replace(RESULTS)
            print(f"{found['outcome']:9} {found['seconds']:6} s  {fault.name}", flush=True)
    whole = [summarize(title, faults, results) for title, faults in lists.items()]
    sys.exit(0 if all(whole) else 1)


if __name__ == "__main__":
    main()

"""Draws the errors on QM9 against CPU time: ``python -m benchmarks.qm9_figure``.

It is drawn from the recorded results of :mod:`benchmarks.qm9`: for each target the error on
validation along the longest run, its test at the end, and what was published, whatever that took.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import tyro
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from benchmarks.concept_figures import ACCENT, GRAY, INK, SECOND
from eqattn.tasks.molecules.targets import TARGETS

RESULTS = Path(__file__).parent / "results" / "qm9-cpu.json"
OUTPUT = Path(__file__).parents[1] / "docs" / "figures" / "qm9.png"
_NAMES = ("alpha", "gap", "homo", "lumo", "mu", "cv", "g", "h", "r2", "u", "u0", "zpve")


def _published(*errors: float) -> Mapping[str, float]:
    return dict(zip(_NAMES, errors, strict=True))


PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "LieTransformer-SE(3)": _published(0.104, 52, 33, 29, 0.061, 0.041, 23, 27, 2.29, 26, 26, 3.55),
    "LieTransformer-T(3)": _published(0.082, 51, 33, 27, 0.041, 0.035, 19, 17, 0.448, 16, 17, 2.10),
    "LieConv-SE(3)": _published(0.097, 45, 27, 25, 0.039, 0.041, 39, 46, 2.18, 49, 48, 3.27),
}
"""Mean absolute errors on the test (arXiv:2012.10885, table of QM9), in the units of
:mod:`benchmarks.qm9`. LieTransformer-T(3) was trained on molecules that were rotated at random."""
STYLES = {
    "LieTransformer-SE(3)": (SECOND, "-"),
    "LieTransformer-T(3)": (SECOND, ":"),
    "LieConv-SE(3)": (GRAY, "--"),
}
HOURS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 4, 8)
"""Ticks of the axis."""
COLUMNS = 3
UNITS = {"bohr^3": "bohr³", "bohr^2": "bohr²"}


def longest_runs(rows: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Returns the run of each target that took longest, in the order of the targets.

    Args:
      rows: Recorded rows.
    """
    longest = {row["target"]: row for row in sorted(rows, key=lambda row: row["cpu_hours"])}
    return {name: longest[name] for name in TARGETS if name in longest}


def draw(ax: Axes, row: Mapping[str, Any]) -> None:
    """Draws the errors of a run against CPU hours.

    Args:
      ax: Where to draw.
      row: Its recorded row.
    """
    hours, _, errors = zip(*row["curve"], strict=True)
    label = f"eqattn, {row['parameters']:,} parameters: validation"
    ax.loglog(hours, errors, color=ACCENT, lw=2, label=label)
    ax.loglog(row["cpu_hours"], row["test"], "o", color=ACCENT, ms=6, label="the same: test")
    for name, published in PUBLISHED.items():
        color, line = STYLES[name]
        error = published[row["target"]]
        label = f"{name}, published: {error:g}"
        ax.axhline(error, color=color, lw=1.2, ls=line, label=label)
    target = TARGETS[row["target"]]
    unit = UNITS.get(row["unit"], row["unit"])
    ax.set_title(f"{target.symbol}, test {row['test']:.3g} {unit}", loc="left", fontsize=11)
    ax.title.set_color(INK)
    ax.set_xlabel("CPU hours, all included", fontsize=9.5, color=GRAY)
    ax.set_ylabel(f"mean absolute error, {unit}", fontsize=9.5, color=GRAY)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter("{x:g}")
    ax.set_xticks(HOURS, [f"{hour:g}" for hour in HOURS])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(hours[0] / 1.2, row["cpu_hours"] * 1.2)
    ax.tick_params(which="both", labelsize=8.5, colors=GRAY, length=3)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(fontsize=8, frameon=False, labelcolor=INK)


def main(results: Path = RESULTS, output: Path = OUTPUT) -> None:
    """Writes the figure.

    Args:
      results: File of the recorded results.
      output: File for the figure.
    """
    mpl.use("Agg")
    runs = longest_runs(json.loads(results.read_text()))
    columns = min(COLUMNS, len(runs))
    lines = -(-len(runs) // columns)
    figure = plt.figure(figsize=(4.8 * columns, 3.8 * lines), layout="constrained", dpi=110)
    for number, row in enumerate(runs.values(), start=1):
        draw(figure.add_subplot(lines, columns, number), row)
    figure.savefig(output, facecolor="white")
    plt.close(figure)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)

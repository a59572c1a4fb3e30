"""Makes the figure of springs in docs/results.md: ``python -m benchmarks.springs_figure``.

It is drawn from the recorded results of :mod:`benchmarks.springs`: errors over 5 steps and over 100
against the number of training trajectories, one dot for each seed and a line through their
geometric means, beside the published ones and those of the solver with the true potential.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import tyro
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.concept_figures import ACCENT, GRAY, INK, SECOND

RESULTS = Path(__file__).parent / "results" / "springs-cpu.json"
OUTPUT = Path(__file__).parents[1] / "docs" / "figures" / "springs.png"
PUBLISHED: Mapping[str, Mapping[str, Mapping[int, float]]] = {
    "mse5": {
        "LieTransformer-T(2)": {100: 2.5e-5, 1_000: 5.7e-6, 3_000: 1.2e-6, 10_000: 4.6e-7},
        "LieConv": {10_000: 2.1e-6},
    },
    "mse100": {
        "LieTransformer-T(2)": {10_000: 7.5e-4},
        "LieConv": {10_000: 3.4e-3},
    },
}
"""Published errors (arXiv:2012.10885) by metric, model and number of trajectories, read off a plot
with logarithmic axes: each may be 30 % off."""
READING = 0.3
TITLES = {"mse5": "Squared error over 5 steps", "mse100": "Squared error over 100 steps"}
STYLES = {"LieTransformer-T(2)": (SECOND, "s"), "LieConv": (GRAY, "^")}


def means(rows: Sequence[Mapping[str, Any]], metric: str) -> dict[int, float]:
    """Returns the geometric mean over seeds by the number of trajectories.

    Args:
      rows: Recorded rows.
      metric: Name of the error.
    """
    sizes = sorted({row["trajectories"] for row in rows})
    values = {n: [row[metric] for row in rows if row["trajectories"] == n] for n in sizes}
    return {n: float(np.exp(np.mean(np.log(found)))) for n, found in values.items()}


def draw(ax: Axes, found: Mapping[str, Any], metric: str) -> None:
    """Draws one error against the number of trajectories.

    Args:
      ax: Where to draw.
      found: Recorded results.
      metric: Name of the error.
    """
    usual = min(row["steps"] for row in found["runs"])
    rows = [row for row in found["runs"] if row["steps"] == usual]
    for name, curve in PUBLISHED[metric].items():
        color, marker = STYLES[name]
        sizes, values = np.array(list(curve)), np.array(list(curve.values()))
        spread = np.stack([values * READING / (1 + READING), values * READING])
        label = f"{name}, published"
        ax.errorbar(sizes, values, spread, color=color, marker=marker, ms=6, lw=1.8, label=label)
    curve = means(rows, metric)
    label = f"eqattn, {rows[0]['parameters']:,} parameters, {usual:,} steps"
    ax.loglog(list(curve), list(curve.values()), "-", color=ACCENT, lw=2, label=label)
    own = [[row[name] for row in rows] for name in ("trajectories", metric)]
    ax.loglog(*own, "o", color=ACCENT, ms=5, alpha=0.8)
    for steps in sorted({row["steps"] for row in found["runs"]} - {usual}):
        longer = [row for row in found["runs"] if row["steps"] == steps]
        own = [[row[name] for row in longer] for name in ("trajectories", metric)]
        ax.loglog(*own, "D", color=ACCENT, mfc="white", ms=6, label=f"the same, {steps:,} steps")
    solver = found["solver"][metric]
    ax.axhline(solver, color=GRAY, lw=1, ls=(0, (4, 3)), label="true potential, same solver")
    ax.set_xticks(list(curve), [f"{size:,}" for size in curve])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_locator(LogLocator(numticks=12))
    ax.set_xlabel("training trajectories", fontsize=9.5, color=GRAY)
    ax.set_title(TITLES[metric], loc="left", fontsize=11, color=INK)
    ax.tick_params(labelsize=8.5, colors=GRAY, length=3)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.grid(axis="y", color="#eceef1", lw=0.8)
    ax.set_axisbelow(True)


def main(results: Path = RESULTS, output: Path = OUTPUT) -> None:
    """Writes the figure.

    Args:
      results: File of the recorded results.
      output: File for the figure.
    """
    mpl.use("Agg")
    found = json.loads(results.read_text())
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 3.8), layout="constrained", dpi=110)
    for ax, metric in zip(axes, TITLES, strict=True):
        draw(ax, found, metric)
    axes[1].legend(fontsize=8.5, frameon=False, labelcolor=INK, loc="upper left")
    figure.savefig(output, facecolor="white")
    plt.close(figure)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)

"""Draws errors against time on charged particles: ``.venv/bin/python -m benchmarks.nbody_figure``.

It reads ``results/nbody-cpu.json``, which ``python -m benchmarks.nbody --json-path`` writes.
"""

import json
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

from benchmarks.concept_figures import ACCENT, GRAY, SECOND

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "nbody-cpu.json"
FIGURE = ROOT / "docs" / "figures" / "nbody.png"
PUBLISHED = {"EGNN": 0.0070, "SEGNN": 0.0043}
"""Mean squared errors on the test (arXiv 2102.09844, 2110.02905)."""


def main() -> None:
    """Writes the figure."""
    mpl.use("Agg")
    rows = json.loads(RESULTS.read_text())
    grid = [row for row in rows if row["model"].startswith("EGNN ")]
    best = min(grid, key=lambda row: row["validation"])
    models = {
        ("FieldNetwork", ACCENT, 2.0): [row for row in rows if row["model"] == "demo"],
        ("EGNN, chosen of six", SECOND, 2.0): [
            best,
            *(row for row in rows if row["model"] == "EGNN, chosen"),
        ],
        ("EGNN, the other five", GRAY, 0.6): [row for row in grid if row is not best],
    }
    figure, ax = plt.subplots(figsize=(6.6, 3.8), layout="constrained", dpi=100)
    for (name, color, width), runs in models.items():
        for number, run in enumerate(runs):
            label = name if number == 0 else None
            ax.plot(*zip(*run["curve"], strict=True), color=color, lw=width, label=label)
    for name, error in PUBLISHED.items():
        ax.axhline(error, color=GRAY, lw=1, ls=":")
        ax.annotate(
            f"{name}, published (test)",
            (1, error),
            xycoords=("axes fraction", "data"),
            xytext=(0, -12),
            textcoords="offset points",
            ha="right",
            fontsize=9,
            color=GRAY,
        )
    ax.set(yscale="log", ylim=(0.003, 0.05), xlim=(0, None))
    ax.set(xlabel="CPU seconds without compilation", ylabel="mean squared error on validation")
    ticks = (0.003, 0.005, 0.01, 0.02, 0.05)
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    figure.savefig(FIGURE, facecolor="white")


if __name__ == "__main__":
    main()

"""Pictures of a run: its learning curve, and what its task shows of a split.

Tasks say what is to be seen, as :class:`eqattn.tasks.Panel` objects; only this file draws. It
never touches matplotlib's global state, and needs no display.
"""

from __future__ import annotations

import itertools
import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from flax import nnx

from eqattn.config import SavedConfig
from eqattn.files import written_aside
from eqattn.tasks import DrawingProblem, Panel, Series, get_task
from eqattn.tasks.core.frames import DRAWN
from eqattn.train.evaluation import make_predictor, predict_split
from eqattn.train.metrics import read_metrics
from eqattn.train.model_files import load_checkpoint
from eqattn.train.run_folder import read_run_config

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "learning_curve", "plot_run"]

PLOTS_NAME = "plots"
DPI = 150
WIDTH, HEIGHT = 4.3, 4.0  # of one panel, in inches
MAP_WIDTH, MAP_HEIGHT = 12.0, 5.8
COLORS = ("#0b6fa4", "#d1603d", "#3a8a5f", "#7a5aa6")
GRAY, LIGHT_GRAY = "#777777", "#c9ced6"
STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "legend.fontsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "savefig.facecolor": "white",
}


def plot_run(
    directory: str | os.PathLike[str], out: str | os.PathLike[str] | None = None
) -> tuple[Path, ...]:
    """Draws ``learning_curve.png``, and the figures of the task on the test split.

    For molecules these are ``predictions.png``: predicted against true values, one panel for each
    target, with the mean absolute error.

    Args:
      directory: A run folder.
      out: Folder for the files, of which none may exist yet; by default ``plots`` in the run
        folder, where they are drawn anew.

    Returns:
      The paths of the files.

    Raises:
      FileExistsError: If a file in ``out`` exists already.
      FileNotFoundError: If it is not a run folder, or its data are missing.
      OSError: If the files cannot be written.
      ValueError: If the folder is damaged, or the run has logged nothing yet.
    """
    config = read_run_config(directory)
    path = Path(directory).expanduser().absolute()
    folder = path / PLOTS_NAME if out is None else Path(out).expanduser().absolute()
    figures = {"learning_curve": learning_curve(path, config), **_figures_of_task(path)}
    files = {folder / f"{name}.png": panels for name, panels in figures.items()}
    for file in files:
        if out is not None and file.exists():
            raise FileExistsError(f"{file} exists already; choose another place.")
    folder.mkdir(parents=True, exist_ok=True)
    for file, panels in files.items():
        with written_aside(file) as aside:
            draw(panels).savefig(aside, format="png", dpi=DPI)
    return tuple(files)


def learning_curve(path: Path, config: SavedConfig) -> tuple[Panel, ...]:
    """Returns the panels of the learning curve: the loss, and each metric of the validation split.

    Args:
      path: A run folder.
      config: Configuration of the run.

    Raises:
      ValueError: If the run has logged nothing yet, or its log is damaged.
    """
    rows = read_metrics(path)
    train = [row for row in rows if row.get("split") == "train"]
    validation = [row for row in rows if row.get("split") == "validation"]
    losses = (
        _series("training", [(row["step"], row.get("loss")) for row in train]),
        _series("validation", [(row["step"], row.get("loss")) for row in validation], "marked"),
    )
    losses = tuple(series for series in losses if len(series.x))
    if not losses:
        raise ValueError(f"{path} has no metrics to plot yet.")
    panels = [Panel("loss", "training step", "loss (standardized)", losses, log_y=True)]
    units = {**get_task(config.task).targets}
    units |= {constants.target: constants.unit for constants in config.standardization}
    for target, metric in dict.fromkeys(
        (target, metric)
        for row in validation
        for target, metrics in row["metrics"].items()
        for metric in metrics
    ):
        points = [(row["step"], row["metrics"].get(target, {}).get(metric)) for row in validation]
        series = _series("", points, "marked")
        name = metric.upper() if len(metric) <= 3 else metric.replace("_", " ")
        is_share = metric == DRAWN  # which has no unit, and may be 0
        has_unit = not is_share and units.get(target, "1") != "1"
        unit = f" [{units[target]}]" if has_unit else ""
        note = f"lowest: {np.min(series.y):.3g}" if len(series.y) else ""
        panels.append(
            Panel(
                f"{target} on the validation split",
                "training step",
                f"{name}{unit}",
                (series,),
                note=note + unit.replace("[", "").replace("]", ""),
                log_y=not is_share,
            )
        )
    return tuple(panels)


def draw(panels: Sequence[Panel]) -> Figure:
    """Returns a figure of the panels, in rows of at most three; maps stand alone.

    Args:
      panels: Panels of the figure, one or more.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    has_maps = any(panel.is_map for panel in panels)
    columns = 1 if has_maps else min(len(panels), 3 if len(panels) != 4 else 2)
    width, height = (MAP_WIDTH, MAP_HEIGHT) if has_maps else (WIDTH, HEIGHT)
    rows = -(-len(panels) // columns)
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)  # in inches
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width * columns, height * rows), layout=layout)
        FigureCanvasAgg(figure)
        for index, panel in enumerate(panels):
            _draw_panel(figure.add_subplot(rows, columns, index + 1), panel)
    return figure


def _figures_of_task(path: Path) -> Mapping[str, Sequence[Panel]]:
    model, config, _ = load_checkpoint(path)
    if not isinstance(config, SavedConfig):
        return {}
    problem = get_task(config.task).prepare(config, standardization=config.standardization)
    if not isinstance(problem, DrawingProblem):
        return {}
    graphdef, params = nnx.split(model, nnx.Param)
    predictor = make_predictor(graphdef, problem, config.num_lifts)
    return problem.figures("test", predict_split(predictor, params, problem, "test"))


def _series(label: str, points: Iterable[tuple[int, Any]], style: Any = "line") -> Series:
    """Returns the points that have a value; one that is not finite was logged as null."""
    kept = [(step, value) for step, value in points if isinstance(value, int | float)]
    return Series(label, [float(step) for step, _ in kept], [float(v) for _, v in kept], style)


def _draw_panel(axes: Axes, panel: Panel) -> None:
    axes.set_title(
        textwrap.fill(panel.title, 100 if panel.is_map else 36), loc="left", fontweight="bold"
    )
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    for color, series in zip(itertools.cycle(COLORS), panel.series, strict=False):
        options: dict[str, Any] = {
            "line": {"linewidth": 1.4},
            "dashes": {"linewidth": 1.4, "linestyle": "--"},
            "marked": {"linewidth": 1.4, "marker": "o", "markersize": 4},
            "background": {
                "linewidth": 2.5 if panel.is_map else 4.0,
                "color": LIGHT_GRAY,
                "zorder": 1.5,
            },
            "outline": {"linewidth": 0.6, "color": GRAY, "zorder": 1.2},
            "dots": {"linestyle": "", "marker": "o", "markersize": 4, "alpha": 0.5, "mew": 0},
        }[series.style]
        options = {"color": color, "label": series.label or None, **options}
        axes.plot(series.x, series.y, **options)
    if panel.is_spatial:
        axes.set_aspect("equal", adjustable="datalim")
    if panel.is_map:
        _make_geographic(axes)
    if panel.is_comparison:
        _make_comparable(axes, panel)
    if panel.log_y:
        _make_logarithmic(axes, panel)
    if any(series.label for series in panel.series):
        options = {"loc": "upper left", "ncols": 4} if panel.is_map else {}
        axes.legend(frameon=False, **options)
    if panel.note:
        place = (0.04, 0.96, "left") if panel.is_comparison else (0.96, 0.96, "right")
        axes.text(*place[:2], panel.note, transform=axes.transAxes, ha=place[2], va="top")


def _make_comparable(axes: Axes, panel: Panel) -> None:
    """Gives both axes the limits of all values, and draws the identity."""
    from matplotlib.ticker import MaxNLocator

    values = np.concatenate([np.append(series.x, series.y) for series in panel.series])
    low, high = float(np.min(values)), float(np.max(values))
    margin = 0.05 * (high - low or 1.0)
    limits = low - margin, high + margin
    axes.plot(limits, limits, color=GRAY, linewidth=1.0, linestyle="--", zorder=1.5)
    axes.set_xlim(limits)
    axes.set_ylim(limits)
    axes.set_aspect("equal")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_locator(MaxNLocator(6))


def _make_geographic(axes: Axes) -> None:
    """Shows the whole globe in a plate carrée, with a line every 30°."""
    from matplotlib.ticker import MultipleLocator

    axes.set_aspect("equal")
    axes.set_xlim(-195.0, 195.0)
    axes.set_ylim(-90.0, 98.0)  # with room for the legend
    axes.xaxis.set_major_locator(MultipleLocator(30.0))
    axes.yaxis.set_major_locator(MultipleLocator(30.0))


def _make_logarithmic(axes: Axes, panel: Panel) -> None:
    """Makes the vertical axis logarithmic, with ticks on round numbers; not for values below 0."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    values = np.concatenate([np.ravel(series.y) for series in panel.series])
    if not values.size or values.min() <= 0:
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    decades = float(np.log10(values.max() / values.min()))
    if decades < 1:
        axes.yaxis.set_major_locator(MaxNLocator(6))
    else:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)))

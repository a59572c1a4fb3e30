"""What is drawn, read from the figures; the files are PNG."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from eqattn.plot import draw, learning_curve, plot_run
from eqattn.tasks import Panel, Series
from eqattn.tasks.core import registry
from eqattn.tasks.core.frames import DRAWN
from eqattn.train import train
from eqattn.train.run_folder import read_run_config
from tests.grids import each_once
from tests.train.conftest import toy_task  # noqa: F401
from tests.train.toy import PRESET, ToyProblem

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that each test gets a copy of."""
    path = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "TASKS", {"toy": ("tests.train.toy", "ToyTask")})
        train(dataclasses.replace(PRESET, steps=20, eval_every=5), path)
    return path


@pytest.fixture
def run(tmp_path, trained, toy_task):  # noqa: F811
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_the_learning_curve_is_drawn_anew(run):
    for _ in range(2):
        (path,) = plot_run(run)
        assert path == run / "plots" / "learning_curve.png"
        assert path.read_bytes().startswith(PNG)
    assert [p.name for p in (run / "plots").iterdir()] == ["learning_curve.png"]


def test_elsewhere_nothing_is_overwritten(run, tmp_path):
    plot_run(run, tmp_path / "there")
    with pytest.raises(FileExistsError, match=r"learning_curve.png exists already"):
        plot_run(run, tmp_path / "there")


def test_a_task_adds_its_figures(run, monkeypatch):
    def figures(self, split, predictions):
        assert split == "test"
        error = predictions["error"][:, 0]
        return {
            "errors": [
                Panel("errors", "example", "m", (Series("a", np.arange(len(error)), error),))
            ]
        }

    monkeypatch.setattr(ToyProblem, "figures", figures, raising=False)
    assert [path.name for path in plot_run(run)] == ["learning_curve.png", "errors.png"]


def test_a_share_has_no_unit_and_may_be_zero(run):
    """That of drawn frames, beside a target in meters."""
    path = run / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        if row["split"] == "validation":
            row["metrics"]["a"][DRAWN] = 0.0
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, first, share, _ = learning_curve(run, read_run_config(run))
    assert (share.y_label, share.note, share.log_y) == ("frames drawn", "lowest: 0", False)
    assert (first.y_label, first.log_y) == ("MAE [m]", True)


def test_the_learning_curve_shows_losses_and_metrics_with_units(run):
    losses, first, second = learning_curve(run, read_run_config(run))
    assert [series.label for series in losses.series] == ["training", "validation"]
    assert list(losses.series[0].x) == [5, 10, 15, 20]
    assert (first.title, first.y_label) == ("a on the validation split", "MAE [m]")
    assert second.title.startswith("b")
    assert first.note == f"lowest: {min(first.series[0].y):.3g} m"
    axes = draw([losses, first, second]).axes
    assert [a.get_yscale() for a in axes] == ["log"] * 3
    assert axes[0].get_legend() is not None


def test_values_that_were_not_finite_are_left_out(run):
    with (run / "metrics.jsonl").open("a") as file:
        row = {"step": 25, "split": "train", "loss": None, "metrics": {}}
        file.write(json.dumps(row) + '\n{"step": 3')
    losses, *_ = learning_curve(run, read_run_config(run))
    assert list(losses.series[0].x) == [5, 10, 15, 20]


def test_without_metrics_there_is_nothing_to_plot(run):
    (run / "metrics.jsonl").write_text("")
    with pytest.raises(ValueError, match="has no metrics to plot yet"):
        plot_run(run)


def test_compared_quantities_share_their_limits():
    points = Series("", np.array([0.0, 4.0]), np.array([1.0, 2.0]), "dots")
    (axes,) = draw([Panel("t", "x", "y", (points,), note="n", is_comparison=True)]).axes
    assert axes.get_xlim() == axes.get_ylim() == pytest.approx((-0.2, 4.2))
    assert len(axes.lines) == 2


@pytest.mark.parametrize(
    ("values", "number"),
    each_once([[1.0, 2.0], [0.1, 5.0], [1e-6, 1.0], [0.0, 1.0], []], [1, 4, 7]),
)
def test_any_values_can_be_drawn(tmp_path, values, number):
    places = [float(place) for place in range(len(values))]
    panel = Panel("t", "x", "y", (Series("s", places, values),), log_y=True)
    figure = draw([panel] * number)
    figure.savefig(tmp_path / "a.png")
    assert len(figure.axes) == number
    assert (figure.axes[0].get_yscale() == "log") == (min(values, default=0) > 0)


def test_maps_show_the_globe_one_below_the_other():
    line = Series("", np.array([-180.0, 180.0]), np.array([0.0, 0.0]), "outline")
    figure = draw(
        [Panel(name, "longitude [°]", "latitude [°]", (line,), is_map=True) for name in "ab"]
    )
    first, second = figure.axes
    assert first.get_position().y0 > second.get_position().y0
    assert first.get_position().x0 == pytest.approx(second.get_position().x0)
    for axes in figure.axes:
        assert axes.get_xlim()[0] <= -180 < 180 <= axes.get_xlim()[1]
        assert axes.get_ylim()[0] <= -90 < 90 <= axes.get_ylim()[1]
        assert axes.get_aspect() == 1.0

"""The benchmark of springs runs, records and draws; what it measures is not judged here."""

import dataclasses
import json

import pytest

from benchmarks import runs, springs, springs_figure
from benchmarks.runs import Clock
from eqattn.models import PotentialMLPConfig
from eqattn.tasks import Score, get_preset
from eqattn.train import RunResult
from eqattn.train.progress import Update


def tiny_springs():
    demo = get_preset("springs", "demo")
    model = dataclasses.replace(demo.model, potential=PotentialMLPConfig(dim=4, num_layers=1))
    options = dataclasses.replace(demo.options, num_validation=2, num_test=2)
    return dataclasses.replace(
        demo, model=model, options=options, batch_size=2, steps=30, eval_every=30
    )


@pytest.mark.slow
def test_springs_are_trained_once_for_each_size_and_seed(tmp_path, monkeypatch):
    monkeypatch.setenv("EQATTN_DATA", str(tmp_path / "cache"))
    rows = list(springs.measure(tmp_path, [2], [0], tiny_springs()))
    assert [(row["trajectories"], row["seed"], row["steps"]) for row in rows] == [(2, 0, 30)]
    assert all(rows[0][name] > 0 for name in ("mse5", "mse100", "validation", "cpu_seconds"))
    assert rows[0]["parameters"] == (4 * 6 + 1) * 4 + 4 + 1
    monkeypatch.setattr(springs, "train_once", None)
    assert list(springs.measure(tmp_path, [2], [0], tiny_springs())) == rows
    other = dataclasses.replace(tiny_springs(), batch_size=1)
    with pytest.raises(SystemExit, match="run with batch_size 2, not 1; take another folder"):
        list(springs.measure(tmp_path, [2], [0], other))


@pytest.mark.slow
def test_the_errors_of_the_true_potential_are_those_of_the_solver(tmp_path, monkeypatch):
    """Of order 2: twice the steps have a quarter of the error, and a sixteenth of its square."""
    monkeypatch.setenv("EQATTN_DATA", str(tmp_path / "cache"))
    demo = tiny_springs()
    options = [dataclasses.replace(demo.options, num_train=1, num_substeps=n) for n in (1, 2)]
    few, more = (springs.solver_errors(dataclasses.replace(demo, options=o)) for o in options)
    assert list(few) == ["mse5", "mse100"]
    for name in few:
        assert 12 < few[name] / more[name] < 18


def test_rows_of_springs_are_recorded_and_drawn(tmp_path, monkeypatch):
    """All sizes with one seed come before the next; validation is the best on the way."""

    def train_once(config, folder, reporter):
        folder.mkdir(parents=True)
        errors = [{"springs": {"mse5": value}} for value in (3e-6, 1e-6, 2e-6)]
        lines = [json.dumps({"split": "validation", "metrics": error}) for error in errors]
        (folder / "metrics.jsonl").write_text("\n".join([*lines, '{"split": "train"}']))
        reporter.seconds, reporter.steps = 2.0, 20
        error = 1e-3 / config.options.num_train * (1 + config.seed)
        scores = tuple(Score("springs", name, error, 1.0, "1") for name in ("mse5", "mse100"))
        return RunResult(scores, 7, config.steps, 1.0, folder)

    errors = {"mse5": 1e-8, "mse100": 1e-6}
    monkeypatch.setattr(springs, "train_once", train_once)
    monkeypatch.setattr(springs, "solver_errors", lambda config: errors)
    recorded = tmp_path / "rows.json"
    springs.main((10_000,), 1, out=tmp_path, json_path=recorded)
    springs.main((100, 10_000), 2, out=tmp_path / "all", json_path=recorded)
    found = json.loads(recorded.read_text())
    rows = found["runs"]
    assert found["solver"] == errors
    assert [row["seed"] for row in rows] == [0, 0, 1, 1]
    assert [row["trajectories"] for row in rows] == [100, 10_000] * 2
    assert {row["validation"] for row in rows} == {1e-6}
    steps = get_preset("springs", springs.PRESET).steps
    assert {(row["steps"], row["cpu_seconds"]) for row in rows} == {(steps, steps / 10)}
    mean = springs_figure.means(rows, "mse5")
    assert mean == pytest.approx({100: 2**0.5 * 1e-5, 10_000: 2**0.5 * 1e-7})
    springs_figure.main(recorded, tmp_path / "springs.png")
    assert (tmp_path / "springs.png").stat().st_size > 10_000


def test_the_clock_of_a_run_counts_steps_between_evaluations(tmp_path, monkeypatch):
    """Neither what compiles nor evaluations count; another process goes on with the count."""
    times = iter((5.0, 6.0, 8.0, 20.0, 23.0, 100.0, 101.0))
    monkeypatch.setattr(runs.time, "process_time", lambda: next(times))
    clock = Clock(tmp_path / "clock.json")
    for step in (10, 20, 30):
        clock.update(Update(step, 60, 0.0, 1.0, 1.0))
    clock.note("an evaluation")
    for step in (40, 50):
        clock.update(Update(step, 60, 0.0, 1.0, 1.0))
    clock.note("another")
    assert (clock.seconds, clock.steps) == (6.0, 30)
    clock = Clock(tmp_path / "clock.json")
    for step in (50, 60):
        clock.update(Update(step, 60, 0.0, 1.0, 1.0))
    assert clock.seconds_per_step == 7.0 / 40

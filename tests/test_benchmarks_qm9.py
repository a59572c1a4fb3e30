"""The benchmark of QM9 runs, goes on, records and draws; what it measures is not judged here."""

import dataclasses
import json
import time
from typing import Any

import pytest

from benchmarks import qm9, qm9_figure, timed
from eqattn.models import AtomSumConfig
from eqattn.tasks import get_preset, get_task
from eqattn.tasks.molecules.presets import MoleculesOptions
from eqattn.tasks.molecules.targets import TARGETS
from eqattn.train.progress import Update


def tiny(*targets):
    preset = get_preset("molecules", "qm9")
    network: Any = preset.model.network
    layer = dataclasses.replace(network.layer, num_heads=2)
    small = dataclasses.replace(
        preset,
        data="embedded",
        batch_size=32,
        options=MoleculesOptions(buckets=(29,)),
        model=preset.model.replace_network(dim=4, num_layers=1, layer=layer),
    )
    return qm9.run_config([*targets], 0, small)


def test_targets_have_models_of_their_form():
    for name, target in TARGETS.items():
        model = qm9.run_config([name]).model
        model.check()
        form = model.form if isinstance(model, AtomSumConfig) else None
        assert form == target.form
        network: Any = model.network
        assert network.output == ("invariant" if form is None else "per_point")
    preset = get_preset("molecules", "qm9")
    assert qm9.run_config(preset.targets) == preset
    with pytest.raises(SystemExit, match=r"^--targets: some of mu, alpha, .* got 'gap, size'\.$"):
        qm9.run_config(["gap", "size"])
    with pytest.raises(SystemExit, match=r"^--targets: some of mu, alpha, .* got ''\.$"):
        qm9.run_config([])
    with pytest.raises(SystemExit, match="of one form, got gap intensive, u0 sum, alpha sum"):
        qm9.run_config(["gap", "u0", "alpha"])


class KilledError(Exception):
    """Stands for the end of a process."""


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_and_one_that_ended_is_not_run_again(tmp_path, monkeypatch):
    monkeypatch.setattr(qm9, "NUM_EVALUATIONS", 3)
    monkeypatch.setattr(qm9, "steps_within", lambda config, problem, seconds, spent: 7)

    class Mortal(qm9.CpuTime):
        def update(self, update):
            super().update(update)
            if update.step == 6:
                raise KilledError

    folder = tmp_path / "run"
    with monkeypatch.context() as first:
        first.setattr(qm9, "CpuTime", Mortal)
        with pytest.raises(KilledError):
            qm9.measure(tiny("u0", "cv"), 20.0, None, folder)
    before = json.loads((folder / qm9.TIME_NAME).read_text())["seconds"]
    monkeypatch.setattr(qm9, "steps_within", None)  # its schedule is the one that it began with
    row, other = rows = qm9.measure(tiny("u0", "cv"), 20.0, None, folder)
    assert [(row["target"], row["unit"]) for row in rows] == [("u0", "meV"), ("cv", "cal/(mol K)")]
    assert all((row["steps"], row["batch_size"]) == (7, 32) for row in rows)
    assert row["passes"] == pytest.approx(7 * 32 / 2_400, abs=0.01)
    assert [point[:2] for point in other["curve"]] == [point[:2] for point in row["curve"]]
    hours, passes, errors = zip(*row["curve"], strict=True)
    assert len(hours) == 3
    assert 0 < hours[0] < before / 3600 < hours[1] < hours[2] < row["cpu_hours"]
    assert passes == pytest.approx([step * 32 / 2_400 for step in (3, 6, 7)], abs=1e-3)
    assert row["validation"] in errors
    assert 0 < row["test"] < 10 * row["constant"]
    monkeypatch.setattr(qm9, "train_once", None)
    assert qm9.measure(tiny("u0", "cv"), 20.0, None, folder) == json.loads(json.dumps(rows))
    with pytest.raises(SystemExit, match="holds a run with steps 7, not 8; take another folder"):
        qm9.measure(tiny("u0", "cv"), 20.0, 8, folder)


@pytest.mark.slow
def test_a_time_without_a_step_is_refused_and_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(timed, "MEASURED", 5)
    with pytest.raises(SystemExit, match=r"^--cpu-hours must be more than 0\.\d+, which no step"):
        qm9.measure(tiny("gap"), 0.1, None, tmp_path / "short")
    assert not (tmp_path / "short").exists()


def test_steps_are_what_the_time_leaves_beside_evaluations(monkeypatch):
    """Measured in a pretended time: compilation and an evaluation take 30 s, further ones 2 s."""
    times = iter((0.0, 30.0, 30.0, 32.0, 100.0))
    monkeypatch.setattr(qm9.time, "process_time", lambda: next(times))
    monkeypatch.setattr(qm9, "seconds_per_step", lambda *_: 0.5)
    monkeypatch.setattr(qm9, "scores_of", lambda *_: ())
    monkeypatch.setattr(qm9, "NUM_EVALUATIONS", 10)
    problem: Any = get_task("molecules").prepare(tiny("gap"))
    monkeypatch.setattr(problem, "batch_of_each_shape", list)
    spent = qm9.CpuTime(began=0.0)
    assert qm9.steps_within(tiny("gap"), problem, 650.0, spent) == (650 - 100 - 30 - 10 * 2) / 0.5


def test_the_time_of_a_run_is_that_of_all_its_processes(tmp_path, monkeypatch):
    clock = {"now": 100.0}
    monkeypatch.setattr(time, "process_time", lambda: clock["now"])
    path = tmp_path / "cpu.json"

    def take(spent, now, step):
        clock["now"] = now
        spent.update(Update(step, 100, 0.0, 1.0, 1.0))

    first = qm9.CpuTime(began=90.0)
    first.open(path, every=20)
    for now, step in ((101.0, 10), (102.0, 20), (104.0, 30), (108.0, 40), (111.0, 50)):
        take(first, now, step)  # and is killed: what came since the last record is lost
    second = qm9.CpuTime(began=1_000.0)
    second.open(path, every=20)
    take(second, 1_003.0, 40)  # again, from an older checkpoint
    take(second, 1_004.0, 100)
    clock["now"] = 1_010.0
    second.close()
    assert json.loads(path.read_text()) == {
        "seconds": (108 - 90) + 10.0,
        "at_step": {"20": 12.0, "40": 21.0, "100": 22.0},
    }


def test_rows_of_qm9_are_recorded_and_drawn(tmp_path, monkeypatch, capsys):
    def measure(config, seconds, steps, folder):
        hours = seconds / 3600
        row = {"target": config.targets[0], "together": config.targets, "seed": config.seed}
        row |= {"unit": "meV", "test": 50 / hours, "cpu_hours": hours, "parameters": 7}
        row |= {"steps": steps or round(seconds)}
        return [row | {"curve": [(hours / 4, 1.0, 90.0), (hours / 2, 2.0, 60.0)]}]

    monkeypatch.setattr(qm9, "measure", measure)
    recorded = tmp_path / "rows.json"
    qm9.main(("gap",), 1.0, json_path=recorded)
    qm9.main(("gap",), 2.0, json_path=recorded)
    qm9.main(("u0",), 2.0, json_path=recorded)
    qm9.main(("gap",), 1.0, json_path=recorded)
    rows = json.loads(recorded.read_text())
    assert [(row["target"], row["steps"]) for row in rows] == [
        ("gap", 3600), ("gap", 7200), ("u0", 7200),
    ]  # fmt: skip
    assert json.loads(capsys.readouterr().out.splitlines()[0])["test"] == 50
    longest = qm9_figure.longest_runs(rows)
    assert [(name, row["cpu_hours"]) for name, row in longest.items()] == [("gap", 2), ("u0", 2)]
    qm9_figure.main(recorded, tmp_path / "qm9.png")
    assert (tmp_path / "qm9.png").stat().st_size > 10_000


def test_published_errors_are_those_of_the_table():
    """The gap and the energies of the rows that the page tells of."""
    errors = {name: (row["gap"], row["u0"]) for name, row in qm9_figure.PUBLISHED.items()}
    assert errors == {
        "LieTransformer-SE(3)": (52, 26),
        "LieTransformer-T(3)": (51, 17),
        "LieConv-SE(3)": (45, 48),
    }
    assert all(row.keys() == TARGETS.keys() for row in qm9_figure.PUBLISHED.values())


def test_budgets_that_make_no_sense_are_refused_at_once():
    with pytest.raises(SystemExit, match=r"^--cpu-hours must be at least 0, got -1\.$"):
        qm9.main(cpu_hours=-1)
    with pytest.raises(SystemExit, match=r"^--steps must be at least 1, got 0\.$"):
        qm9.main(steps=0)

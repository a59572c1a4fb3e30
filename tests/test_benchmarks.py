"""The benchmarks run; what they measure is not judged here."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import (
    attention,
    check,
    constellations,
    field_layers,
    forces,
    losses,
    molecule_steps,
    molecules,
    nbody,
    reference_process,
    scaling,
    shapes,
    springs,
    steps,
    timed,
    versions,
    winds,
    workloads,
)
from benchmarks.measuring import medians
from benchmarks.reference_process import Reference
from benchmarks.runs import folder_of_runs, out_folder, parse_run, train_once, with_steps
from eqattn.data.atoms import write_npz
from eqattn.tasks import get_preset, get_task
from eqattn.tasks.molecules import load
from eqattn.tasks.molecules.presets import MoleculesOptions
from eqattn.tasks.nbody.task import NBodyOptions
from eqattn.train import train
from tests.tasks.forces.springs import springs as atoms_on_springs

SMALLEST = dataclasses.replace(workloads.WORKLOADS[0], batch=1, num_points=4, dim=16)


@pytest.mark.slow
def test_attention_is_measured_on_every_back_end():
    rows = attention.measure(SMALLEST)
    cases = [(row["implementation"], row["location"]) for row in rows]
    assert cases[:2] == [("plain", "none"), ("representation", "none")]
    assert set(cases[2:]) == {
        (i, k) for i in attention.IMPLEMENTATIONS for k in attention.LOCATIONS
    }
    measured = [row for row in rows if row["skipped"] is None]
    assert all(row["forward_ms"] > 0 and row["forward_backward_ms"] > 0 for row in measured)
    skipped = {(row["implementation"], row["skipped"]) for row in rows if row not in measured}
    assert skipped == ({("pallas", "needs a GPU")} if jax.default_backend() == "cpu" else set())
    # Four pairs of 8 heads of 2 channels: q·k and w·v; the MLP of 3 coordinates adds its products.
    flop = {case: row["useful_flop"] for case, row in zip(cases, rows, strict=True)}
    assert flop["plain", "none"] == flop["dense", "none"] == 16 * 4 * 16
    assert flop["representation", "none"] == flop["plain", "none"]
    assert flop["dense", "mlp"] - flop["dense", "none"] == 16 * 2 * (3 * 16 + 16 * 16 + 16 * 8)


def test_what_does_not_fit_is_skipped(monkeypatch):
    monkeypatch.setattr(attention, "memory_limit", lambda: 100)
    monkeypatch.setattr(attention, "IMPLEMENTATIONS", ("dense",))
    monkeypatch.setattr(attention, "LOCATIONS", ("none",))
    rows = attention.measure(SMALLEST)
    assert all("do not fit" in row["skipped"] and row["forward_ms"] is None for row in rows)


def test_a_suite_of_another_device_is_skipped():
    (row,) = attention.measure_suite("cpu", "sphere-65160")
    assert row["skipped"] == "sphere-65160 is not in the suite cpu"
    if jax.default_backend() == "cpu":
        rows = attention.measure_suite("gpu", None)
        assert all("needs another device" in row["skipped"] for row in rows)
    with pytest.raises(ValueError, match="workload must be one of molecules-t3-19"):
        attention.measure_suite("cpu", "clouds")


# A checkout that needs no torch: modules that are absent, the syntax of Python 3.8, and programs.
CHECKOUT = """
import h5py
import os
import torchvision
from forge import flags

flags.DEFINE_integer("width", 16)
class Data(torchvision.datasets.MNIST, h5py.File): pass
def repeat(*sizes): return bytearray(sizes[0] * sizes[1])
SHAPE = (1_000, 50_000, 3)
CALLS = []

def forward():
    return repeat(
        (*SHAPE[:2])
    )

def forward_backward():
    CALLS.append(1)
    if len(CALLS) == 3 and "MALLOC_MMAP_MAX_" in os.environ:
        os.write(2, b"one\\nkilled by the test\\n")
        os._exit(9)
"""
WORKER = """
import os, sys
sys.path.insert(0, os.getcwd())
from benchmarks.reference_imports import import_from
from benchmarks.reference_worker import serve
import_from(sys.argv[-1])
from eqv_transformer.eqv_attention import forward, forward_backward
def build(workload):
    return {"forward": forward, "forward_backward": forward_backward}, {"torch": workload["kind"]}
serve(sys.stdin, sys.stdout, build)
"""


@pytest.fixture
def fake_reference(tmp_path):
    """A reference of a few lines, and an interpreter that starts another worker for it."""
    package = tmp_path / "checkout" / "eqv_transformer"
    package.mkdir(parents=True)
    (package / "eqv_attention.py").write_text(CHECKOUT)
    (tmp_path / "worker.py").write_text(WORKER)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path / "worker.py"} "$@"\n')
    python.chmod(0o755)
    return Reference(package.parent, python)


@pytest.fixture
def only_reference(monkeypatch):
    """Nothing of ours takes turns, which would have to be compiled."""
    monkeypatch.setattr(steps, "LOCATIONS", {})


@pytest.mark.usefixtures("only_reference")
def test_a_reference_takes_turns_until_it_dies(fake_reference, monkeypatch):
    default, tuned = steps.measure(steps.STEPS[0], fake_reference)
    assert default["implementation"] == "reference"
    assert default["forward_ms"] > 0
    assert default["forward_backward_ms"] >= 0
    assert 4e7 < default["temp_bytes"] < 2e8  # forward takes 50 MB
    assert default["torch"] == "molecules"
    assert default["skipped"] is None
    assert tuned["implementation"] == "reference_tuned"
    assert tuned["skipped"] == "killed by the test"
    assert tuned["forward_backward_ms"] is None
    monkeypatch.setattr(reference_process, "memory_limit", lambda: 60_000_000)
    rows = steps.measure(steps.STEPS[0], fake_reference)
    assert [row["skipped"] for row in rows] == ["MemoryError"] * 2
    assert {row["forward_ms"] for row in rows} == {None}


def test_rows_of_a_reference_stand_beside_ours(fake_reference, monkeypatch, capsys):
    monkeypatch.setattr(attention, "IMPLEMENTATIONS", ())
    monkeypatch.setattr(attention, "WITHOUT_LOCATION", ("plain",))
    rows = attention.measure(SMALLEST, reference=fake_reference)
    names = [row["implementation"] for row in rows]
    assert names == ["plain", "reference", "reference_tuned"]
    assert rows[1]["roofline_fraction"] is not None
    assert set(rows[0]) <= set(rows[1])
    attention.print_rows(rows)
    assert "killed by the test" in capsys.readouterr().err


@pytest.mark.usefixtures("only_reference")
def test_a_reference_that_cannot_be_imported_is_skipped(fake_reference):
    broken = dataclasses.replace(fake_reference, python=Path(sys.executable))
    rows = steps.measure(steps.get_step("springs-step"), broken)
    assert all("No module named" in row["skipped"] for row in rows)  # torch, or what it lacks


def test_wrong_references(tmp_path, fake_reference):
    with pytest.raises(ValueError, match=r"reference must be a checkout.*, got .*absent"):
        Reference(tmp_path / "absent")
    with pytest.raises(
        ValueError, match=r"reference_python must be the path of an interpreter, got .*none"
    ):
        Reference(fake_reference.checkout, tmp_path / "none")
    with pytest.raises(ValueError, match="reference must be given with reference_python"):
        attention.main(reference_python=fake_reference.python)
    with pytest.raises(ValueError, match="reference is measured in the suite cpu only"):
        attention.measure_suite("gpu", None, fake_reference)
    with pytest.raises(ValueError, match="group of the reference, T or SE3, got SO3"):
        attention.layer_of_reference(workloads.get_workload("sphere-65160"))
    with pytest.raises(ValueError, match="workload must be one of molecules-t3-19-step"):
        steps.get_step("molecules-t3-19")


def test_timers_that_fail_are_left_out():
    turns = iter([1.0, None, 3.0])
    timers = {"fails": lambda: next(turns), "runs": lambda: 2.0}
    assert medians({}, num_rounds=3, timers=timers) == {"runs": 2.0}


@pytest.mark.slow
def test_scaling_is_fitted_and_plotted(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "MAX_TIMED", dict.fromkeys(scaling.KINDS, 0))
    rows = scaling.measure(dataclasses.replace(SMALLEST, num_heads=2), (1_024, 4_096))
    exponents = {row["implementation"]: row["memory_exponent"] for row in rows}
    assert exponents["chunked"] < 1.1 < 1.9 < exponents["dense"]
    assert {row["time_exponent"] for row in rows} == {None}
    scaling.plot([{**row, "seconds": 1.0} for row in rows], tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").stat().st_size > 1_000


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["molecules-se3-19x4-step", pytest.param("springs-step", marks=pytest.mark.slow)]
)
def test_a_step_is_measured(name, monkeypatch):
    monkeypatch.setattr(steps, "LOCATIONS", {"mlp": steps.MLPLocation})
    sizes = {"batch": 2, "num_points": 3, "dim": 8, "num_layers": 1, "num_heads": 2}
    step = dataclasses.replace(steps.get_step(name), location_dim=4, **sizes)
    (row,) = steps.measure(step)
    assert (row["workload"], row["implementation"], row["location"]) == (name, "eqattn", "mlp")
    assert row["forward_ms"] > 0
    assert min(row["forward_backward_ms"], row["compile_s"], row["temp_bytes"]) > 0


def test_check_compares_with_another_checkout(tmp_path, monkeypatch, capsys):
    case = ("dense", "none", "forward_ms")
    monkeypatch.setattr(check, "time_ratios", lambda *_: {case: 1.02})
    check.main(against=tmp_path)
    assert "dense, none, forward_ms: 1.020 of the time of" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        check.main(against=tmp_path, margin=1.01)
    assert "more than 1.01" in capsys.readouterr().err


def test_another_checkout_must_be_one(tmp_path):
    with pytest.raises(ValueError, match="against must be a checkout of eqattn, got"):
        versions.compiled_calls(tmp_path, "molecules-t3-19", ())


@pytest.mark.slow
def test_two_versions_of_the_package_take_turns():
    program = (
        "from benchmarks import versions; case = (('dense', 'none'),); "
        "ratios = versions.time_ratios(versions.HERE, 'particles-t2-6', case, 3); "
        "print(sorted(ratios), all(0.1 < ratio < 10 for ratio in ratios.values()))"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    columns = ("forward_backward_ms", "forward_ms")
    assert out.stdout.strip() == f"{[('dense', 'none', c) for c in columns]} True", out.stderr


def test_check_finds_what_became_slower_or_larger():
    row = {"workload": "w", "location": "none", "dtype": "float32", "skipped": None}
    plain = {**row, "implementation": "plain", "forward_ms": 2.0, "forward_backward_ms": 4.0}
    chunked = {**row, "implementation": "chunked", "forward_ms": 4.0, "forward_backward_ms": 8.0}
    recorded = [{**plain, "temp_bytes": 10}, {**chunked, "temp_bytes": 100}]
    half_speed = [{**r, "forward_ms": 2 * r["forward_ms"]} for r in recorded]
    assert check.failures(half_speed, recorded) == []  # the machine is slower, ratios are not
    slower = [recorded[0], {**recorded[1], "forward_ms": 10.0}]
    (failure,) = check.failures(slower, recorded)
    assert failure == "w, chunked, none: forward_ms is 5.00 times plain, recorded 2.00"
    larger = [recorded[0], {**recorded[1], "temp_bytes": 130}]
    (failure,) = check.failures(larger, recorded)
    assert failure == "w, chunked, none: temp_bytes is 130, recorded 100"
    with pytest.raises(ValueError, match="recorded has no row of w, chunked, none"):
        check.failures(recorded, recorded[:1])


def test_workloads_have_names_of_their_own():
    names = [workload.name for workload in workloads.WORKLOADS]
    assert len(set(names)) == len(names)


@pytest.mark.slow
def test_shapes_are_told_apart_beside_a_forest(tmp_path, capsys):
    """Vectors are left out: one model after the first is enough."""
    models = {}
    for name in ("demo", "fields"):
        run = with_steps(shapes.all_models()[name], 2)
        layers = (
            {"dim": 8}
            if name == "demo"
            else {"hidden_field": "8x scalar + 8x vector + 8x irrep(2)"}
        )
        model = run.model.replace_network(num_layers=1, **layers)
        options = dataclasses.replace(run.options, num_points=32, subset=16)
        models[name] = dataclasses.replace(run, model=model, options=options)
    means = shapes.measure(models, 2, tmp_path, folds=(1,), num_trees=2)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["model"] for line in lines] == ["demo"] * 3 + ["fields"] * 3
    assert [line["seed"] for line in lines if "seed" in line] == [0, 1, 0, 1]
    assert all(mean["runs"] == 2 and mean["turned"] < 1e-4 for mean in means)
    demo, fields = (mean["accuracy"] for mean in means)
    assert means[1]["gain"] == pytest.approx(fields - demo)
    again = shapes.measure(models, 2, tmp_path, folds=(1,), num_trees=2)
    assert [mean["accuracy"] for mean in again] == [demo, fields]


def test_the_interval_of_a_gain_is_that_of_t():
    row = shapes.paired_gain(np.array([0.01, 0.02, 0.06]))
    assert row["gain"] == pytest.approx(0.03)
    reach = 4.3027 * np.sqrt(0.0007 / 3)  # 97.5 % of t with 2 degrees of freedom
    assert (row["low"], row["high"]) == pytest.approx((0.03 - reach, 0.03 + reach), rel=1e-4)


@pytest.mark.slow
def test_winds_are_scored_upright_and_rotated(tmp_path, capsys):
    preset = get_preset("winds", "demo")
    model = preset.model.replace_network(dim=8, num_layers=1)
    options = dataclasses.replace(preset.options, num_points=12, step=45.0)
    config = dataclasses.replace(preset, model=model, options=options, steps=2, eval_every=2)
    result = train(config, tmp_path / "run")
    winds.main([str(tmp_path / "run"), "--keys", "2"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = ["model", "plain", "persistence", "climatology", "damped_persistence"]
    assert [row["forecast"] for row in rows] == names
    # Months have about the same errors, so that the mean of their RMS is near the RMS of all.
    over = rows[0]["rms"] - rows[1]["rms"]
    assert rows[0]["over_plain"] == pytest.approx(over, abs=0.2 * abs(over))
    over = rows[0]["rms_rotated"] - rows[1]["rms_rotated"]
    assert rows[0]["over_plain_rotated"] == pytest.approx(over, abs=0.2 * abs(over))
    assert rows[0]["standard_error"] > 0
    assert rows[0]["rms"] == pytest.approx(result.scores[0].value, rel=1e-5)
    assert rows[0]["largest_change"] < 1e-4
    others = min(row["rms"] for row in rows[1:4])
    assert others == pytest.approx(result.scores[0].baseline, rel=1e-5)
    assert rows[4]["rms"] < rows[3]["rms"]


def tiny_constellations():
    preset = get_preset("constellations", "demo")
    model = preset.model.replace_network(dim=8, num_layers=1)
    options = dataclasses.replace(preset.options, num_train=64, num_validation=64, num_test=64)
    return dataclasses.replace(preset, model=model, options=options, steps=2, eval_every=2)


@pytest.mark.slow
def test_constellations_are_scored_in_six_columns(tmp_path):
    config = tiny_constellations()
    rows = list(constellations.measure(config, tmp_path))
    assert [(row["train"], row["test"]) for row in rows] == list(constellations.PUBLISHED)
    upright, moved, turned = (row["accuracy"] for row in rows[:3])
    assert upright == moved == turned  # the model is invariant to SE(2)
    assert all(0 < row["accuracy"] < 1 for row in rows)


def test_runs_of_a_benchmark_have_the_options_of_training():
    config = parse_run("shapes", "shapes", ("seed",), ["--preset", "demo", "--steps", "7"])
    assert (config.task, config.steps) == ("shapes", 7)
    assert parse_run("c", "constellations", (), ["--preset=paper"]).preset == "paper"
    with pytest.raises(SystemExit, match="seed is set by this benchmark, got 3"):
        parse_run("shapes", "shapes", ("seed",), ["--seed", "3"])
    with pytest.raises(SystemExit, match=r"options.fold is set by this benchmark, got 1"):
        parse_run("shapes", "shapes", ("options.fold",), ["--options.fold", "1"])
    with pytest.raises(SystemExit, match="task is set by this benchmark, got 'images'"):
        parse_run("shapes", "shapes", (), ["--task", "images"])


@pytest.mark.slow
def test_a_run_that_is_kept_is_of_the_same_configuration(tmp_path):
    config = tiny_constellations()
    first = train_once(config, tmp_path / "run")
    assert train_once(config, tmp_path / "run").scores == first.scores
    with pytest.raises(SystemExit, match=r"run with steps 2, not 3; take another folder"):
        train_once(dataclasses.replace(config, steps=3), tmp_path / "run")


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["a", "--keys"], ["a", "--keys", "0"]])
def test_wrong_words_of_the_benchmark_of_winds(arguments, capsys):
    with pytest.raises(SystemExit):
        winds.main(arguments)
    assert "error: " in capsys.readouterr().err


def test_sizes_that_make_no_sense_are_refused_at_once():
    with pytest.raises(SystemExit, match=r"^--seconds must be at least 1, got -1\.$"):
        nbody.main(seconds=-1)
    with pytest.raises(SystemExit, match=r"^--seconds must be at least 1, got nan\.$"):
        nbody.main(seconds=float("nan"))
    with pytest.raises(SystemExit, match=r"^--degree must be at least 0, got -1\.$"):
        field_layers.main(degree=-1)
    with pytest.raises(SystemExit, match=r"^--sizes must be at least 1, got 0\.$"):
        springs.main(sizes=(10, 0))
    with pytest.raises(SystemExit, match=r"^--steps must be at least 1, got 0\.$"):
        molecules.main(steps=0)
    with pytest.raises(SystemExit, match=r"^--models: one of demo, demo_no_envelope, .* 'ours'\.$"):
        molecules.main(models=("ours",))


def test_runs_that_are_not_kept_are_in_a_folder_that_goes(tmp_path):
    with folder_of_runs(None) as folder:
        assert folder.is_dir()
    assert not folder.exists()
    with folder_of_runs(tmp_path) as folder:
        assert folder == tmp_path
    assert tmp_path.is_dir()


def test_an_out_folder_is_taken_from_the_options():
    assert out_folder(["--out", "a", "--steps", "2"]) == (Path("a"), ["--steps", "2"])
    assert out_folder(["--steps", "2"]) == (None, ["--steps", "2"])
    with pytest.raises(SystemExit, match="--out needs a folder"):
        out_folder(["--steps", "2", "--out"])


@pytest.mark.slow
def test_first_losses_are_those_of_the_run_and_another_seed_has_others(tmp_path):
    preset = get_preset("springs", "demo")
    few = dataclasses.replace(preset.options, num_train=8, num_validation=4, num_test=4)
    config = dataclasses.replace(preset, options=few, batch_size=4)
    first = losses.first_losses(config, 3)
    assert len(first) == 3
    assert losses.deviation(losses.first_losses(config, 3), first) == 0
    assert (
        losses.deviation(losses.first_losses(dataclasses.replace(config, seed=1), 3), first) > 0.01
    )
    held = losses.merged({"a": {"float32": [1.0]}}, {"a": {"float64": [2.0]}, "b": {}})
    assert held == {"a": {"float32": [1.0], "float64": [2.0]}, "b": {}}


def test_losses_that_differ_are_an_exit_status(tmp_path, monkeypatch):
    recorded = tmp_path / "losses.json"
    recorded.write_text(json.dumps({"springs demo": {"float32": [1.0, 2.0, 3.0]}}))
    monkeypatch.setattr(losses, "RECORDED", recorded)
    for found, status in (([1.0, 2.0 + 1e-5], False), ([1.0, 2.0 + 1e-4], True)):
        monkeypatch.setattr(losses, "measure", lambda *_, f=found: {"springs demo": {"float32": f}})
        with pytest.raises(SystemExit) as ended:
            losses.main(steps=2)
        assert ended.value.code is status


@pytest.mark.slow
def test_charged_particles_are_trained_for_a_time(monkeypatch):
    """Each run takes as many steps as fit, and says what validation and the turned test give."""
    options = NBodyOptions(num_train=64, num_validation=16, num_test=16, baseline="none")
    demo = get_preset("nbody", "demo")
    model = demo.model.replace_network(hidden_field="8x scalar + 8x vector", num_layers=1)
    config = dataclasses.replace(demo, model=model, options=options, batch_size=16)
    monkeypatch.setattr(timed, "MEASURED", 5)
    monkeypatch.setattr(timed, "NUM_EVALUATIONS", 2)
    grid = nbody.candidates(config)
    assert len(grid) == 6
    for run in (config, next(iter(grid.values()))):
        problem = get_task("nbody").prepare(run)
        row = nbody.train_for_seconds(run, problem, 0.2)
        assert row["steps"] % 2 == 0
        assert len(row["curve"]) == 2
        assert row["validation"] == min(error for _, error in row["curve"])
        assert row["test_turned"] == pytest.approx(row["test"], rel=1e-4)


@pytest.mark.slow
def test_forces_are_compared_and_kept(monkeypatch, tmp_path, capsys):
    """Rows that a file holds are not made again, and the baseline has the rate that is best."""
    monkeypatch.setattr(timed, "MEASURED", 1)
    monkeypatch.setattr(timed, "WARM_UP", 1)
    monkeypatch.setattr(timed, "NUM_EVALUATIONS", 1)
    data, kept = tmp_path / "springs.npz", tmp_path / "rows.json"
    write_npz(data, atoms_on_springs(60))
    given = {"minutes": (0.001,), "seeds": 2, "data": str(data), "json_path": kept}
    forces.main(models=("painn",), **given)
    rows = json.loads(kept.read_text())
    assert [row["seed"] for row in rows] == [0, 0, 0, 1]
    best = min(rows[:3], key=lambda row: row["validation"]["forces"])
    assert rows[3]["model"] == best["model"]
    assert set(rows[0]["test"]) == {"forces", "energy"}
    capsys.readouterr()
    forces.main(models=("painn",), **given)
    assert capsys.readouterr().out == ""
    with pytest.raises(SystemExit, match="--models: one of demo, fields, painn, got 'mace'"):
        forces.main(models=("mace",), **given)


def test_a_layer_of_fields_is_measured(tmp_path, capsys, monkeypatch):
    for name, size in {"BATCH": 1, "NUM_POINTS": 3, "CHANNELS": 2, "NUM_ROUNDS": 1}.items():
        monkeypatch.setattr(field_layers, name, size)
    field_layers.main(degree=1, json_path=tmp_path / "layers.json")
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    # Four paths of degrees 0 and 1 with 8 radial functions, and the biases of two scalars.
    assert rows[0]["layer"] == "eqattn, full"
    assert rows[0]["weights"] == 4 * 8 * 2 * 2 + 2
    assert rows[0]["forward_backward_ms"] > 0
    assert rows[0]["ours_over_this"] == 1
    record = json.loads((tmp_path / "layers.json").read_text())
    assert len(record["rows"]) == len(rows)
    assert record["degree"] == 1


def test_steps_of_molecules_are_compared(monkeypatch):
    assert set(molecule_steps.OVER) | set(molecule_steps.OVER.values()) == set(
        molecule_steps.runs()
    )
    monkeypatch.setattr(molecule_steps, "NUM_ROUNDS", 1)
    network = dataclasses.replace(get_preset("molecules", "demo").model, dim=8, num_layers=1)
    small = dataclasses.replace(
        get_preset("molecules", "demo"), model=network, batch_size=2, options=MoleculesOptions()
    )
    rows = molecule_steps.measure({"one_frame": small, "frames": small})
    assert "over" not in rows[0]
    assert rows[1]["compared_with"] == "one_frame"
    assert rows[1]["over"] == pytest.approx(rows[1]["step_ms"] / rows[0]["step_ms"], rel=0.05)


@pytest.mark.slow
def test_molecules_beside_are_new_and_scored_in_pairs(tmp_path, capsys):
    held = load("embedded")
    beside = molecules.molecules_beside(held, held[:2_990], 6)
    assert not set(beside.ids) & set(held.ids[:2_990])
    assert len(set(beside.ids)) == 6
    network = dataclasses.replace(get_preset("molecules", "demo").model, dim=8, num_layers=1)
    changes = {"model": network, "steps": 2, "eval_every": 2, "options": MoleculesOptions()}
    small = dataclasses.replace(get_preset("molecules", "demo"), **changes)
    wide = dataclasses.replace(small, model=dataclasses.replace(network, dim=16))
    rows = molecules.measure({"small": small, "wide": wide}, 1, tmp_path, beside)
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["model"] for row in printed] == ["small", "wide"]
    assert "over_first" not in rows[0]
    assert rows[1]["over_first"] == pytest.approx(rows[1]["others"] - rows[0]["others"])
    assert rows[1]["standard_error"] > 0
    assert rows[0]["parameters"] < rows[1]["parameters"]
    again = molecules.errors_of(tmp_path / "small-seed0-steps2", beside)
    assert again.mean() == pytest.approx(rows[0]["others"])

"""``eqattn predict``, ``simulate`` and ``export`` of a run of forces."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest

from eqattn.cli import main
from eqattn.cli.errors import BAD_INPUT, RUN_FAILED, SIGNALED
from eqattn.data.atoms import read_configurations, write_configurations
from eqattn.interruption import Interruption
from tests.tasks.forces.runs import write_run
from tests.tasks.forces.springs import springs

FRAME = "3\n\nC 0 0 0\nH 0 0 1.1\nS 1.8 0 0\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli")
    write_run(path / "run")
    write_run(path / "all", cutoff=None)
    write_configurations(path / "two.npz", springs(2, seed=3))
    (path / "start.xyz").write_text(FRAME)
    (path / "chlorine.xyz").write_text(FRAME.replace("S", "Cl"))
    (path / "cell.xyz").write_text('1\nLattice="9 0 0 0 9 0 0 0 9"\nH 0 0 0\n')
    return path


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_predictions_are_a_table_or_configurations(place, tmp_path, capsys):
    for name in ("x.csv", "x.extxyz", "x.npz"):
        code, out, _ = run(
            capsys, "predict", place / "run", place / "two.npz", "--out", tmp_path / name
        )
        assert code == 0
        assert json.loads(out)["examples"] == 2
    rows = (tmp_path / "x.csv").read_text().splitlines()
    assert len(rows) == 1 + len(springs(2, seed=3).numbers)
    frames = [read_configurations(tmp_path / name) for name in ("x.extxyz", "x.npz")]
    for found in frames:
        assert {*found.properties} == {"energy", "energy_true"}
        assert {*found.atom_properties} == {"forces", "forces_true"}
    np.testing.assert_array_equal(*(f.atom_properties["forces"] for f in frames))
    code, _, err = run(
        capsys, "predict", place / "run", place / "two.npz", "--out", place / "two.npz"
    )
    assert code == BAD_INPUT
    assert "two.npz exists already" in err


def test_a_simulation_is_written_as_configurations(place, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(
        capsys, "simulate", place / "run", place / "two.npz", "--steps", 8, "--every", 4,
        "--temperature", 400, "--friction", 0, "--x64",
    )  # fmt: skip
    assert code == 0, err
    result = json.loads(out)
    assert (result["starts"], result["picoseconds"], result["configurations"]) == (2, 0.004, 6)
    assert result["out"] == str(tmp_path / "two-trajectory.extxyz")
    assert result["outside_training"] == 6
    assert "6 of 6 configurations lie outside what the run was trained on" in err
    found = read_configurations(tmp_path / "two-trajectory.extxyz")
    total = found.properties["energy"] + found.properties["kinetic_energy"]
    assert np.ptp(total.reshape(2, 3), axis=1).max() < 1e-3 * np.abs(total).max()
    assert result["energy_change"] == pytest.approx(np.mean(total.reshape(2, 3) @ [-1, 0, 1]))
    assert [path.name for path in tmp_path.iterdir()] == ["two-trajectory.extxyz"]


def test_a_simulation_that_is_interrupted_keeps_what_it_did(place, tmp_path, capsys, monkeypatch):
    """The states until then, of all starts, under a name that says so; nothing overwrites them."""
    arguments = ["simulate", place / "run", place / "two.npz", "--steps", 6, "--every", 2]
    whole, again = (tmp_path / name for name in ("whole.npz", "again.npz"))
    assert run(capsys, *arguments, "--out", whole)[0] == 0
    check, states = Interruption.check, []

    def interrupted(self):
        states.append(self)
        if len(states) == 2:
            signal.raise_signal(signal.SIGINT)
        check(self)

    monkeypatch.setattr(Interruption, "check", interrupted)
    code, out, err = run(capsys, *arguments, "--out", again)
    partial = tmp_path / "again.partial.extxyz"
    assert (code, out) == (SIGNALED + signal.SIGINT, "")
    assert f"error: interrupted; the states until then are in {partial}.\n" in err
    assert err.count("error") == 1
    assert not again.exists()
    expected, kept = read_configurations(whole), read_configurations(partial)
    expected = expected[np.array([0, 4, 1, 5])]  # start by start, there
    np.testing.assert_array_equal(kept.positions, expected.positions)
    for held in ("properties", "atom_properties"):
        assert {*getattr(kept, held)} == {*getattr(expected, held)}
        for name, values in getattr(expected, held).items():
            np.testing.assert_array_equal(getattr(kept, held)[name], values)
    code, _, err = run(capsys, *arguments, "--out", again)
    assert code == BAD_INPUT
    assert "again.partial.extxyz exists already" in err


def test_a_simulation_in_a_cell_keeps_the_cell(place, tmp_path, capsys):
    code, _, err = run(
        capsys, "simulate", place / "run", place / "cell.xyz", "--steps", 2, "--every", 1,
        "--out", tmp_path / "a.extxyz",
    )  # fmt: skip
    assert code == 0, err
    found = read_configurations(tmp_path / "a.extxyz")
    np.testing.assert_array_equal(found.cells, 3 * [9 * np.eye(3)])
    assert found.periodic.all()


def test_a_simulation_says_how_far_it_is(place, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("eqattn.cli.simulating.REPORT_SECONDS", 0.0)
    arguments = ["simulate", place / "run", place / "start.xyz", "--steps", 2, "--every", 1]
    code, _, err = run(capsys, *arguments, "--out", tmp_path / "a.npz")
    assert code == 0
    assert "0.0005 of 0.001 ps  0:0" in err
    assert "0.001 of 0.001 ps  0:00 left" in err


def test_energies_that_are_lost_are_a_failed_run(place, tmp_path, capsys):
    code, _, err = run(
        capsys, "simulate", place / "run", place / "start.xyz", "--steps", 4, "--every", 2,
        "--time-step", 1e30, "--out", tmp_path / "a.xyz",
    )  # fmt: skip
    assert code == RUN_FAILED
    assert "configuration 0: the energy is not finite after 2e+30 fs; try a shorter time_" in err
    assert "the states until then are in" in err
    assert not (tmp_path / "a.xyz").exists()
    assert len(read_configurations(tmp_path / "a.partial.extxyz")) == 1


@pytest.mark.slow
def test_an_exported_run_is_a_file(place, tmp_path, capsys, monkeypatch, no_type_checks):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "export", place / "run")
    assert code == 0, err
    result = json.loads(out)
    assert result["elements"] == ["H", "C", "S"]
    assert (result["dtype"], result["out"]) == ("float32", str(tmp_path / "run.jax"))
    assert result["bytes"] == Path("run.jax").stat().st_size


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("simulate HERE/run HERE/chlorine.xyz", "configuration 0 holds the element Cl, which the"),
        (
            "simulate HERE/all HERE/cell.xyz",
            "the cell of configuration 0 repeats, so that",
        ),
        ("simulate HERE/run HERE/start.xyz --out HERE/a.csv", "a.csv: configurations are written"),
        ("simulate HERE/run HERE/start.xyz --out HERE/start.xyz", "start.xyz exists already"),
        ("simulate HERE/run HERE/start.xyz --steps 7", "num_steps must be a multiple of every, 20"),
        ("simulate HERE/run HERE/start.xyz --temperature -1", "temperature must be finite and not"),
        ("predict HERE/run HERE/chlorine.xyz", "configuration 0 holds the element Cl, which the"),
    ],
)
def test_bad_input_is_one_line(place, tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *words.replace("HERE", str(place)).split())
    assert (code, out) == (BAD_INPUT, "")
    assert err.count("\n") == 1
    assert message in err
    assert list(tmp_path.iterdir()) == []

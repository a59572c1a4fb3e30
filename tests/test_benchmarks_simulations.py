"""The benchmark of simulations, on a potential of random parameters and on made trajectories."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import simulations
from eqattn.simulation import Trajectory
from tests.tasks.forces.runs import write_run
from tests.tasks.forces.springs import springs

REFERENCES = {"H": -10.0, "C": -50.0, "O": -110.0}


def made(energies):
    """A trajectory every 10 fs with these energies [S, B]."""
    size, batch = energies.shape
    atoms = np.zeros((size, batch, 9, 3))
    zeros = np.zeros((size, batch))
    return Trajectory(10.0 * np.arange(size), atoms, atoms, atoms, energies, zeros, zeros)


def test_a_drift_is_found_with_its_error():
    rng = np.random.default_rng(0)
    times = 10.0 * np.arange(1_001)
    noise = 1e-3 * rng.normal(size=(1_001, 10))
    slope, error = simulations.drift(made(noise), 9)
    assert abs(slope) < 5 * error
    slope, error = simulations.drift(made(noise + 9e-6 * times[:, None]), 9)  # 9 meV/ps
    assert slope == pytest.approx(1.0, abs=5 * error)
    assert error < 0.01


def test_bonds_that_break_are_counted():
    numbers = np.array([[6, 1, 1]])
    start = np.array([[0.0, 0, 0], [1.1, 0, 0], [0, 1.1, 0]])
    apart = start * [[1], [1.6], [1.4]]
    assert simulations.bonds_lost(numbers, np.stack([start, apart, start])[:, None]) == 1
    assert simulations.bonds_lost(numbers, np.stack([start, start])[:, None]) == 0


def test_starts_are_of_one_size(tmp_path, monkeypatch):
    run = write_run(tmp_path / "run", references=REFERENCES)
    monkeypatch.setattr(simulations.data, "load", lambda _: springs(60))
    monkeypatch.setattr(simulations.data, "split", lambda *_: {"test": np.arange(60)})
    with pytest.raises(SystemExit, match="ethanol: frames must have one number of atoms"):
        simulations.starts(run, 10)


def test_recorded_simulations_hold():
    """What docs/simulations.md shows: no drift, a swing of second order, no bond lost."""
    path = Path(simulations.__file__).parent / "results" / "simulations-cpu.json"
    rows = json.loads(path.read_text())
    for row in rows:
        if row["part"] == "conserved":
            found = row["0.5 fs"]
            assert abs(found["drift"]) + 2 * found["drift_error"] < 0.02
            assert 3.5 < row["swing_ratio"] < 4.5
            assert (row["starts"], row["picoseconds"]) == (10, 10.0)
        elif row["part"] == "bath":
            assert (row["bonds_lost"], row["starts"], row["picoseconds"]) == (0, 5, 20.0)
    dtypes = [row.get("dtype") for row in rows]
    assert dtypes == [None, "float32", "float32", "float64", "float64"]


@pytest.mark.slow
def test_a_run_is_measured(tmp_path, capsys):
    run = write_run(tmp_path / "run", references=REFERENCES)
    path = tmp_path / "rows.json"
    simulations.main(run, 2, 0.1, 0.1, json_path=path)
    rows = json.loads(path.read_text())
    assert [row["part"] for row in rows] == ["call", "conserved", "bath"]
    assert rows == [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[0]["milliseconds"] > 0
    assert rows[1]["swing_ratio"] > 1
    assert (rows[2]["starts"], rows[2]["picoseconds"]) == (1, 0.1)
    with pytest.raises(SystemExit, match="--num-starts must be at least 2, got 1"):
        simulations.main(run, 1)

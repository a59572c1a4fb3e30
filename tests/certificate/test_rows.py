"""The certificate as rows: which combinations, in which order, and what is refused."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from eqattn import certificate, cli
from eqattn.certificate import GEOMETRIES, Excluded, Row, certify, controls, lawful, measure
from eqattn.certificate.catalog import lifts_for
from eqattn.groups import T
from eqattn.laws import STANDARD_ERRORS
from eqattn.lift import Coset

SMALL: dict[str, Any] = {
    "families": ["equivariance"],
    "groups": ["SE(2)"],
    "spaces": ["R2"],
    "layers": ["convolution"],
    "dtypes": ["float64"],
}
KEYS = list(Row._fields)
SEVERAL = ["scalar", "pseudoscalar", "gauge(vector)", "vector[1]"]


def test_names_of_the_columns():
    """They are a contract: programs read them."""
    names = "family group space field lift layer options dtype"
    assert [*names.split(), "guarantee", "max_error", "mean_error", "bound", "ok"] == KEYS


def test_every_kind_of_space_and_strategy_is_there():
    """Each group of the library, each class of space, and every strategy on its plane and space."""
    names = {geometry.group for geometry in GEOMETRIES}
    single = {"T(2)", "SO(3)", "O(3)", "SE(3)", "E(3)", "Sim(3)", "RxSO2", "SE(2)xT(1)"}
    assert single <= names
    kinds = {type(geometry.space).__name__ for geometry in GEOMETRIES}
    assert {"Sphere", "PositionOrientation", "GroupSpace", "ProductSpace", "RadialSpace"} <= kinds
    assert len({(g.group, g.name) for g in GEOMETRIES}) == len(GEOMETRIES)
    (rigid,) = (g for g in GEOMETRIES if (g.group, g.name) == ("SE(3)", "R3"))
    used = {type(strategy) for strategy in lifts_for(rigid).values()}
    assert {kind.__name__ for kind in used} == {"Haar", "Frames", "NoLift", "Subgroup", "Coset"}
    coset = lifts_for(rigid)["Coset(R3xS2, Haar(1))"]
    assert isinstance(coset, Coset)
    assert coset.space.point_dim == 6


def test_rows_of_a_combination():
    found = list(certify(**SMALL, fields=SEVERAL, lifts=["Grid(4)", "NoLift"]))
    rows = [row for row in found if isinstance(row, Row)]
    excluded = [row for row in found if isinstance(row, Excluded)]
    assert list(rows[0]._asdict()) == KEYS
    assert all(row.ok and row.max_error <= row.bound == 1e-10 for row in rows)
    assert {row.field for row in rows if row.lift == "NoLift"} == {"scalar", "pseudoscalar"}
    turned = {row.field for row in rows if row.lift == "Grid(4)"}
    assert turned == {"scalar", "pseudoscalar", "gauge(vector)"}
    refused = {(row.lift, row.field): row.reason for row in excluded}
    assert "scale weight" in refused["any", "vector[1]"]
    assert "NoLift needs a field" in refused["NoLift", "gauge(vector)"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"families": ["law"]},
            "family must be one of laws, data, potentials, .* got 'law'",
        ),
        ({"groups": ["SE(9)"]}, r"group must be one of T\(2\), .* got 'SE\(9\)'"),
        ({"spaces": ["R9"]}, "space must be one of R2, R3, .* got 'R9'"),
        ({"lifts": ["haar"]}, r"lift must be one of Haar\(1\), .* got 'haar'"),
        ({"layers": ["conv"]}, "layer must be one of attention, .* got 'conv'"),
        ({"dtypes": ["bfloat16"]}, "dtype must be one of float64, float32, got 'bfloat16'"),
        ({"fields": ["vectr"]}, "'vectr'"),
        (
            {"spaces": ["S1"], "lifts": ["Grid(4)"]},
            "nothing is left to measure: .*Grid needs planar rotations as stabilizer",
        ),
        ({"groups": ["SE(2)"], "spaces": ["S2"]}, "nothing is left to measure: no space has all"),
        (
            {"groups": ["SE(2)"], "fields": ["vector[1]"]},
            "nothing is left to measure: scale wei",
        ),
    ],
)
def test_bad_names(options, message):
    with pytest.raises(ValueError, match=message):
        list(certify(**options))


def test_needs_float64():
    with jax.enable_x64(False), pytest.raises(ValueError, match="needs jax_enable_x64"):
        certify()


def test_laws_come_first_and_name_the_worst():
    found = list(certify(families=["laws"], groups=["T(2)"], dtypes=["float64"]))
    assert [(row.space, row.bound) for row in found] == [
        *(("", 1e-10), ("", STANDARD_ERRORS)),
        *(("R2", 1e-10), ("R2", STANDARD_ERRORS)),
    ]
    assert all(row.ok and " laws of" in row.guarantee for row in found)


def test_an_error_of_a_law_that_is_no_number(monkeypatch):
    monkeypatch.setattr(
        lawful, "group_laws", lambda *_: {"right": np.zeros(1), "wrong": np.full(1, np.nan)}
    )
    monkeypatch.setattr(lawful, "sample_laws", lambda *_: {})
    with pytest.raises(FloatingPointError, match="the law 'wrong' of the group has an error that"):
        lawful.measure_group(T(1), "float64")


COMMAND = (
    "check --family equivariance --group SE(2) --space R2 --lift NoLift --layer convolution "
    "--dtype float32"
)


@pytest.fixture
def trusted(monkeypatch):
    """Controls take long, and are tested elsewhere."""
    monkeypatch.setattr(controls, "CONTROLS", {"wrong": lambda: 1.0})


def test_command(capsys, trusted):
    assert cli.main([*COMMAND.split(), "--field", "2x scalar", "--json"]) == 0
    captured = capsys.readouterr()
    rows = json.loads(captured.out)
    assert [list(row) for row in rows] == [KEYS] * 2
    assert {row["field"] for row in rows} == {"2x scalar"}
    assert captured.err == ""
    assert cli.main([*COMMAND.split(), "--field", "2x scalar", "--field", "vector"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "NoLift needs a field" in " ".join(captured.err.split())
    assert "2 measurements, 2 within their bounds" in captured.err


def test_a_process_that_is_ended_from_outside_is_named(capsys, trusted, monkeypatch):
    def certify(**_):
        raise BrokenProcessPool
        yield

    monkeypatch.setattr(certificate, "certify", certify)
    assert cli.main(COMMAND.split()) == 1
    assert "was ended from outside, perhaps for want of memory" in capsys.readouterr().err


def test_everything_gives_its_memory_back_after_each_strategy(monkeypatch):
    """Else a process runs out of places to map compiled code to, after some thousand programs."""
    cleared = []
    monkeypatch.setattr(jax, "clear_caches", lambda: cleared.append(1))
    monkeypatch.setattr(measure, "measure", lambda *_: [])
    for is_full, times in ((False, 0), (True, 2)):  # one lift on each of the two spaces
        wanted = {"groups": ["T(2)", "SO(2)"], "is_full": is_full, "layers": ["convolution"]}
        with pytest.raises(ValueError, match="nothing is left to measure"):
            list(certify(families=["equivariance"], spaces=["R2"], **wanted))
        assert len(cleared) == times


@pytest.mark.slow
def test_parts_are_measured_side_by_side(capfd, trusted):
    """In processes that compute in float64, and print nothing."""
    assert cli.main(["check", "--family", "laws", "--group", "T(2)", "--json"]) == 0
    captured = capfd.readouterr()
    found = json.loads(captured.out)
    assert captured.err == ""
    assert [row["space"] for row in found[:2]] == ["", ""]
    assert {row["group"] for row in found} == {"T(2)"}
    assert all(row["ok"] and row["dtype"] == "float64" for row in found)


def test_its_processes_end_with_it():
    """Also where it is killed, and cannot tell them."""
    words = [sys.executable, "-m", "eqattn", "check", "--family", "laws", "--group", "SE(3)"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        children = wait_for(lambda: workers_of(process.pid))
        process.kill()
    assert children
    assert wait_for(lambda: not any(is_running(child) for child in children))


def workers_of(pid):
    """Processes that measure: they have been started, and have threads of jax."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [child for child in map(int, listed) if len(os.listdir(f"/proc/{child}/task")) > 1]


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_for(condition, seconds=60.0):
    """What the condition gives, as soon as it is true; nothing if that takes too long."""
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def test_command_fails_above_a_bound(capsys, monkeypatch, trusted):
    monkeypatch.setattr(measure, "float32_tolerance", lambda difference: 1e-12)
    assert cli.main([*COMMAND.split(), "--field", "scalar"]) == 1
    error = capsys.readouterr().err
    assert "FAIL" in error
    assert "of 2 measurements are above their bounds; the worst: convolution (invariants" in error


def test_command_fails_where_a_control_passes(capsys, monkeypatch):
    monkeypatch.setattr(controls, "CONTROLS", {"harmless": lambda: 1e-3})
    assert cli.main([*COMMAND.split(), "--field", "scalar"]) == 1
    error = capsys.readouterr().err
    assert "do not notice harmless (error 0.001)" in error
    assert "2 measurements, 2 within their bounds" in error
    assert cli.main([*COMMAND.split(), "--field", "scalar", "--json"]) == 1
    assert capsys.readouterr().out == ""

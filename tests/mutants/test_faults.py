"""Every planted fault finds its place; that it is noticed, ``make mutants`` shows."""

import shutil
from pathlib import Path

import pytest

from tests.mutants import faults
from tests.mutants.by_hand import FAULTS
from tests.mutants.drawn import CHANGE_NOTHING, NUM_DRAWN, read_drawn
from tests.mutants.faults import Edit, Fault, PlantingError

ROOT = Path(__file__).parents[2]


def planted(folder, fault):
    """The sources of what a fault changes, before and after."""
    paths = {faults.module_path(ROOT, edit.target)[0] for edit in fault.edits}
    copies = []
    for path in paths:
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
        copies.append((path, copy))
    faults.plant(folder, fault)
    return [(path.read_text(), copy.read_text()) for path, copy in copies]


def test_every_fault_finds_its_place(tmp_path):
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names) >= 60
    assert len(read_drawn()) == NUM_DRAWN - len(CHANGE_NOTHING)
    for fault in (*FAULTS, *read_drawn()):
        for before, after in planted(tmp_path, fault):
            assert faults.MARKER in after
            assert faults.MARKER not in before
        assert all((ROOT / "tests" / test).exists() for test in fault.tests), fault.name


def test_what_is_planted_runs(tmp_path, monkeypatch):
    source = tmp_path / "package" / "room.py"
    source.parent.mkdir()
    source.write_text("def area(a, b):\n    '''Text.'''\n    return a * b + a * a\n")
    edits = Edit("package.room.area", "a * b", "a / b"), Edit("package.room.area", None, "-result")
    faults.plant(tmp_path, Fault("wrong", edits, ()))
    scope = {}
    exec(source.read_text(), scope)
    marker = tmp_path / "ran"
    monkeypatch.setenv("EQATTN_FAULT_RAN", str(marker))
    assert scope["area"](6.0, 3.0) == -(2.0 + 36.0)
    assert marker.exists()


@pytest.mark.parametrize("old", ["a * a", None])
def test_what_raises_an_error_has_run(tmp_path, monkeypatch, old):
    source = tmp_path / "package" / "room.py"
    source.parent.mkdir()
    source.write_text("def area(a):\n    return a * a\n")
    faults.plant(tmp_path, Fault("wrong", (Edit("package.room.area", old, "1 / 0"),), ()))
    scope = {}
    exec(source.read_text(), scope)
    marker = tmp_path / "ran"
    monkeypatch.setenv("EQATTN_FAULT_RAN", str(marker))
    with pytest.raises(ZeroDivisionError):
        scope["area"](6.0)
    assert marker.exists()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Edit("package.room.absent", "a", "b"), "absent is not there"),
        (Edit("package.none.area", "a", "b"), "is in no module"),
        (Edit("package.room.area", "a / b", "b"), "has no a / b"),
        (Edit("package.room.area", "a", "b"), "has 2 times a"),
        (Edit("package.room.area", "a", "b", 2), "has no a"),
    ],
)
def test_faults_without_a_place_are_errors(tmp_path, edit, message):
    source = tmp_path / "package" / "room.py"
    source.parent.mkdir()
    source.write_text("def area(a):\n    return a * a\n")
    with pytest.raises(PlantingError, match=message):
        faults.plant(tmp_path, Fault("wrong", (edit,), ()))

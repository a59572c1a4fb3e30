import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from eqattn.data import load, read_structures
from eqattn.data.molecules import to_arrays

WATER = "3\nwater\nO 0 0 0.119\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n"


class Atoms(SimpleNamespace):
    """What the reader asks of an ``ase.Atoms``."""

    def __len__(self):
        return len(self.numbers)


def atoms(numbers, positions=None, pbc=False):
    numbers = np.array(numbers, int)
    return Atoms(
        pbc=[pbc] * 3,
        numbers=numbers,
        positions=np.zeros((len(numbers), 3)) if positions is None else positions,
    )


@pytest.fixture
def ase(monkeypatch):
    """Stands in for ASE; ``ase.frames`` is what it reads, or raises."""
    package, io = ModuleType("ase"), ModuleType("ase.io")
    package.__spec__ = importlib.util.spec_from_loader("ase", None)

    def read(path, index):
        assert index == ":"
        if isinstance(package.frames, Exception):
            raise package.frames
        return package.frames

    io.read, package.io = read, io
    monkeypatch.setitem(sys.modules, "ase", package)
    monkeypatch.setitem(sys.modules, "ase.io", io)
    return package


def test_npz_files_need_no_targets(tmp_path):
    arrays = to_arrays(load()[:5])
    np.savez(tmp_path / "with.npz", **arrays)
    np.testing.assert_array_equal(read_structures(tmp_path / "with.npz").targets, arrays["targets"])
    del arrays["targets"]
    np.savez(tmp_path / "without.npz", **arrays)
    molecules = read_structures(tmp_path / "without.npz")
    np.testing.assert_array_equal(molecules.ids, arrays["ids"])
    assert np.isnan(molecules.targets).all()
    del arrays["numbers"]
    np.savez(tmp_path / "less.npz", **arrays)
    with pytest.raises(ValueError, match=r"has no array 'numbers'; it needs \('num_atoms', 'numb"):
        read_structures(tmp_path / "less.npz")


@pytest.mark.parametrize("name", ["water.xyz", "WATER.XYZ", "water.extxyz"])
def test_xyz_files_need_no_ase(tmp_path, name):
    (tmp_path / name).write_text(WATER)
    assert len(read_structures(tmp_path / name)) == 1


def test_a_path_that_is_no_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent.xyz does not exist"):
        read_structures(tmp_path / "absent.xyz")
    with pytest.raises(ValueError, match="is not a file"):
        read_structures(tmp_path)


def test_other_files_need_ase(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (tmp_path / "a.sdf").touch()
    with pytest.raises(
        ModuleNotFoundError, match=r"files of the type '.sdf' are read by ASE, which"
    ):
        read_structures(tmp_path / "a.sdf")


def test_ase_reads_the_others(tmp_path, ase, caplog):
    (tmp_path / "a.sdf").touch()
    ase.frames = [atoms([8, 1, 1]), atoms([6], np.array([[1.0, 2.0, 3.0]]))]
    molecules = read_structures(tmp_path / "a.sdf")
    np.testing.assert_array_equal(molecules.num_atoms, [3, 1])
    np.testing.assert_array_equal(molecules.numbers, [8, 1, 1, 6])
    np.testing.assert_array_equal(molecules.positions[3], [1, 2, 3])
    assert np.isnan(molecules.targets).all()
    assert caplog.text == ""
    ase.frames = [atoms([8], pbc=True)]
    read_structures(tmp_path / "a.sdf")
    assert "periodic cells, which are not seen" in caplog.text


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (RuntimeError("no such\nformat"), "a.sdf cannot be read by ASE: no such format"),
        (KeyError(), "a.sdf cannot be read by ASE: KeyError"),
        ([], "a.sdf holds no molecules"),
        ([atoms([8]), atoms([])], "a.sdf, frame 1: there are no atoms"),
        ([atoms([8, 26])], "a.sdf, frame 0: unknown element with atomic number 26; known are H"),
        ([atoms([8], np.full((1, 3), np.nan))], "a.sdf, frame 0: positions are not finite"),
    ],
)
def test_what_ase_cannot_give_is_named(tmp_path, ase, frames, message):
    (tmp_path / "a.sdf").touch()
    ase.frames = frames
    with pytest.raises(ValueError, match=message):
        read_structures(tmp_path / "a.sdf")


def test_ase_itself_reads_a_file(tmp_path):
    ase_io = pytest.importorskip("ase.io")
    (tmp_path / "water.xyz").write_text(WATER)
    ase_io.write(tmp_path / "water.traj", ase_io.read(tmp_path / "water.xyz"))
    ours, theirs = (read_structures(tmp_path / f"water.{kind}") for kind in ("xyz", "traj"))
    np.testing.assert_array_equal(ours.numbers, theirs.numbers)
    np.testing.assert_allclose(ours.positions, theirs.positions)

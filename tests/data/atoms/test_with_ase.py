"""Files that ASE reads."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from eqattn.data.atoms import read_configurations

FILES = Path(__file__).parent / "cases"


class Atoms(SimpleNamespace):
    """What the reader asks of an ``ase.Atoms``."""

    def __len__(self):
        return len(self.numbers)


def atoms(numbers, positions=None, pbc=False, **known):
    numbers = np.array(numbers, int)
    known = {"info": {}, "arrays": {}, "calc": None, "cell": np.zeros((3, 3))} | known
    return Atoms(
        **known,
        pbc=[pbc] * 3,
        numbers=numbers,
        positions=np.zeros((len(numbers), 3)) if positions is None else positions,
    )


@pytest.fixture
def ase(monkeypatch):
    """Stands in for ASE; ``ase.frames`` is what it reads, or raises."""
    package, io = ModuleType("ase"), ModuleType("ase.io")
    formats = ModuleType("ase.io.formats")
    package.__spec__ = importlib.util.spec_from_loader("ase", None)

    def read(path, index, format):
        assert (index, format) == (":", "any")
        if isinstance(package.frames, Exception):
            raise package.frames
        return package.frames

    formats.filetype = lambda path: "any"
    io.read, package.io = read, io
    monkeypatch.setitem(sys.modules, "ase", package)
    monkeypatch.setitem(sys.modules, "ase.io", io)
    monkeypatch.setitem(sys.modules, "ase.io.formats", formats)
    return package


def test_other_files_need_ase(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (tmp_path / "a.sdf").touch()
    with pytest.raises(
        ModuleNotFoundError, match=r"files of the type '.sdf' are read by ASE, which"
    ):
        read_configurations(tmp_path / "a.sdf")


def test_ase_reads_the_others(tmp_path, ase):
    (tmp_path / "a.sdf").touch()
    ase.frames = [atoms([8, 1, 1]), atoms([6], np.array([[1.0, 2.0, 3.0]]))]
    molecules = read_configurations(tmp_path / "a.sdf")
    np.testing.assert_array_equal(molecules.num_atoms, [3, 1])
    np.testing.assert_array_equal(molecules.numbers, [8, 1, 1, 6])
    np.testing.assert_array_equal(molecules.positions[3], [1, 2, 3])
    assert not molecules.periodic.any()
    ase.frames = [atoms([8], pbc=True)]
    assert read_configurations(tmp_path / "a.sdf").periodic.all()


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (RuntimeError("no such\nformat"), "a.sdf cannot be read by ASE: no such format"),
        (KeyError(), "a.sdf cannot be read by ASE: KeyError"),
        ([], "a.sdf holds no molecules"),
        ([atoms([8]), atoms([])], "a.sdf, frame 1: there are no atoms"),
        ([atoms([8, 0])], "a.sdf, frame 0: unknown element with atomic number 0"),
        ([atoms([8, 119])], "a.sdf, frame 0: unknown element with atomic number 119"),
        ([atoms([8], np.full((1, 3), np.nan))], "a.sdf, frame 0: positions are not finite"),
        (
            [atoms([8], info={"energy": np.inf})],
            "a.sdf, frame 0: 'energy' is not finite in float32",
        ),
    ],
)
def test_what_ase_cannot_give_is_named(tmp_path, ase, frames, message):
    (tmp_path / "a.sdf").touch()
    ase.frames = frames
    with pytest.raises(ValueError, match=message):
        read_configurations(tmp_path / "a.sdf")


def test_ase_itself_reads_a_file(tmp_path):
    """What a calculator found comes with it, as from the extended xyz of the same frames."""
    ase_io = pytest.importorskip("ase.io")
    frames = ase_io.read(FILES / "own_data.extxyz", index=":")
    ase_io.write(tmp_path / "own.traj", frames)
    ours = read_configurations(FILES / "own_data.extxyz")
    theirs = read_configurations(tmp_path / "own.traj")
    np.testing.assert_array_equal(ours.numbers, theirs.numbers)
    np.testing.assert_allclose(ours.positions, theirs.positions)
    np.testing.assert_array_equal(ours.cells, theirs.cells)
    np.testing.assert_array_equal(ours.periodic, theirs.periodic)
    np.testing.assert_array_equal(ours.properties["energy"], theirs.properties["energy"])
    np.testing.assert_array_equal(ours.atom_properties["forces"], theirs.atom_properties["forces"])


def test_a_dipole_of_three_atoms_is_of_the_molecule(tmp_path, ase):
    """Whatever the number of atoms: its three numbers are not one for each of three atoms."""
    (tmp_path / "a.sdf").touch()
    results = {"energy": -1.0, "dipole": np.array([0.0, 0.1, 0.6]), "charges": np.arange(3.0)}
    ase.frames = [atoms([8, 1, 1], calc=SimpleNamespace(results=results))]
    found = read_configurations(tmp_path / "a.sdf")
    np.testing.assert_array_equal(found.properties["dipole"], [[0.0, 0.1, 0.6]])
    np.testing.assert_array_equal(found.properties["energy"], [-1.0])
    np.testing.assert_array_equal(found.atom_properties["charges"], [0.0, 1.0, 2.0])


def test_all_records_of_an_sdf_file_are_read():
    pytest.importorskip("ase")
    molecules = read_configurations(FILES / "two_records.sdf")
    np.testing.assert_array_equal(molecules.num_atoms, [3, 5])
    np.testing.assert_array_equal(molecules.numbers, [8, 1, 1, 6, 1, 1, 1, 1])
    np.testing.assert_allclose(molecules.positions[[2, 4]], [[0, -0.7572, -0.4692], [0.63] * 3])


def test_several_jobs_of_gaussian_are_refused():
    pytest.importorskip("ase")
    with pytest.raises(
        ValueError, match=r"two_links\.com cannot be .* it holds 2 molecules, and of"
    ):
        read_configurations(FILES / "two_links.com")


def atom_line(number, x):
    return (
        f"HETATM{number:5}  O   HOH A{number:4}    {x:8.3f}{0:8.3f}{0:8.3f}  1.00  0.00           O"
    )


MODELS = [f"MODEL     {n}\n{atom_line(n, float(n))}\nENDMDL\n" for n in (1, 2)]
GRO = "a\n1\n    1HOH      O    1   0.100   0.000   0.000\n 5.0 5.0 5.0\n"
COORD = "$coord\n 0.0 0.0 1.0 o\n$end\n"
CIF = (
    "data_{}\n_cell_length_a 9\n_cell_length_b 9\n_cell_length_c 9\n_cell_angle_alpha 90\n"
    "_cell_angle_beta 90\n_cell_angle_gamma 90\nloop_\n_atom_site_label\n_atom_site_fract_x\n"
    "_atom_site_fract_y\n_atom_site_fract_z\nO1 0.1 0.2 0.3\n"
)


def mol(name):
    return (FILES / "two_records.sdf").read_text().split("$$$$\n")[name]


@pytest.mark.parametrize(
    ("name", "text", "sizes"),
    [
        ("one.pdb", atom_line(1, 1.0) + "\nEND\n", [1]),
        ("models.pdb", "".join(MODELS) + "END\n", [1, 1]),
        ("one.sdf", mol(0), [3]),
        ("joined.sdf", mol(0) + mol(1), [3, 5]),
        ("one.gro", GRO, [1]),
        ("two.cif", CIF.format("a") + CIF.format("b"), [1, 1]),
        ("one.com", "#p hf\n\na\n\n0 1\nO 0.0 0.0 0.0\nH 0.0 0.0 1.0\n\n", [2]),
    ],
)
def test_as_many_molecules_as_the_file_marks(tmp_path, name, text, sizes):
    pytest.importorskip("ase")
    (tmp_path / name).write_text(text)
    np.testing.assert_array_equal(read_configurations(tmp_path / name).num_atoms, sizes)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "cut.pdb",
            "".join(MODELS).removesuffix("ENDMDL\n"),
            "holds 2 molecules, of which ASE reads 1",
        ),
        ("two.gro", GRO + GRO, "it holds 2 molecules, and of a file of the format 'gromacs'"),
        ("coord", COORD + COORD, "it holds 2 molecules, and of a file of the format 'turbomole'"),
    ],
)
def test_fewer_molecules_than_the_file_marks_are_refused(tmp_path, name, text, message):
    pytest.importorskip("ase")
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_configurations(tmp_path / name)

"""Frames of xyz files, and what extended xyz says of them."""

from pathlib import Path

import numpy as np
import pytest

from eqattn.data.atoms.xyz import read_xyz
from eqattn.tasks.molecules import load

FILES = Path(__file__).parent / "cases"
WATER = "3\nwater\nO 0 0 0.119\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n"


def write(path, text):
    path.write_text(text)
    return path


def test_frames_become_molecules(tmp_path):
    both = read_xyz(write(tmp_path / "a.xyz", WATER + "1\n\nC 1e0 -2.5 3\n\n \n"))
    assert len(both) == 2
    np.testing.assert_array_equal(both.ids, [0, 1])
    np.testing.assert_array_equal(both.num_atoms, [3, 1])
    np.testing.assert_array_equal(both.numbers, [8, 1, 1, 6])
    np.testing.assert_allclose(both.positions[[0, 3]], [[0, 0, 0.119], [1, -2.5, 3]], rtol=1e-6)
    assert not both.properties
    assert not both.periodic.any()


@pytest.mark.parametrize(
    "atoms",
    [
        "8 0 0 1\n6 0 0 2.2\n",  # atomic numbers
        "o 0 0 1\nc 0 0 2.2\n",
        "O\t0\t0\t1\nC\t0\t0\t2.2\r\n",
        "O 0 0 1 -0.4 label\nC 0 0 2.2 0.4 label\n",
        "8 0.0 0.0 1.0 -0.4\n6 0 0.0 2.2 0.4\n",  # with charges
    ],
)
def test_elements_and_columns_are_taken_as_they_come(tmp_path, atoms):
    molecules = read_xyz(write(tmp_path / "a.xyz", "2\n\n" + atoms))
    np.testing.assert_array_equal(molecules.numbers, [8, 6])
    np.testing.assert_allclose(molecules.positions[:, 2], [1, 2.2], rtol=1e-6)


def test_properties_of_extended_xyz_name_the_columns(tmp_path):
    text = '1\nProperties="forces:R:3:pos:R:3:Z:I:1" energy=1.0\n9 9 9 1 2 3 7\n'
    molecules = read_xyz(write(tmp_path / "a.xyz", text))
    np.testing.assert_array_equal(molecules.numbers, [7])
    np.testing.assert_array_equal(molecules.positions, [[1, 2, 3]])


def test_a_byte_order_mark_is_skipped(tmp_path):
    (tmp_path / "a.xyz").write_text(WATER, encoding="utf-8-sig")
    assert len(read_xyz(tmp_path / "a.xyz")) == 1


@pytest.mark.parametrize(
    ("comment", "periodic"),
    [
        ('Lattice="9 0 0 0 8 0 1 0 7"', [True] * 3),
        ('Lattice="9 0 0 0 8 0 1 0 7" pbc="F F F"', [False] * 3),
        ('Lattice="9 0 0 0 8 0 1 0 7" pbc=[True, False, False]', [True, False, False]),
        ("LATTICE='9 0 0 0 8 0 1 0 7' PBC=T", [True] * 3),
    ],
)
def test_cells(tmp_path, comment, periodic):
    found = read_xyz(write(tmp_path / "a.xyz", WATER.replace("water", comment) + WATER))
    np.testing.assert_array_equal(found.cells[0], [[9, 0, 0], [0, 8, 0], [1, 0, 7]])
    np.testing.assert_array_equal(found.periodic, [periodic, [False] * 3])
    np.testing.assert_array_equal(found.cells[1], np.zeros((3, 3)))


def test_numbers_of_a_comment_are_properties(tmp_path):
    comments = (
        'energy=-1.5 dipole="1 2.5 -3e-1" config_type=bulk done=T charge = 2 stress={0 0 1D-1}',
        "REF_energy=nan energy=NaN note='two words' dipole=[4, 5, 6] eV=",
    )
    text = "".join(WATER.replace("water", comment) for comment in comments)
    found = read_xyz(write(tmp_path / "a.xyz", text)).properties
    assert set(found) == {"energy", "dipole", "charge", "stress", "REF_energy"}
    np.testing.assert_array_equal(found["energy"], [-1.5, np.nan])
    np.testing.assert_array_equal(found["dipole"], [[1, 2.5, -0.3], [4, 5, 6]])
    np.testing.assert_array_equal(found["charge"], [2, np.nan])
    np.testing.assert_array_equal(found["stress"], [[0, 0, 0.1], [np.nan] * 3])
    np.testing.assert_array_equal(found["REF_energy"], [np.nan] * 2)


def test_columns_of_numbers_are_properties_of_atoms():
    found = read_xyz(FILES / "own_data.extxyz")
    np.testing.assert_array_equal(found.properties["energy"], [-137.5, -310.25])
    assert set(found.atom_properties) == {"forces"}
    np.testing.assert_array_equal(
        found.atom_properties["forces"][[0, 3]], [[0.01, 0, -0.02], [0, 0, 0.03]]
    )


def test_atoms_of_which_a_file_says_less(tmp_path):
    text = (
        "1\nProperties=species:S:1:pos:R:3:charge:R:1:label:S:1\nO 0 0 0 -0.5 a\n"
        "1\nProperties=species:S:1:pos:R:3:forces:R:3\nH 0 0 0 nan 1 2\n1\nplain\nH 0 0 0\n"
    )
    found = read_xyz(write(tmp_path / "a.xyz", text)).atom_properties
    np.testing.assert_array_equal(found["charge"], [-0.5, np.nan, np.nan])
    np.testing.assert_array_equal(found["forces"], [[np.nan] * 3, [np.nan, 1, 2], [np.nan] * 3])


CASES = {  # atomic numbers of each frame
    "qm9_raw.xyz": [[6, 1, 1, 1, 1]],
    "fortran_exponents.xyz": [[8, 1, 1]],
    "blank_lines.xyz": [[8, 1, 1], [1, 1]],
    "own_data.extxyz": [[8, 1, 1], [16, 1, 1]],
    "labels.xyz": [[6, 1, 6, 1]],
    "far_from_origin.xyz": [[8, 1, 1]],
}


@pytest.mark.parametrize(("name", "frames"), CASES.items())
def test_what_other_programs_write(name, frames, caplog):
    molecules = read_xyz(FILES / name)
    np.testing.assert_array_equal(molecules.num_atoms, [len(frame) for frame in frames])
    np.testing.assert_array_equal(molecules.numbers, np.concatenate(frames))
    assert caplog.text == ""


def test_exponents_of_mathematica_and_fortran():
    np.testing.assert_array_equal(
        read_xyz(FILES / "qm9_raw.xyz").positions[[1, 2]],
        [[0.00215, -0.006031, 0.00198], [1.01173, 1.46375, 2.766e-4]],
    )
    np.testing.assert_array_equal(
        read_xyz(FILES / "fortran_exponents.xyz").positions,
        [[0, 0, 0.1173], [0, 0.7572, -0.4692], [0, -0.7572, -0.4692]],
    )


def test_files_of_qm9_may_follow_each_other(tmp_path):
    text = (FILES / "qm9_raw.xyz").read_text()
    molecules = read_xyz(write(tmp_path / "a.xyz", text + "\n" + text))
    np.testing.assert_array_equal(molecules.num_atoms, [5, 5])
    cut = text[: text.index("InChI")]
    with pytest.raises(ValueError, match=r"line 8 \(frame 1\): the number of atoms is needed"):
        read_xyz(write(tmp_path / "b.xyz", cut + "C"))


def test_digit_groups_are_no_numbers():
    with pytest.raises(ValueError, match=r"underscore\.xyz, line 4 \(frame 0\): '0 0 1_1' are not"):
        read_xyz(FILES / "underscore.xyz")


def test_digits_far_from_the_origin_are_kept():
    positions = read_xyz(FILES / "far_from_origin.xyz").positions
    assert np.linalg.norm(positions[1] - positions[0]) == pytest.approx(0.9572, abs=1e-4)


def test_what_is_written_comes_back(tmp_path):
    some = load()[:20]
    lines = []
    for begin, end in zip(some.offsets[:-1], some.offsets[1:], strict=True):
        lines += [str(end - begin), ""]
        atoms = zip(some.numbers[begin:end], some.positions[begin:end].tolist(), strict=True)
        lines += [f"{number} {x!r} {y!r} {z!r}" for number, (x, y, z) in atoms]
    back = read_xyz(write(tmp_path / "a.xyz", "\n".join(lines)))
    np.testing.assert_array_equal(back.num_atoms, some.num_atoms)
    np.testing.assert_array_equal(back.numbers, some.numbers)
    np.testing.assert_array_equal(back.positions, some.positions)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.xyz is empty"),
        ("H 0 0 0\n", r"a.xyz, line 1 \(frame 0\): the number of atoms is needed, got 'H 0 0 0'"),
        ("-1\n\n", r"line 1 \(frame 0\): the number of atoms is needed, got '-1'"),
        ("0\n\n", r"line 1 \(frame 0\): the number of atoms is '0'"),
        ("9" * 20 + "\n\n", "the number of atoms is '9999"),
        (WATER + WATER[:-24], r"line 6 \(frame 1\): 3 atoms are announced, and 2 lines are left"),
        (
            "1\n\n1 6 0.0 0.5 1.2\n",
            r"line 3 \(frame 0\): '1 6 0\.0 0\.5 1\.2' may begin with the number of the atom",
        ),
        (
            WATER.replace("O 0 0 0", "O 0 0"),
            r"line 3 .*an element and three coordinates are needed",
        ),
        (WATER.replace("O", "Xx"), r"line 3 \(frame 0\): unknown element 'Xx'"),
        (WATER.replace("O", "119"), r"line 3 \(frame 0\): unknown element '119'"),
        (WATER.replace("O", "40O"), r"unknown element '40O': there is no such isotope"),
        (WATER.replace("0.119", "nan"), r"line 3 \(frame 0\): '0 0 nan' are not coordinates"),
        (WATER.replace("0.119", "1e39"), r"line 3 .* '0 0 1e39' is not finite in float32"),
        (WATER.replace("0.119", "\uff11"), r"line 3 .* are not coordinates"),
        (WATER.replace("3", "\uff13", 1), "line 1 .*: the number of atoms is needed"),
        (WATER.replace("0.119", "0,119"), r"line 3 \(frame 0\): '0 0 0,119' are not coordinates"),
        (WATER.replace("water", "Properties=pos:R:3"), "names no species:S:1 and pos:R:3"),
        (WATER.replace("water", "Properties=species:S:1:pos:R:2"), "names no species:S:1 and pos"),
        (WATER.replace("water", "Properties=species:S:pos:R:3"), "is not name:kind:columns"),
        (
            WATER.replace("water", 'pbc="?"'),
            r"line 2 \(frame 0\): pbc='\?' is not three of T and F",
        ),
        (
            WATER.replace("water", 'Lattice="1 2 3"'),
            "Lattice='1 2 3' is not three vectors of three",
        ),
        (WATER.replace("water", "energy=1 energy=2"), "the key 'energy' stands there twice, with"),
        (
            WATER.replace("water", "energy=-inf"),
            r"line 2 .*: energy='-inf' is not finite in float32",
        ),
        (WATER.replace("water", "energy=1e39"), "energy='1e39' is not finite in float32"),
        (
            WATER.replace("water", "E=1") + WATER.replace("water", 'E="1 2"'),
            r"line 7 \(frame 1\): 'E' has the shape \[2\], and in frame 0 \[\]",
        ),
        (
            "1\nProperties=species:S:1:pos:R:3:q:R:1\nO 0 0 0 x\n",
            r"line 3 \(frame 0\): q: 'x' is not a number",
        ),
        (
            WATER.replace("water", "Properties=species:S:1:pos:R:3:q:R:1:q:R:1"),
            "names 'q' twice",
        ),
        (
            WATER.replace("water", "Properties=species:S:1:pos:R:3:forces:R:3"),
            "line 3 .*: 7 columns, as Properties names them, are needed, got 'O 0 0 0.119'",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line_and_frame(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_xyz(write(tmp_path / "a.xyz", text))


def test_what_is_not_text_is_named(tmp_path):
    (tmp_path / "a.xyz").write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match=r"a\.xyz is not an xyz file: it is not text"):
        read_xyz(tmp_path / "a.xyz")

"""Files of configurations by their endings, and what is written and read back."""

import numpy as np
import pytest

from eqattn.data.atoms import Configurations, read_configurations, write_npz, write_xyz
from eqattn.data.atoms.archives import KCAL_PER_MOL_IN_EV
from eqattn.data.atoms.writing import append_xyz
from tests.full_disk import limited

WATER = "3\nwater\nO 0 0 0.119\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n"
ROOM = np.array([[9.0, 0.0, 0.0], [0.5, 8.0, 0.0], [0.0, 0.1, 7.0]])


@pytest.mark.parametrize("name", ["water.xyz", "WATER.XYZ", "water.extxyz"])
def test_xyz_files_need_no_ase(tmp_path, name):
    (tmp_path / name).write_text(WATER)
    assert len(read_configurations(tmp_path / name)) == 1


def test_a_path_that_is_no_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent.xyz does not exist"):
        read_configurations(tmp_path / "absent.xyz")
    with pytest.raises(ValueError, match="is not a file"):
        read_configurations(tmp_path)


def some(num=3):
    """Configurations of several sizes with everything that there may be, some of it unknown."""
    rng = np.random.default_rng(0)
    num_atoms = np.array([3, 1, 2], np.int32)[:num]
    size = int(num_atoms.sum())
    dipole = rng.normal(size=(num, 3))
    dipole[0] = np.nan
    return Configurations(
        ids=np.arange(num),
        num_atoms=num_atoms,
        numbers=rng.integers(1, 119, size).astype(np.uint8),
        positions=1e6 + rng.normal(size=(size, 3)),
        cells=np.stack([ROOM, np.zeros((3, 3)), ROOM])[:num],
        periodic=np.array([[True, True, False], [False] * 3, [True] * 3])[:num],
        properties={"energy": rng.normal(size=num), "dipole": dipole},
        atom_properties={"charge": rng.normal(size=size), "forces": rng.normal(size=(size, 3))},
    )


@pytest.mark.parametrize(("write", "name"), [(write_xyz, "a.extxyz"), (write_npz, "a.npz")])
def test_what_is_written_is_read_back(tmp_path, write, name):
    before = some()
    write(tmp_path / name, before)
    after = read_configurations(tmp_path / name)
    for field in ("ids", "num_atoms", "numbers", "positions", "cells", "periodic"):
        np.testing.assert_array_equal(getattr(after, field), getattr(before, field), field)
    for kind in ("properties", "atom_properties"):
        found, expected = getattr(after, kind), getattr(before, kind)
        assert found.keys() == expected.keys()
        for key in expected:
            np.testing.assert_array_equal(found[key], expected[key], key)


def test_a_file_grows_by_whole_configurations(tmp_path):
    """On a disk that is full, what was there can be read as before."""
    path, whole = tmp_path / "grown.extxyz", some()
    append_xyz(path, whole)
    append_xyz(path, whole[np.array([1])])
    size = path.stat().st_size
    with limited(size + 100), pytest.raises(OSError, match="File too large") as raised:
        append_xyz(path, whole)
    assert raised.value.filename == str(path)
    assert path.stat().st_size == size
    np.testing.assert_array_equal(read_configurations(path).num_atoms, [3, 1, 2, 1])
    write_xyz(tmp_path / "whole.extxyz", whole)
    assert path.read_bytes().startswith((tmp_path / "whole.extxyz").read_bytes())


def test_what_is_written_ase_reads(tmp_path):
    ase_io = pytest.importorskip("ase.io")
    before = some()
    write_xyz(tmp_path / "a.extxyz", before)
    first, second, third = ase_io.read(tmp_path / "a.extxyz", index=":")
    np.testing.assert_array_equal(first.cell[:], ROOM)
    np.testing.assert_array_equal(first.pbc, [True, True, False])
    assert not second.pbc.any()
    assert third.get_potential_energy() == before.properties["energy"][2]
    np.testing.assert_array_equal(first.get_forces(), before.atom_properties["forces"][:3])


def test_places_are_chosen_with_all_that_is_known():
    chosen, everything = some()[np.array([2, 0])], some()
    np.testing.assert_array_equal(chosen.num_atoms, [2, 3])
    np.testing.assert_array_equal(chosen.positions[2:], everything.positions[:3])
    np.testing.assert_array_equal(chosen.cells[0], everything.cells[2])
    np.testing.assert_array_equal(chosen.periodic[1], everything.periodic[0])
    for name, values in everything.properties.items():
        np.testing.assert_array_equal(chosen.properties[name], values[[2, 0]])
    for name, values in everything.atom_properties.items():
        np.testing.assert_array_equal(chosen.atom_properties[name], values[[4, 5, 0, 1, 2]])


MD17 = ("R", "z", "E", "F")
REVISED = ("coords", "nuclear_charges", "energies", "forces")


@pytest.mark.parametrize("names", [MD17, REVISED])
def test_trajectories_of_md17_are_in_electronvolts(tmp_path, names):
    rng = np.random.default_rng(0)
    positions, forces = rng.normal(size=(2, 4, 3, 3))
    energies = -97_000.0 + rng.normal(size=(4, 1) if names == MD17 else 4)
    arrays = dict(zip(names, (positions, np.array([8, 1, 1]), energies, forces), strict=True))
    np.savez(tmp_path / "a.npz", name=b"water", **arrays)
    found = read_configurations(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.num_atoms, [3] * 4)
    np.testing.assert_array_equal(found.numbers, [8, 1, 1] * 4)
    np.testing.assert_array_equal(found.positions, positions.reshape(12, 3))
    unit = 4184.0 / (6.02214076e23 * 1.602176634e-19)
    assert unit == pytest.approx(KCAL_PER_MOL_IN_EV, rel=1e-9)
    np.testing.assert_allclose(found.properties["energy"], energies.reshape(4) * unit, rtol=1e-9)
    np.testing.assert_allclose(found.atom_properties["forces"][3:6], forces[1] * unit, rtol=1e-9)


def arrays_of(**changes):
    held = {"num_atoms": np.array([2, 1]), "numbers": np.array([8, 1, 1]), "positions": np.eye(3)}
    return {name: array for name, array in (held | changes).items() if array is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"numbers": None}, "has no array 'numbers'; it needs num_atoms, numbers, positions .or z"),
        ({"numbers": np.ones(3)}, "'numbers' must hold integers, got float64"),
        ({"numbers": np.array([8, 1, 119])}, "holds the unknown element 119"),
        ({"num_atoms": np.array([3, 0])}, r"'num_atoms' must be \[M\] with M > 0, each 1 or more"),
        (
            {"num_atoms": np.array([2, 2])},
            r"'numbers' must be \[4\] for 2 configurations of 4 atoms",
        ),
        ({"positions": np.full((3, 3), np.inf)}, "'positions' is not finite in float32"),
        ({"ids": np.array([1, 1])}, "'ids' holds 1 more than once"),
        (
            {"energy": np.zeros(4)},
            r"'energy' must have 2 rows, .* or 3, one for each atom, got \[4\]",
        ),
        ({"energy": np.array([np.inf, 0.0])}, r"'energy' is not finite in float32 at \[0\]"),
        ({"energy": np.array(["a", "b"])}, "'energy' must hold numbers, got <U1"),
        ({"cells": np.zeros((2, 3))}, r"'cells' must be \[2, 3, 3\]"),
        (
            {"R": np.zeros((2, 3)), "z": np.ones(3, int)},
            r"'R' must be \[M, N, 3\] and 'z' \[N\], got",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, changes, message):
    np.savez(tmp_path / "a.npz", **arrays_of(**changes))
    with pytest.raises(ValueError, match=message):
        read_configurations(tmp_path / "a.npz")


def test_a_name_that_cannot_be_a_key_is_refused(tmp_path):
    before = some()
    wrong = Configurations(**{**vars(before), "properties": {"my energy": np.zeros(3)}})
    with pytest.raises(ValueError, match="'my energy' cannot be a key of extended xyz"):
        write_xyz(tmp_path / "a.xyz", wrong)
    assert not (tmp_path / "a.xyz").exists()

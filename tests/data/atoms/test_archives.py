"""npz files of configurations, and whatever else may stand under their name."""

import contextlib
import zipfile
from pathlib import Path

import numpy as np
import pytest

from eqattn.data.atoms.archives import read_npz


def good_arrays() -> dict[str, np.ndarray]:
    return {
        "ids": np.array([7, 3]),
        "num_atoms": np.array([2, 3]),
        "numbers": np.array([1, 1, 8, 1, 1]),
        "positions": np.arange(15.0).reshape(5, 3),
        "targets": np.arange(24.0).reshape(2, 12),
    }


def save(folder: Path, **changes: np.ndarray | None) -> Path:
    path = folder / "mine.npz"
    arrays = good_arrays() | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def changed(name: str, index, value) -> dict[str, np.ndarray]:
    array = good_arrays()[name].copy()
    array[index] = value
    return {name: array}


def test_a_file_gives_its_arrays_in_the_documented_types(tmp_path):
    found = read_npz(save(tmp_path, targets=np.arange(24).reshape(2, 12)))
    names = ("ids", "num_atoms", "numbers", "positions")
    arrays = {name: getattr(found, name) for name in names} | found.properties
    types = {name: array.dtype.name for name, array in arrays.items()}
    assert types == {
        "ids": "int64",
        "num_atoms": "int32",
        "numbers": "uint8",
        "positions": "float64",
        "targets": "float64",
    }
    for name, array in good_arrays().items():
        np.testing.assert_array_equal(arrays[name], array)


def test_properties_are_in_the_order_of_the_file(tmp_path):
    names = [f"p{index}" for index in np.random.default_rng(0).permutation(30)]
    path = save(tmp_path, **{name: np.zeros(2) for name in names})
    assert list(read_npz(path).properties) == ["targets", *names]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": np.zeros((5, 2))}, r"'positions' must be \[5, 3\].* got \[5, 2\]"),
        ({"positions": np.full((5, 3), "a")}, "'positions' must hold numbers, got <U1"),
        (changed("positions", (3, 1), np.nan), r"'positions' is not finite in float32 at \[3, 1\]"),
        (changed("positions", (0, 0), 1e39), r"'positions' is not finite in float32 at \[0, 0\]"),
        ({"num_atoms": np.zeros(0, int)}, r"'num_atoms' must be \[M\] with M > 0.* got \(0,\)"),
        (
            {"num_atoms": np.array([2**62] * 4 + [5]), "ids": None, "targets": None},
            r"'numbers' must be \[18446744073709551621\] for 5 configurations .*, got \[5\]",
        ),
        ({"num_atoms": np.array([2.0, 3.0])}, "'num_atoms' must hold integers, got float64"),
        (changed("numbers", 2, 0), "unknown element 0"),
        (changed("numbers", 2, 257), "unknown element 257"),
        (changed("targets", (1, 4), -np.inf), r"'targets' is not finite in float32 at \[1, 4\]"),
        ({"ids": np.array([3, 3])}, "'ids' holds 3 more than once"),
        ({"ids": np.array([-1, 3])}, "'ids' must be from 0 to 2147483647"),
        ({"ids": np.array([1, 2**31])}, "'ids' must be from 0 to 2147483647"),
        ({"numbers": np.array([None] * 5)}, "cannot be read as an npz file"),
    ],
)
def test_bad_files(tmp_path, changes, message):
    path = save(tmp_path, **changes)
    with pytest.raises(ValueError, match=message) as caught:
        read_npz(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 broken"])
def test_a_file_of_another_kind(tmp_path, content):
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as an npz file"):
        read_npz(path)


def test_a_text_file_is_not_said_to_hold_pickles(tmp_path):
    path = tmp_path / "text.npz"
    path.write_text("x,y,z")
    with pytest.raises(ValueError, match="it is something else, not an npz archive") as caught:
        read_npz(path)
    assert "pickle" not in str(caught.value)


def test_objects_are_not_advised_to_be_unpickled(tmp_path):
    with pytest.raises(ValueError, match="it holds Python objects"):
        read_npz(save(tmp_path, numbers=np.array([None] * 5)))


def test_entries_must_be_arrays(tmp_path):
    path = save(tmp_path, numbers=None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("numbers", b"no array")
    with pytest.raises(ValueError, match="'numbers' is not an array"):
        read_npz(path)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f8', 'shape': (99999999999999,), 'fortran_order': False}",
        b"{'descr': '<f8', 'shape': (3,, 'fortran_order': False}",
        b"{'descr': '<f8', 'shape': (((, 'fortran_order': False",
        b"\x00\x01",
    ],
)
def test_a_damaged_header(tmp_path, header):
    path = save(tmp_path, numbers=None)
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("numbers.npy", content)
    with pytest.raises(ValueError, match=r"mine\.npz cannot be read as an npz file"):
        read_npz(path)


def test_any_damaged_byte_is_a_value_error_or_harmless(tmp_path):
    path = tmp_path / "packed.npz"
    np.savez_compressed(path, **good_arrays())
    good = path.read_bytes()
    for place in range(0, len(good), 7):
        path.write_bytes(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
        with contextlib.suppress(ValueError):
            read_npz(path)


def test_one_array_is_not_an_archive(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(ValueError, match="it is one array, not an npz archive"):
        read_npz(tmp_path / "one.npy")

import contextlib
import zipfile
from pathlib import Path

import numpy as np
import pytest

from eqattn.tasks.molecules import load
from eqattn.tasks.molecules.npz import read_arrays


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
    arrays = read_arrays(save(tmp_path))
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


def test_ids_may_be_missing(tmp_path):
    molecules = load(save(tmp_path, ids=None))
    np.testing.assert_array_equal(molecules.ids, [0, 1])


def test_a_target_may_be_unknown(tmp_path):
    molecules = load(save(tmp_path, **changed("targets", (slice(None), 4), np.nan)))
    np.testing.assert_array_equal(molecules.select_targets(["mu"]), [[0.0], [12.0]])
    with pytest.raises(ValueError, match="no values of 'gap'"):
        molecules.select_targets(["mu", "gap"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": None}, "no array 'positions'"),
        ({"positions": np.zeros((5, 2))}, r"'positions' must be \[5, 3\].* got \[5, 2\]"),
        ({"positions": np.zeros((5, 3), int)}, "'positions' must hold floats, got int64"),
        (changed("positions", (3, 1), np.nan), r"not finite in float32 at atom 3 \(molecule 1\)"),
        (changed("positions", (0, 0), np.inf), r"not finite in float32 at atom 0 \(molecule 0\)"),
        (changed("positions", (0, 0), 1e39), r"not finite in float32 at atom 0 \(molecule 0\)"),
        ({"num_atoms": np.zeros(0, int)}, r"'num_atoms' must be \[M\] with M > 0, got \(0,\)"),
        ({"num_atoms": np.array([5, 0])}, "molecule 1 has 0 atoms"),
        ({"num_atoms": np.array([2, 4])}, r"'numbers' must be \[6\] .*got \[5\]"),
        (
            {
                "num_atoms": np.array([2**62] * 4 + [5]),
                "ids": None,
                "targets": np.zeros((5, 12)),
            },
            r"'numbers' must be \[18446744073709551621\] for 5 molecules .*, got \[5\]",
        ),
        ({"num_atoms": np.array([2.0, 3.0])}, "'num_atoms' must hold integers, got float64"),
        (changed("numbers", 2, 16), "unknown element 16; known are H 1, C 6, N 7, O 8, F 9"),
        (changed("numbers", 2, 0), "unknown element 0"),
        (changed("numbers", 2, 257), "unknown element 257"),
        ({"targets": np.zeros((2, 3))}, r"'targets' must be \[2, 12\].* got \[2, 3\]"),
        ({"targets": np.full((2, 12), "a")}, "'targets' must hold numbers, got <U1"),
        (
            changed("targets", (1, 4), -np.inf),
            "target 'gap' of molecule 1 is -inf; 'targets' are fin",
        ),
        (changed("targets", (0, 0), np.inf), "target 'mu' of molecule 0 is inf"),
        ({"ids": np.array([3, 3])}, "'ids' holds 3 more than once"),
        ({"ids": np.array([-1, 3])}, "'ids' must be from 0 to 2147483647"),
        ({"ids": np.array([1, 2**31])}, "'ids' must be from 0 to 2147483647"),
        ({"numbers": np.array([None] * 5)}, "cannot be read as an npz file"),
    ],
)
def test_bad_files(tmp_path, changes, message):
    path = save(tmp_path, **changes)
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file of molecules at .*none\.npz"):
        load(tmp_path / "none.npz")


def test_a_source_that_is_no_name_is_a_file():
    with pytest.raises(FileNotFoundError, match="qm10: data is 'embedded', 'qm9' or the path"):
        load("qm10")


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 broken"])
def test_a_file_of_another_kind(tmp_path, content):
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as an npz file"):
        load(path)


def test_a_text_file_is_not_said_to_hold_pickles(tmp_path):
    path = tmp_path / "text.npz"
    path.write_text("x,y,z")
    with pytest.raises(ValueError, match="it is something else, not an npz archive") as caught:
        load(path)
    assert "pickle" not in str(caught.value)


def test_objects_are_not_advised_to_be_unpickled(tmp_path):
    with pytest.raises(ValueError, match="it holds Python objects"):
        load(save(tmp_path, numbers=np.array([None] * 5)))


def test_entries_must_be_arrays(tmp_path):
    path = save(tmp_path, numbers=None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("numbers", b"no array")
    with pytest.raises(ValueError, match="'numbers' is not an array"):
        load(path)


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
        load(path)


def test_any_damaged_byte_is_a_value_error_or_harmless(tmp_path):
    path = tmp_path / "packed.npz"
    np.savez_compressed(path, **good_arrays())
    good = path.read_bytes()
    for place in range(0, len(good), 7):
        path.write_bytes(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
        with contextlib.suppress(ValueError):
            load(path)


def test_one_array_is_not_an_archive(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(ValueError, match="it is one array, not an npz archive"):
        load(tmp_path / "one.npy")

from pathlib import Path

import numpy as np
import pytest

from eqattn.data.cache import cache_folder, save_arrays


def test_the_folder_is_the_argument_then_the_variable_then_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("EQATTN_DATA", "/variable")
    assert cache_folder(tmp_path) == tmp_path
    assert cache_folder() == Path("/variable")
    monkeypatch.setenv("EQATTN_DATA", "")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder() == Path("/home/someone/.cache/eqattn")


@pytest.mark.parametrize("use_compression", [False, True])
def test_arrays_come_back(tmp_path, use_compression):
    path = tmp_path / "new" / "folder" / "arrays.npz"
    save_arrays(path, {"a": np.arange(5)}, use_compression=use_compression)
    with np.load(path) as file:
        np.testing.assert_array_equal(file["a"], np.arange(5))
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "arrays.npz"
    save_arrays(path, {"a": np.arange(5)})
    before = path.read_bytes()

    def interrupted(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_arrays(path, {"a": np.arange(6)})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]

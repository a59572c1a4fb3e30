"""Checkpoint files: read without running code, or refused in one line."""

import pickle

import numpy as np
import pytest

from eqattn.interop.state_dicts import read_state_dict

ARRAYS = {"net.0.weight": np.arange(6.0).reshape(2, 3), "net.0.bias": np.ones(2)}


def same(read):
    assert read.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


def test_npz(tmp_path):
    np.savez(tmp_path / "a.npz", **ARRAYS)
    same(read_state_dict(tmp_path / "a.npz"))


def test_safetensors(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    safetensors.save_file(ARRAYS, tmp_path / "a.safetensors")
    same(read_state_dict(tmp_path / "a.safetensors"))


@pytest.mark.parametrize("name", [None, "state_dict", "model_state_dict"])
def test_torch(tmp_path, name):
    torch = pytest.importorskip("torch")
    tensors = {n: torch.from_numpy(a) for n, a in ARRAYS.items()}
    torch.save({name: tensors, "epoch": 3} if name else tensors, tmp_path / "a.pt")
    same(read_state_dict(tmp_path / "a.pt"))


def test_prefix(tmp_path):
    np.savez(tmp_path / "a.npz", other=np.ones(1), **{f"module.{n}": a for n, a in ARRAYS.items()})
    same(read_state_dict(tmp_path / "a.npz", prefix="module."))
    with pytest.raises(ValueError, match=r"prefix 'model\.' begins no name in .*a\.npz"):
        read_state_dict(tmp_path / "a.npz", prefix="model.")


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_nothing_in_a_file_is_executed(tmp_path):
    trap = Trap()
    trap.path = tmp_path / "sprung"
    array = np.empty(1, object)
    array[0] = trap
    np.savez(tmp_path / "a.npz", weight=array)
    (tmp_path / "a.pt").write_bytes(pickle.dumps(trap))
    (tmp_path / "a.safetensors").write_bytes(pickle.dumps(trap))
    with pytest.raises(ValueError, match="cannot be read as npz"):
        read_state_dict(tmp_path / "a.npz")
    for name in ("a.pt", "a.safetensors"):
        with pytest.raises((ValueError, ModuleNotFoundError), match=r"cannot be read as|needs"):
            read_state_dict(tmp_path / name)
    assert not trap.path.exists()
    pickle.loads(pickle.dumps(trap))
    assert trap.path.exists()  # the trap works


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"path must be a checkpoint file, got .*none\.npz"):
        read_state_dict(tmp_path / "none.npz")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match=r"path must end in one of \.npz, .*got .*a\.txt"):
        read_state_dict(tmp_path / "a.txt")
    np.savez(tmp_path / "c.npz", weight=np.ones(100))
    data = bytearray((tmp_path / "c.npz").read_bytes())
    data[200] ^= 0xFF
    (tmp_path / "c.npz").write_bytes(data)
    with pytest.raises(ValueError, match=r"c\.npz cannot be read as npz: Bad CRC-32"):
        read_state_dict(tmp_path / "c.npz")
    with open(tmp_path / "d.npz", "wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(ValueError, match=r"d\.npz cannot be read as npz: it is no zip archive"):
        read_state_dict(tmp_path / "d.npz")
    (tmp_path / "b.npz").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"b\.npz cannot be read as npz"):
        read_state_dict(tmp_path / "b.npz")

import numpy as np
import pytest

from eqattn.train.checkpoints import Checkpoint, CheckpointStore, read_latest


def make(step):
    arrays = {
        "blocks/0/kernel": np.full((2, 3), step, np.float32),
        "step": np.array(step, np.int32),
        "key": np.arange(2, dtype=np.uint32),
    }
    return Checkpoint(step, arrays, {"data": {"next_index": step}, "best": None})


def test_what_is_saved_comes_back_on_the_host(tmp_path):
    with CheckpointStore(tmp_path / "c", keep=2) as store:
        store.save(make(3))
    back = read_latest(tmp_path / "c")
    assert back is not None
    assert back.step == 3
    assert back.record == {"data": {"next_index": 3}, "best": None}
    assert set(back.arrays) == set(make(3).arrays)
    for name, array in make(3).arrays.items():
        assert back.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(back.arrays[name], array)


def test_the_latest_are_kept(tmp_path):
    with CheckpointStore(tmp_path / "c", keep=2) as store:
        for step in (1, 2, 5, 5):
            store.save(make(step))
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["2", "5"]


def test_relative_paths_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with CheckpointStore("c", keep=1) as store:
        store.save(make(1))
    assert read_latest("c") is not None


def test_nothing_saved_is_none(tmp_path):
    assert read_latest(tmp_path / "missing") is None
    (tmp_path / "empty").mkdir()
    assert read_latest(tmp_path / "empty") is None


def test_a_save_that_was_cut_short_does_not_count(tmp_path):
    with CheckpointStore(tmp_path / "c", keep=2) as store:
        store.save(make(1))
    (tmp_path / "c" / "2.orbax-checkpoint-tmp").mkdir()
    back = read_latest(tmp_path / "c")
    assert back is not None
    assert back.step == 1


def test_a_damaged_checkpoint_is_one_clear_error(tmp_path):
    with CheckpointStore(tmp_path / "c", keep=2) as store:
        store.save(make(1))
    (tmp_path / "c" / "1" / "arrays" / "manifest.ocdbt").unlink()
    with pytest.raises(ValueError, match="cannot be read: the checkpoint is damaged"):
        read_latest(tmp_path / "c")

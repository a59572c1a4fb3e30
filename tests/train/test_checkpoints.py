import shutil

import numpy as np
import pytest

from eqattn.train.checkpoints import Checkpoint, CheckpointStore, read_latest
from eqattn.train.checksums import verify_checksums, write_checksums
from tests.full_disk import limited


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


def test_a_changed_byte_in_any_file_is_refused(tmp_path):
    with CheckpointStore(tmp_path / "c", keep=2) as store:
        store.save(make(1))
    folder = tmp_path / "c" / "1"
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    assert len(files) > 5
    for file in files:
        content = file.read_bytes()
        for place in {*range(0, len(content), 83), len(content) - 1}:
            changed = bytearray(content)
            changed[place] ^= 0x20
            file.write_bytes(changed)
            with pytest.raises(ValueError, match=r"c.1 cannot be read: the checkpoint is damaged"):
                read_latest(tmp_path / "c")
        file.write_bytes(content)
    (folder / "more").touch()
    with pytest.raises(ValueError, match=r"damaged .more is not what was written"):
        read_latest(tmp_path / "c")
    (folder / "more").unlink()
    assert read_latest(tmp_path / "c") is not None


def test_each_process_answers_for_its_own_files(tmp_path):
    """Two processes write one checkpoint, as orbax has them do."""
    for name in ("arrays/ocdbt.process_0/a", "arrays/ocdbt.process_1/b", "record"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    write_checksums(tmp_path, 0)
    with pytest.raises(ValueError, match=r"it has no checksums-1\.sha256"):
        verify_checksums(tmp_path)
    write_checksums(tmp_path, 1)
    verify_checksums(tmp_path)
    held = (tmp_path / "checksums-1.sha256").read_text()
    assert held.partition("  ")[2] == "arrays/ocdbt.process_1/b\n"
    (tmp_path / "arrays/ocdbt.process_1/b").write_text("other")
    with pytest.raises(ValueError, match=r"arrays/ocdbt\.process_1/b is not what was written"):
        verify_checksums(tmp_path)


def names_in(folder):
    """Final names: threads of a save that failed may still write beside them."""
    return [entry.name for entry in folder.iterdir() if ".tmp" not in entry.name]


def test_a_full_disk_is_an_error_of_the_system_at_once(tmp_path, monkeypatch):
    with CheckpointStore(tmp_path / "c", keep=1) as store:
        store.save(make(1))
        for size in (20, 300):  # too little for a record, and for the arrays
            with limited(size), pytest.raises(OSError, match="File too large"):
                store.save(make(2))
            assert names_in(tmp_path / "c") == ["1"]
        usage = shutil.disk_usage(tmp_path)._replace(free=1000)
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda path: usage)
            with pytest.raises(OSError, match=r"No space left on device for a checkpoint of 65,"):
                store.save(make(2))
        back = read_latest(tmp_path / "c")
        assert back is not None
        assert back.step == 1
        store.save(make(2))
        assert names_in(tmp_path / "c") == ["2"]


def test_a_damaged_checkpoint_is_one_clear_error(tmp_path):
    with CheckpointStore(tmp_path / "c", keep=2) as store:
        store.save(make(1))
    (tmp_path / "c" / "1" / "arrays" / "manifest.ocdbt").unlink()
    with pytest.raises(ValueError, match="cannot be read: the checkpoint is damaged"):
        read_latest(tmp_path / "c")

import errno
import fcntl

import pytest

from eqattn.train.lock import locked


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def test_a_folder_is_used_by_one_at_a_time(folder):
    with (
        locked(folder),
        pytest.raises(BlockingIOError, match=r"run folder .* is in use by another process"),
        locked(folder),
    ):
        pass
    with locked(folder):
        assert (folder / "config.json").read_text() == "{}"


def test_a_file_system_without_locks_is_used_all_the_same(folder, monkeypatch, caplog):
    def refuse(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(folder):
        pass
    assert "its file system has no locks" in caplog.text


def test_another_error_is_passed_on(folder, monkeypatch):
    def fail(file, operation):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="Input/output error"), locked(folder):
        pass


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json"), locked(tmp_path):
        pass

import errno
import os

import pytest

from eqattn.files import is_fault_of_environment, written_aside
from tests.full_disk import limited


def test_what_is_written_takes_its_name_at_the_end(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with written_aside(path) as aside:
        aside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_too(tmp_path):
    with written_aside(tmp_path / "folder") as aside:
        aside.mkdir()
        (aside / "a.txt").touch()
    assert (tmp_path / "folder" / "a.txt").is_file()
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a[1].txt"
    path.write_text("old")

    def fail(name):
        with written_aside(path) as aside:
            if name == "folder":
                aside.mkdir()
            (aside if name == "file" else aside / "inside").write_text("ha")
            aside.with_name(f"{aside.name}.of-a-library").mkdir()
            raise error("halfway")

    for name in ("file", "folder"):
        with pytest.raises(error, match="halfway"):
            fail(name)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path):
    path = tmp_path / "a.txt"

    def write():
        with written_aside(path) as aside:
            aside.write_text("x" * 1000)

    with limited(10), pytest.raises(OSError, match="File too large") as raised:
        write()
    assert raised.value.filename == str(path)
    assert is_fault_of_environment(raised.value)
    assert not list(tmp_path.iterdir())
    write()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        *((OSError(getattr(errno, name), ""), True) for name in ("ENOSPC", "EDQUOT", "EIO")),
        *((OSError(getattr(errno, name), ""), True) for name in ("EACCES", "EROFS", "EMFILE")),
        *((OSError(getattr(errno, name), ""), False) for name in ("ENOENT", "EISDIR", "EEXIST")),
        (FileExistsError("a.txt exists already"), False),  # of the library, without a number
        (ValueError("No space left on device"), False),
    ],
)
def test_faults_are_told_apart_by_their_cause(error, expected):
    assert is_fault_of_environment(error) is expected
    assert os.strerror(errno.ENOSPC)

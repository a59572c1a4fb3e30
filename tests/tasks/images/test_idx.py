import gzip
import struct

import numpy as np
import pytest

from eqattn.tasks.images.idx import read_idx


def content(array, kind=8):
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, kind, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (300, 1), (0, 3)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_array_is_read_back(tmp_path, shape, pack):
    array = np.random.RandomState(0).randint(256, size=shape).astype(np.uint8)
    path = tmp_path / "some-file"
    path.write_bytes(pack(content(array)))
    read = read_idx(path)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, array)


ARRAY = np.arange(12).reshape(3, 4)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not an idx file: it begins with b''"),
        (b"PK\3\4....", r"is not an idx file: it begins with b'PK"),
        (content(ARRAY, kind=13), r"holds numbers of type 0x0d, not unsigned bytes \(0x08\)"),
        (content(ARRAY)[:8], "is cut off within the sizes of its 2 dimensions"),
        (content(ARRAY)[:-1], r"holds 11 numbers, and its sizes \[3, 4\] ask for 12"),
        (content(ARRAY) + b"\0", r"holds 13 numbers, and its sizes \[3, 4\] ask for 12"),
        (gzip.compress(content(ARRAY), mtime=0)[:-9], "is damaged"),
        (b"\x1f\x8b\x08" + b"\0" * 30, "is damaged"),
    ],
)
def test_a_wrong_file(tmp_path, data, message):
    path = tmp_path / "wrong"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        read_idx(tmp_path / "missing")

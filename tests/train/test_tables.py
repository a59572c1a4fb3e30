import csv
import os

import numpy as np
import pytest

from eqattn.train.tables import check_new_file, write_csv
from tests.full_disk import limited


def test_numbers_come_back_as_they_were(tmp_path):
    values = np.array([0.1, 1 / 3, -1e-300])
    write_csv(tmp_path / "a.csv", {"id": np.array([3, 1, 2]), "cv_cal/(mol K)": values})
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["id"]) for row in rows] == [3, 1, 2]
    assert [float(row["cv_cal/(mol K)"]) for row in rows] == values.tolist()


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "a.csv").write_text("mine")
    with pytest.raises(FileExistsError, match=r"a.csv exists already"):
        write_csv(tmp_path / "a.csv", {"id": np.arange(3)})
    assert (tmp_path / "a.csv").read_text() == "mine"


def test_a_full_disk_leaves_no_table(tmp_path):
    columns = {"id": np.arange(100)}
    with limited(50), pytest.raises(OSError, match="File too large"):
        write_csv(tmp_path / "a.csv", columns)
    assert not list(tmp_path.iterdir())
    write_csv(tmp_path / "a.csv", columns)


def test_a_place_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    with pytest.raises(NotADirectoryError, match=r"a.csv cannot be created: .*no is not a folder"):
        check_new_file(tmp_path / "no" / "a.csv")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(PermissionError, match=r"a.csv cannot be created: .* is not writable"):
        check_new_file(tmp_path / "a.csv")

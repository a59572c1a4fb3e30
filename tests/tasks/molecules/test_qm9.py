import logging
import os

import numpy as np
import pytest

from eqattn.tasks.molecules import TARGETS, examples, load, qm9, split
from tools import make_qm9_subset


def test_examples_are_the_rows_of_the_tables(install_tables):
    install_tables()
    methane, ammonia, cyanoacetylene = examples("qm9")
    assert [methane["id"], ammonia["id"], cyanoacetylene["id"]] == [1, 2, 24]
    np.testing.assert_array_equal(ammonia["numbers"], [7, 1, 1, 1])
    assert ammonia["numbers"].dtype == np.uint8
    np.testing.assert_array_equal(
        methane["positions"][2], np.array([1.0117308433, 1.4637511618, 2.765748e-4], np.float32)
    )
    known = methane["properties"]
    assert all(value.dtype == np.float64 for value in known.values())
    energies = [known["gap"], known["u0"]]
    np.testing.assert_allclose(energies, [13.73631, -17.17218], atol=1e-5)
    others = [known[name] for name in ("mu", "alpha", "r2", "cv")]
    np.testing.assert_allclose(others, [0, 13.21, 35.3641, 6.469])


def test_loading_caches_the_arrays(install_tables, tmp_path, caplog):
    tables = install_tables()
    first = load("qm9", cache_dir=tmp_path / "cache")
    (path,) = (tmp_path / "cache").iterdir()
    assert path.name == "molecules-qm9-qm9pack1.0.3-v2.npz"
    for table in tables.iterdir():
        table.unlink()
    second = load("qm9", cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(first.ids, [1, 2, 24])
    for name in ("ids", "num_atoms", "numbers", "positions"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
        assert getattr(first, name).dtype == getattr(second, name).dtype
    assert list(first.properties) == list(second.properties) == list(TARGETS)
    for name, values in first.properties.items():
        np.testing.assert_array_equal(second.properties[name], values)


def test_a_broken_cache_is_made_again(install_tables, tmp_path, caplog):
    install_tables()
    load("qm9", cache_dir=tmp_path / "cache")
    (path,) = (tmp_path / "cache").iterdir()
    path.write_bytes(b"broken")
    with caplog.at_level(logging.WARNING, "eqattn"):
        assert len(load("qm9", cache_dir=tmp_path / "cache")) == 3
    assert "making the cache again" in caplog.text
    assert path.stat().st_size > 100


def test_a_cache_that_cannot_be_written_is_a_warning(install_tables, tmp_path, caplog):
    install_tables()
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING, "eqattn"):
        assert len(load("qm9", cache_dir=tmp_path / "file")) == 3
    assert "cannot write the cache" in caplog.text


def test_without_the_extra(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.path", [])
    for call in (lambda: load("qm9", cache_dir=tmp_path), lambda: next(examples("qm9"))):
        with pytest.raises(ModuleNotFoundError, match=r"pip install -e '\.\[qm9\]' in"):
            call()


def test_a_missing_table(install_tables):
    (install_tables() / "qm9_part2.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"qm9pack 1.0.3 has no table .*qm9_part2.csv"):
        list(examples("qm9"))


def test_a_missing_column(install_tables):
    install_tables(drop="HOMO_au")
    with pytest.raises(ValueError, match=r"qm9_part1.csv has no column 'HOMO_au'"):
        list(examples("qm9"))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("HOMO_au", "none"),
        ("HOMO_au", "nan"),
        ("HOMO_au", "-0_1"),
        ("Elements", "['N','H','H','Xe']"),
        ("Elements", "['N','H'"),
        ("XYZ_Ang", "[[1.,2.,3.]]"),
        ("XYZ_Ang", "[[1.,x,3.]]"),
        ("XYZ_Ang", "[[1.,1_1,3.]]"),
    ],
)
def test_a_row_that_cannot_be_read(install_tables, column, value):
    install_tables(**{column: value})
    with pytest.raises(ValueError, match=r"qm9_part2.csv, line 2: cannot read molecule '2'"):
        list(examples("qm9"))


def test_the_subset_is_made_of_the_full_set_only(install_tables, tmp_path):
    install_tables()
    with pytest.raises(ValueError, match="qm9pack holds 3 molecules, not 130831"):
        make_qm9_subset.make(tmp_path)


def test_the_subset_and_its_record_are_written(install_tables, tmp_path, monkeypatch):
    install_tables()
    monkeypatch.setattr(qm9, "NUM_MOLECULES", 3)
    made = load(make_qm9_subset.make(tmp_path))
    order = np.random.RandomState(0).permutation(3)
    np.testing.assert_array_equal(made.ids, np.array([1, 2, 24])[order])
    assert '"license_text": "MIT License"' in (tmp_path / "qm9_3000.json").read_text()


@pytest.mark.slow
def test_the_installed_package_gives_the_embedded_molecules(tmp_path):
    try:
        qm9.package_version()
    except ModuleNotFoundError:
        pytest.skip("the extra qm9 (104 MB) is not installed")
    everything = load("qm9", cache_dir=os.environ.get("EQATTN_DATA", tmp_path))
    assert len(everything) == qm9.NUM_MOLECULES
    assert everything.num_atoms.sum() == 2_359_210
    embedded = load()
    chosen = everything[split(everything, "qm9")["train"][:3000]]
    np.testing.assert_array_equal(chosen.ids, embedded.ids)
    np.testing.assert_array_equal(chosen.positions, embedded.positions)
    for name, values in embedded.properties.items():
        np.testing.assert_array_equal(chosen.properties[name], values)

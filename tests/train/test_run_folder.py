import json
import os

import pytest

from eqattn.config import SavedConfig, Standardization
from eqattn.models import LieTransformerConfig
from eqattn.train.config_json import to_json
from eqattn.train.run_folder import (
    FORMAT,
    check_new_folder,
    create_folder,
    package_versions,
    parse_config,
    read_config,
)

GAP = Standardization("gap", "eV", 5.0, 1.5)
SAVED = SavedConfig(in_features=15, out_features=1, standardization=(GAP,))


def write_config(path, text):
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(text)
    return path


def test_config_json_says_what_a_reader_needs(tmp_path):
    path = create_folder(tmp_path / "a" / "run", to_json(SAVED))
    content = json.loads((path / "config.json").read_text())
    assert content["format"] == FORMAT == 3
    assert {"task", "model", "data", "seed", "standardization", "versions"} <= set(content)
    assert parse_config(read_config(path)) == SAVED
    assert not list(path.glob("*.tmp"))


def test_a_model_alone_has_no_task(tmp_path):
    path = create_folder(
        tmp_path / "model", {"model": to_json(LieTransformerConfig()), "in_features": 3}
    )
    content = read_config(path)
    assert set(content) == {"model", "in_features"}


def test_a_byte_order_mark_is_skipped(tmp_path):
    path = create_folder(tmp_path / "run", to_json(SAVED))
    text = (path / "config.json").read_text()
    (path / "config.json").write_text(text, encoding="utf-8-sig")
    assert parse_config(read_config(path)) == SAVED


def test_versions_name_what_decides_the_numbers():
    versions = package_versions()
    assert {"eqattn", "jax", "flax", "optax"} <= set(versions)


def test_an_empty_folder_may_be_used(tmp_path):
    assert check_new_folder(tmp_path) == tmp_path


def test_a_folder_whose_creation_was_cut_short_may_be_used(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json.tmp").write_text('{"form')
    path = create_folder(tmp_path / "run", to_json(SAVED))
    assert [file.name for file in path.iterdir()] == ["config.json"]
    assert parse_config(read_config(path)) == SAVED


def test_nothing_is_overwritten(tmp_path):
    path = create_folder(tmp_path / "run", to_json(SavedConfig()))
    with pytest.raises(FileExistsError, match=r"run folder .*run exists already"):
        create_folder(path, to_json(SavedConfig()))
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match=r"file or folder .*file exists already"):
        check_new_folder(tmp_path / "file")


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"cannot be created: .*file is not a folder"):
        check_new_folder(tmp_path / "file" / "run")


def test_a_place_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(PermissionError, match=r"run cannot be created: .* is not writable"):
        check_new_folder(tmp_path / "run")


def test_what_is_no_run_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing does not exist, or is not a folder"):
        read_config(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match=r"is not a run folder: it has no config.json"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "config.json is not JSON"),
        ("[" * 100_000, "config.json is not JSON that can be read"),
        ('{"format": ' + "9" * 5000 + "}", "config.json is not JSON that can be read"),
        ("[1]", "is not the configuration of a run: it has no format number"),
        ('{"task": "x"}', "is not the configuration of a run: it has no format number"),
        ('{"format": true}', "is not the configuration of a run: it has no format number"),
        ('{"format": 4}', "has format 4, newer than 3, .* upgrade eqattn"),
    ],
)
def test_a_damaged_or_newer_configuration_is_one_clear_error(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_config(write_config(tmp_path / "run", text))


def test_what_cannot_be_written_leaves_no_folder(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        create_folder(tmp_path / "run", to_json(SavedConfig(checkpoint_every=float("nan"))))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"standardization": []}, r"standardization must be of the targets \['gap'\], got \[\]"),
        ({"targets": ["mu"]}, r"standardization must be of the targets \['mu'\], got \['gap'\]"),
        ({"out_features": 0}, "out_features must be at least 1, one for each target, got 0"),
        (
            {"standardization": [{"target": "gap", "unit": "eV", "mean": 0.0, "scale": 0.0}]},
            "the scale of 'gap' must be above 0, got 0.0",
        ),
    ],
)
def test_entries_about_targets_must_agree(tmp_path, changes, message):
    content = read_config(create_folder(tmp_path / "run", to_json(SAVED))) | changes
    with pytest.raises(ValueError, match=f"HERE: {message}"):
        parse_config(content, "HERE")

"""The script that makes the embedded digits, with a stand-in for scikit-learn."""

import importlib.metadata
import json
import sys
import types

import numpy as np
import pytest

from eqattn.tasks.images.data import EMBEDDED_PATH
from tools.make_digits import make


@pytest.fixture
def install(monkeypatch):
    def install(images, target):
        digits = types.SimpleNamespace(images=images, target=target)
        module = types.SimpleNamespace(load_digits=lambda: digits)
        monkeypatch.setitem(sys.modules, "sklearn.datasets", module)
        monkeypatch.setattr(importlib.metadata, "version", lambda name: f"that of {name}")

    return install


def test_it_makes_the_embedded_file_again(install, tmp_path):
    with np.load(EMBEDDED_PATH) as file:
        install(file["pixels"].astype(float), file["labels"].astype(int))
    path = make(tmp_path)
    with np.load(path) as made, np.load(EMBEDDED_PATH) as kept:
        assert set(made) == set(kept)
        for name in made:
            np.testing.assert_array_equal(made[name], kept[name])
            assert made[name].dtype == kept[name].dtype
    made, kept = (
        json.loads(one.with_suffix(".json").read_text(encoding="utf-8"))
        for one in (path, EMBEDDED_PATH)
    )
    assert made["source"].pop("version") == "that of scikit-learn"
    assert kept["source"].pop("version")[0].isdigit()
    changing = {"made": "", "sha256": ""}  # how zlib packs depends on its version
    assert made | changing == kept | changing


def test_other_digits_are_refused(install, tmp_path):
    install(np.zeros((5, 8, 8)), np.zeros(5))
    with pytest.raises(ValueError, match=r"scikit-learn holds images of shape \[5, 8, 8\]"):
        make(tmp_path)

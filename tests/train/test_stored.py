"""Run folders and models that earlier versions wrote load, and say the same as then."""

import json
import zipfile

import jax
import numpy as np
import pytest
from flax import nnx

from eqattn.lift import Frames
from eqattn.train import evaluate, load, resume
from eqattn.train.run_folder import read_run_config
from tests.grids import some
from tests.train.stored import make

EXPECTED = json.loads((make.FOLDER / "expected.json").read_text())


def unpacked(name, folder):
    with zipfile.ZipFile(make.FOLDER / f"{name}.zip") as archive:
        archive.extractall(folder)
    return folder / name


def test_all_are_there():
    stored = {path.stem for path in make.FOLDER.glob("*.zip")}
    assert stored == set(EXPECTED["runs"]) | set(EXPECTED["models"])


@pytest.mark.parametrize("name", some(EXPECTED["models"], "representation", "frames"))
def test_a_model_gives_its_outputs(tmp_path, name):
    with jax.enable_x64(False):  # as they were written: random neighbors are drawn in it
        model, config = load(unpacked(name, tmp_path))
        found = make.outputs(model, make.dimension(config))
    rtol = 1e-2 if config.network.dtype == "bfloat16" else 1e-5
    np.testing.assert_allclose(found, EXPECTED["models"][name], rtol=rtol, atol=rtol)


@pytest.mark.parametrize("name", EXPECTED["runs"])
def test_the_configuration_of_a_run_is_read(tmp_path, name):
    config = read_run_config(unpacked(name, tmp_path))
    assert (config.seed, config.steps, config.model.network.dim) == (3, 4, 8)


@pytest.mark.parametrize("name", some(EXPECTED["runs"], "springs"))
def test_a_run_goes_on_to_its_end(tmp_path, name):
    folder = unpacked(name, tmp_path)
    ended = resume(folder)
    assert ended.steps == 4
    assert make.objectives(ended) == pytest.approx(EXPECTED["runs"][name]["test"], rel=1e-4)
    validation = make.objectives(evaluate(folder, split="validation"))
    assert validation == pytest.approx(EXPECTED["runs"][name]["validation"], rel=1e-4)


def test_frames_within_are_another_function(tmp_path):
    """The control: as what ``Frames()`` is today the stored model says something else."""
    with jax.enable_x64(False):
        model, config = load(unpacked("frames", tmp_path))
        assert config.network.lift == Frames(pairs="across")
        sizes = (model.in_features, model.out_features)
        today = config.replace_network(lift=Frames()).build(*sizes, rngs=nnx.Rngs(0))
        nnx.update(today, nnx.state(model, nnx.Param))
        found = make.outputs(today, make.dimension(config))
    expected = np.array(EXPECTED["models"]["frames"])
    assert np.abs(np.array(found) - expected).max() > 1e-2 * expected.std()

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.config import ModelConfig, RunConfig, SavedConfig
from eqattn.tasks import build_model
from eqattn.train import load, save, train
from eqattn.train.run_folder import write_config_checksum
from tests.full_disk import limited
from tests.train.toy import PRESET

TINY = ModelConfig(dim=8, num_layers=1, num_heads=2, num_radial=2, location_dim=4)


@pytest.fixture(scope="module")
def model():
    return build_model(TINY, 3, 2, seed=1)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model"
    save(model, TINY, path)
    return path


def predict(model):
    points = jax.random.normal(jax.random.key(0), (2, 5, 3), jnp.float32)
    mask = jnp.arange(5) < jnp.array([[5], [3]])
    graphdef, params = nnx.split(model, nnx.Param)
    predict = jax.jit(lambda p, *inputs: nnx.merge(graphdef, p)(*inputs))
    return predict(params, points, jnp.ones((2, 5, 3), jnp.float32), mask)


def edit(path, **changes):
    file = path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    write_config_checksum(path)


def test_a_loaded_model_predicts_the_same(model, saved):
    loaded, config = load(saved)
    assert config == TINY
    np.testing.assert_array_equal(predict(loaded), predict(model))


def test_a_model_is_never_overwritten(model, saved):
    with pytest.raises(FileExistsError, match="exists already"):
        save(model, TINY, saved)


def test_the_configuration_must_be_the_models(model, tmp_path):
    other = dataclasses.replace(TINY, num_layers=2)
    with pytest.raises(ValueError, match="model is of another model: it lacks 'blocks/1/"):
        save(model, other, tmp_path / "a")
    with pytest.raises(ValueError, match="has shape"):
        save(model, dataclasses.replace(TINY, dim=16), tmp_path / "a")
    with pytest.raises(ValueError, match=r"'activation' of the model is 'swish', .* gives 'relu'"):
        save(model, dataclasses.replace(TINY, activation="relu"), tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_other_configurations_and_models_are_refused(model, tmp_path):
    with pytest.raises(TypeError, match="got RunConfig of a LieTransformer"):
        save(model, RunConfig(model=TINY), tmp_path / "a")
    linear = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="got ModelConfig of a Linear"):
        save(linear, TINY, tmp_path / "a")


def test_a_run_is_loaded_with_its_configuration_and_saved_again(tmp_path):
    train(PRESET, tmp_path / "run")
    model, config = load(tmp_path / "run")
    assert isinstance(config, SavedConfig)
    assert config.task == "toy"
    assert config.standardization[1].target == "b"
    save(model, config, tmp_path / "copy")
    again, same = load(tmp_path / "copy")
    assert same == config
    x = jnp.ones((1, 3), jnp.float32)
    np.testing.assert_array_equal(again(x), model(x))


def test_before_the_first_evaluation_the_last_checkpoint_is_loaded(tmp_path):
    train(PRESET, tmp_path / "run")
    model, _ = load(tmp_path / "run")
    (tmp_path / "run" / "best").rename(tmp_path / "best")
    last, _ = load(tmp_path / "run")
    x = jnp.ones((1, 3), jnp.float32)
    np.testing.assert_array_equal(last(x), model(x))  # here the last evaluation was the best
    (tmp_path / "run" / "checkpoints").rename(tmp_path / "checkpoints")
    with pytest.raises(FileNotFoundError, match="has no saved parameters yet"):
        load(tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"format": 2}, ValueError, "has format 2, newer than 1"),
        ({"in_features": None}, ValueError, "in_features must be an integer, got None"),
        ({"in_features": 4}, ValueError, r"another model: 'embedding/kernel' has shape \(3, 8\)"),
        ({"model": None}, TypeError, "config.json: model must be an object"),
        ({"model": {"dim": "8"}}, TypeError, "model.dim must be an integer"),
        ({"model": {"group": "E8"}}, ValueError, "group 'E8' is unknown"),
        ({"model": []}, TypeError, "model/config.json: model must be an object"),
        ({"model": {"dim": 10**30}}, ValueError, r"model.dim must be less than 2\*\*63"),
        ({"model": {"mlp_ratio": 10**400}}, ValueError, "mlp_ratio must be a finite number"),
        (
            {"task": "nothing", "targets": [], "out_features": 0},
            ValueError,
            "task 'nothing' is unknown",
        ),
    ],
)
def test_a_damaged_folder_is_one_clear_error(model, tmp_path, changes, error, message):
    save(model, TINY, tmp_path / "model")
    edit(tmp_path / "model", **changes)
    with pytest.raises(error, match=message):
        load(tmp_path / "model")


def test_a_changed_byte_in_any_file_is_refused(model, tmp_path):
    path = tmp_path / "model"
    save(model, TINY, path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    assert {"config.json", "config.json.sha256"} < {file.name for file in files}
    for file in files:
        content = file.read_bytes()
        for place in {0, len(content) // 2, len(content) - 1}:
            changed = bytearray(content)
            changed[place] ^= 0x20
            file.write_bytes(changed)
            with pytest.raises(ValueError, match=r"is damaged|is not JSON"):
                load(path)
        file.write_bytes(content)
    load(path)


def test_a_full_disk_leaves_nothing(model, tmp_path):
    for size in (100, 600, 4_000):  # of config.json, of a record, of the arrays
        with limited(size), pytest.raises(OSError, match="File too large"):
            save(model, TINY, tmp_path / "model")
        assert not (tmp_path / "model").exists()
    save(model, TINY, tmp_path / "model")
    load(tmp_path / "model")


def test_a_saved_model_has_nothing_to_be_scored_on(saved):
    from eqattn.train import evaluate

    with pytest.raises(ValueError, match="is a saved model without a task"):
        evaluate(saved)

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.config import RunConfig, SavedConfig
from eqattn.layers import Attention, MLPLocation
from eqattn.lift import Haar
from eqattn.models import LieTransformer, LieTransformerConfig
from eqattn.train import load, save, train
from eqattn.train.config_json import to_json
from eqattn.train.run_folder import write_config_checksum
from tests.full_disk import limited
from tests.train.toy import PRESET

TINY = LieTransformerConfig(
    dim=8,
    num_layers=1,
    layer=Attention(num_heads=2, location=MLPLocation(dim=4, num_radial=2)),
)
SAVED = SavedConfig(model=TINY, in_features=3, out_features=2)


@pytest.fixture(scope="module")
def model():
    return TINY.build(3, 2, rngs=nnx.Rngs(1))


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model"
    save(model, path)
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
        save(model, saved)


def test_the_configuration_must_be_the_models(model, tmp_path):
    def save_as(**changes):
        other = dataclasses.replace(TINY, **changes)
        save(model, tmp_path / "a", dataclasses.replace(SAVED, model=other))

    with pytest.raises(ValueError, match="model is of another model: it lacks 'blocks/1/"):
        save_as(num_layers=2)
    with pytest.raises(ValueError, match="has shape"):
        save_as(dim=16)
    with pytest.raises(ValueError, match=r"'activation' of the model is 'swish', .* gives 'relu'"):
        save_as(activation="relu")
    for changes in ({"pool": "sum"}, {"dtype": "bfloat16"}):  # which no parameter tells
        with pytest.raises(ValueError, match="config is not that of the model: model of the model"):
            save_as(**changes)
    wrong = dataclasses.replace(SAVED, model=TINY, in_features=7)
    with pytest.raises(ValueError, match="in_features of the model is 3, the configuration gives"):
        save(model, tmp_path / "a", wrong)
    assert not (tmp_path / "a").exists()


def test_other_configurations_and_models_are_refused(model, tmp_path, no_type_checks):
    for config in (RunConfig(model=TINY), TINY):
        with pytest.raises(TypeError, match="config must be"):
            save(model, tmp_path / "a", config)
    linear = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    for config in (None, SAVED):
        with pytest.raises(TypeError, match=r"must say by its config .*, got a Linear"):
            save(linear, tmp_path / "a", config)
    assert not (tmp_path / "a").exists()


def test_a_model_that_was_changed_after_it_was_built_is_refused(tmp_path):
    changed = TINY.build(3, 2, rngs=nnx.Rngs(1))
    changed.blocks.append(TINY.build(3, 2, rngs=nnx.Rngs(2)).blocks[0])
    with pytest.raises(ValueError, match="model is of another model: it holds 'blocks/1/"):
        save(changed, tmp_path / "a")
    changed = TINY.build(3, 2, rngs=nnx.Rngs(1))
    changed.lift = Haar(2)
    with pytest.raises(ValueError, match=r"'lift' of the model is Haar.*, .* gives NoLift"):
        save(changed, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_model_that_was_built_by_hand_says_how(model, tmp_path):
    """No configuration is written by hand; its types are those of the model."""
    options = {name: getattr(TINY, name) for name in ("dim", "num_layers", "layer")}
    by_hand = LieTransformer(TINY.space, 3, 2, **options, param_dtype=jnp.float32, rngs=nnx.Rngs(1))
    save(by_hand, tmp_path / "a")
    loaded, config = load(tmp_path / "a")
    assert config == TINY
    np.testing.assert_array_equal(predict(loaded), predict(model))


def test_a_run_is_loaded_with_its_configuration_and_saved_again(tmp_path):
    train(PRESET, tmp_path / "run")
    model, config = load(tmp_path / "run")
    assert isinstance(config, SavedConfig)
    assert config.task == "toy"
    assert config.standardization[1].target == "b"
    save(model, tmp_path / "copy", config)
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


def tiny(**changes):
    return to_json(TINY) | changes


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"format": 4}, ValueError, "has format 4, newer than 3"),
        ({"in_features": None}, ValueError, "in_features must be an integer, got None"),
        ({"in_features": 4}, ValueError, r"another model: 'embedding/kernel' has shape \(3, 8\)"),
        ({"model": None}, TypeError, "config.json: model must be a ModelConfig, got None"),
        ({"model": []}, TypeError, r"model/config.json: model must be a ModelConfig, got \[\]"),
        ({"model": {}}, ValueError, "model.class must be one of .*LieTransformerConfig.*got None"),
        ({"model": {"class": "Lion"}}, ValueError, "model.class must be one of .* got 'Lion'"),
        ({"model": tiny(dim="8")}, TypeError, "model.dim must be an integer, got '8'"),
        (
            {"model": tiny(space="euclidean(E8(8))")},
            ValueError,
            "model.space: 'E8' is unknown, did you mean E or SE",
        ),
        (
            {"model": tiny(layer="Attention(heads=2)")},
            ValueError,
            "model.layer: Attention has no option 'heads', its options are .*num_heads",
        ),
        ({"model": tiny(depth=2)}, ValueError, "model.depth is unknown"),
        ({"model": tiny(dim=10**30)}, ValueError, r"model.dim must be less than 2\*\*63"),
        ({"model": tiny(mlp_ratio=10**400)}, ValueError, "mlp_ratio must be a finite number"),
        (
            {"task": "nothing", "targets": [], "out_features": 0},
            ValueError,
            "task 'nothing' is unknown",
        ),
    ],
)
def test_a_damaged_folder_is_one_clear_error(saved, tmp_path, changes, error, message):
    shutil.copytree(saved, tmp_path / "model")
    edit(tmp_path / "model", **changes)
    with pytest.raises(error, match=message):
        load(tmp_path / "model")


def test_a_changed_byte_in_any_file_is_refused(model, tmp_path):
    path = tmp_path / "model"
    save(model, path)
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
            save(model, tmp_path / "model")
        assert not (tmp_path / "model").exists()
    save(model, tmp_path / "model")
    load(tmp_path / "model")


def test_a_saved_model_has_nothing_to_be_scored_on(saved):
    from eqattn.train import evaluate

    with pytest.raises(ValueError, match="is a saved model without a task"):
        evaluate(saved)

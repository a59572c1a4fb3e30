import dataclasses
import json

import pytest

from eqattn.config import ModelConfig, OptimizerConfig, RunConfig, SavedConfig, Standardization
from eqattn.tasks import Score
from eqattn.train.config_json import from_json, to_json
from eqattn.train.run_record import Best, RunRecord, StepRecord

SAVED = SavedConfig(
    targets=("gap", "homo"),
    buckets=(16, 29),
    augment_rotations=True,
    model=ModelConfig(group="T(3)", coordinates="log", dim=64),
    optimizer=OptimizerConfig(learning_rate=3e-4),
    in_features=15,
    out_features=2,
    standardization=(
        Standardization("gap", "eV", 6.9, 1.3),
        Standardization("homo", "eV", -6.5, 0.6),
    ),
    versions={"eqattn": "0.1.0"},
)


@pytest.mark.parametrize("config", [RunConfig(), ModelConfig(), OptimizerConfig(), SAVED])
def test_round_trip_through_text(config):
    text = json.dumps(to_json(config))
    assert from_json(type(config), json.loads(text)) == config


def test_fields_left_out_keep_their_defaults():
    assert from_json(RunConfig, {"steps": 7}) == dataclasses.replace(RunConfig(), steps=7)


def test_whole_numbers_are_numbers():
    assert from_json(OptimizerConfig, {"clip_norm": 2}).clip_norm == 2.0


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({"stepz": 1}, ValueError, r"config.stepz is unknown"),
        ({"steps": "many"}, TypeError, r"config.steps must be an integer, got 'many'"),
        ({"steps": True}, TypeError, r"config.steps must be an integer, got True"),
        ({"steps": 1.5}, TypeError, r"config.steps must be an integer"),
        ({"targets": "gap"}, TypeError, r"config.targets must be a list"),
        ({"targets": [1]}, TypeError, r"config.targets\[0\] must be a string"),
        ({"augment_rotations": 1}, TypeError, r"augment_rotations must be true or false"),
        ({"model": []}, TypeError, r"config.model must be an object"),
        ({"model": {"dim": None}}, TypeError, r"config.model.dim must be an integer, got None"),
        ({"model": {"norm": "batch"}}, ValueError, r"model.norm must be one of pre, post, none"),
        ({"optimizer": {"clip_norm": "1"}}, TypeError, r"clip_norm must be a number"),
        ({"versions": []}, TypeError, r"config.versions must be an object"),
    ],
)
def test_every_mistake_is_named(data, error, message):
    with pytest.raises(error, match=message):
        from_json(SavedConfig, data)


def test_a_field_without_a_default_must_be_there():
    with pytest.raises(ValueError, match="HERE lacks 'objective'"):
        from_json(Best, {"step": 3}, "HERE")


def test_a_value_may_be_missing_where_the_field_says_so():
    stand = RunRecord(3, {"next_index": 3}, 2, None, 0.1, 1.0, (StepRecord(0.5, 0.25, 1.0),))
    assert from_json(RunRecord, to_json(stand)) == stand
    stand = dataclasses.replace(stand, best=Best(2, 0.5, (Score("a", "mae", 0.5, 1.0, "m"),)))
    assert from_json(RunRecord, to_json(stand)) == stand

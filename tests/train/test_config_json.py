import dataclasses
import json
import math

import pytest

from eqattn.attention import NearestNeighbors, RadiusNeighbors
from eqattn.config import OptimizerConfig, RunConfig, SavedConfig, Standardization
from eqattn.groups import SE, SO, T
from eqattn.layers import Attention, Convolution, MLPLogits, RawLocation
from eqattn.lift import Frames, Grid, Haar, Subgroup
from eqattn.models import (
    AccelerationNetworkConfig,
    FieldModelConfig,
    HamiltonianNetworkConfig,
    LieConvNetworkConfig,
    LieTransformerConfig,
    ModelConfig,
    PotentialMLPConfig,
)
from eqattn.spaces import euclidean, position_orientation
from eqattn.tasks import Score
from eqattn.tasks.molecules.presets import MoleculesOptions
from eqattn.train.config_json import from_json, to_json
from eqattn.train.run_record import Best, RunRecord, StepRecord

SAVED = SavedConfig(
    targets=("gap", "homo"),
    options=MoleculesOptions(buckets=(16, 29), augment_rotations=True),
    model=LieTransformerConfig(space=euclidean(T(3)), dim=64, layer=Attention(coordinates="log")),
    optimizer=OptimizerConfig(learning_rate=3e-4),
    in_features=15,
    out_features=2,
    standardization=(
        Standardization("gap", "eV", 6.9, 1.3),
        Standardization("homo", "eV", -6.5, 0.6),
    ),
    versions={"eqattn": "0.1.0"},
)


@pytest.mark.parametrize("config", [RunConfig(), OptimizerConfig(), SAVED])
def test_round_trip_through_text(config):
    text = json.dumps(to_json(config))
    assert from_json(type(config), json.loads(text)) == config


@pytest.mark.parametrize(
    "model",
    [
        LieTransformerConfig(),
        LieTransformerConfig(
            space=position_orientation(SE(3)),
            lift=Haar(3),
            layer=Attention(location=RawLocation(cutoff=1e-7), combine=MLPLogits(dim=5)),
            neighborhood=RadiusNeighbors(0.1, 7, smooth=False),
        ),
        LieTransformerConfig(
            space=euclidean(SO(3)), lift=Haar(2), neighborhood=NearestNeighbors(3, 5)
        ),
        LieTransformerConfig(space=euclidean(SE(2)), lift=Grid(4, offset="random")),
        LieConvNetworkConfig(lift=Subgroup("octahedral"), subsampling=(5, 0)),
        HamiltonianNetworkConfig(potential=PotentialMLPConfig(dtype="float64"), center=False),
        AccelerationNetworkConfig(
            field_model=FieldModelConfig(
                model=LieTransformerConfig(lift=Frames(), layer=Convolution(), output="per_point"),
                input_field="vector + 2x scalar",
                output_field="vector",
            )
        ),
    ],
    ids=lambda model: type(model).__name__,
)
def test_any_model_comes_back_from_its_text_and_names_its_class(model):
    data = json.loads(json.dumps(to_json(model)))
    assert data["class"] == type(model).__name__
    assert from_json(ModelConfig, data) == model


def test_specifications_are_written_in_full():
    """Should a default change one day, a file says what it was."""
    data = to_json(LieTransformerConfig(lift=Haar(2)))
    assert data["lift"] == "Haar(num_samples=2, shared=False)"
    assert data["space"] == "euclidean(SE(3))"
    assert data["neighborhood"] is None
    assert "location=MLPLocation(num_radial=24, cutoff=12.0, dim=32, num_layers=3)" in data["layer"]
    outer = to_json(HamiltonianNetworkConfig(potential=PotentialMLPConfig()))
    assert outer["potential"]["class"] == "PotentialMLPConfig"


def test_a_function_in_place_of_a_name_is_not_written():
    model = LieTransformerConfig(activation=abs)
    with pytest.raises(ValueError, match=r"activation must be a name of jax.nn to be saved"):
        to_json(model)


def test_fields_left_out_keep_their_defaults():
    assert from_json(RunConfig, {"steps": 7}) == dataclasses.replace(RunConfig(), steps=7)


def test_whole_numbers_are_numbers():
    assert from_json(OptimizerConfig, {"clip_norm": 2}).clip_norm == 2.0


def of_class(**fields):
    return {"class": "LieTransformerConfig", **fields}


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({"stepz": 1}, ValueError, r"config.stepz is unknown"),
        ({"steps": "many"}, TypeError, r"config.steps must be an integer, got 'many'"),
        ({"steps": True}, TypeError, r"config.steps must be an integer, got True"),
        ({"steps": 1.5}, TypeError, r"config.steps must be an integer"),
        ({"targets": "gap"}, TypeError, r"config.targets must be a list"),
        ({"targets": [1]}, TypeError, r"config.targets\[0\] must be a string"),
        (
            {"options": {"class": "MoleculesOptions", "augment_rotations": 1}},
            TypeError,
            r"augment_rotations must be true or false",
        ),
        ({"model": []}, TypeError, r"config.model must be a ModelConfig, got \[\]"),
        ({"model": {"dim": 8}}, ValueError, r"config.model.class must be one of .*, got None"),
        ({"model": of_class(dim=None)}, TypeError, r"model.dim must be an integer, got None"),
        ({"model": of_class(norm="batch")}, ValueError, r"model.norm must be one of pre, post, no"),
        ({"model": of_class(lift="Haar(0)")}, ValueError, r"num_samples must be at least 1, got 0"),
        ({"model": of_class(lift=3)}, TypeError, r"config.model.lift must be a Lift, got 3"),
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


def test_what_was_measured_need_not_be_finite():
    """A roll-out of a young network may diverge; its run goes on nevertheless."""
    stand = RunRecord(3, {}, 2, None, 0.1, 1.0, ())
    scores = (Score("a", "mse5", 0.5, 1.0, "m"), Score("a", "mse100", math.inf, math.nan, "m"))
    stand = dataclasses.replace(stand, best=Best(2, 0.5, scores))
    back = from_json(RunRecord, json.loads(json.dumps(to_json(stand))))
    assert repr(back) == repr(stand)
    data = to_json(stand) | {"learning_rate": math.nan}
    with pytest.raises(ValueError, match="learning_rate must be a finite number"):
        from_json(RunRecord, data)
    data = to_json(scores[0]) | {"value": "0.5"}
    with pytest.raises(TypeError, match=r"value must be a number, got '0\.5'"):
        from_json(Score, data)


def test_a_value_may_be_missing_where_the_field_says_so():
    stand = RunRecord(3, {"next_index": 3}, 2, None, 0.1, 1.0, (StepRecord(0.5, 0.25, 1.0),))
    assert from_json(RunRecord, to_json(stand)) == stand
    stand = dataclasses.replace(stand, best=Best(2, 0.5, (Score("a", "mae", 0.5, 1.0, "m"),)))
    assert from_json(RunRecord, to_json(stand)) == stand

"""Configurations of format 2, where all frames of an example saw each other."""

import json

import pytest

from eqattn.groups import SE
from eqattn.lift import Frames, Haar
from eqattn.models import (
    FieldModelConfig,
    HamiltonianNetworkConfig,
    LieTransformerConfig,
    ModelConfig,
)
from eqattn.spaces import euclidean
from eqattn.train.config_json import from_json, to_json
from eqattn.train.format_2 import from_format_2
from eqattn.train.run_folder import read_config

ACROSS = Frames(0.1, pairs="across")
NETWORKS = {
    "alone": lambda network: network,
    "of fields": lambda network: FieldModelConfig(model=network),
    "of springs": lambda network: HamiltonianNetworkConfig(potential=network),
}


def network(lift):
    return LieTransformerConfig(space=euclidean(SE(3)), lift=lift)


def with_lift(content, lift):
    """The JSON of a model, with this for a lift, wherever it stands."""
    text = json.dumps(to_json(content))
    return json.loads(text.replace(json.dumps(Haar().full_text()), json.dumps(lift)))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "lift", ["Frames(min_gap=0.1)", "Frames(0.1)", {"class": "Frames", "min_gap": 0.1}], ids=str
)
def test_frames_saw_each_other(name, lift):
    content = {"model": with_lift(NETWORKS[name](network(Haar())), lift), "seed": 7}
    found = from_format_2(content)
    assert found == {"model": to_json(NETWORKS[name](network(ACROSS))), "seed": 7}
    config = from_json(ModelConfig, found["model"])
    assert config.network.lift == ACROSS


@pytest.mark.parametrize("lift", ["Haar(num_samples=1, shared=False)", "FramesOfMine()", None, 3])
def test_other_lifts_are_as_they_were(lift):
    content = {"model": {"class": "LieTransformerConfig", "lift": lift}, "targets": ["gap"]}
    assert from_format_2(content) == content


def test_what_is_wrong_is_named_with_the_file(tmp_path):
    content = {"format": 2, "model": {"lift": "Frames(gap=0.1)"}}
    (tmp_path / "config.json").write_text(json.dumps(content))
    message = "config.json: model.lift: Frames has no option 'gap'"
    with pytest.raises(ValueError, match=message):
        read_config(tmp_path)

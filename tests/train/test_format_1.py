"""Configurations of format 1, of eqattn 0.1, where a model was one flat list of 38 options."""

import json

import pytest

from eqattn.attention import NearestNeighbors, RadiusNeighbors
from eqattn.groups import SE, SO, RxSO2, T
from eqattn.layers import (
    AddLogits,
    Attention,
    AttentiveConvolution,
    BernsteinValues,
    Convolution,
    DotProductContent,
    FourierValues,
    LinearConcatContent,
    MLPLocation,
    MLPLogits,
    MLPValues,
    MultiplyLogits,
    PerHeadMLPLocation,
    RadialLocation,
    RawLocation,
    RelativePositionContent,
    RepresentationAttention,
)
from eqattn.lift import Frames, Grid, Haar, NoLift, Subgroup
from eqattn.models import (
    AccelerationNetworkConfig,
    FieldModelConfig,
    HamiltonianNetworkConfig,
    LieTransformerConfig,
    PotentialMLPConfig,
)
from eqattn.spaces import euclidean, position_orientation, sphere
from eqattn.tasks.molecules.presets import MoleculesOptions
from eqattn.tasks.springs.models import SpringsOptions
from eqattn.tasks.winds.model import WindFrames, WindModelConfig
from eqattn.train.config_json import to_json
from eqattn.train.format_1 import _DEFAULTS, from_format_1, model_of_format_1
from eqattn.train.run_folder import read_config

PLANE = euclidean(SE(2))
SCALED = euclidean(RxSO2())
PAIRS, OLD_PAIRS = {"num_radial": 5, "cutoff": 2.0}, {"num_radial": 5, "radial_cutoff": 2.0}
MLP, OLD_MLP = {"dim": 6, "num_layers": 2}, {"location_dim": 6, "location_layers": 2}
LOCATION = MLPLocation(**PAIRS, **MLP)


def converted(task=None, **old):
    return model_of_format_1(old, task, "model")


def attention(kind=Attention, **changes):
    """The layer that was the default."""
    return kind(**{"coordinates": "invariants", **changes})


def model(**changes):
    return LieTransformerConfig(**{"layer": attention(), **changes})


CASES = {
    "nothing": ({}, model()),
    "group T(3)": ({"group": "T(3)"}, model(space=euclidean(T(3)))),
    "group T(11)": ({"group": "T(11)"}, model(space=euclidean(T(11)))),
    "group SE(2)": ({"group": "SE(2)"}, model(space=PLANE)),
    "group SO(2)": ({"group": "SO(2)", "lift": "haar"}, model(space=euclidean(SO(2)), lift=Haar())),
    "group SO(3)": ({"group": "SO(3)", "lift": "haar"}, model(space=euclidean(SO(3)), lift=Haar())),
    "group RxSO2": ({"group": "RxSO2", "lift": "haar"}, model(space=SCALED, lift=Haar())),
    "group RxSO(2)": ({"group": "RxSO(2)", "lift": "haar"}, model(space=SCALED, lift=Haar())),
    "lift haar": (
        {"lift": "haar", "num_samples": 4, "shared_samples": True},
        model(lift=Haar(4, shared=True)),
    ),
    "lift grid": (
        {"group": "SE(2)", "lift": "grid", "num_samples": 6},
        model(space=PLANE, lift=Grid(6)),
    ),
    "lift random_grid": (
        {"group": "SE(2)", "lift": "random_grid", "num_samples": 6},
        model(space=PLANE, lift=Grid(6, offset="random")),
    ),
    "lift subgroup": (
        {"lift": "subgroup", "subgroup": "octahedral"},
        model(lift=Subgroup("octahedral")),
    ),
    "lift frames": ({"lift": "frames"}, model(lift=Frames(pairs="across"))),
    "lift none": ({"lift": "none"}, model(lift=NoLift())),
    "lift outward": (
        {"group": "SE(2)", "lift": "outward", "coordinates": "embedding"},
        model(space=position_orientation(SE(2)), layer=attention(coordinates="embedding")),
    ),
    "coordinates log": (
        {"lift": "haar", "coordinates": "log"},
        model(lift=Haar(), layer=attention(coordinates="log")),
    ),
    "sizes": (
        {"dim": 16, "num_layers": 2, "mlp_ratio": 1, "num_heads": 4},
        model(dim=16, num_layers=2, mlp_ratio=1.0, layer=attention(num_heads=4)),
    ),
    "blocks": (
        {"norm": "post", "activation": "gelu", "final_activation": True},
        model(norm="post", activation="gelu", final_activation=True),
    ),
    "ends": (
        {"pool": "max", "head": "token", "output": "per_point", "dtype": "float64"},
        model(pool="max", head="token", output="per_point", dtype="float64"),
    ),
    "normalize": ({"normalize": "mean"}, model(layer=attention(normalize="mean"))),
    "neighbors": ({"num_neighbors": 4}, model(neighborhood=NearestNeighbors(4))),
    "neighbors of a pool": (
        {"num_neighbors": 4, "neighbor_pool": 8},
        model(neighborhood=NearestNeighbors(4, 8)),
    ),
    "neighbors in a ball": (
        {"num_neighbors": 4, "neighbor_radius": 2.5},
        model(neighborhood=RadiusNeighbors(2.5, 4)),
    ),
    "content dot_product": (
        {"content": "dot_product"},
        model(layer=attention(content=DotProductContent())),
    ),
    "content linear_concat": (
        {"content": "linear_concat", "combine": "mlp"},
        model(layer=attention(content=LinearConcatContent(), combine=MLPLogits())),
    ),
    "content linear_concat_linear": (
        {"content": "linear_concat_linear", "content_features": 3, "combine": "mlp"},
        model(layer=attention(content=LinearConcatContent(map_features=3), combine=MLPLogits())),
    ),
    "content relative_position": (
        {"content": "relative_position", **OLD_PAIRS, **OLD_MLP},
        model(layer=attention(content=RelativePositionContent(**PAIRS), location=LOCATION)),
    ),
    "content none": ({"content": "none"}, model(layer=attention(content=None))),
    "location mlp": ({**OLD_PAIRS, **OLD_MLP}, model(layer=attention(location=LOCATION))),
    "location mlp_per_head": (
        {
            "location": "mlp_per_head",
            "location_features": 3,
            "combine": "mlp",
            **OLD_PAIRS,
            **OLD_MLP,
        },
        model(
            layer=attention(
                location=PerHeadMLPLocation(**PAIRS, **MLP, outputs=3), combine=MLPLogits(**MLP)
            )
        ),
    ),
    "location radial": (
        {"location": "radial", **OLD_PAIRS},
        model(layer=attention(location=RadialLocation(**PAIRS))),
    ),
    "location raw": (
        {"location": "raw", "combine": "mlp", **OLD_PAIRS},
        model(layer=attention(location=RawLocation(**PAIRS), combine=MLPLogits())),
    ),
    "location none": (
        {"location": "none", "num_radial": 0},
        model(layer=attention(location=None)),
    ),
    "combine sum": ({"combine": "sum"}, model(layer=attention(combine=AddLogits()))),
    "combine product": ({"combine": "product"}, model(layer=attention(combine=MultiplyLogits()))),
    "combine mlp": (
        {"combine": "mlp", **OLD_MLP},
        model(layer=attention(location=MLPLocation(**MLP), combine=MLPLogits(**MLP))),
    ),
    "layer convolution": (
        {"layer": "convolution", "num_basis": 3, **OLD_PAIRS, **OLD_MLP},
        model(layer=attention(Convolution, values=MLPValues(num_basis=3, **PAIRS, **MLP))),
    ),
    "basis fourier": (
        {"layer": "convolution", "basis": "fourier", "num_basis": 3, **OLD_PAIRS},
        model(layer=attention(Convolution, values=FourierValues(num_basis=3, **PAIRS))),
    ),
    "basis bernstein": (
        {"layer": "convolution", "basis": "bernstein", "num_radial": 0, "radial_cutoff": 2.0},
        model(layer=attention(Convolution, values=BernsteinValues(cutoff=2.0))),
    ),
    "layer attentive_convolution": (
        {"layer": "attentive_convolution", "combine": "product", **OLD_PAIRS, **OLD_MLP},
        model(
            layer=attention(
                AttentiveConvolution,
                location=LOCATION,
                combine=MultiplyLogits(),
                values=MLPValues(**PAIRS, **MLP),
            )
        ),
    ),
    "attention location": ({"attention": "location"}, model()),
    "attention representation": (
        {
            "attention": "representation",
            "lift": "frames",
            "kernel": "linear",
            "turns_values": False,
            "length": 2,
            "num_heads": 2,
        },
        model(
            lift=Frames(pairs="across"),
            layer=RepresentationAttention(
                num_heads=2, kernel="linear", turns_values=False, length=2.0
            ),
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_choice_is_a_specification(name):
    old, expected = CASES[name]
    assert converted(**old) == expected
    assert converted("molecules", **old) == expected


OF_TASKS = {
    "springs": (
        "springs",
        {"group": "SE(2)", "pool": "sum"},
        HamiltonianNetworkConfig(potential=model(space=PLANE, pool="sum")),
    ),
    "springs, mlp": (
        "springs",
        {"architecture": "mlp", "dim": 9, "num_layers": 2, "activation": "tanh"},
        HamiltonianNetworkConfig(
            potential=PotentialMLPConfig(dim=9, num_layers=2, activation="tanh"), center=False
        ),
    ),
    "springs, mlp of defaults": (
        "springs",
        {"architecture": "mlp", "dtype": "float64"},
        HamiltonianNetworkConfig(
            potential=PotentialMLPConfig(dim=128, num_layers=4, dtype="float64"), center=False
        ),
    ),
    "springs, field model": (
        "springs",
        {"architecture": "field_model", "group": "T(2)", "output": "per_point"},
        AccelerationNetworkConfig(
            field_model=FieldModelConfig(
                model=model(space=euclidean(T(2)), output="per_point"),
                input_field="vector + 2x scalar",
                output_field="vector",
            )
        ),
    ),
    "winds, frames": (
        "winds",
        {"group": "SO(3)", "coordinates": "embedding", "output": "per_point"},
        WindModelConfig(
            inner=model(
                space=sphere(SO(3)),
                lift=WindFrames(),
                output="per_point",
                layer=attention(coordinates="embedding"),
            )
        ),
    ),
    "winds, haar": (
        "winds",
        {"group": "SO(3)", "lift": "haar", "num_samples": 3, "output": "per_point"},
        WindModelConfig(inner=model(space=sphere(SO(3)), lift=Haar(3), output="per_point")),
    ),
    "winds, plain": (
        "winds",
        {"group": "T(3)", "output": "per_point"},
        WindModelConfig(inner=model(space=euclidean(T(3)), output="per_point")),
    ),
}


@pytest.mark.parametrize("name", OF_TASKS)
def test_what_is_around_a_network_follows_from_the_task(name):
    task, old, expected = OF_TASKS[name]
    assert converted(task, **old) == expected


def test_all_options_are_tried():
    tried = {name for old, _ in CASES.values() for name in old}
    tried |= {name for _, old, _ in OF_TASKS.values() for name in old}
    assert tried == set(_DEFAULTS)
    assert len(_DEFAULTS) == 38


def test_what_was_left_out_is_as_it_was_by_default_then():
    """Should a default change one day, old files still mean what they did."""
    assert converted(**_DEFAULTS) == converted()
    assert to_json(converted()) == {
        "class": "LieTransformerConfig",
        "dtype": "float32",
        "space": "euclidean(SE(3))",
        "dim": 128,
        "lift": "NoLift()",
        "neighborhood": None,
        "activation": "swish",
        "dropout": 0.0,
        "pool": "mean",
        "head": "mlp",
        "output": "invariant",
        "num_layers": 4,
        "layer": "Attention(coordinates='invariants', implementation=None, num_heads=8, "
        "content=DotProductContent(), location=MLPLocation(num_radial=24, cutoff=12.0, dim=32, "
        "num_layers=3), combine=AddLogits(), normalize='softmax', cutoff=None, "
        "content_dim=None)",
        "norm": "pre",
        "mlp_ratio": 2.0,
        "final_activation": False,
    }


@pytest.mark.parametrize(
    ("old", "error", "message"),
    [
        (None, TypeError, "model must be an object, got None"),
        ([], TypeError, r"model must be an object, got \[\]"),
        ({"width": 8}, ValueError, "model.width is unknown"),
        ({"class": "LieTransformerConfig"}, ValueError, "model.class is unknown"),
        ({"architecture": "rnn"}, ValueError, "model.architecture must be one of .* got 'rnn'"),
        ({"lift": "some"}, ValueError, "model.lift must be one of haar, grid, .* got 'some'"),
        ({"lift": ["haar"]}, ValueError, "model.lift must be one of haar, grid, .* got "),
        ({"layer": "lstm"}, ValueError, "model.layer must be one of attention, .* got 'lstm'"),
        ({"attention": "all"}, ValueError, "model.attention must be one of location, repres"),
        ({"basis": "cubic"}, ValueError, "model.basis must be one of mlp, fourier, bernstein"),
        ({"content": "sum"}, ValueError, "model.content must be one of dot_product, .* got 'sum'"),
        ({"location": "far"}, ValueError, "model.location must be one of mlp, .* got 'far'"),
        ({"combine": "max"}, ValueError, "model.combine must be one of sum, product, mlp"),
        ({"group": "E8"}, ValueError, "model.group must be one of .*SE, .* got 'E8'"),
        ({"group": "E8(8)"}, ValueError, "model.group: 'E8' is unknown, known are .*SE"),
        ({"group": "sphere(SO(3))"}, ValueError, "model.group must be one of .*SE"),
        ({"group": 3}, TypeError, "model.group must be a string, got 3"),
        ({"dim": "8"}, TypeError, "model.dim must be an integer, got '8'"),
        ({"dim": True}, TypeError, "model.dim must be an integer, got True"),
        ({"dim": None}, TypeError, "model.dim must be an integer, got None"),
        ({"dim": 10**30}, ValueError, r"model.dim must be less than 2\*\*63"),
        ({"dim": 0}, ValueError, "dim must be at least 1, got 0"),
        ({"mlp_ratio": 10**400}, ValueError, "model.mlp_ratio must be a finite number"),
        ({"radial_cutoff": "far"}, TypeError, "model.radial_cutoff must be a number, got 'far'"),
        ({"shared_samples": 1}, TypeError, "model.shared_samples must be true or false, got 1"),
        ({"lift": "haar", "num_samples": -1}, ValueError, "num_samples must be at least 1"),
        ({"norm": "batch"}, ValueError, "norm of LieTransformerConfig must be one of pre, post"),
        ({"dtype": "int8"}, ValueError, "dtype of LieTransformerConfig must be one of"),
        ({"activation": "swoosh"}, ValueError, "activation must be one of"),
        ({"normalize": "max"}, ValueError, "normalize of Attention must be one of softmax"),
        ({"coordinates": "polar"}, ValueError, "coordinates of Attention must be one of"),
        ({"pool": "min"}, ValueError, "pool of LieTransformerConfig must be one of mean, sum, max"),
        ({"lift": "subgroup"}, ValueError, "name of a finite group must be .* got ''"),
    ],
    ids=str,
)
def test_what_is_unknown_is_refused_and_its_place_is_named(
    tmp_path, no_type_checks, old, error, message
):
    content = {"format": 1, "task": "molecules", "model": old}
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(error, match=message) as caught:
        read_config(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/config.json: ")


def test_it_is_read_as_what_is_written_today(tmp_path):
    content = {"format": 1, "task": "springs", "model": {"group": "SE(2)"}, "seed": 7}
    (tmp_path / "config.json").write_text(json.dumps(content))
    expected = HamiltonianNetworkConfig(potential=model(space=PLANE))
    found = read_config(tmp_path)
    assert found.pop("options") == SpringsOptions().full_text()
    assert found == {"task": "springs", "model": to_json(expected), "seed": 7}


def test_a_run_had_the_options_of_all_tasks_of_which_it_keeps_its_own():
    old = {
        "task": "molecules",
        "model": {},
        "split": "tfds",
        "augment_rotations": True,
        "buckets": [3, 5],
        "springs": {"num_train": 7},
        "winds": {"step": 3.0},
    }
    found = from_format_1(old)
    assert set(found) == {"task", "model", "options"}
    expected = MoleculesOptions(split="tfds", augment_rotations=True, buckets=(3, 5))
    assert found["options"] == expected.full_text()
    found = from_format_1(old | {"task": "springs"})
    assert found["options"] == SpringsOptions(num_train=7).full_text()
    with pytest.raises(ValueError, match=r"springs\.num_tests is unknown"):
        from_format_1(old | {"task": "springs", "springs": {"num_tests": 7}})
    with pytest.raises(TypeError, match="springs must be an object"):
        from_format_1(old | {"task": "springs", "springs": 7})

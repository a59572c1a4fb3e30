import dataclasses
import functools
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import groups
from eqattn.attention import NearestNeighbors, RadiusNeighbors
from eqattn.config import ModelConfig
from eqattn.layers import GroupLayer, LieSelfAttention, RepresentationAttention
from eqattn.lift import Frames, Grid, Haar, NoLift, Subgroup
from eqattn.models import LieTransformer
from eqattn.tasks import build_model, get_preset, parse_group

TINY = ModelConfig(dim=8, num_layers=1, num_heads=2, num_radial=2, location_dim=4)


@functools.cache
def shapes_of(config, in_features=3, out_features=2):
    """The parameters without their values, which nothing here needs."""
    model = nnx.eval_shape(lambda: build_model(config, in_features, out_features, seed=0))
    return model, nnx.state(model, nnx.Param)


def count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("T(2)", groups.T(2)),
        ("T(3)", groups.T(3)),
        ("T(11)", groups.T(11)),
        ("SO(2)", groups.SO(2)),
        ("SO(3)", groups.SO(3)),
        ("SE(2)", groups.SE(2)),
        ("SE(3)", groups.SE(3)),
        ("RxSO2", groups.RxSO2()),
    ],
)
def test_groups_by_name(name, group):
    assert parse_group(name) == group


@pytest.mark.parametrize("name", ["", "E(3)", "SE(4)", "SE3", "se(3)", "T(0)", "SO(3) ", "T(-1)"])
def test_unknown_groups_are_named(name):
    with pytest.raises(ValueError, match=r"group '.*' is unknown; known are T\(n\), SO\(2\)"):
        parse_group(name)


@pytest.mark.parametrize(
    ("changes", "strategy"),
    [
        ({}, NoLift()),
        ({"lift": "haar", "num_samples": 4, "coordinates": "log"}, Haar(4)),
        ({"lift": "haar", "num_samples": 2, "shared_samples": True}, Haar(2, shared=True)),
        ({"lift": "frames"}, Frames()),
        ({"lift": "subgroup", "subgroup": "octahedral"}, Subgroup("octahedral")),
        ({"group": "SE(2)", "lift": "grid", "num_samples": 6}, Grid(6)),
        ({"group": "SE(2)", "lift": "random_grid", "num_samples": 6}, Grid(6, offset="random")),
        ({"group": "T(3)", "coordinates": "log"}, Haar(1)),  # its stabilizer is trivial
    ],
)
def test_lifts_by_name(changes, strategy):
    model, _ = shapes_of(dataclasses.replace(TINY, **changes))
    assert model.lift == strategy


def test_a_lift_that_the_coordinates_need_is_asked_for():
    with pytest.raises(ValueError, match="coordinates must be 'invariants' on a lift by NoLift"):
        shapes_of(dataclasses.replace(TINY, coordinates="log"))


@pytest.mark.parametrize(
    ("changes", "parameters"),
    [
        ({}, 10_021_169),  # both counts are those of the published code
        ({"group": "T(3)", "lift": "none"}, 10_018_865),
    ],
)
def test_the_paper_preset_has_as_many_parameters_as_published(changes, parameters):
    config = dataclasses.replace(get_preset("molecules", "paper").model, **changes)
    _, params = shapes_of(config, in_features=15, out_features=1)
    assert count(params) == parameters


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dim", 16),
        ("num_layers", 2),
        ("location_dim", 5),
        ("location_layers", 2),
        ("num_radial", 4),
        ("mlp_ratio", 1.0),
        ("content", "none"),
        ("content", "relative_position"),
        ("content", "linear_concat_linear"),
        ("location", "radial"),
        ("location", "mlp_per_head"),
        ("combine", "mlp"),
        ("norm", "none"),
        ("head", "token"),
    ],
)
def test_no_size_is_ignored(name, value):
    _, params = shapes_of(dataclasses.replace(TINY, **{name: value}))
    assert count(params) != count(shapes_of(TINY)[1])


def test_a_term_that_is_left_out_is_not_ignored_either():
    raw = dataclasses.replace(TINY, num_radial=0)
    without = dataclasses.replace(raw, location="none")
    assert count(shapes_of(without)[1]) < count(shapes_of(raw)[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"location": "none"}, "num_radial must be 0 where no term sees pairs, .* got 2"),
        ({"num_samples": 4}, "num_samples is not used with the lift 'none', got 4"),
        ({"shared_samples": True}, "shared_samples is not used with the lift 'none', got True"),
        ({"subgroup": "cyclic(4)"}, "subgroup is not used with the lift 'none', got 'cyclic"),
        ({"lift": "frames", "num_samples": 4}, "num_samples is not used with the lift 'frames'"),
        ({"lift": "subgroup"}, "name of a finite group must be .* got ''"),
        ({"lift": "grid", "num_samples": 4}, "Grid"),
    ],
)
def test_what_is_not_used_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        shapes_of(dataclasses.replace(TINY, **changes))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("radial_cutoff", 3.0),
        ("normalize", "mean"),
        ("combine", "product"),
        ("norm", "post"),
        ("activation", "relu"),
        ("final_activation", True),
        ("pool", "max"),
        ("num_heads", 4),
        ("num_neighbors", 4),
    ],
)
def test_no_option_is_ignored(name, value):
    model, _ = shapes_of(TINY)
    other, _ = shapes_of(dataclasses.replace(TINY, **{name: value}))
    assert nnx.graphdef(model) != nnx.graphdef(other)


@pytest.mark.parametrize(
    ("dtype", "compute", "stored"),
    [
        ("float32", jnp.float32, jnp.float32),
        ("bfloat16", jnp.bfloat16, jnp.float32),
        ("float64", jnp.float64, jnp.float64),
    ],
)
def test_types_of_activations_and_parameters(dtype, compute, stored):
    model, params = shapes_of(dataclasses.replace(TINY, dtype=dtype))
    assert model.embedding.dtype == compute
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(stored)}


def test_float64_is_not_silently_float32():
    with jax.enable_x64(False), pytest.raises(ValueError, match=r"needs jax_enable_x64 .*--x64"):
        build_model(dataclasses.replace(TINY, dtype="float64"), 3, 2, seed=0)


def test_the_seed_decides_the_parameters():
    draw = lambda seed: jax.jit(lambda: build_model(TINY, 3, 2, seed).embedding.kernel[...])()
    assert not np.array_equal(draw(0), draw(1))


COMBINED = {"combine": "mlp", "location": "mlp_per_head"}


@pytest.mark.parametrize(
    ("options", "change"),
    [
        (COMBINED, {"location_features": 3}),
        (COMBINED, {"location": "raw"}),
        ({**COMBINED, "content": "linear_concat_linear"}, {"content_features": 3}),
        (COMBINED, {"content": "linear_concat"}),
    ],
)
def test_no_size_of_combined_terms_is_ignored(options, change):
    config = dataclasses.replace(TINY, **options)
    _, params = shapes_of(dataclasses.replace(config, **change))
    assert count(params) != count(shapes_of(config)[1])


def test_neighborhoods():
    build = lambda **o: shapes_of(dataclasses.replace(TINY, **o))[0].neighborhood
    assert build() is None
    assert build(num_neighbors=4) == NearestNeighbors(4)
    assert build(num_neighbors=4, neighbor_pool=8) == NearestNeighbors(4, candidates=8)
    assert build(num_neighbors=4, neighbor_radius=2.5) == RadiusNeighbors(2.5, 4)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"neighbor_pool": 4}, "num_neighbors must be at least 1 for neighbor_pool 4, got 0"),
        ({"neighbor_radius": 2.0}, "num_neighbors must be at least 1 for neighbor_radius 2.0"),
        ({"num_neighbors": 4, "neighbor_pool": 3}, "candidates must be at least num_n"),
        ({"num_neighbors": -1}, "num_neighbors must be at least 1, got -1"),
        (
            {"num_neighbors": 4, "neighbor_pool": 8, "neighbor_radius": 1.0},
            "neighbor_pool must be 0 with a neighbor_radius, got 8",
        ),
        ({"num_neighbors": 4, "neighbor_radius": -1.0}, "radius must be finite and above 0"),
    ],
)
def test_bad_neighborhoods(options, match):
    with pytest.raises(ValueError, match=match):
        shapes_of(dataclasses.replace(TINY, **options))


@pytest.mark.parametrize(
    ("name", "function"),
    [
        *((name, LieSelfAttention) for name in ("content", "location", "combine", "normalize")),
        *((name, GroupLayer) for name in ("coordinates", "basis")),
        *((name, LieTransformer) for name in ("layer", "attention")),
        ("kernel", RepresentationAttention),
    ],
)
def test_the_configuration_knows_all_options_of_the_layer(name, function):
    in_config = typing.get_type_hints(ModelConfig)[name]
    in_layer = typing.get_type_hints(function.__init__)[name]
    literal, *none = typing.get_args(in_layer)
    options = typing.get_args(literal) if none == [type(None)] else typing.get_args(in_layer)
    assert typing.get_args(in_config) == options


@pytest.mark.parametrize(
    ("layer", "basis", "num_basis", "inputs_of_output"),
    [
        ("attention", "mlp", 8, 8),
        ("attentive_convolution", "fourier", 3, 24),
        ("convolution", "bernstein", 2, 16),
    ],
)
def test_layers_by_name(layer, basis, num_basis, inputs_of_output):
    config = dataclasses.replace(
        TINY, num_heads=8, layer=layer, basis=basis, num_basis=num_basis, radial_cutoff=5.0,
        num_radial=0,
    )  # fmt: skip
    model, _ = shapes_of(config)
    attention = model.blocks[0].attention
    assert attention.output.kernel.shape == (inputs_of_output, 8)
    assert attention.basis_kind == (None if layer == "attention" else basis)
    assert attention.features.cutoff == 5.0


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"layer": "convolution", "combine": "product"},
            r"'convolution' does not use num_heads \(default 8, got 2\), combine .*'product'\)",
        ),
        ({"basis": "fourier"}, r"'attention' does not use basis \(default 'mlp', got 'fourier'\)"),
        ({"num_basis": 3}, r"'attention' does not use num_basis \(default 8, got 3\)"),
        ({"kernel": "linear"}, r"'attention' does not use kernel \(default 'softmax', got 'lin"),
        ({"length": 2.0}, r"'attention' does not use length \(default 1.0, got 2.0\)"),
        (
            {"attention": "representation", "coordinates": "log", "radial_cutoff": 3.0},
            r"by a representation does not use coordinates \(default 'invariants', got 'log'\), "
            r"location_dim \(default 32, got 4\), num_radial .*, radial_cutoff \(default 12.0",
        ),
        (
            {"attention": "representation", "layer": "convolution"},
            "attention must be 'location' in the layer 'convolution', got 'representation'",
        ),
    ],
)
def test_what_a_layer_does_not_use_is_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        shapes_of(dataclasses.replace(TINY, **changes))


def test_attention_by_a_representation():
    tiny = ModelConfig(dim=8, num_layers=1, num_heads=2, attention="representation", lift="haar")
    model, params = shapes_of(tiny)
    assert isinstance(model.blocks[0].attention, RepresentationAttention)
    for change in ({"kernel": "linear"}, {"turns_values": False}, {"length": 2.0}):
        other, _ = shapes_of(dataclasses.replace(tiny, **change))
        assert nnx.graphdef(model) != nnx.graphdef(other)
    _, of_translations = shapes_of(dataclasses.replace(tiny, group="T(3)", lift="none"))
    assert count(of_translations) == count(params) + 6  # two frequencies of three coordinates
    for change, match in (
        ({"lift": "none"}, "gives cosets of SO3"),
        ({"num_neighbors": 2}, "neighborhood must be None with attention='representation'"),
    ):
        with pytest.raises(ValueError, match=match):
            shapes_of(dataclasses.replace(tiny, **change))

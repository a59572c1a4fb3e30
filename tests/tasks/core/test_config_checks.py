"""Models of runs: what fits a task, and what a configuration of a model itself refuses."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.attention import NearestNeighbors, RadiusNeighbors
from eqattn.config import RunConfig
from eqattn.fields import FieldType, scalars
from eqattn.groups import SE, SO, E, T
from eqattn.layers import (
    Attention,
    AttentiveConvolution,
    BernsteinValues,
    Convolution,
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
    FieldModelConfig,
    FieldNetworkConfig,
    HamiltonianNetworkConfig,
    LieConvNetworkConfig,
    LieTransformerConfig,
    PotentialMLPConfig,
)
from eqattn.spaces import euclidean, group_space, position_orientation, sphere
from eqattn.tasks import TASKS, get_preset, get_task
from eqattn.tasks.core.config_checks import check_fields, check_model, without_symmetry

LOCATION = MLPLocation(dim=4, num_radial=2)
LAYER = Attention(num_heads=2, location=LOCATION)
TINY = LieTransformerConfig(dim=8, num_layers=1, layer=LAYER)


@functools.cache
def shapes_of(config, in_features=3, out_features=2):
    """The parameters without their values, which nothing here needs."""
    build = lambda: config.build(in_features, out_features, rngs=nnx.Rngs(0))
    model = nnx.eval_shape(build)
    return model, nnx.state(model, nnx.Param)


def count(config):
    return sum(leaf.size for leaf in jax.tree.leaves(shapes_of(config)[1]))


def with_layer(**changes):
    return dataclasses.replace(TINY, layer=dataclasses.replace(LAYER, **changes))


def with_location(**changes):
    return with_layer(location=dataclasses.replace(LOCATION, **changes))


@pytest.mark.parametrize("group", [T(3), SO(3), SE(3), E(3)], ids=str)
def test_every_group_of_a_euclidean_space_fits(group):
    model = dataclasses.replace(TINY, space=euclidean(group), lift=Haar())
    check_model(RunConfig(model=model), point_dim=3)
    with pytest.raises(ValueError, match="must be Euclidean of 2 dimensions for molecules, such"):
        check_model(RunConfig(model=model), point_dim=2)


@pytest.mark.parametrize(
    ("space", "point_dim"),
    [
        (sphere(SO(3)), 3),
        (position_orientation(SE(2)), 4),
        (group_space(SO(3)), 3),
        (group_space(T(3)), 3),
    ],
    ids=str,
)
def test_another_space_of_as_many_dimensions_does_not(space, point_dim):
    config = RunConfig(model=dataclasses.replace(TINY, space=space, lift=Haar()))
    with pytest.raises(ValueError, match=r"space must be Euclidean .* for molecules, .* got '"):
        check_model(config, point_dim=point_dim)
    check_model(config, point_dim=None)


def test_a_space_of_ones_own_is_not_refused():
    """Nothing is known about where its points are."""

    @dataclasses.dataclass(frozen=True, repr=False)
    class _Own(type(euclidean(SE(3)))):
        pass

    model = dataclasses.replace(TINY, space=_Own(SE(3)))
    check_model(RunConfig(model=model), point_dim=3)
    with pytest.raises(ValueError, match="must be Euclidean of 2 dimensions for molecules"):
        check_model(RunConfig(model=model), point_dim=2)


def test_outputs_and_kinds_are_those_of_the_task():
    per_point = RunConfig(model=dataclasses.replace(TINY, output="per_point"))
    with pytest.raises(ValueError, match="output must be 'invariant' for molecules, got 'per_po"):
        check_model(per_point, point_dim=3)
    check_model(per_point, point_dim=3, output="per_point")
    check_model(RunConfig(model=LieConvNetworkConfig()), point_dim=3)
    outer = RunConfig(model=HamiltonianNetworkConfig(potential=TINY))
    with pytest.raises(ValueError, match="model must be of LiftedModelConfig for molecules, got H"):
        check_model(outer, point_dim=3)
    check_model(outer, point_dim=3, kinds=HamiltonianNetworkConfig)
    inner = dataclasses.replace(TINY, space=euclidean(SE(2)))
    with pytest.raises(ValueError, match="space must be Euclidean of 3 dimensions"):
        check_model(
            RunConfig(model=HamiltonianNetworkConfig(potential=inner)),
            point_dim=3,
            kinds=HamiltonianNetworkConfig,
        )


def test_scalars_of_any_number_are_those_of_a_task():
    config = RunConfig(model=FieldNetworkConfig(input_field="scalars"))
    check_fields(config, scalars(7), scalars(1))
    wanted = FieldType.parse("scalar + vector")
    with pytest.raises(ValueError, match=r"input_field must be '.*vector' for .*, got 'scalars'"):
        check_fields(config, wanted, scalars(1))


def test_without_symmetry_only_the_geometry_changes():
    layer = dataclasses.replace(LAYER, coordinates="embedding")
    config = dataclasses.replace(TINY, space=euclidean(SE(2)), lift=Grid(4), layer=layer, dim=16)
    plain = without_symmetry(config, euclidean(T(2)))
    assert plain == dataclasses.replace(config, space=euclidean(T(2)), lift=NoLift(), layer=LAYER)


@pytest.mark.parametrize("name", TASKS)
def test_presets_build_what_their_tasks_ask_for(name):
    """Their own model, and the one of the same task in float64."""
    for preset in get_task(name).presets:
        model = get_preset(name, preset).model
        double = model.replace_network(dtype="float64")
        assert double.network == dataclasses.replace(model.network, dtype="float64")
        assert type(double) is type(model)
        assert double.replace_network(dtype="float32") == model


@pytest.mark.parametrize(
    ("config", "changed"),
    [
        (TINY, dataclasses.replace(TINY, dim=16)),
        (TINY, dataclasses.replace(TINY, num_layers=2)),
        (TINY, dataclasses.replace(TINY, mlp_ratio=1.0)),
        (TINY, dataclasses.replace(TINY, norm="none")),
        (TINY, dataclasses.replace(TINY, head="token")),
        (TINY, with_location(dim=5)),
        (TINY, with_location(num_layers=2)),
        (TINY, with_location(num_radial=4)),
        (TINY, with_layer(content=None)),
        (TINY, with_layer(content_dim=4)),
        (TINY, with_layer(content=RelativePositionContent())),
        (TINY, with_layer(content=LinearConcatContent(map_features=1))),
        (TINY, with_layer(location=None)),
        (TINY, with_layer(location=RadialLocation(num_radial=3))),
        (TINY, with_layer(location=PerHeadMLPLocation(dim=4, num_radial=2))),
        (TINY, with_layer(combine=MLPLogits())),
        (with_layer(combine=MLPLogits()), with_layer(combine=MLPLogits(dim=5))),
        (with_layer(combine=MLPLogits()), with_layer(combine=MLPLogits(num_layers=2))),
        (
            with_layer(combine=MLPLogits(), location=PerHeadMLPLocation()),
            with_layer(combine=MLPLogits(), location=PerHeadMLPLocation(outputs=3)),
        ),
        (
            with_layer(combine=MLPLogits(), content=LinearConcatContent(map_features=1)),
            with_layer(combine=MLPLogits(), content=LinearConcatContent(map_features=3)),
        ),
        (
            with_layer(combine=MLPLogits(), content=LinearConcatContent(map_features=1)),
            with_layer(combine=MLPLogits(), content=LinearConcatContent()),
        ),
        (with_layer(combine=MLPLogits()), with_layer(combine=MLPLogits(), location=RawLocation())),
        (
            dataclasses.replace(TINY, layer=Convolution()),
            dataclasses.replace(TINY, layer=Convolution(values=MLPValues(num_basis=3))),
        ),
        (
            dataclasses.replace(TINY, layer=Convolution()),
            dataclasses.replace(TINY, layer=Convolution(values=FourierValues())),
        ),
    ],
    ids=lambda config: "",
)
def test_no_size_is_ignored(config, changed):
    assert count(config) != count(changed)


@functools.cache
def program(config):
    """What a model computes, as text."""
    graphdef, params = nnx.split(shapes_of(config)[0])
    inputs = jnp.ones((1, 5, 3)), jnp.ones((1, 5, 3))
    return str(jax.make_jaxpr(lambda p, *x: nnx.merge(graphdef, p)(*x))(params, *inputs))


@pytest.mark.parametrize(
    "changed",
    [
        with_location(cutoff=3.0),
        with_layer(normalize="mean"),
        with_layer(combine=MultiplyLogits()),
        with_layer(num_heads=4),
        dataclasses.replace(TINY, norm="post"),
        dataclasses.replace(TINY, activation="relu"),
        dataclasses.replace(TINY, final_activation=True),
        dataclasses.replace(TINY, pool="max"),
        dataclasses.replace(TINY, output="per_point"),
        dataclasses.replace(TINY, lift=Haar(2)),
        dataclasses.replace(TINY, neighborhood=NearestNeighbors(4)),
    ],
    ids=str,
)
def test_no_option_is_ignored(changed):
    """Another model is another program, whatever its configuration says."""
    assert program(TINY) != program(changed)
    assert program(TINY) == program(dataclasses.replace(changed, **vars(TINY)))


def test_attention_by_a_representation():
    tiny = dataclasses.replace(TINY, layer=RepresentationAttention(num_heads=2), lift=Haar())
    for change in ({"kernel": "linear"}, {"turns_values": False}, {"length": 2.0}):
        layer = dataclasses.replace(tiny.layer, **change)
        other, _ = shapes_of(dataclasses.replace(tiny, layer=layer))
        assert nnx.graphdef(shapes_of(tiny)[0]) != nnx.graphdef(other)
    of_translations = dataclasses.replace(tiny, space=euclidean(T(3)), lift=NoLift())
    assert count(of_translations) == count(tiny) + 6  # two frequencies of three coordinates
    for change, match in (
        ({"lift": NoLift()}, r"gives cosets of SO\(3\)"),
        (
            {"neighborhood": NearestNeighbors(2)},
            "neighborhood must be None with RepresentationAttention",
        ),
    ):
        with pytest.raises(ValueError, match=match):
            dataclasses.replace(tiny, **change).check()


@pytest.mark.parametrize(
    ("layer", "inputs_of_output", "basis"),
    [
        (Attention(), 8, None),
        (AttentiveConvolution(values=FourierValues(num_basis=3)), 24, "FourierParameters"),
        (Convolution(values=BernsteinValues(num_basis=2, cutoff=5.0)), 16, "BernsteinBasis"),
    ],
    ids=str,
)
def test_layers_are_built_with_their_basis(layer, inputs_of_output, basis):
    built = shapes_of(dataclasses.replace(TINY, layer=layer))[0].blocks[0].attention
    assert built.output.kernel.shape == (inputs_of_output, 8)
    assert basis is None or type(built.basis).__name__ == basis


@pytest.mark.parametrize(
    ("dtype", "compute", "stored"),
    [
        ("float32", jnp.float32, jnp.float32),
        ("bfloat16", jnp.bfloat16, jnp.float32),
        ("float16", jnp.float16, jnp.float32),
        ("float64", jnp.float64, jnp.float64),
    ],
)
def test_types_of_activations_and_parameters(dtype, compute, stored):
    model, params = shapes_of(dataclasses.replace(TINY, dtype=dtype))
    assert model.embedding.dtype == compute
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(stored)}
    assert model.config.dtype == dtype


@pytest.mark.parametrize(
    "config",
    [
        TINY,
        LieConvNetworkConfig(dim=8),
        PotentialMLPConfig(dim=8),
        HamiltonianNetworkConfig(potential=TINY),
        FieldModelConfig(
            model=dataclasses.replace(TINY, output="per_point"), input_field="3x scalar"
        ),
    ],
    ids=lambda config: type(config).__name__,
)
def test_float64_is_not_silently_float32(config):
    double = config.replace_network(dtype="float64")
    with jax.enable_x64(False), pytest.raises(ValueError, match=r"needs jax_enable_x64 .*--x64"):
        double.build(3, 1, rngs=nnx.Rngs(0))


def test_the_seed_decides_the_parameters():
    draw = lambda seed: jax.jit(
        lambda: TINY.build(3, 2, rngs=nnx.Rngs(seed)).embedding.kernel[...]
    )()
    assert not np.array_equal(draw(0), draw(1))


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (
            lambda: with_layer(coordinates="log").check(),
            ValueError,
            "coordinates must be 'invariants' on",
        ),
        (lambda: dataclasses.replace(TINY, dim=0), ValueError, "dim must be at least 1, got 0"),
        (lambda: dataclasses.replace(TINY, dim=1.5), TypeError, "dim of .* must be an integer"),
        (lambda: dataclasses.replace(TINY, num_layers=0), ValueError, "num_layers must be at le"),
        (lambda: dataclasses.replace(TINY, norm="batch"), ValueError, "norm of .* pre, post, none"),
        (lambda: dataclasses.replace(TINY, dtype="int8"), ValueError, "dtype of .* one of float32"),
        (lambda: dataclasses.replace(TINY, lift="haar"), ValueError, "lift of .* one of .*Haar"),
        (lambda: dataclasses.replace(TINY, lift=Haar), TypeError, "lift of .* must be a Lift"),
        (lambda: dataclasses.replace(TINY, space=SE(3)), TypeError, "space of .* must be a Space"),
        (lambda: dataclasses.replace(TINY, lift=Grid(4)).check(), ValueError, "Grid"),
        (lambda: Subgroup(""), ValueError, "name of a finite group must be .* got ''"),
        (lambda: Grid(4, offset="up"), ValueError, "offset"),
        (lambda: Haar(0), ValueError, "num_samples must be at least 1, got 0"),
        (lambda: with_location(dim=0), ValueError, "dim must be at least 1, got 0"),
        (lambda: with_layer(location=None, combine=MLPLogits()), ValueError, "needs a content and"),
        (lambda: NearestNeighbors(-1), ValueError, "num_neighbors must be at least 1, got -1"),
        (lambda: NearestNeighbors(4, 3), ValueError, "candidates must be at least num_n"),
        (lambda: RadiusNeighbors(-1.0, 4), ValueError, "radius must be finite and above 0"),
        (
            lambda: FieldModelConfig(model=dataclasses.replace(TINY, pool="sum")).check(),
            ValueError,
            "pool is not used inside a field model, got 'sum'",
        ),
    ],
)
def test_what_no_specification_can_say(make, error, match, no_type_checks):
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (with_layer(num_heads=3), "dim must be a multiple of num_heads=3, got 8"),
        (
            with_layer(content=LinearConcatContent(map_features=2)),
            r"combine must be MLPLogits\(\) for terms of more than one feature",
        ),
        (
            dataclasses.replace(TINY, layer=RepresentationAttention(num_heads=8), lift=Frames()),
            "channels of a head must be at least 4 for a representation",
        ),
    ],
    ids=["heads", "features", "representation"],
)
def test_what_shows_when_a_model_is_built(config, match):
    with pytest.raises(ValueError, match=match):
        config.build(3, 2, rngs=nnx.Rngs(0))

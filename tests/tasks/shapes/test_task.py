import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.config import OptimizerConfig, RunConfig
from eqattn.groups import SE, E, T
from eqattn.layers import Attention, MLPLocation
from eqattn.layers.steerable import FieldLayer
from eqattn.lift import NoLift
from eqattn.models import FieldNetworkConfig, LieTransformerConfig
from eqattn.spaces import euclidean
from eqattn.tasks import Problem, get_preset, get_task
from eqattn.tasks.shapes.features import MOMENT_FIELD
from eqattn.tasks.shapes.task import ShapesOptions
from eqattn.train import load, train

MODEL = LieTransformerConfig(
    space=euclidean(SE(3)),
    dim=8,
    num_layers=1,
    layer=Attention(num_heads=2, location=MLPLocation(dim=4, num_layers=2, num_radial=0)),
)
FIELDS = FieldNetworkConfig(
    space=euclidean(E(3)),
    input_field=MOMENT_FIELD,
    output_field="14x scalar",
    hidden_field="4x scalar + 2x vector + 2x irrep(2)",
    num_layers=1,
    layer=FieldLayer(num_heads=2, location=MODEL.layer.location),
    output="invariant",
)
PLANE = dataclasses.replace(MODEL, space=euclidean(SE(2)))
TINY = RunConfig(
    task="shapes",
    data="embedded",
    targets=("class",),
    batch_size=8,
    steps=2,
    eval_every=2,
    model=MODEL,
    optimizer=OptimizerConfig(warmup_steps=0),
    options=ShapesOptions(num_points=32, subset=12, protocol="z/z"),
)


def prepared(model=MODEL, **changes):
    options = dataclasses.replace(TINY.options, **changes)
    return get_task("shapes").prepare(dataclasses.replace(TINY, model=model, options=options))


def views_of(problem, key):
    """The views of a problem under one key, as a program."""
    return jax.jit(lambda *inputs: problem.views(*inputs, key))


@pytest.fixture(scope="module")
def problem():
    return prepared()


def test_it_is_a_problem_of_fourteen_classes(problem):
    assert isinstance(problem, Problem)
    assert problem.out_features == 14
    sizes = problem.num_examples
    assert sum(sizes.values()) == 408
    assert sizes["train"] > sizes["test"] > sizes["validation"]
    assert prepared(features="constant").in_features == 1


def test_demo_is_exactly_invariant():
    config = get_preset("shapes", "demo")
    assert (config.model.space, config.model.lift) == (euclidean(SE(3)), NoLift())
    assert (
        config.model.build(1, 14, rngs=nnx.Rngs(0)).blocks[0].attention.coordinates == "invariants"
    )
    assert config.options.protocol == "SO(3)/SO(3)"


@pytest.mark.parametrize(("group", "is_invariant"), [(SE(3), True), (T(3), False)], ids=str)
def test_an_invariant_model_cannot_tell_protocols_apart(problem, group, is_invariant):
    config = dataclasses.replace(MODEL, space=euclidean(group))
    change = change_between_protocols(config, problem, prepared(protocol="z/SO(3)"))
    assert (change < 1e-4) == is_invariant, change


@pytest.mark.parametrize(
    ("fields", "is_invariant"),
    [
        ({}, True),
        ({"input_field": "61x scalar", "hidden_field": "4x scalar + 2x vector"}, False),
    ],
    ids=["fields", "scalars"],
)
def test_nor_can_a_network_of_fields_that_knows_which_they_are(fields, is_invariant):
    names = ("z/z", "z/SO(3)")
    problems = [prepared(FIELDS, protocol=name, features="fields") for name in names]
    config = dataclasses.replace(FIELDS, **fields)
    change = change_between_protocols(config, *problems)
    assert (change < 1e-4) == is_invariant, change


def change_between_protocols(config, problem, turned):
    """The largest change of a log probability between the shapes of two problems."""
    model = config.build(problem.in_features, 14, rngs=nnx.Rngs(0))
    predict = jax.jit(lambda batch: problem.predict(model, batch, 1)["log_probabilities"])
    batches = [next(iter(p.evaluation_batches("test"))) for p in (problem, turned)]
    assert np.abs(batches[0]["points"] - batches[1]["points"]).max() > 0.5
    found = [np.asarray(predict(batch)) for batch in batches]
    assert np.std(found[0], axis=0).max() > 1e-3, "predictions depend on the shape"
    return np.abs(found[0] - found[1]).max()


def test_views_are_disjoint_subsets_of_the_shape(problem):
    batch = next(iter(problem.evaluation_batches("test")))
    inputs = [jnp.asarray(batch[name]) for name in ("points", "features", "mask")]
    seen, features, mask = views_of(problem, None)(*inputs)
    assert seen.shape == (8, 2, 12, 3)  # 24 of 32 points
    assert features.shape == (8, 2, 12, problem.in_features)
    assert mask.shape == (8, 2, 12)
    np.testing.assert_array_equal(seen.reshape(8, 24, 3), batch["points"][:, :24])


def test_training_sees_other_points_each_time_and_stretches(problem):
    batch = problem.training_batches()[0]
    inputs = [jnp.asarray(batch[name]) for name in ("points", "features", "mask")]
    plain = prepared(stretch=0.0, features="constant")
    keys = [jax.random.key(seed) for seed in (0, 1)]
    first, second = (np.asarray(views_of(plain, key)(*inputs)[0]) for key in keys)
    assert first.shape == (8, 1, 12, 3)
    own = {tuple(point) for point in batch["points"][0].tolist()}
    assert {tuple(point) for point in first[0, 0].tolist()} < own
    assert not np.array_equal(first, second)
    stretching = prepared(features="constant")
    stretched = np.asarray(views_of(stretching, keys[0])(*inputs)[0])
    change = np.abs(stretched - first).max(axis=(1, 2, 3))
    assert ((change > 1e-3) & (change < 0.5)).all()
    whole = prepared(subset=0)
    assert jax.eval_shape(views_of(whole, None), *inputs)[0].shape == (8, 1, 32, 3)


def test_a_run_from_end_to_end(tmp_path):
    """Without the moments, of which the others are: they take long to compile."""
    options = dataclasses.replace(TINY.options, features="constant")
    result = train(dataclasses.replace(TINY, options=options), tmp_path / "run")
    (score,) = result.scores
    assert (score.target, score.metric, score.unit) == ("class", "error", "1")
    assert 0 < score.baseline < 1
    model, config = load(tmp_path / "run")
    assert config.options == options
    assert model.out_features == 14


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": ("gap",)}, r"targets must be \('class',\) for shapes, got \('gap',\)"),
        (
            {"model": PLANE},
            r"space must be Euclidean of 3 dimensions for shapes, .*, got 'euclidean",
        ),
        (
            {"options": ShapesOptions(features="fields")},
            "features 'fields' are for a model of FieldNetworkConfig, got LieTransformerConfig",
        ),
        (
            {"model": FIELDS},
            r"input_field must be '29x scalar' for shapes, got '29x scalar \+ 4x vector",
        ),
        (
            {"model": dataclasses.replace(FIELDS, output="per_point")},
            "output must be 'invariant' for shapes, got 'per_point'",
        ),
        ({"options": ShapesOptions(fold=5)}, "fold must be from 0 to 4, got 5"),
        ({"options": ShapesOptions(stretch=1.5)}, r"stretch must be in \[0, 1\), got 1.5"),
        ({"options": ShapesOptions(num_points=-1)}, "num_points must be at least 0, got -1"),
        (
            {"options": ShapesOptions(num_points=16, subset=17)},
            "subset must be at most the 16 points of a shape, got 17",
        ),
        ({"options": ShapesOptions(label_smoothing=-0.1)}, "label_smoothing must be in"),
    ],
)
def test_what_a_run_cannot_have(changes, message):
    with pytest.raises(ValueError, match=message):
        get_task("shapes").prepare(dataclasses.replace(TINY, **changes))

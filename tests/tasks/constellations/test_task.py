import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.config import OptimizerConfig, RunConfig
from eqattn.groups import SE, T
from eqattn.layers import Attention, MLPLocation
from eqattn.lift import Haar
from eqattn.models import FieldNetworkConfig, LieTransformerConfig
from eqattn.spaces import euclidean
from eqattn.tasks import Problem, get_preset, get_task
from eqattn.tasks.constellations.data import COLUMNS
from eqattn.tasks.constellations.task import ConstellationsOptions, nearness
from tests.tasks.losses import mean_loss

MODEL = LieTransformerConfig(
    space=euclidean(SE(2)),
    dim=8,
    num_layers=1,
    layer=Attention(num_heads=2, location=MLPLocation(dim=4, num_layers=2, num_radial=0)),
)
TINY = RunConfig(
    task="constellations",
    data="generated",
    targets=("count",),
    batch_size=8,
    steps=2,
    eval_every=2,
    model=MODEL,
    optimizer=OptimizerConfig(warmup_steps=0),
    options=ConstellationsOptions(num_train=16, num_validation=8, num_test=20),
)


def prepared(**changes):
    options = dataclasses.replace(TINY.options, **changes)
    return get_task("constellations").prepare(dataclasses.replace(TINY, options=options))


@pytest.fixture(scope="module")
def problem():
    return prepared()


def test_it_is_a_problem_of_four_labels(problem):
    assert isinstance(problem, Problem)
    assert (problem.in_features, problem.out_features) == (33, 12)
    assert problem.num_examples == {"train": 16, "validation": 8, "test": 20}
    assert prepared(features="constant").in_features == 1


def test_networks_of_fields_take_its_scalars():
    network = FieldNetworkConfig(
        space=euclidean(SE(2)),
        input_field="33x scalar",
        output_field="12x scalar",
        hidden_field="2x scalar + 2x vector",
        output="invariant",
    )
    config = dataclasses.replace(TINY, model=network)
    assert get_task("constellations").prepare(config).in_features == 33
    other = dataclasses.replace(network, input_field="vector")
    with pytest.raises(ValueError, match="input_field must be '33x scalar' for constellations"):
        get_task("constellations").prepare(dataclasses.replace(TINY, model=other))


def test_paper_is_the_size_of_the_public_code():
    model = get_preset("constellations", "paper").model
    assert (model.dim, model.num_layers) == (512, 6)
    assert (model.layer.num_heads, model.layer.location.dim) == (8, 16)
    assert (model.space, model.lift) == (euclidean(SE(2)), Haar(1))


@pytest.mark.parametrize(("group", "is_invariant"), [(SE(2), True), (T(2), False)], ids=str)
def test_an_invariant_model_has_one_answer_in_all_columns(group, is_invariant):
    config = dataclasses.replace(MODEL, space=euclidean(group))
    problems = [prepared(train_motion=a, test_motion=b) for a, b in (COLUMNS[0], COLUMNS[5])]
    model = config.build(33, 12, rngs=nnx.Rngs(0))
    predict = jax.jit(lambda batch: problems[0].predict(model, batch, 1)["log_probabilities"])
    found = [np.asarray(predict(next(iter(p.evaluation_batches("test"))))) for p in problems]
    assert np.std(found[0], axis=0).max() > 1e-3, "predictions depend on the example"
    change = np.abs(found[0] - found[1]).max()
    assert (change < 1e-4) == is_invariant, change


def test_columns_move_training_and_test_apart(problem):
    moved = prepared(train_motion="T2", test_motion="SE2")
    for split in ("validation", "test"):
        still, there = (next(iter(p.evaluation_batches(split)))["points"] for p in (problem, moved))
        inner = [np.linalg.norm(x[:, 1] - x[:, 0], axis=-1) for x in (still, there)]
        np.testing.assert_allclose(*inner, rtol=1e-4)
        is_parallel = np.abs((there[:, 1] - there[:, 0]) - (still[:, 1] - still[:, 0])).max() < 1e-4
        assert is_parallel == (split == "validation")
        assert np.abs(there[:, 0] - still[:, 0]).max() > 0.1


def test_nearness_is_ordered_and_of_others_only():
    points = jnp.array([[[0.0, 0.0], [0.0, 0.25], [0.5, 0.0], [9.0, 9.0]]])
    mask = jnp.array([[True, True, True, False]])
    found = np.asarray(nearness(points, mask))
    assert found.shape == (1, 4, 33)
    np.testing.assert_allclose(found[0, 0, :3], [np.exp(-1), np.exp(-2), 0.0], rtol=1e-6)
    np.testing.assert_array_equal(found[0, 3], 0.0)
    slope = jax.jit(jax.grad(lambda x: jnp.sum(nearness(x, mask))))
    slopes = slope(points.at[0, 1].set(0.0))
    assert np.isfinite(slopes).all()


def test_a_step_of_training_has_slopes_and_scores_are_of_all_kinds(problem):
    model = MODEL.build(33, 12, rngs=nnx.Rngs(0))
    loss = nnx.value_and_grad(lambda *inputs: mean_loss(problem, *inputs))
    value, slopes = nnx.jit(loss)(model, problem.training_batches()[0], jax.random.key(0))
    assert np.isfinite(value)
    sizes = [float(jnp.linalg.norm(leaf)) for leaf in jax.tree.leaves(slopes)]
    assert np.isfinite(sizes).all()
    assert max(sizes) > 1e-3
    labels = np.array([[0, 1, 2, 1], [1, 1, 1, 1]])
    predictions = {"labels": labels, "log_probabilities": np.log(np.eye(3) + 1e-3)[labels]}
    scores = problem.score("test", predictions)
    kinds = ("square", "triangle", "pentagon", "L")
    names = [score.metric for score in scores]
    assert names == ["error", *(f"error_{kind}" for kind in kinds), "error_all"]
    assert [score.value for score in scores] == [0.0] * 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "embedded"}, "data must be 'generated' for constellations, got 'embedded'"),
        ({"targets": ("gap",)}, r"targets must be \('count',\) for constellations"),
        (
            {"model": dataclasses.replace(MODEL, space=euclidean(SE(3)))},
            r"space must be Euclidean of 2 dimensions for constellations, such as "
            r"'euclidean\(SE\(2\)\)', got 'euclidean\(SE\(3\)\)'",
        ),
        (
            {"options": ConstellationsOptions(num_test=0)},
            "num_test must be at least 1, got 0",
        ),
    ],
)
def test_what_a_run_cannot_have(changes, message):
    with pytest.raises(ValueError, match=message):
        get_task("constellations").prepare(dataclasses.replace(TINY, **changes))

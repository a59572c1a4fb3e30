"""Ensembles: each member learns as if it were alone, and predictions are their mean."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.models import Ensemble
from eqattn.tasks import get_task
from eqattn.train import evaluate, load, resume, save, train
from eqattn.train.building import build_model
from eqattn.train.evaluation import make_predictor, spread_of
from eqattn.train.state import init_state, make_step
from tests.train.test_resume import stop
from tests.train.toy import PRESET, ToyConfig

FOUR = dataclasses.replace(PRESET, ensemble=4)


def stepped(config, num_steps=12):
    """Parameters after some steps, without a run."""
    problem = get_task("toy").prepare(config)
    graphdef, params = nnx.split(build_model(config, 3, 2), nnx.Param)
    state, step = init_state(params, config), make_step(graphdef, problem, config)
    batches = problem.training_batches()
    for index in range(num_steps):
        state, metrics = step(state, batches[index])
    return jax.tree.leaves(state.params), metrics


def test_each_member_learns_as_if_it_were_alone():
    """Also where gradients are clipped, by the norm of each member's own."""
    clipped = dataclasses.replace(PRESET.optimizer, clip_norm=0.05)
    config = dataclasses.replace(FOUR, optimizer=clipped)
    together, metrics = stepped(config)
    losses = []
    for number in range(4):
        alone, own = stepped(
            dataclasses.replace(config, ensemble=1, model=Shifted(by=number), seed=config.seed)
        )
        losses.append(own["loss"])
        for mine, whole in zip(alone, together, strict=True):
            np.testing.assert_allclose(whole[number], mine, rtol=2e-5, atol=1e-6)
    assert np.ptp(np.asarray(together[0]), axis=0).max() > 0.1
    assert metrics["loss"] == pytest.approx(np.mean(losses), rel=1e-5)


@dataclasses.dataclass(frozen=True, repr=False, kw_only=True)
class Shifted(ToyConfig):
    """The model of another seed, on the batches of this one."""

    by: int = 0

    def build(self, in_features, out_features, *, rngs):
        del rngs
        return super().build(in_features, out_features, rngs=nnx.Rngs(PRESET.seed + self.by))


def test_predictions_are_means_beside_their_spread():
    problem = get_task("toy").prepare(FOUR)
    model = build_model(FOUR, 3, 2)
    batch = next(iter(problem.evaluation_batches("test")))
    graphdef, params = nnx.split(model, nnx.Param)
    found = make_predictor(graphdef, problem, 1)(params, batch)
    kernels, biases = model.members.kernel[...], model.members.bias[...]
    rows = [
        jnp.abs(batch["x"] @ kernel + bias - batch["targets"])
        for kernel, bias in zip(kernels, biases, strict=True)
    ]
    np.testing.assert_allclose(found["error"], np.mean(rows, axis=0), rtol=1e-5)
    np.testing.assert_allclose(found[spread_of("error")], np.std(rows, axis=0), rtol=1e-5)
    outputs = [batch["x"] @ k + b for k, b in zip(kernels, biases, strict=True)]
    np.testing.assert_allclose(model(batch["x"]), np.mean(outputs, 0), rtol=1e-4, atol=1e-5)


def test_a_run_is_loaded_scored_and_saved(tmp_path):
    result = train(FOUR, tmp_path / "run")
    single = train(PRESET, tmp_path / "single")
    assert result.num_params == 4 * single.num_params
    assert [s.value for s in evaluate(tmp_path / "run").scores] == pytest.approx(
        [s.value for s in result.scores]
    )
    model, config = load(tmp_path / "run")
    assert isinstance(model, Ensemble)
    assert (model.size, config.ensemble) == (4, 4)
    save(model, tmp_path / "again", config)
    again, _ = load(tmp_path / "again")
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(again(x), model(x))
    with pytest.raises(TypeError, match="config must be given with an ensemble"):
        save(model, tmp_path / "without")


def test_a_run_that_was_stopped_ends_as_if_it_had_not(tmp_path):
    whole = train(FOUR, tmp_path / "whole")
    stop(tmp_path / "run", 25, FOUR)
    assert resume(tmp_path / "run").scores == whole.scores


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: Ensemble([build_model(PRESET, 3, 2)]), ValueError, "two or more, got 1"),
        (lambda: Ensemble([1, 2]), TypeError, "models must be"),
        (
            lambda: Ensemble([build_model(PRESET, size, 2) for size in (3, 4)]),
            ValueError,
            "models must have one architecture",
        ),
        (
            lambda: train(dataclasses.replace(PRESET, ensemble=0), "nowhere"),
            ValueError,
            "ensemble must be at least 1, got 0",
        ),
    ],
)
def test_what_is_no_ensemble_is_refused(make, error, match, no_type_checks):
    with pytest.raises(error, match=match):
        make()

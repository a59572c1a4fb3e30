import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from eqattn.config import OptimizerConfig
from eqattn.train.optimizer import (
    decay_mask,
    make_optimizer,
    make_schedule,
    pack_parameters,
    update_average,
)

CONFIG = OptimizerConfig(learning_rate=1e-2, warmup_steps=10)


def test_schedule_warms_up_linearly_then_follows_a_cosine_to_zero():
    schedule = make_schedule(CONFIG, 110)
    rates = np.array([float(schedule(step)) for step in range(111)])
    np.testing.assert_allclose(rates[:11], 1e-3 * np.arange(11), atol=1e-9)
    np.testing.assert_allclose(rates[60], 5e-3, rtol=1e-5)
    expected = 5e-3 * (1 + np.cos(np.pi * np.arange(101) / 100))
    np.testing.assert_allclose(rates[10:], expected, atol=1e-8)


def test_a_short_run_warms_up_for_a_tenth_of_itself():
    schedule = make_schedule(CONFIG, 50)
    assert float(schedule(5)) == pytest.approx(1e-2)
    assert float(make_schedule(CONFIG, 5)(0)) == pytest.approx(1e-2)
    assert np.isfinite(float(make_schedule(CONFIG, 1)(0)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": -1.0}, "learning_rate must be at least 0, got -1"),
        ({"learning_rate": float("nan")}, "learning_rate must be at least 0, got nan"),
        ({"warmup_steps": -1}, "warmup_steps must be at least 0, got -1"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0, got -0.1"),
        ({"clip_norm": float("inf")}, "clip_norm must be at least 0, and finite, got inf"),
        ({"ema_decay": 1.0}, r"ema_decay must be in \[0, 1\), got 1"),
    ],
)
def test_values_out_of_range_are_named(changes, message):
    config = dataclasses.replace(CONFIG, **changes)
    with pytest.raises(ValueError, match=message):
        make_optimizer(config, make_schedule(config, 100))


def test_no_steps_are_an_error():
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        make_schedule(CONFIG, 0)


PARAMS = {
    "query": {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)},
    "location": {"weights": [jnp.ones((2, 3, 4))], "biases": [jnp.ones((2, 4))]},
    "norm": {"scale": jnp.ones(4), "bias": jnp.ones(4)},
}


def test_only_matrices_decay():
    assert decay_mask(PARAMS) == {
        "query": {"kernel": True, "bias": False},
        "location": {"weights": [True], "biases": [False]},
        "norm": {"scale": False, "bias": False},
    }
    vectors = {name: jnp.ones((2, 4)) for name in ("key_vector", "pair_vector", "frequencies")}
    assert not any(decay_mask({"content_term": vectors})["content_term"].values())


def test_decay_reaches_matrices_only():
    config = dataclasses.replace(CONFIG, weight_decay=0.5, learning_rate=0.1, warmup_steps=0)
    optimizer = make_optimizer(config, make_schedule(config, 1000))

    @jax.jit
    def step(params):
        zero = jax.tree.map(jnp.zeros_like, params)
        updates, _ = optimizer.update(zero, optimizer.init(params), params)
        return optax.apply_updates(params, updates)

    moved = step(pack_parameters(PARAMS)).tree
    np.testing.assert_allclose(moved["query"]["kernel"], 1 - 0.1 * 0.5, rtol=1e-6)
    np.testing.assert_array_equal(moved["location"]["biases"][0], 1.0)
    np.testing.assert_array_equal(moved["norm"]["scale"], 1.0)


@pytest.mark.parametrize(("clip_norm", "expected"), [(1.0, 1.0), (0.0, 20.0)])
def test_gradients_are_clipped_by_their_global_norm(clip_norm, expected):
    # Adam hides the size of a gradient, so look at its first moment: (1 - beta_1) times it.
    config = dataclasses.replace(CONFIG, clip_norm=clip_norm)
    optimizer = make_optimizer(config, make_schedule(config, 100))
    params = pack_parameters({"w": jnp.zeros((2, 2)), "bias": jnp.zeros(12)})
    gradient = params.like({"w": jnp.full((2, 2), 5.0), "bias": jnp.full(12, 5.0)})
    _, state = optimizer.update(gradient, optimizer.init(params), params)
    moment = optax.tree.norm(optax.tree.get(state, "mu"))
    np.testing.assert_allclose(moment, 0.1 * expected, rtol=1e-6)


def test_the_average_follows_the_parameters():
    average, params = {"w": jnp.zeros(2)}, {"w": jnp.ones(2)}
    early = update_average(average, params, jnp.array(0), 0.99)
    np.testing.assert_allclose(early["w"], 0.9, rtol=1e-6)  # d = 1 / 10
    late = update_average(average, params, jnp.array(10**6), 0.99)
    np.testing.assert_allclose(late["w"], 0.01, rtol=1e-4)


def test_no_average_at_decay_zero():
    average, params = {"w": jnp.zeros(2)}, {"w": jnp.ones(2)}
    for step in (0, 1000):
        same = update_average(average, params, jnp.array(step), 0.0)
        np.testing.assert_array_equal(same["w"], params["w"])


def test_the_average_keeps_its_type():
    average = {"w": jnp.zeros(2, jnp.float32)}
    assert update_average(average, average, jnp.array(3), 0.9)["w"].dtype == jnp.float32

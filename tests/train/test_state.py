import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.train.named_leaves import to_named
from eqattn.train.state import NO_STEP, init_state, make_step
from tests.train.toy import PRESET, ToyTask


def start(config=PRESET, bad_step=None):
    task = ToyTask()
    task.bad_step = bad_step
    problem = task.prepare(config)
    graphdef, params = nnx.split(config.model.build(3, 2, rngs=nnx.Rngs(0)), nnx.Param)
    return problem, init_state(params, config), make_step(graphdef, problem, config)


def run(steps, config=PRESET, bad_step=None):
    problem, state, step = start(config, bad_step)
    losses = []
    for i in range(steps):
        state, metrics = step(state, problem.batch(i, config.batch_size))
        losses.append(float(metrics["loss"]))
    return problem, state, losses


def test_the_loss_falls():
    config = dataclasses.replace(PRESET, steps=200)
    _, state, losses = run(200, config)
    assert np.mean(losses[-5:]) < 0.02 * losses[0]
    assert int(state.step) == 200
    assert int(state.failed_step) == NO_STEP


def test_the_same_seed_gives_the_same_run():
    (_, first, _), (_, second, _) = run(5), run(5)
    chex.assert_trees_all_equal(to_named(first.params), to_named(second.params))


def test_a_second_call_of_the_same_shape_compiles_nothing():
    """Each of two buckets is compiled once; a third one is noticed."""
    problem, state, _ = start()
    problem.loss = chex.assert_max_traces(problem.loss, n=2)
    step = make_step(nnx.graphdef(nnx.Linear(3, 2, rngs=nnx.Rngs(0))), problem, PRESET)
    for i, size in enumerate((8, 8, 16, 8, 16)):
        state, _ = step(state, problem.batch(i, size))
    with pytest.raises(AssertionError, match="traced > 2 times"):
        step(state, problem.batch(5, 4))


def test_the_state_is_donated():
    problem, state, step = start()
    before = jax.tree.leaves(state)
    step(state, problem.batch(0, 8))
    assert all(array.is_deleted() for array in before)


def test_the_average_lags_behind():
    config = dataclasses.replace(
        PRESET, optimizer=dataclasses.replace(PRESET.optimizer, ema_decay=0.99)
    )
    _, state, _ = run(20, config)
    assert not np.allclose(
        state.average.tree["kernel"][...], state.params.tree["kernel"][...], atol=1e-4
    )


def test_each_step_draws_with_its_own_key():
    problem, state, _ = start()
    keys = []
    problem.loss = lambda model, batch, key: (
        jax.random.uniform(key) + 0 * jnp.sum(model(batch["x"])),
        jnp.float32(1),
    )
    step = make_step(nnx.graphdef(nnx.Linear(3, 2, rngs=nnx.Rngs(0))), problem, PRESET)
    for i in range(3):
        state, metrics = step(state, problem.batch(i, 8))
        keys.append(float(metrics["loss"]))
    assert len(set(keys)) == 3


@pytest.mark.parametrize("bad_step", [0, 6])
def test_a_loss_that_is_not_finite_leaves_the_last_good_state(bad_step):
    _, good, _ = run(bad_step)
    _, state, losses = run(bad_step + 5, bad_step=bad_step)
    assert np.isnan(losses[bad_step])
    assert int(state.failed_step) == bad_step + 1
    assert int(state.step) == bad_step
    for name in ("params", "average", "optimizer"):
        kept, expected = to_named(getattr(state, name)), to_named(getattr(good, name))
        chex.assert_trees_all_equal(kept, expected)


def test_a_gradient_that_is_not_finite_counts_too():
    problem, state, _ = start()
    # sqrt has an infinite slope at 0, where its value is finite.
    problem.loss = lambda model, batch, key: (
        jnp.sum(jnp.sqrt(0.0 * jnp.abs(model(batch["x"])))),
        jnp.float32(1),
    )
    step = make_step(nnx.graphdef(nnx.Linear(3, 2, rngs=nnx.Rngs(0))), problem, PRESET)
    state, metrics = step(state, problem.batch(0, 8))
    chex.assert_tree_all_finite(metrics["loss"])
    assert int(state.failed_step) == 1


def test_steps_of_shapes_that_were_compiled_ahead_compile_nothing():
    problem, state, step = start()
    batches = [problem.batch(i, size) for i, size in enumerate((6, 4))]
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **__: compiled.append(event) if "backend_compile" in event else None
    )
    step.compile_ahead(state, batches)
    assert len(compiled) >= 2
    compiled.clear()
    losses = []
    for batch in (*batches, *batches):
        state, metrics = step(state, batch)
        losses.append(metrics["loss"])
    assert compiled == []
    assert int(state.step) == 4
    state, _ = step(state, problem.batch(4, 5))  # another shape is compiled when it comes
    assert compiled
    _, fresh, lazy = start()
    for batch, loss in zip(batches, losses, strict=False):
        fresh, metrics = lazy(fresh, batch)
        np.testing.assert_array_equal(metrics["loss"], loss)

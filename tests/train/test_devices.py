"""A step is the same on any number of devices and of parts of a batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.train.devices import DataParallel
from tests.train.toy import PRESET, ToyTask

ROOT = Path(__file__).parents[2]
CHILD = """
import dataclasses, json, sys
import jax
import numpy as np
from flax import nnx
from eqattn.lift import Haar
from eqattn.tasks import AugmentingProblem, get_preset, get_task
from eqattn.train.devices import DataParallel
from eqattn.train.state import init_state, make_step

task, kind, dtype, counts = sys.argv[1:]
assert len(jax.devices()) == 8
config = get_preset(task, "demo")
counts = json.loads(counts)
changes = {"num_layers": 1} | ({"lift": Haar(2)} if kind == "drawn" else {})
changes |= {"dim": 16} if len(counts) < 3 else {}  # to be done soon
config = dataclasses.replace(config, model=config.model.replace_network(dtype=dtype, **changes))
if kind == "drawn" and task == "molecules":
    turned = dataclasses.replace(config.options, augment_rotations=True)
    config = dataclasses.replace(config, options=turned)
if task in ("springs", "constellations"):
    few = dataclasses.replace(config.options, num_train=40, num_validation=2, num_test=2)
    config = dataclasses.replace(config, options=few)
problem = get_task(task).prepare(dataclasses.replace(config, batch_size=12))
model = config.model.build(problem.in_features, problem.out_features, rngs=nnx.Rngs(0))
graphdef, params = nnx.split(model, nnx.Param)
batch, found = problem.training_batches()[0], []
for devices, parts in counts:
    config = dataclasses.replace(config, accumulate=parts)
    parallel = DataParallel(parts, jax.devices()[:devices])

    @jax.jit
    def gradient_of(params, batch, key):
        if isinstance(problem, AugmentingProblem):
            batch = problem.augment(batch, key)
        loss = lambda params, *inputs: problem.loss(nnx.merge(graphdef, params), *inputs)
        return parallel.value_and_gradient(loss, params, batch, key)

    loss, gradient = gradient_of(params, parallel.spread(batch), jax.random.key(1))
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient)])
    # A few sums of the gradient with random signs stand for all of its numbers.
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (16, flat.size))
    step = make_step(graphdef, problem, config, jax.devices()[:devices])
    _, metrics = step(init_state(params, config), batch)
    norm = float(np.linalg.norm(flat.astype(float)))
    found.append(
        {
            "loss": [float(loss)],
            "gradient": (signs @ flat / norm).tolist(),
            "step": [float(metrics["loss"]), float(metrics["gradient_norm"])],
        }
    )
print(json.dumps(found))
"""


def on_eight_devices(code, *words):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    environment = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)}
    environment["JAX_ENABLE_X64"] = "1" if "float64" in words else "0"
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


DTYPES = ("float32", "float64")
CASES = [
    *((task, "demo", "float32") for task in ("molecules", "springs", "shapes", "constellations")),
    *((task, "demo", "float32") for task in ("images", "winds", "points")),
    *((task, "drawn", dtype) for task in ("molecules", "winds") for dtype in DTYPES),
    *((task, "demo", "float64") for task in ("springs", "points")),
]
FAST = ("molecules", "drawn", "float64")
"""By default, on one device and on two with three parts each."""


COUNTS = ((1, 1), (2, 1), (4, 1), (8, 1), (2, 3))
"""Of devices, and of parts of a batch."""


@pytest.mark.parametrize(
    ("case", "counts"),
    [
        pytest.param(FAST, COUNTS[::4], id="few"),
        *(pytest.param(c, COUNTS, id="-".join(c), marks=pytest.mark.slow) for c in CASES),
    ],
)
def test_a_step_of_every_task_is_the_same_on_any_number_of_devices(case, counts):
    first, *others = on_eight_devices(CHILD, *case, json.dumps(counts))
    # Twelve rows on eight devices: four of the sixteen only fill the batch.
    rtol = 1e-12 if case[2] == "float64" else 5e-6
    assert np.abs(first["gradient"]).max() > 0.1
    for other in others:
        for name in ("loss", "step"):
            assert other[name] == pytest.approx(first[name], rel=rtol), name
        # Of a sum of random signs, the error is about that of the whole gradient.
        np.testing.assert_allclose(other["gradient"], first["gradient"], atol=rtol)


def test_the_mean_is_over_weights_and_not_of_means():
    """Rows 0 and 1 make a part, row 2 and filler the other: each row counts once."""
    parallel = DataParallel(accumulate=2, devices=jax.devices()[:1])
    batch = parallel.spread({"x": np.array([1.0, 2.0, 6.0], np.float32)})
    np.testing.assert_array_equal(batch["weight"], [1, 1, 1, 0])
    np.testing.assert_array_equal(batch["x"], [1, 2, 6, 6])

    def sums(slope, batch, key):
        del key
        return jnp.sum(batch["weight"] * slope * batch["x"]), jnp.sum(batch["weight"])

    value = lambda: parallel.value_and_gradient(sums, 2.0, batch, jax.random.key(0))
    loss, gradient = jax.jit(value)()
    assert (float(loss), float(gradient)) == (6.0, 3.0)

    def means(slope, batch, key):  # the control: what a mean of means would be
        total, weight = sums(slope, batch, key)
        return total / weight, jnp.float32(1)

    wrong, _ = parallel.value_and_gradient(means, 2.0, batch, jax.random.key(0))
    assert float(wrong) != pytest.approx(6.0)


def test_a_batch_without_weight_has_no_loss_and_no_gradient():
    parallel = DataParallel(devices=jax.devices()[:1])
    nothing = lambda slope, batch, key: (0.0 * slope, jnp.float32(0))
    loss, gradient = parallel.value_and_gradient(nothing, 2.0, {}, jax.random.key(0))
    assert (float(loss), float(gradient)) == (0.0, 0.0)


def test_nothing_is_copied_where_rows_divide_evenly():
    batch = ToyTask().prepare(PRESET).batch(0, 8)
    parallel = DataParallel(accumulate=4, devices=jax.devices()[:1])
    spread = parallel.spread(batch)
    assert all(spread[name] is batch[name] for name in ("x", "targets"))
    np.testing.assert_array_equal(spread["weight"], np.ones(8))
    own = np.array([0.5, 2.0, 0.0], np.float32)
    weighted = parallel.spread({"x": np.ones((3, 1)), "weight": own})
    np.testing.assert_array_equal(weighted["weight"], [0.5, 2.0, 0.0, 0.0])


@pytest.mark.parametrize("accumulate", [0, -1])
def test_there_is_at_least_one_part(accumulate):
    with pytest.raises(ValueError, match=f"accumulate must be at least 1, got {accumulate}"):
        DataParallel(accumulate)

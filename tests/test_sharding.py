"""Batches that are spread over devices: the same results, and nobody gathers them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from eqattn import groups, lift, spaces
from eqattn.sharding import num_parts, on_any_mesh, on_each_part
from tests import sharded, small
from tests.grids import some

ROOT = Path(__file__).parents[1]
FEW = ("few",)
"""Where examples come last, where tiles are loops, and what is gathered by index, as one program.

The slow run has every lift, layer, back end and model.
"""


def on_eight_devices(*names):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8".strip()
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_ENABLE_X64": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.sharded", *names]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("names", some([FEW, tuple(sharded.CASES)], FEW), ids=["few", "all"])
def test_every_way_of_spreading_a_batch_gives_the_same(names):
    """By ``jit`` on automatic and explicit axes, ``shard_map``, ``vmap`` and ``pmap``."""
    found = on_eight_devices(*names)
    assert [row["case"] for row in found] == list(names)
    for row in found:
        assert row["scale"] > 0.1
        for way in ("Auto", "Explicit", "shard_map", "vmap", "pmap"):
            assert row[way] < 1e-10, (row["case"], way)
        for kind in ("Auto", "Explicit"):
            assert row[f"{kind} is spread"], row["case"]
            # Gradients are added up, and nothing else moves.
            assert row[f"{kind} collectives"] == ["all-reduce"], row["case"]


def test_one_device_has_all():
    x = jnp.arange(6.0).reshape(6, 1)
    assert num_parts(x, 6) == 1
    assert jax.jit(lambda x: num_parts(x, 6))(x) == 1
    seen = []
    out = on_each_part(lambda x, y: seen.append(x.shape) or x + y, x, 2 * x)
    np.testing.assert_array_equal(out, 3 * x)
    assert seen == [(6, 1)]


def test_a_decorated_function_takes_words_as_it_did():
    @on_any_mesh("y", 1)
    def add(x, y, *, z=0):
        """Adds."""
        return x + y + z

    assert (add(1, 2), add(1, y=2, z=3), add.__doc__) == (3, 6, "Adds.")
    with pytest.raises(ValueError, match="'w' is not in list"):
        on_any_mesh("w", 1)(add)


def test_any_argument_may_be_what_lies_on_a_mesh():
    """Points may be NumPy's, and features on the mesh, or the other way round."""
    mesh = jax.make_mesh((1,), ("data",))  # its axes are explicit
    put = lambda x: jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
    space, rng = spaces.euclidean(groups.SE(3)), np.random.default_rng(0)
    layer = small.attention(coordinates="invariants").build(4, space, rngs=nnx.Rngs(0))
    points, features = rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 5, 4))

    @jax.jit
    def run(layer, points, features):
        return layer(lift.lift(space, points, features, lift=lift.NoLift()))

    expected = run(layer, points, features)
    for given in ((put(points), features), (points, put(features)), (put(points), put(features))):
        found = run(layer, *given)
        assert found.sharding.spec[0] == "data"
        np.testing.assert_allclose(found, expected, atol=1e-12)

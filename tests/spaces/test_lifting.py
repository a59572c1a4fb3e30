"""Every further space end to end: lifted by the library's lift, attended to by its layer."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import testing
from eqattn.groups import SE, SO
from eqattn.layers import LieSelfAttention
from eqattn.lift import Haar, NoLift, lift
from eqattn.spaces import group_space, position_orientation, sphere
from tests import small
from tests.grids import some
from tests.spaces.cases import MORE_SPACES
from tests.tolerances import NEGATIVE_CONTROL, tolerance

SIZES = {"num_points": 4, "num_examples": 4, "dtype": jnp.float64}


def layer(space, coordinates):
    options = small.attention(coordinates=coordinates, num_radial=3, cutoff=2.0, width=4)
    return LieSelfAttention(4, space, options, param_dtype=jnp.float64, rngs=nnx.Rngs(0))


def error(space, change=lambda lifted: lifted):
    attention = layer(space, "embedding")
    run = jax.jit(lambda lifted: attention(change(lifted)))
    return testing.coupled_lift_error(run, space, lift=Haar(2), **SIZES)


# Under Sim(n) points of Rⁿ are not lifted by samples, see test_more_spaces.
LIFTED = [name for name in MORE_SPACES if "R2 Sim" not in name and "R3 Sim" not in name]


QUICK = ("R3 about an axis", "SE(2) itself")


@pytest.mark.parametrize("name", some(LIFTED, *QUICK))
def test_coupled_lift(name):
    """Every element times u: attention gives the same, with distances and samples of H."""
    assert error(MORE_SPACES[name]) <= tolerance(jnp.float64)


@pytest.mark.parametrize(
    "space",
    some(
        [sphere(SO(3)), position_orientation(SE(2)), group_space(SE(3))],
        position_orientation(SE(2)),
    ),
)
def test_negative_control_wrong_pair(space):
    """ψ = g_j g_i⁻¹, by handing the layer the inverse elements."""
    invert = lambda x: dataclasses.replace(x, elements=space.group.inverse(x.elements))
    assert error(space, invert) > NEGATIVE_CONTROL


def test_samples_about_one_axis():
    """Under SE(2) × T(1) they keep the point and the axis, and average all across it to 0."""
    space, num = MORE_SPACES["R3 upright"], 1024

    @jax.jit
    def run():
        points = space.sample_points(jax.random.key(0), (2,), jnp.float64)
        elements = lift(space, points, points, key=jax.random.key(1), lift=Haar(num)).elements
        moved = space.act(elements, jnp.asarray(space.origin()))
        return points, moved, space.group.linear_matrix(elements)

    points, moved, matrices = map(np.asarray, run())
    np.testing.assert_array_equal(moved, np.broadcast_to(points[:, None], moved.shape))
    np.testing.assert_array_equal(matrices[..., 2, :], np.broadcast_to([0.0, 0, 1], (2, num, 3)))
    np.testing.assert_array_equal(matrices[..., :2, 2], 0.0)
    assert np.abs(matrices[..., :2, :2].mean(1)).max() <= 4.5 / np.sqrt(num)
    assert np.abs((matrices[..., :2, :2] ** 2).mean(1) - 0.5).max() <= 4.5 / np.sqrt(num)


@pytest.mark.parametrize(
    "name",
    some(["S2 O(3)", "R3xS2 SE(3)", "R2xS1 SE(2)", "Sim(3) itself"], "R3xS2 SE(3)"),
)
def test_exactly_equivariant_without_samples(name):
    """Invariants on the space of the data, or a trivial stabilizer: exact for moved inputs."""
    space = MORE_SPACES[name]
    attention = layer(space, "invariants")
    strategy = NoLift() if space.stabilizer.element_dim else Haar(1)

    def fn(points, features):
        return attention(lift(space, points, features, lift=strategy))

    assert testing.equivariance_error(jax.jit(fn), space, **SIZES) <= tolerance(jnp.float64)

"""Samples as examples of their own."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.lift import Frames, by_sample, lift, mean_over_samples, samples_apart
from tests.spaces.cases import SPACES

SPACE = SPACES["SE(3)"]
IDS = jnp.array([7, 4])


@functools.cache
def lifted(pairs):
    return jax.jit(lambda: lift_of(pairs))()


def lift_of(pairs):
    x = jax.random.normal(jax.random.key(0), (2, 5, 3), jnp.float64)
    mask = jnp.arange(5) < jnp.array([[5], [3]])
    weights = jax.random.normal(jax.random.key(1), (2, 5), jnp.float64)
    options = {"key": jax.random.key(2), "log_weights": weights}
    found = lift(SPACE, x, x, mask, lift=Frames(1e-3, pairs=pairs), **options)
    return found, weights


def test_each_sample_has_the_whole_weight_of_its_point():
    found, weights = lifted("within")
    apart = jax.jit(samples_apart)(found)
    for name in ("elements", "features"):
        of_samples, of_points = (np.asarray(getattr(x, name)) for x in (apart, found))
        np.testing.assert_array_equal(of_samples[:, :, :, 0], np.moveaxis(of_points, 2, 1))
    for k in range(4):
        np.testing.assert_array_equal(np.asarray(apart.mask)[:, k], found.mask)
        own = np.asarray(apart.log_weights)[:, k, :, 0]
        np.testing.assert_allclose(own, weights, atol=1e-14)
    assert apart.orbit_invariants.shape == (2, 4, 5, 0)
    assert apart.fallback.shape == (2, 4)
    without = dataclasses.replace(found, fallback=None)
    assert jax.jit(samples_apart)(without).fallback is None


def test_a_network_is_applied_to_each_sample_where_the_lift_says_so():
    """With the id of its example; a single sample, and other lifts, stay as they are."""
    seen = []

    def network(lifted, ids):
        seen.append((lifted.features.shape, None if ids is None else np.asarray(ids).tolist()))
        return lifted.replace_features(lifted.features**2)

    within, across = lifted("within")[0], lifted("across")[0]
    one = jax.tree.map(lambda x: x[:, :, :1] if x.ndim > 2 else x, within)
    for given in (within, across, one):
        out = by_sample(network, given, IDS)
        np.testing.assert_array_equal(out.features, given.features**2)
        np.testing.assert_array_equal(out.elements, given.elements)
    of_four = [[7] * 4, [4] * 4]
    assert seen == [((2, 4, 5, 1, 3), of_four), ((2, 5, 4, 3), [7, 4]), ((2, 5, 1, 3), [7, 4])]

    def sums(lifted, ids):
        seen.append(ids)
        return jnp.sum(lifted.features, axis=(-3, -2)) ** 2

    found = mean_over_samples(sums, within, None)
    np.testing.assert_allclose(found, np.mean(np.sum(within.features, axis=1) ** 2, axis=1))
    np.testing.assert_allclose(mean_over_samples(sums, across, None), sums(across, None))

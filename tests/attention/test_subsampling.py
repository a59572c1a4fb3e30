"""Farthest points: who is chosen, whose cells they weigh, and what neither may depend on."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn import groups, spaces, testing
from eqattn.attention import Nearest, farthest_points, find_neighbors, subsample
from eqattn.lift import Haar, lift
from tests.compiled import compiled
from tests.spaces.cases import SPACES

find_neighbors, lift = (compiled(f) for f in (find_neighbors, lift))

B, N, S, M = 2, 12, 2, 4
MASK = jnp.arange(N) < jnp.array([[N], [3]])
SE2 = spaces.euclidean(groups.SE(2))
EXISTS = np.asarray(MASK)


@functools.cache
def lifted_in(space):
    points = jax.random.normal(jax.random.key(1), (B, N, space.point_dim))
    weights = jnp.log(jax.random.uniform(jax.random.key(3), (B, N), minval=0.5, maxval=2.0))
    return lift(
        space, points, points, MASK, key=jax.random.key(0), strategy=Haar(S),
        log_weights=jnp.where(jnp.arange(N) == 5, -jnp.inf, weights),
    )  # fmt: skip


choose = jax.jit(farthest_points, static_argnums=(0, 2), static_argnames="start")
keep = jax.jit(subsample, static_argnums=(0, 2))


def greedy(x, weights, size):
    """Farthest points of one example, written out."""
    squared = np.sum((x[:, None] - x[None]) ** 2, -1)
    exists = weights > 0
    chosen = [int(np.argmax(np.where(exists, squared @ weights, -1)))]
    while len(chosen) < min(size, exists.sum()):
        score = np.where(exists, np.min(squared[:, chosen], 1), -1)
        score[chosen] = -1
        chosen.append(int(np.argmax(score)))
    return chosen, np.argmin(squared[:, chosen], 1)


@pytest.mark.parametrize("name", ["T(3)", "SE(2)", "SO(3)"])
def test_agrees_with_a_loop(name):
    lifted = lifted_in(SPACES[name])
    found = choose(SPACES[name], lifted, M)
    for b in range(B):
        x = np.asarray(lifted.features[b, :, 0])  # under T(n) and scalars, the points themselves
        weights = np.asarray(jnp.sum(jnp.exp(lifted.log_weights[b]), -1)) * EXISTS[b]
        chosen, nearest = greedy(x, weights, M)
        assert found.indices[b, : len(chosen)].tolist() == chosen
        assert found.mask[b].tolist() == [i < len(chosen) for i in range(M)]
        there = weights > 0
        np.testing.assert_array_equal(found.nearest[b][there], nearest[there])
    assert len(chosen) == 3  # of three points all


def test_subsamples_keep_points_and_the_weight_of_their_cells():
    lifted = lifted_in(SE2)
    found, kept = choose(SE2, lifted, M), keep(SE2, lifted, M)
    assert kept.elements.shape == (B, M, S, 4)
    np.testing.assert_array_equal(kept.mask, found.mask)
    for b in range(B):
        weights = np.where(EXISTS[b][:, None], np.exp(lifted.log_weights[b]), 0).sum(-1)
        for place, index in enumerate(found.indices[b]):
            if not found.mask[b, place]:
                continue
            np.testing.assert_array_equal(kept.features[b, place], lifted.features[b, index])
            cell = weights[np.asarray(found.nearest[b]) == place].sum()
            np.testing.assert_allclose(np.exp(kept.log_weights[b, place]).sum(), cell, rtol=1e-12)
        total = np.exp(np.where(kept.mask[b][:, None], kept.log_weights[b], -np.inf)).sum()
        np.testing.assert_allclose(total, weights.sum(), rtol=1e-12)
    whole = keep(SE2, lifted, N + 3)
    assert whole.mask.sum(-1).tolist() == [N - 1, 3]
    assert whole.mask.shape == (B, N)


@pytest.mark.parametrize("name", ["SE(2)", "SE(3)", "SO(3)", "RxSO2"])
def test_equivariance(name):
    """The same points are chosen after u; of inverse elements, the control, other ones are."""
    space = SPACES[name]
    lifted = lifted_in(space)
    u = testing.random_elements(space.group, jax.random.key(4), (B,))[:, None, None]
    moved = lambda x: dataclasses.replace(x, elements=space.group.compose(u, x.elements))
    invert = lambda x: dataclasses.replace(x, elements=space.group.inverse(x.elements))
    here = choose(space, lifted, M).indices[0]
    np.testing.assert_array_equal(choose(space, moved(lifted), M).indices[0], here)
    if name.startswith("SE"):  # elsewhere distances of inverse elements may agree
        other = [choose(space, invert(x), N).indices[0].tolist() for x in (lifted, moved(lifted))]
        assert other[0] != other[1]


def test_permutations_and_padding():
    lifted = lifted_in(SE2)
    order = np.random.default_rng(0).permutation(N)
    permuted = jax.tree.map(lambda a: a[:, order], lifted)
    here, there = keep(SE2, lifted, M), keep(SE2, permuted, M)
    for a, b in zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True):
        np.testing.assert_allclose(a[here.mask], b[there.mask], rtol=1e-12)
    first = choose(SE2, permuted, M, start="first").indices[0, 0]
    assert first == next(i for i, j in enumerate(order) if j != 5)  # its weight is 0
    assert choose(SE2, permuted, M).indices[0, 0] != first
    short = jax.tree.map(lambda a: a[1:, :3], lifted)
    np.testing.assert_array_equal(
        choose(SE2, short, 3).indices[0], choose(SE2, lifted, M).indices[1, :3]
    )
    alone = jax.jit(jax.vmap(lambda x: farthest_points(SE2, x, M)))(lifted)
    np.testing.assert_array_equal(alone.indices, choose(SE2, lifted, M).indices)
    spoil = lambda a: jnp.where(MASK.reshape(B, N, *(1,) * (a.ndim - 2)), a, jnp.nan)
    spoilt = dataclasses.replace(lifted, elements=spoil(lifted.elements))
    np.testing.assert_array_equal(choose(SE2, spoilt, M).indices, choose(SE2, lifted, M).indices)


def test_half_weight():
    """Splitting a point into two of half weight changes neither the kept points nor weights."""
    lifted = jax.tree.map(lambda a: a[:1], lifted_in(SE2))
    twice = jax.tree.map(lambda a: jnp.concatenate([a, a[:, :3]], axis=1), lifted)
    halved = lambda x: x.at[:, :3].add(-jnp.log(2.0)).at[:, -3:].add(-jnp.log(2.0))
    split = dataclasses.replace(twice, log_weights=halved(twice.log_weights))
    here, there = keep(SE2, lifted, M), keep(SE2, split, M)
    for a, b in zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    whole = keep(SE2, twice, M)
    assert jnp.max(jnp.abs(whole.log_weights - here.log_weights)) > 0.1  # the control


def test_coincident_points_are_each_chosen_once():
    points = jnp.zeros((5, 2)).at[4].set(1.0)
    lifted = lift(spaces.euclidean(groups.T(2)), points, points)
    found = choose(spaces.euclidean(groups.T(2)), lifted, 5)
    assert sorted(found.indices.tolist()) == [0, 1, 2, 3, 4]
    assert sorted(found.nearest.tolist()) == [0, 1, 2, 3, 4]


def test_no_derivative_but_that_of_features_and_weights():
    lifted = lifted_in(SE2)

    @jax.jit
    def total(elements, features, log_weights):
        lift_of = dataclasses.replace(
            lifted, elements=elements, features=features, log_weights=log_weights
        )
        kept = subsample(SE2, lift_of, M)
        weights = jnp.where(kept.valid, jnp.exp(jnp.where(kept.valid, kept.log_weights, 0)), 0)
        return jnp.sum(weights**2), jnp.sum(jnp.where(kept.valid[..., None], kept.features, 0))

    gradient = jax.jit(jax.grad(lambda *a: sum(total(*a)), argnums=(0, 1, 2)))
    arrays = lifted.elements, lifted.features, jnp.maximum(lifted.log_weights, -5.0)
    elements, features, log_weights = gradient(*arrays)
    assert jnp.all(elements == 0)
    np.testing.assert_array_equal(jnp.sum(features, (1, 2)), [[M * S] * 2, [3 * S] * 2])
    step = 1e-6 * jax.random.normal(jax.random.key(6), log_weights.shape)
    ends = [total(*arrays[:2], arrays[2] + sign * step)[0] for sign in (1, -1)]
    np.testing.assert_allclose(jnp.sum(log_weights * step), (ends[0] - ends[1]) / 2, rtol=1e-6)


def test_neighbors_of_other_queries():
    """Of kept points the neighbors are those that they have among all points."""
    lifted = lifted_in(SE2)
    found, kept = choose(SE2, lifted, M), keep(SE2, lifted, M)
    find = jax.jit(lambda x, **queries: find_neighbors(SE2, x, Nearest(3), **queries))
    everyone, near = find(lifted), find(lifted, queries=kept)
    assert near.indices.shape == (B, M * S, 3 * S)
    assert near.num_keys == N * S
    for place in range(M):
        own = everyone.indices.reshape(B, N, S, -1)[0, found.indices[0, place]]
        np.testing.assert_array_equal(near.indices.reshape(B, M, S, -1)[0, place], own)
    assert not jnp.any(near.is_truncated[0])


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: farthest_points(SE2, lifted_in(SE2), 0), "num_points must be at least 1, got 0"),
        (
            lambda: farthest_points(SE2, lifted_in(SE2), 3, start="last"),
            "start must be one of .* got 'last'",
        ),
        (
            lambda: subsample(SPACES["SE(3)"], lifted_in(SE2), 3),
            r"lifted must have elements of SE3\(\) with 7 components",
        ),
        (
            lambda: find_neighbors(
                SE2,
                lifted_in(SE2),
                Nearest(2),
                queries=jax.tree.map(lambda a: a[0], lifted_in(SE2)),
            ),
            r"queries must have the batch \(2,\) of lifted, got \(\)",
        ),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_errors(make, match):
    with pytest.raises(ValueError, match=match):
        make()

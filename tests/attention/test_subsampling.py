"""Farthest points: who is chosen, whose cells they weigh, and what neither may depend on."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn import groups, spaces, testing
from eqattn.attention import NearestNeighbors, farthest_points, find_neighbors, subsample
from eqattn.lift import Frames, Haar, lift
from tests import draws
from tests.compiled import compiled
from tests.grids import some
from tests.spaces.cases import SPACES

B, N, S, M = 2, 12, 2, 4
MASK = np.arange(N) < np.array([[N], [3]])
SE2 = spaces.euclidean(groups.SE(2))


@functools.cache
def lifted_in(space):
    points = draws.normal(1, B, N, space.point_dim)
    log_weights = np.log(np.random.default_rng(3).uniform(0.5, 2.0, (B, N)))
    log_weights[:, 5] = -np.inf
    return compiled(lift)(
        space, points, points, MASK, key=jax.random.key(0), lift=Haar(S),
        log_weights=log_weights,
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
    # Under T(n) and scalars, the points themselves.
    points, log_weights = np.asarray(lifted.features)[:, :, 0], np.asarray(lifted.log_weights)
    indices, mask, cells = map(np.asarray, (found.indices, found.mask, found.nearest))
    for b in range(B):
        weights = np.sum(np.exp(log_weights[b]), -1) * MASK[b]
        chosen, nearest = greedy(points[b], weights, M)
        assert indices[b, : len(chosen)].tolist() == chosen
        assert mask[b].tolist() == [i < len(chosen) for i in range(M)]
        there = weights > 0
        np.testing.assert_array_equal(cells[b][there], nearest[there])
    assert len(chosen) == 3  # of three points all


def test_subsamples_keep_points_and_the_weight_of_their_cells():
    lifted = lifted_in(SE2)
    found, kept = choose(SE2, lifted, M), keep(SE2, lifted, M)
    assert kept.elements.shape == (B, M, S, 4)
    np.testing.assert_array_equal(kept.mask, found.mask)
    indices, mask, cells = map(np.asarray, (found.indices, found.mask, found.nearest))
    features, kept_features = np.asarray(lifted.features), np.asarray(kept.features)
    log_weights, kept_weights = np.asarray(lifted.log_weights), np.asarray(kept.log_weights)
    for b in range(B):
        weights = np.where(MASK[b][:, None], np.exp(log_weights[b]), 0).sum(-1)
        for place, index in enumerate(indices[b]):
            if not mask[b, place]:
                continue
            np.testing.assert_array_equal(kept_features[b, place], features[b, index])
            cell = weights[cells[b] == place].sum()
            np.testing.assert_allclose(np.exp(kept_weights[b, place]).sum(), cell, rtol=1e-12)
        total = np.exp(np.where(mask[b][:, None], kept_weights[b], -np.inf)).sum()
        np.testing.assert_allclose(total, weights.sum(), rtol=1e-12)
    whole = keep(SE2, lifted, N + 3)
    assert np.sum(whole.mask, -1).tolist() == [N - 1, 3]
    assert whole.mask.shape == (B, N)


@pytest.mark.parametrize("name", some(["SE(2)", "SE(3)", "SO(3)", "RxSO2"], "SE(2)", "SO(3)"))
def test_equivariance(name):
    """The same points are chosen after u; of inverse elements, the control, other ones are."""
    space = SPACES[name]
    lifted = lifted_in(space)

    @jax.jit
    def compute(lifted, key):
        u = testing.random_elements(space.group, key, (B,))[:, None, None]
        moved = dataclasses.replace(lifted, elements=space.group.compose(u, lifted.elements))
        invert = lambda x: dataclasses.replace(x, elements=space.group.inverse(x.elements))
        both = lifted, moved
        here = [choose(space, x, M).indices[0] for x in both]
        return here, [choose(space, invert(x), N).indices[0] for x in both]

    (here, there), inverted = compute(lifted, jax.random.key(4))
    np.testing.assert_array_equal(there, here)
    if name.startswith("SE"):  # elsewhere distances of inverse elements may agree
        assert inverted[0].tolist() != inverted[1].tolist()


def test_permutations_and_padding():
    lifted = lifted_in(SE2)
    order = np.random.default_rng(0).permutation(N)

    @jax.jit
    def compute(lifted):
        permuted = jax.tree.map(lambda a: a[:, order], lifted)
        short = jax.tree.map(lambda a: a[1:, :3], lifted)
        spoil = lambda a: jnp.where(MASK.reshape(B, N, *(1,) * (a.ndim - 2)), a, jnp.nan)
        spoilt = dataclasses.replace(lifted, elements=spoil(lifted.elements))
        indices = {
            "whole": choose(SE2, lifted, M),
            "permuted": choose(SE2, permuted, M),
            "from the first": choose(SE2, permuted, M, start="first"),
            "short": choose(SE2, short, 3),
            "alone": jax.vmap(lambda x: farthest_points(SE2, x, M))(lifted),
            "spoilt": choose(SE2, spoilt, M),
        }
        indices = {name: found.indices for name, found in indices.items()}
        return indices, keep(SE2, lifted, M), keep(SE2, permuted, M)

    indices, here, there = compute(lifted)
    indices = {name: np.asarray(x) for name, x in indices.items()}
    masks = np.asarray(here.mask), np.asarray(there.mask)
    for pair in zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True):
        a, b = (np.asarray(x)[mask] for x, mask in zip(pair, masks, strict=True))
        np.testing.assert_allclose(a, b, rtol=1e-12)
    first = indices["from the first"][0, 0]
    assert first == next(i for i, j in enumerate(order) if j != 5)  # its weight is 0
    assert indices["permuted"][0, 0] != first
    np.testing.assert_array_equal(indices["short"][0], indices["whole"][1, :3])
    np.testing.assert_array_equal(indices["alone"], indices["whole"])
    np.testing.assert_array_equal(indices["spoilt"], indices["whole"])


def test_half_weight():
    """Splitting a point into two of half weight changes neither the kept points nor weights."""

    @jax.jit
    def compute(lifted):
        lifted = jax.tree.map(lambda a: a[:1], lifted)
        twice = jax.tree.map(lambda a: jnp.concatenate([a, a[:, :3]], axis=1), lifted)
        half = twice.log_weights.at[:, :3].add(-np.log(2.0)).at[:, -3:].add(-np.log(2.0))
        split = dataclasses.replace(twice, log_weights=half)
        return [keep(SE2, x, M) for x in (lifted, split, twice)]

    here, there, whole = compute(lifted_in(SE2))
    for a, b in zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    control = np.max(np.abs(np.asarray(whole.log_weights) - here.log_weights))
    assert control > 0.1


@pytest.mark.slow
def test_of_frames_the_examples_whose_axes_were_drawn_stay_known():
    space, points = SPACES["SE(3)"], draws.normal(0, 2, 6, 3)
    points[1] = points[1, :1]  # no axes

    @jax.jit
    def compute(points):
        lifted = lift(space, points, points, lift=Frames(), key=jax.random.key(0))
        return lifted, subsample(space, lifted, 3)

    lifted, kept = compute(points)
    np.testing.assert_array_equal(kept.fallback, [False, True])
    assert kept.elements.shape == (2, 3, *lifted.elements.shape[2:])


def test_coincident_points_are_each_chosen_once():
    points = np.zeros((5, 2))
    points[4] = 1.0
    lifted = compiled(lift)(spaces.euclidean(groups.T(2)), points, points)
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
    arrays = lifted.elements, lifted.features, np.maximum(lifted.log_weights, -5.0)
    elements, features, log_weights = map(np.asarray, gradient(*arrays))
    assert np.all(elements == 0)
    np.testing.assert_array_equal(np.sum(features, (1, 2)), [[M * S] * 2, [3 * S] * 2])
    step = 1e-6 * draws.normal(6, *log_weights.shape)
    ends = [total(*arrays[:2], arrays[2] + sign * step)[0] for sign in (1, -1)]
    np.testing.assert_allclose(np.sum(log_weights * step), (ends[0] - ends[1]) / 2, rtol=1e-6)


def test_neighbors_of_other_queries():
    """Of kept points the neighbors are those that they have among all points."""
    lifted = lifted_in(SE2)
    found, kept = choose(SE2, lifted, M), keep(SE2, lifted, M)

    @jax.jit
    def find(lifted, kept):
        return (
            find_neighbors(SE2, lifted, NearestNeighbors(3)),
            find_neighbors(SE2, lifted, NearestNeighbors(3), queries=kept),
        )

    everyone, near = find(lifted, kept)
    assert near.indices.shape == (B, M * S, 3 * S)
    assert near.num_keys == N * S
    of_all = np.asarray(everyone.indices).reshape(B, N, S, -1)[0]
    of_kept = np.asarray(near.indices).reshape(B, M, S, -1)[0]
    np.testing.assert_array_equal(of_kept, of_all[np.asarray(found.indices)[0]])
    assert not np.any(np.asarray(near.is_truncated)[0])


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: choose(SE2, lifted_in(SE2), 0), "num_points must be at least 1, got 0"),
        (
            lambda: choose(SE2, lifted_in(SE2), 3, start="last"),
            "start must be one of .* got 'last'",
        ),
        (
            lambda: keep(SPACES["SE(3)"], lifted_in(SE2), 3),
            r"lifted must have elements of SE\(3\) with 7 components",
        ),
        (
            lambda: jax.eval_shape(
                lambda x: find_neighbors(
                    SE2, x, NearestNeighbors(2), queries=jax.tree.map(lambda a: a[0], x)
                ),
                lifted_in(SE2),
            ),
            r"queries must have the batch \(2,\) of lifted, got \(\)",
        ),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_errors(make, match):
    with pytest.raises(ValueError, match=match):
        make()

"""A key that is not finite makes every query that sees it NaN, and no other, in every back end."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn import groups, lift, spaces
from eqattn.attention import (
    NearestNeighbors,
    Neighborhood,
    PairFeatures,
    PairMLP,
    RadiusNeighbors,
    attend,
    find_neighbors,
    representation_attend,
)
from eqattn.attention.backends.sizes import BY_DEVICE, CPU
from eqattn.representations import default_representation
from tests import draws
from tests.compiled import compiled
from tests.grids import some

SPACE = spaces.euclidean(groups.SE(2))
B, T, K, H, C = 4, 5, 7, 2, 3
"""Of the four examples the second has a fault, and the third the same one where it is masked."""
BAD = 4

FEW = CPU._replace(
    slice_pairs=10, near_pairs=12, block=3, small_pairs=0, medium_bytes=0, kept_bytes=0
)
REGIMES = {
    "large": FEW,
    "medium": FEW._replace(medium_bytes=2**25, kept_bytes=2**25),
    "small": FEW._replace(small_pairs=2**14, kept_bytes=2**12),
}

FAULTS = {
    "key": (np.nan, np.inf, -np.inf),
    "value": (np.nan, np.inf),
    "key_elements": (np.nan, np.inf),
    "log_weights": (np.nan, np.inf),
}


def arrays():
    return {
        "query": draws.normal(0, B, T, H, C),
        "key": draws.normal(1, B, K, H, C),
        "value": draws.normal(2, B, K, H, C),
        "query_elements": draws.elements(SPACE.group, 3, B, T),
        "key_elements": draws.elements(SPACE.group, 4, B, K),
        "log_weights": np.zeros((B, K)),
    }


def masks():
    valid = np.ones((B, K), bool)
    valid[2, BAD] = False
    return jnp.asarray(valid)


def neighborhood():
    """The first three queries see the key that has the fault; two have it at a place without."""
    indices = np.tile(np.arange(3), (B, T, 1))
    indices[:, :3, 0] = BAD
    indices[:, 3:, 2] = BAD
    mask = np.ones((B, T, 3), bool)
    mask[:, 3:, 2] = False
    parts = (jnp.asarray(x) for x in (indices, mask, np.ones((B, T, 3))))
    return Neighborhood(*parts, jnp.asarray(np.zeros((B, T), bool)), K)


def spoiled(given, name, number):
    given = {n: x.copy() for n, x in given.items()}
    given[name][1:3, BAD] = number
    return given


def location():
    features = PairFeatures(SPACE, "embedding")
    return PairMLP(*draws.mlp(5, (features.size, 4, H)), features)


def plain(implementation, near=None):
    """Weights of keys that are not finite may be 0, and one of the terms sees no features."""
    options = {"implementation": implementation, "neighborhood": near, "key_mask": masks()}

    def run(query, key, value, log_weights, **elements):
        whole = attend(query, key, value, **elements, log_weights=log_weights, **options)
        elements = {"location": location(), **elements}
        blind = attend(None, None, value, **elements, log_weights=log_weights, **options)
        return whole, blind

    return run


def represented(**options):
    sigma = default_representation(SPACE.group, C)

    def run(**given):
        found = representation_attend(
            **given,
            group=SPACE.group,
            representation=sigma,
            key_mask=masks(),
            turns_values=False,
            **options,
        )
        return (found,)

    return run


BACK_ENDS = {
    "dense": (None, lambda: plain("dense")),
    "folded": (None, lambda: plain("folded")),
    **{regime: (regime, lambda: plain("chunked")) for regime in REGIMES},
    "near": (None, lambda: plain("dense", neighborhood())),
    "near, chunked": ("large", lambda: plain("chunked", neighborhood())),
    "representation": (None, lambda: represented(implementation="dense")),
    "representation, chunked": ("large", lambda: represented(implementation="chunked")),
    "linear": (None, lambda: represented(kernel="linear")),
    "pallas": (None, lambda: plain("pallas")),
}


@pytest.mark.parametrize("name", some(BACK_ENDS, *(n for n in BACK_ENDS if n != "pallas")))
def test_queries_that_see_it_are_nan_and_no_others(name, monkeypatch):
    regime, make = BACK_ENDS[name]
    if regime is not None:
        monkeypatch.setitem(BY_DEVICE, "cpu", REGIMES[regime])
    run, given = jax.jit(make()), arrays()
    clean = run(**given)
    seen = np.zeros((B, T), bool)
    seen[1, : 3 if name.startswith("near") else T] = True
    for fault, numbers in FAULTS.items():
        for number in numbers:
            for index, (before, after) in enumerate(
                zip(clean, run(**spoiled(given, fault, number)), strict=True)
            ):
                if index == 1 and fault == "key":
                    continue  # without content there are none
                after = np.asarray(after)
                assert np.all(np.isnan(after[seen])), (fault, number)
                np.testing.assert_array_equal(after[~seen], np.asarray(before)[~seen])
    for fault in ("query", "query_elements"):
        changed = {n: x.copy() for n, x in given.items()}
        changed[fault][0, 1] = -np.inf
        out = np.asarray(run(**changed)[0])
        assert np.all(np.isnan(out[0, 1]))
        assert np.all(np.isfinite(np.delete(out, 1, axis=1)))


def test_derivatives_of_what_does_not_see_it_are_finite():
    run, given = plain("dense", neighborhood()), arrays()

    @jax.jit
    def slopes(given):
        return jax.grad(lambda given: sum(jnp.sum(x[:, 3:] ** 2) for x in run(**given)))(given)

    clean = slopes(given)
    found = slopes(spoiled(given, "key", np.nan))
    for name in ("query", "query_elements"):
        np.testing.assert_array_equal(found[name][:, 3:], clean[name][:, 3:])
    for name in ("key", "value", "key_elements"):
        np.testing.assert_array_equal(np.delete(found[name], 1, 0), np.delete(clean[name], 1, 0))
    assert np.any(clean["key_elements"] != 0)


@pytest.mark.parametrize(
    "kind", some([RadiusNeighbors(0.5, 3), NearestNeighbors(3)], RadiusNeighbors(0.5, 3))
)
def test_a_point_that_is_not_finite_is_a_neighbor_of_all(kind):
    points = draws.normal(0, 3, 6, 2)
    mask = np.ones((3, 6), bool)
    mask[1, 2] = False

    @jax.jit
    def neighbors(points):
        inputs = points, jnp.zeros((3, 6, 1)), jnp.asarray(mask)
        lifted = lift.lift(SPACE, *inputs, lift=lift.NoLift())
        return find_neighbors(SPACE, lifted, kind)

    clean = neighbors(points)
    points[:2, 2, 0] = np.inf
    found = neighbors(points)
    is_seen = (np.asarray(found.indices) == 2) & np.asarray(found.mask)
    assert np.all(np.any(is_seen[0], axis=-1))
    for pair in zip(jax.tree.leaves(clean), jax.tree.leaves(found), strict=True):
        x, y = map(np.asarray, pair)
        np.testing.assert_array_equal(x[1:], y[1:])


@pytest.mark.parametrize(
    "kind", some([RadiusNeighbors(0.5, 3), NearestNeighbors(3)], NearestNeighbors(3))
)
def test_a_query_that_is_not_finite_has_neighbors(kind):
    """The same with and without jit, although nothing sorts NaN alike; so its outputs are NaN."""
    points = draws.normal(0, 1, 6, 2)
    place = compiled(lift.lift)
    lifted = place(SPACE, points, np.zeros((1, 6, 1)), lift=lift.NoLift())
    points[:, 2] = np.nan
    queries = place(SPACE, points[:, 1:3], np.zeros((1, 2, 1)), lift=lift.NoLift())
    eager = find_neighbors(SPACE, lifted, kind, queries=queries)
    chex.assert_trees_all_equal(
        compiled(find_neighbors)(SPACE, lifted, kind, queries=queries), eager
    )
    assert np.all(eager.mask[0, 1])
    value = jnp.ones((1, 6, H, C))
    elements = queries.elements[:, :, 0], lifted.elements[:, :, 0]
    out = attend(None, None, value, *elements, location(), neighborhood=eager)
    assert np.all(np.isnan(out[0, 1]))
    assert np.all(np.isfinite(out[0, 0]))


def test_masked_neighbors_of_a_narrow_type_are_no_keys():
    """The number of keys, which stands for none, is more than the type of the indices holds."""
    num_keys = 200
    x = draws.normal(1, 1, num_keys, 1, 2)
    indices = np.array([[[3, 7, 100], [1, 2, 5]]], np.int8)
    mask = np.array([[[True, False, False], [True, True, False]]])
    ones, cut = np.ones(mask.shape), np.zeros((1, 2), bool)
    elements = jnp.asarray(np.zeros((1, num_keys, 0)))
    for kind in (np.int8, np.int32):
        parts = (jnp.asarray(p) for p in (indices.astype(kind), mask, ones, cut))
        out = jax.jit(
            lambda x, near: attend(
                None, None, x, elements[:, :2], elements, neighborhood=near, implementation="dense"
            )
        )(x, Neighborhood(*parts, num_keys))
        out = np.asarray(out)
        np.testing.assert_allclose(out[0, 0], x[0, 3], atol=1e-12)
        np.testing.assert_allclose(out[0, 1], x[0, 1:3].mean(0), atol=1e-12)

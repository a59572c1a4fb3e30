"""Keys that group elements move: terms, weights and values see them where they are then."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.attention import (
    Neighborhood,
    PairFeatures,
    PairMLP,
    RadiusNeighbors,
    SmoothEnvelope,
    attend,
    find_neighbors,
    list_to_neighborhood,
)
from eqattn.attention.backends import Chunked
from eqattn.attention.backends.sizes import CPU
from eqattn.attention.terms.mlp import init_mlp
from eqattn.groups import SE, T
from eqattn.lift import Haar, NoLift, lift
from eqattn.neighbors import NeighborList
from eqattn.spaces import DistanceSpace, euclidean, position_orientation, product_space, sphere
from tests.compiled import compiled
from tests.tolerances import NEGATIVE_CONTROL

B, N, K, H = 2, 5, 4, 2
SPACE = euclidean(SE(2))
TILES = CPU._replace(near_pairs=8, slice_pairs=6, block=4)
BACK_ENDS = {"dense": "dense", "folded": "folded", "chunked": Chunked(TILES)}
FEATURES = PairFeatures(SPACE, "invariants", 4, 3.0, 2)
TERMS = {
    "location": PairMLP(*init_mlp(jax.random.key(0), (7, 8, H), dtype=jnp.float64), FEATURES),
    "envelope": SmoothEnvelope(SPACE, 3.0),
}


def draw(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


@functools.cache
def inputs():
    """Queries and keys, neighbors in some places, and elements that move them."""
    rng = np.random.default_rng(5)
    indices = jnp.asarray(rng.integers(N, size=(B, N, K)))
    mask = jnp.asarray(rng.uniform(size=(B, N, K)) < 0.8)
    arrays = {
        "query": draw(1, B, N, H, 3),
        "key": draw(2, B, N, H, 3),
        "value": draw(3, B, N, H, 2),
        "query_elements": SE(2).sample(jax.random.key(1), (B, N), jnp.float64),
        "key_elements": SE(2).sample(jax.random.key(2), (B, N), jnp.float64),
        "pair_data": draw(4, B, N, K, 2),
        "pair_values": draw(6, B, N, K, 3),
    }
    moves = SE(2).sample(jax.random.key(3), (B, N, K), jnp.float64)
    return indices, mask, arrays, moves


def moved_neighborhood(key_elements, moves):
    indices, mask, _, _ = inputs()
    taken = jax.vmap(lambda x, i: x[i])(key_elements, indices)
    weights = jnp.linspace(0.5, 1.0, mask.size).reshape(mask.shape)
    elements = SE(2).compose(moves, taken)
    return Neighborhood(indices, mask, weights, jnp.zeros((B, N), bool), N, elements)


def run(implementation, arrays, moves):
    near = moved_neighborhood(arrays["key_elements"], moves)
    return attend(**arrays, **TERMS, neighborhood=near, implementation=implementation)


def results(implementation):
    """The result, and its gradients by all arrays and moves."""
    _, _, arrays, moves = inputs()

    def loss(arrays, moves):
        out = run(implementation, arrays, moves)
        return jnp.sum(jnp.sin(out)), out

    slopes, out = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(arrays, moves)
    return out, slopes


@functools.cache
def dense():
    return results("dense")


def test_moved_keys_are_keys_that_are_there():
    """For each query alone, all of it is attention over moved keys; unmoved ones differ."""
    indices, mask, arrays, moves = inputs()
    near = moved_neighborhood(arrays["key_elements"], moves)
    wanted = []
    for example in range(B):
        for row in range(N):
            chosen = indices[example, row]
            own = jnp.broadcast_to(arrays["pair_values"][example, row, :, None], (K, H, 3))
            values = jnp.concatenate([arrays["value"][example, chosen], own], axis=-1)
            query, query_elements = (
                arrays[x][example, row][None] for x in ("query", "query_elements")
            )
            wanted.append(
                attend(
                    query, arrays["key"][example, chosen], values, query_elements,
                    near.elements[example, row], **TERMS,
                    pair_data=arrays["pair_data"][example, row][None],
                    key_mask=mask[example, row],
                    log_weights=jnp.log(near.weights[example, row]),
                )
            )  # fmt: skip
    wanted = np.stack(wanted).reshape(B, N, H, 5)
    np.testing.assert_allclose(dense()[0], wanted, atol=1e-12)
    still = run("dense", arrays, SE(2).identity((B, N, K), jnp.float64))
    assert np.abs(still - dense()[0]).max() > NEGATIVE_CONTROL


@pytest.mark.parametrize("name", ["folded", "chunked"])
def test_back_ends_agree(name):
    found = results(BACK_ENDS[name])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-11), found, dense())


def test_pallas_refuses_neighborhoods():
    _, _, arrays, moves = inputs()
    plain = {k: v for k, v in arrays.items() if not k.startswith("pair")}
    near = moved_neighborhood(arrays["key_elements"], moves)
    with pytest.raises(NotImplementedError, match="pallas' does not support neighborhood"):
        attend(**plain, neighborhood=near, implementation="pallas")


@pytest.mark.parametrize("name", BACK_ENDS)
def test_what_is_not_seen_may_hold_anything(name):
    """And what is seen and not finite makes its query NaN, and no other."""
    _, mask, arrays, moves = inputs()
    pairs = {
        key: jnp.where(mask[..., None], x, jnp.nan) if key.startswith("pair") else x
        for key, x in arrays.items()
    }
    hidden = jnp.where(mask[..., None], moves, jnp.nan)
    compute = jax.jit(functools.partial(run, BACK_ENDS[name]))
    np.testing.assert_allclose(compute(pairs, hidden), dense()[0], atol=1e-11)
    place = (0, 1, int(np.argmax(np.asarray(mask[0, 1]))))
    for broken in (
        (arrays, moves.at[place].set(jnp.nan)),
        (arrays | {"pair_values": arrays["pair_values"].at[place].set(jnp.inf)}, moves),
    ):
        out = np.asarray(compute(*broken))
        failed = np.isnan(out).all(axis=(-1, -2))
        assert failed[0, 1]
        assert failed.sum() == 1
        assert np.isfinite(out[~failed]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"neighborhood": None}, "pair_values need a neighborhood, got None"),
        ({"pair_values": draw(1, B, N, K + 1, 3)}, r"pair_values must have leading shape \(2, 5"),
        ({"elements": draw(1, B, N, K, 2)}, r"must have elements of shape \(2, 5, 4, 4\), got"),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_pairs_of_another_shape(changes, message):
    _, _, arrays, moves = inputs()
    near = moved_neighborhood(arrays["key_elements"], moves)
    given = {**arrays, "pair_data": None, "neighborhood": near} | changes
    if "elements" in given:
        given["neighborhood"] = dataclasses.replace(near, elements=given.pop("elements"))
    with pytest.raises(ValueError, match=message):
        attend(**given)


# Lists of points as neighborhoods.


def listed(**parts):
    indices, mask, _, _ = inputs()
    return NeighborList(indices, mask, **parts)


@compiled
def lifted_points(space, samples=1):
    points = space.sample_points(jax.random.key(4), (B, N), jnp.float64)
    features = jnp.ones((B, N, 1))
    lifting = Haar(samples) if samples > 1 else NoLift()
    return lift(space, points, features, key=jax.random.key(5), lift=lifting)


def test_samples_see_all_samples_of_moved_points():
    """Element [i k, j l] is γ_ij g_jl, for each of the samples k of the query."""
    lifted = lifted_points(SPACE, 3)
    indices, mask, _, moves = inputs()
    found = compiled(list_to_neighborhood)(SPACE, lifted, listed(moves=moves))
    assert found.indices.shape == (B, N * 3, K * 3)
    elements = found.elements.reshape(B, N, 3, K, 3, 4)
    taken = jax.vmap(lambda x, i: x[i])(lifted.elements, indices)
    wanted = SE(2).compose(moves[..., None, :], taken)
    for sample in range(3):
        seen = np.asarray(mask)
        np.testing.assert_allclose(elements[:, :, sample][seen], wanted[seen], atol=1e-14)
    np.testing.assert_array_equal(found.indices.reshape(B, N, 3, K, 3)[:, :, 1, :, 2],
                                  jnp.where(mask, indices, 0) * 3 + 2)  # fmt: skip


def test_a_rule_gives_listed_points_their_weights():
    """The list of all points, and the rule, find what the rule alone finds."""
    lifted, kind = lifted_points(SPACE), RadiusNeighbors(1.5, N)
    everything = NeighborList(jnp.broadcast_to(jnp.arange(N), (B, N, N)), jnp.ones((B, N, N), bool))
    found = compiled(list_to_neighborhood)(SPACE, lifted, everything, kind)
    own = compiled(find_neighbors)(SPACE, lifted, kind)
    order = np.argsort(own.indices, axis=-1)
    assert not found.mask.all()
    np.testing.assert_array_equal(found.mask, np.take_along_axis(own.mask, order, -1))
    weights = np.take_along_axis(np.where(own.mask, own.weights, 0), order, -1)
    np.testing.assert_allclose(found.weights, weights, atol=1e-14)


def test_shifts_are_translations():
    shifts = jnp.asarray(np.random.default_rng(7).integers(-2, 3, size=(B, N, K, 2)))
    cells = draw(8, B, 2, 2)
    vectors = jnp.einsum("bnki,bid->bnkd", shifts, cells)
    by_shifts, by_moves = (
        compiled(list_to_neighborhood)(SPACE, lifted_points(SPACE), listed(**parts))
        for parts in (
            {"shifts": shifts, "cells": cells},
            {"moves": SPACE.translation(vectors)},
        )
    )
    seen = np.asarray(inputs()[1])
    np.testing.assert_allclose(by_shifts.elements[seen], by_moves.elements[seen], atol=1e-14)


@pytest.mark.parametrize(
    "space",
    [
        SPACE,
        euclidean(SE(3)),
        DistanceSpace(T(2)),
        position_orientation(SE(3)),
        product_space(euclidean(SE(2)), euclidean(T(1))),
    ],
    ids=str,
)
def test_translations_move_points_by_vectors(space):
    """And leave orientations."""
    vectors = draw(9, 4, space.vector_dim)
    points = space.sample_points(jax.random.key(6), (4,), jnp.float64)
    moved = space.act(space.translation(vectors), points) - points
    size = space.vector_dim
    np.testing.assert_allclose(moved[:, :size], vectors, atol=1e-14)
    np.testing.assert_allclose(moved[:, size:], 0, atol=1e-14)


def test_a_sphere_has_no_translations():
    with pytest.raises(ValueError, match="has no translations by vectors in its group SO"):
        sphere(SE(3).linear).translation(jnp.ones(3))


SHIFTS, CELLS = jnp.zeros((B, N, K, 2), jnp.int32), jnp.zeros((B, 2, 2))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"indices": jnp.zeros((B, N + 1, K), jnp.int32)}, r"of the points \(2, 5\), with indices"),
        ({"mask": jnp.ones((B, N, K + 1), bool)}, r"mask of each of the pairs \(2, 5, 4\)"),
        ({"shifts": SHIFTS[:, :, 1:], "cells": CELLS}, "neighbors must have shifts of each of"),
        ({"shifts": SHIFTS}, "both shifts and cells, or neither"),
        (
            {"shifts": SHIFTS, "cells": CELLS, "moves": jnp.zeros((B, N, K, 4))},
            "neighbors must have shifts or moves, not both",
        ),
        ({"shifts": SHIFTS, "cells": CELLS[:1]}, r"cells of shape \(2, 2, 2\), got \(1, 2, 2\)"),
        (
            {"shifts": jnp.zeros((B, N, K, 3), jnp.int32), "cells": jnp.zeros((B, 3, 3))},
            r"must have shifts of 2 numbers on euclidean\(SE\(2\)\), got shape \(2, 5, 4, 3\)",
        ),
        ({"moves": jnp.zeros((B, N, K, 3))}, r"elements of SE\(2\), of 4 numbers, got shape"),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_lists_that_do_not_fit(parts, message):
    with pytest.raises(ValueError, match=message):
        list_to_neighborhood(SPACE, lifted_points(SPACE), dataclasses.replace(listed(), **parts))


@pytest.mark.usefixtures("no_type_checks")
def test_what_is_no_list():
    with pytest.raises(TypeError, match="neighbors must be a NeighborList, got"):
        list_to_neighborhood(SPACE, lifted_points(SPACE), np.zeros((B, N, K)))

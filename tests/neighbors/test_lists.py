"""Lists of neighbors from the edges of graphs, alone and in batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.neighbors import NeighborList, find_edges

SENDERS, RECEIVERS = np.array([1, 2, 0, 1]), np.array([0, 0, 1, 3])
SHIFTS = np.array([[0, 0], [1, -1], [2, 0], [0, 3]])
CELL = np.array([[2.0, 0.0], [0.5, 3.0]])


def pairs(found):
    """All places that are taken: receiver, sender, and what else the list has of the pair."""
    rows = []
    for i, k in np.argwhere(np.asarray(found.mask)):
        more = [x[i, k] for x in (found.shifts, found.pair_data) if x is not None]
        rows.append((int(i), int(found.indices[i, k]), *(tuple(np.asarray(x)) for x in more)))
    return rows


def test_receivers_see_themselves_and_their_senders():
    found = NeighborList.from_edges(SENDERS, RECEIVERS, 4)
    assert pairs(found) == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 0), (2, 2), (3, 3), (3, 1)]
    assert found.indices.shape == (4, 3)
    assert not found.is_truncated.any()
    assert found.vectors is None


def test_shifts_and_features_stay_with_their_edges():
    found = NeighborList.from_edges(
        SENDERS, RECEIVERS, 4, shifts=SHIFTS, cell=CELL, edge_features=[[1], [2], [3], [4]]
    )
    assert pairs(found)[:3] == [(0, 0, (0, 0), (0.0,)), (0, 1, (0, 0), (1.0,)),
                                (0, 2, (1, -1), (2.0,))]  # fmt: skip
    assert pairs(found)[-1] == (3, 1, (0, 3), (4.0,))
    np.testing.assert_allclose(found.vectors[0, 2], CELL[0] - CELL[1])
    np.testing.assert_allclose(found.vectors[3, 1], 3 * CELL[1])


def test_a_loop_with_no_shift_is_the_point_itself():
    """An image is not: it is seen beside the point."""
    loops = NeighborList.from_edges([0, 1], [0, 1], 2, edge_features=[[5.0], [6.0]])
    assert pairs(loops) == [(0, 0, (5.0,)), (1, 1, (6.0,))]
    image = NeighborList.from_edges([0], [0], 1, shifts=[[1, 0]], cell=CELL)
    assert pairs(image) == [(0, 0, (0, 0)), (0, 0, (1, 0))]
    alone = NeighborList.from_edges([1], [0], 2, adds_itself=False)
    assert pairs(alone) == [(0, 1)]


def test_a_graph_without_edges_and_no_graph_at_all():
    assert pairs(NeighborList.from_edges([], [], 2)) == [(0, 0), (1, 1)]
    assert NeighborList.from_edges([], [], 0).indices.shape == (0, 1)


def test_what_does_not_fit_is_flagged():
    found = NeighborList.from_edges(SENDERS, RECEIVERS, 4, num_neighbors=2)
    assert pairs(found) == [(0, 0), (0, 1), (1, 1), (1, 0), (2, 2), (3, 3), (3, 1)]
    assert found.is_truncated.tolist() == [True, False, False, False]
    wide = NeighborList.from_edges(SENDERS, RECEIVERS, 4, num_neighbors=5)
    assert wide.indices.shape == (4, 5)
    assert not wide.is_truncated.any()


def test_lists_of_a_batch():
    """One in a cell, and one that is not: its shifts and its cell are zeros."""
    crystal = NeighborList.from_edges(SENDERS, RECEIVERS, 4, shifts=SHIFTS, cell=CELL, reach=3.0)
    molecule = NeighborList.from_edges([1], [0], 2, num_neighbors=1, reach=2.0)
    both = NeighborList.stack([crystal, molecule], num_points=5, num_neighbors=4)
    assert both.indices.shape == (2, 5, 4)
    first, second = (jax.tree.map(lambda x, i=i: x[i], both) for i in range(2))
    assert pairs(first) == pairs(crystal)
    assert pairs(second) == [(0, 0, (0, 0)), (1, 1, (0, 0))]
    np.testing.assert_array_equal(both.cells, [CELL, np.zeros((2, 2))])
    assert both.is_truncated.tolist() == [[False] * 5, [True, *[False] * 4]]
    assert both.reach == 2.0
    assert NeighborList.stack([molecule]).shifts is None


def test_whole_numbers_may_be_floats():
    found = NeighborList.from_edges([0], [0], 1, shifts=[[1.0, 0.0]], cell=CELL)
    assert found.shifts.dtype == jnp.int32


def test_edges_of_the_search_go_in():
    edges = find_edges(np.array([[0.1, 0.0], [1.0, 1.0]]), 2.5, cell=CELL, periodic=True)
    found = NeighborList.from_edges(
        edges.senders, edges.receivers, 2, shifts=edges.shifts, cell=CELL, reach=2.5
    )
    assert int(found.mask.sum()) == len(edges.senders) + 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"senders": [1, 2, 4, 0]}, "senders must be indices of the 4 points, from 0 to 3, got 4 "
         "at edge 2"),
        ({"receivers": [0, -1, 1, 1]}, "receivers must be indices .* got -1 at edge 1"),
        ({"senders": [[1, 2, 0, 1]]}, r"senders must have one index for each edge, got shape"),
        ({"senders": [1, 2]}, "senders and receivers must be as many, got 2 and 4"),
        ({"shifts": SHIFTS[:2]}, r"shifts must have shape \(4, …\), a row for each edge, got"),
        ({"shifts": SHIFTS * 0.5}, r"shifts must be whole numbers .* got \[0.5, -0.5\]"),
        ({"cell": None}, "shifts and cell must be given both or neither"),
        ({"cell": np.eye(3)}, r"cell must have shape \(2, 2\), lattice vectors as rows, got"),
        ({"edge_features": [1.0, 2.0]}, "edge_features must have shape"),
        ({"num_neighbors": 0}, "num_neighbors must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_edges_that_are_none(changes, message):
    given = {"senders": SENDERS, "receivers": RECEIVERS, "shifts": SHIFTS, "cell": CELL} | changes
    with pytest.raises(ValueError, match=message):
        NeighborList.from_edges(num_points=4, **given)


def test_indices_are_integers():
    with pytest.raises(TypeError, match="senders must be integers, got float64"):
        NeighborList.from_edges([0.0], [0], 1)


def test_lists_that_make_no_batch():
    one = NeighborList.from_edges([1], [0], 2)
    bonded = NeighborList.from_edges([1], [0], 2, edge_features=[[1.0]])
    for lists, options, message in (
        ([], {}, r"lists must be of one example each, \[N K\], got \[\]"),
        ([NeighborList.stack([one])], {}, r"got \[\(1, 2, 2\)\]"),
        ([one], {"num_points": 1}, "num_points must be at least 2, got 1"),
        ([one], {"num_neighbors": 1}, "num_neighbors must be at least 2, got 1"),
        ([one, bonded], {}, "lists must all have pair_data of one width, or none of them"),
    ):
        with pytest.raises(ValueError, match=message):
            NeighborList.stack(lists, **options)

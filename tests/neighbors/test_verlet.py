"""Lists with a skin: when they are made anew, and that no pair is missing while they are not."""

import numpy as np
import pytest

from eqattn.neighbors import VerletList, find_edges

CELL = np.array([[6.0, 0.0, 0.0], [1.0, 5.5, 0.0], [-0.7, 0.4, 6.3]])
CUTOFF, SKIN = 2.5, 0.6


def start(num_points=20):
    return np.random.default_rng(0).uniform(size=(num_points, 3)) @ CELL


def within(found, positions, cutoff=CUTOFF):
    """Pairs of a list within the cutoff where points are now, but for points and themselves."""
    rows, places = np.nonzero(np.asarray(found.mask))
    keys = np.asarray(found.indices)[rows, places]
    shifts = np.asarray(found.shifts)[rows, places]
    vectors = positions[keys] + shifts @ np.asarray(found.cells) - positions[rows]
    is_near = np.linalg.norm(vectors, axis=1) < cutoff
    is_itself = (rows == keys) & (shifts == 0).all(axis=1)
    chosen = is_near & ~is_itself
    return {tuple(row) for row in np.column_stack([rows, keys, shifts])[chosen].tolist()}


def searched(positions, cell):
    edges = find_edges(positions, CUTOFF, cell=cell, periodic=True)
    rows = np.column_stack([edges.receivers, edges.senders, edges.shifts])
    return {tuple(row) for row in rows.tolist()}


def test_no_pair_is_missing_along_a_trajectory():
    """Points drift and the cell breathes: lists are reused, and never lack a pair."""
    listed, positions, cell = VerletList(CUTOFF, SKIN), start(), CELL
    rng = np.random.default_rng(1)
    for step in range(40):
        found = listed.update(positions, cell, True)
        assert within(found, positions) == searched(positions, cell)
        np.testing.assert_array_equal(found.cells, cell)
        positions = positions + 0.05 * rng.normal(size=positions.shape)
        strain = np.eye(3) * (1.0 + 0.002 * np.sin(step))
        positions, cell = positions @ strain, cell @ strain
    assert 2 < listed.num_searches < 25


def test_half_the_skin_is_what_points_may_move():
    listed, positions = VerletList(CUTOFF, SKIN), start()
    listed.update(positions, CELL, True)
    move = np.zeros_like(positions)
    move[3, 0] = 0.5 * SKIN - 1e-6
    assert not listed.is_outdated(positions + move, CELL, True)
    move[3, 0] = 0.5 * SKIN + 1e-6
    assert listed.is_outdated(positions + move, CELL, True)


def test_what_else_makes_a_list_outdated():
    listed, positions = VerletList(CUTOFF, SKIN), start()
    assert listed.is_outdated(positions, CELL, True)
    listed.update(positions, CELL, True)
    assert not listed.is_outdated(positions, CELL, True)
    assert listed.is_outdated(positions[:-1], CELL, True)
    assert listed.is_outdated(positions, CELL, (True, True, False))
    assert not listed.is_outdated(positions * 1.01, CELL * 1.01, True)
    # A strain that brings points nearer by more than the skin.
    assert listed.is_outdated(positions * 0.8, CELL * 0.8, True)
    without = VerletList(CUTOFF, 0.0)
    without.update(positions)
    assert not without.is_outdated(positions)
    assert without.is_outdated(positions + 1e-6)


def test_places_grow_and_never_shrink():
    listed, positions = VerletList(CUTOFF, SKIN), start()
    shape = listed.update(positions, CELL, True).indices.shape
    assert shape[1] % 8 == 0
    apart = listed.update(positions * 3, CELL * 3, True)
    assert apart.indices.shape == shape
    crowded = listed.update(positions * 0.5, CELL * 0.5, True)
    assert crowded.indices.shape[1] > shape[1]
    assert not crowded.is_truncated.any()
    assert crowded.reach == CUTOFF


def test_rows_are_padded_and_places_given():
    listed = VerletList(CUTOFF, num_points=24, num_neighbors=64)
    found = listed.update(start())
    assert found.indices.shape == (24, 64)
    assert found.shifts is None
    assert int(found.mask[20:].sum()) == 4  # padded rows see themselves alone
    with pytest.raises(ValueError, match="positions must be of at most 24 points, got 25"):
        listed.update(start(25))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"cutoff": 0.0}, ValueError, "cutoff must be finite and above 0, got 0.0"),
        ({"skin": -1.0}, ValueError, "skin must be finite and not negative, got -1.0"),
        ({"num_points": 0}, ValueError, "num_points must be at least 1, got 0"),
        ({"num_neighbors": 2.5}, TypeError, "num_neighbors must be an integer, got 2.5"),
        ({"backend": "ase"}, ValueError, "backend must be one of"),
        ({"skin": "1"}, TypeError, "skin must be a real number, got '1'"),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_options_that_are_none(options, error, message):
    with pytest.raises(error, match=message):
        VerletList(**{"cutoff": CUTOFF} | options)

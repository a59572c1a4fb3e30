"""The search: all pairs within a distance and their images, against counting all of them."""

import importlib.util
import itertools
import sys
import time

import numpy as np
import pytest

from eqattn.neighbors import find_edges

CELLS = {
    "cube": np.diag([6.0, 6.0, 6.0]),
    "triclinic": np.array([[5.0, 0.0, 0.0], [2.1, 4.5, 0.0], [-1.7, 1.3, 6.2]]),
    "left-handed": np.array([[0.0, 6.0, 0.3], [5.5, 0.0, 0.2], [0.1, 0.4, 4.9]]),
    "smaller than the cutoff": np.array([[1.7, 0.1, 0.0], [0.6, 1.5, 0.2], [0.1, -0.4, 2.0]]),
    "flat": np.array([[9.0, 0.0, 0.0], [8.0, 2.0, 0.0], [0.0, 0.0, 7.0]]),
}
FLAGS = [(True, True, True), (True, True, False), (False, True, False), (False, False, False)]
CUTOFF = 3.1
HAS_VESIN = importlib.util.find_spec("vesin") is not None


def counted(positions, cell, periodic, cutoff):
    """All pairs with all shifts up to 9."""
    ranges = [range(-9, 10) if flag else (0,) for flag in periodic]
    shifts = np.array(list(itertools.product(*ranges)))
    moved = positions[None] + (shifts @ cell)[:, None]
    distances = np.linalg.norm(moved[:, None] - positions[None, :, None], axis=-1)
    which, receivers, senders = np.nonzero(distances < cutoff)
    rows = np.column_stack([receivers, senders, shifts[which]])
    is_itself = (receivers == senders) & (shifts[which] == 0).all(axis=1)
    return {tuple(row) for row in rows[~is_itself].tolist()}


def as_set(edges):
    rows = np.column_stack([edges.receivers, edges.senders, edges.shifts]).tolist()
    found = {tuple(row) for row in rows}
    assert len(found) == len(rows)
    return found


def scattered(cell, num_points=14):
    """Points inside and outside of the cell."""
    rng = np.random.default_rng(len(cell) + num_points)
    return rng.uniform(-0.8, 1.6, size=(num_points, len(cell))) @ cell


@pytest.mark.parametrize("periodic", FLAGS)
@pytest.mark.parametrize("name", CELLS)
def test_all_pairs_are_found(name, periodic):
    cell = CELLS[name]
    positions = scattered(cell)
    edges = find_edges(positions, CUTOFF, cell=cell, periodic=periodic)
    assert as_set(edges) == counted(positions, cell, periodic, CUTOFF)
    vectors = positions[edges.senders] + edges.shifts @ cell - positions[edges.receivers]
    assert np.linalg.norm(vectors, axis=1).max() < CUTOFF
    assert (np.diff(edges.receivers) >= 0).all()


@pytest.mark.parametrize("num_points", [0, 1, 2, 60, 300])
def test_any_number_of_points(num_points):
    positions = scattered(CELLS["triclinic"], num_points) * 1.5
    wanted = counted(positions, np.eye(3), FLAGS[-1], 1.5) if num_points else set()
    assert as_set(find_edges(positions, 1.5)) == wanted


def test_the_plane():
    cell = np.array([[2.0, 0.3], [0.4, 1.5]])
    positions = scattered(cell, 7)
    found = as_set(find_edges(positions, 1.9, cell=cell, periodic=True))
    assert found == counted(positions, cell, (True, True), 1.9)


def test_vectors_that_do_not_repeat_may_be_zero():
    cell = CELLS["cube"] * np.array([[1.0], [1.0], [0.0]])
    positions = scattered(CELLS["cube"])
    found = find_edges(positions, CUTOFF, cell=cell, periodic=(True, True, False))
    assert as_set(found) == counted(positions, cell, (True, True, False), CUTOFF)


def test_points_at_one_place_are_neighbors():
    edges = find_edges(np.zeros((2, 3)), 1.0)
    assert as_set(edges) == {(0, 1, 0, 0, 0), (1, 0, 0, 0, 0)}


def test_a_thousand_atoms_take_a_small_part_of_a_second():
    rng = np.random.default_rng(0)
    positions, cell = rng.uniform(0.0, 21.5, size=(1_000, 3)), 21.5 * np.eye(3)
    began = time.process_time()
    edges = find_edges(positions, 5.0, cell=cell, periodic=True)
    assert time.process_time() - began < 0.5
    assert 45_000 < len(edges.senders) < 60_000


@pytest.mark.skipif(not HAS_VESIN, reason="vesin, the extra neighbors, is not installed")
@pytest.mark.parametrize("periodic", FLAGS)
@pytest.mark.parametrize("name", CELLS)
def test_the_package_vesin_finds_the_same(name, periodic):
    positions = scattered(CELLS[name])
    own, other = (
        find_edges(positions, CUTOFF, cell=CELLS[name], periodic=periodic, backend=backend)
        for backend in ("numpy", "vesin")
    )
    for x, y in zip(own, other, strict=True):
        np.testing.assert_array_equal(x, y)


def test_vesin_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "vesin", None)
    with pytest.raises(ImportError, match=r"backend 'vesin' needs vesin: .*\[neighbors\]"):
        find_edges(np.zeros((2, 3)), 1.0, backend="vesin")


@pytest.mark.usefixtures("no_type_checks")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cutoff": 0.0}, "cutoff must be finite and above 0, got 0.0"),
        ({"positions": np.zeros(3)}, r"positions must have shape \[N D\], got \(3,\)"),
        ({"positions": [[0.0, np.nan, 0.0]]}, r"positions must be finite, got \[0.0, nan, 0.0\]"),
        ({"cell": np.eye(2)}, "cell must be 3 finite lattice vectors as rows, got shape"),
        ({"cell": None}, r"cell must be given where periodic is \[True, True, True\], got None"),
        ({"cell": np.zeros((3, 3))}, "cell must have independent lattice vectors"),
        ({"periodic": (True, False)}, r"periodic must be True or False, or 3 of them, got \(True"),
        ({"backend": "scipy"}, "backend must be one of"),
        ({"positions": np.zeros((2, 2)), "cell": np.eye(2), "backend": "vesin"}, "vesin' needs"),
    ],
)
def test_what_cannot_be_searched(changes, message):
    given = {"positions": np.zeros((2, 3)), "cutoff": 1.0, "cell": np.eye(3), "periodic": True}
    with pytest.raises(ValueError, match=message):
        find_edges(**given | changes)


@pytest.mark.usefixtures("no_type_checks")
def test_a_cutoff_is_a_number():
    with pytest.raises(TypeError, match="cutoff must be a real number, got '5'"):
        find_edges(np.zeros((2, 3)), "5")

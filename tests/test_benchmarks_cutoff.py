"""Nothing jumps where atoms leave the sight of each other, nor does the slope or the curvature."""

import numpy as np
import pytest

from benchmarks.cutoff_figure import CUTOFF, Way, networks, scan

STEP = 1e-6


@pytest.fixture(scope="module")
def jumps():
    """The largest change across a crossing of energies, forces and curvatures, and their range."""
    way = Way()
    crossings = way.crossings()
    places = np.concatenate([crossings - STEP, crossings + STEP])
    found = []
    for model, listed in zip(networks("8x scalar + 8x vector", 1), (None, CUTOFF), strict=True):
        sides = np.stack(scan(model, way, places, listed)).reshape(3, 2, -1)
        found.append((np.abs(sides[:, 1] - sides[:, 0]).max(axis=1), np.ptp(sides, axis=(1, 2))))
    return found


def test_crossings_are_where_atoms_are_at_the_cutoff():
    way = Way()
    assert len(way.crossings()) == 9
    for place in way.crossings():
        points = way.positions(place)
        distances = np.linalg.norm(points[:-1] - points[-1], axis=1)
        assert np.abs(distances - CUTOFF).min() < 1e-12


@pytest.mark.slow
def test_an_envelope_makes_energy_force_and_curvature_continuous(jumps):
    """To what a third derivative allows in two steps of 1e-6 Å."""
    changes, ranges = jumps[0]
    assert (ranges > 1e-4).all()
    assert (changes < 1e-4 * ranges).all()


@pytest.mark.slow
def test_a_list_alone_makes_them_jump(jumps):
    """The control: as soon as a neighbor is not listed any more, all three are others."""
    changes, ranges = jumps[1]
    assert (changes > 0.1 * ranges).all()

"""Simulations in cells: lists that are made anew in time, and places that do not suffice."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.data.atoms.masses import MASSES
from eqattn.neighbors import verlet
from eqattn.simulation import listed, load_potential, simulate
from eqattn.simulation.listed import ListedMotion
from tests.tasks.forces.runs import write_run
from tests.tolerances import NEGATIVE_CONTROL

RNG = np.random.default_rng(0)
NUMBERS = np.array([[6, 1, 16, 1, 6], [1, 6, 6, 1, 0]])
POSITIONS = 1.5 * RNG.normal(size=(2, 5, 3)) + 20
CELLS = np.stack([4.5 * np.eye(3) + 0.4 * RNG.normal(size=(3, 3)), np.zeros((3, 3))])
PERIODIC = np.array([[True] * 3, [False] * 3])
VELOCITIES = 0.05 * RNG.normal(size=(2, 5, 3)) / np.sqrt(np.maximum(MASSES[NUMBERS], 1))[..., None]
VELOCITIES[1, 4] = 0.0
OPTIONS = {"num_steps": 40, "every": 20, "friction": 0.0, "velocities": VELOCITIES}
CELL_OPTIONS = {"cells": CELLS, "periodic": PERIODIC}


@pytest.fixture(scope="module")
def potential(tmp_path_factory):
    found = load_potential(write_run(tmp_path_factory.mktemp("forces") / "run"), "float64")
    return dataclasses.replace(found, scale=jnp.asarray(5.0))  # forces of 1 eV/Å


@pytest.fixture
def motions(monkeypatch):
    """The motions that simulations make, so that their searches can be counted."""
    made = []

    class Counted(ListedMotion):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr("eqattn.simulation.trajectory.ListedMotion", Counted)
    return made


def moved(potential, skin, **options):
    return simulate(potential, NUMBERS, POSITIONS, **OPTIONS | CELL_OPTIONS | options, skin=skin)


@pytest.fixture(scope="module")
def found(potential):
    return moved(potential, 0.3)


def test_energy_is_conserved_in_a_cell(potential, found, motions):
    """Atoms leave the cell, and are not moved back; without its images it is another motion."""
    swing, change = (np.ptp(x[:, 0]) for x in (found.total_energies, found.potential_energies))
    assert swing < 0.02 * change
    assert change > 0.02
    assert np.abs(found.positions[-1] - POSITIONS)[0].max() > 0.3
    free = simulate(potential, NUMBERS, POSITIONS, **OPTIONS)
    assert not motions
    assert np.abs(free.positions[-1, 0] - found.positions[-1, 0]).max() > NEGATIVE_CONTROL
    np.testing.assert_allclose(free.positions[:, 1], found.positions[:, 1], atol=1e-10)


@pytest.mark.parametrize("skin", [0.02, pytest.param(1.5, marks=pytest.mark.slow)])
def test_the_skin_changes_nothing_but_searches(potential, found, motions, skin):
    """However often lists are made, no pair is missing; an outdated list would be seen."""
    again = moved(potential, skin)
    np.testing.assert_allclose(again.positions, found.positions, atol=1e-10)
    np.testing.assert_allclose(again.potential_energies, found.potential_energies, atol=1e-9)
    (motion,) = motions
    assert motion.num_searches > 20 if skin < 0.1 else motion.num_searches < 6


def test_an_outdated_list_would_be_seen(potential, found, monkeypatch):
    class Outdated(ListedMotion):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self._radius += 1e3

    monkeypatch.setattr("eqattn.simulation.trajectory.ListedMotion", Outdated)
    again = moved(potential, 0.0)
    assert np.abs(again.positions - found.positions).max() > 1e-6


@pytest.mark.slow
def test_lists_that_outgrow_their_places_get_more(potential, found, motions, monkeypatch):
    """With none to spare, a program is compiled anew where there are more neighbors than ever."""
    monkeypatch.setattr(verlet, "MARGIN", 1.0)
    monkeypatch.setattr(verlet, "PLACES", 1)
    before = listed._advanced._cache_size()
    again = moved(potential, 0.05)
    np.testing.assert_allclose(again.positions, found.positions, atol=1e-10)
    grown = listed._advanced._cache_size() - before
    assert 1 < grown < motions[0].num_searches


def test_nothing_is_compiled_where_places_suffice(potential, found):
    """Neither for other numbers of neighbors, steps and skins of a size, nor for another cell."""
    before = listed._advanced._cache_size()
    moved(potential, 0.29, cells=1.01 * CELLS, every=10, time_step=0.4)
    assert listed._advanced._cache_size() == before


@pytest.mark.slow
def test_a_configuration_moves_as_if_it_were_alone(potential, found):
    alone = simulate(
        potential, NUMBERS[0], POSITIONS[0], cells=CELLS[0], periodic=PERIODIC[0], skin=0.3,
        **OPTIONS | {"velocities": VELOCITIES[0]},
    )  # fmt: skip
    np.testing.assert_allclose(alone.positions, found.positions[:, 0], atol=1e-10)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"cells": None}, ValueError, "cells and periodic must be given both or neither"),
        ({"cells": CELLS[0]}, ValueError, r"cells must have the shape \(2, 3, 3\), got \(3, 3\)"),
        ({"periodic": 1 * PERIODIC}, TypeError, "periodic must be True and False, got int64"),
        ({"skin": -1.0}, ValueError, "skin must be finite and not negative, got -1.0"),
        ({"numbers": NUMBERS[:, ::-1]}, ValueError, "numbers must have all atoms of a cell before"),
        ({"time_step": 1e4}, FloatingPointError, r"configuration \d: an atom moves by .* Å in one"),
        ({"time_step": 1e200}, FloatingPointError, "configuration 0: the energy is not finite"),
    ],
)
def test_wrong_arguments_are_named(potential, no_type_checks, changes, error, message):
    arguments = {"numbers": NUMBERS, "positions": POSITIONS, "skin": 0.3, **OPTIONS, **CELL_OPTIONS}
    with pytest.raises(error, match=message):
        simulate(potential, **arguments | changes)


def test_a_model_that_sees_everything_is_refused(potential):
    everywhere = dataclasses.replace(potential, cutoff=None)
    with pytest.raises(ValueError, match="periodic must be False where the run sees atoms at any"):
        moved(everywhere, 0.3)

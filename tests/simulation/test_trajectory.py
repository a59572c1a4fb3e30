"""Whole simulations with a potential of random parameters."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.data.atoms import read_configurations, write_configurations
from eqattn.simulation import load_potential, simulate, simulated_states
from eqattn.simulation import trajectory as module
from eqattn.simulation.frames import configurations_of, rows_of
from tests.tasks.forces.runs import write_run
from tests.tasks.forces.springs import springs

NUMBERS = np.array([[6, 1, 16, 1, 0], [1, 6, 6, 1, 1]])
POSITIONS = 2 * np.random.default_rng(0).normal(size=(2, 5, 3)) + 50
POSITIONS[0, 4] = 0
OPTIONS = {"num_steps": 40, "every": 10, "temperature": 500.0}


@pytest.fixture(scope="module")
def potential(tmp_path_factory):
    return load_potential(write_run(tmp_path_factory.mktemp("forces") / "run"), "float64")


@pytest.fixture(scope="module")
def found(potential):
    return simulate(potential, NUMBERS, POSITIONS, friction=0.0, **OPTIONS)


def test_energy_is_conserved_without_friction(potential, found):
    assert found.positions.shape == (5, 2, 5, 3)
    assert found.temperatures.shape == found.total_energies.shape == (5, 2)
    np.testing.assert_array_equal(found.times, [0, 5, 10, 15, 20])
    np.testing.assert_allclose(found.positions[0], POSITIONS, atol=1e-13)
    assert np.abs(found.positions[-1] - POSITIONS)[NUMBERS > 0].max() > 0.05
    swing = np.ptp(found.total_energies, axis=0)
    assert (swing < 0.01 * np.ptp(found.potential_energies, axis=0) + 1e-4).all()
    heated = simulate(potential, NUMBERS, POSITIONS, friction=0.1, **OPTIONS)
    assert (np.ptp(heated.total_energies, axis=0) > 10 * swing).all()


def test_nothing_moves_where_there_is_no_atom(found):
    assert not found.velocities[:, 0, 4].any()
    assert not found.forces[:, 0, 4].any()


def test_a_configuration_moves_as_if_it_were_alone(potential, found):
    alone = simulate(
        potential, NUMBERS[0, :4], POSITIONS[0, :4], friction=0.0,
        velocities=found.velocities[0, 0, :4], **OPTIONS,
    )  # fmt: skip
    np.testing.assert_allclose(alone.positions, found.positions[:, 0, :4], atol=1e-10)
    np.testing.assert_allclose(alone.total_energies, found.total_energies[:, 0], atol=1e-12)
    assert np.abs(alone.positions - found.positions[:, 1, :4]).max() > 0.1


def test_a_longer_simulation_begins_with_the_shorter_one(potential, found):
    """Other numbers compile nothing: neither a temperature nor a step is part of the program."""
    before = module._advanced._cache_size()
    options = OPTIONS | {"num_steps": 60}
    longer = simulate(potential, NUMBERS, POSITIONS, friction=0.0, **options)
    np.testing.assert_array_equal(longer.positions[:5], found.positions)
    simulate(potential, NUMBERS, POSITIONS + 1, jax.random.key(1), time_step=0.1, num_steps=10)
    assert module._advanced._cache_size() == before


def test_seeds_draw_other_noise(potential):
    ends = [
        simulate(potential, NUMBERS, POSITIONS, jax.random.key(seed), **OPTIONS).positions[-1]
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(ends[0], ends[1])
    assert np.abs(ends[0] - ends[2]).max() > 0.01


def test_noise_does_not_come_again(potential):
    """Under so much friction velocities are what was drawn last."""
    found = simulate(potential, NUMBERS, POSITIONS, friction=100.0, **OPTIONS)
    rows = found.velocities[1:, NUMBERS > 0].reshape(4, -1)
    assert np.abs(np.corrcoef(rows) - np.eye(4)).max() < 0.8


def test_starts_come_from_files_and_trajectories_go_back(potential, tmp_path):
    whole = springs(2, seed=3)
    numbers, positions = rows_of(whole)
    some = simulate(potential, numbers, positions, num_steps=4, every=2)
    references = potential.atom_references(numbers)
    frames = configurations_of(some, numbers, references)
    write_configurations(tmp_path / "frames.extxyz", frames)
    again = read_configurations(tmp_path / "frames.extxyz")
    first = whole.num_atoms[0]
    assert again.num_atoms.tolist() == np.repeat(whole.num_atoms, 3).tolist()
    np.testing.assert_array_equal(again.numbers[: 3 * first], np.tile(whole.numbers[:first], 3))
    np.testing.assert_array_equal(again[np.array([2])].positions, some.positions[2, 0, :first])
    np.testing.assert_array_equal(again.properties["trajectory"], [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(again.properties["time"], [0, 1, 2, 0, 1, 2])
    expected = (some.potential_energies + references.sum(axis=1)).T.ravel()
    np.testing.assert_allclose(again.properties["energy"], expected)
    np.testing.assert_array_equal(
        again[np.array([4])].atom_properties["forces"], some.forces[1, 1, : whole.num_atoms[1]]
    )
    np.testing.assert_array_equal(
        again[np.array([1])].atom_properties["velocities"], some.velocities[1, 0, :first]
    )
    for name in ("kinetic_energy", "temperature"):
        kept = some.temperatures if name == "temperature" else some.kinetic_energies
        np.testing.assert_array_equal(again.properties[name], kept.T.ravel())
    with pytest.raises(ValueError, match=r"a.csv: configurations are written as .xyz, .extxyz, .n"):
        write_configurations(tmp_path / "a.csv", frames)


def test_energies_that_are_lost_end_a_simulation(potential):
    far = dataclasses.replace(potential, scale=jnp.asarray(1e300))
    with pytest.raises(FloatingPointError, match=r"configuration 0: the energy is not finite aft"):
        simulate(far, NUMBERS, POSITIONS, **OPTIONS)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"potential": None}, TypeError, "potential must be a Potential, got None"),
        ({"numbers": NUMBERS * 1.0}, TypeError, "numbers must be integers, got float64"),
        ({"numbers": NUMBERS + 2}, ValueError, "the run does not know the element He"),
        (
            {"positions": POSITIONS[:1]},
            ValueError,
            r"positions must have the shape \(2, 5, 3\), as",
        ),
        ({"positions": POSITIONS * np.nan}, ValueError, "positions must be finite"),
        ({"velocities": POSITIONS[0]}, ValueError, r"velocities must have the shape \(2, 5, 3\)"),
        ({"num_steps": 45}, ValueError, "num_steps must be a multiple of every, 10, got 45"),
        ({"every": 0}, ValueError, "every must be at least 1, got 0"),
        ({"time_step": 0.0}, ValueError, "time_step must be positive and finite, got 0.0"),
        ({"temperature": -1.0}, ValueError, "temperature must be finite and not negative, got -1"),
        ({"friction": np.inf}, ValueError, "friction must be finite and not negative, got inf"),
    ],
)
def test_wrong_arguments_are_named(potential, no_type_checks, changes, error, message):
    arguments = {"potential": potential, "numbers": NUMBERS, "positions": POSITIONS} | OPTIONS
    with pytest.raises(error, match=message):
        next(iter(simulated_states(**arguments | changes)))

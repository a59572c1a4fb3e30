"""Steps of motion, on springs whose motion is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.simulation import (
    BOLTZMANN,
    EV_PER_ANGSTROM_AMU,
    MotionState,
    advance,
    draw_velocities,
    kinetic_energies,
    temperatures,
)

MASS = 12.011
PERIOD = 2 * np.pi / np.sqrt(EV_PER_ANGSTROM_AMU / MASS)  # 222 fs, of a spring of 1 eV/Å²


def springs(positions):
    return 0.5 * jnp.sum(positions**2, (-2, -1)), -positions


def started(positions, velocities):
    return MotionState(positions, velocities, *springs(positions))


def moved(state, masses, num_steps, key=None, **options):
    return jax.jit(
        lambda state, masses: advance(springs, state, masses, key, num_steps=num_steps, **options)
    )(state, masses)


def test_the_units_are_those_of_nature():
    """At 1 amu and 1 Å/fs the kinetic energy is ½ amu (Å/fs)² = 51.8 eV."""
    velocity = jnp.array([[1.0, 0.0, 0.0]])
    joule = 0.5 * 1.66053906660e-27 * (1e-10 / 1e-15) ** 2
    expected = joule / 1.602176634e-19
    assert float(kinetic_energies(velocity, jnp.ones(1))) == pytest.approx(expected)
    assert pytest.approx(8.617333262e-5, rel=1e-9) == BOLTZMANN


def energy_errors(time_step, length=PERIOD):
    masses, state = jnp.array([MASS]), started(jnp.eye(3)[:1], jnp.zeros((1, 3)))
    num_steps, found = round(length / 40 / time_step), []
    move = jax.jit(
        lambda state: advance(springs, state, masses, num_steps=num_steps, time_step=time_step)
    )
    for _ in range(40):
        state = move(state)
        total = state.energies + kinetic_energies(state.velocities, masses)
        found.append(float(total) - 0.5)
    return np.array(found)


def test_the_error_of_the_energy_is_of_second_order():
    ratio = np.std(energy_errors(PERIOD / 160)) / np.std(energy_errors(PERIOD / 320))
    assert ratio == pytest.approx(4.0, rel=0.02)


def test_motion_without_friction_goes_back():
    rng = np.random.default_rng(0)
    masses, positions = jnp.array([[1.0, MASS]] * 3), jnp.asarray(rng.normal(size=(3, 2, 3)))
    start = started(positions, jnp.asarray(0.01 * rng.normal(size=(3, 2, 3))))
    there = moved(start, masses, 500, time_step=0.5)
    assert np.abs(there.positions - start.positions).min() > 1e-4
    turned = MotionState(there.positions, -there.velocities, there.energies, there.forces)
    back = moved(turned, masses, 500, time_step=0.5)
    np.testing.assert_allclose(back.positions, start.positions, atol=1e-11)
    there = moved(start, masses, 500, jax.random.key(0), time_step=0.5, friction=1e-3)
    turned = MotionState(there.positions, -there.velocities, there.energies, there.forces)
    back = moved(turned, masses, 500, time_step=0.5, friction=1e-3)
    assert np.abs(back.positions - start.positions).max() > 1e-3


@pytest.mark.parametrize("friction", [0.02, 0.0])
def test_a_bath_brings_positions_to_the_temperature(friction):
    """<x²> = k T / (1 eV/Å²), exactly at any step by BAOAB; without a bath nothing does so."""
    num, temperature = 4_000, 400.0
    masses = jnp.full((num, 1), MASS)
    start = started(jnp.zeros((num, 1, 3)), jnp.zeros((num, 1, 3)))
    end = moved(
        start, masses, 150, jax.random.key(1), time_step=PERIOD / 12, temperature=temperature,
        friction=friction,
    )  # fmt: skip
    variance = float(jnp.mean(end.positions**2)) / (BOLTZMANN * temperature)
    error = np.sqrt(2 / (3 * num))
    assert (abs(variance - 1) < 5 * error) == (friction > 0)
    if friction:  # velocities are colder by (ω h)²/4
        share = float(temperatures(end.velocities, masses).mean()) / temperature
        assert share == pytest.approx(1 - (2 * np.pi / 12) ** 2 / 4, abs=5 * error)


def test_friction_slows_at_its_rate():
    """By exp(-γ t) at 0 K, where nothing pushes, whatever the mass and the step."""

    def nothing(positions):
        return jnp.zeros(positions.shape[:-2]), jnp.zeros_like(positions)

    velocities = 0.01 * jnp.ones((2, 3))
    start = MotionState(jnp.zeros((2, 3)), velocities, *nothing(velocities))
    end = jax.jit(
        lambda start: advance(
            nothing, start, jnp.array([1.0, MASS]), num_steps=20, time_step=2.5, friction=0.03
        )
    )(start)
    np.testing.assert_allclose(end.velocities, np.exp(-0.03 * 50) * velocities, rtol=1e-12)


def test_velocities_are_thermal_and_stand_still_together():
    masses = jnp.array([[1.008, 15.999, 12.011, 0.0]] * 5_000)
    velocities = draw_velocities(jax.random.key(0), masses, 300.0)
    momenta = masses[..., None] * velocities
    assert float(jnp.abs(momenta.sum(axis=-2)).max()) < 1e-12
    assert not velocities[:, 3].any()
    found = temperatures(velocities, masses, has_friction=False)
    assert float(found.mean()) == pytest.approx(300.0, abs=5 * 300 * np.sqrt(2 / 6 / 5_000))
    free = temperatures(velocities, masses)
    np.testing.assert_allclose(free / found, 6 / 9)


def test_each_configuration_has_a_temperature_of_its_own():
    masses = jnp.ones((2, 500))
    velocities = draw_velocities(jax.random.key(0), masses, jnp.array([100.0, 400.0]))
    cold, hot = temperatures(velocities, masses)
    assert float(hot / cold) == pytest.approx(4.0, rel=0.2)

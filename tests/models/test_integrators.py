"""Integrators on a pendulum, H = p²/2 - cos q, against a hand-written step and their order."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from eqattn.models.integrators import integrate, integrate_field

STATE = (jnp.array([0.3]), jnp.array([1.2]))
TIMES = jnp.linspace(0.0, 2.0, 3)


def velocity(momenta, args):
    return momenta


def force(positions, args):
    return -args * jnp.sin(positions)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def solve(solver, num_substeps=None, tolerance=None, times=TIMES, state=STATE, strength=1.0):
    return integrate(
        velocity,
        force,
        state,
        times,
        jnp.asarray(strength),
        solver=solver,
        num_substeps=num_substeps,
        tolerance=tolerance,
    )


@pytest.fixture(scope="module")
def exact():
    solution = scipy.integrate.solve_ivp(
        lambda t, y: [y[1], -np.sin(y[0])],
        (0.0, 2.0),
        [0.3, 1.2],
        method="DOP853",
        t_eval=np.asarray(TIMES),
        rtol=1e-13,
        atol=1e-13,
    )
    return solution.y


def error_of(exact, *args):
    positions, momenta = solve(*args)
    assert positions.shape == momenta.shape == (3, 1)
    positions, momenta = np.asarray(positions), np.asarray(momenta)
    return max(abs(positions[:, 0] - exact[0]).max(), abs(momenta[:, 0] - exact[1]).max())


@pytest.mark.parametrize(("solver", "order"), [("rk4", 4), ("symplectic", 2)])
def test_the_order_of_convergence(exact, solver, order):
    sizes = [8, 16, 32]
    errors = [float(error_of(exact, solver, size)) for size in sizes]
    slope = -np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.2), errors
    assert errors[-1] < {4: 1e-6, 2: 1e-3}[order]


def test_the_adaptive_solver_keeps_its_tolerance(exact):
    loose, tight = (float(error_of(exact, "adaptive", None, tol)) for tol in (1e-4, 1e-9))
    assert tight < 1e-8 < loose < 1e-3


def test_a_step_of_rk4_is_the_three_eighths_rule():
    """By hand: stages at 0, 1/3, 2/3, 1, weights 1/8, 3/8, 3/8, 1/8; the classical rule differs."""
    h = 0.5

    def field(y):
        return np.array([y[1], -np.sin(y[0])])

    y = np.array([0.3, 1.2])
    k1 = field(y)
    k2 = field(y + h * k1 / 3)
    k3 = field(y + h * (k2 - k1 / 3))
    k4 = field(y + h * (k1 - k2 + k3))
    by_hand = y + h * (k1 + 3 * k2 + 3 * k3 + k4) / 8
    positions, momenta = solve("rk4", times=jnp.array([0.0, h]))
    np.testing.assert_allclose([positions[1, 0], momenta[1, 0]], by_hand, rtol=0, atol=1e-15)
    k2 = field(y + h * k1 / 2)
    k3 = field(y + h * k2 / 2)
    k4 = field(y + h * k3)
    classical = y + h * (k1 + 2 * k2 + 2 * k3 + k4) / 6
    assert abs(positions[1, 0] - classical[0]) > 1e-6


def test_the_symplectic_solver_is_reversible_and_the_other_is_not():
    for solver, bounds in {"symplectic": (0.0, 1e-13), "rk4": (1e-9, 1e-2)}.items():
        positions, momenta = solve(solver, 4)
        back = solve(solver, 4, state=(positions[-1], -momenta[-1]))
        gap = float(abs(back[0][-1] - STATE[0])[0])
        assert bounds[0] <= gap <= bounds[1], (solver, gap)


def test_energy_errors_of_the_symplectic_solver_do_not_grow():
    def energy_error(num_times):
        positions, momenta = solve("symplectic", times=jnp.arange(num_times) * 0.2)
        energies = momenta**2 / 2 - jnp.cos(positions)
        return float(abs(energies - energies[0]).max())

    assert energy_error(1500) < 1.2 * energy_error(50) < 0.02


@pytest.mark.parametrize(
    "solver", ["rk4", "symplectic", pytest.param("adaptive", marks=pytest.mark.slow)]
)
def test_derivatives_with_respect_to_states_and_arguments(solver):
    tolerance = 1e-9 if solver == "adaptive" else None

    def end(position, strength):
        state = (position[None], STATE[1])
        positions, _ = solve(solver, None, tolerance, state=state, strength=strength)
        return positions[-1, 0]

    point = (jnp.asarray(0.3), jnp.asarray(1.1))
    derivatives = jax.jit(jax.grad(end, argnums=(0, 1)))(*point)
    step = 1e-5
    for index, derivative in enumerate(derivatives):
        up, down = (
            end(*(x + s * step * (i == index) for i, x in enumerate(point))) for s in (1, -1)
        )
        assert float(derivative) == pytest.approx(float(up - down) / (2 * step), rel=1e-4)


def test_one_time_is_the_state_itself():
    positions, momenta = solve("rk4", times=jnp.array([3.0]))
    np.testing.assert_array_equal(positions, STATE[0][None])
    np.testing.assert_array_equal(momenta, STATE[1][None])


@pytest.mark.slow
def test_substeps_end_on_the_times_also_where_these_are_uneven():
    times = jnp.array([0.0, 0.1, 0.5])
    positions, _ = solve("rk4", 3, times=times)
    first, _ = solve("rk4", 3, times=times[:2])
    np.testing.assert_allclose(positions[:2], first, rtol=0, atol=1e-15)
    exactly, _ = solve("adaptive", None, 1e-10, times=times)
    np.testing.assert_allclose(positions, exactly, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("euler",), r"solver must be one of \('rk4', 'symplectic', 'adaptive'\), got 'euler'"),
        (("adaptive", 2), "num_substeps is not for the solver 'adaptive', got 2"),
        (("rk4", None, 1e-3), "tolerance is for the solver 'adaptive' only, got 0.001"),
        (("rk4", 0), "num_substeps must be at least 1, got 0"),
        (("adaptive", None, 0.0), "tolerance must be between 0 and 1, got 0.0"),
        (("adaptive", None, None, TIMES[::-1]), r"times must increase, got \[2. 1. 0.\]"),
        (("rk4", None, None, []), r"times must have shape \[times\], at least 1, got \(0,\)"),
    ],
)
def test_bad_options(no_type_checks, arguments, message):
    with pytest.raises(ValueError, match=message):
        solve.__wrapped__(*arguments)


@pytest.mark.parametrize("solver", ["rk4", "symplectic", "adaptive"])
def test_a_state_of_integers_would_be_rounded(no_type_checks, solver):
    state = (jnp.array([1]), jnp.array([0.0]))
    with pytest.raises(TypeError, match="positions of the state must be floats, got int"):
        integrate(lambda p, _: p, lambda q, _: -q, state, [0.0, 1.5], solver=solver)


def test_the_limit_of_steps_is_of_the_adaptive_solver():
    options = {"solver": "rk4", "max_steps": 9}
    with pytest.raises(ValueError, match="max_steps is for the solver 'adaptive' only, got 9"):
        integrate(velocity, force, STATE, TIMES, 1.0, **options)
    with pytest.raises(ValueError, match="max_steps must be at least 1, got 0"):
        integrate(velocity, force, STATE, TIMES, 1.0, solver="adaptive", max_steps=0)


def test_a_solution_that_blows_up_is_nan_from_there_on():
    """q' = p, p' = 6 q² from q = 1, p = 2: q = 1 / (1 - t)², which ends at 1; in no time."""
    evaluations = []

    def field(state, args):
        jax.debug.callback(lambda: evaluations.append(1))
        return state[1], 6 * state[0] ** 2

    state = (jnp.array([1.0]), jnp.array([2.0]))
    q, p = integrate_field(field, state, [0.0, 0.5, 1.5], solver="adaptive")
    jax.effects_barrier()
    np.testing.assert_allclose(q[:2, 0], [1.0, 4.0], rtol=1e-4)
    assert np.isnan(q[2]).all()
    assert np.isnan(p[2]).all()
    assert len(evaluations) < 20_000, "it does not use up its 16,384 steps of seven"


@pytest.mark.slow
def test_a_field_that_sees_momenta_is_integrated_to_the_same_orders():
    """A damped oscillator, whose motion is known: q'' = -q - 2c q'."""
    c, times = 0.3, jnp.array([0.0, 1.0, 2.0])
    field = lambda state, args: (state[1], -state[0] - 2 * args * state[1])
    options = {"rk4": [{"num_substeps": n} for n in (4, 8, 16)], "adaptive": [{"tolerance": 1e-9}]}
    omega = np.sqrt(1 - c**2)
    exact = np.exp(-c * times) * (np.cos(omega * times) + c / omega * np.sin(omega * times))

    def error(solver, chosen):
        state = (jnp.array(1.0), jnp.array(0.0))
        positions, _ = integrate_field(field, state, times, c, solver=solver, **chosen)
        return float(abs(positions - exact).max())

    errors = {s: [error(s, chosen) for chosen in choices] for s, choices in options.items()}
    slope = -np.polyfit(np.log([4, 8, 16]), np.log(errors["rk4"]), 1)[0]
    assert slope == pytest.approx(4, abs=0.2), errors
    assert errors["adaptive"][0] < 1e-8


def test_forces_that_see_momenta_exclude_the_symplectic_solver():
    with pytest.raises(
        ValueError, match="solver must be 'rk4' or 'adaptive' where forces depend on"
    ):
        integrate_field(lambda y, args: y, STATE, TIMES, solver="symplectic")
    one = integrate_field(lambda y, args: y, STATE, TIMES[:1], solver="adaptive")
    np.testing.assert_array_equal(one[0], STATE[0][None])

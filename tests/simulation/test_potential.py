"""What a run says of atoms, in electronvolts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import eqattn
from eqattn.simulation import load_potential
from eqattn.simulation.potential import evaluate
from tests.tasks.forces.runs import ATOMS, SCALE, write_run
from tests.tasks.forces.springs import REFERENCES

NUMBERS = np.array([[6, 1, 16, 1, 0], [1, 6, 6, 1, 1]], np.int32)
POINTS = np.random.default_rng(0).normal(size=(2, 5, 3)) * 1.5


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("forces") / "run")


@pytest.fixture(scope="module")
def potential(run):
    return load_potential(run)


def test_energies_are_those_of_the_model_in_its_units(run, potential):
    model, _ = eqattn.load(run)
    energies, forces = evaluate(potential, NUMBERS, POINTS.astype(np.float32))
    symbols = {"H": 1, "C": 6, "S": 16}
    features = np.stack([symbols[name] == NUMBERS for name in REFERENCES], -1).astype(np.float32)
    points = POINTS - np.where(NUMBERS[..., None] > 0, POINTS, 0).sum(1, keepdims=True) / np.sum(
        NUMBERS > 0, axis=1
    ).reshape(2, 1, 1)
    expected = jax.jit(model.energies_and_forces)(
        jnp.asarray(points, jnp.float32), jnp.asarray(features), jnp.asarray(NUMBERS > 0)
    )
    np.testing.assert_allclose(energies.sum(axis=1), SCALE * expected[0], rtol=1e-5)
    np.testing.assert_allclose(forces, SCALE * expected[1], atol=1e-5)
    assert energies.dtype == potential.dtype == np.float32
    assert energies[0, 4] == 0
    assert not forces[0, 4].any()


def test_forces_in_float64_are_derivatives(run):
    """Of a run in float32, whose own forces are not as exact."""
    wide = load_potential(run, "float64")
    assert wide.dtype == np.float64
    moved = np.zeros_like(POINTS)
    moved[1, 2, 0] = step = 1e-4
    (up, _), (down, _) = (evaluate(wide, NUMBERS, POINTS + sign * moved) for sign in (1, -1))
    difference = -float(jnp.sum(up - down)) / (2 * step)
    force = float(evaluate(wide, NUMBERS, POINTS)[1][1, 2, 0])
    assert abs(force) > 1e-3
    assert difference == pytest.approx(force, abs=1e-7)
    narrow = evaluate(load_potential(run), NUMBERS, POINTS.astype(np.float32))[1]
    assert 1e-9 < abs(float(narrow[1, 2, 0]) - force) < 1e-4


def test_unknown_elements_are_not_numbers(potential):
    numbers = NUMBERS.copy()
    numbers[0, 1] = 9
    energies, forces = evaluate(potential, numbers, POINTS.astype(np.float32))
    assert np.isnan(energies[0]).any()
    assert np.isfinite(energies[1]).all()
    assert np.isfinite(forces[1]).all()
    with pytest.raises(ValueError, match="numbers: the run does not know the element F; it was tr"):
        potential.atom_references(numbers)
    with pytest.raises(ValueError, match="the run does not know the element number 119; it was"):
        potential.check_elements(np.array([119]))


def test_references_are_of_atoms(potential):
    expected = [[-40.0, -3.0, -110.5, -3.0, 0.0], [-3.0, -40.0, -40.0, -3.0, -3.0]]
    np.testing.assert_array_equal(potential.atom_references(NUMBERS), expected)


def test_potentials_of_one_architecture_share_a_program(run, tmp_path, potential):
    points = POINTS.astype(np.float32)
    first = evaluate(potential, NUMBERS, points)[0]
    before = evaluate._cache_size()
    again = evaluate(load_potential(run), NUMBERS, points)[0]
    other = load_potential(write_run(tmp_path / "other", seed=1))
    assert np.abs(evaluate(other, NUMBERS, points)[0] - first).max() > 1e-4
    np.testing.assert_array_equal(again, first)
    assert evaluate._cache_size() == before
    assert other.architecture == potential.architecture != "other"


def test_an_ensemble_is_the_mean_of_its_members(tmp_path):
    both = load_potential(write_run(tmp_path / "both", ensemble=2))
    points = POINTS.astype(np.float32)
    rows = [evaluate(member, NUMBERS, points) for member in both.members()]
    assert len(rows) == 2
    assert np.abs(rows[0][1] - rows[1][1]).max() > 1e-3
    for found, parts in zip(evaluate(both, NUMBERS, points), zip(*rows, strict=True), strict=True):
        np.testing.assert_allclose(found, np.mean(parts, axis=0), atol=1e-5)


def test_wrong_runs_are_refused(run, tmp_path, no_type_checks):
    model = dataclasses.replace(ATOMS, output="invariant").build(3, 1, rngs=nnx.Rngs(0))
    eqattn.save(model, tmp_path / "model")
    with pytest.raises(ValueError, match="model is no run of the task 'forces': it has no potent"):
        load_potential(tmp_path / "model", "float32")
    with pytest.raises(ValueError, match=r"dtype must be one of .'float32', 'float64'., got 'f4'"):
        load_potential(run, "f4")
    with (
        jax.enable_x64(False),
        pytest.raises(ValueError, match="dtype 'float64' needs jax_enable_x64"),
    ):
        load_potential(run, "float64")

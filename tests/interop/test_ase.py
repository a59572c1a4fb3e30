"""Calculators of ASE from runs: its optimizers, dynamics and vibrations go with them."""

import jax
import numpy as np
import pytest

from eqattn.simulation import EV_PER_ANGSTROM_AMU, load_potential, simulate
from eqattn.simulation.potential import evaluate, evaluate_in_cell
from tests.tasks.forces.runs import write_run
from tests.tasks.forces.springs import REFERENCES

ase = pytest.importorskip("ase")

from ase import units  # noqa: E402
from ase.calculators.calculator import (  # noqa: E402
    CalculationFailed,
    PropertyNotImplementedError,
)
from ase.calculators.fd import calculate_numerical_stress  # noqa: E402
from ase.md.verlet import VelocityVerlet  # noqa: E402
from ase.optimize import BFGS  # noqa: E402
from ase.vibrations import Vibrations  # noqa: E402

from eqattn.data.atoms.masses import MASSES  # noqa: E402
from eqattn.interop.ase import Calculator, ladder_size  # noqa: E402

POSITIONS = np.random.default_rng(0).normal(size=(4, 3)) * 1.2


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forces")
    return [write_run(folder / str(seed), seed=seed) for seed in (0, 1)]


@pytest.fixture
def atoms():
    return ase.Atoms("CHSH", POSITIONS)


def test_results_are_those_of_the_run(runs, atoms):
    atoms.calc = Calculator(runs[0])
    energies, forces = evaluate(
        load_potential(runs[0]), atoms.numbers.astype(np.int32), POSITIONS.astype(np.float32)
    )
    references = REFERENCES["C"] + 2 * REFERENCES["H"] + REFERENCES["S"]
    assert atoms.get_potential_energy() == pytest.approx(float(energies.sum()) + references)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-5)
    of_atoms = atoms.get_potential_energies()
    assert of_atoms.sum() == pytest.approx(atoms.get_potential_energy())
    assert of_atoms[0] == pytest.approx(REFERENCES["C"] + float(energies[0]))


def test_float64_needs_no_setting(runs, atoms):
    """Jax stays as it is outside; forces are derivatives to rounding."""
    with jax.enable_x64(False):
        atoms.calc = Calculator(runs[0], dtype="float64")
        force = atoms.get_forces()[0, 0]
        ends = []
        for sign in (1, -1):
            moved = ase.Atoms("CHSH", POSITIONS)
            moved.positions[0, 0] += sign * 1e-4
            moved.calc = atoms.calc
            ends.append(moved.get_potential_energy())
        slope = (ends[1] - ends[0]) / 2e-4
        assert jax.numpy.ones(1).dtype == np.float32
    assert abs(force) > 1e-3
    assert force == pytest.approx(slope, abs=1e-8)


def test_the_mean_of_runs_has_a_spread(runs, atoms):
    alone = []
    for run in runs:
        atoms.calc = Calculator(run)
        alone.append((atoms.get_potential_energy(), atoms.get_forces()))
        assert "energy_std" not in atoms.calc.results
    atoms.calc = Calculator(runs)
    energies, forces = zip(*alone, strict=True)
    assert atoms.get_potential_energy() == pytest.approx(np.mean(energies))
    np.testing.assert_allclose(atoms.get_forces(), np.mean(forces, axis=0), atol=1e-6)
    assert atoms.calc.results["energy_std"] == pytest.approx(np.std(energies), rel=1e-4)
    np.testing.assert_allclose(atoms.calc.results["forces_std"], np.std(forces, axis=0), atol=1e-6)
    assert atoms.calc.results["energy_std"] > 0


@pytest.mark.slow
def test_a_run_of_an_ensemble_is_as_its_members(runs, atoms, tmp_path):
    both = write_run(tmp_path / "both", ensemble=2)
    found = []
    for given in (runs, both):
        atoms.calc = Calculator(given)
        found.append((atoms.get_forces(), atoms.calc.results["forces_std"]))
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)
    _, forces = evaluate(
        load_potential(both), atoms.numbers.astype(np.int32), POSITIONS.astype(np.float32)
    )
    np.testing.assert_allclose(forces, found[0][0], atol=1e-5)


def test_numbers_of_atoms_that_change_compile_rarely(runs):
    calculator = Calculator(runs[0])
    before = evaluate._cache_size()
    whole = ase.Atoms("CHSHCHSH", np.random.default_rng(1).normal(size=(8, 3)) * 2)
    found = []
    for size in (8, 7, 8, 7, 8):
        some = whole[:size]
        some.rattle(0.01, seed=size)
        some.calc = calculator
        found.append(some.get_forces())
    assert evaluate._cache_size() == before + 1
    np.testing.assert_allclose(found[1], found[3], atol=1e-6)
    alone = whole[:7]
    alone.rattle(0.01, seed=7)
    alone.calc = Calculator(runs[0])
    np.testing.assert_allclose(found[1], alone.get_forces(), atol=1e-5)
    assert found[0].shape == (8, 3)


def test_sizes_of_padding_are_close():
    sizes = np.arange(4, 2_000)
    padded = np.array([ladder_size(int(size)) for size in sizes])
    assert (padded >= sizes).all()
    assert (padded <= 1.25 * sizes + 1).all()
    assert len({*padded.tolist()}) < 40


def test_dynamics_of_ase_is_ours(runs, atoms):
    """Velocity Verlet of both, to rounding: ASE has slightly other units."""
    velocities = 0.02 * np.random.default_rng(2).normal(size=(4, 3))
    ours = simulate(
        load_potential(runs[0], "float64"), atoms.numbers, POSITIONS, num_steps=50, every=50,
        time_step=0.5, friction=0.0, velocities=velocities,
    )  # fmt: skip
    per_fs = np.sqrt(EV_PER_ANGSTROM_AMU)  # ASE's time is √(amu Å² / eV)
    atoms.set_masses(MASSES[atoms.numbers])
    atoms.set_velocities(velocities / per_fs)
    atoms.calc = Calculator(runs[0], dtype="float64")
    start = atoms.get_total_energy()
    VelocityVerlet(atoms, 0.5 * per_fs).run(50)
    assert np.abs(atoms.positions - POSITIONS).max() > 0.1
    np.testing.assert_allclose(atoms.positions, ours.positions[-1], atol=1e-11)
    np.testing.assert_allclose(atoms.get_velocities() * per_fs, ours.velocities[-1], atol=1e-12)
    assert 0.5 * units.fs == pytest.approx(0.5 * per_fs, rel=1e-7)
    assert atoms.get_total_energy() == pytest.approx(start, abs=1e-3)
    assert atoms.get_kinetic_energy() == pytest.approx(ours.kinetic_energies[-1], rel=1e-9)


@pytest.mark.slow
def test_optimizers_and_vibrations_run(runs, atoms, tmp_path):
    atoms.calc = Calculator(runs[0], dtype="float64")
    before = atoms.get_potential_energy()
    assert evaluate._cache_size() > 0
    programs = evaluate._cache_size()
    BFGS(atoms, logfile=None).run(fmax=1e-3, steps=200)
    assert atoms.get_potential_energy() < before
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 1e-3
    vibrations = Vibrations(atoms, name=str(tmp_path / "vibrations"))
    vibrations.run()
    found = vibrations.get_energies()
    assert len(found) == 12
    scales = np.linspace(0.98, 1.02, 5)  # as an equation of state asks
    energies = []
    for scale in scales:
        scaled = atoms.copy()
        scaled.positions *= scale
        scaled.calc = atoms.calc
        energies.append(scaled.get_potential_energy())
    assert energies[2] < max(energies)
    assert evaluate._cache_size() == programs


def test_crystals(runs):
    """Energies of cells, stresses that are derivatives, and no compilation for another cell."""
    cell = 4 * np.eye(3) + 0.4 * np.random.default_rng(1).normal(size=(3, 3))
    calculator = Calculator(runs[0], dtype="float64")
    crystal = ase.Atoms("CHSH", POSITIONS, cell=cell, pbc=True, calculator=calculator)
    energy, stress = crystal.get_potential_energy(), crystal.get_stress()
    expected = calculate_numerical_stress(crystal, eps=1e-5)
    np.testing.assert_allclose(stress, expected, atol=1e-6)
    assert np.abs(stress).max() > 1e-4
    programs = evaluate_in_cell._cache_size()
    energies = []
    for scale in (0.98, 0.99, 1.01, 1.02):
        scaled = crystal.copy()
        scaled.set_cell(scale * cell, scale_atoms=True)
        scaled.calc = calculator
        energies.append(scaled.get_potential_energy())
    assert np.ptp(energies) > 1e-4
    assert evaluate_in_cell._cache_size() == programs
    double = crystal.repeat((2, 1, 1))
    double.calc = calculator
    assert double.get_potential_energy() == pytest.approx(2 * energy, rel=1e-12)
    np.testing.assert_allclose(double.get_stress(), stress, atol=1e-10)
    double.pbc = False
    assert abs(double.get_potential_energy() - 2 * energy) > 1e-4


def test_neighbors_are_listed_up_to_the_longest_cutoff(runs, tmp_path):
    short, found = write_run(tmp_path / "short", cutoff=3.0), []
    crystal = ase.Atoms("CHSH", POSITIONS, cell=3 * np.eye(3), pbc=True)
    for given in (short, [short, runs[0]], runs[0]):
        found.append(int(Calculator(given)._listed(crystal).mask.sum()))
    assert found[0] < found[1] == found[2]


def test_motion_in_a_cell_is_ours(runs):
    """Lists are used again by both, made at other times, and the motion is the same to rounding."""
    cell = 4 * np.eye(3) + 0.4 * np.random.default_rng(1).normal(size=(3, 3))
    crystal = ase.Atoms("CHSH", POSITIONS, cell=cell, pbc=True)
    velocities = 0.02 * np.random.default_rng(2).normal(size=(4, 3))
    ours = simulate(
        load_potential(runs[0], "float64"), crystal.numbers, POSITIONS, num_steps=40, every=40,
        friction=0.0, velocities=velocities, cells=cell, periodic=crystal.pbc, skin=0.3,
    )  # fmt: skip
    per_fs = np.sqrt(EV_PER_ANGSTROM_AMU)
    crystal.set_masses(MASSES[crystal.numbers])
    crystal.set_velocities(velocities / per_fs)
    crystal.calc = Calculator(runs[0], dtype="float64")
    start = crystal.get_total_energy()
    VelocityVerlet(crystal, 0.5 * per_fs).run(40)
    assert np.abs(crystal.positions - POSITIONS).max() > 0.3
    np.testing.assert_allclose(crystal.positions, ours.positions[-1], atol=1e-10)
    np.testing.assert_allclose(crystal.get_forces(), ours.forces[-1], atol=1e-9)
    assert crystal.get_total_energy() == pytest.approx(start, abs=2e-3)
    (listed,) = crystal.calc._lists.values()
    assert 1 < listed.num_searches < 20


def test_what_a_calculator_refuses(runs, atoms, tmp_path, no_type_checks):
    with pytest.raises(ValueError, match="runs must be a run folder or several, got none"):
        Calculator([])
    with pytest.raises(
        ValueError, match=r"dtype must be one of .'float32', 'float64'., got 'half'"
    ):
        Calculator(runs[0], dtype="half")
    with pytest.raises(FileNotFoundError, match="absent"):
        Calculator(tmp_path / "absent")
    atoms.calc = Calculator(runs[0])
    atoms.cell, atoms.pbc = 4 * np.eye(3), [True, False, False]
    with pytest.raises(PropertyNotImplementedError, match="stress needs a cell that repeats along"):
        atoms.get_stress()
    atoms.calc = Calculator(write_run(tmp_path / "everything", cutoff=None))
    with pytest.raises(ValueError, match=r"atoms must not be periodic, .* sees atoms at any dist"):
        atoms.get_forces()
    atoms.calc, atoms.pbc = Calculator(runs[0]), False
    atoms.symbols[0] = "Au"
    with pytest.raises(ValueError, match="the run does not know the element Au; it was trained on"):
        atoms.get_forces()
    atoms.symbols[0] = "C"
    atoms.positions[0] = np.nan
    with pytest.raises(CalculationFailed, match="energies or forces are not finite"):
        atoms.get_forces()

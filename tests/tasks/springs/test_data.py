import numpy as np
import pytest
import scipy.linalg

from eqattn.tasks.springs import data as springs
from eqattn.tasks.springs.data import NUM_TIMES, TIMES, energy, examples, generate, load


@pytest.fixture(scope="module")
def systems():
    return generate(6)


def equations_of(masses, constants):
    """The matrix of d(q, p)/dt for one coordinate: the equations of motion are linear."""
    stiffness = 2 * (np.diag(constants * constants.sum()) - np.outer(constants, constants))
    zeros = np.zeros_like(stiffness)
    return np.block([[zeros, np.diag(1 / masses)], [-stiffness, zeros]])


def test_paths_are_the_exact_solution(systems):
    for index in range(len(systems)):
        matrix = equations_of(systems.masses[index], systems.spring_constants[index])
        states = np.concatenate([systems.positions[index], systems.momenta[index]], axis=1)
        for place in (1, 100, NUM_TIMES - 1):
            exact = scipy.linalg.expm(matrix * TIMES[place]) @ states[0]
            np.testing.assert_allclose(states[place], exact, rtol=0, atol=1e-9)


def test_energy_and_momentum_are_conserved(systems):
    energies = energy(
        systems.positions,
        systems.momenta,
        systems.masses[:, None],
        systems.spring_constants[:, None],
    )
    assert energies.shape == (6, 500)
    assert np.abs(energies / energies[:, :1] - 1).max() < 1e-9
    assert np.abs(systems.momenta.sum(axis=2)).max() < 1e-10


def test_the_force_is_the_gradient_of_the_energy(systems):
    """By a central difference, against the path's own change of momentum."""
    q, p = systems.positions[:1, 0], systems.momenta[:1, 0]
    system = systems.masses[:1], systems.spring_constants[:1]
    force = np.zeros_like(q)
    for index in np.ndindex(q.shape):
        step = np.zeros_like(q)
        step[index] = 1e-6
        force[index] = -(energy(q + step, p, *system) - energy(q - step, p, *system))[0] / 2e-6
    matrix = equations_of(systems.masses[0], systems.spring_constants[0])
    derivative = (matrix @ np.concatenate([q[0], p[0]]))[6:]
    np.testing.assert_allclose(force[0], derivative, rtol=1e-6, atol=1e-6)


def test_the_draws_are_those_of_the_publication():
    many = [springs._draw(0, 0, number) for number in range(400)]
    masses, constants, positions, momenta = (np.stack(a) for a in zip(*many, strict=True))
    assert 0.1 <= masses.min() < masses.max() <= 3.1
    assert 0.0 <= constants.min() < constants.max() <= 5.0
    assert masses.mean() == pytest.approx(1.6, abs=0.1)
    assert constants.mean() == pytest.approx(2.5, abs=0.1)
    assert positions.std() == pytest.approx(0.4, abs=0.02)
    assert momenta.std() == pytest.approx(0.6 * np.sqrt(5 / 6), abs=0.02)
    assert np.abs(momenta.sum(axis=1)).max() < 1e-14


def test_a_trajectory_depends_on_its_own_number_alone(systems):
    fewer, later = generate(2), generate(2, first=4)
    for name in ("ids", "masses", "spring_constants", "positions", "momenta"):
        np.testing.assert_array_equal(getattr(fewer, name), getattr(systems, name)[:2])
        np.testing.assert_array_equal(getattr(later, name), getattr(systems, name)[4:])


def test_splits_and_seeds_share_nothing(systems):
    for other in (generate(6, split="test"), generate(6, seed=1)):
        assert np.intersect1d(other.masses, systems.masses).size == 0


def test_everything_is_float64_whatever_jax_is_set_to(systems):
    import jax

    with jax.enable_x64(False):
        again = generate(6)
    assert again.positions.dtype == again.momenta.dtype == np.float64
    np.testing.assert_array_equal(again.positions, systems.positions)


def test_examples_are_the_rows(systems):
    for index, example in enumerate(examples(6)):
        assert example["id"] == systems.ids[index]
        np.testing.assert_array_equal(example["masses"], systems.masses[index])
        np.testing.assert_array_equal(example["momenta"], systems.momenta[index])


def test_load_reads_the_cache(systems, tmp_path, monkeypatch):
    first = load(6, cache_dir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["springs-train-6-seed0-v1.npz"]
    monkeypatch.setattr(springs, "generate", None)
    again = load(6, cache_dir=tmp_path)
    for read in (first, again):
        np.testing.assert_array_equal(read.positions, systems.positions)


@pytest.mark.parametrize("content", [b"nothing", None])
def test_a_damaged_cache_is_made_again(systems, tmp_path, content, caplog):
    path = tmp_path / "springs-train-6-seed0-v1.npz"
    if content is None:
        np.savez(path, **springs._arrays(systems[:2]))
    else:
        path.write_bytes(content)
    np.testing.assert_array_equal(load(6, cache_dir=tmp_path).positions, systems.positions)
    assert "making the cache again" in caplog.text


def test_a_cache_that_cannot_be_written_is_no_error(systems, tmp_path, caplog):
    (tmp_path / "file").touch()
    again = load(6, cache_dir=tmp_path / "file")
    np.testing.assert_array_equal(again.positions, systems.positions)
    assert "cannot write the cache" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_trajectories": 0}, "num_trajectories must be at least 1, got 0"),
        ({"num_trajectories": 1, "first": -1}, "first must be at least 0, got -1"),
        ({"num_trajectories": 1, "split": "all"}, r"split must be one of \(.*\), got 'all'"),
        ({"num_trajectories": 1, "seed": -1}, r"seed must be in \[0, 2\*\*32\), got -1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        generate(**arguments)

"""Masses apart from features: particles in the potential of a :class:`PotentialNetwork`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.groups import SE, T
from eqattn.layers import Attention, MLPLocation, MultiplyLogits
from eqattn.models import (
    AccelerationNetwork,
    FieldModel,
    HamiltonianNetwork,
    LieTransformer,
    PotentialNetwork,
)
from eqattn.spaces import euclidean
from tests import small

LAYER = Attention(
    num_heads=2,
    location=MLPLocation(dim=8, num_layers=2, num_radial=6, cutoff=4.0),
    combine=MultiplyLogits(),
    normalize="mean",
    cutoff=4.0,
)
SPECIES = np.eye(2)[[[0, 1, 1, 0, 1]] * 2]
TIMES = np.linspace(0.0, 2.0, 21)


@pytest.fixture(scope="module")
def system():
    """Atoms of two elements."""
    atoms = LieTransformer(
        euclidean(SE(3)), 2, 1, dim=8, num_layers=1, layer=LAYER, output="per_point",
        param_dtype=jnp.float64, rngs=nnx.Rngs(0),
    )  # fmt: skip
    return HamiltonianNetwork(PotentialNetwork(atoms))


def state():
    """Positions, momenta without a sum, and masses."""
    rng = np.random.default_rng(0)
    q, p = rng.normal(size=(2, 2, 5, 3))
    return q, p - p.mean(axis=1, keepdims=True), rng.uniform(0.5, 3.0, size=(2, 5))


def roll_out(system, masses, num_substeps=1):
    q, p, _ = state()
    return system.roll_out(
        q, p, SPECIES, TIMES, masses=masses, solver="symplectic", num_substeps=num_substeps
    )


def test_forces_are_those_of_the_potential_whatever_the_masses(system):
    q, p, masses = state()
    field = jax.jit(lambda masses: system.vector_field(q, p, SPECIES, masses=masses))
    velocities, forces = field(masses)
    np.testing.assert_allclose(velocities, p / masses[..., None], rtol=1e-14)
    potential = jax.jit(system.potential_model.energies_and_forces)
    _, expected = potential(jnp.asarray(q), jnp.asarray(SPECIES))
    np.testing.assert_allclose(forces, expected, atol=1e-13)
    assert np.abs(forces).max() > 1e-3
    np.testing.assert_array_equal(field(2 * masses)[1], forces)


def test_energy_and_momenta_are_conserved(system):
    """To the second order of the steps, or exactly; with other masses another energy is not."""
    masses = state()[2]
    energy = jax.jit(lambda q, p, m: system.hamiltonian(q, p, SPECIES, masses=m))

    def energies(path, masses):
        return np.stack([energy(*np.split(path[:, i], 2, axis=-1), masses) for i in range(21)])

    once, fine = (np.asarray(roll_out(system, masses, n)) for n in (1, 2))
    swings = [np.ptp(energies(path, masses), axis=0).max() for path in (once, fine)]
    assert swings[0] / swings[1] == pytest.approx(4.0, rel=0.2)
    assert np.ptp(energies(once, 2 * masses), axis=0).min() > 20 * swings[0]
    positions, momenta = np.split(once, 2, axis=-1)
    assert np.ptp(momenta, axis=1).max() > 1e-3
    np.testing.assert_allclose(momenta.sum(axis=2), 0, atol=1e-13)
    angular = np.cross(positions, momenta).sum(axis=2)
    np.testing.assert_allclose(angular, angular[:, :1] + 0 * angular, atol=1e-13)
    center = np.sum(masses[:, None, :, None] * positions, axis=2)
    np.testing.assert_allclose(center, center[:, :1] + 0 * center, atol=1e-13)


def test_heavy_atoms_are_slow(system):
    """Four times the masses, and twice the momenta: the same path in twice the time."""
    q, p, masses = state()
    roll_out = jax.jit(
        lambda p, times, m: system.roll_out(
            q, p, SPECIES, times, masses=m, solver="symplectic", num_substeps=2
        )
    )
    fast, slow = roll_out(p, TIMES, masses), roll_out(2 * p, 2 * TIMES, 4 * masses)
    np.testing.assert_allclose(slow[..., :3], fast[..., :3], atol=1e-11)
    np.testing.assert_allclose(slow[..., 3:], 2 * fast[..., 3:], atol=1e-11)


def test_masses_are_an_argument_or_the_first_feature():
    """Both are the same where they are the same, for forces and for accelerations."""
    rng = np.random.default_rng(1)
    q, p = rng.normal(size=(2, 3, 4, 2))
    features = rng.uniform(0.5, 2.0, size=(3, 4, 2))
    inner = LieTransformer(
        euclidean(T(2)), 4, 2, dim=8, num_layers=1, layer=small.attention(width=4, depth=2),
        output="per_point", param_dtype=jnp.float64, rngs=nnx.Rngs(0),
    )  # fmt: skip
    model = AccelerationNetwork(FieldModel(inner, "vector + 2x scalar", "vector"))
    field = jax.jit(lambda **options: model.vector_field(q, p, features, **options))
    first, apart, heavy = (
        field(**o) for o in ({}, *({"masses": k * features[..., 0]} for k in (1, 2)))
    )
    for one, other in zip(first, apart, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(heavy[0], 0.5 * first[0])
    assert np.abs(heavy[1] - first[1]).max() > 1e-3


def test_masses_that_do_not_exist_change_nothing(system):
    q, p, masses = state()
    mask = jnp.broadcast_to(jnp.arange(5) < 4, (2, 5))
    zeros, rubbish = (
        system.roll_out(q, p, SPECIES, TIMES[:3], mask, masses=np.where(mask, masses, filler))
        for filler in (0.0, np.nan)
    )
    np.testing.assert_array_equal(zeros, rubbish)
    assert np.isfinite(zeros).all()


def test_bad_masses(system, no_type_checks):
    q, p, masses = state()
    for wrong, message in (
        (masses[:1], r"masses must have shape \(2, 5\), got \(1, 5\)"),
        (np.zeros((2, 5)), r"masses must be above 0, got 0.0 at \(0, 0\)"),
        ([[1.0], [1.0, 2.0]], "masses must be an array, got rows of different lengths"),
    ):
        with pytest.raises(ValueError, match=message):
            system.roll_out(q, p, SPECIES, TIMES, masses=wrong)
    with pytest.raises(ValueError, match=r"begin with masses, which must be above 0, got 0.0 at"):
        system.vector_field(q, p, SPECIES)

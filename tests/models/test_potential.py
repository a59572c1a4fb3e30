"""Energies that are sums over atoms, and forces that are their exact derivatives."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.attention import NearestNeighbors, RadiusNeighbors
from eqattn.groups import SE, E
from eqattn.layers import MLPLocation, MultiplyLogits
from eqattn.layers.steerable import FieldLayer
from eqattn.lift import Frames, Haar
from eqattn.models import (
    FieldNetwork,
    LieTransformer,
    LieTransformerConfig,
    PotentialMLP,
    PotentialNetwork,
    PotentialNetworkConfig,
)
from eqattn.models.potential import has_kinks
from eqattn.spaces import euclidean
from eqattn.specification import parse
from tests.tolerances import NEGATIVE_CONTROL

CUTOFF = 4.0
WEIGHTS = {
    "num_heads": 2,
    "location": MLPLocation(dim=8, num_layers=2, num_radial=6, cutoff=CUTOFF),
    "combine": MultiplyLogits(),
    "normalize": "mean",
    "cutoff": CUTOFF,
}


def transformer(**options):
    given = {"dim": 8, "num_layers": 1, "output": "per_point"}
    return LieTransformer(
        euclidean(SE(3)), 3, 1, param_dtype=jnp.float64, rngs=nnx.Rngs(0), **given | options
    )


@functools.cache
def fields():
    return PotentialNetwork(
        FieldNetwork(
            euclidean(E(3)), "3x scalar", "scalar", hidden_field="8x scalar + 4x vector",
            num_layers=2, layer=FieldLayer(**WEIGHTS), param_dtype=jnp.float64, rngs=nnx.Rngs(0),
        )
    )  # fmt: skip


@functools.cache
def atoms(num_atoms=7, batch=2):
    """Positions with distances about 1, and elements."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(batch, num_atoms, 3)) * 1.2
    kinds = rng.integers(3, size=(batch, num_atoms))
    return jnp.asarray(points), jnp.asarray(np.eye(3)[kinds])


run = nnx.jit(lambda model, *args: model.energies_and_forces(*args))


def test_forces_are_the_derivative_of_the_energy():
    """Against central differences; what is left is their rounding."""
    points, features = atoms()
    _, forces = run(fields(), points, features)
    step, rng = 1e-5, np.random.default_rng(1)
    direction = jnp.asarray(rng.normal(size=points.shape))
    energies = [run(fields(), points + s * direction, features)[0] for s in (step, -step)]
    slope = -(energies[0] - energies[1]) / (2 * step)
    np.testing.assert_allclose(slope, np.sum(forces * direction, axis=(1, 2)), atol=1e-8)
    assert np.abs(forces).max() > 1e-2


def test_energies_are_invariant_and_forces_turn():
    points, features = atoms()
    turn = SE(3).sample(jax.random.key(0), (), jnp.float64)
    energies, forces = run(fields(), points, features)
    moved_energies, moved_forces = run(fields(), SE(3).act(turn, points), features)
    np.testing.assert_allclose(moved_energies, energies, atol=1e-12)
    matrix = SE(3).linear_matrix(turn)
    np.testing.assert_allclose(moved_forces, forces @ matrix.T, atol=1e-11)
    assert np.abs(moved_forces - forces).max() > NEGATIVE_CONTROL
    np.testing.assert_allclose(np.sum(forces, axis=1), 0, atol=1e-12)
    torques = np.sum(np.cross(points, forces), axis=1)
    np.testing.assert_allclose(torques, 0, atol=1e-11)
    other = np.roll(np.arange(points.shape[1]), 3)
    same, permuted = run(fields(), points[:, other], features[:, other])
    np.testing.assert_allclose(same, energies, atol=1e-12)
    np.testing.assert_allclose(permuted, forces[:, other], atol=1e-11)


def test_energies_of_sets_far_apart_add_up():
    """Negative control: beside each other they do not."""
    points, features = atoms()
    apart = jnp.concatenate([points[0], points[1] + jnp.array([50.0, 0, 0])])
    near = jnp.concatenate([points[0], points[1] + jnp.array([2.0, 0, 0])])
    both = jnp.concatenate(list(features))
    energies, forces = run(fields(), points, features)
    found, found_forces = run(fields(), jnp.stack([apart, near]), jnp.stack([both, both]))
    assert found[0] == pytest.approx(float(energies.sum()), abs=1e-12)
    assert abs(found[1] - energies.sum()) > 1e-3
    np.testing.assert_allclose(found_forces[0], np.concatenate(list(forces)), atol=1e-11)


def test_energy_force_and_curvature_are_continuous_at_the_cutoff():
    """Two atoms move apart: all three vanish where they no longer see each other."""
    features = jnp.asarray(np.eye(3)[:2])
    lonely = run(fields(), jnp.zeros((1, 1, 3)), features[None, :1])[0]
    other = run(fields(), jnp.zeros((1, 1, 3)), features[None, 1:])[0]

    @jax.jit
    @jax.vmap
    def energy(distance):
        points = jnp.zeros((2, 3)).at[1, 0].set(distance)
        total = lambda r: fields()(points.at[1, 0].set(r)[None], features[None])[0, 0]
        return total(distance), jax.grad(total)(distance), jax.grad(jax.grad(total))(distance)

    steps = np.array([-0.5, -1e-3, -1e-5, 1e-5])
    values, slopes, curvatures = energy(CUTOFF + jnp.asarray(steps))
    alone = float(lonely[0] + other[0])
    bound = np.abs(values[0] - alone), np.abs(slopes[0]), np.abs(curvatures[0])
    for found, least in zip((values - alone, slopes, curvatures), bound, strict=True):
        assert least > 1e-6
        assert abs(found[3]) < 1e-12
        assert abs(found[2]) < 1e-3 * least + 1e-9


def test_masked_atoms_have_neither_energy_nor_force():
    points, features = atoms()
    energies, forces = run(fields(), points, features)
    wide = jnp.concatenate([points, jnp.full((2, 2, 3), jnp.nan)], axis=1)
    kinds = jnp.concatenate([features, jnp.zeros((2, 2, 3))], axis=1)
    mask = jnp.broadcast_to(jnp.arange(9) < 7, (2, 9))
    found, found_forces = run(fields(), wide, kinds, mask)
    np.testing.assert_allclose(found, energies, atol=1e-12)
    np.testing.assert_allclose(found_forces[:, :7], forces, atol=1e-11)
    np.testing.assert_array_equal(found_forces[:, 7:], 0)


def test_a_transformer_gives_energies_too():
    model = PotentialNetwork(transformer())
    points, features = atoms()
    energies, forces = run(model, points, features)
    of_atoms = jax.jit(model.atom_energies)(points, features)
    np.testing.assert_allclose(of_atoms.sum(-1), energies, atol=1e-12)
    assert np.abs(forces).max() > 1e-3
    assert parse(model.config.full_text(), PotentialNetworkConfig) == model.config
    built = model.config.build(3, 1, rngs=nnx.Rngs(1))
    assert built.config == model.config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lift": Haar(1)}, r"lift must draw nothing where forces are asked for, got Haar"),
        ({"lift": Frames()}, r"got Frames\(\): energies would change from draw to draw, and"),
        ({"neighborhood": NearestNeighbors(4)}, "neighborhood must be continuous .* NearestN"),
        (
            {"neighborhood": RadiusNeighbors(2.0, 4, smooth=False)},
            "neighborhood must be continuous",
        ),
        ({"activation": "relu"}, "activation must be smooth .* got 'relu': forces would jump"),
        ({"output": "invariant"}, "one output at each point, got 1 of the output 'invariant'"),
    ],
)
def test_what_makes_forces_jump_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PotentialNetwork(transformer(**options))


def test_options_are_refused_before_anything_is_built():
    atoms_of = dataclasses.replace(LieTransformerConfig(output="per_point"), lift=Haar(1))
    with pytest.raises(ValueError, match="lift must draw nothing"):
        PotentialNetworkConfig(atoms=atoms_of).check()
    smooth = LieTransformerConfig(output="per_point", neighborhood=RadiusNeighbors(2.0, 4))
    PotentialNetworkConfig(atoms=smooth).check()


@pytest.mark.usefixtures("no_type_checks")
def test_other_models_are_refused():
    mlp = PotentialMLP(6, 3, 2, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="atom_model must be a model such as a LieTransformer"):
        PotentialNetwork(mlp)
    two = LieTransformer(
        euclidean(SE(3)), 3, 2, dim=8, num_layers=1, output="per_point", rngs=nnx.Rngs(0)
    )
    with pytest.raises(ValueError, match="got 2 of the output 'per_point'"):
        PotentialNetwork(two)


@pytest.mark.parametrize("name", ["swish", "gelu", "tanh", "softplus", "elu", "mish"])
def test_smooth_activations(name):
    assert not has_kinks(name)


def test_kinks_are_seen_within_programs():
    """Models are built within ``jax.eval_shape`` where they are loaded."""
    has_kinks.cache_clear()
    jax.eval_shape(lambda: has_kinks("tanh") or jnp.zeros(()))
    assert not has_kinks("tanh")


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "selu", jnp.abs])
def test_activations_with_kinks(name):
    assert has_kinks(name)

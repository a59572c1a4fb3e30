"""The baseline of the task "forces": its formulas atom by atom, and its symmetry."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.config import RunConfig
from eqattn.models import FieldNetworkConfig, PotentialNetwork, PotentialNetworkConfig
from eqattn.tasks import get_preset, get_task
from eqattn.tasks.forces.painn import PaiNNConfig
from eqattn.tasks.forces.presets import BASELINE_OPTIMIZER, ForcesOptions
from tests.tolerances import NEGATIVE_CONTROL

SMALL = PaiNNConfig(dim=8, num_layers=2, num_radial=4, cutoff=2.0, dtype="float64")
RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(5, 3))
FEATURES = np.eye(3)[RNG.integers(0, 3, 5)]


@functools.cache
def small_model():
    return SMALL.build(3, 1, rngs=nnx.Rngs(0))


def silu(x):
    return x / (1 + np.exp(-x))


def apply(linear, x):
    bias = 0 if linear.bias is None else np.asarray(linear.bias[...])
    return x @ np.asarray(linear.kernel[...]) + bias


def by_hand(model, points, features):
    """The published formulas, pair after pair (arXiv 2102.03150, equations 7 to 10)."""
    scalars = apply(model.embedding, features)
    vectors = np.zeros((len(points), 3, SMALL.dim))
    for message, update in zip(model.messages, model.updates, strict=True):
        sent = apply(message.out, silu(apply(message.hidden, scalars)))
        changes, moves = np.zeros_like(scalars), np.zeros_like(vectors)
        for i, j in np.argwhere(~np.eye(len(points), dtype=bool)):
            away = points[i] - points[j]
            r = np.linalg.norm(away)
            if r >= SMALL.cutoff:
                continue
            waves = np.sin(np.arange(1, 5) * np.pi * r / SMALL.cutoff) / r
            decay = 0.5 * (np.cos(np.pi * r / SMALL.cutoff) + 1)
            s, gate, pull = np.split(sent[j] * apply(message.filter, waves) * decay, 3)
            changes[i] += s
            moves[i] += gate * vectors[j] + np.outer(away / r, pull)
        scalars, vectors = scalars + changes, vectors + moves
        mixed = vectors @ np.asarray(update.mix.kernel[...])
        u, v = mixed[..., : SMALL.dim], mixed[..., SMALL.dim :]
        known = np.concatenate([scalars, np.linalg.norm(v, axis=1)], axis=-1)
        made = apply(update.out, silu(apply(update.hidden, known)))
        change, product, gate = np.split(made, 3, axis=-1)
        scalars = scalars + change + product * np.sum(u * v, axis=1)
        vectors = vectors + gate[:, None, :] * u
    return apply(model.head, silu(apply(model.hidden, scalars)))


def test_it_computes_what_is_published():
    model = small_model()
    expected = by_hand(model, POINTS, FEATURES)
    found = jax.jit(model)(jnp.asarray(POINTS), jnp.asarray(FEATURES))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    far = np.linalg.norm(POINTS[:, None] - POINTS[None], axis=-1) > SMALL.cutoff
    assert far.any()  # so that the cutoff is seen


def test_forces_turn_with_the_atoms():
    model = PotentialNetwork(small_model())
    turn = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    run = jax.jit(model.energies_and_forces)
    energy, forces = run(jnp.asarray(POINTS), jnp.asarray(FEATURES))
    moved = run(jnp.asarray(POINTS @ turn.T + 3.0), jnp.asarray(FEATURES))
    np.testing.assert_allclose(moved[0], energy, rtol=1e-11)
    np.testing.assert_allclose(moved[1], forces @ turn.T, atol=1e-11)
    assert np.abs(moved[1] - forces).max() > NEGATIVE_CONTROL


def test_padding_and_atoms_at_one_place():
    """Padding changes nothing, and derivatives are finite where two atoms coincide."""
    model = small_model()
    padded = np.concatenate([POINTS, np.full((2, 3), np.nan)])
    features = np.concatenate([FEATURES, np.full((2, 3), np.nan)])
    mask = jnp.arange(7) < 5
    out = jax.jit(model)(jnp.asarray(padded), jnp.asarray(features), mask)
    expected = jax.jit(model)(jnp.asarray(POINTS), jnp.asarray(FEATURES))
    np.testing.assert_allclose(out[:5], expected, rtol=1e-12)
    np.testing.assert_array_equal(out[5:], 0)
    same = jnp.asarray(POINTS).at[1].set(POINTS[0])
    potential = PotentialNetwork(model)
    energy = lambda points: potential(points, jnp.asarray(FEATURES))[0]
    assert np.isfinite(jax.jit(jax.grad(energy))(same)).all()
    assert np.isfinite(jax.jit(jax.hessian(energy))(same)).all()


def test_the_baseline_of_a_run():
    task, demo = get_task("forces"), get_preset("forces", "demo")
    baseline = task.baseline(demo)
    assert baseline.model == PotentialNetworkConfig(atoms=PaiNNConfig())
    assert baseline.optimizer == BASELINE_OPTIMIZER
    assert task.baseline(baseline) is None
    none = dataclasses.replace(demo, options=ForcesOptions(baseline="none"))
    assert task.baseline(none) is None
    half = RunConfig(
        task="forces",
        model=PotentialNetworkConfig(atoms=FieldNetworkConfig(dtype="bfloat16")),
    )
    assert task.baseline(half).model.network.dtype == "bfloat16"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PaiNNConfig(cutoff=0.0), "cutoff must be finite and above 0, got 0"),
        (lambda: PaiNNConfig(dim=0), "dim must be at least 1, got 0"),
        (lambda: SMALL.build(3, 2, rngs=nnx.Rngs(0)), "out_features of a PaiNN must be 1, got 2"),
    ],
)
def test_options_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()

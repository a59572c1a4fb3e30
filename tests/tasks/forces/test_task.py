"""Runs of the task "forces", from a file to scores."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from eqattn.config import RunConfig
from eqattn.data.atoms import write_npz
from eqattn.layers import Attention, MLPLocation, MultiplyLogits
from eqattn.lift import Haar
from eqattn.models import LieTransformerConfig, PotentialNetworkConfig
from eqattn.tasks import get_preset, get_task
from eqattn.tasks.forces.presets import ForcesOptions
from eqattn.train import evaluate, train
from eqattn.train import load as load_run
from tests.tasks.forces.springs import springs

ATOMS = LieTransformerConfig(
    dim=16,
    num_layers=1,
    layer=Attention(
        num_heads=2,
        location=MLPLocation(dim=16, num_layers=2, num_radial=8, cutoff=5.0),
        combine=MultiplyLogits(),
        normalize="mean",
    ),
    output="per_point",
)
TASK = get_task("forces")


def config_of(path, **changes):
    demo = get_preset("forces", "demo")
    given = {"steps": 150, "eval_every": 75, "batch_size": 8, "data": str(path)}
    given |= {"options": ForcesOptions(baseline="none", buckets=(5,))} | changes
    return dataclasses.replace(demo, model=PotentialNetworkConfig(atoms=ATOMS), **given)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "springs.npz"
    write_npz(path, springs(200))
    return path


@pytest.fixture(scope="module")
def problem(path):
    return TASK.prepare(config_of(path))


@pytest.fixture(scope="module")
def model(problem):
    from flax import nnx

    return problem.config.model.build(problem.in_features, 1, rngs=nnx.Rngs(0))


def test_a_run_learns_and_is_loaded(path, tmp_path):
    result = train(config_of(path), tmp_path / "run")
    forces, energy = result.scores
    assert (forces.target, forces.unit, energy.target, energy.unit) == (
        "forces", "eV/Å", "energy", "eV",
    )  # fmt: skip
    assert forces.value < 0.5 * forces.baseline
    assert energy.value < energy.baseline
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    assert list(saved["references"]) == ["H", "C", "S"]
    again = evaluate(tmp_path / "run")
    assert [s.value for s in again.scores] == pytest.approx([s.value for s in result.scores])
    model, _ = load_run(tmp_path / "run")
    assert isinstance(model.config, PotentialNetworkConfig)


def loss_of(problem, model, batch):
    batch = {**batch, "weight": np.ones(len(batch["id"]), np.float32)}
    augmented = problem.augment(batch, jax.random.key(0))
    loss = jax.jit(lambda batch: problem.loss(model, batch, jax.random.key(0)))
    total, weight = loss(augmented)
    return float(total / weight)


def test_the_loss_is_of_known_labels(problem, model):
    """An unknown label changes neither loss nor gradient, whatever stands in its place."""
    batch = problem.batch_of_each_shape()[0]
    run = jax.jit(lambda batch: problem._predicted(model, batch, has_stress=False)[:2])
    energies, forces = run(batch)
    forces_error = np.linalg.norm(np.asarray(forces) - batch["forces"], axis=-1)[batch["mask"]]
    energy_error = np.abs(np.asarray(energies) - batch["energy"])
    expected = forces_error.mean() + 0.05 * energy_error.mean()
    assert loss_of(problem, model, batch) == pytest.approx(expected, rel=1e-4)
    known, of_atoms = np.arange(len(energies)) != 0, batch["forces_known"].copy()
    of_atoms[0, 1] = False
    unknown = {**batch, "energy_known": known, "forces_known": of_atoms}
    unknown["energy"] = np.where(known, batch["energy"], 1e3).astype(np.float32)
    kept = np.linalg.norm(np.asarray(forces) - batch["forces"], axis=-1)[of_atoms]
    expected = kept.mean() + 0.05 * energy_error[1:].mean()
    assert loss_of(problem, model, unknown) == pytest.approx(expected, rel=1e-4)


def test_unknown_labels_are_counted(tmp_path):
    whole = springs(40)
    whole.properties["energy"][:3] = np.nan
    whole.atom_properties["forces"][0] = np.nan
    write_npz(tmp_path / "own.npz", whole)
    problem = TASK.prepare(config_of(tmp_path / "own.npz"))
    counts = problem.unknown_labels.values()
    assert sum(row.get("energy", 0) for row in counts) == 3
    assert sum(row.get("forces", 0) for row in counts) == 1


def test_baselines_are_constants(problem, model):
    """No force, and the median of what references leave."""
    config = problem.config
    batches = list(problem.evaluation_batches("test"))
    run = jax.jit(lambda batch: problem.predict(model, batch, 1))
    rows = [jax.tree.map(np.asarray, run(batch)) for batch in batches]
    keep = np.concatenate([batch["weight"] > 0 for batch in batches])
    predictions = {k: np.concatenate([row[k] for row in rows])[keep] for k in rows[0]}
    forces, energy = problem.score("test", predictions)
    whole = springs(200)
    places = problem._parts["test"]
    assert forces.baseline == pytest.approx(np.abs(places.forces).mean(), rel=1e-5)
    left = problem._left
    expected = np.abs(left["test"] - np.median(left["train"])).mean()
    assert energy.baseline == pytest.approx(expected, rel=1e-4)
    assert len(whole) == sum(problem.num_examples.values())
    assert config.targets == ("forces", "energy")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": ("energy",)}, "targets must be .'forces', 'energy'. for forces"),
        ({"options": ForcesOptions(energy_key="E")}, "energy_key: no configuration has 'E'"),
        ({"data": "absent.npz"}, "absent.npz"),
    ],
)
def test_wrong_options_are_refused(path, changes, message):
    config = dataclasses.replace(config_of(path), **changes)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        TASK.prepare(config)


def test_other_models_are_refused(path):
    plain = dataclasses.replace(config_of(path), model=ATOMS)
    with pytest.raises(ValueError, match="model must be of PotentialNetworkConfig for forces"):
        TASK.prepare(plain)
    drawn = PotentialNetworkConfig(atoms=dataclasses.replace(ATOMS, lift=Haar(1)))
    with pytest.raises(ValueError, match="lift must draw nothing where forces are asked for"):
        drawn.check()
    assert isinstance(plain, RunConfig)


def test_negative_weights_are_refused():
    with pytest.raises(ValueError, match="energy_weight must be finite and not negative, got -1"):
        ForcesOptions(energy_weight=-1.0)

"""Stresses as labels of the task "forces": how files write them, the loss, scores, predictions."""

import dataclasses
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.data.atoms import read_configurations, write_npz
from eqattn.models import PotentialNetworkConfig
from eqattn.tasks import get_preset, get_task
from eqattn.tasks.forces.data import UNITS, select_labels
from eqattn.tasks.forces.presets import ForcesOptions
from eqattn.tasks.forces.stresses import full_matrices, select_stresses, stress_errors
from eqattn.train import evaluate, predict, train
from tests.tasks.forces.runs import ATOMS
from tests.tasks.forces.test_cells import crystals
from tests.tolerances import NEGATIVE_CONTROL

KEYS = {"stress_key": "stress", "virial_key": "", "factor": 1.0}
STRESSES = 0.01 * np.random.default_rng(5).normal(size=(60, 6))


def labeled(num=60, **properties):
    """Crystals with stresses, that of number 1 unknown, and molecules between them."""
    stresses = STRESSES[:num].copy()
    stresses[1] = np.nan
    whole = crystals(num)
    known = {**whole.properties, "stress": stresses} | properties
    return dataclasses.replace(whole, properties=known)


def config_of(path, **options):
    given = {"baseline": "none", "buckets": (4,)} | options
    return dataclasses.replace(
        get_preset("forces", "demo"),
        data=str(path), steps=3, eval_every=3, batch_size=8,
        model=PotentialNetworkConfig(atoms=ATOMS), options=ForcesOptions(**given),
    )  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("stresses") / "own.npz"
    write_npz(path, labeled())
    return path


@pytest.fixture(scope="module")
def problem(path):
    return get_task("forces").prepare(config_of(path))


@pytest.fixture(scope="module")
def model(problem):
    return problem.config.model.build(problem.in_features, 1, rngs=nnx.Rngs(0))


def test_all_ways_to_write_a_stress_are_one():
    """Six numbers, nine, a matrix, and virials, in the unit of the energies by Å³."""
    whole = labeled()
    expected = np.where(whole.periodic.all(axis=1)[:, None], whole.properties["stress"], np.nan)
    volumes = np.abs(np.linalg.det(whole.cells))
    nine = full_matrices(whole.properties["stress"])
    ways = {
        "six": whole.properties["stress"],
        "nine": nine,
        "matrix": nine.reshape(-1, 3, 3),
        "virial": -volumes[:, None] * nine,
    }
    whole = dataclasses.replace(whole, properties=ways)
    for name in ("six", "nine", "matrix"):
        np.testing.assert_array_equal(
            select_stresses(whole, **KEYS | {"stress_key": name}), expected
        )
    found = select_stresses(whole, **KEYS | {"virial_key": "virial"})
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    unit = UNITS["kcal/mol"]
    found = select_stresses(whole, stress_key="six", virial_key="", factor=unit)
    np.testing.assert_allclose(found, unit * expected)
    slab = dataclasses.replace(whole, periodic=whole.periodic & [True, True, False])
    assert np.isnan(select_stresses(slab, **KEYS | {"stress_key": "six"})).all()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"stress_key": "sigma"},
            "stress_key: no configuration has 'sigma'; known are stress",
        ),
        ({"virial_key": "virial"}, "virial_key: no configuration has 'virial'; known are"),
        (
            {"stress_key": "one"},
            r"'one' must be six or nine numbers of each configuration, g",
        ),
        ({"stress_key": "odd"}, r"'odd' must be symmetric matrices, got .* at place 3"),
    ],
)
def test_what_is_no_stress_is_refused(keys, message):
    odd = np.zeros((12, 9))
    odd[3, 1] = 1.0
    whole = dataclasses.replace(
        labeled(12), properties={"stress": STRESSES[:12], "one": np.zeros(12), "odd": odd}
    )
    with pytest.raises(ValueError, match=message):
        select_stresses(whole, **KEYS | keys)


def test_another_unit_is_doubted(caplog):
    """Gigapascals would be read as 160 times as much."""
    whole = labeled()
    with caplog.at_level(logging.WARNING, "eqattn"):
        select_stresses(whole, **KEYS)
        assert not caplog.messages
        select_stresses(whole, **KEYS | {"factor": 160.0})
    assert "are they in another unit? See the options unit and stress_key" in caplog.text


def test_a_file_need_not_have_stresses():
    labels = select_labels(crystals(), energy_key="energy", forces_key="forces", unit="eV")
    assert np.isnan(labels.stresses).all()


def test_errors_are_of_matrices(problem):
    """They stay as they are where everything turns; those of six numbers would not."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]

    def turned(stresses):
        return voigt(turn @ full_matrices(stresses).reshape(-1, 3, 3) @ turn.T)

    def voigt(x):
        return np.stack([x[:, 0, 0], x[:, 1, 1], x[:, 2, 2], x[:, 1, 2], x[:, 0, 2], x[:, 0, 1]], 1)

    ours, true = rng.normal(size=(2, 5, 6))
    batch = {"stress": true, "stress_known": np.arange(5) > 0, "atom_volume": np.full(5, 2.0)}
    found = stress_errors(jnp.asarray(ours), batch)
    missed = np.linalg.norm(full_matrices(ours - true), axis=1)
    np.testing.assert_allclose(found, [0, *2 * missed[1:]], rtol=1e-5)
    again = stress_errors(jnp.asarray(turned(ours)), {**batch, "stress": turned(true)})
    np.testing.assert_allclose(again, found, rtol=1e-5)
    plain = [np.linalg.norm(x - y, axis=1) for x, y in ((ours, true), (turned(ours), turned(true)))]
    assert np.abs(plain[0] - plain[1]).max() > NEGATIVE_CONTROL


def test_the_loss_has_finite_derivatives_beside_molecules(problem, model):
    """Those of molecules, and of cells whose stress is not known, add none; weight 0 leaves out."""
    graphdef, params = nnx.split(model, nnx.Param)
    batch = problem.batch_of_each_shape()[0]
    assert 0 < batch["stress_known"].sum() < len(batch["stress_known"])
    assert (batch["atom_volume"] == 0).any()

    def loss_and_slopes(problem, batch):
        def loss(params, batch):
            key = jax.random.key(0)
            augmented = problem.augment({**batch, "weight": np.ones(8, np.float32)}, key)
            total, weight = problem.loss(nnx.merge(graphdef, params), augmented, key)
            return total / weight

        return jax.jit(jax.value_and_grad(loss))(params, batch)

    loss, slopes = loss_and_slopes(problem, batch)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(slopes))
    options = dataclasses.replace(problem.options, stress_weight=0.0)
    without = dataclasses.replace(problem.config, options=options)
    plain, _ = loss_and_slopes(get_task("forces").prepare(without), batch)
    predicted = jax.jit(lambda batch: problem.predict(model, batch, 1))(batch)
    known = batch["stress_known"]
    assert np.isnan(predicted["stress"][batch["atom_volume"] == 0]).all()
    missed = full_matrices(np.asarray(predicted["stress"] - batch["stress"]))[known]
    error = np.mean(batch["atom_volume"][known] * np.linalg.norm(missed, axis=1))
    assert loss - plain == pytest.approx(0.1 * error, rel=1e-3)
    assert error > NEGATIVE_CONTROL


def test_a_run_without_cells_has_no_stresses(tmp_path):
    """Whatever its file says: nothing of them is in batches, and nothing is computed."""
    whole = labeled()
    whole = dataclasses.replace(whole, periodic=np.zeros_like(whole.periodic))
    write_npz(tmp_path / "own.npz", whole)
    problem = get_task("forces").prepare(config_of(tmp_path / "own.npz"))
    assert not any("stress" in name for name in problem.batch_of_each_shape()[0])
    assert all("stress" not in counts for counts in problem.unknown_labels.values())


def test_a_run_scores_and_writes_stresses(path, tmp_path):
    """In GPa; predictions are in eV/Å³, beside those of the file, and ASE reads them."""
    result = train(config_of(path), tmp_path / "run")
    score = next(score for score in result.scores if score.target == "stress")
    assert (score.metric, score.unit) == ("mae", "GPa")
    assert sum(counts.get("stress", 0) for counts in result.unknown_labels.values()) == 1
    again = next(s for s in evaluate(tmp_path / "run").scores if s.target == "stress")
    assert (again.value, again.baseline) == pytest.approx((score.value, score.baseline))
    table = predict(tmp_path / "run", path)
    whole = labeled()
    repeats = whole.periodic.all(axis=1)
    assert table.configurations is not None
    found = table.configurations.properties
    assert {*found} == {"energy", "energy_true", "stress", "stress_true"}
    assert found["stress"].shape == (60, 9)
    np.testing.assert_array_equal(np.isfinite(found["stress"]).all(axis=1), repeats)
    np.testing.assert_array_equal(found["stress_true"], whole.properties["stress"])
    first, atom = np.flatnonzero(repeats)[1], whole.offsets[np.flatnonzero(repeats)[1]]
    assert table.columns["stress_xz_eV/Å³"][atom] == found["stress"][first, 2]
    assert table.columns["stress_xz_eV/Å³_true"][atom] == whole.properties["stress"][first, 4]


def test_ase_and_the_library_write_the_same(tmp_path):
    """A stress that ASE writes is read in its order, and one that a run writes ASE reads."""
    io = pytest.importorskip("ase.io")
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    from eqattn.data.atoms import write_configurations

    atoms = Atoms("Cu", cell=[[3, 0, 0], [1, 3, 0], [0, 1, 3]], pbc=True)
    atoms.calc = SinglePointCalculator(
        atoms, energy=1.0, forces=np.zeros((1, 3)), stress=STRESSES[0]
    )
    io.write(tmp_path / "one.extxyz", atoms)
    whole = read_configurations(tmp_path / "one.extxyz")
    np.testing.assert_allclose(select_stresses(whole, **KEYS), STRESSES[:1], atol=1e-9)
    written = dataclasses.replace(whole, properties={"stress": full_matrices(STRESSES[:1])})
    write_configurations(tmp_path / "two.extxyz", written)
    np.testing.assert_allclose(io.read(tmp_path / "two.extxyz").get_stress(), STRESSES[0])


def test_negative_weights_are_refused():
    with pytest.raises(ValueError, match="stress_weight must be finite and not negative, got -1"):
        ForcesOptions(stress_weight=-1.0)

"""The task "forces" where cells repeat: lists of neighbors in batches, training and prediction."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.data.atoms import read_configurations, write_configurations, write_npz
from eqattn.models import PotentialNetwork, PotentialNetworkConfig
from eqattn.neighbors import NeighborList, find_edges
from eqattn.tasks import get_preset, get_task
from eqattn.tasks.forces.inputs import NewConfigurations
from eqattn.tasks.forces.painn import PaiNNConfig
from eqattn.tasks.forces.presets import ForcesOptions
from eqattn.train import load, predict, train
from eqattn.train.config_json import from_json, to_json
from eqattn.train.evaluation import make_predictor, predict_batches
from eqattn.train.run_folder import read_run_config
from tests.tasks.forces.runs import ATOMS, write_run
from tests.tasks.forces.springs import springs
from tests.tolerances import NEGATIVE_CONTROL

SIDE = 4.0


def crystals(num=12, seed=0):
    """Atoms in triclinic cells smaller than twice the cutoff, and some in none."""
    whole = springs(num, seed, sizes=(4,))
    rng = np.random.default_rng(seed)
    cells = SIDE * np.eye(3) + 0.4 * rng.normal(size=(num, 3, 3))
    periodic = np.ones((num, 3), bool)
    periodic[::4] = False
    return dataclasses.replace(whole, cells=cells, periodic=periodic)


def repeated(whole, times=2):
    """The same crystals in cells of twice the length along the first vector."""
    positions, numbers, forces = [], [], []
    for i in range(len(whole)):
        begin, end = whole.offsets[i : i + 2]
        for k in range(times):
            positions.append(whole.positions[begin:end] + k * whole.cells[i, 0])
            numbers.append(whole.numbers[begin:end])
            forces.append(whole.atom_properties["forces"][begin:end])
    cells = whole.cells.copy()
    cells[:, 0] *= times
    return dataclasses.replace(
        whole,
        num_atoms=times * whole.num_atoms,
        positions=np.concatenate(positions),
        numbers=np.concatenate(numbers),
        cells=cells,
        atom_properties={"forces": np.concatenate(forces)},
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("cells") / "run"
    write_run(path)
    return path


def energies_of(run, whole):
    """What the run predicts, beyond the references."""
    model, config = load(run)
    new = NewConfigurations(whole, config)
    graphdef, params = nnx.split(model, nnx.Param)
    found = predict_batches(make_predictor(graphdef, new, 1), params, new.batches())
    return found["energy"][np.argsort(found["place"])]


def test_a_crystal_has_the_energy_of_its_cells(run):
    """Also where a cell is smaller than what an atom sees; without a cell it is another energy."""
    whole = crystals()
    whole = whole[np.flatnonzero(whole.periodic.any(axis=1))]
    once, twice = energies_of(run, whole), energies_of(run, repeated(whole))
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-4, atol=1e-4 * np.abs(once).max())
    alone = dataclasses.replace(whole, periodic=np.zeros_like(whole.periodic))
    assert np.abs(energies_of(run, alone) - once).max() > NEGATIVE_CONTROL


def test_a_slab_does_not_repeat_upwards(run):
    """It is alike under vacuum that repeats, and unlike a crystal of the same cell."""
    whole = springs(1, sizes=(4,))[np.zeros(3, int)]
    cells = np.tile(SIDE * np.eye(3), (3, 1, 1))
    cells[1, 2, 2] = 40.0
    periodic = np.array([[True, True, False], [True] * 3, [True] * 3])
    ids = np.arange(3)
    slab, tall, crystal = energies_of(
        run, dataclasses.replace(whole, ids=ids, cells=cells, periodic=periodic)
    )
    assert slab == pytest.approx(tall, rel=1e-5)
    assert abs(slab - crystal) > 1e-3 * abs(slab)  # a hundred times that


def test_configurations_without_a_cell_are_what_they_were(run):
    """A list of all pairs within the cutoff beside crystals, or all pairs without a list."""
    whole = crystals()
    free = np.flatnonzero(~whole.periodic.any(axis=1))
    np.testing.assert_allclose(
        energies_of(run, whole)[free], energies_of(run, whole[free]), rtol=1e-4, atol=1e-5
    )


def test_a_run_on_crystals(tmp_path):
    """From a file to predictions that are written with the cells."""
    write_npz(tmp_path / "own.npz", crystals(60))
    config = dataclasses.replace(
        get_preset("forces", "demo"),
        data=str(tmp_path / "own.npz"), steps=3, eval_every=3, batch_size=8,
        model=PotentialNetworkConfig(atoms=ATOMS), options=ForcesOptions(baseline="none"),
    )  # fmt: skip
    result = train(config, tmp_path / "run")
    assert np.isfinite([score.value for score in result.scores]).all()
    saved = read_run_config(tmp_path / "run")
    assert saved.training_ranges == ()
    assert from_json(type(saved), to_json(saved), "config") == saved
    table = predict(tmp_path / "run", tmp_path / "own.npz")
    assert len(table) == crystals(60).num_atoms.sum()
    model, saved = load(tmp_path / "run")
    whole = crystals(60)
    new = NewConfigurations(whole, saved)
    graphdef, params = nnx.split(model, nnx.Param)
    found = predict_batches(make_predictor(graphdef, new, 1), params, new.batches())
    write_configurations(tmp_path / "found.extxyz", new.configurations(found))
    again = read_configurations(tmp_path / "found.extxyz")
    np.testing.assert_array_equal(again.periodic, whole.periodic)
    np.testing.assert_allclose(again.cells, whole.cells, atol=1e-7)
    energies = table.columns["energy_eV"][whole.offsets[:-1]]
    np.testing.assert_allclose(again.properties["energy"], energies, rtol=1e-6)


@pytest.mark.parametrize("listed", [False, True])
def test_the_baseline_in_a_cell(listed):
    """The list of a crystal gives the energies of twice the cell, and forces that turn with it."""
    config = PaiNNConfig(dim=8, num_layers=2, num_radial=4, cutoff=3.0, dtype="float64")
    model = PotentialNetwork(config.build(2, 1, rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(0)
    points, features = rng.normal(size=(5, 3)), np.eye(2)[[0, 1, 1, 0, 1]]

    def found(points, features, cell):
        edges = find_edges(points, 3.0, cell=cell, periodic=cell is not None)
        shifts = None if cell is None else edges.shifts
        neighbors = NeighborList.from_edges(
            edges.senders, edges.receivers, len(points), shifts=shifts, cell=cell, reach=3.0
        )
        energies = jax.jit(model.energies_and_forces)
        return energies(jnp.asarray(points), jnp.asarray(features), neighbors=neighbors)

    dense = jax.jit(model.energies_and_forces)(jnp.asarray(points), jnp.asarray(features))
    if not listed:
        for one, other in zip(found(points, features, None), dense, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)
        return
    cell = 2.5 * np.eye(3) + 0.3 * rng.normal(size=(3, 3))
    energy, forces = found(points, features, cell)
    double = cell * np.array([[2], [1], [1]])
    both = np.concatenate([points, points + cell[0]])
    twice, _ = found(both, np.tile(features, (2, 1)), double)
    np.testing.assert_allclose(twice, 2 * energy, rtol=1e-11)
    assert abs(energy - dense[0]) > NEGATIVE_CONTROL
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    _, turned = found(points @ turn.T, features, cell @ turn.T)
    np.testing.assert_allclose(turned, forces @ turn.T, atol=1e-10)


def test_a_model_that_sees_everything_is_refused(tmp_path):
    """In a crystal there are infinitely many atoms at any distance."""
    write_npz(tmp_path / "own.npz", crystals())
    layer = dataclasses.replace(ATOMS.layer, cutoff=None)
    config = dataclasses.replace(
        get_preset("forces", "demo"),
        data=str(tmp_path / "own.npz"),
        model=PotentialNetworkConfig(atoms=dataclasses.replace(ATOMS, layer=layer)),
    )
    with pytest.raises(ValueError, match=r"own.npz: the cell of configuration \d repeats, so that"):
        get_task("forces").prepare(config)

"""A run in one file, which jax alone loads and runs."""

import os
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest
from flax import nnx
from jax import export

import eqattn
from eqattn.config import SavedConfig, Standardization
from eqattn.data.atoms import write_npz
from eqattn.data.atoms.configurations import Frame, from_frames
from eqattn.interop import exported
from eqattn.interop.exported import export_run
from eqattn.lift import Haar
from eqattn.models import AtomSumConfig
from eqattn.neighbors import NeighborList, find_edges
from eqattn.simulation import load_potential
from eqattn.simulation.potential import evaluate, evaluate_in_cell
from eqattn.train import predict
from eqattn.train.building import build_model
from tests.tasks.forces.runs import ATOMS, write_run
from tests.tasks.forces.springs import REFERENCES

pytestmark = pytest.mark.usefixtures("no_type_checks")  # which know no symbolic sizes

SCRIPT = """
import sys
for name in ("eqattn", "flax"):
    sys.modules[name] = None  # an import of it fails
import jax, numpy as np
for name in sys.argv[1:]:
    run = jax.export.deserialize(open(f"{name}.jax", "rb").read())
    data = np.load(f"{name}-in.npz")
    found = jax.jit(run.call)(*(data[key] for key in data.files))
    np.savez(f"{name}-out.npz", **found)
"""
CELL = np.array([[4.0, 0.3, 0.0], [0.0, 4.2, 0.5], [0.2, 0.0, 3.9]])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("forces") / "run")


def write_molecules(path, form="sum", of_atoms=False, elements=("H", "C", "S"), **changes):
    """Writes a run of the task "molecules" with random parameters; returns its path."""
    model = AtomSumConfig(atoms=ATOMS, form=form)
    constants = (
        Standardization("own", "kJ/mol", 0.0, 3.0, references=REFERENCES),
        Standardization("other", "1", -1.0, 0.5),
    )
    config = SavedConfig(
        task="molecules", targets=("own", "other"), model=ATOMS if of_atoms else model,
        in_features=len(elements) or 15, out_features=2, elements=elements,
    )  # fmt: skip
    if of_atoms:
        units = {"own": "e", "other": "1"}.items()
        constants = tuple(Standardization(name, unit, 0.1, 0.5) for name, unit in units)
    config = replace(config, standardization=constants, **changes)
    eqattn.save(build_model(config, config.in_features, 2), path, config)
    return path


def atoms(batch, num_atoms):
    rng = np.random.default_rng(num_atoms)
    numbers = rng.choice([1, 6, 16], (batch, num_atoms)).astype(np.int32)
    positions = rng.normal(size=(batch, num_atoms, 3)).astype(np.float32)
    numbers[0, -2:] = 0
    return {"numbers": numbers, "positions": positions}


def in_cells(batch, num_atoms, cutoff=5.0):
    """Atoms in cells, the first in none, with lists of all pairs up to the cutoff."""
    found = atoms(batch, num_atoms)
    cells = np.stack([np.zeros((3, 3)), *[CELL] * (batch - 1)]).astype(np.float32)
    lists = []
    for numbers, positions, cell in zip(*found.values(), cells, strict=True):
        edges = find_edges(
            positions[numbers > 0], cutoff, cell=cell if cell.any() else None,
            periodic=bool(cell.any()),
        )  # fmt: skip
        lists.append(
            NeighborList.from_edges(
                edges.senders, edges.receivers, num_atoms, shifts=edges.shifts, cell=cell,
                adds_itself=False,
            )
        )  # fmt: skip
    listed = NeighborList.stack(lists)
    names = {"neighbors": listed.indices, "is_neighbor": listed.mask, "shifts": listed.shifts}
    return found | {name: np.asarray(x) for name, x in names.items()} | {"cells": cells}


def whole_list(given):
    """The list that a potential takes, with each atom itself."""
    num_atoms = given["numbers"].shape[1]
    lists = []
    for i in range(len(given["numbers"])):
        receivers, places = np.nonzero(given["is_neighbor"][i])
        senders, shifts = (given[name][i][receivers, places] for name in ("neighbors", "shifts"))
        lists.append(
            NeighborList.from_edges(
                senders, receivers, num_atoms, shifts=shifts, cell=given["cells"][i], reach=5.0
            )
        )
    return NeighborList.stack(lists)


def test_a_script_without_the_library_says_the_same(run, tmp_path):
    """Forces, forces in cells with their stresses, and properties of molecules."""
    assert export_run(run, tmp_path / "plain.jax").elements == ("H", "C", "S")
    listed = export_run(run, tmp_path / "listed.jax", lists=True)
    assert listed.cutoff == 5.0
    molecules = write_molecules(tmp_path / "molecules")
    assert export_run(molecules, tmp_path / "own.jax").outputs == ("own_kJ/mol", "other")
    given = {"plain": atoms(3, 6), "listed": in_cells(3, 6), "own": atoms(2, 5)}
    for name, arrays in given.items():
        np.savez(tmp_path / f"{name}-in.npz", **arrays)
    assert list(listed.arguments) == list(given["listed"])
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "script.py", *given], cwd=tmp_path, env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outputs = {name: np.load(tmp_path / f"{name}-out.npz") for name in given}
    potential, found = load_potential(run), outputs["plain"]
    numbers, positions = given["plain"].values()
    energies, forces = evaluate(potential, numbers, positions)
    references = potential.atom_references(numbers).sum(axis=1)
    assert found["energy_eV"].dtype == np.float32
    np.testing.assert_allclose(found["energy_eV"], np.sum(energies, axis=1) + references, rtol=1e-6)
    np.testing.assert_allclose(found["forces_eV/Å"], forces, atol=1e-6 * np.abs(forces).max())
    assert not found["forces_eV/Å"][0, -2:].any()
    check_listed(potential, given["listed"], outputs["listed"], rtol=1e-6)
    check_molecules(molecules, given["own"], outputs["own"], tmp_path, rtol=1e-6)


def check_listed(potential, given, found, rtol):
    numbers, positions = given["numbers"], given["positions"]
    expected = evaluate_in_cell(potential, numbers, positions, whole_list(given))
    energies, forces, stresses = (np.asarray(x) for x in expected)
    totals = energies.sum(axis=1) + potential.atom_references(numbers).sum(axis=1)
    np.testing.assert_allclose(found["energy_eV"], totals, rtol=rtol)
    np.testing.assert_allclose(found["forces_eV/Å"], forces, atol=rtol * np.abs(forces).max())
    assert np.isnan(found["stress_eV/Å³"][0]).all()
    # A stress is what all atoms pull over distances up to the cutoff, most of which cancels.
    pulls = np.abs(forces).max() * numbers.shape[1] * potential.cutoff / np.linalg.det(CELL)
    np.testing.assert_allclose(found["stress_eV/Å³"][1:], stresses[1:], atol=rtol * pulls)
    assert np.abs(stresses[1:]).max() > 1e2 * rtol * pulls
    alone, _ = evaluate(potential, numbers, positions)
    apart = np.abs(np.sum(alone - energies, axis=1))
    assert apart[0] < 1e-5 * np.abs(energies).max()
    assert apart[1:].min() > 3e-4


def check_molecules(run, given, found, folder, rtol):
    """Against the table of a prediction."""
    numbers, positions = given["numbers"], given["positions"]
    frames = [
        Frame(z[z > 0].astype(np.uint8), x[z > 0]) for z, x in zip(numbers, positions, strict=True)
    ]
    write_npz(folder / "molecules.npz", from_frames(frames, str))
    table = predict(run, folder / "molecules.npz").columns
    for name, values in found.items():
        rows = values[numbers > 0] if values.ndim == 2 else values
        np.testing.assert_allclose(rows, table[name], rtol=rtol, atol=1e-5)
        assert np.ptp(rows) > 1e-3
    assert len(found) == 2


def called(path, given):
    loaded = export.deserialize(path.read_bytes())
    return loaded.call(*given.values())


def test_a_file_in_float64_has_all_digits_and_any_size(run, tmp_path):
    with jax.enable_x64(False):
        export_run(run, tmp_path / "run.jax", dtype="float64")
    potential = load_potential(run, "float64")
    for sizes in ((1, 4), (2, 5)):
        given = atoms(*sizes)
        given["positions"] = given["positions"].astype(np.float64)
        energies, forces = evaluate(potential, *given.values())
        found = called(tmp_path / "run.jax", given)
        references = potential.atom_references(given["numbers"]).sum(axis=1)
        expected = np.sum(energies, axis=1) + references
        np.testing.assert_allclose(found["energy_eV"], expected, rtol=1e-14)
        np.testing.assert_allclose(found["forces_eV/Å"], forces, atol=1e-12)
    given["numbers"][0, 0] = 8
    energies = called(tmp_path / "run.jax", given)["energy_eV"]
    assert np.isnan(energies).tolist() == [True, False]


@pytest.mark.slow
def test_lists_may_be_of_any_size_and_hold_atoms_themselves(run, tmp_path):
    """A place that is not taken may hold anything; a neighbor that is none makes NaN."""
    export_run(run, tmp_path / "run.jax", lists=True)
    potential, path = load_potential(run), tmp_path / "run.jax"
    given = in_cells(2, 5)
    found = called(path, given)
    check_listed(potential, given, found, rtol=1e-5)
    wider = {**given}
    for name in ("neighbors", "is_neighbor", "shifts"):
        x = given[name]
        wider[name] = np.concatenate([x, np.ones_like(x[:, :, :2])], axis=2)
    wider["is_neighbor"][:, :, -2:] = [True, False]
    wider["neighbors"][:, :, -2] = np.arange(5)
    wider["shifts"][:, :, -2] = 0
    wider["neighbors"][:, :, -1] = 77
    again = called(path, wider)
    np.testing.assert_allclose(again["energy_eV"], found["energy_eV"], rtol=1e-6)
    wider["is_neighbor"][1, 0, -1] = True
    broken = called(path, wider)
    assert np.isnan(broken["energy_eV"]).tolist() == [False, True]
    assert np.isnan(broken["forces_eV/Å"][1]).all()


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"of_atoms": True}, {"elements": (), "ensemble": 2}])
def test_molecules_of_all_kinds(tmp_path, changes):
    """Targets of atoms, the features of QM9, and ensembles; an unknown element is NaN."""
    run = write_molecules(tmp_path / "run", **changes)
    export_run(run, tmp_path / "run.jax")
    given = atoms(2, 5)
    if "elements" in changes:
        given["numbers"][given["numbers"] == 16] = 6
    found = {k: np.asarray(x) for k, x in called(tmp_path / "run.jax", given).items()}
    check_molecules(run, given, found, tmp_path, rtol=1e-5)
    given["numbers"][0, 0] = 17
    values = next(iter(called(tmp_path / "run.jax", given).values()))
    assert np.isnan(values[0]).all()
    assert np.isfinite(values[1]).all()


def test_runs_that_are_not_exported_are_refused(run, tmp_path):
    """With the reason: what a file could not give, or would give otherwise."""
    everywhere = write_run(tmp_path / "everywhere", cutoff=None)
    drawn = write_molecules(tmp_path / "drawn", of_atoms=True, model=replace(ATOMS, lift=Haar(1)))
    molecules = write_molecules(tmp_path / "molecules")
    eqattn.save(ATOMS.build(3, 1, rngs=nnx.Rngs(0)), tmp_path / "alone")
    for folder, lists, message in (
        (everywhere, True, "everywhere: lists of neighbors need a run whose layer has a cutoff"),
        (molecules, True, "molecules: lists of neighbors are for runs of the task 'forces', and"),
        (drawn, False, "drawn: the model draws lifts or neighbors at random, and a file of it"),
        (tmp_path / "alone", False, "alone is a model without a run, which is not exported; tho"),
    ):
        with pytest.raises(ValueError, match=message):
            export_run(folder, tmp_path / "run.jax", lists=lists)
    assert not (tmp_path / "run.jax").exists()


def test_what_cannot_be_exported_is_said(run, tmp_path, monkeypatch):
    with pytest.raises(
        ValueError, match=r"dtype must be one of .'float32', 'float64'., got 'int8'"
    ):
        export_run(run, tmp_path / "run.jax", dtype="int8")
    (tmp_path / "there.jax").touch()
    with pytest.raises(FileExistsError, match=r"there.jax exists already"):
        export_run(run, tmp_path / "there.jax")
    monkeypatch.setattr(exported.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="exporting needs flatbuffers, which is not inst"):
        export_run(run, tmp_path / "run.jax")
    assert not (tmp_path / "run.jax").exists()

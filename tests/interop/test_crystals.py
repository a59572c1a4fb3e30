"""A run on crystals of copper: its equation of state is that of the method that it learned from."""

import dataclasses
import re

import numpy as np
import pytest

from eqattn.config import OptimizerConfig
from eqattn.layers import MLPLocation
from eqattn.models import PotentialNetworkConfig
from eqattn.tasks import get_preset
from eqattn.tasks.forces.presets import ForcesOptions
from eqattn.train import train
from tests.pages import ROOT
from tests.tasks.forces.runs import ATOMS

pytest.importorskip("ase")

from ase import io
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.eos import calculate_eos
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from eqattn.interop.ase import Calculator

pytestmark = pytest.mark.slow


def copper(scale=1.0):
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(scale * atoms.cell.array, scale_atoms=True)
    return atoms


def labeled(num, seed=0):
    """Strained and rattled crystals with energies, forces and stresses by effective medium."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(num):
        atoms = copper(rng.uniform(0.96, 1.04))
        strain = 0.02 * rng.normal(size=(3, 3))
        deformed = np.eye(3) + 0.5 * (strain + strain.T)
        atoms.set_cell(atoms.cell.array @ deformed, scale_atoms=True)
        atoms.positions += rng.uniform(0.0, 0.1) * rng.normal(size=(4, 3))
        atoms.calc = EMT()
        atoms.get_stress(), atoms.get_forces()  # which also writes them with the atoms
        frames.append(atoms)
    return frames


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copper")
    io.write(folder / "copper.extxyz", labeled(100))
    layer = dataclasses.replace(
        ATOMS.layer,
        location=MLPLocation(dim=16, num_layers=2, num_radial=16, cutoff=4.0),
        cutoff=4.0,
    )
    config = dataclasses.replace(
        get_preset("forces", "demo"),
        data=str(folder / "copper.extxyz"), steps=800, eval_every=400, batch_size=8,
        model=PotentialNetworkConfig(atoms=dataclasses.replace(ATOMS, dim=16, layer=layer)),
        optimizer=OptimizerConfig(learning_rate=5e-3, clip_norm=10.0),
        options=ForcesOptions(baseline="none"),
    )  # fmt: skip
    forces, _, stress = train(config, folder / "runs" / "copper").scores
    assert (stress.target, stress.unit) == ("stress", "GPa")
    assert stress.value < 0.2 * stress.baseline
    assert forces.value < 0.2 * forces.baseline
    return folder / "runs" / "copper"


def test_the_equation_of_state(run, monkeypatch):
    """The volume within 1 %, the bulk modulus within 10 %, as lines of the page find them."""
    atoms = copper()
    atoms.calc = EMT()
    volume, _, modulus = calculate_eos(atoms, npoints=7, eps=0.03).fit()
    monkeypatch.chdir(run.parents[1])
    page = (ROOT / "docs" / "simulations.md").read_text()
    (lines,) = re.findall(r"```py\n(.*?)```", page, re.DOTALL)
    names = {"Calculator": Calculator, "BFGS": BFGS}
    exec(compile(lines, "simulations.md", "exec"), names)  # lines of this repository
    assert names["volume"] == pytest.approx(volume, rel=0.01)
    assert names["modulus"] == pytest.approx(modulus, rel=0.1)
    assert names["crystal"].get_volume() == pytest.approx(names["volume"], rel=2e-3)


def test_a_cell_relaxes(run):
    """Cell and positions together, to no stress and the volume of the crystal at rest."""
    relaxed = []
    for scale, rattle in ((1.0, 0.0), (1.02, 0.05)):
        atoms = copper(scale)
        atoms.rattle(rattle, seed=1)
        atoms.calc = Calculator(run, dtype="float64")
        optimizer = BFGS(FrechetCellFilter(atoms), logfile=None)
        assert optimizer.run(fmax=1e-3, steps=100)
        assert np.abs(atoms.get_stress()).max() < 1e-4
        relaxed.append(atoms.get_volume())
    assert relaxed[1] == pytest.approx(relaxed[0], rel=1e-3)

"""A run in one file, which jax alone loads and runs."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax import export

from eqattn.interop import exported
from eqattn.interop.exported import export_run
from eqattn.simulation import load_potential
from eqattn.simulation.potential import evaluate
from tests.tasks.forces.runs import write_run

pytestmark = pytest.mark.usefixtures("no_type_checks")  # which know no symbolic sizes

SCRIPT = """
import sys
for name in ("eqattn", "flax"):
    sys.modules[name] = None  # an import of it fails
import jax, numpy as np
run = jax.export.deserialize(open(sys.argv[1], "rb").read())
data = np.load(sys.argv[2])
energies, forces = jax.jit(run.call)(data["numbers"], data["positions"])
np.savez(sys.argv[3], energies=energies, forces=forces)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("forces") / "run")


def atoms(batch, num_atoms):
    rng = np.random.default_rng(num_atoms)
    numbers = rng.choice([1, 6, 16], (batch, num_atoms)).astype(np.int32)
    positions = rng.normal(size=(batch, num_atoms, 3)).astype(np.float32)
    numbers[0, -2:] = 0
    return numbers, positions


def test_a_script_without_the_library_says_the_same(run, tmp_path):
    assert export_run(run, tmp_path / "run.jax").elements == ("H", "C", "S")
    numbers, positions = atoms(3, 6)
    np.savez(tmp_path / "in.npz", numbers=numbers, positions=positions)
    (tmp_path / "script.py").write_text(SCRIPT)
    arguments = [str(tmp_path / name) for name in ("script.py", "run.jax", "in.npz", "out.npz")]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    potential, found = load_potential(run), np.load(tmp_path / "out.npz")
    energies, forces = evaluate(potential, numbers, positions)
    expected = np.sum(energies, axis=1) + potential.atom_references(numbers).sum(axis=1)
    assert found["energies"].dtype == np.float32
    np.testing.assert_allclose(found["energies"], expected, rtol=1e-6)
    np.testing.assert_allclose(found["forces"], forces, atol=1e-6 * np.abs(forces).max())
    assert not found["forces"][0, -2:].any()


def test_a_file_in_float64_has_all_digits_and_any_size(run, tmp_path):
    with jax.enable_x64(False):
        export_run(run, tmp_path / "run.jax", dtype="float64")
    loaded = export.deserialize((tmp_path / "run.jax").read_bytes())
    potential = load_potential(run, "float64")
    for sizes in ((1, 4), (2, 5)):
        numbers, positions = atoms(*sizes)
        energies, forces = evaluate(potential, numbers, positions.astype(np.float64))
        found = loaded.call(numbers, positions.astype(np.float64))
        expected = np.sum(energies, axis=1) + potential.atom_references(numbers).sum(axis=1)
        np.testing.assert_allclose(found[0], expected, rtol=1e-14)
        np.testing.assert_allclose(found[1], forces, atol=1e-12)
    numbers[0, 0] = 8
    assert np.isnan(loaded.call(numbers, positions.astype(np.float64))[0]).tolist() == [True, False]


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

"""Makes the trajectories of molecules that come with the package, by GFN2-xTB.

Run by ``python -m tools.make_trajectories [NAME ...] --work FOLDER --out FOLDER``, beside
``pip install tblite==0.8.0 ase rdkit``. Each trajectory starts from a conformer of its own, which
is relaxed, and goes through a Langevin thermostat with a seed of its own. What it gave is kept
under ``--work``: a run that is started again goes on with the trajectories that are missing. Then
all are packed, with a record of how they were made.

Frames are far enough apart for their energies to be hardly correlated (0.03 at 250 fs for ethanol),
and whole trajectories belong to one split: frames that lie between others would be easy to predict.
Energies and forces are those of the positions as they are stored, which are rounded to float32.
"""

import argparse
import dataclasses
import datetime
import hashlib
import importlib.metadata
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from eqattn.data.cache import save_arrays

METHOD, ACCURACY, ELECTRONIC_TEMPERATURE = "GFN2-xTB", 0.01, 300.0
STEP, FRICTION, TEMPERATURE = 1.0, 0.02, 500.0
"""Time step in fs, friction in 1/fs, and temperature in kelvin."""
EQUILIBRATION, INTERVAL = 5_000, 250
"""Steps that are dropped at the start of each trajectory, and from one frame to the next."""
DISPLACEMENT = 0.005
"""Distance in Å to either side at which forces are taken for second derivatives."""
PACKAGES = ("tblite", "ase", "rdkit", "numpy")


@dataclasses.dataclass(frozen=True)
class Molecule:
    """What is simulated.

    Attributes:
      name: Name of the molecule, and of its file.
      smiles: Its bonds, from which the first conformers are made.
      num_frames: Frames of each trajectory.
      splits: Number of trajectories of each split.
    """

    name: str
    smiles: str
    num_frames: int
    splits: dict[str, int]

    @property
    def num_trajectories(self) -> int:
        """Number of trajectories of all splits."""
        return sum(self.splits.values())


MOLECULES = {
    molecule.name: molecule
    for molecule in (
        Molecule("ethanol", "CCO", 100, {"train": 10, "validation": 2, "test": 4}),
        Molecule("cysteine", "NC(CS)C(=O)O", 50, {"train": 8, "validation": 2, "test": 2}),
        Molecule("aspirin", "CC(=O)Oc1ccccc1C(=O)O", 40, {"train": 8, "validation": 2, "test": 2}),
    )
}


def calculator() -> Any:
    """Returns the ASE calculator that all energies and forces come from."""
    from tblite.ase import TBLite  # type: ignore[import-not-found]

    return TBLite(
        method=METHOD,
        accuracy=ACCURACY,
        electronic_temperature=ELECTRONIC_TEMPERATURE,
        verbosity=0,
    )


def conformer(smiles: str, seed: int) -> Any:
    """Returns a molecule as ``ase.Atoms``, relaxed by the calculator.

    Args:
      smiles: Bonds of the molecule.
      seed: Seed of the conformer.
    """
    from ase import Atoms
    from ase.optimize import BFGS
    from rdkit import Chem  # type: ignore[import-not-found]
    from rdkit.Chem import AllChem  # type: ignore[import-not-found]

    bonds = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(bonds, randomSeed=seed + 1)
    numbers = [atom.GetAtomicNum() for atom in bonds.GetAtoms()]
    atoms = Atoms(numbers=numbers, positions=bonds.GetConformer().GetPositions())
    atoms.calc = calculator()
    BFGS(atoms, logfile=None).run(fmax=0.02, steps=500)
    return atoms


def frames(
    atoms: Any, num_frames: int, seed: int
) -> Iterator[tuple[np.ndarray, float, np.ndarray]]:
    """Yields positions (float32, Å), energies (eV) and forces (eV/Å) of one trajectory.

    Args:
      atoms: Where it starts.
      num_frames: Number of frames.
      seed: Seed of the thermostat.
    """
    from ase import units
    from ase.md.langevin import Langevin
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

    rng = np.random.RandomState(seed)
    MaxwellBoltzmannDistribution(atoms, temperature_K=TEMPERATURE, rng=rng)
    dynamics = Langevin(
        atoms,
        STEP * units.fs,
        temperature_K=TEMPERATURE,
        friction=FRICTION / units.fs,
        fixcm=False,
        rng=rng,
    )
    dynamics.run(EQUILIBRATION)
    labels = atoms.copy()
    labels.calc = calculator()
    for _ in range(num_frames):
        dynamics.run(INTERVAL)
        positions = (atoms.positions - atoms.positions.mean(axis=0)).astype(np.float32)
        labels.positions = positions.astype(np.float64)
        yield positions, labels.get_potential_energy(), labels.get_forces()


def simulate(molecule: Molecule, seed: int, path: Path) -> None:
    """Writes one trajectory to a file, unless it is there.

    Args:
      molecule: What is simulated.
      seed: Number of the trajectory, and its seed.
      path: The file.
    """
    if path.exists():
        return
    atoms = conformer(molecule.smiles, seed)
    positions, energies, forces = zip(*frames(atoms, molecule.num_frames, seed), strict=True)
    save_arrays(
        path,
        {
            "numbers": atoms.numbers.astype(np.uint8),
            "positions": np.stack(positions),
            "energy": np.array(energies),
            "forces": np.stack(forces).astype(np.float32),
        },
    )


def vibrations(smiles: str) -> dict[str, Any]:
    """Returns the first conformer where no force is left, and its harmonic vibrations.

    Args:
      smiles: Bonds of the molecule.
    """
    from ase.optimize import BFGS
    from ase.vibrations import VibrationsData

    atoms = conformer(smiles, 0)
    BFGS(atoms, logfile=None).run(fmax=1e-4, steps=2_000)
    rest, energy, rows = atoms.positions.copy(), atoms.get_potential_energy(), []
    for coordinate in range(rest.size):
        sides = []
        for sign in (1, -1):
            moved = rest.copy()
            moved.flat[coordinate] += sign * DISPLACEMENT
            atoms.positions = moved
            sides.append(atoms.get_forces().ravel())
        rows.append((sides[1] - sides[0]) / (2 * DISPLACEMENT))
    atoms.positions = rest
    hessian = np.array(rows)
    modes: Any = VibrationsData.from_2d(atoms, (hessian + hessian.T) / 2)
    return {
        "numbers": atoms.numbers.tolist(),
        "positions_Å": (rest - rest.mean(axis=0)).round(6).tolist(),
        "energy_eV": energy,
        "frequencies_per_cm": modes.get_frequencies().real[6:].round(2).tolist(),
        "displacement_Å": DISPLACEMENT,
    }


def pack(molecule: Molecule, paths: list[Path], path: Path) -> None:
    """Writes all trajectories of a molecule to one file, in the layout of configurations.

    Args:
      molecule: What was simulated.
      paths: Files of the trajectories, in their order.
      path: The file to write.
    """
    held = [dict(np.load(each)) for each in paths]
    num = sum(len(each["energy"]) for each in held)
    numbers = held[0]["numbers"]
    arrays = {
        "ids": np.arange(num),
        "num_atoms": np.full(num, len(numbers), np.int32),
        "numbers": np.tile(numbers, num),
        "positions": np.concatenate([each["positions"].reshape(-1, 3) for each in held]),
        "energy": np.concatenate([each["energy"] for each in held]),
        "forces": np.concatenate([each["forces"].reshape(-1, 3) for each in held]),
        "trajectory": np.repeat(np.arange(len(held)), [len(each["energy"]) for each in held]),
    }
    save_arrays(path, arrays, use_compression=True)
    record = json.dumps(_record(molecule, path), indent=2, ensure_ascii=False)
    path.with_suffix(".json").write_text(record + "\n", encoding="utf-8")


def _record(molecule: Molecule, path: Path) -> dict[str, Any]:
    return {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "made": datetime.date.today().isoformat(),
        "made_by": f"python -m tools.make_trajectories {molecule.name}",
        "content": (
            f"{molecule.num_trajectories} trajectories of {molecule.num_frames} frames of "
            f"{molecule.name} ({molecule.smiles}) at {TEMPERATURE:g} K"
        ),
        "splits": molecule.splits,
        "method": {
            "level": f"{METHOD}, a semi-empirical method, not density functional theory",
            "citation": "C. Bannwarth, S. Ehlert, S. Grimme, doi:10.1021/acs.jctc.8b01176",
            "accuracy": ACCURACY,
            "electronic_temperature_K": ELECTRONIC_TEMPERATURE,
        },
        "dynamics": {
            "thermostat": "Langevin",
            "temperature_K": TEMPERATURE,
            "friction_per_fs": FRICTION,
            "step_fs": STEP,
            "equilibration_steps": EQUILIBRATION,
            "steps_between_frames": INTERVAL,
            "seeds": "the number of the trajectory, of its conformer and of its thermostat",
        },
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "license": "CC0-1.0: computed for this package",
        "arrays": {
            "positions": "Å, from the centroid; float32",
            "energy": "total energy in eV; float64",
            "forces": "eV/Å; float32",
            "trajectory": "number of the trajectory of each frame",
        },
        "equilibrium": vibrations(molecule.smiles),
    }


def main() -> None:
    """Simulates and packs the molecules that are asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="molecules; all by default")
    parser.add_argument("--work", type=Path, required=True, help="folder of the trajectories")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    options = parser.parse_args()
    unknown = set(options.names) - set(MOLECULES)
    if unknown:
        parser.error(f"one of {', '.join(MOLECULES)} is needed, got {min(unknown)}")
    for name in options.names or MOLECULES:
        molecule = MOLECULES[name]
        paths = [options.work / f"{name}-{seed}.npz" for seed in range(molecule.num_trajectories)]
        for seed, path in enumerate(paths):
            simulate(molecule, seed, path)
            print(f"{path} is there", flush=True)
        pack(molecule, paths, options.out / f"{name}.npz")


if __name__ == "__main__":
    main()

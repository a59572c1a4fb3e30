"""Small sets with exact labels: atoms on springs, whose stiffness depends on their elements."""

import numpy as np

from eqattn.data.atoms import Configurations

REFERENCES = {"H": -3.0, "C": -40.0, "S": -110.5}
STIFFNESS = {1: 1.0, 6: 2.0, 16: 3.0}
LENGTH = 1.5


def energy_and_forces(numbers, positions):
    """Σ_{i<j} ½ k_i k_j (r - 1.5 Å)², and the references."""
    stiffness = np.array([STIFFNESS[int(z)] for z in numbers])
    products = np.outer(stiffness, stiffness)
    difference = positions[:, None] - positions[None]
    distance = np.linalg.norm(difference, axis=-1) + np.eye(len(numbers))
    stretch = np.where(np.eye(len(numbers)), 0.0, distance - LENGTH)
    energy = 0.25 * np.sum(products * stretch**2)
    forces = -np.sum((products * stretch / distance)[..., None] * difference, axis=1)
    symbols = {1: "H", 6: "C", 16: "S"}
    return energy + sum(REFERENCES[symbols[int(z)]] for z in numbers), forces


def springs(num=60, seed=0, num_trajectories=None, sizes=(3, 4, 5), **properties):
    """Configurations of so many atoms."""
    rng = np.random.default_rng(seed)
    num_atoms = rng.choice(sizes, num).astype(np.int32)
    rows = []
    for size in num_atoms:
        numbers = rng.choice([1, 6, 16], size)
        positions = rng.normal(size=(size, 3)) * 1.2
        rows.append((numbers, positions, *energy_and_forces(numbers, positions)))
    numbers, positions, energies, forces = zip(*rows, strict=True)
    known = {"energy": np.array(energies)} | properties
    if num_trajectories is not None:
        known["trajectory"] = np.arange(num) * num_trajectories // num * 1.0
    return Configurations(
        ids=np.arange(num),
        num_atoms=num_atoms,
        numbers=np.concatenate(numbers).astype(np.uint8),
        positions=np.concatenate(positions),
        cells=np.zeros((num, 3, 3)),
        periodic=np.zeros((num, 3), bool),
        properties=known,
        atom_properties={"forces": np.concatenate(forces)},
    )

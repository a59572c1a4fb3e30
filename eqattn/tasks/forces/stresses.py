"""Stresses of crystals as labels: how files write them, and how far a prediction is off.

A stress is σ = (1/V) ∂E/∂ε by a symmetric strain ε, positive where the crystal would shrink, as ASE
has it, in Voigt's order xx, yy, zz, yz, xz, xy. Only cells that repeat along all of their vectors
have one.
"""

import logging

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from eqattn import numerics
from eqattn.data.atoms import Configurations
from eqattn.models.potential import VOIGT
from eqattn.tasks.core.task import Batch
from eqattn.typing import Array

__all__ = [
    "GPA",
    "SHAPES",
    "STRESS",
    "atom_volumes",
    "full_matrices",
    "select_stresses",
    "stress_errors",
]

logger = logging.getLogger("eqattn")

GPA = 160.2176634
"""Gigapascals of one eV/Å³, exact since 2019."""
STRESS = "stress"
SHAPES = ((6,), (9,), (3, 3))
"""What a file may have of each configuration: six numbers in Voigt's order, nine, or a matrix."""
LARGE_STRESS = 1.0
"""Mean modulus of components in eV/Å³ above which the unit is doubted: it is 160 GPa."""
ASYMMETRY = 0.01
"""Share of the largest component by which the two halves of a matrix may differ."""
_TIMES = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
"""How often each component stands in the matrix."""


def select_stresses(
    configurations: Configurations, *, stress_key: str, virial_key: str, factor: float
) -> Float[np.ndarray, "M 6"]:
    """Returns stresses of configurations in eV/Å³; NaN where one is not known.

    Args:
      configurations: What a file holds.
      stress_key: Name of the stresses there: nine numbers, or six in Voigt's order. One that is
        "stress", as by default, need not be there.
      virial_key: Name of the virials there, -V σ, which are taken instead; "" for none.
      factor: Unit of the energies there, in eV; stresses are in it per Å³.

    Raises:
      ValueError: If no configuration has such a property, it is of another shape, or a matrix is
        not symmetric.
    """
    option, key = ("virial_key", virial_key) if virial_key else ("stress_key", stress_key)
    if key not in configurations.properties:
        if key == STRESS and not virial_key:
            return np.full((len(configurations), 6), np.nan)
        names = ", ".join(configurations.property_names) or "none"
        raise ValueError(f"{option}: no configuration has {key!r}; known are {names}.")
    found = factor * _voigt(key, configurations.properties[key])
    repeats = np.asarray(configurations.periodic.all(axis=1))
    if virial_key:
        volumes = np.where(repeats, _volumes(configurations), np.nan)
        found = -found / volumes[:, None]
    found = np.where(repeats[:, None], found, np.nan)
    known = found[~np.isnan(found).any(axis=1)]
    if len(known) and (mean := float(np.abs(known).mean())) > LARGE_STRESS:
        logger.warning(
            "stresses are %.3g eV/Å³ on average, which is %.3g GPa: are they in another unit? See "
            "the options unit and stress_key.",
            mean,
            mean * GPA,
        )
    return found


def full_matrices(stresses: Float[np.ndarray, "M 6"]) -> Float[np.ndarray, "M 9"]:
    """Returns stresses as the nine numbers that extended xyz has of them.

    Args:
      stresses: Stresses in Voigt's order.
    """
    return stresses[:, [0, 5, 4, 5, 1, 3, 4, 3, 2]]


def atom_volumes(configurations: Configurations) -> Float[np.ndarray, " M"]:
    """Returns the volume per atom of each cell in Å³; 0 where it does not repeat everywhere.

    Args:
      configurations: The configurations.
    """
    repeats = configurations.periodic.all(axis=1)
    return np.where(repeats, _volumes(configurations), 0.0) / configurations.num_atoms


def stress_errors(stresses: Float[Array, "B 6"], batch: Batch) -> Float[Array, " B"]:
    """Returns the volume per atom times |Δσ|, the norm of a matrix; 0 where no stress is known.

    Args:
      stresses: Predictions, NaN where there is no volume.
      batch: Holds "stress", "stress_known" and "atom_volume".
    """
    known = jnp.asarray(batch["stress_known"])[:, None]
    missed = jnp.where(known, stresses - jnp.asarray(batch["stress"]), 0)
    norms = numerics.safe_sqrt(jnp.sum(jnp.asarray(_TIMES, missed.dtype) * missed**2, axis=-1))
    return jnp.asarray(batch["atom_volume"]) * norms


def _voigt(key: str, values: Float[np.ndarray, "M ..."]) -> Float[np.ndarray, "M 6"]:
    """Symmetric matrices in Voigt's order, by a key that messages name."""
    if values.shape[1:] not in SHAPES:
        raise ValueError(
            f"{key!r} must be six or nine numbers of each configuration, "
            f"got {list(values.shape[1:])}."
        )
    if values.shape[1:] == (6,):
        return values
    matrices = values.reshape(-1, 3, 3)
    turned = matrices.swapaxes(1, 2)
    off = np.nan_to_num(np.abs(matrices - turned)).max(axis=(1, 2))
    if off.max(initial=0.0) > ASYMMETRY * np.abs(np.nan_to_num(matrices)).max(initial=0.0):
        worst = int(np.argmax(off))
        raise ValueError(
            f"{key!r} must be symmetric matrices, got {matrices[worst].tolist()} at place {worst}."
        )
    return (0.5 * (matrices + turned))[:, VOIGT[:, 0], VOIGT[:, 1]]


def _volumes(configurations: Configurations) -> Float[np.ndarray, " M"]:
    return np.abs(np.linalg.det(configurations.cells))

"""Runs of the task "forces" as one file that jax alone loads and runs: no eqattn, no flax.

The file is what ``jax.export`` serializes, for any batch and any number of atoms, on CPUs, GPUs and
TPUs. It holds the parameters, the references of the elements and the scale. A call takes

* ``numbers`` [B, N] int32, atomic numbers, 0 where there is no atom, and
* ``positions`` [B, N, 3] in Å, float32, or float64 of a file that was exported so,

and gives energies [B] in eV, which contain the references, and forces [B, N, 3] in eV/Å, 0 where
there is no atom. Where the run does not know an element, energies and forces of the configuration
are NaN. A script in which nothing else is needed::

  import jax
  run = jax.export.deserialize(open("ethanol.jax", "rb").read())
  energies, forces = jax.jit(run.call)(numbers, positions)

Energies in float32 are rounded to 3e-5 eV at 300 eV; forces are not concerned. Serializing needs
the package flatbuffers, here and in the script: the extra ``interop`` has it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from eqattn.checks import check_option, install_hint
from eqattn.data.atoms.elements import SYMBOLS
from eqattn.files import written_aside
from eqattn.simulation.potential import Potential, Precision, load_potential
from eqattn.train.tables import check_new_file
from eqattn.typing import Array, Float, Int

__all__ = ["PLATFORMS", "export_run", "exported_function"]

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
"""Devices that an exported file runs on."""


def export_run(
    directory: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    dtype: Precision | None = None,
) -> Potential:
    """Writes a run of the task "forces" to a file that jax loads by itself; see the module.

    Args:
      directory: A run folder.
      path: The file, which must not exist yet.
      dtype: ``"float32"`` or ``"float64"``, which a script can run with ``jax_enable_x64`` only; by
        default that of the run.

    Returns:
      What was exported.

    Raises:
      FileExistsError: If there is such a file.
      FileNotFoundError: If there is no such run folder.
      ModuleNotFoundError: If flatbuffers is not installed.
      OSError: If the file cannot be written.
      ValueError: If the run has no forces, or is damaged.
    """
    if dtype is not None:
        check_option("dtype", dtype, Precision)
    if importlib.util.find_spec("flatbuffers") is None:
        raise ModuleNotFoundError(
            f"exporting needs flatbuffers, which is not installed ({install_hint('interop')})."
        )
    path = check_new_file(path)
    with jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext():
        potential = load_potential(directory, dtype)
        content = exported_function(potential).serialize()
    with written_aside(path) as aside:
        Path(aside).write_bytes(content)
    return potential


def exported_function(potential: Potential) -> export.Exported:
    """Returns a potential as an exported function, whose ``call`` is described in the module.

    Args:
      potential: What :func:`eqattn.simulation.load_potential` returned.
    """
    numbers = [SYMBOLS.index(symbol) + 1 for symbol in potential.elements]
    references = np.zeros(len(SYMBOLS) + 1)
    references[numbers] = potential.references

    @jax.jit
    def energies_and_forces(
        numbers: Int[Array, "B N"], positions: Float[Array, "B N 3"]
    ) -> tuple[Float[Array, " B"], Float[Array, "B N 3"]]:
        energies, forces = potential.energies_and_forces(numbers, positions)
        of_atoms = jnp.asarray(references, potential.dtype)[numbers]
        return energies + jnp.sum(of_atoms, axis=-1), forces

    sizes = export.symbolic_shape("b, n", constraints=["b >= 1", "n >= 1"])
    described = (
        jax.ShapeDtypeStruct(sizes, jnp.int32),
        jax.ShapeDtypeStruct((*sizes, 3), potential.dtype),
    )
    return export.export(energies_and_forces, platforms=PLATFORMS)(*described)

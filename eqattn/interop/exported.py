"""Runs on atoms as one file that jax alone loads and runs: no eqattn, no flax.

The file is what ``jax.export`` serializes, for any batch and any number of atoms, on CPUs, GPUs and
TPUs. It holds the parameters and all constants. A call takes

* ``numbers`` [B, N] int32, atomic numbers, 0 where there is no atom, and
* ``positions`` [B, N, 3] in Å, float32, or float64 of a file that was exported so,

and gives a dictionary by name and unit. That of a run of the task "forces" holds ``energy_eV`` [B],
with the references of the elements, and ``forces_eV/Å`` [B, N, 3]; that of a run of the task
"molecules" its targets, such as ``gap_eV`` [B], or [B, N] of targets of atoms. Numbers of atoms are
0 where there is none. Where the run does not know an element, everything of the configuration is
NaN. A script in which nothing else is needed::

  import jax
  run = jax.export.deserialize(open("ethanol.jax", "rb").read())
  found = jax.jit(run.call)(numbers, positions)
  energies, forces = found["energy_eV"], found["forces_eV/Å"]

A file of a run of the task "forces" that was exported with lists takes four more arrays, in this
order, and gives ``stress_eV/Å³`` [B, 6] too, in Voigt's order, NaN where there is no cell:

* ``neighbors`` [B, N, K] int32, the atoms that each atom sees, all up to the cutoff of the run;
* ``is_neighbor`` [B, N, K] bool, which of these places are taken;
* ``shifts`` [B, N, K, 3] int32, the lattice vectors that move a neighbor to where it is seen, and
* ``cells`` [B, 3, 3] in Å, lattice vectors as rows, zeros where there are none.

An atom sees atom j of ``neighbors`` at ``positions[j] + shifts @ cells``. That an atom sees itself
need not be said. A neighbor that is no place of the N makes everything of its configuration NaN;
one that is missing cannot be noticed.

Energies in float32 are rounded to 3e-5 eV at 300 eV; forces are not concerned. Serializing needs
the package flatbuffers, here and in the script: the extra ``interop`` has it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from pathlib import Path

import jax
from jax import export

from eqattn.checks import check_option, install_hint
from eqattn.config import SavedConfig
from eqattn.files import written_aside
from eqattn.interop.exportable import (
    Exportable,
    of_molecules,
    of_potential,
    of_potential_with_lists,
)
from eqattn.simulation.potential import Precision, load_potential
from eqattn.train.model_files import load_checkpoint
from eqattn.train.tables import check_new_file

__all__ = ["PLATFORMS", "export_run", "exported_function"]

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
"""Devices that an exported file runs on."""


def export_run(
    directory: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    dtype: Precision | None = None,
    lists: bool = False,
) -> Exportable:
    """Writes a run of a task on atoms to a file that jax loads by itself; see the module.

    Args:
      directory: A run folder of the task "forces" or "molecules".
      path: The file, which must not exist yet.
      dtype: ``"float32"`` or ``"float64"``, which a script can run with ``jax_enable_x64`` only; by
        default that of the run.
      lists: Whether calls take lists of neighbors and cells; of the task "forces" alone.

    Returns:
      What was exported.

    Raises:
      FileExistsError: If there is such a file.
      FileNotFoundError: If there is no such run folder.
      ModuleNotFoundError: If flatbuffers is not installed.
      OSError: If the file cannot be written.
      ValueError: If the run is of another task, draws at random, is damaged, or cannot take lists.
    """
    if dtype is not None:
        check_option("dtype", dtype, Precision)
    if importlib.util.find_spec("flatbuffers") is None:
        raise ModuleNotFoundError(
            f"exporting needs flatbuffers, which is not installed ({install_hint('interop')})."
        )
    path = check_new_file(path)
    with jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext():
        exportable = _exportable(directory, dtype, lists)
        content = exported_function(exportable).serialize()
    with written_aside(path) as aside:
        Path(aside).write_bytes(content)
    return exportable


def exported_function(exportable: Exportable) -> export.Exported:
    """Returns a run as an exported function, whose ``call`` is described in the module.

    Args:
      exportable: The run as a function of arrays.
    """
    described = exportable.arguments.values()
    return export.export(jax.jit(exportable.call), platforms=PLATFORMS)(*described)


def _exportable(
    directory: str | os.PathLike[str], dtype: Precision | None, lists: bool
) -> Exportable:
    model, config, _ = load_checkpoint(directory, dtype)
    task = config.task if isinstance(config, SavedConfig) else None
    if task == "forces":
        potential = load_potential(directory, dtype)
        try:
            return of_potential_with_lists(potential) if lists else of_potential(potential)
        except ValueError as error:
            raise ValueError(f"{directory}: {error}.") from error
    if task != "molecules" or not isinstance(config, SavedConfig):
        kind = "a model without a run" if task is None else f"a run of the task {task!r}"
        raise ValueError(
            f"{directory} is {kind}, which is not exported; those of 'forces' and 'molecules' are."
        )
    if lists:
        raise ValueError(
            f"{directory}: lists of neighbors are for runs of the task 'forces', and this is one "
            "of 'molecules', which sees all atoms."
        )
    try:
        return of_molecules(model, config)
    except ValueError as error:
        raise ValueError(f"{directory}: {error}.") from error

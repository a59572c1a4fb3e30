"""``eqattn simulate`` and ``eqattn export``: what can be done with a run on atoms."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from eqattn.cli.compilation import keep_compiled_programs
from eqattn.cli.errors import RunFailedError
from eqattn.cli.output import print_result
from eqattn.cli.parsing import parse
from eqattn.cli.scoring import Folder, enable_x64, prepare_precision
from eqattn.interruption import Interruption

if TYPE_CHECKING:
    from eqattn.simulation import Trajectory

__all__ = ["export", "simulate"]

logger = logging.getLogger("eqattn")

REPORT_SECONDS = 5.0
"""Seconds between two lines that say how far a simulation is."""


@dataclass(frozen=True)
class SimulateArguments:
    """Let atoms move by the forces of a run, all configurations of a file at once."""

    directory: Folder
    """Run folder of the task forces."""
    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """Where atoms are at the start: .xyz, .npz, or what ASE reads; each configuration moves by
    itself."""
    out: Path | None = None
    """File to write, .extxyz, .xyz or .npz, which must not exist yet; by default
    <name of FILE>-trajectory.extxyz. Until the end, what there is so far is in a file beside it,
    whose name ends in .partial.extxyz."""
    temperature: float = 300.0
    """Temperature in kelvin: of the velocities at the start, which are drawn, and of the bath."""
    steps: int = 10_000
    """Number of steps."""
    time_step: float = 0.5
    """Length of a step, in femtoseconds."""
    every: int = 20
    """Number of steps from one configuration that is written to the next."""
    friction: float = 0.01
    """Friction of the bath (Langevin), per femtosecond; 0 for no bath, where energy is
    conserved."""
    seed: int = 0
    """Seed of velocities and of the bath."""
    x64: bool = False
    """Compute in float64, whatever the run was trained in."""


@dataclass(frozen=True)
class ExportArguments:
    """Write a run on atoms as one file that jax alone loads and runs."""

    directory: Folder
    """Run folder of the task forces or molecules."""
    out: Path | None = None
    """File to write, which must not exist yet; by default <name of DIR>.jax."""
    x64: bool = False
    """Export in float64, which programs run with jax_enable_x64 only."""
    lists: bool = False
    """Take lists of neighbors and cells as arguments, for crystals and many atoms; of forces only,
    which have stresses then."""


def simulate(arguments: list[str]) -> None:
    """Simulates the configurations of a file, and writes where their atoms went."""
    parsed = parse(SimulateArguments, "simulate", arguments)
    out = parsed.out if parsed.out is not None else Path(f"{parsed.file.stem}-trajectory.extxyz")

    import jax
    import numpy as np

    from eqattn.data.atoms import read_configurations, write_configurations
    from eqattn.data.atoms.files import check_written
    from eqattn.simulation import load_potential, simulated_states
    from eqattn.simulation.frames import configurations_of, recorded, rows_of
    from eqattn.simulation.trajectory import joined
    from eqattn.tasks.forces.inputs import NewConfigurations, check_known
    from eqattn.train.run_folder import read_run_config
    from eqattn.train.tables import check_new_file

    out = check_new_file(out)
    check_written(out)
    partial = check_new_file(out.with_name(f"{out.stem}.partial.extxyz"))
    prepare_precision(parsed.directory)
    if parsed.x64:
        enable_x64()
    keep_compiled_programs()
    potential = load_potential(parsed.directory, "float64" if parsed.x64 else None)
    config = read_run_config(parsed.directory)
    configurations = read_configurations(parsed.file)
    check_known(parsed.file, configurations, config)
    numbers, positions = rows_of(configurations)
    references = potential.atom_references(numbers)
    began = time.monotonic()
    states = simulated_states(
        potential, numbers, positions, jax.random.key(parsed.seed), num_steps=parsed.steps,
        every=parsed.every, time_step=parsed.time_step, temperature=parsed.temperature,
        friction=parsed.friction, cells=configurations.cells, periodic=configurations.periodic,
    )  # fmt: skip
    about = numbers, references, configurations.cells, configurations.periodic
    states = recorded(states, partial, *about)
    try:
        with Interruption() as interruption:
            found = joined(_reported(states, parsed.steps * parsed.time_step, interruption))
        written = configurations_of(found, *about)
        write_configurations(out, written)
    except FloatingPointError as error:
        raise RunFailedError(f"{error}{_kept(partial)}.") from error
    except KeyboardInterrupt as error:
        error.args = (f"interrupted{_kept(partial)}.",)
        raise
    partial.unlink()
    outside = (
        NewConfigurations(written, config).outside_training() if config.training_ranges else {}
    )
    if outside:
        first, reason = next(iter(outside.items()))
        logger.warning(
            "%d of %d configurations lie outside what the run was trained on, where forces may "
            "mean nothing; the first, number %d: %s.",
            *(len(outside), len(written), first, reason),
        )
    print_result(
        {
            "task": config.task,
            "starts": len(configurations),
            "picoseconds": found.times[-1] / 1000,
            "temperature": float(np.mean(found.temperatures[1:])),
            "energy_change": float(np.mean(found.total_energies[-1] - found.total_energies[0])),
            "outside_training": len(outside) if config.training_ranges else None,
            "configurations": len(written),
            "seconds": round(time.monotonic() - began, 3),
            "out": str(out),
        }
    )


def export(arguments: list[str]) -> None:
    """Exports a run to a file that jax alone runs."""
    parsed = parse(ExportArguments, "export", arguments)
    name = parsed.directory.expanduser().absolute().name
    out = parsed.out if parsed.out is not None else Path(f"{name}.jax")

    from eqattn.interop.exported import PLATFORMS, export_run

    prepare_precision(parsed.directory)
    exported = export_run(
        parsed.directory, out, dtype="float64" if parsed.x64 else None, lists=parsed.lists
    )
    print_result(
        {
            "arguments": list(exported.arguments),
            "outputs": list(exported.outputs),
            "elements": list(exported.elements),
            "cutoff": exported.cutoff,
            "dtype": str(exported.dtype),
            "platforms": list(PLATFORMS),
            "bytes": out.expanduser().stat().st_size,
            "out": str(out.absolute()),
        }
    )


def _reported(
    states: Iterator[Trajectory], length: float, interruption: Interruption
) -> Iterator[Trajectory]:
    """The same states, of so many fs in all; says now and then how far they are, and may stop."""
    said = began = time.monotonic()
    for frame, state in enumerate(states):
        now, passed = time.monotonic(), float(state.times[-1])
        if not frame:
            said = began = now  # what was before compiled
        elif now - said > REPORT_SECONDS:
            said = now
            left = round((now - began) / passed * (length - passed))
            logger.info(
                "%.3g of %.3g ps  %d:%02d left",
                *(passed / 1000, length / 1000, left // 60, left % 60),
            )
        yield state
        interruption.waits = True  # from now on there is something to keep
        interruption.check()


def _kept(partial: Path) -> str:
    """What is said of a file of what there was before the end, if there is one."""
    return f"; the states until then are in {partial}" if partial.exists() else ""

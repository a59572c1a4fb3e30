"""Faults of energies and forces: of labels and their units, of cells, and of what moves by them."""

from tests.mutants.faults import fault

MOTION = ("simulation/test_motion.py",)
TRAJECTORIES = ("simulation/test_trajectory.py",)
CALCULATORS = ("interop/test_ase.py",)
CELLS = ("tasks/forces/test_cells.py",)
LABELS = ("tasks/molecules/test_labels.py",)

_STEP = "eqattn.simulation.motion._Step"
_CALCULATE = "eqattn.interop.ase.Calculator.calculate"
_LISTED = "eqattn.tasks.forces.cells.ListedNeighbors"
_MOLECULES = "eqattn.tasks.molecules"

_OF_SIMULATIONS = (
    fault(
        "half kicks that are whole",
        MOTION,
        (f"{_STEP}.__init__", "0.5 * self._step * EV_PER_ANGSTROM_AMU / _nonzero(weights)",
         "self._step * EV_PER_ANGSTROM_AMU / _nonzero(weights)"),
    ),
    fault(
        "steps without their last kick",
        MOTION,
        (f"{_STEP}.finish", "velocities + self._kick * forces", "velocities"),
    ),
    fault(
        "friction of twice its strength",
        MOTION,
        (f"{_STEP}.__init__", "jnp.asarray(friction, dtype) * self._step",
         "2.0 * jnp.asarray(friction, dtype) * self._step"),
    ),
    fault(
        "noise that friction does not balance",
        MOTION,
        (f"{_STEP}.__init__", "-jnp.expm1(-2 * damping)", "-jnp.expm1(-damping)"),
    ),
    fault(
        "steps of which each draws the same noise",
        MOTION,
        (f"{_STEP}.move", "jax.random.fold_in(self._key, number)", "self._key"),
    ),
    fault(
        "noise that comes again in each state that is kept",
        TRAJECTORIES,
        ("eqattn.simulation.trajectory.simulated_states", "jax.random.fold_in(noise, frame)",
         "noise"),
    ),
    fault(
        "lists that are kept until atoms are two skins away",
        ("simulation/test_listed.py",),
        ("eqattn.simulation.listed.ListedMotion.__init__", "0.5 * skin", "2.0 * skin"),
    ),
    fault(
        "thermal velocities that know no masses",
        MOTION,
        ("eqattn.simulation.motion._thermal",
         "heat[..., None] / jnp.where(masses > 0, masses, 1)", "heat[..., None] / 12.0"),
    ),
    fault(
        "a start that drifts",
        MOTION,
        ("eqattn.simulation.motion.draw_velocities", "velocities - mean[..., None, :]",
         "velocities"),
    ),
    fault(
        "kinetic energies in amu (Å/fs)²",
        MOTION,
        ("eqattn.simulation.motion.kinetic_energies", "doubled / (2 * EV_PER_ANGSTROM_AMU)",
         "doubled / 2"),
    ),
    fault(
        "a temperature of three velocities too many",
        MOTION,
        ("eqattn.simulation.motion.temperatures", "0 if has_friction else 3", "0"),
    ),
    fault(
        "potential energies by atom beside kinetic ones of all",
        TRAJECTORIES,
        ("eqattn.simulation.trajectory.simulated_states", "found.energies",
         "found.energies / (numbers != 0).sum(axis=-1)", 1),
    ),
    fault(
        "masses of their own that are not looked at",
        ("models/test_masses.py",),
        ("eqattn.models.particles.ParticleModel.arrays",
         "features[..., 0] if masses is None else jnp.asarray(masses)", "features[..., 0]"),
    ),
    fault(
        "positions written as velocities",
        TRAJECTORIES,
        ("eqattn.simulation.frames.configurations_of", "of_atoms(trajectory.velocities)",
         "of_atoms(trajectory.positions)"),
    ),
    fault(
        "written energies without the references",
        TRAJECTORIES,
        ("eqattn.simulation.frames.configurations_of", "references.sum(axis=-1)",
         "0.0 * references.sum(axis=-1)"),
    ),
    fault(
        "times that belong to other states",
        TRAJECTORIES,
        ("eqattn.simulation.frames.configurations_of", "np.tile(trajectory.times, num_starts)",
         "np.repeat(trajectory.times, num_starts)"),
    ),
    fault(
        "half of a configuration left at the end of a file",
        ("data/atoms/test_files.py",),
        ("eqattn.data.atoms.writing.append_xyz", "file.truncate(size)", "None"),
    ),
    fault(
        "a simulation that is told to stop and goes on",
        ("test_cli_simulating.py",),
        ("eqattn.cli.simulating._reported", "interruption.check()", "None"),
    ),
    fault(
        "atoms that are left at the origin",
        TRAJECTORIES,
        ("eqattn.simulation.trajectory.simulated_states", "found.positions + centers",
         "found.positions"),
    ),
)  # fmt: skip

_OF_BRIDGES = (
    fault(
        "a calculator whose stress is a pressure",
        CALCULATORS,
        (_CALCULATE, "np.mean(stresses, axis=0)", "-np.mean(stresses, axis=0)"),
    ),
    fault(
        "stresses in another order than that of ASE",
        CALCULATORS,
        ("eqattn.models.potential.VOIGT", "[[0, 0], [1, 1], [2, 2], [1, 2], [0, 2], [0, 1]]",
         "[[0, 0], [1, 1], [2, 2], [0, 1], [1, 2], [0, 2]]"),
    ),
    fault(
        "a spread of forces over atoms, not over models",
        CALCULATORS,
        (_CALCULATE, "np.std(forces, axis=0)",
         "np.std(forces, axis=(0, 1)) + 0.0 * forces[0]"),
    ),
    fault(
        "the energy of the first model for that of all",
        CALCULATORS,
        (_CALCULATE, "np.mean(totals)", "totals[0]", 0),
    ),
    fault(
        "atoms of a calculator without their references",
        CALCULATORS,
        ("eqattn.interop.ase.Calculator._evaluated", "references + energies", "energies"),
    ),
    fault(
        "padding that is hydrogen",
        CALCULATORS,
        ("eqattn.interop.ase.Calculator._evaluated", "np.pad(numbers, (0, missing))",
         "np.pad(numbers, (0, missing), constant_values=1)"),
    ),
    fault(
        "neighbors up to the shortest cutoff of several models",
        CALCULATORS,
        ("eqattn.interop.ase.Calculator._listed",
         "max(cutoff for cutoff in cutoffs if cutoff is not None)",
         "min(cutoff for cutoff in cutoffs if cutoff is not None)"),
    ),
    fault(
        "an ensemble that is its first member",
        ("simulation/test_potential.py",),
        ("eqattn.simulation.potential.Potential.atom_energies",
         "jnp.mean(jax.vmap(of_model)(self.params), axis=0)",
         "jax.vmap(of_model)(self.params)[0]"),
    ),
    fault(
        "exported energies without the references",
        ("interop/test_exported.py",),
        ("eqattn.interop.exportable.of_potential.call",
         "energies + jnp.sum(references[numbers], axis=-1)", "energies"),
    ),
    fault(
        "exported references one element further",
        ("interop/test_exported.py",),
        ("eqattn.interop.exportable._reference_table",
         "[SYMBOLS.index(symbol) + 1 for symbol in potential.elements]",
         "[SYMBOLS.index(symbol) for symbol in potential.elements]"),
    ),
)  # fmt: skip

_OF_LABELS = (
    fault(
        "images on the other side of the cell",
        CELLS,
        (f"{_LISTED}.rows", "np.concatenate([wide(x) for x in shifts])",
         "-np.concatenate([wide(x) for x in shifts])"),
    ),
    fault(
        "cells of batches whose columns are lattice vectors",
        CELLS,
        (f"{_LISTED}.rows", "np.where(repeats[:, None, None], whole.cells, 0)",
         "np.where(repeats[:, None, None], np.swapaxes(whole.cells, 1, 2), 0)"),
    ),
    fault(
        "cells that repeat along all vectors or none",
        CELLS,
        ("eqattn.tasks.forces.cells._lists",
         "find_edges(whole.positions[begin:end], cutoff, cell=cell, periodic=periodic)",
         "find_edges(whole.positions[begin:end], cutoff, cell=cell, "
         "periodic=periodic | periodic.any())"),
    ),
    fault(
        "forces in the unit of the file",
        ("tasks/forces/test_data.py",),
        ("eqattn.tasks.forces.data.select_labels", "factor * forces", "forces"),
    ),
    fault(
        "kilojoules that are larger than kilocalories",
        ("tasks/forces/test_data.py",),
        ("eqattn.tasks.forces.data.UNITS", "KCAL_PER_MOL_IN_EV / 4.184",
         "KCAL_PER_MOL_IN_EV * 4.184"),
    ),
    fault(
        "forces that are not known with a loss",
        ("tasks/forces/test_task.py",),
        ("eqattn.tasks.forces.problem._errors", "jnp.asarray(batch['forces_known'])",
         "jnp.ones_like(jnp.asarray(batch['forces_known']))"),
    ),
    fault(
        "energies that are not known and count in the mean",
        ("tasks/forces/test_task.py",),
        ("eqattn.tasks.forces.problem.ForcesProblem.augment",
         "jnp.sum(weight * jnp.asarray(batch[f'{name}_known']))", "jnp.sum(weight)"),
    ),
    fault(
        "molecules left out of which one target is not known",
        LABELS,
        (f"{_MOLECULES}.labels.Labeled.without_unlabeled",
         "np.isnan(self.values).all(axis=1)", "np.isnan(self.values).any(axis=1)"),
    ),
    fault(
        "splits refused of which one label is not known",
        LABELS,
        (f"{_MOLECULES}.labels.check_known", "np.isnan(column).all()", "np.isnan(column).any()"),
    ),
    fault(
        "labels that are known counted as unknown",
        LABELS,
        (f"{_MOLECULES}.labels.unknown_labels", "np.isnan(part.values).sum(axis=0)",
         "(~np.isnan(part.values)).sum(axis=0)"),
    ),
    fault(
        "one unit for each target of which the first stands for all",
        ("tasks/molecules/test_targets.py",),
        (f"{_MOLECULES}.targets.target_units", "tuple(given) if len(given) > 1 else "
         "(given[0],) * len(names)", "(given[0],) * len(names)"),
    ),
    fault(
        "units of a file that are those of QM9, whatever is given",
        ("tasks/molecules/test_targets.py",),
        (f"{_MOLECULES}.targets.target_units", "not given",
         "any(name in TARGETS for name in names)"),
    ),
    fault(
        "atomization energies of which references are in electronvolts",
        ("tasks/molecules/test_targets.py",),
        (f"{_MOLECULES}.targets.Target.convert", "raw * self.factor",
         "raw if self.references else raw * self.factor"),
    ),
)  # fmt: skip

FAULTS = (*_OF_SIMULATIONS, *_OF_BRIDGES, *_OF_LABELS)
"""All of them."""

"""The task "forces": energies of atoms and the forces on them, from positions and elements.

A model gives the energy of each atom; the energy of a configuration is their sum, and forces are
its exact derivative. What the formula says of an energy is taken off by a reference for each
element. The loss is the mean error of forces, and by weights those of energies and of stresses
times the volume per atom, all in units of the standard deviation of forces. A label that is not
known has no loss and no score.

Scores of a split: ``mae``, the mean absolute error of the components of forces in eV/Å, that of
energies in eV, and that of the components of stresses in GPa where there are any. Baselines: no
force at all, the references with the median of what is left, and no stress at all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from eqattn.config import RunConfig, SavedConfig, Standardization
from eqattn.data.atoms import read_configurations
from eqattn.data.atoms.references import fit_references
from eqattn.models import PotentialNetworkConfig
from eqattn.tasks.core.config_checks import check_model, task_options
from eqattn.tasks.forces import data
from eqattn.tasks.forces.index_files import split_by_files
from eqattn.tasks.forces.inputs import NewConfigurations, check_known
from eqattn.tasks.forces.painn import PaiNNConfig
from eqattn.tasks.forces.presets import (
    BASELINE,
    BASELINE_OPTIMIZER,
    DEMO,
    FIELDS,
    PAPER,
    SCORE_UNITS,
    TARGETS,
    ForcesOptions,
)
from eqattn.tasks.forces.problem import ForcesProblem

__all__ = ["ForcesTask"]


class ForcesTask:
    """Energies of configurations of atoms, and forces."""

    name = "forces"
    options = ForcesOptions
    data_names = data.NAMES
    description = "energies of atoms and the forces on them"
    targets: Mapping[str, str] = SCORE_UNITS
    presets: Mapping[str, RunConfig] = MappingProxyType(
        {"demo": DEMO, "fields": FIELDS, "paper": PAPER}
    )
    baseline_names = ("constant", "painn")

    def prepare(
        self, config: RunConfig, standardization: Sequence[Standardization] | None = None
    ) -> ForcesProblem:
        """Loads, splits and standardizes the configurations.

        Args:
          config: Configuration of the run.
          standardization: Constants to use; by default those of the training split.

        Raises:
          FileNotFoundError: If the data are missing.
          ModuleNotFoundError: If a file needs ASE, which is not installed.
          ValueError: If the data or the options are wrong; the message says what.
        """
        options = task_options(config, ForcesOptions)
        check_model(config, point_dim=3, output="per_point", kinds=PotentialNetworkConfig)
        if config.targets != TARGETS:
            raise ValueError(f"targets must be {TARGETS} for forces, got {config.targets}.")
        configurations = data.load(config.data)
        labeled = data.select_labels(
            configurations,
            energy_key=options.energy_key,
            forces_key=options.forces_key,
            unit=options.unit,
            stress_key=options.stress_key,
            virial_key=options.virial_key,
        )
        if options.train_index:
            places = split_by_files(
                len(configurations), options.train_index, options.test_index or None
            )
        else:
            places = data.split(configurations, config.data)
        parts = {name: labeled[chosen] for name, chosen in places.items()}
        for name, part in parts.items():
            if np.isnan(part.forces).all():
                raise ValueError(f"forces: none is known of the {name} split (NaN).")
        train = parts["train"]
        if isinstance(config, SavedConfig) and config.references:
            references = dict(config.references)
        else:
            references = fit_references(train.configurations, train.energies)
        if standardization is None:
            scale = float(np.nanstd(train.forces))
            if not 0 < scale < np.inf:
                raise ValueError(f"forces have the standard deviation {scale}: nothing to learn.")
            units = self.targets
            standardization = [Standardization(t, units[t], 0.0, scale) for t in TARGETS]
        return ForcesProblem(config, parts, references, tuple(standardization))

    def read_examples(self, path: Path, config: SavedConfig) -> NewConfigurations:
        """Reads configurations from a file.

        Args:
          path: What :func:`eqattn.data.atoms.read_configurations` reads.
          config: The run whose model predicts.

        Raises:
          FileNotFoundError: If there is no such file.
          ModuleNotFoundError: If it needs ASE, which is not installed.
          ValueError: If it does not hold configurations that the run knows; the message names what
            is wrong.
        """
        configurations = read_configurations(path)
        check_known(path, configurations, config)
        return NewConfigurations(configurations, config)

    def baseline(self, config: RunConfig) -> RunConfig | None:
        """Returns the run that trains the baseline on the same data, if one is wanted.

        Args:
          config: The run of the model.
        """
        network, options = config.model.network, task_options(config, ForcesOptions)
        if options.baseline == "none" or isinstance(network, PaiNNConfig):
            return None
        model = BASELINE.replace_network(dtype=network.dtype)
        return dataclasses.replace(config, model=model, optimizer=BASELINE_OPTIMIZER)


TASK = ForcesTask()

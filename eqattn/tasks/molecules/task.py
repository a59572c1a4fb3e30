"""The task "molecules": properties of molecules, or of their atoms, from atoms in space.

Models learn standardized targets by mean absolute error, and are scored by the mean absolute error
in physical units. A target that is not known has no loss and no score; a molecule of which none is
known is left out. The baseline is the constant that is best for that metric: the median of the
training split, scored on the same examples.

References:
  Hutchinson et al., "LieTransformer: Equivariant self-attention for Lie groups",
  arXiv:2012.10885; Ramakrishnan et al., doi:10.1038/sdata.2014.22.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from eqattn.config import RunConfig, SavedConfig, Standardization
from eqattn.data.atoms import Configurations
from eqattn.data.atoms.references import elements_of
from eqattn.fields import scalars
from eqattn.models import AtomSumConfig, FieldNetworkConfig, LiftedModelConfig
from eqattn.tasks.core.atoms import check_elements
from eqattn.tasks.core.config_checks import check_fields, check_model, task_options
from eqattn.tasks.molecules.constants import fit_constants
from eqattn.tasks.molecules.data import NAMES, load, read_file, split
from eqattn.tasks.molecules.features import num_features
from eqattn.tasks.molecules.inputs import NewMolecules, is_of_atoms
from eqattn.tasks.molecules.labels import check_known, select_labels
from eqattn.tasks.molecules.presets import DEMO, DIPOLE, FIELDS, PAPER, QM9, SUMS, MoleculesOptions
from eqattn.tasks.molecules.problem import MoleculesProblem
from eqattn.tasks.molecules.targets import ELEMENTS, TARGETS, check_form, target_units

__all__ = ["MoleculesTask"]


class MoleculesTask:
    """Properties of molecules: invariant regression, one or several targets at once."""

    name = "molecules"
    options = MoleculesOptions
    data_names = NAMES
    description = "properties of molecules from atoms in space: of QM9, or of a file of one's own"
    targets: Mapping[str, str] = MappingProxyType({t.name: t.unit for t in TARGETS.values()})
    presets: Mapping[str, RunConfig] = MappingProxyType(
        {
            "demo": DEMO,
            "fields": FIELDS,
            "sums": SUMS,
            "dipole": DIPOLE,
            "qm9": QM9,
            "paper": PAPER,
        }
    )

    def read_examples(self, path: Path, config: SavedConfig) -> NewMolecules:
        """Returns the molecules in a file, to predict the targets of a run for.

        Args:
          path: A file as :func:`eqattn.data.atoms.read_configurations` takes it.
          config: Configuration of the run.

        Raises:
          OSError: If the file cannot be read.
          ValueError: If it does not hold molecules, or one of an element that the run does not
            know; the message names what is wrong.
        """
        molecules = read_file(path)
        check_elements(path, molecules, config.elements or ELEMENTS, kind="molecule")
        return NewMolecules(molecules, config)

    def prepare(
        self, config: RunConfig, standardization: Sequence[Standardization] | None = None
    ) -> MoleculesProblem:
        """Loads, splits and standardizes the molecules.

        Args:
          config: Configuration of the run.
          standardization: Constants to use; by default those of the training split.

        Raises:
          FileNotFoundError: If the data are missing.
          ModuleNotFoundError: If the data need an extra that is not installed.
          ValueError: If the data, the split or the targets are wrong, or a value is not used;
            the message says what.
        """
        options = task_options(config, MoleculesOptions)
        of_atoms, form = is_of_atoms(config), getattr(config.model, "form", None)
        check_model(
            config,
            point_dim=3,
            output="per_point" if of_atoms or form is not None else "invariant",
            kinds=LiftedModelConfig | FieldNetworkConfig | AtomSumConfig,
        )
        molecules = load(config.data)
        places = split(molecules, config.data, options.split)
        if config.data in NAMES and form is not None:
            check_form(config.targets, form)
        labeled = select_labels(molecules, config.targets, of_atoms=of_atoms)
        parts = {name: labeled[indices] for name, indices in places.items()}
        check_known(parts, config.targets)
        elements = _elements(config, parts["train"].molecules)
        for name, part in parts.items():
            where = f"{config.data}, {name} split"
            check_elements(where, part.molecules, elements or ELEMENTS, kind="molecule")
        given, wanted = scalars(num_features(elements)), scalars(len(config.targets))
        check_fields(config, given, None if form is not None else wanted)
        if standardization is None:
            units = target_units(config.targets, options.unit, is_named=config.data in NAMES)
            standardization = fit_constants(parts["train"], config.targets, units, form)
        return MoleculesProblem(config, parts, elements, tuple(standardization))


def _elements(config: RunConfig, training: Configurations) -> tuple[str, ...]:
    """The elements of the one-hot: those of the training split of a file; none for named data."""
    if isinstance(config, SavedConfig):
        return config.elements
    return () if config.data in NAMES else elements_of(training)


TASK = MoleculesTask()

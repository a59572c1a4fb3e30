"""Constants by which targets are standardized, after the form of the model.

What pools over atoms learns (value - mean) / scale. A sum over atoms has no mean, which would not
be extensive: what the formula says of it is taken off by a reference for each element. A dipole or
a second moment is 0 for atoms at one place, so that it is scaled only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from eqattn.config import Standardization
from eqattn.data.atoms import Configurations
from eqattn.data.atoms.references import fit_references, sum_references
from eqattn.models.atom_sum import Form
from eqattn.tasks.core.standardization import fit
from eqattn.tasks.molecules.labels import Labeled
from eqattn.typing import Float

__all__ = ["fit_constants", "formula_sums"]


def fit_constants(
    training: Labeled, targets: Sequence[str], units: Sequence[str], form: Form | None
) -> tuple[Standardization, ...]:
    """Returns the constants of each target of the training split.

    Args:
      training: Molecules of the training split.
      targets: Name of each column.
      units: Unit of each column.
      form: Form of a model that sums over atoms; None for any other model.

    Raises:
      ValueError: If a target is constant over the training split, or so is what references leave.
    """
    if form is None:
        return fit(training.values, targets, units)
    found = []
    for target, unit, column in zip(targets, units, training.values.T, strict=True):
        references: dict[str, float] = {}
        if form == "sum":
            references = fit_references(training.molecules, column)
            column = column - sum_references(training.molecules, references)
        (constants,) = fit(column[:, None], [target], [unit])
        found.append(dataclasses.replace(constants, mean=0.0, references=references))
    return tuple(found)


def formula_sums(
    molecules: Configurations, constants: Sequence[Standardization]
) -> Float[np.ndarray, "M K"]:
    """Returns what references say of each molecule, in the units of the targets.

    Args:
      molecules: Molecules of the elements of the references.
      constants: Standardization of each target.
    """
    columns = [
        sum_references(molecules, c.references) if c.references else np.zeros(len(molecules))
        for c in constants
    ]
    return np.stack(columns, axis=1)

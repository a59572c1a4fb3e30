"""Labels of molecules or of atoms. One that is not known is NaN, and has no loss and no score.

A target is the name of a property of the data. Whether it is looked for among those of molecules or
of atoms, the model says: it gives one number of a molecule, or one at each point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from eqattn.data.atoms import Configurations
from eqattn.tasks.core.task import Batch
from eqattn.typing import Array, Bool, Float, Int

__all__ = [
    "Labeled",
    "absolute_errors",
    "check_finite",
    "check_known",
    "select_labels",
    "unknown_labels",
]


@dataclass(frozen=True, eq=False)
class Labeled:
    """Molecules with what is to be learned of them.

    Attributes:
      molecules: The molecules.
      values: Targets, a row for each molecule, or for each atom; NaN where one is not known.
      of_atoms: Whether rows are those of atoms.
    """

    molecules: Configurations
    values: Float[np.ndarray, "R K"]
    of_atoms: bool

    def __len__(self) -> int:
        return len(self.molecules)

    def __getitem__(self, indices: Int[np.ndarray, " B"]) -> Labeled:
        """Returns those at these places, in this order."""
        rows, atoms = self.molecules.places(indices)
        return Labeled(
            self.molecules[rows], self.values[atoms if self.of_atoms else rows], self.of_atoms
        )

    @property
    def owners(self) -> Int[np.ndarray, " R"]:
        """The place of the molecule that each row belongs to."""
        return self.molecules.owners if self.of_atoms else np.arange(len(self))

    def without_unlabeled(self) -> Labeled:
        """Returns the molecules of which a target is known."""
        known = ~np.isnan(self.values).all(axis=1)
        return self[np.unique(self.owners[known])] if not known.all() else self


def select_labels(molecules: Configurations, names: Sequence[str], *, of_atoms: bool) -> Labeled:
    """Returns molecules with the named targets, in this order.

    Args:
      molecules: Molecules with their properties.
      names: Names of properties, each at most once.
      of_atoms: Whether properties of atoms are meant.

    Raises:
      ValueError: If there is no name, one is given twice or unknown, is no single number, or is not
        known of any molecule.
    """
    if isinstance(names, str) or not names:
        raise ValueError(f"targets must be a sequence of one or more names, got {names!r}.")
    held, others = molecules.properties, molecules.atom_properties
    kind, other = "molecule", "atom"
    if of_atoms:
        held, others, kind, other = others, held, other, kind
    columns = []
    for position, name in enumerate(names):
        if name in names[:position]:
            raise ValueError(f"targets: {name!r} is given twice.")
        if name not in held and name in others:
            outputs = "invariant" if of_atoms else "per_point"
            raise ValueError(
                f"targets: {name!r} is known of each {other}, and the model gives one number for "
                f"each {kind}; it must have the output {outputs!r}."
            )
        if name not in held:
            known = ", ".join(molecules.property_names) or "none"
            raise ValueError(f"targets: {name!r} is unknown; known are {known}.")
        if held[name].ndim != 1:
            raise ValueError(
                f"targets: {name!r} has the shape {list(held[name].shape[1:])} for each {kind}; "
                "only single numbers are learned."
            )
        if np.isnan(held[name]).all():
            raise ValueError(f"targets: these molecules have no values of {name!r} (NaN).")
        columns.append(held[name])
    return Labeled(molecules, np.stack(columns, axis=1), of_atoms)


def absolute_errors(
    prediction: Float[Array, "B *N K"], batch: Batch
) -> tuple[Float[Array, "B *N K"], Bool[Array, "B *N K"]]:
    """Returns absolute errors, 0 where the target is not known, and where it is.

    Args:
      prediction: Standardized predictions.
      batch: A batch with "targets" and "known".
    """
    known = jnp.asarray(batch["known"])
    return jnp.where(known, jnp.abs(prediction - batch["targets"]), 0), known


def unknown_labels(
    parts: Mapping[str, Labeled], targets: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Returns how many labels of each split and target are not known, where any is not.

    Args:
      parts: Molecules of each split.
      targets: Name of each column.
    """
    counts = {name: np.isnan(part.values).sum(axis=0).tolist() for name, part in parts.items()}
    by_target = {
        name: {target: count for target, count in zip(targets, row, strict=True) if count}
        for name, row in counts.items()
    }
    return {name: row for name, row in by_target.items() if row}


def check_known(parts: Mapping[str, Labeled], targets: Sequence[str]) -> None:
    """Raises unless each target is known of some molecule of each split.

    Args:
      parts: Molecules of each split.
      targets: Name of each column.

    Raises:
      ValueError: For a target and a split without a known value.
    """
    for name, part in parts.items():
        for target, column in zip(targets, part.values.T, strict=True):
            if np.isnan(column).all():
                raise ValueError(
                    f"targets: {target!r} is not known of any of the {len(part)} molecules of "
                    f"the {name} split (NaN)."
                )


def check_finite(
    standardized: Float[np.ndarray, "R K"], part: Labeled, targets: Sequence[str]
) -> None:
    """Raises unless the numbers made from the values that are known are finite in float32.

    Args:
      standardized: What was made from the values.
      part: Molecules with the values.
      targets: Name of each column.

    Raises:
      ValueError: For the first that is not finite.
    """
    largest = np.finfo(np.float32).max
    bad = np.argwhere(~(np.abs(standardized) <= largest) & ~np.isnan(part.values))
    if bad.size:
        row, column = bad[0]
        raise ValueError(
            f"targets: {targets[column]!r} of molecule {part.molecules.ids[part.owners[row]]} is "
            f"{part.values[row, column]:g}, which is not finite in float32 when standardized."
        )

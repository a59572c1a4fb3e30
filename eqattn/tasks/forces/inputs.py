"""Configurations that no run has seen: energies, forces and stresses that a model gives them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from eqattn.config import SavedConfig
from eqattn.data.atoms import Configurations
from eqattn.data.atoms.elements import element_symbol, one_hot_table
from eqattn.data.atoms.padding import bucket_tables, once_of_buckets
from eqattn.data.atoms.references import sum_references
from eqattn.tasks.core.atom_ranges import molecule_quantities
from eqattn.tasks.core.atoms import check_elements, widened
from eqattn.tasks.core.config_checks import task_options
from eqattn.tasks.core.ranges import reasons_outside
from eqattn.tasks.core.task import Batch, Predictions
from eqattn.tasks.forces.cells import ListedNeighbors, check_sees_cells
from eqattn.tasks.forces.data import UNITS
from eqattn.tasks.forces.presets import ENERGY, FORCES, STRESS, ForcesOptions
from eqattn.tasks.forces.stresses import SHAPES, full_matrices, select_stresses
from eqattn.typing import Array, Float, Int

__all__ = ["NewConfigurations", "check_known"]

_COMPONENTS = ("xx", "yy", "zz", "yz", "xz", "xy")
_Quantities = tuple[
    Float[np.ndarray, " M"] | None, Float[np.ndarray, "A 3"] | None, Float[np.ndarray, "M 6"] | None
]
"""Energies, forces, and stresses in Voigt's order."""


class NewConfigurations:
    """Configurations that no run has seen; see :class:`eqattn.tasks.NewExamples`.

    Args:
      configurations: The configurations, of elements that the run knows.
      config: The run whose model predicts.
    """

    def __init__(self, configurations: Configurations, config: SavedConfig):
        self._configurations, self._config = configurations, config
        self._scale = config.standardization[0].scale
        self._species = one_hot_table(list(config.references))
        self._dtype = jnp.promote_types(jnp.float32, config.model.network.dtype)
        cutoff = check_sees_cells("the file", configurations, config.model)
        held = {"new": configurations}
        self._neighbors = None if cutoff is None else ListedNeighbors(held, cutoff)
        self._repeats: np.ndarray = np.asarray(configurations.periodic.all(axis=1))

    def batches(self) -> Iterable[Batch]:
        """Returns each configuration once."""
        rows, atom_rows = ({}, {}) if self._neighbors is None else self._neighbors.rows("new")
        tables = bucket_tables(
            self._configurations,
            batch_size=min(self._config.batch_size, len(self._configurations)),
            rows={**rows, "place": np.arange(len(self._configurations), dtype=np.int32)},
            atom_rows=atom_rows,
        )
        return once_of_buckets(tables, self._finished)

    def _finished(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        batch["features"] = self._species[batch.pop("numbers")]
        return batch

    def predict(self, model: Any, batch: Batch, num_lifts: int) -> dict[str, Float[Array, "B ..."]]:
        """Returns standardized energies, forces and stresses, beside the places of configurations.

        Args:
          model: The model.
          batch: A batch of :meth:`batches`.
          num_lifts: Not needed: nothing is drawn.
        """
        del num_lifts
        inputs = (
            jnp.asarray(batch["points"], self._dtype),
            jnp.asarray(batch["features"], self._dtype),
            jnp.asarray(batch["mask"]),
        )
        options: dict[str, Any] = {"example_ids": jnp.asarray(batch["id"])}
        if self._neighbors is not None:
            options["neighbors"] = self._neighbors.of_batch(batch, self._dtype)
        found: dict[str, Array] = {"place": jnp.asarray(batch["place"])}
        if self._repeats.any():
            energies, forces, found[STRESS] = model.energies_forces_and_stresses(*inputs, **options)
        else:
            energies, forces = model.energies_and_forces(*inputs, **options)
        size = int(self._configurations.num_atoms.max())
        return {ENERGY: energies, FORCES: widened(forces, size), **found}

    def table(self, predictions: Predictions) -> dict[str, np.ndarray]:
        """Returns a row for each atom: energy of its configuration and force, and the true ones.

        Columns are called by what they hold and its unit, such as ``energy_eV`` and
        ``force_x_eV/Å``; true ones, which end in ``_true``, are those that the file has under the
        run's names. Where a cell repeats along all its vectors there are ``stress_xx_eV/Å³`` and
        the other components too, NaN for other configurations. Of an ensemble, columns that end in
        ``_spread`` have the standard deviation over its members.

        Args:
          predictions: What :meth:`predict` returned, over all configurations.

        Raises:
          ValueError: If a prediction is not finite.
        """
        whole, owner = self._configurations, self._configurations.owners
        columns = {
            "id": whole.ids[owner],
            "atom": np.arange(len(owner)) - whole.offsets[owner],
            "element": np.array([element_symbol(int(number)) for number in whole.numbers]),
            **_columns(*self._physical(predictions), owner),
        }
        options = task_options(self._config, ForcesOptions)
        factor = UNITS[options.unit]
        energies = whole.properties.get(options.energy_key)
        forces = whole.atom_properties.get(options.forces_key)
        known = _columns(
            factor * energies if energies is not None and energies.ndim == 1 else None,
            factor * forces if forces is not None and forces.shape[1:] == (3,) else None,
            self._true_stresses(options),
            owner,
        )
        spreads = self._spreads(predictions)
        columns |= {f"{name}_spread": x for name, x in _columns(*spreads, owner).items()}
        return columns | {f"{name}_true": x for name, x in known.items() if np.isfinite(x).any()}

    def configurations(self, predictions: Predictions) -> Configurations:
        """Returns the configurations with predicted ``energy`` in eV and ``forces`` in eV/Å.

        Those whose cells repeat along all their vectors have ``stress`` in eV/Å³ too, as the nine
        numbers of ASE's extended xyz. What the file itself says under these names is called
        ``energy_true``, ``forces_true`` and ``stress_true`` there, in the file's own unit. All
        other properties are kept as they are. Of an ensemble there are ``energy_spread`` and so on
        too, the standard deviations over its members.

        Args:
          predictions: What :meth:`predict` returned, over all configurations.

        Raises:
          ValueError: If a prediction is not finite.
        """
        whole = self._configurations
        properties, atom_properties = whole.properties, whole.atom_properties
        for ending, (energies, forces, stresses) in (
            ("", self._physical(predictions)),
            ("_spread", self._spreads(predictions)),
        ):
            if energies is not None and forces is not None:
                properties = _added(properties, f"{ENERGY}{ending}", energies)
                atom_properties = _added(atom_properties, f"{FORCES}{ending}", forces)
            if stresses is not None:
                properties = _added(properties, f"{STRESS}{ending}", full_matrices(stresses))
        return dataclasses.replace(whole, properties=properties, atom_properties=atom_properties)

    def outside_training(self) -> Mapping[int, str]:
        """Returns ids of configurations whose sizes, elements or distances are new, and why."""
        quantities, ids = molecule_quantities(self._configurations), self._configurations.ids
        reasons = reasons_outside(quantities, self._config.training_ranges)
        return {int(ids[place]): reason for place, reason in reasons.items()}

    def _physical(self, predictions: Predictions) -> _Quantities:
        """Energies in eV, forces in eV/Å and stresses in eV/Å³, in the order of the file."""
        whole = self._configurations
        order = np.argsort(predictions["place"])
        energies = self._scale * predictions["energy"][order].astype(np.float64)
        rows = self._scale * predictions["forces"][order].astype(np.float64)
        finite = np.isfinite(energies) & np.isfinite(rows).all(axis=(1, 2))
        stresses = self._stresses(predictions, STRESS, order)
        if stresses is not None:
            finite &= np.isfinite(stresses).all(axis=1) | ~self._repeats
        if not finite.all():
            raise ValueError(
                f"configuration {whole.ids[int(np.argmin(finite))]}: the prediction is not finite; "
                "are its positions sensible?"
            )
        energies += sum_references(whole, self._config.references)
        return energies, self._of_atoms(rows), stresses

    def _spreads(self, predictions: Predictions) -> _Quantities:
        """How far the members of an ensemble differ, likewise; None without one."""
        if "energy_spread" not in predictions:
            return None, None, None
        order = np.argsort(predictions["place"])
        energies = self._scale * predictions["energy_spread"][order].astype(np.float64)
        rows = self._scale * predictions["forces_spread"][order].astype(np.float64)
        return energies, self._of_atoms(rows), self._stresses(predictions, "stress_spread", order)

    def _stresses(
        self, predictions: Predictions, name: str, order: Int[np.ndarray, " M"]
    ) -> Float[np.ndarray, "M 6"] | None:
        """Stresses where all repeats, NaN elsewhere; None where nothing does."""
        if name not in predictions:
            return None
        stresses = self._scale * predictions[name][order].astype(np.float64)
        return np.where(self._repeats[:, None], stresses, np.nan)

    def _true_stresses(self, options: ForcesOptions) -> Float[np.ndarray, "M 6"] | None:
        """Those that the file has under the run's names; None where it has none of such a shape."""
        held = self._configurations.properties.get(options.virial_key or options.stress_key)
        if held is None or held.shape[1:] not in SHAPES:
            return None
        return select_stresses(
            self._configurations,
            stress_key=options.stress_key,
            virial_key=options.virial_key,
            factor=UNITS[options.unit],
        )

    def _of_atoms(self, rows: Float[np.ndarray, "M N 3"]) -> Float[np.ndarray, "A 3"]:
        return rows[np.arange(rows.shape[1]) < self._configurations.num_atoms[:, None]]


def check_known(path: Path, configurations: Configurations, config: SavedConfig) -> None:
    """Makes sure that a run knows what configurations are made of.

    Args:
      path: Where they come from, for the message.
      configurations: What is to be predicted for.
      config: The run.

    Raises:
      ValueError: If the cell of one repeats and the model sees atoms at any distance, or one holds
        an element that the run does not know.
    """
    check_sees_cells(path, configurations, config.model)
    check_elements(path, configurations, config.references)


def _columns(
    energies: Float[np.ndarray, " M"] | None,
    forces: Float[np.ndarray, "A 3"] | None,
    stresses: Float[np.ndarray, "M 6"] | None,
    owner: Int[np.ndarray, " A"],
) -> dict[str, np.ndarray]:
    columns = {} if energies is None else {"energy_eV": energies[owner]}
    if forces is not None:
        columns |= {f"force_{axis}_eV/Å": forces[:, i] for i, axis in enumerate("xyz")}
    if stresses is not None:
        columns |= {f"stress_{c}_eV/Å³": stresses[owner, i] for i, c in enumerate(_COMPONENTS)}
    return columns


def _added(held: Mapping[str, np.ndarray], name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """Properties with one more; the one that had its name before gets a free one."""
    renamed = name
    while renamed in held:
        renamed += "_true"
    kept = {renamed if key == name else key: array for key, array in held.items()}
    return {name: values, **kept}

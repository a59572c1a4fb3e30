"""Configurations in memory, with what training and evaluation ask for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from eqattn import numerics
from eqattn.config import RunConfig, Standardization, TrainingRange
from eqattn.data.atoms.elements import one_hot_table
from eqattn.data.atoms.padding import (
    bucket_tables,
    endless_of_buckets,
    once_of_buckets,
    one_of_each_bucket,
    whole_buckets,
)
from eqattn.data.atoms.references import sum_references
from eqattn.models import PotentialNetwork
from eqattn.tasks.core.atom_ranges import molecule_quantities
from eqattn.tasks.core.atoms import widened
from eqattn.tasks.core.config_checks import task_options
from eqattn.tasks.core.ranges import training_ranges
from eqattn.tasks.core.task import Batch, Panel, Predictions, Score, Series, weighted_sums
from eqattn.tasks.forces.cells import ListedNeighbors, check_sees_cells
from eqattn.tasks.forces.data import Labeled
from eqattn.tasks.forces.presets import ENERGY, FORCES, SCORE_UNITS, STRESS, ForcesOptions
from eqattn.tasks.forces.stresses import GPA, atom_volumes, stress_errors
from eqattn.typing import Array, Float, Key

__all__ = ["ForcesProblem"]


class ForcesProblem:
    """Configurations in memory, ready to train on; see :class:`eqattn.tasks.Problem`.

    Args:
      config: Configuration of the run.
      parts: Configurations of each split, with their labels.
      references: Energy of each element, by its symbol.
      standardization: Constants of forces and energies, which have one scale.

    Raises:
      ValueError: If a split has an element without a reference.
    """

    out_features = 1

    def __init__(
        self,
        config: RunConfig,
        parts: Mapping[str, Labeled],
        references: Mapping[str, float],
        standardization: tuple[Standardization, ...],
    ):
        self.config, self.options = config, task_options(config, ForcesOptions)
        self.references, self.standardization = dict(references), standardization
        self.in_features = len(references)
        self.num_examples = {name: len(part) for name, part in parts.items()}
        self._has_stress = any(not np.isnan(part.stresses).all() for part in parts.values())
        self.unknown_labels = {
            name: counts
            for name, part in parts.items()
            if (counts := _unknown(part, has_stress=self._has_stress))
        }
        self._dtype = jnp.promote_types(jnp.float32, config.model.network.dtype)
        self._scale = standardization[0].scale
        self._parts = parts
        self._left = {
            name: part.energies - sum_references(part.configurations, references)
            for name, part in parts.items()
        }
        sizes = np.concatenate([part.configurations.num_atoms for part in parts.values()])
        self._buckets = whole_buckets(self.options.buckets, sizes)
        self._species = one_hot_table(list(references))
        held = {name: part.configurations for name, part in parts.items()}
        cutoffs = [check_sees_cells(config.data, x, config.model) for x in held.values()]
        cutoff = next((x for x in cutoffs if x is not None), None)
        self._neighbors = None if cutoff is None else ListedNeighbors(held, cutoff)

    def training_ranges(self) -> tuple[TrainingRange, ...]:
        """Returns the ranges of sizes and distances in the training split; none of crystals."""
        if self._neighbors is not None:
            return ()
        return training_ranges(molecule_quantities(self._parts["train"].configurations))

    def training_batches(self) -> Any:
        """Returns the endless stream of training batches; batch ``i`` is seen by step ``i``."""
        size, seed = self.config.batch_size, self.config.seed
        return endless_of_buckets(self._tables("train"), self._finished, batch_size=size, seed=seed)

    def batch_of_each_shape(self) -> Sequence[Batch]:
        """Returns a training batch of each bucket."""
        return one_of_each_bucket(self._tables("train"), self._finished)

    def evaluation_batches(self, split: str) -> Iterable[Batch]:
        """Returns each configuration of a split once.

        Args:
          split: "train", "validation" or "test".
        """
        return once_of_buckets(self._tables(split), self._finished)

    def _tables(self, split: str) -> list[tuple[dict[str, np.ndarray], int]]:
        part, left = self._parts[split], self._left[split]
        known = ~np.isnan(left)
        forces_known = np.asarray(~np.isnan(part.forces).any(axis=-1))
        rows, atom_rows = ({}, {}) if self._neighbors is None else self._neighbors.rows(split)
        if self._has_stress:
            stress_known = np.asarray(~np.isnan(part.stresses).any(axis=-1))
            stresses = np.where(stress_known[:, None], part.stresses / self._scale, 0)
            rows |= {
                STRESS: stresses.astype(np.float32),
                "stress_known": stress_known,
                "atom_volume": atom_volumes(part.configurations).astype(np.float32),
            }
        return bucket_tables(
            part.configurations,
            batch_size=self.config.batch_size,
            buckets=self._buckets,
            rows={
                **rows,
                "energy": np.where(known, left / self._scale, 0).astype(np.float32),
                "energy_known": known,
            },
            atom_rows={
                **atom_rows,
                "forces": np.where(forces_known[:, None], part.forces / self._scale, 0).astype(
                    np.float32
                ),
                "forces_known": forces_known,
            },
        )

    def _finished(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        batch["features"] = self._species[batch.pop("numbers")]
        return batch

    def augment(self, batch: Batch, key: Key[Array, ""]) -> Batch:
        """Returns the batch with what each known label counts for in the mean over rows.

        Args:
          batch: A training batch.
          key: Not needed: nothing is random.
        """
        del key
        weight = jnp.asarray(batch["weight"])
        rows, known = jnp.sum(weight), jnp.asarray(batch["forces_known"])
        counts = {"force_share": jnp.sum(weight[:, None] * known)}
        for name in (ENERGY, STRESS) if self._has_stress else (ENERGY,):
            counts[f"{name}_share"] = jnp.sum(weight * jnp.asarray(batch[f"{name}_known"]))
        shares = {
            name: jnp.full_like(weight, rows / jnp.maximum(num, 1.0))
            for name, num in counts.items()
        }
        return {**batch, **shares}

    def loss(
        self, model: Any, batch: Batch, key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Returns the summed losses of configurations, and their weights.

        Args:
          model: The model.
          batch: What :meth:`augment` made of a training batch.
          key: Key of the dropout.
        """
        options = self.options
        has_stress = self._has_stress and options.stress_weight > 0
        *predicted, stresses = self._predicted(
            model, batch, has_stress=has_stress, key=key, training=True
        )
        energy, forces = _errors((predicted[0], predicted[1]), batch)
        losses = jnp.asarray(batch["force_share"]) * jnp.sum(forces, axis=-1)
        losses += options.energy_weight * jnp.asarray(batch["energy_share"]) * energy
        if has_stress:
            share = options.stress_weight * jnp.asarray(batch["stress_share"])
            losses += share * stress_errors(stresses, batch)
        return weighted_sums(losses, batch)

    def _predicted(
        self, model: PotentialNetwork, batch: Batch, *, has_stress: bool, **options: Any
    ) -> tuple[Float[Array, " B"], Float[Array, "B N 3"], Any]:
        """Energies, forces, and stresses or None."""
        inputs = (
            jnp.asarray(batch["points"], self._dtype),
            jnp.asarray(batch["features"], self._dtype),
            jnp.asarray(batch["mask"]),
        )
        options["example_ids"] = jnp.asarray(batch["id"])
        if self._neighbors is not None:
            options["neighbors"] = self._neighbors.of_batch(batch, self._dtype)
        if has_stress:
            return model.energies_forces_and_stresses(*inputs, **options)
        return *model.energies_and_forces(*inputs, **options), None

    def predict(self, model: Any, batch: Batch, num_lifts: int) -> dict[str, Float[Array, "B ..."]]:
        """Returns energies, forces, stresses and labels in standardized units, and losses.

        Args:
          model: The model.
          batch: An evaluation batch.
          num_lifts: Not needed: nothing is drawn.
        """
        del num_lifts
        energies, forces, stresses = self._predicted(model, batch, has_stress=self._has_stress)
        energy_error, force_errors = _errors((energies, forces), batch)
        known = jnp.asarray(batch["forces_known"])
        mean = jnp.sum(force_errors, axis=-1) / jnp.maximum(jnp.sum(known, axis=-1), 1)
        loss = mean + self.options.energy_weight * energy_error
        size = self._buckets[-1]  # batches are of several lengths
        found: dict[str, Array] = {}
        if self._has_stress:
            loss += self.options.stress_weight * stress_errors(stresses, batch)
            known_stress = jnp.asarray(batch["stress_known"])
            target = jnp.asarray(batch[STRESS])
            found = {STRESS: stresses, "stress_target": target, "stress_known": known_stress}
        return {
            **found,
            "energy": energies,
            "energy_target": jnp.asarray(batch["energy"]),
            "energy_known": jnp.asarray(batch["energy_known"]),
            "forces": widened(forces, size),
            "forces_target": widened(batch["forces"], size),
            "forces_known": widened(known, size),
            "loss": loss,
        }

    def score(self, split: str, predictions: Predictions) -> tuple[Score, ...]:
        """Returns mean absolute errors of components of forces, of energies, and of stresses.

        Args:
          split: "train", "validation" or "test".
          predictions: What :meth:`predict` returned, over the whole split.
        """
        del split  # its labels are in the predictions
        scores = []
        for name in self._quantities:
            ours, true = self._physical(name, predictions)
            if not len(true):
                continue
            median = float(np.nanmedian(self._left["train"])) if name == ENERGY else 0.0
            value, baseline = np.mean(np.abs(ours - true)), np.mean(np.abs(true - median))
            scores.append(Score(name, "mae", float(value), float(baseline), SCORE_UNITS[name]))
        return tuple(scores)

    @property
    def _quantities(self) -> tuple[str, ...]:
        return (FORCES, ENERGY, STRESS) if self._has_stress else (FORCES, ENERGY)

    def _physical(self, name: str, predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
        """Predicted and true numbers of a quantity where they are known, one after the other."""
        known, factor = predictions[f"{name}_known"], self._scale * (GPA if name == STRESS else 1)
        ours, true = (
            factor * predictions[key][known].astype(np.float64).ravel()
            for key in (name, f"{name}_target")
        )
        return ours, true

    def figures(self, split: str, predictions: Predictions) -> dict[str, tuple[Panel, ...]]:
        """Returns the figure "predictions": predicted against true forces, energies and stresses.

        Args:
          split: "train", "validation" or "test".
          predictions: What :meth:`predict` returned, over the whole split.
        """
        panels = []
        for name in self._quantities:
            unit = SCORE_UNITS[name]
            ours, true = self._physical(name, predictions)
            error = float(np.mean(np.abs(ours - true))) if len(true) else np.nan
            panels.append(
                Panel(
                    title=f"{name}, {split}",
                    x_label=f"true [{unit}]",
                    y_label=f"predicted [{unit}]",
                    series=(Series("", true, ours, "dots"),),
                    note=f"MAE {error:.3g} {unit}"
                    if name == STRESS
                    else f"MAE {1000 * error:.3g} m{unit}",
                    is_comparison=True,
                )
            )
        return {"predictions": tuple(panels)}


def _errors(
    predicted: tuple[Float[Array, " B"], Float[Array, "B N 3"]], batch: Batch
) -> tuple[Float[Array, " B"], Float[Array, "B N"]]:
    """|ΔE|, and |ΔF| of each atom, 0 where the label is not known."""
    energies, forces = predicted
    missed = jnp.where(
        jnp.asarray(batch["forces_known"])[..., None], forces - jnp.asarray(batch["forces"]), 0
    )
    sizes = numerics.safe_sqrt(jnp.sum(missed**2, axis=-1))
    off = jnp.where(jnp.asarray(batch["energy_known"]), energies - jnp.asarray(batch["energy"]), 0)
    return jnp.abs(off), sizes


def _unknown(part: Labeled, *, has_stress: bool) -> dict[str, int]:
    """How many configurations have no energy, an atom without a force, or a cell without a stress.

    Args:
      part: Configurations of a split.
      has_stress: Whether any stress is known.
    """
    whole = part.configurations
    lost = np.isnan(part.forces).any(axis=-1).astype(np.int64)
    lacks = np.isnan(part.stresses).any(axis=-1) & whole.periodic.all(axis=1)
    counts = {
        FORCES: int(np.sum(np.add.reduceat(lost, whole.offsets[:-1]) > 0)),
        ENERGY: int(np.sum(np.isnan(part.energies))),
        STRESS: int(np.sum(lacks)) if has_stress else 0,
    }
    return {name: count for name, count in counts.items() if count}

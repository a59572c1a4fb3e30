"""Runs as functions of arrays, which :mod:`eqattn.interop.exported` writes to files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from eqattn import numerics
from eqattn.config import SavedConfig
from eqattn.data.atoms.elements import SYMBOLS
from eqattn.models import Ensemble
from eqattn.neighbors import NeighborList
from eqattn.simulation.potential import Potential
from eqattn.tasks.molecules.features import feature_table
from eqattn.tasks.molecules.targets import ELEMENTS
from eqattn.typing import Array, Bool, Float, Int

__all__ = ["Exportable", "of_molecules", "of_potential", "of_potential_with_lists"]

Outputs = dict[str, Array]
"""Results by their name and unit."""


@dataclass(frozen=True, eq=False)
class Exportable:
    """A run as a function of arrays alone.

    Attributes:
      call: The function: from its arguments, in their order, to results by name and unit.
      arguments: Shape and type of each argument by its name; sizes are symbols.
      outputs: Names of the results.
      elements: Symbols of the elements that the run knows.
      dtype: Data type of positions and results.
      cutoff: Distance in Å up to which lists must hold all pairs; None where there are no lists.
    """

    call: Callable[..., Outputs]
    arguments: dict[str, jax.ShapeDtypeStruct]
    outputs: tuple[str, ...]
    elements: tuple[str, ...]
    dtype: Any
    cutoff: float | None = None


def of_potential(potential: Potential) -> Exportable:
    """Returns energies and forces of atoms that all see each other.

    Args:
      potential: What :func:`eqattn.simulation.load_potential` returned.
    """
    references = _reference_table(potential)

    def call(numbers: Int[Array, "B N"], positions: Float[Array, "B N 3"]) -> Outputs:
        energies, forces = potential.energies_and_forces(numbers, positions)
        totals = energies + jnp.sum(references[numbers], axis=-1)
        return {"energy_eV": totals, "forces_eV/Å": forces}

    return Exportable(
        call,
        _atoms(potential.dtype),
        ("energy_eV", "forces_eV/Å"),
        potential.elements,
        potential.dtype,
    )


def of_potential_with_lists(potential: Potential) -> Exportable:
    """Returns energies, forces and stresses of atoms that see each other by lists, also in cells.

    Args:
      potential: What :func:`eqattn.simulation.load_potential` returned.

    Raises:
      ValueError: If it sees atoms at any distance, so that no list holds all pairs.
    """
    if potential.cutoff is None:
        raise ValueError(
            "lists of neighbors need a run whose layer has a cutoff; this one sees atoms at any "
            "distance"
        )
    references = _reference_table(potential)

    def call(
        numbers: Int[Array, "B N"],
        positions: Float[Array, "B N 3"],
        neighbors: Int[Array, "B N K"],
        is_neighbor: Bool[Array, "B N K"],
        shifts: Int[Array, "B N K 3"],
        cells: Float[Array, "B 3 3"],
    ) -> Outputs:
        listed, is_right = _listed(numbers, neighbors, is_neighbor, shifts, cells)
        energies, forces, stresses = potential.evaluate_in_cell(numbers, positions, listed)
        totals = jnp.sum(energies, axis=-1) + jnp.sum(references[numbers], axis=-1)
        found = {"energy_eV": totals, "forces_eV/Å": forces, "stress_eV/Å³": stresses}
        return {name: _where(is_right, x) for name, x in found.items()}

    b, n, k = export.symbolic_shape("b, n, k", constraints=["b >= 1", "n >= 1", "k >= 1"])
    return Exportable(
        call,
        _atoms(potential.dtype, b, n)
        | {
            "neighbors": jax.ShapeDtypeStruct((b, n, k), jnp.int32),
            "is_neighbor": jax.ShapeDtypeStruct((b, n, k), jnp.bool),
            "shifts": jax.ShapeDtypeStruct((b, n, k, 3), jnp.int32),
            "cells": jax.ShapeDtypeStruct((b, 3, 3), potential.dtype),
        },
        ("energy_eV", "forces_eV/Å", "stress_eV/Å³"),
        potential.elements,
        potential.dtype,
        potential.cutoff,
    )


def of_molecules(model: Any, config: SavedConfig) -> Exportable:
    """Returns the targets of a run of the task "molecules", of molecules or of their atoms.

    Args:
      model: The model, or an ensemble, whose mean is taken.
      config: Its run.

    Raises:
      ValueError: If the model draws, so that it has no one prediction.
    """
    one = model.members if isinstance(model, Ensemble) else model
    if getattr(one, "is_stochastic", False):
        raise ValueError(
            "the model draws lifts or neighbors at random, and a file of it would draw others than "
            "predictions do"
        )
    dtype = jnp.promote_types(jnp.float32, config.model.network.dtype)
    constants = config.standardization
    names = tuple(c.target if c.unit == "1" else f"{c.target}_{c.unit}" for c in constants)
    table, elements = feature_table(config.elements), config.elements or tuple(ELEMENTS)
    sums = np.zeros((len(SYMBOLS) + 1, len(constants)))
    for column, c in enumerate(constants):
        for symbol, value in c.references.items():
            sums[SYMBOLS.index(symbol) + 1, column] = value

    def call(numbers: Int[Array, "B N"], positions: Float[Array, "B N 3"]) -> Outputs:
        mask = numbers != 0
        features = jnp.asarray(table, dtype)[numbers]
        is_known = ~jnp.any(jnp.isnan(features), axis=(-2, -1))
        points = numerics.centered(jnp.asarray(positions, dtype), mask)
        values = numerics.at_least_float32(model(points, jnp.nan_to_num(features), mask))
        scales, means = (
            jnp.asarray([getattr(c, name) for c in constants], values.dtype)
            for name in ("scale", "mean")
        )
        values = values * scales + means
        if values.ndim == 2:
            values = values + jnp.sum(jnp.asarray(sums, values.dtype)[numbers], axis=1)
        else:
            values = jnp.where(mask[..., None], values, 0)
        values = _where(is_known, values)
        return {name: values[..., i] for i, name in enumerate(names)}

    return Exportable(call, _atoms(dtype), names, elements, dtype)


def _atoms(dtype: Any, *sizes: Any) -> dict[str, jax.ShapeDtypeStruct]:
    shape = sizes or export.symbolic_shape("b, n", constraints=["b >= 1", "n >= 1"])
    return {
        "numbers": jax.ShapeDtypeStruct(shape, jnp.int32),
        "positions": jax.ShapeDtypeStruct((*shape, 3), dtype),
    }


def _reference_table(potential: Potential) -> Float[Array, " _"]:
    """The reference energy of each atomic number, 0 of elements that are not known."""
    references = np.zeros(len(SYMBOLS) + 1)
    numbers = [SYMBOLS.index(symbol) + 1 for symbol in potential.elements]
    references[numbers] = potential.references
    return jnp.asarray(references, potential.dtype)


def _listed(
    numbers: Int[Array, "B N"],
    neighbors: Int[Array, "B N K"],
    is_neighbor: Bool[Array, "B N K"],
    shifts: Int[Array, "B N K 3"],
    cells: Float[Array, "B 3 3"],
) -> tuple[NeighborList, Bool[Array, " B"]]:
    """The list that a model takes, in which each atom sees itself first, and where it is right."""
    num_atoms = numbers.shape[1]
    itself = jnp.broadcast_to(jnp.arange(num_atoms, dtype=jnp.int32)[:, None], neighbors.shape)
    is_inside = (neighbors >= 0) & (neighbors < num_atoms)
    is_right = jnp.all(is_inside | ~is_neighbor, axis=(-2, -1))
    neighbors = jnp.where(is_inside & is_neighbor, neighbors, 0)
    is_atom = numbers != 0
    is_itself = (neighbors == itself) & jnp.all(shifts == 0, axis=-1)
    sees = is_neighbor & is_inside & ~is_itself & is_atom[..., None]
    sees &= jax.vmap(lambda of_atoms, chosen: of_atoms[chosen])(is_atom, neighbors)
    listed = NeighborList(
        indices=jnp.concatenate([itself[..., :1], neighbors], axis=-1),
        mask=jnp.concatenate([is_atom[..., None], sees], axis=-1),
        shifts=jnp.concatenate([jnp.zeros_like(shifts[..., :1, :]), shifts], axis=-2),
        cells=cells,
    )
    return listed, is_right


def _where(is_right: Bool[Array, " B"], x: Array) -> Array:
    """The same, NaN for the rows that are not right."""
    return jnp.where(is_right.reshape(-1, *[1] * (x.ndim - 1)), x, jnp.nan)

"""What a trained run says of atoms: energies in eV, and forces in eV/Å."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn import numerics
from eqattn.checks import check_option
from eqattn.config import SavedConfig
from eqattn.data.atoms.elements import SYMBOLS, element_symbol, one_hot_table
from eqattn.models import Ensemble, PotentialNetworkConfig
from eqattn.models.neighbor_lists import distance_seen
from eqattn.models.potential import forces_and_stresses
from eqattn.neighbors import NeighborList
from eqattn.pytrees import register_dataclass
from eqattn.train.model_files import load_checkpoint
from eqattn.typing import Array, Float, Int

__all__ = ["Potential", "load_potential"]

Precision = Literal["float32", "float64"]


class Architecture:
    """A model without its parameters, whose hash is computed once: that of Flax takes half a ms.

    Args:
      graphdef: What Flax has of the model beside its parameters.
    """

    def __init__(self, graphdef: nnx.GraphDef):
        self.graphdef = graphdef
        self._hash = hash(graphdef)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: Any) -> bool:
        return self is other or (
            isinstance(other, Architecture)
            and self._hash == other._hash
            and self.graphdef == other.graphdef
        )


@register_dataclass
@dataclass(frozen=True, eq=False)
class Potential:
    """The energy of atoms that a run learned, as a pytree: an argument of programs, not a constant.

    Energies are relative to the references of the elements, which are large and change nothing:
    float32 holds the rest with all digits. :meth:`reference_energies` has them, in float64.

    Attributes:
      architecture: The model without its parameters.
      params: Parameters of the model.
      elements: Symbols of the elements that the model knows.
      references: Energy of each of them, in eV.
      scale: Energies in eV of one unit of the model.
      num_members: Models of an ensemble, whose energies are averaged; their parameters are stacked.
      cutoff: Distance in ångström from which on atoms do not see each other; None where all do.
    """

    architecture: Architecture = field(metadata={"static": True})
    params: Any
    elements: tuple[str, ...] = field(metadata={"static": True})
    references: tuple[float, ...] = field(metadata={"static": True})
    scale: Float[Array, ""]
    num_members: int = field(default=1, metadata={"static": True})
    cutoff: float | None = field(default=None, metadata={"static": True})

    @property
    def dtype(self) -> Any:
        """Data type of energies and forces."""
        return self.scale.dtype

    def atom_energies(
        self,
        numbers: Int[Array, "*B N"],
        positions: Float[Array, "*B N 3"],
        neighbors: NeighborList | None = None,
    ) -> Float[Array, "*B N"]:
        """The energy of each atom beyond its reference, in eV; 0 where there is none.

        Args:
          numbers: Atomic numbers, 0 where there is no atom. Energies are NaN where the model does
            not know an element.
          positions: Where the atoms are, in ångström.
          neighbors: Atoms that each atom sees, and the lattice vectors that move them; by default
            all atoms, and no cell.
        """
        numbers, mask = jnp.asarray(numbers), jnp.asarray(numbers) != 0
        species = jnp.asarray(one_hot_table(self.elements), self.dtype)
        points = numerics.centered(jnp.asarray(positions, self.dtype), mask)

        def of_model(params: Any) -> Array:
            model: Any = nnx.merge(self.architecture.graphdef, params)
            return model.atom_energies(points, species[numbers], mask, neighbors=neighbors)

        if neighbors is not None and neighbors.cells is not None:
            neighbors = replace(neighbors, cells=neighbors.cells.astype(self.dtype))

        if self.num_members == 1:
            return self.scale * of_model(self.params)
        return self.scale * jnp.mean(jax.vmap(of_model)(self.params), axis=0)

    def evaluate(
        self,
        numbers: Int[Array, "*B N"],
        positions: Float[Array, "*B N 3"],
        neighbors: NeighborList | None = None,
    ) -> tuple[Float[Array, "*B N"], Float[Array, "*B N 3"]]:
        """The energies of atoms beyond their references in eV, and the forces on them in eV/Å.

        Args:
          numbers: Atomic numbers, 0 where there is no atom.
          positions: Where the atoms are, in ångström.
          neighbors: Atoms that each atom sees, as of :meth:`atom_energies`.
        """

        def total(positions: Array) -> tuple[Array, Array]:
            energies = self.atom_energies(numbers, positions, neighbors)
            return jnp.sum(energies), energies

        slopes, energies = jax.grad(total, has_aux=True)(jnp.asarray(positions, self.dtype))
        return energies, -slopes

    def evaluate_in_cell(
        self,
        numbers: Int[Array, "*B N"],
        positions: Float[Array, "*B N 3"],
        neighbors: NeighborList,
    ) -> tuple[Float[Array, "*B N"], Float[Array, "*B N 3"], Float[Array, "*B 6"]]:
        """Energies and forces as of :meth:`evaluate`, and stresses in eV/Å³ in Voigt's order.

        Args:
          numbers: Atomic numbers, 0 where there is no atom.
          positions: Where the atoms are, in ångström.
          neighbors: Atoms that each atom sees in its cell, up to the cutoff at least.

        Raises:
          ValueError: For a list without cells.
        """
        if neighbors.cells is None:
            raise ValueError("neighbors must have cells, got none")

        def energies_of(positions: Array, cells: Array) -> Array:
            return self.atom_energies(numbers, positions, replace(neighbors, cells=cells))

        cells = neighbors.cells.astype(self.dtype)
        return forces_and_stresses(energies_of, jnp.asarray(positions, self.dtype), cells)

    def energies_and_forces(
        self,
        numbers: Int[Array, "*B N"],
        positions: Float[Array, "*B N 3"],
        neighbors: NeighborList | None = None,
    ) -> tuple[Float[Array, "*B"], Float[Array, "*B N 3"]]:
        """The energies beyond the references in eV, and the forces in eV/Å.

        Args:
          numbers: Atomic numbers, 0 where there is no atom.
          positions: Where the atoms are, in ångström.
          neighbors: Atoms that each atom sees, as of :meth:`atom_energies`.
        """
        energies, forces = self.evaluate(numbers, positions, neighbors)
        return jnp.sum(energies, axis=-1), forces

    def members(self) -> tuple[Potential, ...]:
        """The potentials whose mean this one is; itself where it is of one model."""
        if self.num_members == 1:
            return (self,)
        rows = (jax.tree.map(lambda x, i=i: x[i], self.params) for i in range(self.num_members))
        return tuple(replace(self, params=params, num_members=1) for params in rows)

    def atom_references(self, numbers: Int[np.ndarray, "*B N"]) -> Float[np.ndarray, "*B N"]:
        """The reference energy of each atom in eV, in float64; 0 where there is none.

        Args:
          numbers: Atomic numbers, 0 where there is no atom.

        Raises:
          ValueError: If the model does not know one of the elements.
        """
        self.check_elements(numbers)
        table = np.zeros(len(SYMBOLS) + 1)
        for symbol, energy in zip(self.elements, self.references, strict=True):
            table[SYMBOLS.index(symbol) + 1] = energy
        return table[numbers]

    def check_elements(self, numbers: Int[np.ndarray, "*B N"]) -> None:
        """Makes sure that the model knows all elements.

        Args:
          numbers: Atomic numbers, 0 where there is no atom.

        Raises:
          ValueError: If it does not; the message names one.
        """
        known = [0, *(SYMBOLS.index(symbol) + 1 for symbol in self.elements)]
        unknown = np.setdiff1d(numbers, known)
        if unknown.size:
            number = int(unknown[0])
            name = element_symbol(number) if 0 < number <= len(SYMBOLS) else f"number {number}"
            raise ValueError(
                f"numbers: the run does not know the element {name}; it was trained on "
                f"{', '.join(self.elements)}."
            )


def load_potential(directory: str | os.PathLike[str], dtype: Precision | None = None) -> Potential:
    """Returns the potential of a run of the task "forces", with its best averaged parameters.

    Args:
      directory: A run folder.
      dtype: ``"float32"`` or ``"float64"``; by default that of the run. Forces of float64 are
        derivatives to 1e-14, whatever the run was trained in.

    Raises:
      FileNotFoundError: If it is not a run folder, or has no parameters yet.
      ValueError: If the run has no forces, is damaged, or float64 is asked for without
        ``jax_enable_x64``.
    """
    if dtype is not None:
        check_option("dtype", dtype, Precision)
    model, config, _ = load_checkpoint(directory, dtype)
    if not isinstance(config, SavedConfig) or not isinstance(config.model, PotentialNetworkConfig):
        raise ValueError(f"{directory} is no run of the task 'forces': it has no potential.")
    num_members = model.size if isinstance(model, Ensemble) else 1
    of_one = model.members if isinstance(model, Ensemble) else model
    graphdef, params = nnx.split(of_one, nnx.Param)
    kind = jnp.promote_types(jnp.float32, config.model.network.dtype)
    return Potential(
        architecture=Architecture(graphdef),
        params=params,
        elements=tuple(config.references),
        references=tuple(config.references.values()),
        scale=jnp.asarray(config.standardization[0].scale, kind),
        num_members=num_members,
        cutoff=distance_seen(config.model.network),
    )


@jax.jit
def evaluate(
    potential: Potential, numbers: Int[Array, "*B N"], positions: Float[Array, "*B N 3"]
) -> tuple[Float[Array, "*B N"], Float[Array, "*B N 3"]]:
    """:meth:`Potential.evaluate` as one program, which is compiled once for each shape."""
    return potential.evaluate(numbers, positions)


@jax.jit
def evaluate_in_cell(
    potential: Potential,
    numbers: Int[Array, "*B N"],
    positions: Float[Array, "*B N 3"],
    neighbors: NeighborList,
) -> tuple[Float[Array, "*B N"], Float[Array, "*B N 3"], Float[Array, "*B 6"]]:
    """:meth:`Potential.evaluate_in_cell` as one program, likewise."""
    return potential.evaluate_in_cell(numbers, positions, neighbors)

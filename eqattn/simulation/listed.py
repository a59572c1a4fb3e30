"""Motion in cells that repeat, by neighbor lists that are made anew where atoms went too far."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.neighbors import NeighborList, VerletList
from eqattn.simulation.motion import MotionState, advance_near
from eqattn.simulation.potential import Potential
from eqattn.typing import Array, Bool, Float, Int, Key

__all__ = ["ListedMotion"]


class ListedMotion:
    """Steps of atoms that see each other by lists, each configuration by its own.

    A list holds all pairs up to the cutoff and a skin beyond it. Steps go on in one program until
    an atom is about to be farther than half the skin from where it was listed; that step is not
    done, the list of its configuration is made anew on the host, and the program goes on. So no
    force is ever of a list in which a pair within the cutoff may be missing. A list has places to
    spare, and where they do not suffice the next one has more: then, and only then, the program is
    compiled once more.

    Args:
      potential: What moves the atoms.
      numbers: Atomic numbers; where there is no atom, 0, after all atoms.
      cells: Lattice vectors as rows, in Å.
      periodic: Whether a configuration repeats along each of them.
      skin: Distance beyond the cutoff up to which pairs are listed, in Å.

    Raises:
      ValueError: If the potential sees atoms at any distance, of which a cell has infinitely many,
        or an atom comes after a place without one.
    """

    def __init__(
        self,
        potential: Potential,
        numbers: Int[np.ndarray, "*B N"],
        cells: Float[np.ndarray, "*B 3 3"],
        periodic: Bool[np.ndarray, "*B 3"],
        skin: float,
    ):
        if potential.cutoff is None:
            raise ValueError(
                "periodic must be False where the run sees atoms at any distance, since its layer "
                "has no cutoff"
            )
        *self._batch, num_points = numbers.shape
        mask = (numbers != 0).reshape(-1, num_points)
        self._num_atoms = mask.sum(axis=-1)
        if (mask != (np.arange(num_points) < self._num_atoms[:, None])).any():
            raise ValueError(
                "numbers must have all atoms of a cell before places without one, which are 0"
            )
        self._potential, self._elements = potential, jnp.asarray(numbers, jnp.int32)
        self._cells, self._periodic = cells.reshape(-1, 3, 3), periodic.reshape(-1, 3)
        self._verlet = [VerletList(potential.cutoff, skin, num_points=num_points) for _ in mask]
        self._radius = jnp.asarray(0.5 * skin, potential.dtype)
        self._lists: dict[int, NeighborList] = {}
        self._origins = np.zeros((len(mask), num_points, 3))
        self._neighbors: Any = None

    @property
    def num_searches(self) -> int:
        """Lists that were made so far."""
        return sum(verlet.num_searches for verlet in self._verlet)

    def advance(
        self,
        state: MotionState,
        masses: Float[Array, "*B N"],
        key: Key[Array, ""],
        settings: dict[str, Float[Array, ""]],
        num_steps: int,
    ) -> MotionState:
        """Returns the state some steps later.

        Args:
          state: State to begin from.
          masses: Masses in amu; 0 where there is no atom.
          key: Random key of the noise.
          settings: The time step and the bath, as of :func:`eqattn.simulation.advance`.
          num_steps: Number of steps.

        Raises:
          FloatingPointError: If an atom moves by more than the cutoff in one step.
        """
        if not self._lists:
            self._search(state.positions, np.ones(len(self._verlet), bool))
        done: Any = jnp.asarray(0)
        while True:
            state, done, positions, is_far = _advanced(
                self._potential, self._elements, masses, state, key, settings,
                self._neighbors, self._found_at, self._radius, done, jnp.asarray(num_steps),
            )  # fmt: skip
            far = np.asarray(is_far).reshape(-1)
            if not far.any():
                return state
            self._check(state.positions, positions)
            self._search(positions, far)

    def _check(self, before: Any, after: Any) -> None:
        steps = np.linalg.norm(np.asarray(after - before, np.float64), axis=-1)
        longest = steps.reshape(len(self._verlet), -1).max(axis=-1)
        place = int(np.argmax(longest))
        if longest[place] > self._verlet[place].cutoff:
            raise FloatingPointError(
                f"configuration {place}: an atom moves by {longest[place]:.3g} Å in one step; try "
                "a shorter time_step"
            )

    def _search(self, positions: Any, chosen: Bool[np.ndarray, " B"]) -> None:
        """Makes the lists of some configurations anew, of atoms at these positions."""
        rows = np.asarray(positions, np.float64).reshape(self._origins.shape)
        for place in np.flatnonzero(chosen).tolist():
            periodic = self._periodic[place]
            cell = self._cells[place] if periodic.any() else None
            atoms = rows[place, : self._num_atoms[place]]
            self._lists[place] = self._verlet[place].search(atoms, cell, periodic)
            self._origins[place] = rows[place]
        stacked = NeighborList.stack([self._lists[i] for i in range(len(rows))])

        def of_batch(x: Any) -> Array:
            return jnp.asarray(x).reshape(*self._batch, *x.shape[1:])

        self._neighbors = jax.tree.map(of_batch, stacked)
        self._found_at = of_batch(self._origins).astype(self._potential.dtype)


@jax.jit
def _advanced(
    potential: Potential,
    numbers: Int[Array, "*B N"],
    masses: Float[Array, "*B N"],
    state: MotionState,
    key: Key[Array, ""],
    settings: dict[str, Float[Array, ""]],
    neighbors: NeighborList,
    origins: Float[Array, "*B N 3"],
    radius: Float[Array, ""],
    first: Int[Array, ""],
    num_steps: Int[Array, ""],
) -> tuple[MotionState, Int[Array, ""], Float[Array, "*B N 3"], Bool[Array, "*B"]]:
    def field(positions: Array) -> tuple[Array, Array]:
        return potential.energies_and_forces(numbers, positions, neighbors)

    return advance_near(
        field, state, masses, key, origins=origins, radius=radius, first=first,
        num_steps=num_steps, **settings,
    )  # fmt: skip

"""Whole simulations: from a potential, atoms and a temperature to what they did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eqattn import numerics
from eqattn.checks import check_instance, check_key, check_numbers, check_sizes
from eqattn.data.atoms.masses import MASSES
from eqattn.simulation.listed import ListedMotion
from eqattn.simulation.motion import (
    MotionState,
    advance,
    draw_velocities,
    kinetic_energies,
    temperatures,
)
from eqattn.simulation.potential import Potential
from eqattn.typing import Array, Bool, Float, Int, Key

__all__ = ["Trajectory", "joined", "simulate", "simulated_states"]


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What atoms did, at S times from the start on; arrays are on the host.

    Attributes:
      times: Times since the start, in fs.
      positions: Where the atoms were, in Å.
      velocities: How they moved, in Å/fs.
      forces: Forces on them, in eV/Å.
      potential_energies: Potential energies beyond the references of the elements, in eV.
      kinetic_energies: Kinetic energies, in eV.
      temperatures: Temperatures, in kelvin.
    """

    times: Float[np.ndarray, " S"]
    positions: Float[np.ndarray, "S *B N 3"]
    velocities: Float[np.ndarray, "S *B N 3"]
    forces: Float[np.ndarray, "S *B N 3"]
    potential_energies: Float[np.ndarray, " S *B"]
    kinetic_energies: Float[np.ndarray, " S *B"]
    temperatures: Float[np.ndarray, " S *B"]

    def __len__(self) -> int:
        return len(self.times)

    @property
    def total_energies(self) -> Float[np.ndarray, " S *B"]:
        """Potential and kinetic energies together, in eV; conserved where there is no friction."""
        return self.potential_energies + self.kinetic_energies


def simulate(
    potential: Potential,
    numbers: Int[np.ndarray, "*B N"],
    positions: Float[np.ndarray, "*B N 3"],
    key: Key[Array, ""] | None = None,
    **options: Any,
) -> Trajectory:
    """Lets atoms move by a potential, and returns what they did.

    All states are in memory until the end; :func:`simulated_states` yields them as they come.

    Args:
      potential: What :func:`load_potential` returned.
      numbers: Atomic numbers, 0 where there is no atom.
      positions: Where the atoms are, in Å.
      key: Random key of the velocities at the start and of the noise; by default that of seed 0.
      **options: Numbers of steps and what else :func:`simulated_states` takes by name.

    Raises:
      FloatingPointError: If an energy is not finite any more.
      TypeError: For an argument of a wrong type.
      ValueError: For arguments that :func:`simulated_states` refuses.
    """
    return joined(simulated_states(potential, numbers, positions, key, **options))


def simulated_states(
    potential: Potential,
    numbers: Int[np.ndarray, "*B N"],
    positions: Float[np.ndarray, "*B N 3"],
    key: Key[Array, ""] | None = None,
    *,
    num_steps: int,
    every: int = 10,
    time_step: float = 0.5,
    temperature: float = 300.0,
    friction: float = 0.01,
    velocities: Float[np.ndarray, "*B N 3"] | None = None,
    cells: Float[np.ndarray, "*B 3 3"] | None = None,
    periodic: Bool[np.ndarray, "*B 3"] | None = None,
    skin: float = 0.5,
) -> Iterator[Trajectory]:
    """Lets atoms move by a potential, and yields each state that is kept as it comes.

    Each is a trajectory of one time; :func:`joined` makes one of all. Several configurations of a
    batch are simulated at once, each by itself. The program is compiled once for each shape and
    ``every``; other numbers change nothing.

    Cells that repeat stay as they are. Atoms see each other and their images by neighbor lists,
    which are made anew before an atom is farther than half the skin from where it was listed; a
    list that is longer than any before has the program compiled once more. Positions are not
    moved back into the cell: how far an atom came is their difference.

    Args:
      potential: What :func:`load_potential` returned.
      numbers: Atomic numbers, 0 where there is no atom.
      positions: Where the atoms are, in Å.
      key: Random key of the velocities at the start and of the noise; by default that of seed 0.
      num_steps: Number of steps, a multiple of ``every``.
      every: Number of steps from one state that is kept to the next.
      time_step: Length of a step, in fs; 0.5 suits bonds of hydrogen.
      temperature: Temperature in kelvin: of the bath, and of the velocities at the start.
      friction: Friction of Langevin's bath, in 1/fs; 0 for none, which conserves the energy.
      velocities: Velocities at the start, in Å/fs; drawn by default.
      cells: Lattice vectors as rows, in Å; by default nothing repeats.
      periodic: Whether configurations repeat along each of them; with ``cells`` alone.
      skin: Distance beyond the cutoff up to which atoms are listed in cells, in Å.

    Raises:
      FloatingPointError: If an energy is not finite any more, or an atom in a cell leaps.
      TypeError: For an argument of a wrong type.
      ValueError: For a number out of range, arrays whose shapes do not fit, an element that the
        potential does not know, or cells that repeat where it sees atoms at any distance.
    """
    numbers, positions = np.asarray(numbers), np.asarray(positions, np.float64)
    _check(potential, numbers, positions, velocities)
    motion = _motion(potential, numbers, cells, periodic, skin)
    check_key(key)
    check_sizes({"num_steps": num_steps, "every": every})
    if num_steps % every:
        raise ValueError(f"num_steps must be a multiple of every, {every}, got {num_steps}")
    bath = {"time_step": time_step, "temperature": temperature, "friction": friction}
    check_numbers(bath)
    if not 0 < time_step < np.inf:
        raise ValueError(f"time_step must be positive and finite, got {time_step}")
    for name, value in bath.items():
        if not 0 <= value < np.inf:
            raise ValueError(f"{name} must be finite and not negative, got {value}")
    # Copies with the precision of the potential, counted from the centroid, which float32 resolves.
    centers = numerics.mean_position(positions, numbers != 0)
    points = jnp.asarray(positions - centers, potential.dtype)
    masses, elements = (
        jnp.asarray(MASSES[numbers], potential.dtype),
        jnp.asarray(numbers, jnp.int32),
    )
    noise, drawing = jax.random.split(jax.random.key(0) if key is None else key)
    if velocities is None:
        moving = draw_velocities(drawing, masses, temperature)
    else:
        moving = jnp.asarray(velocities, potential.dtype)
    settings = {name: jnp.asarray(value, potential.dtype) for name, value in bath.items()}
    # Steps of no time find the forces at the start, by the program that all other steps need.
    state = MotionState(points, moving, jnp.zeros_like(masses[..., 0]), jnp.zeros_like(points))
    still = settings | {"time_step": jnp.zeros_like(settings["time_step"])}

    def advanced(state: MotionState, key: Any, settings: dict[str, Array]) -> MotionState:
        if motion is not None:
            return motion.advance(state, masses, key, settings, every)
        return _advanced(potential, elements, masses, state, key, settings, every)

    state = advanced(state, noise, still)
    for frame in range(num_steps // every + 1):
        if frame:
            now = jax.random.fold_in(noise, frame)
            state = advanced(state, now, settings)
        found: Any = jax.tree.map(np.asarray, state)
        now_at = frame * (every * time_step)
        lost = ~np.isfinite(found.energies) | ~np.isfinite(found.velocities).all(axis=(-2, -1))
        if lost.any():
            raise FloatingPointError(
                f"configuration {int(np.argmax(lost))}: the energy is not finite after "
                f"{now_at:g} fs; try a shorter time_step"
            )
        known = {
            "positions": found.positions + centers,
            "velocities": found.velocities,
            "forces": found.forces,
            "potential_energies": found.energies,
            "kinetic_energies": kinetic_energies(state.velocities, masses),
            "temperatures": temperatures(state.velocities, masses, has_friction=friction > 0),
        }
        yield Trajectory(np.array([now_at]), **{k: np.asarray(x)[None] for k, x in known.items()})


def joined(parts: Iterable[Trajectory]) -> Trajectory:
    """Returns one trajectory of several that follow each other.

    Args:
      parts: Trajectories of the same atoms, at least one.
    """
    rows = [[getattr(part, field.name) for field in fields(Trajectory)] for part in parts]
    return Trajectory(*(np.concatenate(column) for column in zip(*rows, strict=True)))


def _advance(
    potential: Potential,
    numbers: Int[Array, "*B N"],
    masses: Float[Array, "*B N"],
    state: MotionState,
    key: Key[Array, ""],
    settings: dict[str, Float[Array, ""]],
    num_steps: int,
) -> MotionState:
    def field(positions: Array) -> tuple[Array, Array]:
        return potential.energies_and_forces(numbers, positions)

    return advance(field, state, masses, key, num_steps=num_steps, **settings)


_advanced = jax.jit(_advance, static_argnames="num_steps")


def _motion(
    potential: Potential,
    numbers: np.ndarray,
    cells: np.ndarray | None,
    periodic: np.ndarray | None,
    skin: float,
) -> ListedMotion | None:
    """What moves atoms by lists; None where no cell repeats, and all atoms see each other."""
    check_numbers({"skin": skin})
    if not 0 <= skin < np.inf:
        raise ValueError(f"skin must be finite and not negative, got {skin}")
    if cells is None and periodic is None:
        return None
    if cells is None or periodic is None:
        raise ValueError("cells and periodic must be given both or neither")
    cells, periodic = np.asarray(cells, np.float64), np.asarray(periodic)
    for name, array, shape in (("cells", cells, (3, 3)), ("periodic", periodic, (3,))):
        if array.shape != (*numbers.shape[:-1], *shape):
            raise ValueError(
                f"{name} must have the shape {(*numbers.shape[:-1], *shape)}, got {array.shape}"
            )
    if periodic.dtype != bool:
        raise TypeError(f"periodic must be True and False, got {periodic.dtype}")
    return ListedMotion(potential, numbers, cells, periodic, skin) if periodic.any() else None


def _check(
    potential: Potential, numbers: np.ndarray, positions: np.ndarray, velocities: np.ndarray | None
) -> None:
    """Raises an error for arrays that do not fit together."""
    check_instance("potential", potential, Potential)
    if numbers.dtype.kind not in "iu":
        raise TypeError(f"numbers must be integers, got {numbers.dtype}")
    potential.check_elements(numbers)
    for name, array in (("positions", positions), ("velocities", velocities)):
        if array is not None and np.shape(array) != (*numbers.shape, 3):
            raise ValueError(
                f"{name} must have the shape {(*numbers.shape, 3)}, as numbers have, got "
                f"{np.shape(array)}"
            )
        if array is not None and not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite")

"""Motion of atoms by the forces of a potential: velocity Verlet, and Langevin's by BAOAB.

One step is half a kick, half a drift, friction and noise, half a drift and half a kick: v += a h/2,
x += v h/2, v = c v + sqrt((1 - c²) k T / m) ξ with c = exp(-γ h), x += v h/2, v += a h/2. Without
friction, c = 1, it is velocity Verlet: symplectic and reversible, so that the energy swings by
O(h²) and does not drift. Each step asks for the forces once.

Units are eV, Å, fs, amu and kelvin. The steps are those of
:class:`eqattn.models.integrators.StormerVerlet` seen half a step later, where energies of the same
time as positions are at hand.

References:
  Leimkuhler and Matthews, "Rational construction of stochastic numerical methods for molecular
  sampling", Appl. Math. Res. Express 2013, 34, arXiv:1203.5428.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.pytrees import register_dataclass
from eqattn.typing import Array, Bool, Float, Int, Key

__all__ = [
    "BOLTZMANN",
    "EV_PER_ANGSTROM_AMU",
    "MotionState",
    "advance",
    "advance_near",
    "draw_velocities",
    "kinetic_energies",
    "temperatures",
]

BOLTZMANN = 1.380649e-23 / 1.602176634e-19
"""Boltzmann's constant in eV/K, exact since 2019."""

EV_PER_ANGSTROM_AMU = 1.602176634e-19 / 1.66053906660e-27 * 1e-10
"""One eV/(Å amu) in Å/fs², about 0.00965; the atomic mass constant is that of CODATA 2018."""

Field = Callable[[Array], tuple[Array, Array]]
"""Energies [*B] in eV and forces [*B N 3] in eV/Å at positions [*B N 3] in Å."""


@register_dataclass
@dataclass(frozen=True, eq=False)
class MotionState:
    """Atoms that move.

    Attributes:
      positions: Where they are, in Å.
      velocities: How they move, in Å/fs.
      energies: Potential energies, in eV.
      forces: Forces on the atoms, in eV/Å.
    """

    positions: Float[Array | np.ndarray, "*B N 3"]
    velocities: Float[Array | np.ndarray, "*B N 3"]
    energies: Float[Array | np.ndarray, "*B"]
    forces: Float[Array | np.ndarray, "*B N 3"]


def kinetic_energies(
    velocities: Float[Array, "*B N 3"], masses: Float[Array, "*B N"]
) -> Float[Array, "*B"]:
    """Returns Σ ½ m v² in eV.

    Args:
      velocities: Velocities in Å/fs.
      masses: Masses in amu; 0 where there is no atom.
    """
    doubled = jnp.sum(masses[..., None] * velocities**2, axis=(-2, -1))
    return doubled / (2 * EV_PER_ANGSTROM_AMU)


def temperatures(
    velocities: Float[Array, "*B N 3"],
    masses: Float[Array, "*B N"],
    *,
    has_friction: bool = True,
) -> Float[Array, "*B"]:
    """Returns 2 K / (k f) in kelvin, of the f velocities that are free.

    Args:
      velocities: Velocities in Å/fs.
      masses: Masses in amu; 0 where there is no atom.
      has_friction: Whether all 3N velocities are free. Without friction the total momentum stays as
        it is, zero as drawn by :func:`draw_velocities`, and 3N - 3 are.
    """
    num_atoms = jnp.sum(masses > 0, axis=-1)
    num_free = 3 * num_atoms - (0 if has_friction else 3)
    kinetic = kinetic_energies(velocities, masses)
    return 2 * kinetic / (BOLTZMANN * jnp.maximum(num_free, 1))


def draw_velocities(
    key: Key[Array, ""], masses: Float[Array, "*B N"], temperature: Float[Array, " ..."] | float
) -> Float[Array, "*B N 3"]:
    """Returns velocities in Å/fs as Maxwell and Boltzmann have them, without total momentum.

    Args:
      key: Random key.
      masses: Masses in amu; 0 where there is no atom.
      temperature: Temperature in kelvin, of all or of each configuration.
    """
    velocities = _thermal(key, masses, temperature)
    weights = masses[..., None]
    mean = jnp.sum(weights * velocities, -2) / jnp.sum(weights, -2)
    return jnp.where(weights > 0, velocities - mean[..., None, :], 0)


def _thermal(
    key: Key[Array, ""], masses: Float[Array, "*B N"], temperature: Float[Array, " ..."] | float
) -> Float[Array, "*B N 3"]:
    heat = BOLTZMANN * EV_PER_ANGSTROM_AMU * jnp.asarray(temperature, masses.dtype)
    variance = jnp.where(masses > 0, heat[..., None] / jnp.where(masses > 0, masses, 1), 0)
    noise = jax.random.normal(key, (*masses.shape, 3), masses.dtype)
    return jnp.sqrt(variance)[..., None] * noise


def advance(
    field: Field,
    state: MotionState,
    masses: Float[Array, "*B N"],
    key: Key[Array, ""] | None = None,
    *,
    num_steps: int,
    time_step: Float[Array, ""] | float,
    temperature: Float[Array, " ..."] | float = 0.0,
    friction: Float[Array, ""] | float = 0.0,
) -> MotionState:
    """Returns the state some steps later; a ``lax.scan``, to be called inside ``jit`` or ``vmap``.

    Example:
      >>> spring = lambda x: (0.5 * jnp.sum(x**2, (-2, -1)), -x)  # 1 eV/Å²
      >>> x = jnp.array([[1.0, 0.0, 0.0]])
      >>> start = MotionState(x, jnp.zeros_like(x), *spring(x))
      >>> period = 2 * jnp.pi / (EV_PER_ANGSTROM_AMU / 12.011) ** 0.5  # of carbon, 222 fs
      >>> end = jax.jit(
      ...     lambda s: advance(
      ...         spring, s, jnp.array([12.011]), num_steps=1_000, time_step=period / 1_000
      ...     )
      ... )(start)
      >>> bool(jnp.abs(end.positions - x).max() < 1e-4)
      True

    Args:
      field: Gives energies and forces at positions.
      state: State to begin from.
      masses: Masses in amu; 0 where there is no atom.
      key: Random key; needed where there is friction.
      num_steps: Number of steps.
      time_step: Length h of a step, in fs.
      temperature: Temperature in kelvin, of all or of each configuration; for friction only.
      friction: Friction γ in 1/fs; 0 for velocity Verlet, which conserves the energy.
    """
    step = _Step(state.positions.dtype, masses, key, time_step, temperature, friction)

    def one(state: MotionState, number: Int[Array, ""]) -> tuple[MotionState, None]:
        return step.finish(field, *step.move(state, number)), None

    return jax.lax.scan(one, state, jnp.arange(num_steps))[0]


def advance_near(
    field: Field,
    state: MotionState,
    masses: Float[Array, "*B N"],
    key: Key[Array, ""] | None = None,
    *,
    origins: Float[Array, "*B N 3"],
    radius: Float[Array, ""],
    first: Int[Array, ""],
    num_steps: Int[Array, ""],
    time_step: Float[Array, ""] | float,
    temperature: Float[Array, " ..."] | float = 0.0,
    friction: Float[Array, ""] | float = 0.0,
) -> tuple[MotionState, Int[Array, ""], Float[Array, "*B N 3"], Bool[Array, "*B"]]:
    """Does the steps of :func:`advance` until one would take an atom too far from where it was.

    Args:
      field: Gives energies and forces at positions that are near the origins.
      state: State to begin from.
      masses: Masses in amu; 0 where there is no atom.
      key: Random key; needed where there is friction.
      origins: Where atoms were, in Å.
      radius: Distance from there beyond which they are too far, in Å.
      first: Number of the first step.
      num_steps: Number of the last step and one.
      time_step: Length of a step, in fs.
      temperature: Temperature in kelvin.
      friction: Friction in 1/fs.

    Returns:
      The state before the step that is not done; its number, ``num_steps`` where all are done; the
      positions that it leads to; and the configurations that are too far there.
    """
    step = _Step(state.positions.dtype, masses, key, time_step, temperature, friction)
    nowhere = jnp.zeros(masses.shape[:-1], bool)

    def is_far(positions: Array) -> Array:
        squares = jnp.where(masses > 0, jnp.sum((positions - origins) ** 2, axis=-1), 0)
        # What is not finite any more is no matter of lists, and ends the simulation elsewhere.
        return jnp.any((squares > radius**2) & jnp.isfinite(squares), axis=-1)

    def is_going_on(carry: tuple[MotionState, Array, Array, Array]) -> Array:
        return (carry[1] < num_steps) & ~jnp.any(carry[3])

    def one(carry: tuple[MotionState, Array, Array, Array]) -> tuple[MotionState, Array, Any, Any]:
        state, number, *_ = carry
        positions, velocities = step.move(state, number)
        far = is_far(positions)
        stops = jnp.any(far)
        state = jax.lax.cond(
            stops, lambda: state, lambda: step.finish(field, positions, velocities)
        )
        return state, number + jnp.where(stops, 0, 1), positions, far

    begin = (state, first, jnp.asarray(state.positions), nowhere)
    return jax.lax.while_loop(is_going_on, one, begin)


class _Step:
    """A step in two parts, before and after forces are asked for; arguments as of `advance`."""

    def __init__(
        self, dtype: Any, masses: Array, key: Any, time_step: Any, temperature: Any, friction: Any
    ):
        self._step = jnp.asarray(time_step, dtype)
        damping = jnp.asarray(friction, dtype) * self._step
        self._keep, self._share = jnp.exp(-damping), jnp.sqrt(-jnp.expm1(-2 * damping))
        weights = masses[..., None]
        kick = 0.5 * self._step * EV_PER_ANGSTROM_AMU / _nonzero(weights)
        self._kick = jnp.where(weights > 0, kick, 0)
        self._key = jax.random.key(0) if key is None else key
        self._masses, self._temperature = masses, temperature

    def move(self, state: MotionState, number: Int[Array, ""]) -> tuple[Array, Array]:
        """Positions after a step, and velocities before its last kick."""
        velocities = state.velocities + self._kick * jnp.asarray(state.forces)
        positions = jnp.asarray(state.positions) + 0.5 * self._step * velocities
        noise = _thermal(jax.random.fold_in(self._key, number), self._masses, self._temperature)
        velocities = self._keep * velocities + self._share * noise
        return positions + 0.5 * self._step * velocities, velocities

    def finish(self, field: Field, positions: Array, velocities: Array) -> MotionState:
        """The state after a step."""
        energies, forces = field(positions)
        return MotionState(positions, velocities + self._kick * forces, energies, forces)


def _nonzero(x: Any) -> Array:
    return jnp.where(x > 0, x, 1)

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
from eqattn.typing import Array, Float, Int, Key

__all__ = [
    "BOLTZMANN",
    "EV_PER_ANGSTROM_AMU",
    "MotionState",
    "advance",
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
    dtype = state.positions.dtype
    step = jnp.asarray(time_step, dtype)
    damping = jnp.asarray(friction, dtype) * step
    keep, share = jnp.exp(-damping), jnp.sqrt(-jnp.expm1(-2 * damping))
    weights = masses[..., None]
    kick = jnp.where(weights > 0, 0.5 * step * EV_PER_ANGSTROM_AMU / _nonzero(weights), 0)
    key = jax.random.key(0) if key is None else key

    def one(state: MotionState, number: Int[Array, ""]) -> tuple[MotionState, None]:
        velocities = state.velocities + kick * state.forces
        positions = state.positions + 0.5 * step * velocities
        noise = _thermal(jax.random.fold_in(key, number), masses, temperature)
        velocities = keep * velocities + share * noise
        positions = positions + 0.5 * step * velocities
        energies, forces = field(jnp.asarray(positions))
        return MotionState(positions, velocities + kick * forces, energies, forces), None

    return jax.lax.scan(one, state, jnp.arange(num_steps))[0]


def _nonzero(x: Any) -> Array:
    return jnp.where(x > 0, x, 1)

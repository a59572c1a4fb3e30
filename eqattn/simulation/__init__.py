"""Simulations with trained potentials: a run's energies and forces, and motion by them, in jax.

Units are eV, Å, fs, amu and kelvin throughout.
"""

from eqattn.simulation.motion import (
    BOLTZMANN,
    EV_PER_ANGSTROM_AMU,
    MotionState,
    advance,
    draw_velocities,
    kinetic_energies,
    temperatures,
)
from eqattn.simulation.potential import Potential, load_potential
from eqattn.simulation.trajectory import Trajectory, simulate, simulated_states

__all__ = [
    "BOLTZMANN",
    "EV_PER_ANGSTROM_AMU",
    "MotionState",
    "Potential",
    "Trajectory",
    "advance",
    "draw_velocities",
    "kinetic_energies",
    "load_potential",
    "simulate",
    "simulated_states",
    "temperatures",
]

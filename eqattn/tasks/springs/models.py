"""What models of the task "springs" see of a particle, and what they give for it.

============================= =============================== ======================
``HamiltonianNetworkConfig``  mass, spring constant           potential, of a system
``AccelerationNetworkConfig`` velocity, mass, spring constant acceleration (a vector)
============================= =============================== ======================

The potential may be a sum over the particles (a ``PotentialNetworkConfig``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp

from eqattn.checks import check_sizes
from eqattn.config import TaskOptions
from eqattn.models import AccelerationNetwork, AccelerationNetworkConfig, ModelConfig
from eqattn.tasks.core.frames import drawn_frames
from eqattn.typing import Array, Float

__all__ = ["SpringsOptions", "drawn_along", "feature_sizes", "knows_origin", "sees_velocities"]


@dataclass(frozen=True, repr=False, kw_only=True)
class SpringsOptions(TaskOptions):
    """What the task "springs" asks for beside what all runs have."""

    num_train: int = 400
    """Trajectories to train on."""
    num_validation: int = 100
    """Trajectories to choose the best parameters by."""
    num_test: int = 200
    """Trajectories to score."""
    solver: Literal["rk4", "symplectic", "adaptive"] = "rk4"
    """Integrator of every roll-out: the 3/8 rule as published and Störmer-Verlet, one step per
    interval of the times; or Dormand-Prince with a tolerance of 1e-6. Accelerations that depend on
    velocities (an AccelerationNetworkConfig) exclude "symplectic"."""
    num_substeps: int = 1
    """Steps of the integrator in each interval of the times; "adaptive" chooses its own."""
    baseline: Literal["mlp", "none"] = "mlp"
    """Whether a Hamiltonian MLP is trained after the model, for the same time, as a baseline."""

    def substeps(self) -> int | None:
        """Returns the steps in an interval; None for the solver that chooses them itself.

        Raises:
          ValueError: If the number is not positive, or given to that solver.
        """
        check_sizes({"num_substeps": self.num_substeps})
        if self.solver != "adaptive":
            return self.num_substeps
        if self.num_substeps != 1:
            raise ValueError(
                f"num_substeps must be 1 for the solver 'adaptive', got {self.num_substeps}."
            )
        return None


NUM_FEATURES = 2  # mass and spring constant
POINT_DIM = 2


def sees_velocities(config: ModelConfig) -> bool:
    """Returns whether a model gives accelerations that depend on velocities.

    Args:
      config: Architecture of the model.
    """
    return isinstance(config, AccelerationNetworkConfig)


def feature_sizes(config: ModelConfig) -> tuple[int, int]:
    """Returns how many features the network takes of a particle, and how many outputs it has.

    Args:
      config: Architecture of the model.
    """
    if sees_velocities(config):
        return POINT_DIM + NUM_FEATURES, POINT_DIM
    return NUM_FEATURES, 1


def knows_origin(config: ModelConfig) -> bool:
    """Returns whether a model sees where the particles are; the others see them centered.

    Args:
      config: Architecture of the model.
    """
    return not getattr(config, "center", True)


def drawn_along(model: Any, states: Float[Array, "B T N 4"]) -> dict[str, Float[Array, " B"]]:
    """Returns the share of states whose axes were drawn; see :mod:`eqattn.tasks.core.frames`.

    Args:
      model: The network.
      states: Positions and momenta that it meets.
    """
    inside = model.field_model if isinstance(model, AccelerationNetwork) else model.potential_model
    positions = states[..., :2] - jnp.mean(states[..., :2], axis=-2, keepdims=True)
    found = drawn_frames(inside, positions, None)
    return {name: jnp.mean(drawn, axis=1) for name, drawn in found.items()}

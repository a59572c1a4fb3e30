"""Particles that a network moves: what is the same whichever gives the forces."""

import abc
import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer

from eqattn import numerics
from eqattn.checks import check_key, check_mask, check_real
from eqattn.models.intervals import Intervals, Times, intervals_between
from eqattn.sharding import on_any_mesh
from eqattn.typing import Array, Bool, Float, Int, Key

Nested = np.ndarray | Sequence[Any]
"""An array of NumPy, or nested lists of numbers, which become an array of jax."""


class ParticleModel(nnx.Module):
    """The motion dq/dt = p/m, dp/dt = F, and roll-outs of it; a subclass gives the forces F.

    The masses m are the first of the system features, or an argument of their own. Then the system
    features are all that F is told of the particles: their species, for example.
    """

    forces_see_momenta: ClassVar[bool]
    """Whether F depends on more than positions, which excludes the solver ``"symplectic"``."""
    center: bool
    """Whether F sees positions relative to their mean."""

    @property
    @abc.abstractmethod
    def is_stochastic(self) -> bool:
        """Whether the lift is random, so that roll-outs depend on a key."""

    @property
    @abc.abstractmethod
    def num_features(self) -> int:
        """Features of a particle that the model takes."""

    @on_any_mesh("positions", 2)
    def vector_field(
        self,
        positions: Float[Array, "*B N D"] | Nested,
        momenta: Float[Array, "*B N D"] | Nested,
        system_features: Float[Array, "*B N F"] | Nested,
        mask: Bool[Array, "*B N"] | None = None,
        key: Key[Array, ""] | None = None,
        *,
        masses: Float[Array, "*B N"] | Nested | None = None,
        **options: Any,
    ) -> tuple[Float[Array, "*B N D"], Float[Array, "*B N D"]]:
        """The equations of motion: velocities p/m and forces.

        Particles that do not exist do not move.

        Args:
          positions: Positions of the particles.
          momenta: Momenta of the particles.
          system_features: Masses of the particles, then what else is known of them (spring
            constants).
          mask: Marks the particles that exist; by default all do.
          key: Random key of the lift's samples, as in :meth:`LieTransformer.__call__`.
          masses: Masses of the particles, where the system features do not begin with them.
          **options: ``example_ids``, ``training`` and ``num_lifts``, likewise.

        Raises:
          ValueError: For wrong shapes.
        """
        positions, momenta, features, masses, _ = self.arrays(
            positions, momenta, system_features, mask, masses
        )
        velocities = particle_velocities(momenta, masses, mask)
        return velocities, self._forces(positions, momenta, features, masses, mask, key, options)

    @on_any_mesh("positions", 2)
    def roll_out(
        self,
        positions: Float[Array, "*B N D"] | Nested,
        momenta: Float[Array, "*B N D"] | Nested,
        system_features: Float[Array, "*B N F"] | Nested,
        times: Times,
        mask: Bool[Array, "*B N"] | None = None,
        key: Key[Array, ""] | None = None,
        *,
        masses: Float[Array, "*B N"] | Nested | None = None,
        example_ids: Int[Array, "*B"] | None = None,
        training: bool = False,
        num_lifts: int = 1,
        solver: str = "rk4",
        num_substeps: int | None = None,
        tolerance: float | None = None,
        max_steps: int | None = None,
    ) -> Float[Array, "*B times N _"]:
        """The trajectory through the given state, at all times: positions and momenta, one row.

        The lift is drawn once: its key, and so the force field, is the same at every step.

        Args:
          positions: Positions at the first time.
          momenta: Momenta at the first time.
          system_features: Masses, then what else is known of the particles, such as spring
            constants.
          times: Increasing; only differences matter, which are taken in float64 where the times
            are lists or of NumPy.
          mask: Marks the particles that exist; by default all do.
          key: Key of the lift, one for the whole trajectory; without one, evaluation uses a fixed
            key.
          masses: Masses of the particles, where the system features do not begin with them.
          example_ids: Identity of each trajectory, which its samples are keyed by.
          training: Whether a missing key is an error.
          num_lifts: Number of lifts whose forces are averaged.
          solver: ``"rk4"`` (the 3/8 rule, one step per interval of the times, as published),
            ``"symplectic"`` (Störmer-Verlet, likewise; for forces of positions alone) or
            ``"adaptive"`` (Dormand-Prince, each trajectory with steps of its own).
          num_substeps: Steps per interval instead of one; not for ``"adaptive"``.
          tolerance: Relative and absolute, of a step of ``"adaptive"``; 1e-6 by default.
          max_steps: Largest number of steps of ``"adaptive"``, for each trajectory, steps that are
            tried again among them; 16,384 by default.

        Returns:
          States at all times, the first included; zeros where no particle exists. A trajectory
          that ``"adaptive"`` cannot follow to its end is NaN from there on, and it alone.

        Raises:
          ValueError: For wrong shapes, times that do not increase (outside ``jit``), an unknown
            solver, one that the forces exclude, an option that it does not have, or in training a
            missing key where the lift draws samples.
          TypeError: For a ``key`` that ``jax.random.key`` did not make.
        """
        check_key(key)
        positions, momenta, features, masses, origin = self.arrays(
            positions, momenta, system_features, mask, masses
        )
        intervals = intervals_between(times, positions.dtype, solver=solver)
        batch = positions.shape[:-2]
        ids = jnp.zeros(batch, jnp.int32) if example_ids is None else jnp.asarray(example_ids)
        graphdef, params = nnx.split(self)
        if mask is not None:
            positions, momenta = (jnp.where(mask[..., None], x, 0) for x in (positions, momenta))
        states = _trajectories(
            graphdef,
            params,
            (positions, momenta, features, masses, mask, ids),
            intervals,
            key,
            training=training,
            num_lifts=num_lifts,
            solver=solver,
            num_substeps=num_substeps,
            tolerance=tolerance,
            max_steps=max_steps,
        )
        return states if origin is None else _moved_back(states, origin, mask)

    def arrays(
        self,
        positions: Any,
        momenta: Any,
        system_features: Any,
        mask: Array | None,
        masses: Any = None,
    ) -> tuple[Array, Array, Array, Array, Array | None]:
        """A state as arrays of at least float32, and where the origin was moved to, if it was.

        They are positions, momenta, system features and masses.

        Positions of NumPy whose mean does not matter are centered in their own precision, before
        they are cast.
        """
        positions, momenta, features = (
            to_array(name, value)
            for name, value in (
                ("positions", positions),
                ("momenta", momenta),
                ("system_features", system_features),
            )
        )
        if masses is not None:
            masses = to_array("masses", masses)
        self.check_state(positions, momenta, features, mask, masses)
        origin = None
        if self.center and isinstance(positions, np.ndarray) and not isinstance(mask, Tracer):
            mean = numerics.mean_position(positions.astype(np.float64), mask)
            origin, positions = jnp.asarray(mean), (positions - mean).astype(positions.dtype)
        positions, momenta = (
            numerics.at_least_float32(jnp.asarray(x)) for x in (positions, momenta)
        )
        features = jnp.asarray(features)
        masses = features[..., 0] if masses is None else jnp.asarray(masses)
        return positions, momenta, features, masses, origin

    def check_state(
        self,
        positions: Array | np.ndarray,
        momenta: Array | np.ndarray,
        system_features: Array | np.ndarray,
        mask: Array | np.ndarray | None = None,
        masses: Array | np.ndarray | None = None,
    ) -> None:
        """Raises a ValueError unless a state fits the model; masses wherever they are known."""
        if positions.ndim < 2:
            raise ValueError(f"positions must have shape [*B N D], got {positions.shape}")
        if momenta.shape != positions.shape:
            raise ValueError(
                f"momenta must have the shape of positions {positions.shape}, got {momenta.shape}"
            )
        expected = (*positions.shape[:-1], self.num_features)
        if system_features.shape != expected:
            raise ValueError(
                f"system_features must have shape {expected}, got {system_features.shape}"
            )
        check_mask(mask, positions.shape[:-1])
        if masses is None:
            _check_masses("system_features begin with masses, which", system_features[..., 0], mask)
        elif masses.shape != expected[:-1]:
            raise ValueError(f"masses must have shape {expected[:-1]}, got {masses.shape}")
        else:
            _check_masses("masses", masses, mask)

    @abc.abstractmethod
    def _forces(
        self,
        positions: Array,
        momenta: Array,
        features: Array,
        masses: Array,
        mask: Array | None,
        key: Array | None,
        options: dict[str, Any],
    ) -> Array:
        """The change of momenta in time, zero where no particle exists."""


def _check_masses(name: str, masses: Array | np.ndarray, mask: Array | np.ndarray | None) -> None:
    """Raises a ValueError for a known mass that is not above 0; NaN is none, and spreads."""
    if isinstance(masses, Tracer) or isinstance(mask, Tracer) or not masses.size:
        return
    wrong = np.asarray(masses) <= 0
    wrong = wrong if mask is None else wrong & np.asarray(mask)
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(f"{name} must be above 0, got {np.asarray(masses)[place]} at {place}")


def particle_velocities(
    momenta: Float[Array, "*B N D"],
    masses: Float[Array, "*B N"],
    mask: Bool[Array, "*B N"] | None = None,
) -> Float[Array, "*B N D"]:
    """Velocities p/m of particles; zeros where none exists."""
    masses = masses[..., None]
    if mask is None:
        return momenta / masses
    mask = mask[..., None]
    return jnp.where(mask, momenta / jnp.where(mask, masses, 1), 0)


def to_array(name: str, value: Array | Nested) -> Array | np.ndarray:
    """An argument as an array: one of jax as it is, numbers of Python or NumPy by NumPy.

    Args:
      name: Name of the argument.
      value: What was given.

    Raises:
      TypeError: For what holds other things than numbers.
      ValueError: For rows of different lengths.
    """
    if isinstance(value, jax.Array):
        check_real(name, value)
        return value
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array, got rows of different lengths") from error
    if array.dtype.kind not in "fiub" and not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{name} must hold numbers, got {array.dtype}")
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(np.float64)


def _moved_back(states: Array, origin: Array, mask: Array | None) -> Array:
    """States [*B times N 2*D] about the origin they came from; zeros where no particle exists."""
    size = origin.shape[-1]
    positions = states[..., :size] + origin[..., None, :, :].astype(states.dtype)
    if mask is not None:
        positions = jnp.where(mask[..., None, :, None], positions, 0)
    return jnp.concatenate([positions, states[..., size:]], axis=-1)


@functools.partial(
    jax.jit,
    static_argnames=(
        *("graphdef", "training", "num_lifts"),
        *("solver", "num_substeps", "tolerance", "max_steps"),
    ),
)
def _trajectories(
    graphdef: Any,
    params: Any,
    examples: tuple[Any, ...],
    intervals: Intervals,
    key: Array | None,
    *,
    training: bool,
    num_lifts: int,
    **options: Any,
) -> Array:
    """Roll-outs of positions, momenta, features, masses, mask and ids; compiled once a shape."""
    from eqattn.models.integrators import integrate, integrate_field  # diffrax is slow to import

    def velocity(momenta: Array, args: Any) -> Array:
        _, (_, masses, mask, _), _ = args
        return particle_velocities(momenta, masses, mask)

    def force(positions: Array, momenta: Array, args: Any) -> Array:
        params, (features, masses, mask, ids), key = args
        options = {"example_ids": ids, "training": training, "num_lifts": num_lifts}
        model = nnx.merge(graphdef, params)
        return model._forces(positions, momenta, features, masses, mask, key, options)

    def force_at(positions: Array, args: Any) -> Array:
        return force(positions, jnp.zeros_like(positions), args)  # momenta are not looked at

    def field(state: tuple[Array, Array], args: Any) -> tuple[Array, Array]:
        return velocity(state[1], args), force(*state, args)

    def solve(positions: Array, momenta: Array, *examples: Array | None) -> Array:
        state, args = (positions, momenta), (params, examples, key)
        if nnx.merge(graphdef, params).forces_see_momenta:
            path = integrate_field(field, state, intervals, args, **options)
        else:
            path = integrate(velocity, force_at, state, intervals, args, **options)
        return jnp.concatenate(path, axis=-1)

    num_batch_axes = examples[0].ndim - 2
    if options["solver"] == "adaptive":  # or the steps of a trajectory would depend on the others
        for _ in range(num_batch_axes):
            solve = jax.vmap(solve)
        return solve(*examples)
    return jnp.moveaxis(solve(*examples), 0, num_batch_axes)

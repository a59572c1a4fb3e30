"""Ways to integrate equations of motion, by diffrax.

=============  ================================================================================
``rk4``        Kutta's 3/8 rule, order 4, one step per interval of the times (the published choice)
``symplectic`` Störmer-Verlet, order 2, one step per interval: energy errors stay bounded; for
               velocities of momenta alone and forces of positions alone: H = T(p) + V(q)
``adaptive``   Dormand-Prince of order 5, as many steps as its tolerance asks for
=============  ================================================================================

This module imports diffrax, which is slow; models import it when they integrate.

References:
    Hairer, Lubich and Wanner, "Geometric Numerical Integration", 2nd ed., I.1 and II.1.
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import diffrax
import jax
import jax.numpy as jnp

from eqattn.checks import check_numbers, check_option, check_sizes
from eqattn.typing import Array, Float

Solver = Literal["rk4", "symplectic", "adaptive"]
State = tuple[Array, Array]
"""Positions and momenta, equally shaped."""
Field = Callable[[Array, Any], Array]
"""Velocities of given momenta, or forces at given positions; the second argument is passed on."""
StateField = Callable[[State, Any], State]
"""Changes of positions and of momenta in a given state; the second argument is passed on."""

_MAX_ADAPTIVE_STEPS = 16_384


class _Steps(diffrax.AbstractSolver):
    """A method of fixed steps without memory: :meth:`advance` is all there is to it.

    Not those of ``diffrax.AbstractERK``, which run in a loop that can be differentiated only once.
    Whatever evaluates the field is computed again when it is differentiated.
    """

    interpolation_cls: ClassVar[Callable[..., diffrax.LocalLinearInterpolation]] = (
        diffrax.LocalLinearInterpolation
    )

    @abc.abstractmethod
    def advance(self, terms: Any, t0: Any, t1: Any, y0: State, args: Any) -> State:
        """The state after one step."""

    def init(self, terms: Any, t0: Any, t1: Any, y0: State, args: Any) -> None:
        del terms, t0, t1, y0, args

    def step(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: State,
        args: Any,
        solver_state: None,
        made_jump: Any,
    ) -> tuple[State, None, dict[str, State], None, diffrax.RESULTS]:
        del solver_state, made_jump
        y1 = self.advance(terms, t0, t1, y0, args)
        return y1, None, {"y0": y0, "y1": y1}, None, diffrax.RESULTS.successful


class ThreeEighthsRule(_Steps):
    """Kutta's 3/8 rule: stages at 0, 1/3, 2/3, 1 with the weights 1/8, 3/8, 3/8, 1/8; order 4."""

    term_structure: ClassVar = diffrax.AbstractTerm

    def order(self, terms: Any) -> int:
        del terms
        return 4

    def advance(self, terms: Any, t0: Any, t1: Any, y0: State, args: Any) -> State:
        step = t1 - t0

        # A loop, so that one stage is compiled, and one is in memory where it is differentiated.
        @jax.checkpoint
        def stage(slopes: State, row: tuple[Array, Array, Array]) -> tuple[State, None]:
            number, node, weights = row
            slope = terms.vf(t0 + node * step, _moved(y0, step, weights, slopes), args)

            def store(slopes: Array, slope: Array) -> Array:
                return slopes.at[number].set(slope.astype(slopes.dtype))

            return jax.tree.map(store, slopes, slope), None

        slopes = jax.tree.map(lambda y: jnp.zeros((len(_NODES), *y.shape), y.dtype), y0)
        rows = tuple(jnp.asarray(x, step.dtype) for x in (_NODES, _STAGES))
        slopes, _ = jax.lax.scan(stage, slopes, (jnp.arange(len(_NODES)), *rows))
        return _moved(y0, step, jnp.asarray(_WEIGHTS, step.dtype), slopes)

    def func(self, terms: Any, t0: Any, y0: State, args: Any) -> State:
        return terms.vf(t0, y0, args)


_NODES = (0.0, 1 / 3, 2 / 3, 1.0)
_STAGES = (
    (0.0, 0.0, 0.0, 0.0),
    (1 / 3, 0.0, 0.0, 0.0),
    (-1 / 3, 1.0, 0.0, 0.0),
    (1.0, -1.0, 1.0, 0.0),
)
_WEIGHTS = (1 / 8, 3 / 8, 3 / 8, 1 / 8)


def _moved(
    state: State, step: Array, weights: Float[Array, " stages"], slopes: tuple[Array, Array]
) -> State:
    """The state after a step along the weighted slopes, which are stacked."""

    def along(y: Array, slopes: Array) -> Array:
        return y + step * jnp.tensordot(weights, slopes, 1, precision=jax.lax.Precision.HIGHEST)

    return jax.tree.map(along, state, slopes)


class StormerVerlet(_Steps):
    """Störmer-Verlet: half a drift, a kick, half a drift; order 2, symplectic, time-reversible.

    The terms are (velocity of the momenta, force at the positions) and the state (q, p). A step
    asks for the force once; a kick first would ask for it once more at the start.
    """

    term_structure: ClassVar = (diffrax.AbstractTerm, diffrax.AbstractTerm)

    def order(self, terms: Any) -> int:
        del terms
        return 2

    def advance(self, terms: Any, t0: Any, t1: Any, y0: State, args: Any) -> State:
        velocity, force = terms
        positions, momenta = y0
        step = t1 - t0
        halfway = positions + 0.5 * step * velocity.vf(t0, momenta, args)
        push = jax.checkpoint(lambda q: force.vf(t0 + 0.5 * step, q, args))
        momenta = momenta + step * push(halfway)
        return halfway + 0.5 * step * velocity.vf(t1, momenta, args), momenta

    def func(self, terms: Any, t0: Any, y0: State, args: Any) -> State:
        velocity, force = terms
        return velocity.vf(t0, y0[1], args), force.vf(t0, y0[0], args)


def integrate(
    velocity: Field,
    force: Field,
    state: State,
    times: Float[Array, " times"],
    args: Any = None,
    *,
    solver: Solver = "rk4",
    num_substeps: int | None = None,
    tolerance: float | None = None,
) -> State:
    """Integrates dq/dt = velocity(p), dp/dt = force(q) from the first of the times on.

    With fixed steps it is differentiable in the state and in ``args`` any number of times, forward
    and reverse; each force is computed again when it is differentiated, so that memory is that of
    one force beside the states. With ``"adaptive"``, once, in reverse.

    Args:
      velocity: of momenta and ``args``; it must not close over what is differentiated.
      force: at positions and ``args``; likewise.
      state: positions and momenta at the first time.
      times: increasing.
      args: any pytree, passed on.
      solver: ``"rk4"``, ``"symplectic"`` or ``"adaptive"``.
      num_substeps: steps in each interval of the times, 1 by default; not for ``"adaptive"``.
      tolerance: relative and absolute, of a step; 1e-6 by default; for ``"adaptive"`` only.

    Returns:
      Positions and momenta at all times, along a new first axis.

    Raises:
      TypeError: for a number of a wrong type.
      ValueError: for an unknown solver, or an option that it does not have.
    """
    if solver != "symplectic":

        def field(state: State, args: Any) -> State:
            return velocity(state[1], args), force(state[0], args)

        options = {"num_substeps": num_substeps, "tolerance": tolerance}
        return integrate_field(field, state, times, args, solver=solver, **options)
    num_substeps, _ = _checked_options(solver, num_substeps, tolerance)
    terms = (
        diffrax.ODETerm(lambda t, p, args: velocity(p, args)),
        diffrax.ODETerm(lambda t, q, args: force(q, args)),
    )
    return _fixed(StormerVerlet(), terms, state, times, args, num_substeps)


def integrate_field(
    field: StateField,
    state: State,
    times: Float[Array, " times"],
    args: Any = None,
    *,
    solver: Solver = "rk4",
    num_substeps: int | None = None,
    tolerance: float | None = None,
) -> State:
    """Integrates d(q, p)/dt = field(q, p), such as forces that see momenta; else :func:`integrate`.

    Args:
      field: of (positions, momenta) and ``args``: how both change. It must not close over what is
        differentiated.
      state: positions and momenta at the first time.
      times: increasing.
      args: any pytree, passed on.
      solver: ``"rk4"`` or ``"adaptive"``.
      num_substeps: as for :func:`integrate`.
      tolerance: likewise.

    Returns:
      Positions and momenta at all times, along a new first axis.

    Raises:
      TypeError: for a number of a wrong type.
      ValueError: for the solver ``"symplectic"``, an unknown one, or an option that it does not
        have.
    """
    num_substeps, tolerance = _checked_options(solver, num_substeps, tolerance)
    if solver == "symplectic":
        raise ValueError(
            "solver must be 'rk4' or 'adaptive' where forces depend on momenta, got 'symplectic'"
        )
    terms = diffrax.ODETerm(lambda t, y, args: field(y, args))
    if solver == "adaptive":
        return _adaptive(terms, state, times, args, tolerance)
    return _fixed(ThreeEighthsRule(), terms, state, times, args, num_substeps)


def _checked_options(
    solver: Solver, num_substeps: int | None, tolerance: float | None
) -> tuple[int, float]:
    """The options with their defaults; an error for one that the solver does not have."""
    check_option("solver", solver, Solver)
    if solver == "adaptive":
        if num_substeps is not None:
            raise ValueError(f"num_substeps is not for the solver 'adaptive', got {num_substeps}")
    elif tolerance is not None:
        raise ValueError(f"tolerance is for the solver 'adaptive' only, got {tolerance}")
    num_substeps = 1 if num_substeps is None else num_substeps
    tolerance = 1e-6 if tolerance is None else tolerance
    check_sizes({"num_substeps": num_substeps})
    check_numbers({"tolerance": tolerance})
    if not 0.0 < tolerance < 1.0:
        raise ValueError(f"tolerance must be between 0 and 1, got {tolerance}")
    return num_substeps, tolerance


def _fixed(
    method: _Steps, terms: Any, state: State, times: Array, args: Any, num_substeps: int
) -> State:
    if times.shape[0] == 1:
        return jax.tree.map(lambda x: x[None], state)
    fractions = jnp.arange(num_substeps, dtype=times.dtype) / num_substeps
    grid = times[:-1, None] + jnp.diff(times)[:, None] * fractions
    grid = jnp.append(grid.reshape(-1), times[-1])

    # Not diffeqsolve, whose adjoints with checkpoints can be differentiated only once.
    def step(state: State, interval: tuple[Array, Array]) -> tuple[State, State]:
        start, end = interval
        after = method.advance(terms, start, end, state, args)
        state = jax.tree.map(lambda old, new: new.astype(old.dtype), state, after)
        return state, state

    _, path = jax.lax.scan(step, state, (grid[:-1], grid[1:]))
    path = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), state, path)
    return jax.tree.map(lambda x: x[::num_substeps], path)


def _adaptive(terms: Any, state: State, times: Array, args: Any, tolerance: float) -> State:
    if times.shape[0] == 1:
        return jax.tree.map(lambda x: x[None], state)
    controller = diffrax.ClipStepSizeController(
        diffrax.PIDController(rtol=tolerance, atol=tolerance), step_ts=times
    )
    solution = diffrax.diffeqsolve(
        terms,
        diffrax.Dopri5(),
        t0=times[0],
        t1=times[-1],
        dt0=None,
        y0=state,
        args=args,
        stepsize_controller=controller,
        saveat=diffrax.SaveAt(ts=times),
        max_steps=_MAX_ADAPTIVE_STEPS,
    )
    positions, momenta = solution.ys  # pyright: ignore[reportGeneralTypeIssues]
    return positions, momenta

"""Ways to integrate equations of motion, by diffrax.

=============  ================================================================================
``rk4``        Kutta's 3/8 rule, order 4, one step per interval of the times (the published choice)
``symplectic`` Störmer-Verlet, order 2, one step per interval: energy errors stay bounded; for
               velocities of momenta alone and forces of positions alone: H = T(p) + V(q)
``adaptive``   Dormand-Prince of order 5, as many steps as its tolerance asks for; NaN from where
               it finds no step that is short enough, or too many would be needed
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
from eqattn.models.intervals import Intervals, Times, intervals_between
from eqattn.specification import computed
from eqattn.typing import Array, Float

Solver = Literal["rk4", "symplectic", "adaptive"]
State = tuple[Array, Array]
"""Positions and momenta, equally shaped."""
Field = Callable[[Array, Any], Array]
"""Velocities of given momenta, or forces at given positions; the second argument is passed on."""
StateField = Callable[[State, Any], State]
"""Changes of positions and of momenta in a given state; the second argument is passed on."""

MAX_STEPS = 16_384
"""Steps of the solver ``"adaptive"`` for all times together, unless another number is given."""


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
    times: Times,
    args: Any = None,
    *,
    solver: Solver = "rk4",
    num_substeps: int | None = None,
    tolerance: float | None = None,
    max_steps: int | None = None,
) -> State:
    """Integrates dq/dt = velocity(p), dp/dt = force(q) from the first of the times on.

    With fixed steps it is differentiable in the state and in ``args`` any number of times, forward
    and reverse; each force is computed again when it is differentiated, so that memory is that of
    one force beside the states. With ``"adaptive"``, once, in reverse.

    Args:
      velocity: Function of momenta and ``args``; it must not close over what is differentiated.
      force: Forces at positions and ``args``, likewise.
      state: Positions and momenta at the first time.
      times: Increasing; only differences matter. Across a ``jit``, give them as
        :class:`eqattn.models.intervals.Intervals`, which were taken before any cast.
      args: Any pytree, passed on.
      solver: ``"rk4"``, ``"symplectic"`` or ``"adaptive"``.
      num_substeps: Steps in each interval of the times, 1 by default; not for ``"adaptive"``.
      tolerance: Relative and absolute, of a step; 1e-6 by default; for ``"adaptive"`` only.
      max_steps: Largest number of steps of ``"adaptive"``, for all times together, steps that are
        tried again among them; 16,384 by default.

    Returns:
      Positions and momenta at all times, along a new first axis. ``"adaptive"`` gives NaN at the
      times that it does not reach, be it for ``max_steps`` or for values that are not finite.

    Raises:
      TypeError: For a number of a wrong type, or a state that does not hold floats.
      ValueError: For an unknown solver, an option that it does not have, or times that do not
        increase (outside ``jit``).
    """
    if solver != "symplectic":

        def field(state: State, args: Any) -> State:
            return velocity(state[1], args), force(state[0], args)

        options = {"num_substeps": num_substeps, "tolerance": tolerance, "max_steps": max_steps}
        return integrate_field(field, state, times, args, solver=solver, **options)
    checked = _Options(solver, num_substeps, tolerance, max_steps)
    _check_state(state)
    terms = (
        diffrax.ODETerm(lambda t, p, args: velocity(p, args)),
        diffrax.ODETerm(lambda t, q, args: force(q, args)),
    )
    intervals = intervals_between(times, state[0].dtype, solver=solver)
    return _fixed(StormerVerlet(), terms, state, intervals, args, checked.num_substeps)


def integrate_field(
    field: StateField,
    state: State,
    times: Times,
    args: Any = None,
    *,
    solver: Solver = "rk4",
    num_substeps: int | None = None,
    tolerance: float | None = None,
    max_steps: int | None = None,
) -> State:
    """Integrates d(q, p)/dt = field(q, p), such as forces that see momenta; else :func:`integrate`.

    Args:
      field: Function of (positions, momenta) and ``args``: how both change. It must not close over
        what is differentiated.
      state: Positions and momenta at the first time.
      times: Times of the states, as for :func:`integrate`.
      args: Any pytree, passed on.
      solver: ``"rk4"`` or ``"adaptive"``.
      num_substeps: Steps between two times, as for :func:`integrate`.
      tolerance: Local error of a step, as for :func:`integrate`.
      max_steps: Most steps between two times, as for :func:`integrate`.

    Returns:
      Positions and momenta at all times, along a new first axis.

    Raises:
      TypeError: For a number of a wrong type, or a state that does not hold floats.
      ValueError: For the solver ``"symplectic"``, an unknown one, an option that it does not have,
        or times that do not increase (outside ``jit``).
    """
    options = _Options(solver, num_substeps, tolerance, max_steps)
    if solver == "symplectic":
        raise ValueError(
            "solver must be 'rk4' or 'adaptive' where forces depend on momenta, got 'symplectic'"
        )
    _check_state(state)
    terms = diffrax.ODETerm(lambda t, y, args: field(y, args))
    intervals = intervals_between(times, state[0].dtype, solver=solver)
    if solver == "adaptive":
        return _adaptive(terms, state, intervals, args, options)
    return _fixed(ThreeEighthsRule(), terms, state, intervals, args, options.num_substeps)


def _check_state(state: State) -> None:
    """Raises a TypeError for a state of integers, to which every step would be rounded."""
    for name, array in zip(("positions", "momenta"), state, strict=True):
        if not jnp.issubdtype(jnp.result_type(array), jnp.floating):
            raise TypeError(f"{name} of the state must be floats, got {jnp.result_type(array)}")


class _Options:
    """The options with their defaults; an error for one that the solver does not have."""

    def __init__(
        self,
        solver: Solver,
        num_substeps: int | None,
        tolerance: float | None,
        max_steps: int | None,
    ):
        check_option("solver", solver, Solver)
        if solver == "adaptive":
            if num_substeps is not None:
                raise ValueError(
                    f"num_substeps is not for the solver 'adaptive', got {num_substeps}"
                )
        else:
            for name, value in (("tolerance", tolerance), ("max_steps", max_steps)):
                if value is not None:
                    raise ValueError(f"{name} is for the solver 'adaptive' only, got {value}")
        self.num_substeps = 1 if num_substeps is None else num_substeps
        self.tolerance = 1e-6 if tolerance is None else tolerance
        self.max_steps = MAX_STEPS if max_steps is None else max_steps
        check_sizes({"num_substeps": self.num_substeps, "max_steps": self.max_steps})
        check_numbers({"tolerance": self.tolerance})
        if not 0.0 < self.tolerance < 1.0:
            raise ValueError(f"tolerance must be between 0 and 1, got {self.tolerance}")


def _fixed(
    method: _Steps, terms: Any, state: State, intervals: Intervals, args: Any, num_substeps: int
) -> State:
    if not len(intervals):
        return jax.tree.map(lambda x: x[None], state)
    lengths = jnp.repeat(intervals.lengths / num_substeps, num_substeps)
    start = jnp.zeros((), lengths.dtype)  # the equations of motion do not depend on time

    # Not diffeqsolve, whose adjoints with checkpoints can be differentiated only once.
    def step(state: State, length: Array) -> tuple[State, State]:
        after = method.advance(terms, start, length, state, args)
        state = jax.tree.map(lambda old, new: new.astype(old.dtype), state, after)
        return state, state

    _, path = jax.lax.scan(step, state, lengths)
    path = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), state, path)
    return jax.tree.map(lambda x: x[::num_substeps], path)


class _GivingUp(diffrax.AbstractAdaptiveStepSizeController):
    """A step size controller that ends where no shorter step exists, as at values of NaN.

    Diffrax itself would try the shortest one again until its steps are used up.
    """

    controller: diffrax.ClipStepSizeController

    def __init__(self, controller: diffrax.ClipStepSizeController):
        self.controller = controller

    rtol = computed(lambda self: self.controller.rtol)
    atol = computed(lambda self: self.controller.atol)
    norm = computed(lambda self: self.controller.norm)

    def wrap(self, direction: Any) -> "_GivingUp":
        return _GivingUp(self.controller.wrap(direction))

    def init(self, *args: Any) -> Any:
        return self.controller.init(*args)

    def adapt_step_size(self, t0: Any, t1: Any, *args: Any) -> Any:
        keep, next_t0, next_t1, made_jump, state, result = self.controller.adapt_step_size(
            t0, t1, *args
        )
        is_stuck = ~keep & ~(next_t1 < t1)  # of NaN too
        stuck = diffrax.RESULTS.dt_min_reached
        result = diffrax.RESULTS.where(is_stuck, stuck, result)
        return keep, next_t0, next_t1, made_jump, state, result


def _adaptive(
    terms: Any, state: State, intervals: Intervals, args: Any, options: _Options
) -> State:
    if not len(intervals):
        return jax.tree.map(lambda x: x[None], state)
    times, tolerance = intervals.elapsed, options.tolerance
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
        stepsize_controller=_GivingUp(controller),
        saveat=diffrax.SaveAt(ts=times[1:]),
        max_steps=options.max_steps,
        throw=False,  # of a batch, it would throw for all
    )

    def reached(first: Array, rest: Array) -> Array:
        rest = jnp.where(jnp.isfinite(rest), rest, jnp.nan)  # diffrax leaves infinity
        return jnp.concatenate([first[None], rest])

    positions, momenta = jax.tree.map(reached, state, solution.ys)
    return positions, momenta

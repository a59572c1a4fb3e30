"""Hamiltonian networks: a learned potential, the known kinetic energy, and what they make move."""

import functools
import itertools
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer

from eqattn import numerics
from eqattn.attention.mlp import activation_fn
from eqattn.checks import check_key, check_sizes
from eqattn.typing import Array, Bool, DType, Float, Int, Key


@runtime_checkable
class PotentialModel(Protocol):
    """One output of points with features: :class:`eqattn.models.LieTransformer`, or one like it."""

    in_features: int
    out_features: int

    @property
    def draws_samples(self) -> bool:
        """Whether it needs a key in training."""
        ...

    def __call__(
        self,
        points: Array,
        features: Array,
        mask: Array | None = None,
        key: Array | None = None,
        *,
        example_ids: Array | None = None,
        training: bool = False,
        num_lifts: int = 1,
    ) -> Array:
        """The output [*B 1] for points [*B N D] with features [*B N F]."""
        ...


class PotentialMLP(nnx.Module):
    """A potential that knows no symmetry: an MLP of all positions and features of N points.

    Equivariance: to nothing, not even to permutations of the points: the baseline.

    Args:
      num_points: N, of every example.
      point_dim: coordinates of a point.
      in_features: features of a point.
      dim: width of the hidden layers.
      num_layers: number of hidden layers.
      activation: after each of them.
      dtype: of the products; None for that of the inputs and parameters.
      param_dtype: of the parameters.
      rngs: for the initial values.

    Raises:
      ValueError: for a size below 1 or an unknown activation; in a call, for other shapes.

    >>> model = PotentialMLP(6, 2, 2, dim=16, rngs=nnx.Rngs(0))
    >>> model(jnp.ones((3, 6, 2)), jnp.ones((3, 6, 2))).shape
    (3, 1)
    """

    out_features = 1
    draws_samples = False

    def __init__(
        self,
        num_points: int,
        point_dim: int,
        in_features: int,
        *,
        dim: int = 200,
        num_layers: int = 3,
        activation: str = "swish",
        dtype: DType | None = None,
        param_dtype: DType = float,
        rngs: nnx.Rngs,
    ):
        check_sizes({"num_points": num_points, "point_dim": point_dim, "in_features": in_features})
        check_sizes({"dim": dim, "num_layers": num_layers})
        activation_fn(activation)
        self.num_points = num_points
        self.point_dim = point_dim
        self.in_features = in_features
        self.activation = activation
        widths = [num_points * (point_dim + in_features), *[dim] * num_layers, 1]
        self.linears = nnx.List(
            [
                nnx.Linear(size, width, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
                for size, width in itertools.pairwise(widths)
            ]
        )

    def __call__(
        self,
        points: Float[Array, "*B N D"],
        features: Float[Array, "*B N F"],
        mask: Bool[Array, "*B N"] | None = None,
        key: Key[Array, ""] | None = None,
        *,
        example_ids: Int[Array, "*B"] | None = None,
        training: bool = False,
        num_lifts: int = 1,
    ) -> Float[Array, "*B 1"]:
        """The potential; nothing is drawn, so that the last four arguments change nothing.

        Args:
          points: positions.
          features: of the points.
          mask: which points exist; all by default. The others count as zeros.
          key: not needed.
          example_ids: not needed.
          training: not needed.
          num_lifts: not needed.

        Raises:
          ValueError: for other shapes than it was made for.
        """
        del key, example_ids, training, num_lifts
        for name, array, size in (
            ("points", points, self.point_dim),
            ("features", features, self.in_features),
        ):
            if array.shape[-2:] != (self.num_points, size):
                raise ValueError(
                    f"{name} must end in {(self.num_points, size)}, got shape {array.shape}"
                )
        x = jnp.concatenate([points, features], axis=-1)
        if mask is not None:
            x = jnp.where(mask[..., None], x, 0)
        x = x.reshape(*x.shape[:-2], -1)
        activation = activation_fn(self.activation)
        for linear in self.linears[:-1]:
            x = activation(linear(x))
        return self.linears[-1](x)


class HamiltonianNetwork(nnx.Module):
    """Particles under H(q, p) = Σ|p|²/2m + V(q - mean q), with a learned potential V.

    The kinetic energy is known, the motion is dq/dt = ∂H/∂p, dp/dt = -∂H/∂q by automatic
    differentiation, and a roll-out draws its lift once: one key, one conservative force field
    (arXiv 2012.10885).

    Equivariance: that of the potential, and exactly to translations where positions are centered,
    so that total momentum is conserved. If V is exactly invariant to rotations about the center,
    as under SE(2) with ``Unlifted()`` or under SO(2), so is angular momentum, by the exact
    flow and to the error of the solver.

    Args:
      potential_model: gives V: a :class:`LieTransformer` of any group that acts on the space of
        the particles, with one output, or a :class:`PotentialMLP`.
      center: whether V sees positions relative to their mean, as published.

    Raises:
      TypeError: for anything that is no such model.
      ValueError: if the model has more than one output.

    >>> import jax, eqattn
    >>> space = eqattn.spaces.euclidean(eqattn.groups.SE(2))
    >>> lift = eqattn.lift.Unlifted()
    >>> potential = eqattn.models.LieTransformer(
    ...     space, 2, 1, dim=8, num_layers=1, num_heads=2, strategy=lift,
    ...     coordinates="invariants", rngs=nnx.Rngs(0),
    ... )
    >>> model = HamiltonianNetwork(potential)
    >>> q, p = jax.random.normal(jax.random.key(0), (2, 3, 6, 2))
    >>> model.roll_out(q, p, jax.numpy.ones((3, 6, 2)), jax.numpy.linspace(0, 1, 5)).shape
    (3, 5, 6, 4)
    """

    def __init__(self, potential_model: PotentialModel, *, center: bool = True):
        if not isinstance(potential_model, PotentialModel):
            raise TypeError(
                f"potential_model must be a model such as a LieTransformer, got {potential_model!r}"
            )
        if potential_model.out_features != 1:
            raise ValueError(
                f"potential_model must have 1 output, got {potential_model.out_features}"
            )
        if getattr(potential_model, "per_point", False):
            raise ValueError("potential_model must have an output 'invariant', got 'per_point'")
        self.potential_model = potential_model
        self.center = center

    @property
    def draws_samples(self) -> bool:
        """Whether the lift is random, so that roll-outs depend on a key."""
        return self.potential_model.draws_samples

    def potential(
        self,
        positions: Float[Array, "*B N D"],
        system_features: Float[Array, "*B N F"],
        mask: Bool[Array, "*B N"] | None = None,
        key: Key[Array, ""] | None = None,
        **options: Any,
    ) -> Float[Array, "*B"]:
        """The potential energy V.

        Args:
          positions: of the particles.
          system_features: their masses, then what else is known of them (spring constants).
          mask: which particles exist; all by default.
          key: for the lift's samples, as in :meth:`LieTransformer.__call__`.
          **options: ``example_ids``, ``training`` and ``num_lifts``, likewise.

        Raises:
          ValueError: what the potential's model raises.
        """
        if self.center:
            positions = _centered(positions, mask)
        out = self.potential_model(positions, system_features, mask, key, **options)
        return numerics.at_least_float32(out)[..., 0]

    def hamiltonian(
        self,
        positions: Float[Array, "*B N D"],
        momenta: Float[Array, "*B N D"],
        system_features: Float[Array, "*B N F"],
        mask: Bool[Array, "*B N"] | None = None,
        key: Key[Array, ""] | None = None,
        **options: Any,
    ) -> Float[Array, "*B"]:
        """The total energy Σ|p|²/2m + V; arguments as in :meth:`potential`."""
        self._check_state(positions, momenta, system_features, mask)
        velocities = _velocities(momenta, system_features, mask)
        if mask is not None:
            momenta = jnp.where(mask[..., None], momenta, 0)
        kinetic = 0.5 * jnp.sum(momenta * velocities, (-2, -1))
        return kinetic + self.potential(positions, system_features, mask, key, **options)

    def vector_field(
        self,
        positions: Float[Array, "*B N D"],
        momenta: Float[Array, "*B N D"],
        system_features: Float[Array, "*B N F"],
        mask: Bool[Array, "*B N"] | None = None,
        key: Key[Array, ""] | None = None,
        **options: Any,
    ) -> tuple[Float[Array, "*B N D"], Float[Array, "*B N D"]]:
        """Hamilton's equations: velocities ∂H/∂p and forces -∂H/∂q.

        Arguments as in :meth:`potential`. Particles that do not exist do not move.
        """
        self._check_state(positions, momenta, system_features, mask)
        velocities = _velocities(momenta, system_features, mask)
        return velocities, self._forces(positions, system_features, mask, key, options)

    def roll_out(
        self,
        positions: Float[Array, "*B N D"],
        momenta: Float[Array, "*B N D"],
        system_features: Float[Array, "*B N F"],
        times: Float[Array, " times"],
        mask: Bool[Array, "*B N"] | None = None,
        key: Key[Array, ""] | None = None,
        *,
        example_ids: Int[Array, "*B"] | None = None,
        training: bool = False,
        num_lifts: int = 1,
        solver: str = "rk4",
        num_substeps: int | None = None,
        tolerance: float | None = None,
    ) -> Float[Array, "*B times N 2*D"]:
        """The trajectory through the given state, at all times: positions and momenta, one row.

        The lift is drawn once: its key, and so the force field, is the same at every step.

        Args:
          positions: at the first of the times.
          momenta: at the first of the times.
          system_features: masses, then what else is known of the particles.
          times: increasing; only differences matter.
          mask: which particles exist; all by default.
          key: of the lift, one for the whole trajectory; without one, evaluation uses a fixed key.
          example_ids: identity of each trajectory, which its samples are keyed by.
          training: whether a missing key is an error.
          num_lifts: number of lifts whose potentials are averaged.
          solver: ``"rk4"`` (the 3/8 rule, one step per interval of the times, as published),
            ``"symplectic"`` (Störmer-Verlet, likewise) or ``"adaptive"`` (Dormand-Prince, each
            trajectory with steps of its own).
          num_substeps: steps per interval instead of one; not for ``"adaptive"``.
          tolerance: relative and absolute, of a step of ``"adaptive"``; 1e-6 by default.

        Returns:
          States at all times, the first included; zeros where no particle exists.

        Raises:
          ValueError: for wrong shapes, times that do not increase (outside ``jit``), an unknown
            solver, an option that it does not have, or in training a missing key where the lift
            draws samples.
          TypeError: for a ``key`` that ``jax.random.key`` did not make.
        """
        check_key(key)
        self._check_state(positions, momenta, system_features, mask)
        if times.ndim != 1 or times.shape[0] == 0:
            raise ValueError(f"times must have shape [times], at least 1, got {times.shape}")
        if not isinstance(times, Tracer) and np.any(np.diff(np.asarray(times)) <= 0):
            raise ValueError(f"times must increase, got {np.asarray(times)}")
        batch = positions.shape[:-2]
        mask = jnp.ones(positions.shape[:-1], bool) if mask is None else mask
        ids = jnp.zeros(batch, jnp.int32) if example_ids is None else jnp.asarray(example_ids)
        graphdef, params = nnx.split(self)
        positions, momenta = (
            jnp.where(mask[..., None], numerics.at_least_float32(x), 0)
            for x in (positions, momenta)
        )
        return _trajectories(
            graphdef,
            params,
            (positions, momenta, system_features, mask, ids),
            times,
            key,
            training=training,
            num_lifts=num_lifts,
            solver=solver,
            num_substeps=num_substeps,
            tolerance=tolerance,
        )

    def _check_state(
        self, positions: Array, momenta: Array, features: Array, mask: Array | None
    ) -> None:
        if positions.ndim < 2:
            raise ValueError(f"positions must have shape [*B N D], got {positions.shape}")
        if momenta.shape != positions.shape:
            raise ValueError(
                f"momenta must have the shape of positions {positions.shape}, got {momenta.shape}"
            )
        expected = (*positions.shape[:-1], self.potential_model.in_features)
        if features.shape != expected:
            raise ValueError(f"system_features must have shape {expected}, got {features.shape}")
        if mask is not None and mask.shape != positions.shape[:-1]:
            raise ValueError(f"mask must have shape {positions.shape[:-1]}, got {mask.shape}")

    def _forces(
        self,
        positions: Array,
        features: Array,
        mask: Array | None,
        key: Array | None,
        options: dict[str, Any],
    ) -> Array:
        def total(positions: Array) -> Array:  # of a batch, whose examples are independent
            return jnp.sum(self.potential(positions, features, mask, key, **options))

        return -jax.grad(total)(positions)


@functools.partial(
    jax.jit,
    static_argnames=("graphdef", "training", "num_lifts", "solver", "num_substeps", "tolerance"),
)
def _trajectories(
    graphdef: Any,
    params: Any,
    examples: tuple[Array, ...],
    times: Array,
    key: Array | None,
    *,
    training: bool,
    num_lifts: int,
    **options: Any,
) -> Array:
    """Roll-outs of examples (positions, momenta, features, mask, ids); compiled once a shape."""
    from eqattn.models.integrators import integrate  # diffrax is slow to import

    def velocity(momenta: Array, args: Any) -> Array:
        _, (features, mask, _), _ = args
        return _velocities(momenta, features, mask)

    def force(positions: Array, args: Any) -> Array:
        params, (features, mask, ids), key = args
        options = {"example_ids": ids, "training": training, "num_lifts": num_lifts}
        return nnx.merge(graphdef, params)._forces(positions, features, mask, key, options)

    def solve(positions: Array, momenta: Array, *examples: Array) -> Array:
        path = integrate(
            velocity, force, (positions, momenta), times, (params, examples, key), **options
        )
        return jnp.concatenate(path, axis=-1)

    num_batch_axes = examples[0].ndim - 2
    if options["solver"] == "adaptive":  # or the steps of a trajectory would depend on the others
        for _ in range(num_batch_axes):
            solve = jax.vmap(solve)
        return solve(*examples)
    return jnp.moveaxis(solve(*examples), 0, num_batch_axes)


def _centered(positions: Array, mask: Array | None) -> Array:
    """Positions relative to the mean of the particles that exist."""
    if mask is None:
        return positions - jnp.mean(positions, axis=-2, keepdims=True)
    mask = mask[..., None]
    count = jnp.maximum(jnp.sum(mask, axis=-2, keepdims=True), 1)
    mean = jnp.sum(jnp.where(mask, positions, 0), axis=-2, keepdims=True) / count
    return jnp.where(mask, positions - mean, 0)


def _velocities(momenta: Array, features: Array, mask: Array | None) -> Array:
    masses = features[..., :1]
    if mask is None:
        return momenta / masses
    mask = mask[..., None]
    return jnp.where(mask, momenta / jnp.where(mask, masses, 1), 0)

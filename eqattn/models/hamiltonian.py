"""Hamiltonian networks: a learned potential, the known kinetic energy, and what they make move."""

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx

from eqattn import numerics
from eqattn.activations import activation_fn
from eqattn.checks import check_instance, check_mask, check_sizes
from eqattn.layers.linear import Linear
from eqattn.models.config import ModelConfig, NetworkConfig, dtype_name
from eqattn.models.lie_transformer import LieTransformerConfig
from eqattn.models.particles import (
    Nested,
    ParticleModel,
    particle_velocities,
    to_array,
)
from eqattn.sharding import on_any_mesh
from eqattn.typing import Activation, Array, Bool, DType, Float, Int, Key


@runtime_checkable
class PotentialModel(Protocol):
    """One output of points with features: :class:`eqattn.models.LieTransformer`, or one like it."""

    in_features: int
    out_features: int

    @property
    def is_stochastic(self) -> bool:
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


@dataclass(frozen=True, repr=False, kw_only=True)
class PotentialMLPConfig(NetworkConfig):
    """A potential that knows no symmetry: an MLP of all points."""

    num_points: int = 6
    """Points of every example."""
    point_dim: int = 2
    """Coordinates of a point."""
    dim: int = 200
    """Width of the hidden layers."""
    num_layers: int = 3
    """Hidden layers."""
    activation: Activation = "swish"
    """Activation function after each of them."""

    def build(self, in_features: int, out_features: int, *, rngs: nnx.Rngs) -> "PotentialMLP":
        """See :meth:`ModelConfig.build`."""
        if out_features != 1:
            raise ValueError(f"out_features of a PotentialMLP must be 1, got {out_features}")
        return PotentialMLP(in_features=in_features, rngs=rngs, **self.arguments())


class PotentialMLP(nnx.Module):
    """A potential that knows no symmetry: an MLP of all positions and features of N points.

    Equivariance: to nothing, not even to permutations of the points: the baseline.

    Args:
      num_points: N, of every example.
      point_dim: Coordinates of a point.
      in_features: Features of a point.
      dim: Width of the hidden layers.
      num_layers: Number of hidden layers.
      activation: Function after each of them, or its name in ``jax.nn``.
      dtype: Data type of the products; None for that of the inputs and parameters.
      param_dtype: Data type of the parameters.
      rngs: Random streams of the initial values.

    Raises:
      ValueError: For a size below 1 or an unknown activation; in a call, for other shapes.

    >>> model = PotentialMLP(6, 2, 2, dim=16, rngs=nnx.Rngs(0))
    >>> q, particles = jax.random.uniform(jax.random.key(0), (2, 3, 6, 2))
    >>> energies = jax.jit(model)(q, particles)
    >>> energies.shape, bool(energies.std() > 1e-3)
    ((3, 1), True)
    """

    out_features = 1
    is_stochastic = False

    def __init__(
        self,
        num_points: int,
        point_dim: int,
        in_features: int,
        *,
        dim: int = PotentialMLPConfig.dim,
        num_layers: int = PotentialMLPConfig.num_layers,
        activation: Activation = PotentialMLPConfig.activation,
        dtype: DType | None = None,
        param_dtype: DType = float,
        rngs: nnx.Rngs,
    ):
        check_instance("rngs", rngs, nnx.Rngs)
        check_sizes({"num_points": num_points, "point_dim": point_dim, "in_features": in_features})
        check_sizes({"dim": dim, "num_layers": num_layers})
        activation_fn(activation)
        self.config = PotentialMLPConfig(
            num_points=num_points,
            point_dim=point_dim,
            dim=dim,
            num_layers=num_layers,
            activation=activation,
            dtype=dtype_name(dtype, param_dtype),
        )
        self.num_points = num_points
        self.point_dim = point_dim
        self.in_features = in_features
        self.activation = activation
        widths = [num_points * (point_dim + in_features), *[dim] * num_layers, 1]
        self.linears = nnx.List(
            [
                Linear(size, width, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
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
          points: Positions.
          features: Features of the points.
          mask: Marks the points that exist; by default all do. The others count as zeros.
          key: Random key, not needed here.
          example_ids: Identifiers of the examples, not needed here.
          training: Not needed here: training and evaluation are the same.
          num_lifts: Number of lifts, not needed here: there is no lift.

        Raises:
          ValueError: For other shapes than it was made for, or a mask that is not boolean.
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
        if features.shape[:-1] != points.shape[:-1]:
            raise ValueError(
                f"features must have the leading shape of points {points.shape[:-1]}, "
                f"got shape {features.shape}"
            )
        check_mask(mask, points.shape[:-1])
        x = jnp.concatenate([points, features], axis=-1)
        if mask is not None:
            x = jnp.where(mask[..., None], x, 0)
        x = x.reshape(*x.shape[:-2], -1)
        activation = activation_fn(self.activation)
        for linear in self.linears[:-1]:
            x = activation(linear(x))
        return self.linears[-1](x)


@dataclass(frozen=True, repr=False, kw_only=True)
class HamiltonianNetworkConfig(ModelConfig):
    """Particles that move in a learned potential."""

    potential: ModelConfig = LieTransformerConfig()
    """The potential."""
    center: bool = True
    """Whether the potential sees positions relative to their mean."""

    def build(self, in_features: int, out_features: int, *, rngs: nnx.Rngs) -> "HamiltonianNetwork":
        """See :meth:`ModelConfig.build`."""
        potential: Any = self.potential.build(in_features, out_features, rngs=rngs)
        return HamiltonianNetwork(potential, center=self.center)


class HamiltonianNetwork(ParticleModel):
    """Particles under H(q, p) = Σ|p|²/2m + V(q - mean q), with a learned potential V.

    The kinetic energy is known, the motion is dq/dt = ∂H/∂p, dp/dt = -∂H/∂q by automatic
    differentiation, and a roll-out draws its lift once: one key, one conservative force field
    (arXiv 2012.10885).

    Equivariance: that of the potential, and exactly to translations where positions are centered,
    so that total momentum is conserved. If V is exactly invariant to rotations about the center,
    as under SE(2) with ``NoLift()`` or under SO(2), so is angular momentum, by the exact
    flow and to the error of the solver.

    V sees all system features. The masses are the first of them, or an argument of their own: then
    V knows nothing of them, as it is of atoms, whose potential is that of their elements.

    Args:
      potential_model: Gives V: a :class:`LieTransformer` of any group that acts on the space of
        the particles, with one output, a :class:`PotentialNetwork` or a :class:`PotentialMLP`.
      center: Whether V sees positions relative to their mean, as published.

    Raises:
      TypeError: For anything that is no such model.
      ValueError: If the model has more than one output.

    >>> import jax, eqattn
    >>> space = eqattn.spaces.euclidean(eqattn.groups.SE(2))
    >>> potential = eqattn.models.LieTransformer(
    ...     space, 2, 1, dim=8, num_layers=1, rngs=nnx.Rngs(0)
    ... )
    >>> model = HamiltonianNetwork(potential)
    >>> q, p = jax.random.normal(jax.random.key(0), (2, 3, 6, 2))
    >>> particles = jax.random.uniform(jax.random.key(1), (3, 6, 2), minval=0.5, maxval=2.0)
    >>> velocities, forces = jax.jit(model.vector_field)(q, p, particles)
    >>> bool(jax.numpy.all(forces != 0))
    True
    >>> model.roll_out(q, p, particles, jax.numpy.linspace(0, 1, 5)).shape
    (3, 5, 6, 4)
    """

    forces_see_momenta: ClassVar[bool] = False

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
    def config(self) -> HamiltonianNetworkConfig:
        """What the model is built from, where the potential says it too."""
        inner: Any = self.potential_model
        return HamiltonianNetworkConfig(potential=inner.config, center=self.center)

    @property
    def in_features(self) -> int:
        """Features of a particle."""
        return self.potential_model.in_features

    @property
    def out_features(self) -> int:
        """The potential is one number."""
        return 1

    @property
    def is_stochastic(self) -> bool:
        """Whether the lift is random, so that roll-outs depend on a key."""
        return self.potential_model.is_stochastic

    @on_any_mesh("positions", 2)
    def potential(
        self,
        positions: Float[Array, "*B N D"] | Nested,
        system_features: Float[Array, "*B N F"] | Nested,
        mask: Bool[Array, "*B N"] | None = None,
        key: Key[Array, ""] | None = None,
        **options: Any,
    ) -> Float[Array, "*B"]:
        """The potential energy V.

        Args:
          positions: Positions of the particles.
          system_features: Features of the particles that V sees.
          mask: Marks the particles that exist; by default all do.
          key: Random key of the lift's samples, as in :meth:`LieTransformer.__call__`.
          **options: ``example_ids``, ``training`` and ``num_lifts``, likewise.

        Raises:
          ValueError: What the potential's model raises.
        """
        positions = to_array("positions", positions)
        check_mask(mask, positions.shape[:-1])
        if self.center:
            positions = numerics.centered(positions, mask)  # by NumPy in its own precision
        positions = jnp.asarray(positions)
        features = jnp.asarray(to_array("system_features", system_features))
        out = self.potential_model(positions, features, mask, key, **options)
        return numerics.at_least_float32(out)[..., 0]

    @on_any_mesh("positions", 2)
    def hamiltonian(
        self,
        positions: Float[Array, "*B N D"] | Nested,
        momenta: Float[Array, "*B N D"] | Nested,
        system_features: Float[Array, "*B N F"] | Nested,
        mask: Bool[Array, "*B N"] | None = None,
        key: Key[Array, ""] | None = None,
        *,
        masses: Float[Array, "*B N"] | Nested | None = None,
        **options: Any,
    ) -> Float[Array, "*B"]:
        """The total energy Σ|p|²/2m + V; arguments as in :meth:`vector_field`."""
        q, p, features, masses, _ = self.arrays(positions, momenta, system_features, mask, masses)
        velocities = particle_velocities(p, masses, mask)
        if mask is not None:
            p = jnp.where(mask[..., None], p, 0)
        kinetic = 0.5 * jnp.sum(p * velocities, (-2, -1))
        return kinetic + self.potential(q, features, mask, key, **options)

    @property
    def num_features(self) -> int:
        """Features of a particle that the potential takes."""
        return self.potential_model.in_features

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
        del momenta, masses

        def total(positions: Array) -> Array:  # of a batch, whose examples are independent
            return jnp.sum(self.potential(positions, features, mask, key, **options))

        return -jax.grad(total)(positions)

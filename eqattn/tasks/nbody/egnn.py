"""The baseline of the task "nbody": an E(n)-equivariant graph network (arXiv 2102.09844).

Layers are those of the published code for particles with velocities: messages of all pairs, sums
of weighted differences of positions (their mean over the other particles), velocities scaled by a
function of the features, and residual features. Written for dense pairs: the first linear map of a
message is applied to both particles before they meet.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from eqattn.checks import check_sizes
from eqattn.layers.linear import Linear
from eqattn.models.config import NetworkConfig
from eqattn.typing import Array, Bool, Float, Int, Key

PUBLISHED_INIT = nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""Weights of PyTorch's linear maps, uniform in ±1/sqrt(inputs)."""


@dataclass(frozen=True, repr=False, kw_only=True)
class EGNNConfig(NetworkConfig):
    """An E(n)-equivariant graph network of particles with velocities (arXiv 2102.09844)."""

    dim: int = 64
    """Channels of the features and of the messages."""
    num_layers: int = 4
    """Layers."""
    num_pair_data: int = 1
    """Numbers that are known of each pair."""

    def __post_init__(self):
        super().__post_init__()
        check_sizes({"dim": self.dim, "num_layers": self.num_layers})
        check_sizes({"num_pair_data": self.num_pair_data}, minimum=0)

    def build(self, in_features: int, out_features: int, *, rngs: nnx.Rngs) -> "EGNN":
        """See :meth:`ModelConfig.build`."""
        del out_features  # positions move, in as many dimensions as there are
        return EGNN(self, in_features, rngs=rngs)


class EGNN(nnx.Module):
    """Moves particles: from positions and velocities to the displacement of each.

    Equivariance: exact to E(n).

    Args:
      config: Architecture of the model.
      in_features: Channels of the features of a particle: velocity components and scalars.
      rngs: Random streams of the initial values.
    """

    def __init__(self, config: EGNNConfig, in_features: int, *, rngs: nnx.Rngs):
        self.config = config
        self.in_features = in_features
        self.per_point, self.is_stochastic = True, False
        types = config.types()
        dim, num_pairs = config.dim, config.num_pair_data
        options = {"kernel_init": PUBLISHED_INIT, "rngs": rngs}
        self.embedding = Linear(in_features - 2, dim, **options, **types)
        self.layers = nnx.List(
            [EGNNLayer(dim, num_pairs + 1, rngs=rngs, **types) for _ in range(config.num_layers)]
        )

    def __call__(
        self,
        points: Float[Array, "*B N D"],
        features: Float[Array, "*B N C"],
        mask: Bool[Array, "*B N"] | None = None,
        key: Key[Array, ""] | None = None,
        *,
        pair_data: Float[Array, "*B N N P"],
        example_ids: Int[Array, "*B"] | None = None,
        training: bool = False,
        num_lifts: int = 1,
    ) -> Float[Array, "*B N D"]:
        """Displacements of the particles.

        Args:
          points: Positions.
          features: Velocities, and then scalars.
          mask: Marks the particles that exist; by default all do.
          key: Not needed: nothing is drawn.
          pair_data: What is known of pairs.
          example_ids: Not needed.
          training: Not needed.
          num_lifts: Not needed.
        """
        del key, example_ids, training, num_lifts
        dim, num_points = points.shape[-1], points.shape[-2]
        velocities, scalars = features[..., :dim], features[..., dim:]
        speed = jnp.sqrt(jnp.sum(velocities**2, axis=-1, keepdims=True) + 1e-12)
        pairs = ~jnp.eye(num_points, dtype=bool)
        if mask is not None:
            pairs = pairs & mask[..., None, :]
        positions = points
        squares = jnp.sum((positions[..., :, None, :] - positions[..., None, :, :]) ** 2, -1)
        pair_data = jnp.concatenate([pair_data, squares[..., None]], axis=-1)
        h = self.embedding(jnp.concatenate([speed, scalars], axis=-1))
        for layer in self.layers:
            h, positions = layer(h, positions, velocities, pair_data, pairs)
        moved = positions - points
        return moved if mask is None else jnp.where(mask[..., None], moved, 0)


class EGNNLayer(nnx.Module):
    """Messages of all pairs, and what they change.

    Args:
      dim: Channels.
      num_pairs: Numbers that are known of each pair.
      rngs: Random streams of the initial values.
      **types: Data types of the linear maps.
    """

    def __init__(self, dim: int, num_pairs: int, *, rngs: nnx.Rngs, **types: Any):
        def linear(size_in: int, size_out: int = dim, **options: Any) -> Linear:
            options = {"kernel_init": PUBLISHED_INIT} | options
            return Linear(size_in, size_out, rngs=rngs, **types, **options)

        self.message_rows = linear(dim)
        self.message_columns = linear(dim, use_bias=False)
        self.message_pairs = linear(num_pairs + 1, use_bias=False)
        self.message = linear(dim)
        small = nnx.initializers.variance_scaling(1e-6, "fan_avg", "uniform")
        self.move_input = linear(dim)
        self.move = linear(dim, 1, use_bias=False, kernel_init=small)
        self.speed_input, self.speed = linear(dim), linear(dim, 1)
        self.node_input, self.node = linear(2 * dim), linear(dim)

    def __call__(
        self,
        h: Float[Array, "*B N C"],
        positions: Float[Array, "*B N D"],
        velocities: Float[Array, "*B N D"],
        pair_data: Float[Array, "*B N N P"],
        pairs: Bool[Array, "*#B N N"],
    ) -> tuple[Float[Array, "*B N C"], Float[Array, "*B N D"]]:
        """New features and positions.

        Args:
          h: Features.
          positions: Positions.
          velocities: Velocities at the start.
          pair_data: What is known of pairs.
          pairs: Marks the pairs of two different particles that exist.
        """
        differences = positions[..., :, None, :] - positions[..., None, :, :]
        squares = jnp.sum(differences**2, axis=-1, keepdims=True)
        known = self.message_pairs(jnp.concatenate([squares, pair_data], axis=-1))
        rows, columns = self.message_rows(h), self.message_columns(h)
        message = jax.nn.silu(rows[..., :, None, :] + columns[..., None, :, :] + known)
        message = jax.nn.silu(self.message(message))
        weights = self.move(jax.nn.silu(self.move_input(message)))
        mask = pairs[..., None]
        count = jnp.maximum(jnp.sum(mask, axis=-2), 1)
        positions = positions + jnp.sum(jnp.where(mask, weights * differences, 0), -2) / count
        positions = positions + self.speed(jax.nn.silu(self.speed_input(h))) * velocities
        total = jnp.sum(jnp.where(mask, message, 0), axis=-2)
        change = self.node(jax.nn.silu(self.node_input(jnp.concatenate([h, total], axis=-1))))
        return h + change, positions

"""The baseline of the task "forces": a polarizable atom interaction network (arXiv 2102.03150).

Layers are those of the publication: messages of the atoms within a cutoff, made of scalars and of
the direction to the neighbor, then an update of each atom by itself. Pairs are all pairs, or those
of a neighbor list.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from eqattn import numerics
from eqattn.checks import check_numbers, check_sizes
from eqattn.layers.linear import Linear
from eqattn.models.config import NetworkConfig
from eqattn.models.neighbor_lists import check_neighbors
from eqattn.neighbors import NeighborList
from eqattn.typing import Array, Bool, Float, Int, Key

XAVIER = nnx.initializers.variance_scaling(1.0, "fan_avg", "uniform")
"""Initial weights of the public code."""
Parts = tuple[Float[Array, "*B N C"], Float[Array, "*B N 3 C"]]


@dataclass(frozen=True, repr=False, kw_only=True)
class PaiNNConfig(NetworkConfig):
    """A polarizable atom interaction network (arXiv 2102.03150)."""

    dim: int = 64
    """Scalars, and vectors, of an atom."""
    num_layers: int = 3
    """Layers."""
    num_radial: int = 20
    """Sines of the distance that filters are made of."""
    cutoff: float = 5.0
    """Distance in ångström beyond which atoms do not see each other."""

    def __post_init__(self):
        super().__post_init__()
        check_sizes({"dim": self.dim, "num_layers": self.num_layers, "num_radial": self.num_radial})
        check_numbers({"cutoff": self.cutoff})
        if not 0 < self.cutoff < float("inf"):
            raise ValueError(f"cutoff must be finite and above 0, got {self.cutoff}")

    def build(self, in_features: int, out_features: int, *, rngs: nnx.Rngs) -> "PaiNN":
        """See :meth:`ModelConfig.build`."""
        if out_features != 1:
            raise ValueError(f"out_features of a PaiNN must be 1, got {out_features}")
        return PaiNN(self, in_features, rngs=rngs)


class PaiNN(nnx.Module):
    """A number for each atom, from scalars and vectors that atoms hand to their neighbors.

    Equivariance: invariant under E(3), exactly. Forces are continuous at the cutoff; their
    derivatives are not, for the published cutoff is a cosine.

    Args:
      config: Architecture of the model.
      in_features: Channels of the features of an atom.
      rngs: Random streams of the initial values.
    """

    per_point, is_stochastic, out_features = True, False, 1

    def __init__(self, config: PaiNNConfig, in_features: int, *, rngs: nnx.Rngs):
        self.config, self.in_features = config, in_features
        types: dict[str, Any] = {**config.types(), "rngs": rngs, "kernel_init": XAVIER}
        dim = config.dim
        self.embedding = Linear(in_features, dim, use_bias=False, **types)
        self.messages = nnx.List(
            [Message(dim, config.num_radial, **types) for _ in range(config.num_layers)]
        )
        self.updates = nnx.List([Update(dim, **types) for _ in range(config.num_layers)])
        self.hidden, self.head = Linear(dim, dim // 2, **types), Linear(dim // 2, 1, **types)

    def __call__(
        self,
        points: Float[Array, "*B N 3"],
        features: Float[Array, "*B N C"],
        mask: Bool[Array, "*B N"] | None = None,
        key: Key[Array, ""] | None = None,
        *,
        neighbors: NeighborList | None = None,
        example_ids: Int[Array, "*B"] | None = None,
        training: bool = False,
        num_lifts: int = 1,
    ) -> Float[Array, "*B N 1"]:
        """A number for each atom, 0 where there is none.

        Args:
          points: Positions in ångström.
          features: What atoms are, such as their elements.
          mask: Marks the atoms that exist; by default all do.
          key: Not needed: nothing is drawn.
          neighbors: Atoms that each atom may see, and the lattice vectors that move them; by
            default all atoms.
          example_ids: Not needed.
          training: Not needed.
          num_lifts: Not needed.
        """
        del key, example_ids, training, num_lifts
        exists = jnp.ones(points.shape[:-1], bool) if mask is None else mask
        points = jnp.where(exists[..., None], points, 0)
        features = jnp.where(exists[..., None], features, 0)
        check_neighbors(self.config, neighbors)
        pairs = Pairs.of(points, exists, self.config, neighbors)
        scalars = self.embedding(features)
        vectors = jnp.zeros((*scalars.shape[:-1], 3, scalars.shape[-1]), scalars.dtype)
        for message, update in zip(self.messages, self.updates, strict=True):
            scalars, vectors = message(scalars, vectors, pairs)
            scalars, vectors = update(scalars, vectors)
        out = self.head(jax.nn.silu(self.hidden(scalars)))
        return jnp.where(exists[..., None], out, 0)


@dataclass(frozen=True)
class Pairs:
    """What layers know of pairs of an atom and each of P others.

    Attributes:
      indices: Indices of the others; None where these are all N atoms.
      directions: Unit vectors from the other to the atom; zeros where they are at one place.
      waves: Sines of the distance by it.
      cutoffs: Factor from 1 to 0 at the cutoff; 0 where there is no neighbor.
    """

    indices: Int[Array, "*B N P"] | None
    directions: Float[Array, "*B N P 3"]
    waves: Float[Array, "*B N P K"]
    cutoffs: Float[Array, "*B N P"]

    @classmethod
    def of(
        cls,
        points: Float[Array, "*B N 3"],
        exists: Bool[Array, "*B N"],
        config: PaiNNConfig,
        neighbors: NeighborList | None = None,
    ) -> "Pairs":
        """The pairs of a configuration.

        Args:
          points: Positions.
          exists: Marks the atoms that exist.
          config: Architecture of the model.
          neighbors: Atoms that each atom may see; by default all.
        """
        own = jnp.arange(points.shape[-2])[:, None]
        if neighbors is None:
            indices, others = None, points[..., None, :, :]
            pairs = exists[..., None, :] & ~jnp.eye(points.shape[-2], dtype=bool)
        else:
            indices = jnp.where(neighbors.mask, neighbors.indices, 0)
            others = taken(points, indices)
            pairs = neighbors.mask & taken(exists[..., None], indices)[..., 0]
            is_itself, vectors = indices == own, neighbors.vectors
            if vectors is not None and neighbors.shifts is not None:
                others = others + vectors.astype(points.dtype)
                is_itself &= (neighbors.shifts == 0).all(axis=-1)
            pairs &= ~is_itself
        differences = points[..., :, None, :] - others
        distances = numerics.safe_sqrt(jnp.sum(differences**2, axis=-1))
        near = exists[..., :, None] & pairs & (distances < config.cutoff)
        divisors = jnp.where(distances > 0, distances, 1)[..., None]
        angles = jnp.pi / config.cutoff * jnp.where(near, distances, 0)
        orders = jnp.arange(1, config.num_radial + 1, dtype=points.dtype)
        waves = jnp.where(  # sin(nπd/c) / d, and its limit
            distances[..., None] > 0,
            jnp.sin(orders * angles[..., None]) / divisors,
            orders * jnp.pi / config.cutoff,
        )
        factors = 0.5 * (jnp.cos(angles) + 1)
        dtype = config.dtype
        return cls(
            indices,
            (differences / divisors).astype(dtype),
            waves.astype(dtype),
            jnp.where(near, factors, 0).astype(dtype),
        )


def taken(values: Array, indices: Int[Array, "*B N P"]) -> Array:
    """What other atoms have, for each pair: [*B N P …] of values [*B N …].

    Args:
      values: Arrays with a row for each atom.
      indices: Indices of the others.
    """

    def take(rows: Array, places: Array) -> Array:
        return jnp.take(rows, places, axis=0)

    for _ in range(indices.ndim - 2):
        take = jax.vmap(take)
    return take(values, indices)


class Message(nnx.Module):
    """What atoms hand to their neighbors, times filters of the distance.

    Args:
      dim: Scalars, and vectors, of an atom.
      num_radial: Sines of the distance.
      **types: Data types, random streams and initial values of the linear maps.
    """

    def __init__(self, dim: int, num_radial: int, **types: Any):
        self.hidden, self.out = Linear(dim, dim, **types), Linear(dim, 3 * dim, **types)
        self.filter = Linear(num_radial, 3 * dim, **types)

    def __call__(
        self, scalars: Float[Array, "*B N C"], vectors: Float[Array, "*B N 3 C"], pairs: Pairs
    ) -> Parts:
        """Scalars and vectors with the messages added.

        Args:
          scalars: Scalars of the atoms.
          vectors: Vectors of the atoms.
          pairs: What is known of pairs.
        """
        sent = self.out(jax.nn.silu(self.hidden(scalars)))
        filters = self.filter(pairs.waves) * pairs.cutoffs[..., None]
        if pairs.indices is None:
            change, gates, pulls = jnp.split(filters * sent[..., None, :, :], 3, axis=-1)
            moved = jnp.einsum("...ijc,...jdc->...idc", gates, vectors)
        else:
            messages = filters * taken(sent, pairs.indices)
            change, gates, pulls = jnp.split(messages, 3, axis=-1)
            moved = jnp.einsum("...ijc,...ijdc->...idc", gates, taken(vectors, pairs.indices))
        pulled = jnp.einsum("...ijc,...ijd->...idc", pulls, pairs.directions)
        return scalars + jnp.sum(change, axis=-2), vectors + moved + pulled


class Update(nnx.Module):
    """What an atom makes of its scalars and vectors.

    Args:
      dim: Scalars, and vectors, of an atom.
      **types: Data types, random streams and initial values of the linear maps.
    """

    def __init__(self, dim: int, **types: Any):
        self.mix = Linear(dim, 2 * dim, use_bias=False, **types)
        self.hidden, self.out = Linear(2 * dim, dim, **types), Linear(dim, 3 * dim, **types)

    def __call__(self, scalars: Float[Array, "*B N C"], vectors: Float[Array, "*B N 3 C"]) -> Parts:
        """New scalars and vectors.

        Args:
          scalars: Scalars of the atoms.
          vectors: Vectors of the atoms.
        """
        first, second = jnp.split(self.mix(vectors), 2, axis=-1)
        lengths = numerics.safe_sqrt(jnp.sum(second**2, axis=-2))
        made = self.out(jax.nn.silu(self.hidden(jnp.concatenate([scalars, lengths], axis=-1))))
        change, products, gates = jnp.split(made, 3, axis=-1)
        scalars = scalars + change + products * jnp.sum(first * second, axis=-2)
        return scalars, vectors + gates[..., None, :] * first

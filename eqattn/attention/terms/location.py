"""Location terms: functions of the pair g_i⁻¹ g_j of a query and a key element.

A location term is a function of a *block* of query and key tokens, given as component tuples; it
never sees, and never makes, an array over all pairs beyond the block it is asked for. Its result
lies features first: one feature is a logit, more go through an MLP of logits (:mod:`combine`).
"""

import dataclasses
import math
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from eqattn.activations import activation_fn
from eqattn.attention.terms.mlp import apply_mlp
from eqattn.checks import check_instance, check_numbers, check_sizes
from eqattn.pytrees import register_dataclass
from eqattn.spaces.base import Coordinates, Space
from eqattn.typing import Activation, Array, Components, Float


class TokenBlock(NamedTuple):
    """Components of the elements and orbit invariants of a block of tokens.

    Those of queries have the shape [*B T 1]. Those of keys have the shape [*B 1 K], or [*B T K]
    where each query has keys of its own; the two broadcast to the pairs of the block.

    Attributes:
      elements: Components of the elements.
      orbits: Orbit invariants.
      data: In the block of the keys, what is known of the pairs themselves, always [*B T K].
    """

    elements: Components
    orbits: Components
    data: Components = ()


def pair_blocks(
    query: TokenBlock, key: TokenBlock, data: Components = ()
) -> tuple[TokenBlock, TokenBlock]:
    """Makes blocks of tokens [*B T] and [*B K], or keys [*B T K] already, broadcast to pairs.

    Args:
      query: Components of queries.
      key: Components of keys.
      data: What is known of the pairs [*B T K].
    """
    some_query, some_key = ((*part.elements, *part.orbits)[:1] for part in (query, key))
    own_keys = any(k.ndim > q.ndim for q, k in zip(some_query, some_key, strict=False))
    rows = TokenBlock(*(tuple(c[..., :, None] for c in part) for part in query[:2]))
    if not own_keys:
        key = TokenBlock(*(tuple(c[..., None, :] for c in part) for part in key[:2]))
    return rows, key._replace(data=data)


@runtime_checkable
class Location(Protocol):
    """A function of pairs: a location term of the logits, or a basis of values.

    Also a pytree of its parameters.
    """

    def __call__(self, query: TokenBlock, key: TokenBlock) -> Float[Array, "F *B #H T K"]:
        """Features of the pairs of a block; of logits a single one is the logit itself."""
        ...


@dataclasses.dataclass(frozen=True)
class PairFeatures:
    """What a location term sees of a pair: coordinates, radial basis, orbit invariants.

    All are functions of g_i⁻¹ g_j and of invariants, so that every term built on them is
    equivariant (with the coordinates ``"invariants"``, also independent of the lift's samples).

    Args:
      space: Where the tokens live.
      coordinates: Coordinates of the pair: ``"log"``, ``"embedding"``, ``"invariants"``, or None.
      num_radial: Gaussians of the left-invariant distance of the two points
        (``space.base_distance_components``), in addition; 0 for none.
      cutoff: The centers of the Gaussians are spaced evenly from 0 to this distance.
      num_data: Numbers that are known of a pair besides, the ``pair_data`` of
        :func:`eqattn.attention.attend`.

    Raises:
      TypeError: For a ``space``, ``num_radial``, ``cutoff`` or ``num_data`` of a wrong type.
      ValueError: For unknown coordinates, a ``num_radial`` that is negative or 1, none of both, or
        a ``cutoff`` not above 0.
    """

    space: Space
    coordinates: Coordinates | None = "embedding"
    num_radial: int = 0
    cutoff: float = 1.0
    num_data: int = 0

    def __post_init__(self):
        check_instance("space", self.space, Space)
        check_numbers({"cutoff": self.cutoff})
        check_sizes({"num_radial": self.num_radial, "num_data": self.num_data}, minimum=0)
        if self.coordinates is not None:
            self.space.num_coordinates(self.coordinates)
        elif self.num_radial == 0:
            raise ValueError("num_radial must be at least 2 where coordinates is None, got 0")
        if self.num_radial == 1:
            raise ValueError(f"num_radial must be 0 or at least 2, got {self.num_radial}")
        if not 0.0 < self.cutoff < math.inf:
            raise ValueError(f"cutoff must be finite and above 0, got {self.cutoff}")

    @property
    def size(self) -> int:
        """Number of features of a pair."""
        coordinates = 0
        if self.coordinates is not None:
            coordinates = self.space.num_coordinates(self.coordinates)
        orbits = 2 * self.space.num_orbit_invariants
        return coordinates + self.num_radial + orbits + self.num_data

    def __call__(self, query: TokenBlock, key: TokenBlock) -> Float[Array, "F *B T K"]:
        """Features of all pairs of a block, features first."""
        return jnp.stack(jnp.broadcast_arrays(*self.components(query, key)))

    def components(self, query: TokenBlock, key: TokenBlock) -> Components:
        """The same as separate arrays, which broadcast to the pairs of the block."""
        pair = self.space.pair(query.elements, key.elements)
        components: Components = ()
        if self.coordinates is not None:
            components = self.space.coordinate_components(pair, self.coordinates)
        if self.num_radial:
            distance = self.space.base_distance_components(pair, query.orbits, key.orbits)
            components = (*components, *self._radial(distance))
        if len(key.data) != self.num_data:
            raise ValueError(
                f"pair_data must have {self.num_data} numbers of each pair, got {len(key.data)}"
            )
        return (*components, *query.orbits, *key.orbits, *key.data)

    def _radial(self, distance: Array) -> list[Array]:
        spacing = self.cutoff / (self.num_radial - 1)
        scaled = distance / spacing
        return [jnp.exp(-0.5 * (scaled - center) ** 2) for center in range(self.num_radial)]


@register_dataclass
@dataclasses.dataclass(frozen=True)
class PairMLP:
    """A multi-layer perceptron of the features of a pair.

    With a head axis on its weights each head has an MLP of its own, as published (arXiv
    2012.10885); without, the heads are the outputs of one shared trunk, at 1/7 of the cost. With
    one layer and radial features alone it is an expansion in radial basis functions.

    Args:
      weights: Matrices of the layers, [in out] each with out = H in the last, or [H in out], where
        the last out is the number of features that the term has for each head.
      biases: [out] each, or [H out].
      features: What the MLP sees of a pair.
      activation: Function between layers, or its name in ``jax.nn``.
      final_activation: Whether it is applied after the last layer too, as published.
    """

    weights: tuple[Float[Array, "..."], ...]
    biases: tuple[Float[Array, "..."], ...]
    features: PairFeatures = dataclasses.field(metadata={"static": True})
    activation: Activation = dataclasses.field(default="swish", metadata={"static": True})
    final_activation: bool = dataclasses.field(default=False, metadata={"static": True})

    @property
    def width(self) -> int:
        """Numbers that the widest layer makes of a pair, for all heads together."""
        return max(math.prod((*w.shape[:-2], w.shape[-1])) for w in self.weights)

    def __call__(self, query: TokenBlock, key: TokenBlock) -> Float[Array, "F *B H T K"]:
        pairs = self.features(query, key)
        out = apply_mlp(
            self.weights,
            self.biases,
            pairs.reshape(pairs.shape[0], math.prod(pairs.shape[1:])),
            activation_fn(self.activation),
            final_activation=self.final_activation,
        )
        out = out if out.ndim == 3 else out[:, None]  # heads, features, pairs
        out = out.reshape(*out.shape[:2], *pairs.shape[1:])
        return jnp.moveaxis(out, 0, -3)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class RawPairs:
    """The features of a pair as they are, the same for all heads: input of an MLP of logits.

    Args:
      features: What is handed on.
    """

    features: PairFeatures

    def __call__(self, query: TokenBlock, key: TokenBlock) -> Float[Array, "F *B 1 T K"]:
        return self.features(query, key)[..., None, :, :]


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class SmoothEnvelope:
    """(1 - d²/cutoff²)³ up to a cutoff and 0 beyond: an envelope that makes attention local.

    It is 1 where points coincide, even in the distance d, and twice continuously differentiable.

    Args:
      space: Where the tokens live.
      cutoff: Distance from which on it is 0, in the length unit of the points.

    Raises:
      TypeError: For a ``space`` or ``cutoff`` of a wrong type.
      ValueError: For a ``cutoff`` that is not finite and above 0.
    """

    space: Space
    cutoff: float

    def __post_init__(self):
        check_instance("space", self.space, Space)
        check_numbers({"cutoff": self.cutoff})
        if not 0.0 < self.cutoff < math.inf:
            raise ValueError(f"cutoff must be finite and above 0, got {self.cutoff}")

    def __call__(self, query: TokenBlock, key: TokenBlock) -> Float[Array, "1 *B 1 T K"]:
        pair = self.space.pair(query.elements, key.elements)
        squared = self.space.squared_distance_components(pair, query.orbits, key.orbits)
        ratio = squared / self.cutoff**2
        beyond = jnp.where(ratio < jnp.inf, 0.0, jnp.nan)  # a square that overflows is no distance
        inside = jnp.where(ratio >= 1.0, beyond, 1.0 - ratio)
        return (inside * inside * inside)[None, ..., None, :, :]

"""Location terms: logits from the pair g_i⁻¹ g_j of a query and a key element.

A location term is a function of a *block* of query and key tokens, given as component tuples; it
never sees, and never makes, an array over all pairs beyond the block it is asked for. Inside, pairs
lie along the last axis and features before it: the layout in which small matrix products over many
pairs are fast.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from eqattn.spaces.base import Coordinates, Space
from eqattn.typing import Array, Components, Float


class TokenBlock(NamedTuple):
    """A block of tokens: components of their elements and of their orbit invariants, [*B T]."""

    elements: Components
    orbits: Components


@runtime_checkable
class Location(Protocol):
    """A location term of attention logits; also a pytree of its parameters."""

    def __call__(self, query: TokenBlock, key: TokenBlock) -> Float[Array, "*B H T K"]:
        """Logits of a block of queries and a block of keys."""
        ...


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": jax.nn.gelu,
    "relu": jax.nn.relu,
    "softplus": jax.nn.softplus,
    "swish": jax.nn.swish,
}


def activation_fn(name: str) -> Callable[[Array], Array]:
    """The activation of that name.

    Raises:
      ValueError: for an unknown name.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {tuple(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]


@dataclasses.dataclass(frozen=True)
class PairFeatures:
    """What a location term sees of a pair: coordinates, radial basis, orbit invariants.

    All are functions of g_i⁻¹ g_j and of invariants, so that every term built on them is
    equivariant (with the coordinates ``"invariants"``, also independent of the lift's samples).

    Args:
      space: where the tokens live.
      coordinates: of the pair: ``"log"``, ``"embedding"`` or ``"invariants"``.
      num_radial: Gaussians of ``space.base_distance_components``, in addition; 0 for none. Under
        T(n) and SE(n) that is the Euclidean distance of the points; under SO(n) the chord between
        their directions, at most 2; under R₊×SO(2) a distance of angles and log-radii.
      cutoff: the centers of the Gaussians are spaced evenly from 0 to this distance.

    Raises:
      ValueError: for unknown coordinates, a negative ``num_radial`` or a ``cutoff`` not above 0.
    """

    space: Space
    coordinates: Coordinates = "embedding"
    num_radial: int = 0
    cutoff: float = 1.0

    def __post_init__(self):
        self.space.num_coordinates(self.coordinates)
        if self.num_radial < 0 or self.num_radial == 1:
            raise ValueError(f"num_radial must be 0 or at least 2, got {self.num_radial}")
        if not 0.0 < self.cutoff < math.inf:
            raise ValueError(f"cutoff must be finite and above 0, got {self.cutoff}")

    @property
    def size(self) -> int:
        """Number of features of a pair."""
        coordinates = self.space.num_coordinates(self.coordinates)
        return coordinates + self.num_radial + 2 * self.space.num_orbit_invariants

    def __call__(self, query: TokenBlock, key: TokenBlock) -> Float[Array, "F *B T K"]:
        """Features of all pairs of a block, features first."""
        rows = TokenBlock(*(tuple(c[..., :, None] for c in part) for part in query))
        columns = TokenBlock(*(tuple(c[..., None, :] for c in part) for part in key))
        pair, components = self.space.pair_components(
            rows.elements, columns.elements, self.coordinates
        )
        if self.num_radial:
            distance = self.space.base_distance_components(pair)
            components = (*components, *self._radial(distance))
        components = (*components, *rows.orbits, *columns.orbits)
        return jnp.stack(jnp.broadcast_arrays(*components))

    def _radial(self, distance: Array) -> list[Array]:
        spacing = self.cutoff / (self.num_radial - 1)
        scaled = distance / spacing
        return [jnp.exp(-0.5 * (scaled - center) ** 2) for center in range(self.num_radial)]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PairMLP:
    """A multi-layer perceptron of the features of a pair, with one output for each head.

    With a head axis on its weights each head has an MLP of its own, as published (arXiv
    2012.10885); without, the heads are the outputs of one shared trunk, at 1/7 of the cost.

    Args:
      weights: of the layers, [in out] each, or [H in out] with out = 1 in the last.
      biases: [out] each, or [H out].
      features: what the MLP sees of a pair.
      activation: name of the activation between layers.
      final_activation: whether it is applied after the last layer too, as published.
    """

    weights: tuple[Float[Array, "..."], ...]
    biases: tuple[Float[Array, "..."], ...]
    features: PairFeatures = dataclasses.field(metadata={"static": True})
    activation: str = dataclasses.field(default="swish", metadata={"static": True})
    final_activation: bool = dataclasses.field(default=False, metadata={"static": True})

    def __call__(self, query: TokenBlock, key: TokenBlock) -> Float[Array, "*B H T K"]:
        pairs = self.features(query, key)
        logits = apply_mlp(
            self.weights,
            self.biases,
            pairs.reshape(pairs.shape[0], math.prod(pairs.shape[1:])),
            activation_fn(self.activation),
            final_activation=self.final_activation,
        )
        logits = logits.reshape(logits.shape[0], *pairs.shape[1:])
        return jnp.moveaxis(logits, 0, -3)


def apply_mlp(
    weights: tuple[Array, ...],
    biases: tuple[Array, ...],
    x: Float[Array, "F P"] | Float[Array, "H F P"],
    activation: Callable[[Array], Array],
    *,
    final_activation: bool,
) -> Float[Array, "H P"]:
    """An MLP over features-first columns.

    Args:
      weights: [in out] each (a shared trunk), or [H in out] (an MLP for each head).
      biases: [out] each, or [H out].
      x: inputs shared by the heads, or one set for each head.
      activation: between layers.
      final_activation: whether the activation follows the last layer too.

    Returns:
      The outputs; for an MLP for each head, its single output.
    """
    per_head = weights[0].ndim == 3
    last = len(weights) - 1
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        weight, bias = weight.astype(x.dtype), bias.astype(x.dtype)
        if per_head and x.ndim == 2:
            # One product for all heads: they share the input.
            num_heads, size, width = weight.shape
            stacked = jnp.moveaxis(weight, 1, 2).reshape(num_heads * width, size)
            x = _product(stacked, x).reshape(num_heads, width, x.shape[-1])
        elif per_head:
            x = _product(jnp.moveaxis(weight, 1, 2), x)
        else:
            x = _product(weight.T, x)
        x = x + bias[..., None]
        if layer < last or final_activation:
            x = activation(x)
    return x[:, 0] if per_head else x


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def init_mlp(
    key: Array, sizes: tuple[int, ...], num_heads: int | None = None, dtype=jnp.float32
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Weights and biases of an MLP: uniform in ±1/sqrt(in), biases too.

    Args:
      key: for the draw.
      sizes: of the input, the hidden layers and the output.
      num_heads: draws an MLP for each head.
      dtype: of the parameters.
    """
    lead = () if num_heads is None else (num_heads,)
    weights, biases = [], []
    for size, width in itertools.pairwise(sizes):
        key, weight_key, bias_key = jax.random.split(key, 3)
        bound = 1 / math.sqrt(size)
        weights.append(jax.random.uniform(weight_key, (*lead, size, width), dtype, -bound, bound))
        biases.append(jax.random.uniform(bias_key, (*lead, width), dtype, -bound, bound))
    return tuple(weights), tuple(biases)

"""How content and location logits combine into one."""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from eqattn.attention.location import activation_fn, apply_mlp
from eqattn.typing import Array, Float

COMBINE = ("sum", "product")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CombineMLP:
    """An MLP for each head of the two logits (content, location), as published.

    Args:
      weights: [H in out] each, 2 in, 1 out.
      biases: [H out] each.
      activation: name of the activation between layers.
      final_activation: whether it follows the last layer too.
    """

    weights: tuple[Float[Array, "H _ _"], ...]
    biases: tuple[Float[Array, "H _"], ...]
    activation: str = dataclasses.field(default="swish", metadata={"static": True})
    final_activation: bool = dataclasses.field(default=False, metadata={"static": True})

    def __call__(
        self, content: Float[Array, "*B H T K"], location: Float[Array, "*B H T K"]
    ) -> Float[Array, "*B H T K"]:
        pairs = jnp.stack(jnp.broadcast_arrays(content, location))
        pairs = jnp.moveaxis(pairs, -3, 0)
        logits = apply_mlp(
            self.weights,
            self.biases,
            pairs.reshape(*pairs.shape[:2], math.prod(pairs.shape[2:])),
            activation_fn(self.activation),
            final_activation=self.final_activation,
        )
        return jnp.moveaxis(logits.reshape(pairs.shape[0], *pairs.shape[2:]), 0, -3)


def combine_logits(
    content: Array | None, location: Array | None, combine: str | Callable[[Array, Array], Array]
) -> Array | None:
    """Combines the two logits; where one is absent, the other stands alone.

    Raises:
      ValueError: for an unknown ``combine``, or one that needs both where one is absent.
    """
    if not callable(combine) and combine not in COMBINE:
        raise ValueError(f"combine must be one of {COMBINE} or a callable, got {combine!r}")
    if content is None or location is None:
        if callable(combine):
            raise ValueError("combine by an MLP needs both a content and a location term")
        return content if location is None else location
    if callable(combine):
        return combine(content, location)
    return content + location if combine == "sum" else content * location

"""How the features of content and location terms become one logit."""

import dataclasses
import math
from collections.abc import Callable
from typing import TypeAlias

import jax.numpy as jnp

from eqattn.activations import activation_fn
from eqattn.attention.terms.mlp import apply_mlp
from eqattn.pytrees import register_dataclass
from eqattn.typing import Activation, Array, Float

COMBINE = ("sum", "product")

Combine: TypeAlias = str | Callable[[Array, Array], Array]
"""``"sum"``, ``"product"``, or a function of the features [F *B H T K] of content and location."""


@register_dataclass
@dataclasses.dataclass(frozen=True)
class CombineMLP:
    """An MLP for each head of the features of both terms, content first, as published.

    Args:
      weights: [H in out] each; in is the number of features of both terms, the last out is 1.
      biases: [H out] each.
      activation: Function between layers, or its name in ``jax.nn``.
      final_activation: Whether it follows the last layer too.
    """

    weights: tuple[Float[Array, "H _ _"], ...]
    biases: tuple[Float[Array, "H _"], ...]
    activation: Activation = dataclasses.field(default="swish", metadata={"static": True})
    final_activation: bool = dataclasses.field(default=False, metadata={"static": True})

    def __call__(
        self, content: Float[Array, "F *B H T K"], location: Float[Array, "G *B H T K"]
    ) -> Float[Array, "*B H T K"]:
        pairs = jnp.moveaxis(jnp.concatenate([content, location]), -3, 0)
        logits = apply_mlp(
            self.weights,
            self.biases,
            pairs.reshape(*pairs.shape[:2], math.prod(pairs.shape[2:])),
            activation_fn(self.activation),
            final_activation=self.final_activation,
        )
        return jnp.moveaxis(logits[:, 0].reshape(pairs.shape[0], *pairs.shape[2:]), 0, -3)


def combine_logits(
    content: Float[Array, "F *B H T K"] | None,
    location: Float[Array, "G *B #H T K"] | None,
    combine: Combine,
) -> Float[Array, "*B #H T K"] | None:
    """Combines two terms; where one is absent, the other stands alone.

    Raises:
      ValueError: For an unknown ``combine``, one that needs both terms where one is absent, or a
        sum or product of terms that have more than one feature.
    """
    if not callable(combine) and combine not in COMBINE:
        raise ValueError(f"combine must be one of {COMBINE} or a callable, got {combine!r}")
    if callable(combine):
        if content is None or location is None:
            raise ValueError("combine by an MLP needs both a content and a location term")
        shape = jnp.broadcast_shapes(content.shape[1:], location.shape[1:])
        dtype = jnp.result_type(content, location)
        content, location = (
            jnp.broadcast_to(x, (x.shape[0], *shape)).astype(dtype) for x in (content, location)
        )
        return combine(content, location)
    for name, term in (("content", content), ("location", location)):
        if term is not None and term.shape[0] != 1:
            raise ValueError(
                f"combine={combine!r} needs a {name} term of one feature, got {term.shape[0]}; "
                "use an MLP"
            )
    if content is None or location is None:
        term = content if location is None else location
        return None if term is None else term[0]
    return content[0] + location[0] if combine == "sum" else content[0] * location[0]

"""Residual blocks of fields."""

from collections.abc import Set
from typing import Any, Literal, Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from eqattn.attention import Neighborhood
from eqattn.checks import check_option
from eqattn.fields import FieldType
from eqattn.layers.dropout import draw_kept
from eqattn.layers.family import LayerTypes
from eqattn.layers.steerable.attention import NUMBER_TYPES, FieldLayer
from eqattn.layers.steerable.mlp import FieldMLP
from eqattn.layers.steerable.norm import FieldNorm
from eqattn.layers.steerable.parts import Parts, Places
from eqattn.spaces.base import Space
from eqattn.typing import Array, Float, Int, Key

FieldNormPlace = Literal["pre", "none"]


class FieldBlock(nnx.Module):
    """Residual attention of fields and a residual MLP: x + f(norm(x)), or x + f(x).

    Equivariance: exact to all of G = Rⁿ ⋊ H, see :class:`FieldAttention`.

    Args:
      field: Type of the fields in and out, which has scalars.
      space: Rⁿ under translations and a compact group of isometries.
      layer: What sums over points.
      num_pair_data: Numbers that are known of each pair.
      mlp_ratio: Hidden width of the MLP, as a multiple of the scalars of the field.
      products: Whether products of fields are fields of the MLP's output, too.
      norm: ``"pre"`` for a norm before each branch, ``"none"`` without.
      dropout: Share of the copies of each branch that is dropped where a key is given, each with
        all its components.
      rngs: Random streams of the initial values.
      **types: Activations, data types and precision.

    Raises:
      ValueError: As :class:`FieldAttention` and :class:`FieldMLP`, and for an unknown norm.
    """

    def __init__(
        self,
        field: FieldType,
        space: Space,
        layer: FieldLayer,
        *,
        num_pair_data: int = 0,
        mlp_ratio: float = 2.0,
        products: bool = False,
        norm: FieldNormPlace = "pre",
        dropout: float = 0.0,
        rngs: nnx.Rngs,
        **types: Unpack[LayerTypes],
    ):
        check_option("norm", norm, FieldNormPlace)
        given: dict[str, Any] = dict(types)
        numbers = {name: given[name] for name in NUMBER_TYPES if name in given}
        self.dropout = dropout
        self.attention = layer.build(field, space, num_pair_data=num_pair_data, rngs=rngs, **types)
        self.mlp = FieldMLP(
            field,
            space,
            ratio=mlp_ratio,
            products=products,
            activation=types.get("activation", "swish"),
            rngs=rngs,
            **numbers,
        )
        self.attention_norm, self.mlp_norm = (
            FieldNorm(field, param_dtype=types.get("param_dtype", float), rngs=rngs)
            if norm == "pre"
            else None
            for _ in range(2)
        )

    def reached(self, sources: Set[int]) -> set[int]:
        """Numbers of the field's terms that are not zeros in the output.

        Args:
          sources: Numbers of its terms that are not zeros in the input.
        """
        sources = set(sources) | self.attention.reached(sources)
        return sources | self.mlp.reached(sources)

    def __call__(
        self,
        parts: Parts,
        places: Places,
        neighborhood: Neighborhood | None = None,
        pair_data: Float[Array, "*B N _ P"] | None = None,
        dropout_key: Key[Array, ""] | None = None,
        example_ids: Int[Array, "*B"] | None = None,
    ) -> Parts:
        """New fields.

        Args:
          parts: Fields, see :data:`Parts`.
          places: Where they are.
          neighborhood: Keys that each point sees; all by default.
          pair_data: What is known of pairs.
          dropout_key: Key of the dropout of both branches; None for none, as in evaluation.
          example_ids: Identity of each example, which that draw is keyed by.
        """
        keys = [None if dropout_key is None else jax.random.fold_in(dropout_key, i) for i in (0, 1)]
        y = parts if self.attention_norm is None else self.attention_norm(parts)
        branch = self.attention(y, places, neighborhood, pair_data)
        parts = _added(parts, field_dropout(branch, self.dropout, keys[0], example_ids))
        y = parts if self.mlp_norm is None else self.mlp_norm(parts)
        return _added(parts, field_dropout(self.mlp(y), self.dropout, keys[1], example_ids))


def field_dropout(
    parts: Parts,
    rate: float,
    key: Key[Array, ""] | None,
    example_ids: Int[Array, "*B"] | None = None,
) -> Parts:
    """Sets a random share of the copies to 0, and enlarges the others so that the mean stays.

    A copy is dropped with all its components, so that what is left transforms as before. What is
    drawn for a point depends on neither padding nor the other examples of a batch.

    Equivariance: exact for each key.

    Args:
      parts: Fields.
      rate: Share of the copies, from 0 to below 1.
      key: Key of the draw; None for no dropout, as in evaluation.
      example_ids: Identity of each example, which its draws are keyed by; 0 by default.
    """
    if key is None or rate == 0:
        return parts
    num_copies = sum(x.shape[-1] for x in parts)
    kept = draw_kept((num_copies,), rate, key, parts[0].shape[:-2], example_ids)
    start, out = 0, []
    for x in parts:
        keep = kept[..., None, start : start + x.shape[-1]]
        out.append(jnp.where(keep, x / (1 - rate), 0).astype(x.dtype))
        start += x.shape[-1]
    return tuple(out)


def _added(a: Parts, b: Parts) -> Parts:
    return tuple(x + y for x, y in zip(a, b, strict=True))

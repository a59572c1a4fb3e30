"""Layers of fields: exact to the whole group, local, smooth, and with directions."""

from eqattn.layers.steerable.attention import FieldAttention, FieldLayer, HarmonicKernel
from eqattn.layers.steerable.block import FieldBlock
from eqattn.layers.steerable.embedding import FieldEmbedding
from eqattn.layers.steerable.linear import FieldLinear
from eqattn.layers.steerable.mlp import FieldMLP
from eqattn.layers.steerable.norm import FieldNorm
from eqattn.layers.steerable.parts import Parts, Places, join_parts, split_parts

__all__ = [
    "FieldAttention",
    "FieldBlock",
    "FieldEmbedding",
    "FieldLayer",
    "FieldLinear",
    "FieldMLP",
    "FieldNorm",
    "HarmonicKernel",
    "Parts",
    "Places",
    "join_parts",
    "split_parts",
]

"""Flax NNX layers: thin shells over the pure functions of the floors below."""

from eqattn.layers.attention import LieSelfAttention
from eqattn.layers.block import BottleneckBlock, TokenMLP, TransformerBlock
from eqattn.layers.convolution import LieConv
from eqattn.layers.family import build_layer, layer_options
from eqattn.layers.group_layer import GroupLayer
from eqattn.layers.heads import Head
from eqattn.layers.pooling import pool
from eqattn.layers.representation import RepresentationAttention

__all__ = [
    "BottleneckBlock",
    "GroupLayer",
    "Head",
    "LieConv",
    "LieSelfAttention",
    "RepresentationAttention",
    "TokenMLP",
    "TransformerBlock",
    "build_layer",
    "layer_options",
    "pool",
]

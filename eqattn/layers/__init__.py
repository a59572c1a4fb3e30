"""Flax NNX layers: thin shells over the pure functions of the floors below."""

from eqattn.layers.attention import LieSelfAttention
from eqattn.layers.block import TokenMLP, TransformerBlock
from eqattn.layers.heads import Head
from eqattn.layers.pooling import pool

__all__ = ["Head", "LieSelfAttention", "TokenMLP", "TransformerBlock", "pool"]

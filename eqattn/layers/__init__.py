"""Flax NNX layers: thin shells over the pure functions of the floors below."""

from eqattn.layers.attention import Attention, AttentiveConvolution, LieSelfAttention
from eqattn.layers.block import BottleneckBlock, TokenMLP, TransformerBlock
from eqattn.layers.combinations import AddLogits, Combination, MLPLogits, MultiplyLogits
from eqattn.layers.contents import (
    ContentTerm,
    DotProductContent,
    LinearConcatContent,
    RelativePositionContent,
)
from eqattn.layers.convolution import Convolution, LieConv
from eqattn.layers.family import Layer
from eqattn.layers.group_layer import GroupLayer, PairLayer
from eqattn.layers.heads import Head
from eqattn.layers.locations import (
    LocationTerm,
    MLPLocation,
    PerHeadMLPLocation,
    RadialLocation,
    RawLocation,
)
from eqattn.layers.pairs import Surroundings
from eqattn.layers.pooling import pool
from eqattn.layers.representation import RepresentationAttention, RepresentationSelfAttention
from eqattn.layers.values import BernsteinValues, FourierValues, MLPValues, ValueBasis

__all__ = [
    "AddLogits",
    "Attention",
    "AttentiveConvolution",
    "BernsteinValues",
    "BottleneckBlock",
    "Combination",
    "ContentTerm",
    "Convolution",
    "DotProductContent",
    "FourierValues",
    "GroupLayer",
    "Head",
    "Layer",
    "LieConv",
    "LieSelfAttention",
    "LinearConcatContent",
    "LocationTerm",
    "MLPLocation",
    "MLPLogits",
    "MLPValues",
    "MultiplyLogits",
    "PairLayer",
    "PerHeadMLPLocation",
    "RadialLocation",
    "RawLocation",
    "RelativePositionContent",
    "RepresentationAttention",
    "RepresentationSelfAttention",
    "Surroundings",
    "TokenMLP",
    "TransformerBlock",
    "ValueBasis",
    "pool",
]

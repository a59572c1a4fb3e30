"""The layers and models that are certified, with random parameters."""

import functools
import math
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn.attention import Neighborhood, find_neighbors
from eqattn.certificate.options import NEIGHBORHOODS, Options
from eqattn.layers import (
    Attention,
    AttentiveConvolution,
    Convolution,
    Layer,
    MLPLocation,
    MLPValues,
    RepresentationAttention,
)
from eqattn.lift import Frames, Haar, Lift, Lifted, by_sample
from eqattn.models import LieTransformer
from eqattn.spaces import Space
from eqattn.typing import Array

_WIDTH, _GAIN = 8, 2.0
_HEAD_DIM = 12
"""Channels of a head of attention by a representation: every default representation has room."""


@functools.cache
def make_model(options: Options, space: Space, lift: Lift, channels: int) -> tuple[Any, Any]:
    """The graph and state of a layer or model on the group, with random parameters.

    They are larger than at the start of a training, and biases are not 0, so that outputs vary
    much with the place and the sample.

    Args:
      options: Options that name the layer and how it is called.
      space: Where the points live.
      lift: The lift.
      channels: Number of channels in and out.
    """
    abstract = nnx.eval_shape(lambda: _make(options, space, _stand_in(space, lift), channels))
    graph, state = nnx.split(abstract)
    random = np.random.default_rng(0)

    def draw(x: jax.ShapeDtypeStruct) -> np.ndarray:
        scale = _GAIN / math.sqrt(math.prod(x.shape[:-1]) or 1)
        return scale * random.normal(size=x.shape).astype(x.dtype)

    return graph, jax.tree.map(draw, state)


def apply_model(fn: Any, options: Options, space: Space, lifted: Lifted) -> Array:
    """Features [*B N S C] that a layer or model makes of those of a lift.

    Args:
      fn: A layer or model that :func:`make_model` describes.
      options: Options of the layer.
      space: Space that the layer takes pairs from.
      lifted: Elements and features.
    """
    if isinstance(fn, LieTransformer):
        return fn.apply_regular(lifted).features

    def layer(lifted: Lifted, ids: Array | None) -> Lifted:
        del ids
        return lifted.replace_features(fn(lifted, _neighbors(options, space, lifted)))

    return by_sample(layer, lifted, None).features


def _neighbors(options: Options, space: Space, lifted: Lifted) -> Neighborhood | None:
    kind = NEIGHBORHOODS[options.neighborhood]
    return None if kind is None else find_neighbors(space, lifted, kind)


def _stand_in(space: Space, lift: Lift) -> Lift:
    """A lift that models may be made for in place of one that chooses other elements.

    On the group they are the same models; then they are compiled once.
    """
    if lift.is_coset:
        return lift
    return Haar(1) if space.stabilizer.is_compact else Frames()


def _make(options: Options, space: Space, lift: Lift, channels: int) -> nnx.Module:
    types: dict[str, Any] = {"param_dtype": jnp.float32, "rngs": nnx.Rngs(0)}
    layer = _layer(options)
    if options.layer in ("representation", "model"):
        return LieTransformer(
            space,
            channels,
            channels,
            dim=2 * _HEAD_DIM if options.layer == "representation" else _WIDTH,
            num_layers=1,
            layer=layer,
            lift=lift,
            neighborhood=NEIGHBORHOODS[options.neighborhood],
            **types,
        )
    return cast(nnx.Module, layer.build(channels, lift.pair_space(space), **types))


def _layer(options: Options) -> Layer:
    back_end: Any = options.implementation
    if options.layer == "representation":
        return RepresentationAttention(num_heads=2, implementation=back_end)
    mlp = {"dim": _WIDTH, "num_layers": 2, "num_radial": 0}
    shared: dict[str, Any] = {"coordinates": options.coordinates, "implementation": back_end}
    if options.layer == "convolution":
        return Convolution(values=MLPValues(**mlp), **shared)
    shared |= {"num_heads": 2 if options.layer == "model" else 1, "location": MLPLocation(**mlp)}
    if options.layer == "attentive_convolution":
        return AttentiveConvolution(values=MLPValues(**mlp), **shared)
    return Attention(**shared)

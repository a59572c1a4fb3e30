"""The family of layers by name: attention, attentive convolution, convolution."""

import inspect
from typing import Any, Literal

from flax import nnx

from eqattn.checks import check_option
from eqattn.layers.attention import LieSelfAttention
from eqattn.layers.convolution import LieConv
from eqattn.layers.group_layer import GroupLayer
from eqattn.spaces.base import Space

LayerKind = Literal["attention", "attentive_convolution", "convolution"]
NUM_HEADS = 8
"""Heads of attention, where no number is given."""


def build_layer(
    kind: LayerKind, dim: int, space: Space, *, rngs: nnx.Rngs, **options: Any
) -> GroupLayer:
    """Makes a layer of the family that weights and values span.

    ===========================  ====================  ================================
    kind                         weights               values
    ===========================  ====================  ================================
    ``"attention"``              of attention          W_V, constant
    ``"attentive_convolution"``  of attention          W_V(g_i⁻¹ g_j), in a basis
    ``"convolution"``            uniform               W_V(g_i⁻¹ g_j), in a basis
    ===========================  ====================  ================================

    Args:
      kind: which; the class is :class:`LieSelfAttention`, or :class:`LieConv` for
        ``"convolution"``.
      dim: channels in and out.
      space: where the points live.
      rngs: for the initial values.
      **options: further arguments of the class, ``num_heads`` (8 by default) among them where it
        has heads. A kind does not take what it does not use: ``"attention"`` no ``basis`` and
        ``num_basis``, ``"convolution"`` no ``num_heads`` and nothing of content, location,
        combination and normalization.

    Raises:
      ValueError: for an unknown kind, options that it does not use, or as the class.

    >>> import eqattn
    >>> space = eqattn.spaces.euclidean(eqattn.groups.SE(3))
    >>> type(build_layer("convolution", 16, space, num_basis=4, rngs=nnx.Rngs(0))).__name__
    'LieConv'
    """
    used = layer_options(kind)
    unused = sorted(options.keys() - used)
    if unused:
        raise ValueError(
            f"{', '.join(unused)} cannot be given to the layer {kind!r}; it has the options "
            f"{', '.join(sorted(used))}"
        )
    if kind == "convolution":
        return LieConv(dim, space, rngs=rngs, **options)
    if kind == "attentive_convolution":
        options = {"basis": "mlp", **options}
    num_heads = options.pop("num_heads", NUM_HEADS)
    return LieSelfAttention(dim, num_heads, space, rngs=rngs, **options)


def layer_options(kind: LayerKind) -> frozenset[str]:
    """Names of the options that :func:`build_layer` takes for a kind.

    Raises:
      ValueError: for an unknown kind.

    >>> "num_heads" in layer_options("attention"), "num_heads" in layer_options("convolution")
    (True, False)
    """
    check_option("layer", kind, LayerKind)
    names = _keywords(GroupLayer)
    if kind != "convolution":
        names |= _keywords(LieSelfAttention) | {"num_heads"}
    if kind == "attention":
        names -= {"basis", "num_basis"}
    return names - {"rngs"}


def _keywords(layer: type[GroupLayer]) -> frozenset[str]:
    parameters = inspect.signature(layer.__init__).parameters.values()
    return frozenset(p.name for p in parameters if p.kind == inspect.Parameter.KEYWORD_ONLY)

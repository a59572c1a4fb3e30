"""The family of layers by name: attention, attentive convolution, convolution."""

import inspect
from typing import Any, Literal

from flax import nnx

from eqattn.checks import check_option
from eqattn.layers.attention import LieSelfAttention
from eqattn.layers.convolution import LieConv
from eqattn.layers.group_layer import GroupLayer
from eqattn.layers.representation import RepresentationAttention
from eqattn.spaces.base import Space

LayerKind = Literal["attention", "attentive_convolution", "convolution"]
AttentionKind = Literal["location", "representation"]
NUM_HEADS = 8
"""Heads of attention, where no number is given."""


def build_layer(
    kind: LayerKind, dim: int, space: Space, *, rngs: nnx.Rngs, **options: Any
) -> GroupLayer | RepresentationAttention:
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
        ``"convolution"``, or :class:`RepresentationAttention`.
      dim: channels in and out.
      space: where the points live.
      rngs: for the initial values.
      **options: further arguments of the class, ``num_heads`` (8 by default) among them where it
        has heads. A kind does not take what it does not use: ``"attention"`` no ``basis`` and
        ``num_basis``, ``"convolution"`` no ``num_heads`` and nothing of content, location,
        combination and normalization. The kind ``"attention"`` also takes ``attention``:
        ``"location"`` (the default), or ``"representation"`` for :class:`RepresentationAttention`,
        which takes the options of that class alone.

    Raises:
      ValueError: for an unknown kind, options that it does not use, or as the class.

    >>> import eqattn
    >>> space = eqattn.spaces.euclidean(eqattn.groups.SE(3))
    >>> type(build_layer("convolution", 16, space, num_basis=4, rngs=nnx.Rngs(0))).__name__
    'LieConv'
    """
    attention = options.get("attention", "location")
    used = layer_options(kind, attention if kind == "attention" else "location")
    unused = sorted(options.keys() - used)
    if unused:
        raise ValueError(
            f"{', '.join(unused)} cannot be given to {_title(kind, attention)}; it has the options "
            f"{', '.join(sorted(used))}"
        )
    if kind == "convolution":
        return LieConv(dim, space, rngs=rngs, **options)
    if kind == "attentive_convolution":
        options = {"basis": "mlp", **options}
    options = {name: value for name, value in options.items() if name != "attention"}
    num_heads = options.pop("num_heads", NUM_HEADS)
    if attention == "representation":
        return RepresentationAttention(dim, num_heads, space, rngs=rngs, **options)
    return LieSelfAttention(dim, num_heads, space, rngs=rngs, **options)


def layer_options(kind: LayerKind, attention: AttentionKind = "location") -> frozenset[str]:
    """Names of the options that :func:`build_layer` takes for a kind.

    Args:
      kind: Kind of the layer.
      attention: Attention of the layer ``"attention"``: by location, or by a representation.

    Raises:
      ValueError: for an unknown kind, or a representation in a layer of another.

    >>> "num_heads" in layer_options("attention"), "num_heads" in layer_options("convolution")
    (True, False)
    """
    check_option("layer", kind, LayerKind)
    check_option("attention", attention, AttentionKind)
    if attention == "representation":
        if kind != "attention":
            raise ValueError(
                f"attention must be 'location' in the layer {kind!r}, got {attention!r}"
            )
        return (_keywords(RepresentationAttention) | {"num_heads", "attention"}) - {"rngs"}
    names = _keywords(GroupLayer)
    if kind != "convolution":
        names |= _keywords(LieSelfAttention) | {"num_heads"}
    if kind == "attention":
        names = (names - {"basis", "num_basis"}) | {"attention"}
    return names - {"rngs"}


def _title(kind: str, attention: str) -> str:
    by = " by a representation" if kind == "attention" and attention == "representation" else ""
    return f"the layer {kind!r}{by}"


def _keywords(layer: type[nnx.Module]) -> frozenset[str]:
    parameters = inspect.signature(layer.__init__).parameters.values()
    return frozenset(p.name for p in parameters if p.kind == inspect.Parameter.KEYWORD_ONLY)

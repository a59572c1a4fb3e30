"""Small layers for tests. Their terms see the coordinates of pairs, and nothing else by default."""

from typing import Any

from eqattn.layers import Attention, AttentiveConvolution, Convolution, MLPLocation, MLPValues


def attention(num_heads: int = 2, **options: Any) -> Attention:
    """Attention by an MLP of pairs.

    Args:
      num_heads: Number of heads.
      **options: ``width``, ``depth``, ``num_radial`` and ``cutoff`` of the MLP of pairs, and those
        of the class.
    """
    pair, options = _split(options)
    return Attention(num_heads=num_heads, **{"location": MLPLocation(**pair)} | options)


def attentive_convolution(
    num_heads: int = 2, num_basis: int = 8, **options: Any
) -> AttentiveConvolution:
    """Attentive convolution; arguments are as those of :func:`attention`."""
    pair, options = _split(options)
    terms = {
        "location": MLPLocation(**pair),
        "values": MLPValues(num_basis=num_basis, **pair),
    }
    return AttentiveConvolution(num_heads=num_heads, **terms | options)


def convolution(num_basis: int = 8, **options: Any) -> Convolution:
    """Convolution; arguments are as those of :func:`attention`."""
    pair, options = _split(options)
    return Convolution(**{"values": MLPValues(num_basis=num_basis, **pair)} | options)


FAMILY = {
    "attention": attention,
    "attentive_convolution": attentive_convolution,
    "convolution": convolution,
}


def _split(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of MLPs of pairs, and those of the layer."""
    rest = {"coordinates": "embedding"} | options
    pair = {
        "dim": rest.pop("width", 8),
        "num_layers": rest.pop("depth", 3),
        "num_radial": rest.pop("num_radial", 0),
        "cutoff": rest.pop("cutoff", 1.0),
    }
    return pair, rest

"""Models, as Flax NNX modules."""

from eqattn.models.lie_transformer import LieTransformer

__all__ = ["LieTransformer"]

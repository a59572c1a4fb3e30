"""LieConv: convolution on a sampled group."""

from dataclasses import dataclass
from typing import Unpack

from flax import nnx

from eqattn.layers.family import LayerTypes, check_call
from eqattn.layers.group_layer import GroupLayer, PairLayer
from eqattn.layers.values import MLPValues, ValueBasis
from eqattn.spaces.base import Space


@dataclass(frozen=True, repr=False, kw_only=True)
class Convolution(PairLayer):
    """Convolution with uniform weights (LieConv, arXiv 2002.12880)."""

    values: ValueBasis = MLPValues()
    """Basis φ of the kernel."""

    @property
    def sees_coordinates(self) -> bool:
        """See :attr:`PairLayer.sees_coordinates`."""
        return self.values.sees_coordinates

    def build(
        self, dim: int, space: Space, *, rngs: nnx.Rngs, **types: Unpack[LayerTypes]
    ) -> "LieConv":
        """See :meth:`eqattn.layers.Layer.build`."""
        return LieConv(dim, space, self, rngs=rngs, **types)


class LieConv(GroupLayer):
    """Convolution on the group: attentive convolution with uniform weights (arXiv 2002.12880).

    out_i = Σ_m W_m Σ_j ω_j φ_m(g_i⁻¹ g_j) F_j / Σ_j ω_j over all points or a neighborhood, with
    their quadrature weights ω.

    Equivariance: that of :class:`GroupLayer`.

    Args:
      dim: Channels in and out.
      space: Space of the points.
      layer: Options of the layer.
      rngs: Random streams of the initial values.
      **types: Activations, data types and precision, as :class:`GroupLayer` takes them.

    Raises:
      TypeError: For a ``layer`` that is no :class:`Convolution`; also as :class:`GroupLayer`.
      ValueError: As :class:`GroupLayer`.
    """

    def __init__(
        self,
        dim: int,
        space: Space,
        layer: Convolution = Convolution(),
        *,
        rngs: nnx.Rngs,
        **types: Unpack[LayerTypes],
    ):
        check_call("LieConv", space, layer, Convolution, types)
        super().__init__(
            dim, space, layer, num_heads=1, head_dim=1, values=layer.values, rngs=rngs, **types
        )
        self.value = None
        self.output = self._linear(self.num_basis * dim, dim, rngs)

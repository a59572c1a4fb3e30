"""LieConv: convolution on a sampled group."""

from typing import Any

from flax import nnx

from eqattn.checks import check_option
from eqattn.layers.group_layer import Basis, GroupLayer
from eqattn.spaces.base import Space


class LieConv(GroupLayer):
    """Convolution on the group: attentive convolution with uniform weights (arXiv 2002.12880).

    out_i = Σ_m W_m Σ_j ω_j φ_m(g_i⁻¹ g_j) F_j / Σ_j ω_j over all points or a neighborhood, with
    their quadrature weights ω.

    Equivariance: that of :class:`GroupLayer`.

    Args:
      dim: channels in and out.
      space: where the points live.
      basis: φ: ``"mlp"``, ``"fourier"`` or ``"bernstein"``.
      rngs: for the initial values.
      **options: further arguments of :class:`GroupLayer`.
    """

    def __init__(
        self, dim: int, space: Space, *, basis: Basis = "mlp", rngs: nnx.Rngs, **options: Any
    ):
        check_option("basis", basis, Basis)
        super().__init__(dim, 1, space, basis=basis, rngs=rngs, **options)
        self.value = None
        self.output = self._linear(self.num_basis * dim, dim, rngs)

"""The first layer of a network of fields: what a point is, and what is around it."""

from collections.abc import Set
from typing import Any

from flax import nnx

from eqattn.attention import Neighborhood
from eqattn.fields import FieldType
from eqattn.layers.steerable.attention import FieldAttention, FieldLayer, HarmonicKernel
from eqattn.layers.steerable.linear import FieldLinear
from eqattn.layers.steerable.parts import Parts, Places
from eqattn.spaces.base import Space


class FieldEmbedding(FieldLinear):
    """A linear map of the fields of each point and, if wanted, kernels of those around it.

    With a kernel κ the output is W f_i + mean_j κ(x_j - x_i) f_j, as in the first layer of a Tensor
    Field Network (arXiv 1802.08219). Each radial function and harmonic of κ is one more thing that
    the next layer knows of the surroundings of a point, where a head of attention has one weight.

    Equivariance: exact to all of G = Rⁿ ⋊ H, from the one field to the other.

    Args:
      space: Rⁿ under translations and a compact group H of isometries.
      input_field: Type of the input.
      output_field: Type of the output.
      kernel: Kernels of the points around; None for none.
      layer: The layer whose cutoff and back end they have.
      rngs: Random streams of the initial values.
      **types: Data types and precision, as ``flax.nnx.Linear`` takes them.
    """

    def __init__(
        self,
        space: Space,
        input_field: FieldType,
        output_field: FieldType,
        kernel: HarmonicKernel | None,
        layer: FieldLayer,
        *,
        rngs: nnx.Rngs,
        **types: Any,
    ):
        super().__init__(space, input_field, output_field, rngs=rngs, **types)
        self.around = None if kernel is None else self._kernels(kernel, layer, rngs=rngs, **types)

    def _kernels(self, kernel: HarmonicKernel, layer: FieldLayer, **types: Any) -> FieldAttention:
        around = FieldLayer(
            num_heads=1, content=None, location=None, kernel=kernel, differences=False,
            cutoff=layer.cutoff, implementation=layer.implementation,
        )  # fmt: skip
        return around.build(self.input_field, self.space, output_field=self.output_field, **types)

    def reached(self, sources: Set[int]) -> set[int]:
        """Numbers of the output's terms that are not zeros.

        Args:
          sources: Numbers of the input's terms that are not zeros.
        """
        around = set() if self.around is None else self.around.reached(sources)
        return super().reached(sources) | around

    def __call__(
        self, parts: Parts, places: Places, neighborhood: Neighborhood | None = None
    ) -> Parts:
        """The fields of the output.

        Args:
          parts: Fields of the input; zeros at masked points.
          places: Where they are.
          neighborhood: Keys that each point sees; all by default.
        """
        own = super().__call__(parts)
        if self.around is None:
            return own
        around = self.around(parts, places, neighborhood)
        return tuple(x + y for x, y in zip(own, around, strict=True))

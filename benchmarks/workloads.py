"""The workloads that benchmarks measure, named once."""

import dataclasses

from eqattn.groups import SE, T
from eqattn.spaces import Space, euclidean


@dataclasses.dataclass(frozen=True)
class Workload:
    """The shape of one attention layer's input.

    Attributes:
      name: how results call it.
      space: where the points live.
      batch: examples.
      num_points: points of each example, N.
      num_samples: lift samples of each point, S; there are N·S tokens.
      dim: channels of a token.
      num_heads: attention heads.
      location_dim: width of the location MLP.
    """

    name: str
    space: Space
    batch: int
    num_points: int
    num_samples: int = 1
    dim: int = 512
    num_heads: int = 8
    location_dim: int = 16

    @property
    def num_tokens(self) -> int:
        """Tokens of each example."""
        return self.num_points * self.num_samples


WORKLOADS = (
    # Batches of QM9, padded to 19 atoms.
    Workload("qm9_t3", euclidean(T(3)), batch=16, num_points=19),
    Workload("qm9_se3_4_samples", euclidean(SE(3)), batch=16, num_points=19, num_samples=4),
    # One large example, where the pairs are all that counts.
    Workload("points_t3_384", euclidean(T(3)), batch=1, num_points=384),
    Workload("points_se3_96_4_samples", euclidean(SE(3)), batch=1, num_points=96, num_samples=4),
)
"""Widths, heads and the QM9 shapes are those of the published models (arXiv 2012.10885)."""

"""The workloads that benchmarks measure and tests may use, named once."""

import dataclasses

from eqattn.groups import SE, SO, T
from eqattn.spaces import Space, euclidean, sphere


@dataclasses.dataclass(frozen=True)
class Workload:
    """The shape of one attention layer's input.

    Attributes:
      name: How results call it.
      space: Where the points live.
      batch: Examples.
      num_points: Points of each example, N.
      num_samples: Lift samples of each point, S; there are N·S tokens.
      dim: Channels of a token.
      num_heads: Attention heads.
      location_dim: Width of the location MLP.
      suites: Where it is measured: ``"cpu"``, ``"gpu"``.
    """

    name: str
    space: Space
    batch: int
    num_points: int
    num_samples: int = 1
    dim: int = 512
    num_heads: int = 8
    location_dim: int = 16
    suites: tuple[str, ...] = ("cpu", "gpu")

    @property
    def num_tokens(self) -> int:
        """Tokens of each example."""
        return self.num_points * self.num_samples

    @property
    def num_pairs(self) -> int:
        """Pairs of tokens of all examples."""
        return self.batch * self.num_tokens**2


WORKLOADS = (
    # Batches of QM9, padded to 19 atoms.
    Workload("molecules-t3-19", euclidean(T(3)), batch=16, num_points=19),
    Workload("molecules-se3-19x4", euclidean(SE(3)), batch=16, num_points=19, num_samples=4),
    # A batch of springs: six particles in the plane.
    Workload("particles-t2-6", euclidean(T(2)), batch=100, num_points=6, dim=160),
    # One large example, where the pairs are all that counts.
    Workload("cloud-t3-512", euclidean(T(3)), batch=1, num_points=512),
    Workload("cloud-se3-128x4", euclidean(SE(3)), batch=1, num_points=128, num_samples=4),
    Workload("cloud-t3-1024", euclidean(T(3)), batch=1, num_points=1024),
    Workload("cloud-se3-256x4", euclidean(SE(3)), batch=1, num_points=256, num_samples=4),
    Workload("cloud-se3-1024x4", euclidean(SE(3)), batch=1, num_points=1024, num_samples=4),
    # The sphere in cells of one degree.
    Workload(
        "sphere-65160", sphere(SO(3)), batch=1, num_points=65_160, dim=64, num_heads=4,
        suites=("gpu",),
    ),
)  # fmt: skip
"""Widths, heads and the QM9 shapes are those of the published models (arXiv 2012.10885)."""


def get_workload(name: str) -> Workload:
    """The workload of that name.

    Raises:
      ValueError: For another name.
    """
    found = {workload.name: workload for workload in WORKLOADS}
    if name not in found:
        raise ValueError(f"workload must be one of {', '.join(found)}, got {name!r}")
    return found[name]

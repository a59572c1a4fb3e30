"""Location terms: what attention logits see of the group elements of a query and a key.

A term of one's own is a class: its options, and how it is built.
"""

from dataclasses import dataclass
from typing import ClassVar

from eqattn.attention import RawPairs
from eqattn.checks import check_sizes
from eqattn.layers.pairs import LogitTerm, PairMLPParameters, PairTerm, PairTermByMLP, Surroundings


@dataclass(frozen=True, repr=False)
class LocationTerm(LogitTerm):
    """A location term of attention."""

    sees_coordinates: ClassVar[bool] = True
    """Whether the term depends on the coordinates of pairs."""


@dataclass(frozen=True, repr=False, kw_only=True)
class MLPLocation(PairTermByMLP, LocationTerm):
    """One MLP of the pair, with an output for each head."""

    def build(self, around: Surroundings) -> PairMLPParameters:
        """See :meth:`LogitTerm.build`."""
        return self.build_mlp(around, around.num_heads)


@dataclass(frozen=True, repr=False, kw_only=True)
class PerHeadMLPLocation(PairTermByMLP, LocationTerm):
    """An MLP of the pair for each head, as published (arXiv 2012.10885), at 7 times the cost."""

    outputs: int = 1
    """Outputs of each MLP. More than 1 need the combination :class:`MLPLogits`."""

    def __post_init__(self):
        super().__post_init__()
        check_sizes({"outputs": self.outputs})

    def num_features(self, around: Surroundings) -> int:
        """See :meth:`LogitTerm.num_features`."""
        del around
        return self.outputs

    def build(self, around: Surroundings) -> PairMLPParameters:
        """See :meth:`LogitTerm.build`."""
        return self.build_mlp(around, self.outputs, around.num_heads)


@dataclass(frozen=True, repr=False, kw_only=True)
class RadialLocation(PairTerm, LocationTerm):
    """A linear map of radial basis functions of the distance, which sees nothing else."""

    sees_coordinates: ClassVar[bool] = False

    def build(self, around: Surroundings) -> PairMLPParameters:
        """See :meth:`LogitTerm.build`."""
        features = self.features(around)
        sizes = (features.size, around.num_heads)
        return PairMLPParameters(features, sizes, None, around, is_linear=True)


@dataclass(frozen=True, repr=False, kw_only=True)
class RawLocation(PairTerm, LocationTerm):
    """What is seen of the pair, as it is: for the combination :class:`MLPLogits`."""

    def num_features(self, around: Surroundings) -> int:
        """See :meth:`LogitTerm.num_features`."""
        return self.features(around, around.coordinates).size

    def build(self, around: Surroundings) -> RawPairs:
        """See :meth:`LogitTerm.build`."""
        return RawPairs(self.features(around, around.coordinates))

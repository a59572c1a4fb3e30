"""Location terms: what attention logits see of the group elements of a query and a key.

A term of one's own is a class: its options, and how it is built.
"""

import abc
from dataclasses import dataclass
from typing import ClassVar

from flax import nnx

from eqattn import attention
from eqattn.attention import RawPairs
from eqattn.checks import check_sizes
from eqattn.layers.pairs import PairMLPParameters, PairTerm, PairTermByMLP, Surroundings
from eqattn.specification import Specification


@dataclass(frozen=True, repr=False)
class LocationTerm(Specification, abc.ABC):
    """A location term of attention."""

    sees_coordinates: ClassVar[bool] = True
    """Whether the term depends on the coordinates of pairs."""

    def num_features(self, around: Surroundings) -> int:
        """Number of features of a pair; a single one is the logit.

        Args:
          around: The layer.
        """
        del around
        return 1

    @abc.abstractmethod
    def build(self, around: Surroundings) -> nnx.Module | attention.Location:
        """The pure term, or a module of parameters whose method ``term`` makes it of them.

        Args:
          around: The layer.
        """


@dataclass(frozen=True, repr=False, kw_only=True)
class MLPLocation(PairTermByMLP, LocationTerm):
    """One MLP of the pair, with an output for each head."""

    def build(self, around: Surroundings) -> PairMLPParameters:
        """See :meth:`LocationTerm.build`."""
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
        """See :meth:`LocationTerm.num_features`."""
        del around
        return self.outputs

    def build(self, around: Surroundings) -> PairMLPParameters:
        """See :meth:`LocationTerm.build`."""
        return self.build_mlp(around, self.outputs, around.num_heads)


@dataclass(frozen=True, repr=False, kw_only=True)
class RadialLocation(PairTerm, LocationTerm):
    """A linear map of radial basis functions of the distance, which sees nothing else."""

    sees_coordinates: ClassVar[bool] = False

    def build(self, around: Surroundings) -> PairMLPParameters:
        """See :meth:`LocationTerm.build`."""
        features = self.features(around)
        sizes = (features.size, around.num_heads)
        return PairMLPParameters(features, sizes, None, around, is_linear=True)


@dataclass(frozen=True, repr=False, kw_only=True)
class RawLocation(PairTerm, LocationTerm):
    """What is seen of the pair, as it is: for the combination :class:`MLPLogits`."""

    def num_features(self, around: Surroundings) -> int:
        """See :meth:`LocationTerm.num_features`."""
        return self.features(around, around.coordinates).size

    def build(self, around: Surroundings) -> RawPairs:
        """See :meth:`LocationTerm.build`."""
        return RawPairs(self.features(around, around.coordinates))

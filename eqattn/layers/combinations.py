"""How the content and location terms of attention become one logit."""

import abc
from dataclasses import dataclass
from typing import ClassVar

from eqattn.layers.pairs import CombinationParameters, MLPOptions, Surroundings
from eqattn.specification import Specification


class Combination(Specification, abc.ABC):
    """A combination of a content and a location term."""

    takes_features: ClassVar[bool] = False
    """Whether terms may have more than one feature."""
    needs_both: ClassVar[bool] = True
    """Whether there must be a content and a location term."""

    @abc.abstractmethod
    def build(self, num_features: int, around: Surroundings) -> CombinationParameters | str:
        """The parameters, or what :func:`eqattn.attention.attend` calls the combination.

        Args:
          num_features: Number of features of both terms.
          around: The layer.
        """


@dataclass(frozen=True, repr=False)
class AddLogits(Combination):
    """The sum of both terms; one alone is itself."""

    needs_both: ClassVar[bool] = False

    def build(self, num_features: int, around: Surroundings) -> str:
        """See :meth:`Combination.build`."""
        del num_features, around
        return "sum"


@dataclass(frozen=True, repr=False)
class MultiplyLogits(Combination):
    """The product of both terms."""

    def build(self, num_features: int, around: Surroundings) -> str:
        """See :meth:`Combination.build`."""
        del num_features, around
        return "product"


@dataclass(frozen=True, repr=False, kw_only=True)
class MLPLogits(MLPOptions, Combination):
    """An MLP of the features of both terms for each head, :class:`eqattn.attention.CombineMLP`."""

    takes_features: ClassVar[bool] = True

    def build(self, num_features: int, around: Surroundings) -> CombinationParameters:
        """See :meth:`Combination.build`."""
        return CombinationParameters(self.sizes(num_features, 1), around.num_heads, around)

"""What the learned terms of a layer are made of: their surroundings, and MLPs of pairs."""

import abc
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from flax import nnx

from eqattn.attention import CombineMLP, PairFeatures, PairMLP
from eqattn.attention.terms.mlp import init_mlp
from eqattn.checks import check_sizes
from eqattn.spaces.base import Coordinates, Space
from eqattn.specification import Specification
from eqattn.typing import Activation, Array, DType


class Surroundings(NamedTuple):
    """What a term knows of the layer that it is built for.

    Attributes:
      space: Space that pairs are taken from.
      coordinates: Coordinates of the pairs that terms see.
      num_heads: Number of heads.
      head_dim: Channels of a query, and of a key, in one head.
      activation: Activation function of MLPs, or its name.
      final_activation: Whether it also follows the last layer of MLPs.
      param_dtype: Data type of the parameters.
      rngs: Random streams of the initial values.
      num_data: Numbers that are known of each pair besides.
    """

    space: Space
    coordinates: Coordinates
    num_heads: int
    head_dim: int
    activation: Activation
    final_activation: bool
    param_dtype: DType
    rngs: nnx.Rngs
    num_data: int = 0


@dataclass(frozen=True, repr=False)
class LogitTerm(Specification, abc.ABC):
    """A term of attention logits, of content or of location."""

    def num_features(self, around: Surroundings) -> int:
        """Number of features of a pair; a single one is the logit.

        Args:
          around: The layer.
        """
        del around
        return 1

    @abc.abstractmethod
    def build(self, around: Surroundings) -> Any:
        """The pure term, or a module of parameters whose method ``term`` makes it of them.

        Args:
          around: The layer.
        """


@dataclass(frozen=True, repr=False, kw_only=True)
class MLPOptions(Specification):
    """The size of an MLP."""

    dim: int = 32
    """Hidden width of the MLP."""
    num_layers: int = 3
    """Linear maps of the MLP, that of the output included."""

    def __post_init__(self):
        super().__post_init__()
        check_sizes({"dim": self.dim, "num_layers": self.num_layers})

    def sizes(self, size_in: int, size_out: int) -> tuple[int, ...]:
        """Sizes of the input, the hidden layers and the output.

        Args:
          size_in: Number of inputs.
          size_out: Number of outputs.
        """
        return (size_in, *(self.dim,) * (self.num_layers - 1), size_out)


@dataclass(frozen=True, repr=False, kw_only=True)
class PairTerm(Specification):
    """A term that sees pairs by their coordinates and by radial functions of their distance."""

    num_radial: int = 24
    """Radial basis functions of the distance, besides the coordinates; 0 for none. See
    :class:`eqattn.attention.PairFeatures`."""
    cutoff: float = 12.0
    """Distance at which the last radial basis function is centered, in the length unit of the
    points (ångström for molecules)."""

    def features(
        self, around: Surroundings, coordinates: Coordinates | None = None
    ) -> PairFeatures:
        """What the term sees of a pair.

        Args:
          around: The layer.
          coordinates: Coordinates of the pair; None for the radial functions alone.
        """
        return PairFeatures(
            around.space, coordinates, self.num_radial, self.cutoff, around.num_data
        )


@dataclass(frozen=True, repr=False, kw_only=True)
class PairTermByMLP(MLPOptions, PairTerm):
    """A term that is an MLP of what it sees."""

    def build_mlp(
        self,
        around: Surroundings,
        size: int,
        num_heads: int | None = None,
        *,
        preserves: bool = False,
    ) -> "PairMLPParameters":
        """The MLP with fresh parameters.

        Args:
          around: The layer.
          size: Number of outputs.
          num_heads: Number of MLPs, one for each head; None for one.
          preserves: Whether initial outputs keep the mean square of the inputs.
        """
        features = self.features(around, around.coordinates)
        sizes = self.sizes(features.size, size)
        return PairMLPParameters(features, sizes, num_heads, around, preserves=preserves)


class MLPParameters(nnx.Module):
    """The parameters of an MLP.

    Args:
      sizes: Sizes of the input, the hidden layers and the output.
      num_heads: Number of MLPs, one for each head; None for one shared trunk.
      around: The layer.
      preserves: Whether initial outputs keep the mean square of the inputs, see
        :func:`eqattn.attention.terms.mlp.init_mlp`.
    """

    def __init__(
        self,
        sizes: tuple[int, ...],
        num_heads: int | None,
        around: Surroundings,
        *,
        preserves: bool = False,
    ):
        weights, biases = init_mlp(
            around.rngs.params(),
            sizes,
            num_heads,
            around.param_dtype,
            activation=around.activation if preserves else None,
        )
        self.weights = nnx.List([nnx.Param(w) for w in weights])
        self.biases = nnx.List([nnx.Param(b) for b in biases])
        self.activation = around.activation
        self.final_activation = around.final_activation

    def arrays(self) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Weights and biases as plain arrays."""
        return tuple(w[...] for w in self.weights), tuple(b[...] for b in self.biases)


class PairMLPParameters(MLPParameters):
    """The parameters of a :class:`eqattn.attention.PairMLP`.

    Args:
      features: What the MLP sees of a pair.
      sizes: Sizes of the input, the hidden layers and the output.
      num_heads: Number of MLPs, one for each head; None for one shared trunk.
      around: The layer.
      preserves: Whether initial outputs keep the mean square of the inputs.
      is_linear: Whether no activation follows the last layer in any case.
    """

    def __init__(
        self,
        features: PairFeatures,
        sizes: tuple[int, ...],
        num_heads: int | None,
        around: Surroundings,
        *,
        preserves: bool = False,
        is_linear: bool = False,
    ):
        super().__init__(sizes, num_heads, around, preserves=preserves)
        self.features = features
        self.final_activation = self.final_activation and not is_linear

    def term(self) -> PairMLP:
        """The term."""
        return PairMLP(*self.arrays(), self.features, self.activation, self.final_activation)


class CombinationParameters(MLPParameters):
    """The parameters of a :class:`eqattn.attention.CombineMLP`."""

    def term(self) -> CombineMLP:
        """The combination."""
        return CombineMLP(*self.arrays(), self.activation, self.final_activation)


def term_of(part: Any) -> Any:
    """The pure term of what a specification built.

    Args:
      part: A module of parameters, which makes a term of them as they are; or the term itself,
        where it has none; or None.
    """
    return part if part is None or not isinstance(part, nnx.Module) else cast(Any, part).term()

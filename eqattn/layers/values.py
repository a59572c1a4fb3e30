"""Values that depend on location: W_V(g_i⁻¹ g_j) = Σ_m φ_m(g_i⁻¹ g_j) W_m, in a basis φ.

A basis of one's own is a class: its options, and how it is built.
"""

import abc
import math
from dataclasses import dataclass
from typing import ClassVar

import jax
from flax import nnx

from eqattn import attention
from eqattn.attention import BernsteinBasis, FourierBasis, PairFeatures
from eqattn.checks import check_sizes
from eqattn.layers.pairs import PairMLPParameters, PairTerm, PairTermByMLP, Surroundings
from eqattn.specification import Specification


@dataclass(frozen=True, repr=False, kw_only=True)
class ValueBasis(Specification, abc.ABC):
    """A basis of values that depend on location."""

    sees_coordinates: ClassVar[bool] = True
    """Whether the basis depends on the coordinates of pairs."""

    num_basis: int = 8
    """Number of basis functions."""

    def __post_init__(self):
        super().__post_init__()
        check_sizes({"num_basis": self.num_basis})

    @abc.abstractmethod
    def build(self, around: Surroundings) -> nnx.Module | attention.Location:
        """The pure term, or a module of parameters whose method ``term`` makes it of them.

        Args:
          around: The layer.
        """


@dataclass(frozen=True, repr=False, kw_only=True)
class MLPValues(PairTermByMLP, ValueBasis):
    """The basis functions are the outputs of an MLP of the pair."""

    def build(self, around: Surroundings) -> PairMLPParameters:
        """See :meth:`ValueBasis.build`."""
        return self.build_mlp(around, self.num_basis, 1, preserves=True)


@dataclass(frozen=True, repr=False, kw_only=True)
class FourierValues(PairTerm, ValueBasis):
    """Cosines of what is seen of the pair, with learned frequencies and phases.

    See :class:`eqattn.attention.FourierBasis`.
    """

    def build(self, around: Surroundings) -> nnx.Module:
        """See :meth:`ValueBasis.build`."""
        features = self.features(around, around.coordinates)
        return FourierParameters(features, self.num_basis, around)


class FourierParameters(nnx.Module):
    """The parameters of :class:`eqattn.attention.FourierBasis`.

    Frequencies are standard normal at first, and phases uniform in a turn.

    Args:
      features: What the basis sees of a pair.
      num_basis: Number of basis functions.
      around: The layer.
    """

    def __init__(self, features: PairFeatures, num_basis: int, around: Surroundings):
        self.features = features
        shape, dtype, rngs = (features.size, num_basis), around.param_dtype, around.rngs
        self.frequencies = nnx.Param(jax.random.normal(rngs.params(), shape, dtype))
        turn = jax.random.uniform(rngs.params(), (num_basis,), dtype, 0, 2 * math.pi)
        self.phases = nnx.Param(turn)

    def term(self) -> FourierBasis:
        """The basis."""
        return FourierBasis(self.frequencies[...], self.phases[...], self.features)


@dataclass(frozen=True, repr=False, kw_only=True)
class BernsteinValues(ValueBasis):
    """Polynomials of the squared distance: isotropic, and smooth up to and at a cutoff.

    See :class:`eqattn.attention.BernsteinBasis`.
    """

    sees_coordinates: ClassVar[bool] = False

    cutoff: float = 12.0
    """Distance at which the polynomials end, in the length unit of the points."""

    def build(self, around: Surroundings) -> BernsteinBasis:
        """See :meth:`ValueBasis.build`."""
        return BernsteinBasis(around.space, self.num_basis, self.cutoff)

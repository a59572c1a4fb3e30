"""The functional core: attention over group elements, as pure functions."""

from eqattn.attention.api import attend
from eqattn.attention.direct_sum import DirectSum, OfFactor, default_representation
from eqattn.attention.neighborhoods import (
    NearestNeighbors,
    Neighborhood,
    RadiusNeighbors,
    find_neighbors,
)
from eqattn.attention.representation import Harmonics, Matrices, Paraboloid, Representation
from eqattn.attention.representation_attention import representation_attend
from eqattn.attention.rotary import FiniteRotary, Rotary
from eqattn.attention.subsampling import FarthestPoints, farthest_points, subsample
from eqattn.attention.terms.combine import CombineMLP
from eqattn.attention.terms.content import Content, DotProduct, LinearConcat, RelativePosition
from eqattn.attention.terms.location import Location, PairFeatures, PairMLP, RawPairs, TokenBlock
from eqattn.attention.terms.value_basis import BernsteinBasis, FourierBasis

__all__ = [
    "BernsteinBasis",
    "CombineMLP",
    "Content",
    "DirectSum",
    "DotProduct",
    "FarthestPoints",
    "FiniteRotary",
    "FourierBasis",
    "Harmonics",
    "LinearConcat",
    "Location",
    "Matrices",
    "NearestNeighbors",
    "Neighborhood",
    "OfFactor",
    "PairFeatures",
    "PairMLP",
    "Paraboloid",
    "RadiusNeighbors",
    "RawPairs",
    "RelativePosition",
    "Representation",
    "Rotary",
    "TokenBlock",
    "attend",
    "default_representation",
    "farthest_points",
    "find_neighbors",
    "representation_attend",
    "subsample",
]

"""The functional core: attention over group elements, as pure functions."""

from eqattn.attention.api import attend
from eqattn.attention.listed import list_to_neighborhood
from eqattn.attention.neighborhoods import (
    NearestNeighbors,
    Neighborhood,
    RadiusNeighbors,
    find_neighbors,
)
from eqattn.attention.representation_attention import representation_attend
from eqattn.attention.subsampling import FarthestPoints, farthest_points, subsample
from eqattn.attention.terms.combine import CombineMLP
from eqattn.attention.terms.content import (
    Content,
    DotProduct,
    KernelContent,
    LinearConcat,
    RelativePosition,
)
from eqattn.attention.terms.harmonics import HarmonicBasis
from eqattn.attention.terms.location import (
    Location,
    PairFeatures,
    PairMLP,
    RawPairs,
    SmoothEnvelope,
    TokenBlock,
)
from eqattn.attention.terms.value_basis import BernsteinBasis, FourierBasis

__all__ = [
    "BernsteinBasis",
    "CombineMLP",
    "Content",
    "DotProduct",
    "FarthestPoints",
    "FourierBasis",
    "HarmonicBasis",
    "KernelContent",
    "LinearConcat",
    "Location",
    "NearestNeighbors",
    "Neighborhood",
    "PairFeatures",
    "PairMLP",
    "RadiusNeighbors",
    "RawPairs",
    "RelativePosition",
    "SmoothEnvelope",
    "TokenBlock",
    "attend",
    "farthest_points",
    "find_neighbors",
    "list_to_neighborhood",
    "representation_attend",
    "subsample",
]

"""The functional core: attention over group elements, as pure functions."""

from eqattn.attention.api import attend
from eqattn.attention.combine import CombineMLP
from eqattn.attention.location import Location, PairFeatures, PairMLP, TokenBlock

__all__ = ["CombineMLP", "Location", "PairFeatures", "PairMLP", "TokenBlock", "attend"]

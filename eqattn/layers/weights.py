"""What attention weights are made of, for every layer that has some."""

import math
from dataclasses import dataclass
from typing import Any

from eqattn.attention import SmoothEnvelope
from eqattn.attention.api import Normalize
from eqattn.checks import check_sizes
from eqattn.layers.combinations import AddLogits, Combination
from eqattn.layers.contents import ContentTerm, DotProductContent
from eqattn.layers.locations import LocationTerm, MLPLocation
from eqattn.layers.pairs import Surroundings
from eqattn.spaces.base import Space
from eqattn.specification import Specification


@dataclass(frozen=True, repr=False, kw_only=True)
class WeightOptions(Specification):
    """Terms of content and of location, and how they become weights."""

    num_heads: int = 8
    """Attention heads; divides the channels of the layer."""
    content: ContentTerm | None = DotProductContent()
    """Content term of the logits; None for weights from location alone."""
    location: LocationTerm | None = MLPLocation()
    """Location term of the logits; None for weights from content alone."""
    combine: Combination = AddLogits()
    """Combination of both terms."""
    normalize: Normalize = "softmax"
    """Normalization of the weights over keys."""
    cutoff: float | None = None
    """Distance from which on a point is not seen, in the length unit of the points; weights fall to
    0 smoothly. None for no limit."""

    def __post_init__(self):
        super().__post_init__()
        check_sizes({"num_heads": self.num_heads})
        if self.cutoff is not None and not 0 < self.cutoff < math.inf:
            raise ValueError(f"cutoff must be finite and above 0, got {self.cutoff}")
        is_alone = self.content is None or self.location is None
        if self.combine.needs_both and is_alone:
            raise ValueError(
                f"combine={self.combine} needs a content and a location term, "
                f"got content={self.content}, location={self.location}"
            )
        if self.normalize == "mean" and self.content is self.location is None:
            raise ValueError("normalize='mean' needs a content or a location term")

    def envelope(self, space: Space) -> SmoothEnvelope | None:
        """The envelope of the weights, where there is a cutoff.

        Args:
          space: Space that pairs are taken from.
        """
        return None if self.cutoff is None else SmoothEnvelope(space, self.cutoff)

    def build_terms(self, around: Surroundings) -> tuple[Any, Any, Any]:
        """The content term, the location term and the combination, with fresh parameters.

        Args:
          around: The layer.

        Raises:
          ValueError: For terms of more than one feature where the combination takes one.
        """
        content, location = self.content, self.location
        num_features = [term.num_features(around) if term else 0 for term in (content, location)]
        if not self.combine.takes_features and max(num_features) > 1:
            raise ValueError(
                f"combine must be MLPLogits() for terms of more than one feature, "
                f"got {self.combine} for {num_features[0]} of {content} and {num_features[1]} of "
                f"{location}"
            )
        return (
            None if content is None else content.build(around),
            None if location is None else location.build(around),
            self.combine.build(sum(num_features), around),
        )

"""Back ends: ways to compute attention, all of which compute the same."""

from eqattn.attention.backends.base import BackEnd, Terms
from eqattn.attention.backends.chunked import Chunked
from eqattn.attention.backends.dense import Dense
from eqattn.attention.backends.folded import Folded
from eqattn.attention.backends.key_tokens import Keys, Queries
from eqattn.attention.backends.sizes import Sizes, device_sizes

__all__ = [
    "BackEnd",
    "Chunked",
    "Dense",
    "Folded",
    "Keys",
    "Queries",
    "Sizes",
    "Terms",
    "device_sizes",
]

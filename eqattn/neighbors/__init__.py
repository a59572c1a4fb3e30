"""Neighbor lists: which points each point sees, as data that models take.

They come from the search of this package, from another package, or from the edges of a graph.
"""

from eqattn.neighbors.edges import Edges
from eqattn.neighbors.lists import NeighborList
from eqattn.neighbors.search import find_edges
from eqattn.neighbors.verlet import VerletList

__all__ = ["Edges", "NeighborList", "VerletList", "find_edges"]

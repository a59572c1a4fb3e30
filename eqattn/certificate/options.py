"""What layers are certified with: pair coordinates, back ends and neighborhoods."""

import itertools
from typing import NamedTuple

from eqattn.attention import NearestNeighbors, RadiusNeighbors
from eqattn.attention.neighborhoods import NeighborhoodKind
from eqattn.lift import Lift
from eqattn.spaces import Space
from eqattn.spaces.base import Coordinates

LAYERS = ("attention", "attentive_convolution", "convolution", "representation", "model")
"""What is certified: the layers of the family, attention by a representation, and a
LieTransformer of one block."""

NUM_NEAR = 3
RADIUS = 2.5
NEIGHBORHOODS: dict[str, NeighborhoodKind | None] = {
    "all": None,
    f"NearestNeighbors({NUM_NEAR})": NearestNeighbors(NUM_NEAR),
    # As many places as there are points in any example.
    f"RadiusNeighbors({RADIUS:g})": RadiusNeighbors(RADIUS, 16),
}


class Options(NamedTuple):
    """How a layer sees pairs, and what sums over them.

    Attributes:
      layer: Name of the layer, one of ``LAYERS``.
      coordinates: Coordinates of the pairs; ``"none"`` where the layer sees whole elements.
      implementation: The back end.
      neighborhood: Name of one of ``NEIGHBORHOODS``.
    """

    layer: str
    coordinates: Coordinates | str
    implementation: str
    neighborhood: str

    def __str__(self) -> str:
        return f"{self.coordinates}, {self.implementation}, {self.neighborhood}"


def back_ends(layer: str, neighborhood: str, *, has_pallas: bool = False) -> tuple[str, ...]:
    """Names of the back ends of a layer that have such a neighborhood.

    Args:
      layer: Name of the layer, one of ``LAYERS``.
      neighborhood: Name of one of ``NEIGHBORHOODS``.
      has_pallas: Whether the kernels for GPUs are among them, interpreted on a CPU.
    """
    if layer == "representation":
        return ("dense", "chunked")
    several = ("dense", "chunked") if neighborhood != "all" else ("dense", "folded", "chunked")
    return (*several, "pallas") if has_pallas and neighborhood == "all" else several


def all_options(space: Space, lift: Lift) -> tuple[Options, ...]:
    """Every choice that a lift on a space allows, those that differ in most things in a row.

    Args:
      space: Where the points live.
      lift: The lift.
    """
    is_coset = lift.is_coset
    names: tuple[Coordinates, ...] = ("invariants",) if is_coset else ("embedding", "log")
    coordinates = [name for name in names if _fits(name, space, lift)]
    found = []
    for layer, neighborhood in itertools.product(LAYERS, NEIGHBORHOODS):
        if layer == "representation":
            has_all = neighborhood == "all" and not (is_coset and space.stabilizer.element_dim)
            seen = ["none"] if has_all and lift.pair_space(space) == space else []
        else:
            seen = coordinates
        choices = itertools.product(seen, back_ends(layer, neighborhood))
        found += [Options(layer, c, b, neighborhood) for c, b in choices]
    # A stride that meets every layer, coordinate and back end within the first few.
    stride = next((s for s in (17, 11, 7, 5, 3, 1) if len(found) % s), 1)
    return tuple(found[index * stride % len(found)] for index in range(len(found)))


def _fits(coordinates: Coordinates, space: Space, lift: Lift) -> bool:
    """Whether layers on a lift may see pairs in such coordinates."""
    try:
        lift.check_coordinates(lift.pair_space(space), coordinates)
    except ValueError:
        return False
    return True

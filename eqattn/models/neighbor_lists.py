"""Neighbor lists that models are given: what they must hold for what a model sees."""

from typing import Any

import jax.numpy as jnp

from eqattn.attention import (
    Neighborhood,
    RadiusNeighbors,
    find_neighbors,
    list_to_neighborhood,
)
from eqattn.attention.neighborhoods import NeighborhoodKind
from eqattn.checks import check_instance
from eqattn.kernels.solver import kernel_space
from eqattn.lift import Lifted
from eqattn.models.config import NetworkConfig
from eqattn.neighbors import NeighborList
from eqattn.spaces.base import Space
from eqattn.typing import Array, Int, Key


def distance_seen(config: NetworkConfig) -> float | None:
    """Distance from which on points do not see each other in one layer; None for no limit.

    Args:
      config: Options of the model.

    >>> from eqattn.layers import Attention
    >>> from eqattn.models import LieTransformerConfig
    >>> distance_seen(LieTransformerConfig(layer=Attention(cutoff=5.0)))
    5.0
    """
    near = getattr(config, "neighborhood", None)
    cutoff = getattr(getattr(config, "layer", config), "cutoff", None)
    limits = [near.radius] if isinstance(near, RadiusNeighbors) else []
    return min(limits if cutoff is None else [*limits, cutoff], default=None)


def check_neighbors(config: NetworkConfig, neighbors: Any) -> None:
    """Makes sure that a list holds all that a model sees.

    Args:
      config: Options of the model.
      neighbors: The list; None for none.

    Raises:
      TypeError: For another type.
      ValueError: For a list whose distance is smaller than that of the model.
    """
    check_instance("neighbors", neighbors, NeighborList | None)
    if neighbors is None or neighbors.reach is None:
        return
    seen = distance_seen(config)
    if seen is not None and neighbors.reach < seen:
        raise ValueError(
            f"neighbors must list all points up to {seen}, as far as the model sees, got a list "
            f"with reach {neighbors.reach}"
        )


def check_field_neighbors(
    config: NetworkConfig, neighbors: NeighborList | None, pair_data: Array | None
) -> None:
    """Makes sure that a network of fields can take a list.

    Args:
      config: Options of the network.
      neighbors: The list; None for none.
      pair_data: What is known of all pairs of points besides.

    Raises:
      TypeError: For another type.
      ValueError: As :func:`check_neighbors`; for moves, which would turn fields, shifts on a space
        with an origin, or data of pairs beside the list.
    """
    check_neighbors(config, neighbors)
    if neighbors is None:
        return
    if pair_data is not None:
        raise ValueError(
            f"pair_data must be part of neighbors where these are given, got {pair_data.shape}"
        )
    if neighbors.moves is not None:
        raise ValueError(
            "neighbors must have shifts and no moves for a network of fields, which other group "
            f"elements would turn, got moves of shape {neighbors.moves.shape}"
        )
    space = getattr(config, "space", None)
    if neighbors.shifts is not None and isinstance(space, Space) and kernel_space(space) != space:
        raise ValueError(f"neighbors must have no shifts on {space}, which has an origin")


def neighborhood_of_points(
    space: Space,
    lifted: Lifted,
    kind: NeighborhoodKind | None,
    neighbors: NeighborList | None,
    pair_data: Array | None,
    key: Key[Array, ""] | None,
    example_ids: Int[Array, "*B"] | None,
) -> tuple[Neighborhood | None, Array | None]:
    """Which keys each point sees, by a list or a rule, and what is known of these pairs.

    Args:
      space: Where the points live.
      lifted: The points.
      kind: Rule of the model.
      neighbors: A list, with the data of its pairs; None where the rule finds neighbors.
      pair_data: What is known of all pairs of points; None with a list.
      key: Random key of a random subset of the nearest points.
      example_ids: Identity of each example, which draws are keyed by.
    """
    if neighbors is not None:
        return list_to_neighborhood(space, lifted, neighbors, kind), neighbors.pair_data
    if kind is None:
        return None, pair_data
    found = find_neighbors(space, lifted, kind, key, example_ids)
    if pair_data is not None:
        indices = found.indices[..., None]
        pair_data = jnp.take_along_axis(pair_data, indices, axis=-2, mode="clip")
    return found, pair_data

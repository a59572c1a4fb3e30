"""A group acting on itself: points are stored elements."""

import dataclasses

from eqattn import numerics
from eqattn.checks import check_instance
from eqattn.groups import LieGroup, Trivial
from eqattn.groups.base import unstack
from eqattn.spaces.base import Space
from eqattn.specification import computed
from eqattn.typing import Array, Components, DType, Float, Key


@dataclasses.dataclass(frozen=True, repr=False)
class GroupSpace(Space):
    """A group G acting on itself from the left: data that already has all of its pose.

    Points are stored elements of G, the section is the identity map, and H is trivial: lifting
    draws nothing and is exact. Points whose quaternions, directions or parities are not of size 1
    are refused where values are known (:meth:`Space.check_domain`). Where q and -q are one element
    they are one point.

    Args:
      group: Any group.

    Raises:
      TypeError: For what is no group.
    """

    text_name = "group_space"

    group: LieGroup

    section_is_normal = True  # N = G

    def __post_init__(self):
        check_instance("group of GroupSpace", self.group, LieGroup)

    @property
    def point_dim(self) -> int:
        return self.group.element_dim

    stabilizer = computed(lambda self: Trivial(self.group.point_dim))

    def act(
        self, elements: Float[Array, "*#B E"], points: Float[Array, "*#B D"]
    ) -> Float[Array, "*B D"]:
        """Composes: u x."""
        return self.group.compose(elements, points)

    def origin(self) -> tuple[float, ...]:
        """The identity."""
        return self.group.identity_components()

    def section(self, points: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        """The point itself.

        Raises:
          ValueError: If the last axis of ``points`` is not ``element_dim`` of the group.
        """
        self.check_points(points)
        return numerics.at_least_float32(points)

    point_kind = computed(lambda self: f"elements of {self.group}")

    def domain_defect(self, points: Float[Array, "*B D"]) -> Float[Array, "*#B"]:
        """That of the elements, see :meth:`eqattn.groups.LieGroup.defect_components`."""
        return self.group.defect_components(unstack(points))

    def embed_stabilizer(self, elements: Float[Array, "*B _"]) -> Float[Array, "*B E"]:
        """The identity."""
        elements = numerics.at_least_float32(elements)
        return self.group.identity(elements.shape[:-1], elements.dtype)

    def sample_points(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Bounded samples of the group."""
        return self.group.sample_bounded(key, shape, dtype)

    def pair_invariants(self, pair: Components) -> Components:
        """The pair, by coordinates that are smooth and tell all elements apart."""
        return self.group.embedding_components(pair)

    def squared_distance_components(
        self, pair: Components, query_orbits: Components, key_orbits: Components
    ) -> Array:
        """Of the group's own left-invariant distance."""
        return self.group.squared_distance_components(pair, 1.0)

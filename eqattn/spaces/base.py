"""The interface of every space: how a group acts on it, and how its points lift to the group."""

import abc
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from eqattn import numerics
from eqattn.checks import check_option, check_real
from eqattn.groups.base import LieGroup, stack, unstack
from eqattn.specification import Named
from eqattn.typing import Array, Bool, Components, DType, Float, Key

Coordinates = Literal["log", "embedding", "invariants"]

DOMAIN_TOLERANCE = 1e-3
"""What unit vectors and the like in float32 or float64 may miss: digits that files round off."""


class Space(Named, abc.ABC):
    """A space X with a left action of a group G; a homogeneous space, or a union of orbits.

    Where X is one orbit, X = G/H with H the stabilizer of the origin. Where it is not (SO(n) on
    Rⁿ), each point also carries orbit invariants (the radius), and H is the stabilizer of the
    origin of a generic orbit. Spaces are frozen and hashable: pass them as static arguments.
    """

    group: LieGroup
    num_orbit_invariants: int = 0
    """Q: invariants that tell orbits apart; 0 on a homogeneous space."""
    stabilizer: LieGroup
    """H as a group of its own, ``Trivial`` where H is; :meth:`embed_stabilizer` takes it into G."""
    section_is_normal: bool = False
    """Whether the section lies in a normal subgroup N with G = N ⋊ H (translations in SE(n)).

    Then ``section(ux)⁻¹ u section(x)`` does not depend on x, and samples may be shared by points.
    """
    point_kind: str = "any vectors"
    """What points are, in words, where not all of R^D is the space."""
    has_exceptional_orbits: bool = False
    """Whether some points have a larger stabilizer than H (the origin under SO(n))."""

    @property
    def draws_samples(self) -> bool:
        """Whether lifting by Haar samples can draw anything, so that it needs a key."""
        return self.stabilizer.element_dim > 0

    @property
    def point_dim(self) -> int:
        """D: coordinates of a point."""
        return self.group.point_dim

    @property
    def vector_dim(self) -> int:
        """Components of a vector, which ``group.linear_matrix`` turns."""
        return self.group.point_dim

    @property
    def stabilizer_dim(self) -> int:
        """Dimension of H."""
        return self.stabilizer.algebra_dim

    def act(
        self, elements: Float[Array, "*#B E"], points: Float[Array, "*#B D"]
    ) -> Float[Array, "*B D"]:
        """Applies group elements to points of the space."""
        return self.group.act(elements, points)

    @abc.abstractmethod
    def origin(self) -> tuple[float, ...]:
        """The point x₀ that the section lifts to the identity."""

    @abc.abstractmethod
    def section(self, points: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        """A group element that takes the origin of the point's orbit to the point."""

    def orbit_invariants(self, points: Float[Array, "*B D"]) -> Float[Array, "*B Q"]:
        """Invariants of the orbits of points; by default none: the space is one orbit."""
        self.check_points(points)
        return jnp.zeros((*points.shape[:-1], 0), numerics.at_least_float32(points).dtype)

    def translation(self, vectors: Float[Array, "*B V"]) -> Float[Array, "*B E"]:
        """The group element that moves all points by a vector.

        Args:
          vectors: Vectors of :attr:`vector_dim` components, in the length unit of the points.

        Raises:
          ValueError: Where the group holds no translations, or for vectors of another size.
        """
        del vectors
        raise ValueError(f"{self} has no translations by vectors in its group {self.group}")

    @abc.abstractmethod
    def embed_stabilizer(self, elements: Float[Array, "*B _"]) -> Float[Array, "*B E"]:
        """Elements of H as elements of G: those that keep the origin of a generic orbit."""

    def sample_stabilizer(
        self, key: Key[Array, ""], point: Float[Array, " D"]
    ) -> Float[Array, " E"]:
        """One Haar sample [E] of the stabilizer of the origin of the point's orbit; H by default.

        Raises:
          ValueError: If H is not compact, so that it has no Haar probability.
        """
        if not self.stabilizer.is_compact:
            raise ValueError(
                f"the stabilizer {self.stabilizer} of {self} is not compact and has no Haar "
                "samples; use Frames(), or give each point its scale and orientation as data "
                "(eqattn.spaces.group_space)"
            )
        return self.embed_stabilizer(
            self.stabilizer.sample(key, (), numerics.at_least_float32(point).dtype)
        )

    @abc.abstractmethod
    def pair_invariants(self, pair: Components) -> Components:
        """Coordinates of H g H: what of a pair g = g_i⁻¹ g_j no choice in H changes."""

    @abc.abstractmethod
    def squared_distance_components(
        self, pair: Components, query_orbits: Components, key_orbits: Components
    ) -> Array:
        """Square of the left-invariant distance between the base points of a pair g = g_i⁻¹ g_j.

        Smooth where the points coincide, as the distance itself is not.

        Args:
          pair: Components of g.
          query_orbits: Orbit invariants of the point of g_i.
          key_orbits: Orbit invariants of the point of g_j.
        """

    def base_distance_components(
        self, pair: Components, query_orbits: Components, key_orbits: Components
    ) -> Array:
        """The distance itself; its derivatives are 0 where the points coincide."""
        return numerics.safe_sqrt(self.squared_distance_components(pair, query_orbits, key_orbits))

    def sample_points(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Random points [*shape D] in general position and of size O(1), for tests and checks.

        By default the origin, moved by bounded random elements: points of one orbit. Spaces with
        more orbits write their own.
        """
        elements = self.group.sample_bounded(key, shape, dtype)
        return self.act(elements, jnp.asarray(self.origin(), elements.dtype))

    def unliftable(self, points: Float[Array, "*B D"]) -> Bool[Array, "*B"]:
        """Points that have no lift.

        Their stabilizer is larger than H and not compact, so that it cannot be sampled; or they are
        vectors of length 0 where directions are meant.
        """
        return jnp.zeros(points.shape[:-1], bool)

    def domain_defect(self, points: Float[Array, "*B D"]) -> Float[Array, "*#B"] | None:
        """By how much points miss the space; None, by default, where all of R^D are its points."""
        del points
        return None

    def check_domain(
        self, points: Float[Array, "*B D"], mask: Bool[Array, "*B"] | None = None
    ) -> None:
        """Raises a ValueError where the values of points are known, and are none of the space.

        Unit vectors, quaternions and parities may miss 1 by ``DOMAIN_TOLERANCE``, or by 4 roundings
        of a narrower type. Points that are NaN or infinite pass, for models carry them on. Under
        ``jit``, ``vmap`` and ``grad`` values are not known, and nothing is checked.

        Args:
          points: Coordinates.
          mask: Marks the points that exist; the others may hold anything.
        """
        defect = self.domain_defect(points)
        if defect is None or isinstance(defect, Tracer) or isinstance(mask, Tracer):
            return
        dtype = jnp.result_type(points)
        narrow = 4.0 * float(jnp.finfo(dtype).eps) if jnp.issubdtype(dtype, jnp.floating) else 0.0
        is_wrong = jnp.isfinite(jnp.asarray(points)).all(-1)
        is_wrong &= ~(defect <= max(DOMAIN_TOLERANCE, narrow))
        is_wrong = np.asarray(is_wrong if mask is None else is_wrong & mask)
        if is_wrong.any():
            place = tuple(int(i) for i in np.argwhere(is_wrong)[0])
            point = [float(f"{x:.6g}") for x in np.asarray(points)[place].tolist()]
            raise ValueError(
                f"points of {self} must be {self.point_kind}: {int(is_wrong.sum())} are not, "
                f"such as {point} at {list(place)}"
            )

    def pair(self, query: Components, key: Components) -> Components:
        """The pair g_i⁻¹ g_j of a query and a key element, which broadcast.

        Args:
          query: Components of g_i.
          key: Components of g_j.
        """
        return self.group.compose_components(self.group.inverse_components(query), key)

    def num_coordinates(self, coordinates: Coordinates) -> int:
        """How many pair coordinates there are.

        Raises:
          ValueError: If ``coordinates`` is none of the three.
        """
        identity = tuple(jnp.asarray(c) for c in self.group.identity_components())
        return len(self.coordinate_components(identity, coordinates))

    def coordinate_components(self, pair: Components, coordinates: Coordinates) -> Components:
        """Coordinates of a pair.

        Args:
          pair: Components of g_i⁻¹ g_j.
          coordinates: ``"log"``: Lie-algebra coordinates, and the parity where the group has
            reflections; ``"embedding"``: smooth and injective;
            ``"invariants"``: coordinates of the double coset H g_i⁻¹ g_j H.

        Raises:
          ValueError: If ``coordinates`` is none of the three.
        """
        check_option("coordinates", coordinates, Coordinates)
        if coordinates == "log":
            return (*self.group.log_components(pair), *self.group.parity_components(pair))
        if coordinates == "embedding":
            return self.group.embedding_components(pair)
        return self.pair_invariants(pair)

    def pair_coordinates(
        self,
        query: Float[Array, "*#B E"],
        key: Float[Array, "*#B E"],
        coordinates: Coordinates = "log",
    ) -> Float[Array, "*B M"]:
        """Coordinates of g_i⁻¹ g_j for query elements g_i and key elements g_j.

        Raises:
          ValueError: If ``coordinates`` is none of ``"log"``, ``"embedding"``, ``"invariants"``.
        """
        query, key = numerics.at_least_float32(query), numerics.at_least_float32(key)
        for name, elements in (("query", query), ("key", key)):
            if elements.shape[-1:] != (self.group.element_dim,):
                raise ValueError(
                    f"{name} must have a last axis of size {self.group.element_dim}, the elements "
                    f"of {self.group}, got shape {elements.shape}"
                )
        batch = jnp.broadcast_shapes(query.shape[:-1], key.shape[:-1])
        pair = self.pair(unstack(query), unstack(key))
        components = self.coordinate_components(pair, coordinates)
        return stack(components, batch, jnp.result_type(query, key))

    def check_points(self, points: Float[Array, "*B D"]) -> None:
        """Raises where points do not have the space's dimension, or are complex.

        Their values are the business of :meth:`check_domain`.

        Raises:
          TypeError: For complex points.
          ValueError: For another size of the last axis.
        """
        shape = jnp.shape(points)
        if not shape or shape[-1] != self.point_dim:
            raise ValueError(
                f"points of {self} must have a last axis of size {self.point_dim}, "
                f"got shape {shape}"
            )
        check_real("points", points)

"""Products of spaces under the product of their groups: points side by side."""

import dataclasses
import functools
import itertools
import operator
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from eqattn import numerics
from eqattn.groups import Product
from eqattn.spaces.base import Space
from eqattn.specification import computed
from eqattn.typing import Array, Bool, Components, DType, Float, Key


@dataclasses.dataclass(frozen=True, repr=False)
class ProductSpace(Space):
    """X × Y under G_X × G_Y: coordinates, elements, orbits and invariants lie side by side.

    The stabilizer is the product of those of the factors, the distance the root of the sum of
    their squares.

    Args:
      factors: The spaces, at least one.

    Raises:
      ValueError: If there is no factor, or one is not a space.
    """

    text_name = "product_space"

    factors: tuple[Space, ...]

    def _text(self, *, is_full: bool) -> str:
        del is_full  # nothing of a space has a default
        return f"product_space({', '.join(map(repr, self.factors))})"

    def __post_init__(self):
        valid = isinstance(self.factors, tuple) and self.factors
        if not valid or not all(isinstance(f, Space) for f in self.factors):
            raise ValueError(f"factors must be a non-empty tuple of spaces, got {self.factors!r}")

    group = computed(lambda self: Product(tuple(f.group for f in self.factors)))
    stabilizer = computed(lambda self: Product(tuple(f.stabilizer for f in self.factors)))
    num_orbit_invariants = computed(lambda self: sum(f.num_orbit_invariants for f in self.factors))
    section_is_normal = computed(lambda self: all(f.section_is_normal for f in self.factors))
    has_exceptional_orbits = computed(
        lambda self: any(f.has_exceptional_orbits for f in self.factors)
    )

    @property
    def draws_samples(self) -> bool:
        return any(f.draws_samples for f in self.factors)

    @property
    def point_dim(self) -> int:
        return sum(f.point_dim for f in self.factors)

    @property
    def vector_dim(self) -> int:
        return sum(f.vector_dim for f in self.factors)

    def _cut(self, x, sizes: Sequence[int]) -> list:
        """Cuts a tuple of components, or the last axis of an array, into the factors' parts."""
        stops = list(itertools.accumulate(sizes))
        starts = [0, *stops[:-1]]
        if isinstance(x, tuple):
            return [x[a:b] for a, b in zip(starts, stops, strict=True)]
        return [x[..., a:b] for a, b in zip(starts, stops, strict=True)]

    def _points(self, points: Array) -> list[Array]:
        self.check_points(points)
        return self._cut(numerics.at_least_float32(points), [f.point_dim for f in self.factors])

    def _elements(self, elements) -> list:
        return self._cut(elements, [f.group.element_dim for f in self.factors])

    def _join(self, method: Callable[..., Array], *parts: Sequence) -> Array:
        results = [method(f, *each) for f, *each in zip(self.factors, *parts, strict=True)]
        return jnp.concatenate(results, axis=-1)

    def act(
        self, elements: Float[Array, "*#B E"], points: Float[Array, "*#B D"]
    ) -> Float[Array, "*B D"]:
        """Each factor's group acts on its part."""
        return self._join(
            lambda f, g, x: f.act(g, x), self._elements(elements), self._points(points)
        )

    def origin(self) -> tuple[float, ...]:
        return tuple(itertools.chain.from_iterable(f.origin() for f in self.factors))

    def section(self, points: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        """Those of the factors.

        Raises:
          ValueError: If the last axis of ``points`` is not the dimension of the space.
        """
        return self._join(lambda f, x: f.section(x), self._points(points))

    def translation(self, vectors: Float[Array, "*B V"]) -> Float[Array, "*B E"]:
        """See :meth:`Space.translation`: each factor's part of the vector."""
        parts = self._cut(vectors, [f.vector_dim for f in self.factors])
        return self._join(lambda f, v: f.translation(v), parts)

    def orbit_invariants(self, points: Float[Array, "*B D"]) -> Float[Array, "*B Q"]:
        """Those of the factors."""
        return self._join(lambda f, x: f.orbit_invariants(x), self._points(points))

    def embed_stabilizer(self, elements: Float[Array, "*B _"]) -> Float[Array, "*B E"]:
        """Each factor's part."""
        parts = self._cut(elements, [f.stabilizer.element_dim for f in self.factors])
        return self._join(lambda f, h: f.embed_stabilizer(h), parts)

    def sample_stabilizer(
        self, key: Key[Array, ""], point: Float[Array, " D"]
    ) -> Float[Array, " E"]:
        """Independent Haar samples of the factors' stabilizers.

        Raises:
          ValueError: If one of them is not compact.
        """
        keys = jax.random.split(key, len(self.factors))
        return self._join(
            lambda f, k, x: f.sample_stabilizer(k, x), list(keys), self._points(point)
        )

    def sample_points(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        """Independent points of the factors."""
        keys = jax.random.split(key, len(self.factors))
        return self._join(lambda f, k: f.sample_points(k, shape, dtype), list(keys))

    point_kind = computed(
        lambda self: ", then ".join(f"{f.point_kind} of {f}" for f in self.factors)
    )

    def domain_defect(self, points: Float[Array, "*B D"]) -> Float[Array, "*#B"] | None:
        """The largest of those of the factors."""
        parts = zip(self.factors, self._points(points), strict=True)
        defects = [defect for f, x in parts if (defect := f.domain_defect(x)) is not None]
        return functools.reduce(jnp.maximum, defects) if defects else None

    def unliftable(self, points: Float[Array, "*B D"]) -> Bool[Array, "*B"]:
        """Points with such a part in one of the factors."""
        parts = zip(self.factors, self._points(points), strict=True)
        return functools.reduce(operator.or_, [f.unliftable(x) for f, x in parts])

    def pair_invariants(self, pair: Components) -> Components:
        """Those of the factors."""
        parts = zip(self.factors, self._elements(pair), strict=True)
        return tuple(itertools.chain.from_iterable(f.pair_invariants(p) for f, p in parts))

    def squared_distance_components(
        self, pair: Components, query_orbits: Components, key_orbits: Components
    ) -> Array:
        """Sum of those of the factors."""
        sizes = [f.num_orbit_invariants for f in self.factors]
        parts = zip(
            self.factors,
            self._elements(pair),
            self._cut(query_orbits, sizes),
            self._cut(key_orbits, sizes),
            strict=True,
        )
        squares = [f.squared_distance_components(p, q, k) for f, p, q, k in parts]
        return functools.reduce(operator.add, squares)

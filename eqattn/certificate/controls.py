"""Negative controls: wrong mathematics that the measurements must notice, or they prove nothing."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
from flax import nnx

from eqattn.fields import FieldType
from eqattn.groups import SE, E
from eqattn.layers import LieConv
from eqattn.lift import Lifted, Subgroup, lift, project
from eqattn.spaces import Space, TranslatedSpace, euclidean
from eqattn.testing import coupled_lift_error, guaranteed_elements, relative_error
from eqattn.typing import Array, Components

SMALLEST = 1e-2
"""What the error of a negative control must exceed."""

_SPACE = euclidean(SE(3))
_STRATEGY = Subgroup("tetrahedral")
_VECTOR = FieldType.parse("vector")


class WrongWayRound(TranslatedSpace):
    """Pairs are g_j g_i⁻¹, which moving all elements changes."""

    def pair(self, query: Components, key: Components) -> Components:
        return self.group.compose_components(key, self.group.inverse_components(query))


def _layer(space: Space, channels: int) -> LieConv:
    return LieConv(channels, space, location_dim=8, location_layers=2, rngs=nnx.Rngs(0))


def wrong_pairs() -> float:
    """The error of a layer that sees g_j g_i⁻¹ instead of g_i⁻¹ g_j."""
    space = WrongWayRound(SE(3))
    layer = _layer(space, 4)
    return coupled_lift_error(jax.jit(layer), space, num_features=4, num_examples=4)


def wrong_lift() -> float:
    """The error where features are lifted by ρ(g) instead of ρ(g)⁻¹."""

    def lifted(points: Array, features: Array) -> Lifted:
        scalars = lift(_SPACE, points, features, strategy=_STRATEGY)
        turned = _VECTOR.transform(_SPACE, scalars.elements, scalars.features)
        return scalars.replace_features(turned)

    return _error(_SPACE, lifted)


def wrong_order() -> float:
    """The error where elements are h section(x) instead of section(x) h."""

    def lifted(points: Array, features: Array) -> Lifted:
        at_origin = lift(_SPACE, jnp.zeros_like(points), features, strategy=_STRATEGY)
        h = at_origin.elements
        section = _SPACE.section(points)[:, :, None]
        right = lift(_SPACE, points, features, strategy=_STRATEGY, field=_VECTOR)
        elements = _SPACE.group.compose(h, section)
        turned = _VECTOR.transform(_SPACE, elements, features[:, :, None], inverse=True)
        return Lifted(elements, turned, right.orbits, right.mask, right.log_weights)

    return _error(_SPACE, lifted)


def wrong_parity() -> float:
    """The error of a vector that is taken for a pseudovector, under reflections."""
    space = euclidean(E(3))
    strategy = Subgroup("tetrahedral", reflections=True)

    def lifted(points: Array, features: Array) -> Lifted:
        return lift(space, points, features, strategy=strategy, field=_VECTOR)

    return _error(space, lifted, strategy, FieldType.parse("pseudovector"))


CONTROLS: Mapping[str, Callable[[], float]] = MappingProxyType(
    {
        "pairs g_j g_i^-1": wrong_pairs,
        "a lift by rho(g)": wrong_lift,
        "elements h section(x)": wrong_order,
        "a vector as a pseudovector": wrong_parity,
    }
)
"""Errors that must be large, by what is wrong."""


def passing_controls() -> dict[str, float]:
    """Errors of the negative controls that are too small: none if measurements can be trusted."""
    errors = {name: control() for name, control in CONTROLS.items()}
    return {name: error for name, error in errors.items() if not error > SMALLEST}


def _error(
    space: Space,
    lifted: Callable[[Array, Array], Lifted],
    strategy: Subgroup = _STRATEGY,
    believed: FieldType = _VECTOR,
) -> float:
    """Of a layer of vectors after a lift, measured as vectors or what they are believed to be."""
    layer = _layer(space, 3)
    keys = jax.random.split(jax.random.key(0), 3)
    points = space.sample_points(keys[0], (4, 4))
    features = jax.random.normal(keys[1], (4, 4, 3))
    u = guaranteed_elements(space, strategy, keys[2], (4,))[:, None]

    @jax.jit
    def outputs(points: Array, features: Array) -> Array:
        on_group = lifted(points, features)
        return project(space, on_group.replace_features(layer(on_group)), _VECTOR)

    moved = outputs(space.act(u, points), _VECTOR.transform(space, u, features))
    return relative_error(moved, believed.transform(space, u, outputs(points, features)))

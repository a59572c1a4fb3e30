"""Negative controls: wrong mathematics that the measurements must notice, or they prove nothing.

Each family of rows has some: laws, what must not change with the data, equivariance, and
equivariance in expectation.
"""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn.certificate.invariances import Data, make_layer, measure_invariances
from eqattn.certificate.lawful import measure_group
from eqattn.certificate.measure import COUPLED, EXPECTED, measure
from eqattn.certificate.options import Options
from eqattn.fields import FieldType
from eqattn.groups import SE, SO, E
from eqattn.groups.rotation import SO2
from eqattn.layers import Convolution, LieConv, MLPValues
from eqattn.lift import Haar, Lifted, NoLift, Subgroup, project
from eqattn.lift import lift as lift_field
from eqattn.spaces import AffineSpace, Space, euclidean
from eqattn.testing import guaranteed_elements, relative_error
from eqattn.typing import Array, Components, DType, Float, Key

SMALLEST = 1e-2
"""What the error of a negative control must exceed; of means, what is above their bound."""

_SPACE = euclidean(SE(3))
_LIFT = Subgroup("tetrahedral")
_VECTOR = FieldType.parse("vector")


class WrongWayRound(AffineSpace):
    """Pairs are g_j g_i⁻¹, which moving all elements changes."""

    text_name = ""

    def pair(self, query: Components, key: Components) -> Components:
        return self.group.compose_components(key, self.group.inverse_components(query))


def wrong_pairs() -> float:
    """The error of a layer that sees g_j g_i⁻¹ instead of g_i⁻¹ g_j."""
    options = Options("convolution", "embedding", "dense", "all")
    fields = [("scalar", FieldType.parse("scalar"))]
    found = measure(WrongWayRound(SE(2)), Subgroup("cyclic(3)"), fields, options, "float64")
    return _worst([m[1:] for m in found if m.guarantee == COUPLED])


def wrong_lift() -> float:
    """The error where features are lifted by ρ(g) instead of ρ(g)⁻¹."""

    def lifted(points: Array, features: Array) -> Lifted:
        scalars = lift_field(_SPACE, points, features, lift=_LIFT)
        turned = _VECTOR.transform(_SPACE, scalars.elements, scalars.features)
        return scalars.replace_features(turned)

    return _error(_SPACE, lifted)


def wrong_order() -> float:
    """The error where elements are h section(x) instead of section(x) h."""

    def lifted(points: Array, features: Array) -> Lifted:
        at_origin = lift_field(_SPACE, jnp.zeros_like(points), features, lift=_LIFT)
        h = at_origin.elements
        section = _SPACE.section(points)[:, :, None]
        right = lift_field(_SPACE, points, features, lift=_LIFT, field=_VECTOR)
        elements = _SPACE.group.compose(h, section)
        turned = _VECTOR.transform(_SPACE, elements, features[:, :, None], inverse=True)
        return Lifted(elements, turned, right.orbit_invariants, right.mask, right.log_weights)

    return _error(_SPACE, lifted)


def wrong_parity() -> float:
    """The error of a vector that is taken for a pseudovector, under reflections."""
    space = euclidean(E(3))
    lift = Subgroup("tetrahedral", reflections=True)

    def lifted(points: Array, features: Array) -> Lifted:
        return lift_field(space, points, features, lift=lift, field=_VECTOR)

    return _error(space, lifted, lift, FieldType.parse("pseudovector"))


@dataclasses.dataclass(frozen=True)
class ShortLog(SO2):
    """Its logarithm is too short for turns of more than 2.5 radians."""

    text_name = ""

    def log_components(self, g: Components) -> Components:
        (angle,) = super().log_components(g)
        return (jnp.where(jnp.abs(angle) > 2.5, 0.7 * angle, angle),)


@dataclasses.dataclass(frozen=True)
class FewerAngles(SO2):
    """Its samples leave out a tenth of the circle."""

    text_name = ""

    def sample(
        self, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
    ) -> Float[Array, "..."]:
        return _fewer_angles(key, shape, dtype)


@dataclasses.dataclass(frozen=True)
class FewerSamples(AffineSpace):
    """The samples of its stabilizer leave out a tenth of the circle."""

    text_name = ""

    def sample_stabilizer(
        self, key: Key[Array, ""], point: Float[Array, " D"]
    ) -> Float[Array, " E"]:
        return self.embed_stabilizer(_fewer_angles(key, (), point.dtype))


def _fewer_angles(key: Array, shape: tuple[int, ...], dtype: DType) -> Array:
    limit = 0.9 * jnp.pi
    return SO(2).exp(jax.random.uniform(key, (*shape, 1), dtype, -limit, limit))


def wrong_log() -> float:
    """The error of the laws where log is too short for large rotations."""
    return _worst(measure_group(ShortLog(), "float64")[:1])


def wrong_samples() -> float:
    """How far above their bound the laws are of samples that leave out a tenth of the circle."""
    return _worst(measure_group(FewerAngles(), "float64")[1:])


def wrong_means() -> float:
    """How far above their bound means over a lift are, by samples of nine tenths of a circle."""
    options = Options("attention", "embedding", "dense", "all")
    found = measure(FewerSamples(SE(2)), Haar(1), [("vector", _VECTOR)], options, "float64")
    return _worst([m[1:] for m in found if m.guarantee == EXPECTED])


def _worst(errors) -> float:
    """The largest error; in standard errors, by how much it is above its bound."""
    return max(e - bound if bound > 1 else e for _, e, _, bound in errors)


def _data_error(fault: Callable[[Data], Data]) -> float:
    """The largest error of a layer whose data are spoiled first, of all that must not change."""
    space, options = euclidean(SE(3)), Options("attention", "invariants", "dense", "all")
    layer = make_layer(options, space, NoLift())
    found = measure_invariances(lambda data: layer(fault(data)), layer, space)
    return max(largest for _, largest, *_ in found)


def no_mask() -> float:
    """The error of a layer that ignores the mask."""
    return _data_error(lambda data: data._replace(mask=np.ones_like(data.mask)))


def no_weights() -> float:
    """The error of a layer that ignores quadrature weights."""
    return _data_error(lambda data: data._replace(log_weights=0.0 * data.log_weights))


def by_order() -> float:
    """The error of a layer that counts its points."""

    def numbered(data: Data) -> Data:
        count = np.arange(data.mask.shape[-1])[:, None]
        return data._replace(features=data.features + 0.1 * count)

    return _data_error(numbered)


CONTROLS: Mapping[str, Callable[[], float]] = MappingProxyType(
    {
        "log * 0.7 above 2.5 rad": wrong_log,
        "samples of nine tenths of a circle": wrong_samples,
        "a mask that is ignored": no_mask,
        "quadrature weights that are ignored": no_weights,
        "points that are numbered": by_order,
        "pairs g_j g_i^-1": wrong_pairs,
        "a lift by rho(g)": wrong_lift,
        "elements h section(x)": wrong_order,
        "a vector as a pseudovector": wrong_parity,
        "a lift by nine tenths of a circle": wrong_means,
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
    lift: Subgroup = _LIFT,
    believed: FieldType = _VECTOR,
) -> float:
    """The error of a layer of vectors after a lift, as vectors or what they are believed to be."""
    layer = LieConv(
        3,
        space,
        Convolution(coordinates="embedding", values=MLPValues(dim=8, num_layers=2, num_radial=0)),
        rngs=nnx.Rngs(0),
    )
    keys = jax.random.split(jax.random.key(0), 3)
    points = space.sample_points(keys[0], (4, 4))
    features = jax.random.normal(keys[1], (4, 4, 3))
    u = guaranteed_elements(space, lift, keys[2], (4,))[:, None]

    @jax.jit
    def outputs(points: Array, features: Array) -> Array:
        on_group = lifted(points, features)
        return project(space, on_group.replace_features(layer(on_group)), _VECTOR)

    moved = outputs(space.act(u, points), _VECTOR.transform(space, u, features))
    return relative_error(moved, believed.transform(space, u, outputs(points, features)))

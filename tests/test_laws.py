"""The public checks of groups and spaces: each law is broken once, and found broken."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.groups import SE, SO, O
from eqattn.groups.rigid import SE2
from eqattn.laws import NUM, check_group, check_space, group_laws, space_laws
from eqattn.spaces import RotatedSpace, Sphere
from tests.groups.cases import algebra_samples
from tests.tolerances import NEGATIVE_CONTROL, tolerance


def broken(base, **methods):
    """The class, with some methods replaced."""
    return dataclasses.dataclass(frozen=True)(type(f"Broken{base.__name__}", (base,), methods))


def constant(matrix):
    return lambda self, g: jnp.broadcast_to(jnp.asarray(matrix), (*g.shape[:-1], *np.shape(matrix)))


GROUP_FAULTS = {
    "associativity": ("compose", lambda self, g, h: (*(a - b for a, b in zip(g, h, strict=True)),)),
    "matrix of a product": ("compose", lambda self, g, h: SE(2).compose_components(h, g)),
    "left identity": ("identity", lambda self: (1.0, 0.0, 1.0, 0.0)),
    "right identity": ("compose", lambda self, g, h: h),
    "left inverse": ("inverse", lambda self, g: g),
    "right inverse": ("inverse", lambda self, g: (*SE(2).inverse_components(g)[:2], g[2], g[3])),
    "inverse of a product": ("inverse", lambda self, g: (g[0], -g[1], -g[2], -g[3])),
    "action of a product": ("act", lambda self, g, p: (g[0] * p[0], g[1] * p[1])),
    "action of the identity": ("act", lambda self, g, p: (p[1], p[0])),
    "linear part of the action": ("act", lambda self, g, p: p),
    "linear matrix of a product": ("linear_matrix", constant(np.ones((2, 2)))),
    "linear matrix orthogonal": ("linear_matrix", constant(np.zeros((2, 2)))),
    "determinant": ("determinant", constant(-1.0)),
    "log-scale of a product": ("log_scale", lambda self, g: g[..., 2]),
    "adjoint": ("adjoint", constant(np.eye(3))),
    "adjoint of a product": ("adjoint", constant(2.0 * np.eye(3))),
    "exp of log": ("log", lambda self, g: (*SO(2).log_components(g[:2]), *g[2:])),
    "log of exp": ("exp", lambda self, a: (*SO(2).exp_components(a[:1]), *a[1:])),
    "distance of the same": ("distance", lambda self, g, h: 1.0 + g[..., 0]),
    "distance symmetric": ("distance", lambda self, g, h: jnp.abs(g[..., 2] - 2 * h[..., 2])),
    "distance left-invariant": ("distance", lambda self, g, h: jnp.abs(g - h).sum(-1)),
    "triangle inequality": ("squared_distance", lambda self, g, scale: (g[2] ** 2 + g[3] ** 2)**2),
    "embedding injective": ("embedding", lambda self, g: (0.0 * g[0],)),
    "embedding continuous": ("embedding", lambda self, g: (*g, jnp.sign(jnp.sin(1e4 * g[2])))),
}  # fmt: skip
FORMULAS = ("compose", "identity", "inverse", "act", "exp", "log", "squared_distance", "embedding")


def group_errors(group):
    g, h, k = SE(2).sample_bounded(jax.random.key(0), (3, NUM), jnp.float64)
    a, small, p = (jnp.asarray(algebra_samples(SE(2), num=NUM, seed=s)) for s in (1, 2, 3))
    return group_laws(group, g, h, k, a, small, p[:, :2])


def test_every_law_of_a_group_has_a_fault():
    errors = group_errors(SE(2))
    assert errors.keys() == GROUP_FAULTS.keys()
    assert max(np.max(error) for error in errors.values()) <= tolerance(jnp.float64)


@pytest.mark.parametrize("law", GROUP_FAULTS)
@pytest.mark.usefixtures("no_type_checks")
def test_a_broken_group_is_caught(law):
    method, fault = GROUP_FAULTS[law]
    method = f"{method}_components" if method in FORMULAS else method
    assert np.max(group_errors(broken(SE2, **{method: fault})())[law]) > NEGATIVE_CONTROL


def nan_at_zero(self, algebra):
    angle = jnp.sqrt(algebra[0] ** 2)
    return (jnp.cos(angle), *SE(2).exp_components(algebra)[1:])


@pytest.mark.usefixtures("no_type_checks")
def test_check_group_names_what_fails():
    check_group(SE(2), dtype=jnp.float64)
    wrong = broken(SE2, compose_components=GROUP_FAULTS["matrix of a product"][1])
    message = r"BrokenSE2\(\) breaks the law 'matrix of a product': error .* is above 1e-10"
    with pytest.raises(AssertionError, match=message):
        check_group(wrong(), dtype=jnp.float64)
    check_group(wrong(), dtype=jnp.float64, tolerance=100.0)
    with pytest.raises(AssertionError, match=r"BrokenSE2\(\): a value or derivative of exp is not"):
        check_group(broken(SE2, exp_components=nan_at_zero)(), dtype=jnp.float64)
    with pytest.raises(ValueError, match=r"tolerance must be given for bfloat16; known are"):
        check_group(SO(2), dtype=jnp.bfloat16)


def turned_section(self, points):
    """Not the shortest way: right at the origin, and for no two points of an orbit alike."""
    angle = points[..., :1]
    twist = jnp.concatenate([jnp.cos(angle), 0 * angle, jnp.sin(angle), 0 * angle], -1)
    return SO(3).compose(twist, Sphere(SO(3)).section(points))


def about_the_first_axis(self, h):
    half = 0.5 * SO(2).log(h)
    return jnp.concatenate([jnp.cos(half), jnp.sin(half), 0 * half, 0 * half], -1)


def to_one_side(self, h):
    return Sphere(SO(3)).embed_stabilizer(jnp.stack([h[..., 0], jnp.abs(h[..., 1])], -1))


def anywhere(self, key, point):
    return SO(3).sample(key, (), point.dtype)


def at_one_place(self, pair, query, key):
    return pair[0] ** 2


def uneven(self, pair, query, key):
    return Sphere(SO(3)).squared_distance_components(pair, (), ()) * (2.0 + pair[1]) ** 2


SPACE_FAULTS = {
    "action of a product": (Sphere, {"act": lambda self, g, x: x * g[..., :1] + g[..., 1:]}),
    "action of the identity": (Sphere, {"act": lambda self, g, x: SO(3).act(g, -x)}),
    "section of the origin": (Sphere, {"section": lambda self, x: Sphere(SO(3)).section(-x)}),
    "one origin for an orbit": (Sphere, {"section": turned_section}),
    "one orbit": (Sphere, {"section": turned_section}),
    "orbit invariants": (RotatedSpace, {"orbit_invariants": lambda self, x: x[..., :1]}),
    "cocycle in the stabilizer": (Sphere, {"section": turned_section}),
    "stabilizer keeps the origin": (Sphere, {"embed_stabilizer": about_the_first_axis}),
    "stabilizer of a product": (Sphere, {"embed_stabilizer": to_one_side}),
    "double coset": (Sphere, {"double_coset_components": lambda self, pair: pair}),
    "normal section": (Sphere, {"section_is_normal": True}),
    "samples keep the origin": (Sphere, {"sample_stabilizer": anywhere}),
    "distance of any lift": (Sphere, {"squared_distance_components": at_one_place}),
    "distance symmetric": (Sphere, {"squared_distance_components": uneven}),
    "distance of the same": (Sphere, {"squared_distance_components": at_one_place}),
    "distance of others": (
        Sphere,
        {"squared_distance_components": lambda self, pair, query, key: 0.0 * pair[0]},
    ),
}


def space_errors(space):
    x, y = space.sample_points(jax.random.key(0), (2, NUM), jnp.float64)
    u = SO(3).sample(jax.random.key(1), (NUM,), jnp.float64)
    h = SO(2).sample(jax.random.key(2), (2, NUM), jnp.float64)
    return space_laws(space, x, y, u, h[0], h[1], jax.random.key(3))


def test_every_law_of_a_space_has_a_fault():
    names = set()
    for space in (Sphere(SO(3)), RotatedSpace(SO(3))):
        errors = space_errors(space)
        names |= errors.keys()
        assert max(np.max(error) for error in errors.values()) <= tolerance(jnp.float64)
    assert names == SPACE_FAULTS.keys() - {"normal section"}


@pytest.mark.parametrize("law", SPACE_FAULTS)
@pytest.mark.usefixtures("no_type_checks")
def test_a_broken_space_is_caught(law):
    base, fault = SPACE_FAULTS[law]
    assert np.max(space_errors(broken(base, **fault)(SO(3)))[law]) > NEGATIVE_CONTROL


def steep(self, pair, query, key):
    return jnp.arccos(jnp.clip(self.double_coset_components(pair)[0], -1.0, 1.0)) ** 2


@pytest.mark.usefixtures("no_type_checks")
def test_check_space_names_what_fails():
    wrong = broken(Sphere, embed_stabilizer=about_the_first_axis)(SO(3))
    message = r"BrokenSphere.* breaks the law 'stabilizer keeps the origin': error .* is above"
    with pytest.raises(AssertionError, match=message):
        check_space(wrong, dtype=jnp.float64)
    with pytest.raises(AssertionError, match="a value or derivative of squared distance is not"):
        check_space(
            broken(Sphere, squared_distance_components=steep)(O(3)),
            dtype=jnp.float64,
            tolerance=1e-6,
        )

"""The public checks of groups and spaces: each law is broken once, and found broken."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.groups import SE, SO, E, MatrixGroup, O, Product, T, Trivial
from eqattn.groups.reflected import Reflected
from eqattn.groups.rigid import SE2
from eqattn.groups.rotation import SO2, SO3
from eqattn.laws import (
    NUM,
    STANDARD_ERRORS,
    check_group,
    check_space,
    group_laws,
    group_samples,
    sample_laws,
    space_laws,
    space_samples,
    stabilizer_sample_laws,
)
from eqattn.laws.exponential import exponential_laws
from eqattn.laws.groups import action_laws, adjoint_laws, product_laws
from eqattn.laws.metric import metric_laws
from eqattn.laws.orbits import dimension_laws, distance_to_stabilizer
from eqattn.laws.spaces import (
    distance_laws,
    domain_laws,
    origin_errors,
    section_laws,
    stabilizer_laws,
)
from eqattn.spaces import AffineSpace, RadialSpace, Sphere, euclidean, product_space
from tests.grids import some
from tests.groups.cases import algebra_samples
from tests.tolerances import NEGATIVE_CONTROL, tolerance


def broken(base, **methods):
    """The class, with some methods replaced."""
    return dataclasses.dataclass(frozen=True)(type(f"Broken{base.__name__}", (base,), methods))


def constant(matrix):
    return lambda self, g: jnp.broadcast_to(jnp.asarray(matrix), (*g.shape[:-1], *np.shape(matrix)))


def one_scale(group, g):
    return group.squared_distance_components(g, 1.0)


GROUP_FAULTS = {
    "components are those of elements": ("defect_components", lambda self, g: 0.0 * g[0] + 1.0),
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
    "dimension of the algebra": ("exp", lambda self, a: SE(2).exp_components((a[0], a[1], a[1]))),
    "units of the algebra": ("exp", lambda self, a: SE(2).exp_components((0.5 * a[0], *a[1:]))),
    "exp of generators": ("exp", lambda self, a: SE(2).exp_components((a[0] + a[0]**3, *a[1:]))),
    "exp of log": ("log", lambda self, g: (*SO(2).log_components(g[:2]), *g[2:])),
    "log of exp": ("exp", lambda self, a: (*SO(2).exp_components(a[:1]), *a[1:])),
    "log up to a half-turn": ("log", lambda self, g: (SO(2).log_components(g[:2])[0] + 7, *g[2:])),
    "distance of the same": ("squared_distance", lambda self, g, scale: 1.0 + g[0]),
    "distance symmetric": ("distance", lambda self, g, h, **_: jnp.abs(g[..., 2] - 2 * h[..., 2])),
    "distance left-invariant": ("distance", lambda self, g, h, **_: jnp.abs(g - h).sum(-1)),
    "triangle inequality": ("squared_distance", lambda self, g, scale: (g[2] ** 2 + g[3] ** 2)**2),
    "distance of others": ("squared_distance", lambda self, g, scale: g[2] ** 2 + g[3] ** 2),
    "distance by radians and lengths": ("squared_distance", lambda self, g, _: one_scale(SE(2), g)),
    "embedding injective": ("embedding", lambda self, g: (0.0 * g[0],)),
    "embedding continuous": ("embedding", lambda self, g: (*g, jnp.sign(jnp.sin(1e4 * g[2])))),
}  # fmt: skip
FORMULAS = ("compose", "identity", "inverse", "act", "exp", "log", "squared_distance", "embedding")


def kinds_of_group_laws(group):
    """Functions that measure the laws of a group, one for each kind of law."""
    g, h, k = SE(2).sample_bounded(jax.random.key(0), (3, NUM), jnp.float64)
    a, small, p = (jnp.asarray(algebra_samples(SE(2), num=NUM, seed=s)) for s in (1, 2, 3))
    return (
        lambda: product_laws(group, g, h, k),
        lambda: action_laws(group, g, h, p[:, :2]),
        lambda: adjoint_laws(group, g, h, a),
        lambda: exponential_laws(group, g, a, small),
        lambda: metric_laws(group, g, h, k, a),
    )


@functools.cache
def kinds_by_law(kinds, *subjects):
    """For each law the number of its kind; where nothing is broken, it is kept."""
    found = {}
    for subject in subjects:
        for number, measure in enumerate(kinds(subject)):
            errors = measure()
            assert max(map(np.max, errors.values()), default=0.0) <= tolerance(jnp.float64)
            found |= dict.fromkeys(errors, number)
    return found


def test_every_law_of_a_group_has_a_fault():
    laws = kinds_by_law(kinds_of_group_laws, SE(2))
    # In the plane each element has one form.
    assert laws.keys() - {"one value for each element"} == GROUP_FAULTS.keys()


@pytest.mark.slow
def test_the_kinds_of_laws_of_a_group_are_all_of_its_laws():
    laws = kinds_by_law(kinds_of_group_laws, SE(2))
    samples = group_samples(SE(2), jax.random.key(0), jnp.float64)
    assert laws.keys() == group_laws(SE(2), *samples).keys()


@pytest.mark.parametrize("law", GROUP_FAULTS)
@pytest.mark.usefixtures("no_type_checks")
def test_a_broken_group_is_caught(law):
    method, fault = GROUP_FAULTS[law]
    method = f"{method}_components" if method in FORMULAS else method
    kinds = kinds_of_group_laws(broken(SE2, **{method: fault})())
    errors = kinds[kinds_by_law(kinds_of_group_laws, SE(2))[law]]()
    assert np.max(errors[law]) > NEGATIVE_CONTROL


def shrunk_log(factor, limit):
    """The logarithm of SO(3), times a factor above an angle."""

    def log(self, g):
        algebra = SO(3).log_components(g)
        angle = jnp.sqrt(sum(a * a for a in algebra) + 1e-30)
        return tuple(jnp.where(angle > limit, factor, 1.0) * a for a in algebra)

    return log


HALVED = {
    "exp_components": lambda self, a: SO(3).exp_components(tuple(0.5 * x for x in a)),
    "log_components": lambda self, g: tuple(2.0 * x for x in SO(3).log_components(g)),
}
PLANTS = {
    "exp and log in units of half a radian": (HALVED, "units of the algebra"),
    "log * 0.9 near half-turns": ({"log_components": shrunk_log(0.9, 3.13)}, "log of exp"),
    "log * 0.7": ({"log_components": shrunk_log(0.7, 2.5)}, "exp of log"),
    "log as embedding": (
        {"embedding_components": lambda self, g: SO(3).log_components(g)},
        "embedding continuous",
    ),
    "quaternion as embedding": (
        {"embedding_components": lambda self, g: g},
        "one value for each element",
    ),
    "distance without the rotation scale": (
        {"squared_distance_components": lambda self, g, scale: one_scale(SO(3), g)},
        "distance by radians and lengths",
    ),
    "distance without rotations": (
        {"squared_distance_components": lambda self, g, scale: 0.0 * g[0]},
        "distance of others",
    ),
}  # fmt: skip


def first_broken(errors, bound):
    return next(
        (law for law, error in errors.items() if not np.max(error, initial=0.0) <= bound), None
    )


# The laws that the others break are broken above too.
@pytest.mark.parametrize(
    "name", some(PLANTS, "log * 0.9 near half-turns", "quaternion as embedding")
)
@pytest.mark.usefixtures("no_type_checks")
def test_wrong_rotations_are_named(name):
    """At the samples of check_group, in the order of its laws."""
    methods, law = PLANTS[name]
    group = broken(SO3, **methods)()
    errors = group_laws(group, *group_samples(group, jax.random.key(0), jnp.float64))
    assert first_broken(errors, tolerance(jnp.float64)) == law


class Circle(MatrixGroup):
    """SO(2) as matrices."""

    generators = (((0.0, -1.0), (1.0, 0.0)),)

    def log_components(self, g):
        return SO(2).log_components((g[0], g[2]))


def test_exp_of_a_matrix_group_is_that_of_its_generators():
    def error(group):
        g, _, _, algebra, small, _ = group_samples(group, jax.random.key(0), jnp.float64)
        return np.max(exponential_laws(group, g, algebra, small)["units of the algebra"])

    assert error(Circle()) <= tolerance(jnp.float64)
    halved = broken(Circle, exp_components=lambda self, a: Circle().exp_components((0.5 * a[0],)))
    assert error(halved()) == pytest.approx(0.5)


class DoubleCircle(Circle):
    """The same in units of two radians."""

    generators = (((0.0, -2.0), (2.0, 0.0)),)

    def log_components(self, g):
        return (0.5 * super().log_components(g)[0],)


@pytest.mark.slow
def test_a_part_of_another_group_keeps_its_own_units():
    group = Product((T(2), DoubleCircle()))
    errors = group_laws(group, *group_samples(group, jax.random.key(0), jnp.float64))
    assert first_broken(errors, tolerance(jnp.float64)) is None
    halved = broken(SE2, exp_components=lambda self, a: SE(2).exp_components((0.5 * a[0], *a[1:])))
    group = Product((halved(), DoubleCircle()))
    errors = group_laws(group, *group_samples(group, jax.random.key(0), jnp.float64))
    assert np.max(errors["units of the algebra"]) > NEGATIVE_CONTROL


@pytest.mark.slow
def test_groups_of_many_dimensions():
    """As many samples as it takes for a step along each, and a spread in every direction."""
    check_group(T(33), dtype=jnp.float64)


def by_the_cosine(self, g):
    """The logarithm that loses half of the digits near the identity."""
    sine_sq = g[1] ** 2 + g[2] ** 2 + g[3] ** 2
    is_zero = sine_sq < 1e-12
    sine = jnp.sqrt(jnp.where(is_zero, 1.0, sine_sq))
    angle = 2.0 * jnp.arccos(jnp.clip(jnp.where(is_zero, 0.0, g[0]), -1.0, 1.0))
    return tuple(jnp.where(is_zero, 2.0, angle / sine) * x for x in g[1:])


@pytest.mark.slow
@pytest.mark.usefixtures("no_type_checks")
def test_a_logarithm_that_is_wrong_for_small_rotations():
    group = broken(SO3, log_components=by_the_cosine)()
    errors = group_laws(group, *group_samples(group, jax.random.key(0), jnp.float32))
    assert np.max(errors["log of exp"]) > 5 * tolerance(jnp.float32)
    right = group_laws(SO(3), *group_samples(SO(3), jax.random.key(0), jnp.float32))
    assert np.max(right["log of exp"]) <= tolerance(jnp.float32)


@pytest.mark.usefixtures("no_type_checks")
def test_a_group_and_a_space_that_are_edited_are_measured_anew():
    """Their classes change in place, as when a module is loaded again, and they equal what was."""
    group_class, space_class = broken(SO2), broken(AffineSpace)
    check_group(group_class(), dtype=jnp.float64)
    check_space(space_class(T(2)), dtype=jnp.float64)
    group_class.exp_components = lambda self, a: SO(2).exp_components((2.0 * a[0],))
    group_class.log_components = lambda self, g: (0.5 * SO(2).log_components(g)[0],)
    space_class.pair_invariants = lambda self, pair: ()
    with pytest.raises(AssertionError, match="breaks the law 'units of the algebra'"):
        check_group(group_class(), dtype=jnp.float64)
    with pytest.raises(AssertionError, match="breaks the law 'rank of the pair invariants'"):
        check_space(space_class(T(2)), dtype=jnp.float64)


@pytest.mark.slow
@pytest.mark.parametrize(
    "stabilizer",
    [Product((O(3), O(3))), pytest.param(Product((SO(3),) * 5), marks=pytest.mark.slow)],
)
def test_elements_of_large_stabilizers_are_found_in_them(stabilizer):
    """Of several connected components, and of many dimensions; others are far from them."""
    factors = [E(3) if isinstance(f, Reflected) else SE(3) for f in stabilizer.factors]
    space = product_space(*map(euclidean, factors))
    inside = space.embed_stabilizer(stabilizer.sample(jax.random.key(1), (64,), jnp.float64))
    outside = space.group.sample(jax.random.key(2), (64,), jnp.float64)
    key = jax.random.key(0)
    assert np.max(distance_to_stabilizer(space, inside, key)) <= tolerance(jnp.float64)
    assert np.min(distance_to_stabilizer(space, outside, key)) > NEGATIVE_CONTROL


def uniform_axis_and_angle(self, key, shape=(), dtype=float):
    axis_key, angle_key = jax.random.split(key)
    axis = jax.random.normal(axis_key, (*shape, 3), dtype)
    angle = jax.random.uniform(angle_key, (*shape, 1), dtype, 0.0, jnp.pi)
    return SO(3).exp(angle * axis / jnp.linalg.norm(axis, axis=-1, keepdims=True))


def angles_between(low, high):
    def sample(self, key, shape=(), dtype=float):
        return SO(2).exp(jax.random.uniform(key, (*shape, 1), dtype, low, high))

    return sample


def eighths(self, key, shape=(), dtype=float):
    return SO(2).exp(jax.random.randint(key, (*shape, 1), 0, 8) * jnp.asarray(np.pi / 4, dtype))


def one_point(self, key, shape=(), dtype=float):
    return self.identity(shape, dtype)


def one_parity(self, key, shape=(), dtype=float):
    g = O(2).sample(key, shape, dtype)
    return g.at[..., -1].set(1.0)


def unturned(self, key, shape=(), dtype=float):
    return SE(2).sample_bounded(key, shape, dtype).at[..., 1].set(0.1).at[..., 0].set(0.99**0.5)


SAMPLERS = {
    "uniform axis and angle": (SO3, "sample", uniform_axis_and_angle, "sample is Haar"),
    "a quarter of the circle": (SO2, "sample", angles_between(0.0, np.pi / 2), "sample is Haar"),
    "nine tenths": (SO2, "sample", angles_between(-0.9 * np.pi, 0.9 * np.pi), "sample is Haar"),
    "a finite group": (SO2, "sample_bounded", eighths, "sample_bounded is Haar"),
    "one point": (SO2, "sample", one_point, "sample in every direction"),
    "one parity": (Reflected, "sample", one_parity, "sample of both parities"),
    "one direction": (SE2, "sample_bounded", unturned, "rotations of sample_bounded are Haar"),
}


# Each law is broken once; the others are of the first.
OF_OTHER_LAWS = [name for name in SAMPLERS if SAMPLERS[name][3] != "sample is Haar"]


@pytest.mark.parametrize("name", some(SAMPLERS, "nine tenths", *OF_OTHER_LAWS))
@pytest.mark.usefixtures("no_type_checks")
def test_wrong_samples_are_named(name):
    base, sampler, fault, law = SAMPLERS[name]
    arguments = (SO(2),) if base is Reflected else ()
    group = broken(base, **{sampler: fault})(*arguments)
    errors = sample_laws(group, jax.random.key(0), jnp.float64)
    assert np.max(errors[law]) > 2 * STANDARD_ERRORS


def test_right_samples():
    for group in (SO(2), SO(3), O(2), SE(2), T(1)):
        errors = sample_laws(group, jax.random.key(0), jnp.float64)
        assert first_broken(errors, STANDARD_ERRORS) is None


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
    few = (x[:2] for x in group_samples(SE(2), jax.random.key(0)))
    with pytest.raises(ValueError, match=r"g must have at least 3 elements for SE\(2\), got 2"):
        group_laws(SE(2), *few)
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


def the_identity(self, *arguments):
    return SO(3).identity(arguments[0].shape[:-1], arguments[0].dtype)


SPACE_FAULTS = {
    "points are of the space": (Sphere, {"domain_defect": lambda self, x: 0.0 * x[..., 0] + 1.0}),
    "what cannot be lifted is invariant": (Sphere, {"unliftable": lambda self, x: x[..., 0] > 0}),
    "exceptional orbits are stated": (RadialSpace, {"has_exceptional_orbits": False}),
    "dim H = dim G - dim orbit": (
        Sphere,
        {"stabilizer": Trivial(2), "embed_stabilizer": the_identity},
    ),
    "dimension of the embedded stabilizer": (Sphere, {"embed_stabilizer": the_identity}),
    "rank of the orbit invariants": (
        RadialSpace,
        {"orbit_invariants": lambda self, x: 0 * x[..., :1] + 1},
    ),
    "rank of the pair invariants": (
        Sphere,
        {"pair_invariants": lambda self, pair: (0 * pair[0],)},
    ),
    "action of a product": (Sphere, {"act": lambda self, g, x: x * g[..., :1] + g[..., 1:]}),
    "action of the identity": (Sphere, {"act": lambda self, g, x: SO(3).act(g, -x)}),
    "section of the origin": (Sphere, {"section": lambda self, x: Sphere(SO(3)).section(-x)}),
    "one origin for an orbit": (Sphere, {"section": turned_section}),
    "one orbit": (Sphere, {"section": turned_section}),
    "orbit invariants": (RadialSpace, {"orbit_invariants": lambda self, x: x[..., :1]}),
    "cocycle keeps the origin": (Sphere, {"section": turned_section}),
    "cocycle in the stabilizer": (Sphere, {"embed_stabilizer": about_the_first_axis}),
    "stabilizer keeps the origin": (Sphere, {"embed_stabilizer": about_the_first_axis}),
    "stabilizer of a product": (Sphere, {"embed_stabilizer": to_one_side}),
    "double coset": (Sphere, {"pair_invariants": lambda self, pair: pair}),
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


def kinds_of_space_laws(space):
    """Functions that measure the laws of a space, one for each kind of law."""
    x, y = space.sample_points(jax.random.key(0), (2, NUM), jnp.float64)
    u = space.group.sample(jax.random.key(1), (NUM,), jnp.float64)
    h = space.stabilizer.sample(jax.random.key(2), (2, NUM), jnp.float64)
    return (
        lambda: domain_laws(space, x, u),
        lambda: dimension_laws(space, x, y),
        lambda: stabilizer_laws(space, x, y, h[0], h[1]),
        lambda: section_laws(space, x, y, u, jax.random.key(3)),
        lambda: {"samples keep the origin": origin_errors(space, x, jax.random.key(3))},
        lambda: distance_laws(space, x, y, h[0], h[1]),
    )


LAWFUL = Sphere(SO(3)), RadialSpace(SO(3)), AffineSpace(SE(2))
"""Spaces that between them have every law."""


def test_every_law_of_a_space_has_a_fault():
    laws = kinds_by_law(kinds_of_space_laws, *LAWFUL)
    assert laws.keys() == SPACE_FAULTS.keys()


@pytest.mark.slow
def test_the_kinds_of_laws_of_a_space_are_all_of_its_laws():
    laws = kinds_by_law(kinds_of_space_laws, *LAWFUL)
    samples = (space_samples(space, jax.random.key(0), jnp.float64) for space in LAWFUL)
    pairs = zip(LAWFUL, samples, strict=True)
    found = [space_laws(space, *arrays, jax.random.key(1)) for space, arrays in pairs]
    assert laws.keys() == set().union(*found)


def test_reflections_that_a_stabilizer_leaves_out():
    """They keep the origin, and are not in the stabilizer that the space states."""

    def proper(self, h):
        return jnp.concatenate([Sphere(SO(3)).embed_stabilizer(h), jnp.ones_like(h[..., :1])], -1)

    space = broken(Sphere, stabilizer=SO(2), embed_stabilizer=proper)(O(3))
    samples = space_samples(space, jax.random.key(0), jnp.float64)
    found = space_laws(space, *samples, jax.random.key(1))
    assert first_broken(found, tolerance(jnp.float64)) == "cocycle in the stabilizer"


def at_the_center(self, key, point):
    return self.embed_stabilizer(self.stabilizer.sample(key, (), point.dtype))


@pytest.mark.usefixtures("no_type_checks")
def test_samples_of_stabilizers():
    def errors(space):
        point = jnp.asarray([0.3, 0.4, 0.5], jnp.float64)
        return stabilizer_sample_laws(space, point, jax.random.key(0), jnp.float64)

    laws = ["samples of the stabilizer are Haar", "samples at the exceptional origin are Haar"]
    found = errors(RadialSpace(SO(3)))
    assert list(found) == laws
    assert first_broken(found, STANDARD_ERRORS) is None
    still = broken(Sphere, sample_stabilizer=lambda self, key, x: SO(3).identity((), x.dtype))
    assert first_broken(errors(still(SO(3))), STANDARD_ERRORS) == laws[0]
    alike = broken(RadialSpace, sample_stabilizer=at_the_center)
    assert first_broken(errors(alike(SO(3))), STANDARD_ERRORS) == laws[1]


@pytest.mark.parametrize("law", SPACE_FAULTS)
@pytest.mark.usefixtures("no_type_checks")
def test_a_broken_space_is_caught(law):
    base, fault = SPACE_FAULTS[law]
    number = kinds_by_law(kinds_of_space_laws, *LAWFUL)[law]
    errors = kinds_of_space_laws(broken(base, **fault)(SO(3)))[number]()
    assert np.max(errors[law]) > NEGATIVE_CONTROL


def steep(self, pair, query, key):
    return jnp.arccos(jnp.clip(self.pair_invariants(pair)[0], -1.0, 1.0)) ** 2


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

"""Spheres, positions with orientations, groups, products and similarities: laws and facts."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.groups import SE, SO, E, O, Product, RxSO2, RxSO3, Sim, T, Trivial
from eqattn.groups.base import stack, unstack
from eqattn.groups.reflected import Reflected
from eqattn.laws import check_space, relative_error
from eqattn.lift import Haar, lift
from eqattn.spaces import (
    ProductSpace,
    TrivialSpace,
    euclidean,
    group_space,
    position_orientation,
    product_space,
    sphere,
)
from tests.grids import each_once, some
from tests.spaces.cases import MORE_SPACES, NUM, SPACES
from tests.tolerances import NEGATIVE_CONTROL, tolerance

EXACT = tolerance(jnp.float64)
POLES = np.concatenate([np.eye(3), -np.eye(3)])
SIGNS = Reflected(Trivial(1))


# One of each kind of space, and each kind of stabilizer, but for those that tests/test_laws.py
# measures: the laws themselves take the time.
QUICK = ("R2 Sim(2)", "R3 about an axis", "R2xS1 E(2)")


@pytest.mark.parametrize("name", some(MORE_SPACES, *QUICK))
def test_laws(name):
    check_space(MORE_SPACES[name], dtype=jnp.float64)


FLOAT32 = ["S2 SO(3)", "R3 O(3)", "R3xS2 SE(3)", "R2xS1 SE(2)"]


@pytest.mark.parametrize("name", some(FLOAT32, "R2xS1 SE(2)"))
def test_laws_in_float32(name):
    check_space(MORE_SPACES[name], dtype=jnp.float32)


FACTS = {  # stabilizer, num_orbit_invariants, section_is_normal, has_exceptional_orbits
    "R2 O(2)": (SIGNS, 1, True, True),
    "R3 O(3)": (O(2), 1, False, True),
    "R2 E(2)": (O(2), 0, True, False),
    "R3 E(3)": (O(3), 0, True, False),
    "R2 Sim(2)": (RxSO2(), 0, True, False),
    "R3 Sim(3)": (RxSO3(), 0, True, False),
    "R2 unmoved": (Trivial(2), 2, True, False),
    "R3 about an axis": (Product((Trivial(2), Trivial(1))), 2, True, True),
    "R3 upright": (Product((SO(2), Trivial(1))), 0, True, False),
    "S1 O(2)": (SIGNS, 0, True, False),
    "S2 SO(3)": (SO(2), 0, False, False),
    "S2 O(3)": (O(2), 0, False, False),
    "R2xS1 SE(2)": (Trivial(2), 0, True, False),
    "R2xS1 E(2)": (SIGNS, 0, True, False),
    "R3xS2 SE(3)": (SO(2), 0, False, False),
    "R3xS2 E(3)": (O(2), 0, False, False),
    "SE(2) itself": (Trivial(2), 0, True, False),
    "Sim(3) itself": (Trivial(3), 0, True, False),
    "S2xR2": (Product((SO(2), SO(2))), 0, False, False),
}
DIMENSIONS = {  # of points and of vectors, where they differ
    "R2xS1 SE(2)": (4, 2),
    "R2xS1 E(2)": (4, 2),
    "R3xS2 SE(3)": (6, 3),
    "R3xS2 E(3)": (6, 3),
    "SE(2) itself": (4, 2),
    "Sim(3) itself": (8, 3),
}


@pytest.mark.parametrize("name", MORE_SPACES)
def test_declarations(name):
    space = MORE_SPACES[name]
    found = space.stabilizer, space.num_orbit_invariants, space.section_is_normal
    assert (*found, space.has_exceptional_orbits) == FACTS[name]
    draws = space.stabilizer.element_dim > 0 or space.has_exceptional_orbits
    assert space.draws_samples == draws
    assert len(space.origin()) == space.point_dim
    if name in DIMENSIONS:
        assert (space.point_dim, space.vector_dim) == DIMENSIONS[name]
    else:
        assert space.point_dim == space.vector_dim
    assert space.vector_dim == space.group.point_dim
    assert hash(space) == hash(
        type(space)(*(getattr(space, f) for f in space.__dataclass_fields__))
    )


def generic_rank(fn, x):
    return np.linalg.matrix_rank(
        np.asarray(jax.jit(jax.jacfwd(fn))(x)).reshape(-1, len(x)), tol=1e-8
    )


RANKS = {
    "SE(3)": 1, "SO(3)": 3, "R3 Sim(3)": 0, "R3 upright": 2, "S2 SO(3)": 1, "S2 O(3)": 1,
    "R2xS1 SE(2)": 3, "R2xS1 E(2)": 3, "R3xS2 SE(3)": 4, "R3xS2 E(3)": 4, "S2xR2": 2,
}  # fmt: skip


@pytest.mark.parametrize("name", some(RANKS, "SO(3)", "R3 upright", "R2xS1 E(2)", "S2xR2"))
def test_invariants_tell_generic_pairs_apart(name):
    """Rank of the invariants: 2 dim X - dim G + dim(stabilizer of a generic pair)."""
    space = SPACES.get(name) or MORE_SPACES[name]
    group, size = space.group, space.point_dim
    x = space.sample_points(jax.random.key(1), (2,), jnp.float64).reshape(-1)

    def invariants(x):
        x, y = x[:size], x[size:]
        pair = space.pair(unstack(space.section(x)), unstack(space.section(y)))
        coordinates = stack(space.pair_invariants(pair), (), x.dtype)
        return jnp.concatenate([coordinates, space.orbit_invariants(x), space.orbit_invariants(y)])

    def orbit(a):
        return space.act(group.exp(a), x.reshape(2, size))

    dim = group.algebra_dim - space.stabilizer_dim + space.num_orbit_invariants
    expected = 2 * dim - generic_rank(orbit, jnp.zeros(group.algebra_dim))
    assert generic_rank(invariants, x) == expected == RANKS[name]


def near_poles(dtype):
    """Unit vectors at the poles of every axis, within 1e-7 of them, and others: [NUM 3]."""
    rng = np.random.default_rng(0)
    rest = rng.normal(size=(NUM, 3))
    x = np.concatenate([POLES, POLES + 1e-7, POLES - 1e-7, rest])[:NUM]
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(dtype)


@pytest.mark.parametrize(
    ("group", "dtype"),
    each_once(
        [O(3), SO(3)], [jnp.float64, jnp.float32], ids=lambda x: getattr(x, "__name__", str(x))
    ),
)
def test_section_of_the_sphere_at_the_poles(group, dtype):
    """Takes the origin to the point, with finite derivatives, and so have the distances."""
    space, x = sphere(group), near_poles(dtype)
    y = np.roll(x, 3, axis=0)  # opposite points among them

    def section_and_distance(x, y):
        g, h = space.section(x), space.section(y)
        pair = space.pair(unstack(g), unstack(h))
        squared = space.squared_distance_components(pair, (), ())
        return g, squared, space.pair_invariants(pair)

    @jax.jit
    def run(x, y):
        ones = lambda tree: jax.tree.map(lambda z: jnp.full_like(z, 0.7), tree)
        value, forward = jax.jvp(section_and_distance, (x, y), ones((x, y)))
        reverse = lambda *z: jax.vjp(section_and_distance, *z)[1](ones(value))
        moved = space.act(space.section(x), jnp.asarray(space.origin(), dtype))
        return moved, value, forward, *jax.jvp(reverse, (x, y), ones((x, y)))

    moved, value, *derivatives = jax.tree.map(np.asarray, run(x, y))
    assert moved.dtype == dtype
    assert np.max(relative_error(moved, x)) <= tolerance(dtype)
    chex.assert_tree_all_finite((value, *derivatives))
    cosine = np.sum(np.asarray(x, np.float64) * np.asarray(y), -1).clip(-1, 1)
    sine = np.linalg.norm(np.cross(np.asarray(x, np.float64), y), axis=-1)
    np.testing.assert_allclose(
        np.sqrt(value[1]), np.arctan2(sine, cosine), atol=3 * tolerance(dtype)
    )
    np.testing.assert_allclose(value[2][0], cosine, atol=tolerance(dtype))


def test_reflections_that_keep_the_pole():
    """O(2) in O(3): rotations about the last axis, and mirror planes through it."""
    space = sphere(O(3))

    @jax.jit
    def run(key):
        keys = jax.random.split(key, 4097)
        h = O(2).sample(keys[0], (64,), jnp.float64)
        samples = jax.vmap(space.sample_stabilizer)(keys[1:], jnp.zeros((4096, 3)))
        embedded = O(3).linear_matrix(space.embed_stabilizer(h))
        means = jnp.mean(O(3).linear_matrix(samples), 0), jnp.mean(O(3).determinant(samples))
        return O(2).linear_matrix(h), embedded, means

    turns, embedded, (mean, determinant) = run(jax.random.key(0))
    exact = np.zeros((64, 3, 3))
    exact[:, :2, :2], exact[:, 2, 2] = turns, 1.0
    np.testing.assert_allclose(embedded, exact, atol=1e-14)
    assert np.abs(mean - np.diag([0.0, 0.0, 1.0])).max() <= 4.5 / 64
    assert abs(float(determinant)) <= 4.5 / 64


def test_the_origin_of_space_is_kept_by_all_of_o3():
    space = euclidean(O(3))

    @jax.jit
    def means(point):
        keys = jax.random.split(jax.random.key(1), 2048)
        samples = jax.vmap(space.sample_stabilizer, (0, None))(keys, point)
        return jnp.mean(O(3).linear_matrix(samples), 0), jnp.mean(O(3).determinant(samples))

    for point, expected in (([0.0, 0.0, 0.0], 0.0), ([0.0, 0.0, 2.0], 1.0)):
        matrix, determinant = map(np.asarray, means(np.array(point)))
        assert abs(matrix[2, 2] - expected) <= 4.5 / np.sqrt(2048)
        assert abs(determinant) <= 4.5 / np.sqrt(2048)


@pytest.mark.parametrize("group", [SE(3), E(3)], ids=str)
def test_invariants_of_positions_and_orientations(group):
    """n_i·d, n_j·d, n_i·n_j, |d|², and the determinant where there are no reflections."""
    space = position_orientation(group)
    mirror = np.array([1.0, 1.0, -1.0, 1.0, 1.0, -1.0])

    @jax.jit
    def run(key):
        def coordinates(points):
            return space.pair_coordinates(*map(space.section, points), "invariants")

        points = space.sample_points(key, (2, NUM), jnp.float64)
        pair = space.pair(*(unstack(space.section(p)) for p in points))
        distance = space.base_distance_components(pair, (), ())
        return points, distance, coordinates(points), coordinates(mirror * points)

    points, distance, found, mirrored = map(np.asarray, run(jax.random.key(0)))
    (x, n), (y, m) = (np.split(p, 2, axis=-1) for p in points)
    d = y - x
    dot = lambda a, b: np.sum(a * b, axis=-1)
    expected = [dot(n, d), dot(m, d), dot(n, m), dot(d, d)]
    if group == SE(3):
        expected.append(np.linalg.det(np.stack([d, n, m], axis=-1)))
    np.testing.assert_allclose(found, np.stack(expected, -1), atol=1e-12)
    np.testing.assert_allclose(distance, np.hypot(np.sqrt(dot(d, d)), np.arccos(dot(n, m))))
    # A reflection keeps the four and changes the sign of the fifth.
    np.testing.assert_allclose(mirrored[:, :4], found[:, :4], atol=1e-12)
    if group == SE(3):
        np.testing.assert_allclose(mirrored[:, 4], -found[:, 4], atol=1e-12)


def test_orientations_turn_and_do_not_move():
    space = position_orientation(E(2))
    quarter_turn_mirrored = jnp.asarray([0.0, 1.0, 5.0, 6.0, -1.0])
    point = jnp.asarray([1.0, 2.0, 0.6, 0.8])
    np.testing.assert_allclose(space.act(quarter_turn_mirrored, point), [7.0, 7.0, 0.8, 0.6])


def test_a_group_lifts_to_itself():
    """Nothing is drawn, and the elements are the points: scale and orientation are data."""
    space = group_space(Sim(3))

    @jax.jit
    def run(key):
        points = space.sample_points(key, (2, 5), jnp.float64)
        lifted, moved = (
            lift(space, x, jnp.ones((2, 5, 1)), lift=Haar(1)).elements[:, :, 0]
            for x in (points, space.act(points[0, 0], points))
        )
        return (lifted, points), (moved, Sim(3).compose(points[0, 0], points))

    for found, expected in run(jax.random.key(0)):
        np.testing.assert_array_equal(found, expected)


def test_products_lie_side_by_side():
    sides = sphere(SO(3)), euclidean(SO(2)), euclidean(RxSO2())
    space = product_space(*sides)
    assert space == ProductSpace(sides)

    @jax.jit
    def run(key):
        x, y = space.sample_points(key, (2, NUM), jnp.float64)
        parts = [x[:, :3], x[:, 3:5], x[:, 5:]]
        section = jnp.concatenate([s.section(p) for s, p in zip(sides, parts, strict=True)], -1)
        pair = space.pair(unstack(space.section(x)), unstack(space.section(y)))
        orbits = unstack(space.orbit_invariants(x)), unstack(space.orbit_invariants(y))
        squares = [
            s.squared_distance_components(p, *o)
            for s, p, o in zip(
                sides, (pair[:4], pair[4:6], pair[6:]), (((), ()), orbits, ((), ())), strict=True
            )
        ]
        return (
            (space.section(x), section),
            (space.orbit_invariants(x), sides[1].orbit_invariants(parts[1])),
            (space.base_distance_components(pair, *orbits) ** 2, sum(squares)),
            space.unliftable(x[:2].at[1, 5:].set(0.0)),
        )

    sections, invariants, distances, unliftable = run(jax.random.key(0))
    np.testing.assert_array_equal(*sections)
    np.testing.assert_array_equal(*invariants)
    np.testing.assert_allclose(*distances, rtol=1e-12)
    np.testing.assert_array_equal(unliftable, [False, True])
    assert space.has_exceptional_orbits
    assert space.draws_samples
    assert not product_space(euclidean(T(2)), group_space(SO(3))).draws_samples


@pytest.mark.parametrize("name", ["R3 about an axis", "R3 upright", "R2 unmoved"])
def test_distances_are_euclidean_in_products_too(name):
    space = MORE_SPACES[name]

    @jax.jit
    def run(key):
        x, y = space.sample_points(key, (2, NUM), jnp.float64)
        pair = space.pair(unstack(space.section(x)), unstack(space.section(y)))
        orbits = unstack(space.orbit_invariants(x)), unstack(space.orbit_invariants(y))
        return space.base_distance_components(pair, *orbits), x - y

    distance, difference = run(jax.random.key(0))
    np.testing.assert_allclose(distance, np.linalg.norm(difference, axis=-1), rtol=1e-12)


@pytest.mark.parametrize("n", [2, 3])
def test_distances_under_similarities_are_in_units_of_the_scale(n):
    """Left-invariant for elements, and symmetric; no number is invariant for points."""
    space = euclidean(Sim(n))
    distance = lambda g, h: space.base_distance_components(
        space.pair(unstack(g), unstack(h)), (), ()
    )

    @jax.jit
    def run(key):
        g, h, u = Sim(n).sample_bounded(key, (3, NUM), jnp.float64)
        moved = distance(Sim(n).compose(u, g), Sim(n).compose(u, h))
        log_scale = Sim(n).log_scale(g) + Sim(n).log_scale(h)
        return distance(g, h), moved, distance(h, g), g - h, log_scale

    found, moved, back, difference, log_scale = map(np.asarray, run(jax.random.key(0)))
    np.testing.assert_allclose(moved, found, rtol=1e-12)
    np.testing.assert_allclose(back, found, rtol=1e-12)
    apart = np.linalg.norm(difference[:, -n:], axis=-1)
    np.testing.assert_allclose(found, apart / np.exp(0.5 * log_scale), rtol=1e-12)
    assert space.num_coordinates("invariants") == 0


def test_stabilizers_that_are_not_compact_are_not_sampled():
    points = jnp.ones((4, 3))
    advice = r"; use Frames\(\), or give each point its scale and orientation as data"
    drawn = (
        r"the stabilizer RxSO3\(\) of .*Sim\(3\).* is not compact and has no Haar samples" + advice
    )
    lifted = r"Haar needs a compact stabilizer, that of .*Sim\(3\).* is .*RxSO3\(\).*" + advice
    for space, data in (
        (euclidean(Sim(3)), points),
        (product_space(euclidean(T(1)), euclidean(Sim(3))), jnp.ones((4, 4))),
    ):
        with pytest.raises(ValueError, match=drawn):
            space.sample_stabilizer(jax.random.key(0), data[0])
        with pytest.raises(ValueError, match=lifted):
            lift(space, data, points, key=jax.random.key(0), lift=Haar(1))


def test_logarithms_of_pairs_carry_the_parity():
    """Negative control: without it, an element and its mirror image have one logarithm."""
    space = euclidean(E(3))

    @jax.jit
    def run(key):
        g = E(3).sample(key, (NUM,), jnp.float64)
        identity = E(3).identity((NUM,), jnp.float64)
        both = (g.at[:, -1].set(parity) for parity in (1.0, -1.0))
        return [space.pair_coordinates(identity, x, "log") for x in both]

    here, there = map(np.asarray, run(jax.random.key(0)))
    assert here.shape == (NUM, 7)
    assert space.num_coordinates("log") == 7
    np.testing.assert_array_equal(here[:, :-1], there[:, :-1])
    assert np.min(np.abs(here - there).max(-1)) > NEGATIVE_CONTROL


@pytest.mark.parametrize(
    ("construct", "message"),
    [
        (lambda: sphere(SE(3)), r"group of Sphere must be SO\(n\) or O\(n\), got SE\(3\)"),
        (lambda: position_orientation(SO(3)), r"group of PositionOrientation .*, got SO\(3\)"),
        (lambda: product_space(), r"factors must be a non-empty tuple of spaces, got \(\)"),
        (lambda: product_space(T(1)), r"factors must be a non-empty tuple of spaces, got .*T"),
        (lambda: TrivialSpace(T(1)), r"group of TrivialSpace must be Trivial\(n\), got T"),
        (lambda: O(3).split(()), r"O\(3\) has no translations to split off"),
        (lambda: O(2).join((), ()), r"O\(2\) has no translations to split off"),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_bad_spaces_raise(construct, message):
    with pytest.raises(ValueError, match=message):
        construct()


@pytest.mark.parametrize("name", MORE_SPACES)
@pytest.mark.usefixtures("no_type_checks")
def test_wrong_points_raise(name):
    space = MORE_SPACES[name]
    wrong = jnp.zeros((5, space.point_dim + 1))
    message = rf"points of .* must have a last axis of size {space.point_dim}, got shape"
    for method in (space.section, space.orbit_invariants, space.check_points):
        with pytest.raises(ValueError, match=message):
            method(wrong)


@pytest.mark.parametrize("name", ["S2 SO(3)", "R3xS2 SE(3)"])
def test_vectors_without_a_direction_are_not_lifted(name):
    space = MORE_SPACES[name]
    points = jnp.zeros((1, 2, space.point_dim)).at[:, 0, -1].set(1.0)
    with pytest.raises(ValueError, match=r"points has 1 valid points at 0 in .*no direction"):
        lift(space, points, jnp.ones((1, 2, 1)), key=jax.random.key(0))
    lifted = jax.jit(lambda x: lift(space, x, jnp.ones((1, 2, 1)), key=jax.random.key(0)))(points)
    np.testing.assert_array_equal(lifted.mask, [[True, False]])


def test_pairs_of_other_elements_are_refused(no_type_checks):
    space = SPACES["T(3)"]
    with pytest.raises(ValueError, match=r"key must have a last axis of size 3.*shape \(2, 4\)"):
        space.pair_coordinates(jnp.ones((2, 3)), jnp.ones((2, 4)))

"""Sections, orbits, and the cocycle section(ux)⁻¹ u section(x) that decides about sharing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.groups import SE, SO, Product, RxSO2, RxSO3
from eqattn.spaces import (
    EXCEPTIONAL_RADIUS,
    AffineSpace,
    PuncturedPlane,
    RadialSpace,
    euclidean,
)
from tests.grids import some
from tests.groups.cases import relative_error
from tests.spaces.cases import NUM, SPACES, elements, hard_points, points
from tests.tolerances import NEGATIVE_CONTROL, tolerance

every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
every_dtype = pytest.mark.parametrize(
    "dtype", some([jnp.float64, jnp.float32], jnp.float64, ids=lambda d: d.__name__)
)


def liftable(space, x):
    return x[~np.asarray(space.unliftable(x))]


def orbit_origin(space, x):
    """The origin of the orbit of each point."""
    radius = space.orbit_invariants(x) if space.num_orbit_invariants else 1.0
    return radius * jnp.asarray(space.origin(), x.dtype) * jnp.ones_like(x)


@every_dtype
@every_space
def test_section_takes_the_origin_of_the_orbit_to_the_point(space, dtype):
    x = liftable(space, hard_points(space, dtype))
    g = space.section(x)
    assert g.dtype == dtype
    moved = space.group.act(g, orbit_origin(space, x))
    # Points within the exceptional radius count as the origin.
    bound = np.where(np.linalg.norm(x, axis=-1) <= EXCEPTIONAL_RADIUS, EXCEPTIONAL_RADIUS, 0.0)
    assert np.all(relative_error(moved, x) <= bound + tolerance(dtype))
    matrix = np.asarray(space.group.linear_matrix(g), np.float64)
    assert np.abs(matrix @ np.swapaxes(matrix, 1, 2) - np.eye(space.point_dim)).max() <= tolerance(
        dtype
    )


@every_space
def test_section_of_the_origin_is_the_identity(space):
    origin = jnp.asarray(space.origin())
    np.testing.assert_array_equal(space.section(origin), space.group.identity())
    assert len(space.origin()) == space.point_dim


# Sections of translations are linear: one dtype will do.
CURVED = [SPACES[name] for name in ("SO(2)", "SO(3)", "RxSO2")]


@pytest.mark.parametrize(
    ("space", "dtype"),
    [
        *((s, jnp.float64) for s in SPACES.values()),
        *(pytest.param(s, jnp.float32, marks=pytest.mark.slow) for s in CURVED),
    ],
    ids=lambda x: str(x),
)
def test_derivatives_of_section_and_invariants_are_finite(space, dtype):
    """At the origin, at both poles, and within 1e-7 of them; and for any radius."""
    x = hard_points(space, dtype)

    @jax.jit
    @jax.vmap
    def derivatives(x):
        def both(y):
            return jnp.concatenate([space.section(y), space.orbit_invariants(y)])

        return both(x), jax.jacfwd(both)(x), jax.jacrev(both)(x), jax.jacfwd(jax.jacrev(both))(x)

    for result in derivatives(x):
        assert np.all(np.isfinite(result))
    if dtype == jnp.float64:
        generic = np.array(points(space))
        generic[:, -1] += 0.05
        step = np.random.default_rng(0).normal(size=generic.shape)
        ahead, behind = (derivatives(jnp.asarray(generic + s * 1e-5 * step)) for s in (1, -1))
        _, forward, reverse, second = map(np.asarray, derivatives(jnp.asarray(generic)))
        np.testing.assert_allclose(forward, reverse, atol=1e-12)
        for exact, index in ((forward, 0), (second, 2)):
            slope = np.sum(exact * step.reshape(NUM, *(1,) * (exact.ndim - 2), -1), axis=-1)
            differences = (np.asarray(ahead[index]) - np.asarray(behind[index])) / 2e-5
            error = np.max(relative_error(slope, differences))
            assert error <= tolerance(dtype, "finite_difference")


def cocycle(space, u, x):
    """section(ux)⁻¹ u section(x)."""
    compose, inverse = space.group.compose, space.group.inverse
    moved = compose(u, space.section(x))
    return compose(inverse(space.section(space.group.act(u, x))), moved)


@every_space
def test_cocycle_is_in_the_stabilizer(space):
    x = points(space)
    c = cocycle(space, elements(space), x)
    origins = orbit_origin(space, x)
    assert np.max(relative_error(space.group.act(c, origins), origins)) <= tolerance(x.dtype)
    if space.stabilizer_dim == 0:
        identity = space.group.matrix(space.group.identity((NUM,)))
        assert np.max(relative_error(space.group.matrix(c), identity)) <= tolerance(x.dtype)


@every_space
def test_cocycle_depends_on_the_point_unless_the_section_is_normal(space):
    u = jnp.broadcast_to(elements(space)[:1], (NUM, space.group.element_dim))
    matrices = np.asarray(space.group.matrix(cocycle(space, u, points(space))))
    spread = np.abs(matrices - matrices[0]).max()
    if space.section_is_normal:
        assert spread <= tolerance(jnp.float64)
    else:
        assert spread > NEGATIVE_CONTROL


@every_space
def test_orbit_invariants_are_invariant(space):
    x = points(space)
    invariants = space.orbit_invariants(x)
    assert invariants.shape == (NUM, space.num_orbit_invariants)
    moved = space.orbit_invariants(space.group.act(elements(space), x))
    np.testing.assert_allclose(moved, invariants, atol=tolerance(jnp.float64))
    if space.num_orbit_invariants:
        np.testing.assert_allclose(invariants[:, 0], np.linalg.norm(x, axis=-1), rtol=1e-14)
        assert float(space.orbit_invariants(0.0 * x[0])[0]) == 0.0


@every_space
def test_spaces_are_static_arguments(space):
    traces = []

    @functools.partial(jax.jit, static_argnums=0)
    def section(space, x):
        traces.append(space)
        return space.section(x)

    x = points(space)
    again = euclidean(space.group)
    assert again == space
    assert hash(again) == hash(space)
    np.testing.assert_allclose(section(space, x), section(again, x))
    assert len(traces) == 1
    over_points = jax.vmap(space.section)(x.reshape(4, 8, -1))
    np.testing.assert_allclose(over_points.reshape(NUM, -1), space.section(x), atol=1e-15)
    shape = jax.eval_shape(space.section, jax.ShapeDtypeStruct((2, 3, x.shape[-1]), jnp.bfloat16))
    assert shape.shape == (2, 3, space.group.element_dim)
    assert shape.dtype == jnp.float32


FACTS = {  # stabilizer_dim, num_orbit_invariants, section_is_normal, has_exceptional_orbits
    "T(1)": (0, 0, True, False),
    "T(3)": (0, 0, True, False),
    "SO(2)": (0, 1, True, True),
    "SO(3)": (1, 1, False, True),
    "SE(2)": (1, 0, True, False),
    "SE(3)": (3, 0, True, False),
    "RxSO2": (0, 0, True, True),
}


@pytest.mark.parametrize("name", FACTS)
def test_declarations(name):
    space = SPACES[name]
    found = space.stabilizer_dim, space.num_orbit_invariants, space.section_is_normal
    assert (*found, space.has_exceptional_orbits) == FACTS[name]
    unliftable = space.unliftable(jnp.asarray([[0.0] * space.point_dim, [1.0] * space.point_dim]))
    assert unliftable.tolist() == [name == "RxSO2", False]


@pytest.mark.usefixtures("no_type_checks")
def test_bad_spaces_raise():
    for group in (RxSO3(), Product((SO(2), RxSO3())), "SE(3)"):
        with pytest.raises(ValueError, match=r"group must be T\(n\), SE\(n\), .*, got"):
            euclidean(group)
    with pytest.raises(ValueError, match=r"group of AffineSpace must be .* Sim\(n\), got SO\(3\)"):
        AffineSpace(SO(3))
    with pytest.raises(
        ValueError, match=r"group of RadialSpace must be SO\(n\) or O.*, got SE\(3\)"
    ):
        RadialSpace(SE(3))
    assert PuncturedPlane().group == RxSO2()


@every_space
@pytest.mark.usefixtures("no_type_checks")
def test_wrong_points_raise(space):
    size = space.point_dim
    message = rf"points of .* must have a last axis of size {size}, got shape \(5, {size + 1}\)"
    for method in (space.section, space.orbit_invariants, space.check_points):
        with pytest.raises(ValueError, match=message):
            method(jnp.zeros((5, size + 1)))
    with pytest.raises(ValueError, match=r"points of .* got shape \(\)"):
        space.check_points(jnp.zeros(()))

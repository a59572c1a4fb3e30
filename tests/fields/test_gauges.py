"""Fields in a gauge, on the sphere: winds by their eastward and northward components."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.fields import FieldType, east_north, gauge
from eqattn.fields.action import GroupAction
from eqattn.groups import SO
from eqattn.lift import Haar, lift, project
from tests.compiled import compiled
from tests.grids import some
from tests.spaces.cases import MORE_SPACES, elements, points
from tests.tolerances import NEGATIVE_CONTROL, tolerance

LONGITUDE, LATITUDE = np.random.default_rng(75).uniform(-1, 1, (2, 32)) * [[np.pi], [1.5]]


def sphere(longitude, latitude):
    x = np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude)
    return jnp.asarray(np.stack([*x, np.sin(latitude)], -1))


def test_east_and_north():
    frames = np.asarray(SO(3).matrix(east_north(sphere(LONGITUDE, LATITUDE))))
    east = np.stack([-np.sin(LONGITUDE), np.cos(LONGITUDE), 0 * LONGITUDE], -1)
    north = np.cross(sphere(LONGITUDE, LATITUDE), east)
    for column, axis in enumerate((east, north, sphere(LONGITUDE, LATITUDE))):
        np.testing.assert_allclose(frames[:, :, column], axis, atol=1e-14)


def test_east_and_north_are_finite_at_the_poles():
    poles = jnp.array([[0.0, 0, 1], [0, 0, -1], [1e-7, 0, 1], [0, 1e-7, -1], [-1, 0, 0]])
    second = jax.jit(jax.vmap(jax.hessian(lambda x: jnp.sum(east_north(x) ** 3))))
    for dtype in (jnp.float32, jnp.float64):
        assert np.all(np.isfinite(second(poles.astype(dtype))))
    moved = SO(3).act(east_north(poles), jnp.array([0.0, 0, 1]))
    np.testing.assert_allclose(moved, poles, atol=tolerance(jnp.float64))


lift, project = compiled(lift), compiled(project)
SPACE = MORE_SPACES["S2 SO(3)"]
WINDS = gauge("vector", east_north)


def test_winds_turn_as_tangent_vectors_do():
    """East and north components, moved in their gauge, are the moved vector's components there."""
    x = sphere(LONGITUDE, LATITUDE)
    u, f = elements(SPACE), jnp.asarray(np.random.default_rng(76).normal(size=(32, 2)))
    moved = jax.jit(SPACE.act)(u, x)
    frames = jax.jit(lambda x: SO(3).matrix(east_north(x))[..., :2])
    matrices = np.asarray(jax.jit(SPACE.group.linear_matrix)(u))
    vectors = np.einsum("bij,bj->bi", frames(x), f)
    turned = np.einsum("bij,bj->bi", matrices, vectors)
    found = compiled(WINDS.transform)(SPACE, u, f, points=x)
    expected = np.einsum("bij,bi->bj", frames(moved), turned)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    wrong = compiled(gauge("vector").transform)(
        SPACE, u, f, points=x
    )  # negative control: another gauge
    assert np.abs(wrong - expected).max() > NEGATIVE_CONTROL


@pytest.mark.parametrize("field", some([WINDS, gauge("irrep(2)")], WINDS, ids=str))
def test_cocycle(field):
    """c(gh, x) = c(g, hx) c(h, x), in the stabilizer; on the sphere it depends on x."""
    x, g, h = sphere(LONGITUDE, LATITUDE), elements(SPACE, 1), elements(SPACE, 2)
    f = jnp.asarray(np.random.default_rng(77).normal(size=(32, 2)))

    @jax.jit
    def program(x, g, h, f):
        image, turn = SPACE.act(h, x), functools.partial(field.transform, SPACE)
        once = turn(h, f, points=x)
        return {
            "both": turn(SPACE.group.compose(g, h), f, points=x),
            "once": once,
            "twice": turn(g, once, points=image),
            "back": turn(h, once, points=x, inverse=True),
            "known": turn(h, f, points=x, images=image),
            "at origin": turn(h, f),
        }

    found = program(x, g, h, f)
    np.testing.assert_allclose(found["twice"], found["both"], atol=1e-12)
    np.testing.assert_allclose(found["back"], f, atol=1e-12)
    np.testing.assert_allclose(found["known"], found["once"], atol=1e-15)
    assert np.abs(found["at origin"] - found["once"]).max() > NEGATIVE_CONTROL


def test_the_cocycle_lies_in_the_stabilizer():
    x, u = sphere(LONGITUDE, LATITUDE), elements(SPACE)
    origin = jnp.asarray(SPACE.origin())
    for section in (None, east_north):
        c = GroupAction(SPACE, u, points=x).in_gauge(section).element
        np.testing.assert_allclose(SPACE.act(c, origin), origin + jnp.zeros((32, 3)), atol=1e-13)
    plane = MORE_SPACES["R2 E(2)"]
    c = GroupAction(plane, elements(plane), points=points(plane)).in_gauge(None).element
    again = GroupAction(plane, elements(plane), points=points(plane)[::-1]).in_gauge(None).element
    np.testing.assert_allclose(c, again, atol=1e-14)  # normal section: no dependence on x


def test_seams_do_not_matter_where_points_are_known():
    """On the equator the section jumps; the rounding of lifted points falls on either side."""
    equator = sphere(LONGITUDE, 0 * LATITUDE).at[:, 2].set(0.0)[None]
    winds = gauge("vector")
    f = jnp.ones((1, 32, 2))

    @jax.jit
    def compute(x, f):
        lifted = lift(SPACE, x, f, key=jax.random.key(0), lift=Haar(4), field=winds)
        # The second is the negative control: points from rounded elements.
        return project(SPACE, lifted, winds, points=x), project(SPACE, lifted, winds)

    out, unknown = compute(equator, f)
    np.testing.assert_allclose(out, f, atol=1e-12)
    assert np.abs(unknown - f).max() > NEGATIVE_CONTROL


def test_one_element_and_one_value_go_with_many_points():
    """Each argument may have axes of size 1 where another has more."""
    x = points(SPACE)[:15].reshape(3, 5, 3)
    g = elements(SPACE)[:3, None]
    for field in (FieldType.parse("gauge(vector)"), FieldType.parse("scalar + gauge(vector)")):
        f = jnp.asarray(np.random.default_rng(2).normal(size=(1, 1, field.size(SPACE))))
        turn = jax.jit(lambda g, f, field=field: field.transform(SPACE, g, f, points=x))
        every = turn(*(np.broadcast_to(z, (3, 5, z.shape[-1])) for z in (g, f)))
        np.testing.assert_allclose(turn(g, f), every, atol=1e-15)


@pytest.mark.parametrize(
    ("section", "space", "message"),
    [
        (3, "S2 SO(3)", "section of a gauge must be a function of points, got 3"),
        (east_north, "S2 O(3)", r"section east_north of a gauge is none of sphere.*shape \(8, 4\)"),
        (lambda x: jnp.eye(4)[:1] + 0 * x[..., :1], "S2 SO(3)", "must take the origin of sphere"),
    ],
)
def test_sections_that_are_none(no_type_checks, section, space, message):
    with pytest.raises(ValueError, match=message):
        gauge("vector", section).check(MORE_SPACES[space])

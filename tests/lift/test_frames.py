"""Frames of principal axes: on which inputs they are exact, and what happens on the others."""

import functools
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from eqattn.fields import vectors
from eqattn.groups import SO
from eqattn.lift import Frames, lift, project
from eqattn.lift.frames import principal_axes, rotation_element
from tests.grids import some
from tests.spaces.cases import SPACES
from tests.tolerances import tolerance

KEY = jax.random.key(90)
_THIRD = np.pi / 3
CLOUDS = {
    "tetrahedron": [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]],
    "benzene": [[np.cos(k * _THIRD), np.sin(k * _THIRD), 0.0] for k in range(6)],
    "collinear": [[0.0, 0.0, 1.0], [0.0, 0.0, 2.0], [0.0, 0.0, 4.0]],
    "one point": [[0.3, 0.4, 0.5]],
    "generic": [[0.1, 0.2, 0.9], [-1.3, 0.2, 0.1], [0.4, 0.7, 0.2], [0.1, -0.5, -0.3]],
    "water": [[0.0, 0.0, 0.12], [0.0, 0.76, -0.47], [0.0, -0.76, -0.47]],
}
SEPARATED = ("generic", "water")


@functools.partial(jax.jit, static_argnums=0)
def lifted(space, x, key=KEY, mask=None, weights=None):
    return lift(space, x, x, mask, key=key, lift=Frames(), field=vectors(), log_weights=weights)


@functools.partial(jax.jit, static_argnums=0)
def act(space, u, x):
    return space.act(u, x)


@functools.partial(jax.jit, static_argnums=0)
def compose(space, g, h):
    return space.group.compose(g, h)


@functools.partial(jax.jit, static_argnums=0)
def matrix(space, g):
    return space.group.matrix(g)


def padded(name, dim=3):
    x = np.zeros((6, dim))
    cloud = np.asarray(CLOUDS[name])[:, :dim]
    x[: len(cloud)] = cloud
    return jnp.asarray(x), jnp.asarray(np.arange(6) < len(cloud))


def as_set(matrices):
    """Matrices [S D D] in an order that does not depend on their own."""
    flat = np.asarray(matrices).reshape(len(matrices), -1).round(7) + 0.0
    return flat[np.lexsort(flat.T)]


@pytest.mark.parametrize("name", some(CLOUDS, "tetrahedron", "collinear", "generic"))
def test_axes_of_known_clouds(name):
    """Flagged and drawn where eigenvalues are within 0.05 of each other, exact elsewhere."""
    space = SPACES["SE(3)"]
    x, mask = padded(name)
    u = jax.jit(space.group.exp)(np.array([0.4, -1.0, 0.8, 0.3, -0.2, 0.5]))
    here = lifted(space, x, mask=mask)
    there = lifted(space, act(space, u, x), mask=mask)
    assert here.elements.shape == (6, 4, 7)
    assert bool(here.fallback) == bool(there.fallback) == (name not in SEPARATED)
    elements = compose(space, u, here.elements)[0]
    moved, found = (as_set(matrix(space, g)) for g in (elements, there.elements[0]))
    assert np.allclose(moved, found, atol=1e-7) == (name in SEPARATED)
    if name not in SEPARATED:
        other = lifted(space, x, jax.random.key(91), mask=mask)
        assert np.abs(other.elements - here.elements).max() > 0.01
    out = np.asarray(jax.jit(lambda F: project(space, F, vectors()))(here))
    mask, x = np.asarray(mask), np.asarray(x)
    np.testing.assert_allclose(out[mask], x[mask], atol=1e-12)
    places = np.asarray(here.elements)[mask][..., 4:]
    np.testing.assert_allclose(places, x[mask][:, None] + np.zeros((4, 3)))


def test_axes_are_principal_and_right_handed():
    space = SPACES["SE(3)"]
    x, mask = padded("generic")
    matrices = np.asarray(space.group.linear_matrix(lifted(space, x, mask=mask).elements))
    np.testing.assert_allclose(matrices, matrices[:1] + np.zeros((6, 1, 1, 1)), atol=1e-14)
    np.testing.assert_allclose(np.linalg.det(matrices), 1.0, rtol=1e-12)
    second = np.cov(np.asarray(x[mask]).T, bias=True)
    for R in matrices[0]:
        diagonal = R.T @ second @ R
        np.testing.assert_allclose(diagonal, np.diag(np.diag(diagonal)), atol=1e-13)
    assert len(np.unique(np.sign(matrices[0, :, 0, 0] + 2j * matrices[0, :, 0, 1]))) > 1


@pytest.mark.parametrize(("name", "num"), [("SE(2)", 2), ("SE(3)", 4)])
def test_all_choices_of_signs_are_samples(name, num):
    space = SPACES[name]
    x, mask = padded("generic", space.point_dim)
    found = lifted(space, x, mask=mask).elements[0]
    matrices = as_set(space.group.linear_matrix(found))
    assert len(matrices) == len(np.unique(matrices, axis=0)) == num


def test_padding_and_order_change_nothing():
    """Nor do splits of a point into two of half its weight; weights themselves do."""
    space = SPACES["SE(3)"]
    x, mask = padded("generic")
    expected = lifted(space, x, mask=mask).elements[:4]
    junk = jnp.where(mask[:, None], x, jnp.nan)
    np.testing.assert_array_equal(lifted(space, junk, mask=mask).elements[:4], expected)
    w = jnp.zeros(6)
    halves = w.at[jnp.array([0, 4])].set(-jnp.log(2.0))
    split = lifted(space, x.at[4].set(x[0]), mask=mask.at[4].set(True), weights=halves)
    np.testing.assert_allclose(split.elements[:4], expected, atol=1e-12)
    heavier = lifted(space, x, mask=mask, weights=w.at[0].set(1.0))
    assert np.abs(heavier.elements[:4] - expected).max() > 0.01


def test_centered_groups_use_the_moment_about_the_origin():
    """Under SO(3) a cloud that is symmetric about its own center has axes where it is off it."""
    space = SPACES["SO(3)"]
    cube = jnp.asarray([[i, j, k] for i in (0, 2.0) for j in (0, 1.5) for k in (0, 1.0)])
    assert not bool(lifted(space, cube).fallback)
    np.testing.assert_array_equal(lifted(space, 0.0 * cube).fallback, True)


def test_axes_of_any_size_but_not_of_rounding():
    """The same axes for the same shape at any scale; none where points differ by rounding alone."""
    space = SPACES["SE(3)"]
    x = np.asarray(CLOUDS["generic"])
    sizes = np.array([1e-9, 1.0, 1e9])[:, None, None]
    found = lifted(space, sizes * x)
    assert not np.any(found.fallback)
    turns = np.asarray(jax.jit(space.group.linear_matrix)(found.elements))[:, 0]
    for turn in turns[::2]:
        np.testing.assert_allclose(as_set(turn), as_set(turns[1]), atol=1e-7)
    far = 1e9 + np.spacing(1e9) * np.sign(x)
    np.testing.assert_array_equal(lifted(space, np.stack([far] * 3)).fallback, True)


def test_the_origin_is_lifted_by_the_frames():
    """Where the stabilizer is the whole group the elements are the frames themselves: exact."""
    space = SPACES["SO(3)"]
    x = padded("generic")[0].at[4].set(0.0)
    u = jax.jit(space.group.exp)(np.array([0.4, -1.0, 0.8]))
    here, there = lifted(space, x), lifted(space, act(space, u, x))
    moved = compose(space, u, here.elements)
    for index in (0, 4):
        found = [as_set(matrix(space, g)[index]) for g in (moved, there.elements)]
        np.testing.assert_allclose(*found, atol=1e-7)


def test_fallback_is_logged_outside_jit(caplog):
    space = SPACES["SE(2)"]
    x = jnp.asarray([[[1.0, 0], [-1.0, 0]], [[1.0, 0], [1.0, 0]]])
    with caplog.at_level(logging.WARNING, logger="eqattn"):
        found = lift(space, x, x, key=KEY, lift=Frames())
    np.testing.assert_array_equal(found.fallback, [False, True])
    assert "axes of 1 of 2 examples are not separated by 0.05" in caplog.text


def test_examples_draw_their_own_axes():
    space = SPACES["SE(2)"]
    x = jnp.zeros((2, 3, 2))
    draw = jax.jit(lambda ids: lift(space, x, x, key=KEY, lift=Frames(), example_ids=ids))
    first, second = draw(jnp.array([3, 4])), draw(jnp.array([4, 3]))
    assert np.abs(first.elements[0] - first.elements[1]).max() > 0.01
    np.testing.assert_array_equal(first.elements[::-1], second.elements)


@pytest.mark.parametrize(
    "dtype", some([jnp.float32, jnp.float64], jnp.float32, ids=lambda d: d.__name__)
)
def test_derivatives_are_finite(dtype):
    """First and second, of the axes of all clouds at once."""

    def fn(x, mask):
        weights = mask / jnp.sum(mask).astype(dtype)
        return jnp.sum(principal_axes(SO(3), x, x, weights, KEY, 0.05)[0] ** 3)

    def along(x, mask):
        direction = jnp.cos(jnp.arange(18.0, dtype=dtype)).reshape(6, 3)
        return jax.jvp(lambda z: jax.grad(fn)(z, mask), (x,), (direction,))

    clouds, masks = map(jnp.stack, zip(*map(padded, CLOUDS), strict=True))
    first, second = jax.jit(jax.vmap(along))(clouds.astype(dtype), masks)
    assert first.dtype == second.dtype == dtype
    assert np.all(np.isfinite(first))
    assert np.all(np.isfinite(second))
    assert np.abs(second[list(CLOUDS).index("generic")]).max() > 0.01


def test_elements_of_rotation_matrices():
    """Also at half-turns and within 1e-7 of them."""
    axes = np.concatenate([np.eye(3), [[0.6, 0.0, 0.8], [0.0, -0.6, 0.8]]])
    angles = np.array([0.0, 1e-7, 1.0, np.pi - 1e-7, np.pi])
    vectors = (axes[:, None] * angles[:, None]).reshape(-1, 3)
    matrices = jnp.asarray(Rotation.from_rotvec(vectors).as_matrix())
    found = jax.jit(rotation_element)(matrices)
    np.testing.assert_allclose(SO(3).matrix(found), matrices, atol=tolerance(jnp.float64))

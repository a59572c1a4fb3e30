"""Coordinates of pairs of group elements, and of double cosets."""

import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.groups.base import stack, unstack
from eqattn.spaces import Coordinates
from tests.groups.cases import relative_error
from tests.spaces.cases import NUM, SPACES, elements, points
from tests.tolerances import NEGATIVE_CONTROL, tolerance

every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
KINDS = typing.get_args(Coordinates)
TOLERANCE = tolerance(jnp.float64)


def invariants(space, g):
    return stack(space.pair_invariants(unstack(g)), (NUM,), g.dtype)


def stabilizers(space, seed):
    keys = jax.random.split(jax.random.key(seed), NUM)
    return jax.vmap(space.sample_stabilizer)(keys, points(space))


def representatives(space, parameter):
    """One element for each double coset of a one-parameter family: a move away from the origin."""
    direction = np.zeros(space.group.algebra_dim)
    direction[0 if space.num_orbit_invariants else -1] = 1.0
    return space.group.exp(jnp.asarray(np.outer(parameter, direction)))


@every_space
def test_double_coset_coordinates_are_invariant_and_separate(space):
    parameter = np.linspace(0.0, 3.0, NUM)
    g = representatives(space, parameter)
    moved = space.group.compose(stabilizers(space, 1), g)
    moved = space.group.compose(moved, stabilizers(space, 2))
    found = np.asarray(invariants(space, g))
    assert found.shape[-1] == space.num_coordinates("invariants")
    assert np.max(relative_error(invariants(space, moved), found)) <= TOLERANCE
    # Neighbors are 0.1 apart; a cosine moves least, by 0.005 at either end.
    apart = np.abs(found[:, None] - found[None]).max(-1) + np.eye(NUM)
    assert apart.min() > 2e-3
    if space.stabilizer_dim:  # each of the two factors would show, were it not divided out
        assert np.max(relative_error(space.group.embedding(moved), space.group.embedding(g))) > 0.1


@pytest.mark.parametrize("kind", KINDS)
@every_space
def test_pair_coordinates_are_invariant(space, kind):
    u, query, key = (elements(space, seed) for seed in (1, 2, 3))
    compose = space.group.compose
    found = space.pair_coordinates(query, key, kind)
    assert found.shape == (NUM, space.num_coordinates(kind))
    moved = space.pair_coordinates(compose(u, query), compose(u, key), kind)
    assert np.max(relative_error(moved, found)) <= TOLERANCE
    one_sided = space.pair_coordinates(compose(u, query), key, kind)
    assert np.max(relative_error(one_sided, found)) > NEGATIVE_CONTROL


@every_space
def test_pair_coordinates_are_those_of_the_pair(space):
    query, key = elements(space, 2), elements(space, 3)
    pair = space.group.compose(space.group.inverse(query), key)
    expected = {
        "log": space.group.log(pair),
        "embedding": space.group.embedding(pair),
        "invariants": invariants(space, pair),
    }
    for kind in KINDS:
        np.testing.assert_allclose(space.pair_coordinates(query, key, kind), expected[kind])
    components = space.pair(unstack(query), unstack(key))
    np.testing.assert_allclose(jnp.stack(components, -1), pair)
    coordinates = space.coordinate_components(components, "log")
    np.testing.assert_allclose(jnp.stack(coordinates, -1), expected["log"])
    np.testing.assert_allclose(space.pair_coordinates(query, key), expected["log"])
    shape = jax.eval_shape(space.pair_coordinates, query[:4, None], key[:5]).shape
    assert shape == (4, 5, space.group.algebra_dim)


@every_space
def test_base_distance(space):
    """Left-invariant, and for pairs of lifted points that of the points."""
    x, y, u = points(space), points(space)[::-1], elements(space)
    compose, inverse = space.group.compose, space.group.inverse
    query = compose(space.section(x), stabilizers(space, 1))
    key = compose(space.section(y), stabilizers(space, 2))

    def distance(g, h):
        orbits = unstack(space.orbit_invariants(x)), unstack(space.orbit_invariants(y))
        return space.base_distance_components(unstack(compose(inverse(g), h)), *orbits)

    found = np.asarray(distance(query, key))
    np.testing.assert_allclose(distance(compose(u, query), compose(u, key)), found, atol=TOLERANCE)
    x, y = np.asarray(x), np.asarray(y)
    if space == SPACES["RxSO2"]:
        x, y = np.log(x[:, 0] + 1j * x[:, 1]), np.log(y[:, 0] + 1j * y[:, 1])
        angle = np.angle(np.exp(1j * (x - y).imag))
        expected = np.hypot((x - y).real, angle)
    else:
        expected = np.linalg.norm(x - y, axis=-1)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


@pytest.mark.usefixtures("no_type_checks")
def test_unknown_coordinates_raise():
    space = SPACES["SE(3)"]
    g = elements(space)
    message = r"coordinates must be one of \('log', 'embedding', 'invariants'\), got 'angles'"
    with pytest.raises(ValueError, match=message):
        space.pair_coordinates(g, g, "angles")
    with pytest.raises(ValueError, match=message):
        space.coordinate_components(unstack(g), "angles")
    with pytest.raises(ValueError, match=message):
        space.num_coordinates("angles")

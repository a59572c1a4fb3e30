"""Expected transformations: matrices that are solved from the action alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.certificate.catalog import GEOMETRIES, find_field
from eqattn.certificate.expected import harmonic_matrices, harmonics, linear_part, representation
from eqattn.fields import FieldType, Term
from eqattn.groups import SE, SO, E, Sim
from eqattn.representations import Representation
from eqattn.spaces import euclidean
from tests.grids import some

PLACES = {
    ("O(3)", "S2"): ("pseudovector", "irrep(2, odd)", "gauge(vector)"),
    ("Sim(2)", "R2"): ("tensor(2)", "vector[1]"),
}


def test_linear_parts_are_read_off_the_action():
    draw = jax.jit(
        lambda group: group.sample_bounded(jax.random.key(0), (8,), jnp.float64), static_argnums=0
    )
    g = draw(E(2))
    part = linear_part(E(2), g)
    np.testing.assert_allclose(part.sign, np.asarray(g)[:, -1], atol=1e-12)
    np.testing.assert_allclose(part.stretch, 1.0, atol=1e-12)
    g = draw(Sim(3))
    part = linear_part(Sim(3), g)
    np.testing.assert_allclose(part.stretch, np.exp(np.asarray(g)[:, 4]), rtol=1e-12)
    eye = np.broadcast_to(np.eye(3), part.turn.shape)
    np.testing.assert_allclose(part.turn @ np.swapaxes(part.turn, 1, 2), eye, atol=1e-12)


def test_harmonics_are_the_documented_polynomials():
    x, y, z = points = np.random.default_rng(0).normal(size=(3, 5))
    degree_2 = [z * x, x * y, y**2 - (x**2 + z**2) / 2, y * z, (z**2 - x**2) / 2]
    for degree, expected in ((1, [x, y, z]), (2, degree_2)):
        found = harmonics(degree, points.T)
        for i, polynomial in enumerate(expected):
            ratio = found[:, i] / polynomial
            np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)
            assert ratio[0] > 0


def test_harmonic_matrices_are_orthogonal_representations():
    g, h = np.asarray(SO(3).matrix(SO(3).sample(jax.random.key(1), (2, 4), jnp.float64)))
    d = harmonic_matrices(3, g)
    np.testing.assert_allclose(d @ np.swapaxes(d, 1, 2), np.tile(np.eye(7), (4, 1, 1)), atol=1e-10)
    np.testing.assert_allclose(harmonic_matrices(3, g @ h), d @ harmonic_matrices(3, h), atol=1e-10)


@pytest.mark.parametrize("place", some(PLACES, ("Sim(2)", "R2"), ids=" ".join))
def test_fields_transform_as_expected(place):
    (space,) = (g.space for g in GEOMETRIES if (g.group, g.name) == place)
    fields = [find_field(name, space) for name in PLACES[place]]

    @jax.jit
    def transformed():
        x = space.sample_points(jax.random.key(0), (2, 3), jnp.float64)
        u = space.group.sample_bounded(jax.random.key(1), (2,), jnp.float64)
        images = space.act(u[:, None], x)
        shapes = [(2, 3, field.size(space)) for field in fields]
        values = [jax.random.normal(jax.random.key(2), shape, jnp.float64) for shape in shapes]
        found = [
            field.transform(space, u[:, None], value, points=x, images=images)
            for field, value in zip(fields, values, strict=True)
        ]
        return (u, x, images), values, found

    geometry, *arrays = jax.tree.map(np.asarray, transformed())
    for field, values, found in zip(fields, *arrays, strict=True):
        expected = (representation(space, field, *geometry) @ values[..., None])[..., 0]
        np.testing.assert_allclose(found, expected, atol=1e-10)


class Unknown(Representation):
    """A representation that the certificate does not know."""

    size = check = matrix = None


def test_representations_without_a_known_transformation():
    field = FieldType((Term(1, Unknown()),))
    x = np.zeros((1, 1, 3))
    u = np.asarray(SE(3).identity((1,), jnp.float64))
    with pytest.raises(TypeError, match=r"representation .*Unknown.* has no known transform"):
        representation(euclidean(SE(3)), field, u, x, x)

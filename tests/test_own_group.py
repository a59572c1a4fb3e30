"""The group and space that ``colabs/your_own_group.ipynb`` adds, run from the notebook itself."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from eqattn import laws, testing
from eqattn.lift import Haar
from tests.tolerances import tolerance

NOTEBOOK = Path(__file__).parents[1] / "colabs" / "your_own_group.ipynb"


@pytest.fixture(scope="module")
def source():
    """The cell that defines the classes."""
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    (found,) = [text for text in texts if "class HyperbolicPlane" in text]
    return found


@pytest.fixture(scope="module")
def plane(source):
    names = {}
    imports = (
        "import dataclasses\nimport jax.numpy as jnp\nfrom eqattn import numerics, spaces\n"
        "from eqattn.groups import SO, MatrixGroup\n"
    )
    exec(imports + source, names)
    return names["HyperbolicPlane"]()


def test_it_takes_less_than_sixty_lines(source):
    assert len(source.splitlines()) < 60


def test_it_keeps_the_laws(plane):
    for dtype in (jnp.float64, jnp.float32):
        laws.check_group(plane.group, dtype=dtype)
        laws.check_space(plane, dtype=dtype)


def conjugated_turns(group, angles):
    """Rotations by the angles about the axis that a boost takes the time axis to."""
    turn = group.exp(jnp.outer(jnp.asarray(angles), jnp.asarray([1.0, 0.0, 0.0])))
    boost = group.exp(jnp.asarray([0.0, 0.7, -0.4]))
    return group.compose(group.compose(boost, turn), group.inverse(boost))


def test_logarithms(plane):
    """Of boosts, turns and light-like elements against scipy; finite and right at half-turns."""
    group = plane.group
    a = np.array([[0, 0, 0], [0, 1, 2], [0.5, 0.5, 0], [2.5, 0.3, 0], [-1, 0.2, 3], [1e-7, 0, 0]])
    a = jnp.asarray(a, jnp.float64)
    np.testing.assert_allclose(np.asarray(group.log(group.exp(a))), a, atol=1e-12)
    for row in np.asarray(a):
        exact = scipy.linalg.expm(np.tensordot(row, np.asarray(group.generators), 1))
        found = np.asarray(group.matrix(group.exp(jnp.asarray(row))))
        np.testing.assert_allclose(found, exact, atol=1e-12)
    angles = [np.pi, np.pi - 1e-7, 1.05, 1.04, -3.1, np.pi / 2]
    g = conjugated_turns(group, angles)
    assert np.max(laws.relative_error(group.exp(group.log(g)), g)) <= 1e-10
    derivatives = jax.vmap(jax.hessian(lambda g: jnp.sum(group.log(g) * jnp.arange(1.0, 4.0))))(g)
    assert np.all(np.isfinite(derivatives))


def test_distances_are_those_of_the_hyperboloid(plane):
    x, y = plane.sample_points(jax.random.key(0), (2, 32), jnp.float64)
    g, h = plane.section(x), plane.section(y)
    cosine = np.asarray(x * y) @ np.array([1.0, -1.0, -1.0])
    found = plane.pair_coordinates(g, h, "invariants")[:, 0]
    np.testing.assert_allclose(np.asarray(found), cosine, rtol=1e-12)
    pair = plane.pair(tuple(g.T), tuple(h.T))
    distance = np.asarray(plane.base_distance_components(pair, (), ()))
    np.testing.assert_allclose(distance, np.arccosh(cosine), rtol=1e-8)


@pytest.mark.parametrize("coordinates", ["log", "embedding"])
def test_lifted_pairs_are_invariant(plane, coordinates):
    def coordinates_of_pairs(lifted):
        g = lifted.elements[..., 0, :]
        return plane.pair_coordinates(g[:, :, None], g[:, None], coordinates)

    found = testing.coupled_lift_error(coordinates_of_pairs, plane, strategy=Haar(1), num_points=3)
    assert found <= tolerance(jnp.float64)
    # Negative control: the elements as they are.
    own = testing.coupled_lift_error(lambda x: x.elements, plane, strategy=Haar(1), num_points=3)
    assert own > 0.1

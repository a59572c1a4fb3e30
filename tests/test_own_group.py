"""The group and space that ``colabs/your_own_group.ipynb`` adds, run from the notebook itself."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from eqattn import laws, testing
from eqattn.kernels import kernel_basis, pair_homomorphisms
from eqattn.lift import Haar
from tests.grids import some
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


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32], ids=lambda d: d.__name__)
def test_it_keeps_the_laws(plane, dtype):
    laws.check_group(plane.group, dtype=dtype)
    laws.check_space(plane, dtype=dtype)


def conjugated_turns(group, angles):
    """Rotations by the angles about the axis that a boost takes the time axis to."""
    turn = group.exp(jnp.outer(jnp.asarray(angles), jnp.asarray([1.0, 0.0, 0.0])))
    boost = group.exp(jnp.asarray([0.0, 0.7, -0.4]))
    return group.compose(group.compose(boost, turn), group.inverse(boost))


@pytest.mark.slow
def test_logarithms(plane):
    """Of boosts, turns and light-like elements against scipy; finite and right at half-turns."""
    group = plane.group
    a = np.array([[0, 0, 0], [0, 1, 2], [0.5, 0.5, 0], [2.5, 0.3, 0], [-1, 0.2, 3], [1e-7, 0, 0]])
    angles = np.array([np.pi, np.pi - 1e-7, 1.05, 1.04, -3.1, np.pi / 2])

    @jax.jit
    def program(a, angles):
        g = group.exp(a)
        turns = conjugated_turns(group, angles)
        second = jax.hessian(lambda g: jnp.sum(group.log(g) * np.arange(1.0, 4.0)))
        back = group.exp(group.log(turns))
        return group.log(g), group.matrix(g), turns, back, jax.vmap(second)(turns)

    log, matrices, turns, back, derivatives = map(np.asarray, program(a, angles))
    np.testing.assert_allclose(log, a, atol=1e-12)
    for row, found in zip(a, matrices, strict=True):
        exact = scipy.linalg.expm(np.tensordot(row, np.asarray(group.generators), 1))
        np.testing.assert_allclose(found, exact, atol=1e-12)
    assert np.max(laws.relative_error(back, turns)) <= 1e-10
    assert np.all(np.isfinite(derivatives))


def test_distances_are_those_of_the_hyperboloid(plane):

    @jax.jit
    def program(key):
        x, y = plane.sample_points(key, (2, 32), jnp.float64)
        g, h = plane.section(x), plane.section(y)
        pair = plane.pair(tuple(g.T), tuple(h.T))
        found = plane.pair_coordinates(g, h, "invariants")[:, 0]
        return x, y, found, plane.base_distance_components(pair, (), ())

    x, y, found, distance = map(np.asarray, program(jax.random.key(0)))
    cosine = (x * y) @ np.array([1.0, -1.0, -1.0])
    np.testing.assert_allclose(found, cosine, rtol=1e-12)
    np.testing.assert_allclose(distance, np.arccosh(cosine), rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("coordinates", some(["log", "embedding"], "log"))
def test_lifted_pairs_are_invariant(plane, coordinates):
    def coordinates_of_pairs(lifted):
        g = lifted.elements[..., 0, :]
        return plane.pair_coordinates(g[:, :, None], g[:, None], coordinates)

    error = testing.coupled_lift_error
    options = {"lift": Haar(1), "num_points": 3}
    found = error(jax.jit(coordinates_of_pairs), plane, **options)
    assert found <= tolerance(jnp.float64)
    if coordinates == "log":  # negative control: the elements as they are
        assert error(lambda x: x.elements, plane, **options) > 0.1


def test_it_has_kernels_unchanged(plane):
    """Between two points of the hyperbolic plane, and at one; with a cocycle that is no rotation.

    Its stabilizer is SO(2), so that there are as many as on the sphere: all matrices between two
    points, and those that commute with rotations at one.
    """
    points = np.asarray(plane.sample_points(jax.random.key(0), (2,), jnp.float64))
    field = "gauge(vector)"
    assert len(pair_homomorphisms(plane, field, field, *points)) == 4
    assert len(pair_homomorphisms(plane, field, field, points[0], points[0])) == 2
    assert len(pair_homomorphisms(plane, "scalar", field, points[0], points[0])) == 0
    with pytest.raises(ValueError, match="kernels by harmonics need"):
        kernel_basis(plane, "scalar", "scalar")

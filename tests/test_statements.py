"""What README.md, docs/ and docstrings state about the library, measured."""

import re
from pathlib import Path
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from flax import nnx

from eqattn import groups, numerics, spaces
from eqattn.attention import NearestNeighbors, find_neighbors
from eqattn.groups import MatrixGroup
from eqattn.layers import LieSelfAttention, MultiplyLogits
from eqattn.lift import NoLift, lift
from tests import pages, small

ROOT = Path(__file__).parents[1]
SE3 = spaces.euclidean(groups.SE(3))


def test_no_example_gives_a_model_features_that_are_all_equal():
    """Under a softmax they would hide where points are, and whatever is said would hold."""
    files = [ROOT / "README.md", *pages.GUIDES, *(ROOT / "eqattn" / "models").glob("*.py")]
    lines = [
        line
        for file in files
        for line in file.read_text().splitlines()
        if re.match(r"\s*>>> ", line)
    ]
    assert len(lines) > 50
    assert [line for line in lines if "ones(" in line or "zeros(" in line] == []


def test_equal_features_hide_locations_where_weights_sum_to_one():
    rng = np.random.default_rng(0)
    x, distinct = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 5, 3), (5, 8)))
    equal = np.ones((5, 8), np.float32)

    def change(**options):
        """By how much outputs for two clouds differ, for features of each point."""
        attention = small.attention(coordinates="invariants", width=4, **options)
        layer = LieSelfAttention(8, SE3, attention, rngs=nnx.Rngs(0))
        run = jax.jit(lambda x, both: layer(lift(SE3, x, both, lift=NoLift())))

        def of(features):
            first, second = np.asarray(run(x, np.stack([features, features])))
            return np.abs(first - second).max()

        return of

    of_softmax = change()
    assert of_softmax(equal) < 1e-6
    assert of_softmax(distinct) > 1e-3
    assert change(combine=MultiplyLogits(), normalize="mean")(equal) > 1e-3


def test_distances_tell_no_mirror_images_apart_and_orientations_do():
    """NoLift under SE(3) is invariant to E(3); on R³×S² under SE(3) a determinant is not."""
    mirror = np.array([1.0, 1.0, -1.0])

    def invariants(space, points, sign):
        sections = space.section(points * sign)
        return space.pair_coordinates(sections[:, None], sections[None], "invariants")

    for space, sign, same in (
        (SE3, mirror, True),
        (spaces.sphere(groups.SO(3)), mirror, True),
        (spaces.position_orientation(groups.E(3)), np.tile(mirror, 2), True),
        (spaces.position_orientation(groups.SE(3)), np.tile(mirror, 2), False),
    ):

        def both(key, space=space, sign=sign):
            points = space.sample_points(key, (4,), jnp.float64)
            return invariants(space, points, 1.0), invariants(space, points, sign)

        before, after = map(np.asarray, jax.jit(both)(jax.random.key(0)))
        assert (np.abs(before - after).max() < 1e-9) == same


def test_a_point_split_into_two_halves_takes_two_places():
    x = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]])
    split = np.concatenate([x[:2], x[1:]])

    @jax.jit
    def neighbors(points):
        lifted = lift(SE3, points, jnp.zeros((len(points), 1)), lift=NoLift())
        return find_neighbors(SE3, lifted, NearestNeighbors(3)).indices

    def places_of_the_first(points):
        return points[np.asarray(neighbors(points))[0], 0].tolist()

    assert sorted(places_of_the_first(x)) == [0.0, 1.0, 2.0]
    assert sorted(places_of_the_first(split)) == [0.0, 1.0, 1.0]


class Turns(MatrixGroup):
    """Rotations of the plane by their matrices: the worst case of the exponential."""

    generators: ClassVar = (((0.0, -1.0), (1.0, 0.0)),)

    def log_components(self, g):
        return (numerics.planar_angle(g[0], g[2]),)


def test_the_error_of_the_matrix_exponential_is_the_stated_one():
    (stated,) = re.findall(r"to (\S+) of the norm", MatrixGroup.exp_components.__doc__)
    angles = np.linspace(-16.0, 16.0, 65)[:, None]
    found = jax.jit(lambda angles: Turns().matrix(Turns().exp(angles)))(angles)
    error = max(
        np.linalg.norm(matrix - scipy.linalg.expm(angle * np.array(Turns.generators[0])), 2)
        for matrix, angle in zip(np.asarray(found), angles[:, 0].tolist(), strict=True)
    )
    assert 0.5 * float(stated) < error < float(stated)

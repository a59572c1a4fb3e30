import numpy as np
import pytest
import scipy.spatial.transform

from eqattn.tasks.shapes.meshes import Mesh, read_off, sample_surface
from eqattn.tasks.shapes.polygons import triangulate

ARROW = [(0, 0), (2, 1), (0, 2), (1.5, 1)]
COMB = [
    (0, 0),
    (5, 0),
    (5, 3),
    (4, 3),
    (4, 1),
    (3, 1),
    (3, 3),
    (2, 3),
    (2, 1),
    (1, 1),
    (1, 3),
    (0, 3),
]
# A square with a square hole, to which a bridge leads and comes back from.
FRAME = [(0, 0), (3, 0), (3, 3), (0, 3), (0, 0), (1, 1), (1, 2), (2, 2), (2, 1), (1, 1)]
STRAIGHT = [(0, 0), (1, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2), (0, 1)]
SPIKE = [(0, 0), (2, 0), (2, 2), (1, 2), (1, 3), (1, 2), (0, 2)]
AREAS = {"arrow": (ARROW, 0.5), "comb": (COMB, 11), "frame": (FRAME, 8), "straight": (STRAIGHT, 3)}
AREAS |= {"spike": (SPIKE, 4)}


def in_space(corners):
    """Lays a polygon of the plane anywhere in space."""
    rotation = scipy.spatial.transform.Rotation.random(random_state=0).as_matrix()
    return 7.0 + np.pad(np.array(corners, float), ((0, 0), (0, 1))) @ rotation.T


def area(vertices, faces):
    return Mesh(vertices, triangulate(vertices, faces)).areas().sum()


@pytest.mark.parametrize(("corners", "expected"), AREAS.values(), ids=AREAS)
def test_areas_of_polygons_that_are_not_convex(corners, expected):
    """From whichever corner they begin, and whichever way they go around."""
    vertices, order = in_space(corners), np.arange(len(corners))
    for first in order:
        for face in (np.roll(order, first).tolist(), np.roll(order, first)[::-1].tolist()):
            assert area(vertices, [face]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_areas_of_stars(seed):
    random = np.random.RandomState(seed)
    angles = 2 * np.pi * (np.arange(24) + random.uniform(size=24)) / 24
    x, y = random.uniform(0.2, 1, 24) * np.stack([np.cos(angles), np.sin(angles)])
    expected = 0.5 * np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))
    vertices = in_space(np.stack([x, y], axis=-1))
    triangles = triangulate(vertices, [range(24)])
    assert triangles.shape == (22, 3)
    assert Mesh(vertices, triangles).areas().sum() == pytest.approx(expected, rel=1e-9)


def test_convex_polygons_are_cut_from_their_first_corner():
    square = in_space([(0, 0), (1, 0), (1, 1), (0, 1), (5, 5)])
    faces = [[0, 1, 2, 3], [4, 0, 1], [2, 3], [3, 2, 1, 0]]
    expected = [[0, 1, 2], [0, 2, 3], [4, 0, 1], [3, 2, 1], [3, 1, 0]]
    np.testing.assert_array_equal(triangulate(square, faces), expected)
    assert triangulate(square, []).shape == (0, 3)


@pytest.mark.parametrize(
    "corners",
    [
        [(0, 0, 0), (1, 1, 0), (1, 0, 0), (0, 1, 0)],  # its two halves go opposite ways around
        [(0, 0, 0), (3, 1, 0), (3, 0, 0), (0, 2, 0)],
        [(0, 0, 0), (1, 0, 0), (2, 0, 0), (1, 0, 0)],  # a line
        [(1, 1, 1)] * 4,
    ],
)
def test_polygons_without_an_inside_are_cut_from_their_first_corner(corners):
    found = triangulate(np.array(corners, float), [[0, 1, 2, 3]])
    np.testing.assert_array_equal(found, [[0, 1, 2], [0, 2, 3]])


def test_vertices_that_are_not_there():
    for wrong in (3, -1):
        with pytest.raises(ValueError, match=f"a face names vertex {wrong}, and there are 3"):
            triangulate(np.eye(3), [[0, 1, wrong]])
    with pytest.raises(ValueError, match="a face names vertex 9, and there are 3"):
        triangulate(np.eye(3), [[0, 9]])


def test_points_are_sampled_within_a_polygon_of_a_file(tmp_path):
    path = tmp_path / "arrow.off"
    lines = [f"{x} {y} 0" for x, y in ARROW]
    path.write_text("\n".join(["OFF", "4 1 0", *lines, "4 0 1 2 3", ""]))
    mesh = read_off(path)
    assert mesh.areas().sum() == pytest.approx(0.5)
    x, y, _ = sample_surface(mesh, 1000, np.random.RandomState(0)).T
    assert (np.abs(y - 1) <= 1 - x / 2 + 1e-9).all()
    assert (np.abs(y - 1) >= 1 - x / 1.5 - 1e-9).all()

import numpy as np
import pytest

from eqattn.tasks.shapes.meshes import Mesh, read_obj, read_off, sample_surface, to_unit_ball

# A unit square in the plane z = 0, and a triangle of area 1/2 in the plane x = 0.
SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1]], float)
FACES = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4]])


def test_areas():
    np.testing.assert_allclose(Mesh(SQUARE, FACES).areas(), 0.5)


def test_points_are_uniform_by_area():
    # The square cut into triangles of very different areas, and one without any.
    vertices = np.concatenate([SQUARE, [[0.1, 0.0, 0.0]]])
    faces = np.array([[0, 5, 3], [0, 0, 1], [5, 1, 2], [5, 2, 3]])
    points = sample_surface(Mesh(vertices, faces), 20_000, np.random.RandomState(0))
    np.testing.assert_array_equal(points[:, 2], 0.0)
    counts, *_ = np.histogram2d(points[:, 0], points[:, 1], bins=4, range=[(0, 1), (0, 1)])
    expected = len(points) / 16
    # Chi-squared with 15 degrees of freedom exceeds 37.7 once in a thousand draws.
    assert np.sum((counts - expected) ** 2 / expected) < 37.7


def test_shares_of_triangles_are_those_of_their_areas():
    vertices = SQUARE * [1, 1, 3]  # the upright triangle is three times either of the others
    points = sample_surface(Mesh(vertices, FACES), 20_000, np.random.RandomState(1))
    assert np.mean(points[:, 0] == 0) == pytest.approx(0.6, abs=0.015)


def test_points_depend_on_the_random_state_alone():
    first, same, other = (
        sample_surface(Mesh(SQUARE, FACES), 9, np.random.RandomState(seed)) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


@pytest.mark.parametrize("faces", [np.zeros((0, 3), int), np.array([[0, 1, 1], [2, 2, 2]])])
def test_a_mesh_without_area(faces):
    with pytest.raises(ValueError, match=rf"mesh has no area: its {len(faces)} triangles"):
        sample_surface(Mesh(SQUARE, faces), 3, np.random.RandomState(0))


def test_a_mesh_of_infinite_area():
    mesh = Mesh(1e200 * np.eye(3), np.array([[0, 1, 2]]))
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="its area is not finite"):
        sample_surface(mesh, 4, np.random.RandomState(0))


def test_no_points():
    with pytest.raises(ValueError, match="num_points must be at least 1, got 0"):
        sample_surface(Mesh(SQUARE, FACES), 0, np.random.RandomState(0))


def test_the_unit_ball():
    points = to_unit_ball(np.random.RandomState(0).normal(5, 3, (50, 3)))
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-14)
    assert np.linalg.norm(points, axis=1).max() == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize("points", [np.ones((4, 3)), np.array([[0.0, 0, 0], [np.inf, 0, 0]])])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_points_that_fill_no_ball(points):
    with pytest.raises(ValueError, match="points must be finite and not all the same"):
        to_unit_ball(points)


OFF_BODY = """5 2 0
# a comment
0 0 0
1 0 0   # another
1 1 0
0 1 0
0 0 1

4 0 1 2 3
3 0 3 4  0.5 0.5 0.5
"""


@pytest.mark.parametrize("head", ["OFF\n", "OFF ", "OFF", "\n# nothing\nOFF\n"])
def test_an_off_file(tmp_path, head):
    path = tmp_path / "one.off"
    path.write_text(head + OFF_BODY)
    mesh = read_off(path)
    np.testing.assert_array_equal(mesh.vertices, SQUARE)
    np.testing.assert_array_equal(mesh.triangles, FACES)


@pytest.mark.parametrize("color", ["255 0 0", "0.5 0.5 0.5 1"])
def test_an_off_file_of_colored_vertices(tmp_path, color):
    lines = ("COFF" + OFF_BODY.replace("   # another", "")).split("\n")
    for place in (2, 3, 4, 5, 6):
        lines[place] += f" {color}"
    path = tmp_path / "colored.off"
    path.write_text("\n".join(lines))
    mesh = read_off(path)
    np.testing.assert_array_equal(mesh.vertices, SQUARE)
    np.testing.assert_array_equal(mesh.triangles, FACES)


OFF_TRIANGLE = "OFF\n3 1 0\n0 0 0\n1 0 0\n# a comment\n0 1 0\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not an OFF file"),
        ("ply\n", "is not an OFF file"),
        ("OFF\n", "numbers of vertices and faces, got ''"),
        ("OFF\nfive 2 0\n", "numbers of vertices and faces, got 'five 2 0'"),
        ("OFF\n5\n", "numbers of vertices and faces, got '5'"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n", "announces 3 vertices and 1 faces, and has 3 lines"),
        ("OFF\n-1 1 0\n0 0 0\n", "announces -1 vertices"),
        ("OFF\n1 1 0\n0 0 x\n3 0 0 0\n", "cannot be read: 'x' is not a number"),
        (
            "OFF\n2 1 0\n0 0 0\n0 0\n3 0 0 0\n",
            "line 4 cannot be read: a vertex of 2 numbers, not 3",
        ),
        (OFF_TRIANGLE + "3 0 1 2\n3 0 2 1\n", "3 vertices and 1 faces, and has 5 lines for them"),
        (
            OFF_TRIANGLE.replace("3", "2", 1) + "3 0 1 1\n",
            "2 vertices and 1 faces, and has 4 lines",
        ),
        (OFF_TRIANGLE + "0 0 1\n", "line 7 cannot be read: a face of 0 vertices"),
        (OFF_TRIANGLE + "2 0 1\n", "line 7 cannot be read: a face of 2 vertices"),
        (OFF_TRIANGLE + "3 0 1 2 red\n", "line 7 cannot be read: 'red' is not a number"),
        (
            OFF_TRIANGLE + "3 0 1 2 9 9 9 9 9\n",
            "line 7 .*: a face of 3 vertices has 5 numbers after",
        ),
        (
            "OFF\n2 1 0\n0 0 0 1 0 0\n0 1 0 1 1 0\n3 0 1 1\n",
            "line 3 .*: a vertex of 6 numbers, not 3",
        ),
        ("COFF\n1 1 0\n0 0 0\n3 0 0 0\n", "line 3 .*: a vertex of 3 numbers, not 6 or 7"),
        ("OFF\n1 1 0\n0 0 0\n3 0 0\n", "cannot be read: a face of 3 vertices has 2 indices"),
        ("OFF\n1 1 0\n0 0 0\n-3 0 0 1\n", "cannot be read: a face of -3 vertices"),
        ("OFF\n1 1 0\n0 0 0\n3 0 0 1.5\n", "cannot be read: '1.5' is not an integer"),
        ("OFF\n0 1 0\n3 0 0 0\n", r"vertices must be \[V, 3\], got \[0\]"),
        ("OFF\n2 1 0\n0 0 0\n0 1e999 0\n3 0 0 0\n", "vertex 1 is not finite"),
        ("OFF\n1 1 0\n0 0 0\n3 0 0 1\n", "a face names vertex 1, and there are 1"),
        ("OFF\n1 1 0\n0 0 0\n3 0 0 -1\n", "a face names vertex -1, and there are 1"),
    ],
)
def test_a_wrong_off_file(tmp_path, text, message):
    path = tmp_path / "wrong.off"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_off(path)
    assert str(path) in str(caught.value)


def test_a_missing_off_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.off"):
        read_off(tmp_path / "missing.off")


@pytest.mark.parametrize("word", ["1_1", "nan", "\uff11"])
def test_numbers_that_only_python_takes(tmp_path, word):
    path = tmp_path / "wrong.off"
    path.write_text(f"OFF\n1 1 0\n0 0 {word}\n3 0 0 0\n")
    with pytest.raises(ValueError, match=r"wrong\.off, line 3 cannot be read: .* is not a number"):
        read_off(path)
    with pytest.raises(ValueError, match=r"a chair, line 1 cannot be read: .* is not a number"):
        read_obj(f"v 0 0 {word}", "a chair")
    for text in ("OFF\n1_0 1 0\n", f"OFF\n1 1 0\n0 0 0\n3 0 0 {word}\n"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"1_0|is not an integer"):
            read_off(path)


def test_byte_order_marks_are_skipped(tmp_path):
    path = tmp_path / "marked.off"
    path.write_text("OFF\n" + OFF_BODY, encoding="utf-8-sig")
    assert len(read_off(path).vertices) == 5
    text = "\ufeffv 1 2 3\nv 0 0 0"
    for marked in (text, text.encode().decode("latin-1")):
        np.testing.assert_array_equal(read_obj(marked).vertices, [[1, 2, 3], [0, 0, 0]])


def test_an_obj_file():
    text = """
        mtllib colors.mtl
        v 0 0 0
        v 1 0 0 1.0
        v 1 1 0
        v 0 1 0  # a comment
        vn 0 0 1
        f 1/1/1 2//1 \\
          3/2 4
        v 0 0 1
        f -5 -2 -1
        l 1 2
    """
    mesh = read_obj(text)
    np.testing.assert_array_equal(mesh.vertices, SQUARE)
    np.testing.assert_array_equal(mesh.triangles, FACES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v 0 0 0\nv 0 z 0\n", "a chair, line 2 cannot be read: 'z' is not a number"),
        ("v 0 0 0\nf 1 / 1\n", "a chair, line 2 cannot be read: '' is not an integer"),
        ("v 0 0 0\nf 1 1 2\n", "a chair: a face names vertex 1, and there are 1"),
        ("v 0 0 0\nf 1 1 -2\n", "a chair: a face names vertex -1, and there are 1"),
        ("f 1 1 1\n", r"a chair: vertices must be \[V, 3\], got \[0\]"),
        (
            "v 0 0 0\nv 0 0\n",
            "a chair, line 2 cannot be read: a vertex of 2 numbers, not 3 or 4 or 6",
        ),
        (
            "v 0 0 0\nf 0 1 1\n",
            "a chair, line 2 .*: a face names vertex 0, and the first is vertex 1",
        ),
    ],
)
def test_a_wrong_obj_file(text, message):
    with pytest.raises(ValueError, match=message):
        read_obj(text, "a chair")

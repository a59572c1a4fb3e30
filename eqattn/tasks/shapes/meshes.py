"""Triangle meshes: read from OBJ and OFF files, and sampled uniformly by area."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from eqattn.checks import check_sizes
from eqattn.data.text import read_text, to_floats, to_integer
from eqattn.tasks.shapes.polygons import triangulate

_MARK_IN_LATIN_1 = b"\xef\xbb\xbf".decode("latin-1")
"""A byte order mark, in files that are read byte by byte."""
_OFF_HEAD = re.compile(r"(C?)OFF\s*(.*)")
# How many numbers a vertex may have: x, y, z, then perhaps (w,) red, green, blue(, alpha).
_PLAIN, _OFF_COLORED, _OBJ = (3,), (6, 7), (3, 4, 6, 7)
_FACE_COLORS = range(5)


@dataclass(frozen=True, eq=False)
class Mesh:
    """V vertices and F triangles between them.

    Attributes:
      vertices: Where they are, in the unit of the file.
      triangles: The vertices of each triangle, counted from 0.
    """

    vertices: Float[np.ndarray, "V 3"]
    triangles: Int[np.ndarray, "F 3"]

    def areas(self) -> Float[np.ndarray, "F"]:
        """Returns the area of each triangle."""
        a, b, c = np.moveaxis(self.vertices[self.triangles], 1, 0)
        return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=-1)


def sample_surface(
    mesh: Mesh, num_points: int, random: np.random.RandomState
) -> Float[np.ndarray, "N 3"]:
    """Returns points drawn uniformly by area from the surface of a mesh, independently.

    Args:
      mesh: Triangles, of which at least one has an area.
      num_points: How many points N.
      random: Where the draws come from; `numpy.random.RandomState`, because its streams are the
        same in every version of numpy.

    Raises:
      ValueError: If ``num_points`` is not positive, or the mesh has no area.
    """
    check_sizes({"num_points": num_points})
    ends = np.cumsum(mesh.areas())
    if not ends.size or not ends[-1] > 0:
        raise ValueError(f"mesh has no area: its {len(mesh.triangles)} triangles are degenerate.")
    if not np.isfinite(ends[-1]):
        raise ValueError("mesh is too large: its area is not finite.")
    # Drawn from the areas' distribution by its inverse; a triangle without area is never met.
    chosen = np.searchsorted(ends, ends[-1] * random.random_sample(num_points), side="right")
    a, b, c = np.moveaxis(mesh.vertices[mesh.triangles[chosen]], 1, 0)
    u, v = random.random_sample((2, num_points, 1))
    root = np.sqrt(u)  # uniform in the triangle
    return (1 - root) * a + root * (1 - v) * b + root * v * c


def to_unit_ball(points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    """Returns points with their mean at the origin and the farthest one at distance 1.

    Args:
      points: Points, of which at least two differ.

    Raises:
      ValueError: If all points are one, or one is not finite.
    """
    centered = points - points.mean(axis=0)
    radius = np.sqrt(np.max(np.sum(centered**2, axis=-1)))
    if not 0 < radius < np.inf:
        raise ValueError(f"points must be finite and not all the same, got radius {radius}.")
    return centered / radius


def read_off(path: str | os.PathLike[str]) -> Mesh:
    """Returns the mesh of an OFF file; polygons are cut into triangles, colors are passed over.

    Args:
      path: A text file that begins with ``OFF``, or ``COFF`` if its vertices have colors, and the
        numbers of vertices, faces and edges, on the next line or (as in some files of
        ModelNet40) on the same. One vertex or face is on each of the other lines.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If it is not a mesh in the format OFF; the message says where.
    """
    text = read_text(Path(path), "an OFF file", encoding="latin-1")
    stripped = (line.partition("#")[0].strip() for line in text.split("\n"))
    lines = [(number, line) for number, line in enumerate(stripped, start=1) if line]
    match = _OFF_HEAD.match(lines[0][1]) if lines else None
    if match is None:
        raise ValueError(f"{path} is not an OFF file: it does not begin with 'OFF'.")
    color, counts = match.groups()
    body = lines[1:]
    if not counts and body:
        counts, body = body[0][1], body[1:]
    try:
        num_vertices, num_faces = (to_integer(word) for word in counts.split()[:2])
    except ValueError as error:
        raise ValueError(
            f"{path}: after 'OFF' come the numbers of vertices and faces, got {counts!r}."
        ) from error
    if min(num_vertices, num_faces) < 0 or len(body) != num_vertices + num_faces:
        raise ValueError(
            f"{path} announces {num_vertices} vertices and {num_faces} faces, and has "
            f"{len(body)} lines for them."
        )
    vertices: list[list[float]] = []
    faces: list[list[int]] = []
    for number, line in body:
        try:
            if len(vertices) < num_vertices:
                vertices.append(_vertex(line.split(), _OFF_COLORED if color else _PLAIN))
            else:
                faces.append(_off_face(line.split()))
        except ValueError as error:
            raise ValueError(f"{path}, line {number} cannot be read: {error}.") from error
    return _mesh(path, np.array(vertices, np.float64), faces)


def read_obj(text: str, name: str = "text") -> Mesh:
    """Returns the mesh of an OBJ file; only its vertices and faces are read.

    Args:
      text: What the file holds.
      name: What to call it in errors.

    Raises:
      ValueError: If a line cannot be read, or a face names a vertex that is not there.
    """
    text = text.removeprefix("\ufeff").removeprefix(_MARK_IN_LATIN_1)
    vertices: list[list[float]] = []
    faces: list[list[int]] = []
    for number, line in enumerate(text.replace("\\\n", " ").split("\n"), start=1):
        words = line.partition("#")[0].split()
        try:
            if words[:1] == ["v"]:
                vertices.append(_vertex(words[1:], _OBJ))
            elif words[:1] == ["f"]:
                indices = [to_integer(word.partition("/")[0]) for word in words[1:]]
                if 0 in indices:
                    raise ValueError("a face names vertex 0, and the first is vertex 1")
                # Counted from 1, or backwards from the newest vertex.
                faces.append([i - 1 if i > 0 else len(vertices) + i for i in indices])
        except ValueError as error:
            raise ValueError(f"{name}, line {number} cannot be read: {error}.") from error
    return _mesh(name, np.array(vertices, np.float64), faces)


def _vertex(words: Sequence[str], sizes: Sequence[int]) -> list[float]:
    if len(words) not in sizes:
        raise ValueError(f"a vertex of {len(words)} numbers, not {' or '.join(map(str, sizes))}")
    return to_floats(words)[:3]


def _off_face(words: Sequence[str]) -> list[int]:
    size = to_integer(words[0])
    if size < 3:
        raise ValueError(f"a face of {size} vertices")
    indices, colors = words[1 : size + 1], words[size + 1 :]
    if len(indices) < size:
        raise ValueError(f"a face of {size} vertices has {len(indices)} indices")
    if len(colors) not in _FACE_COLORS:
        raise ValueError(f"a face of {size} vertices has {len(colors)} numbers after them")
    to_floats(colors)
    return [to_integer(word) for word in indices]


def _mesh(
    name: str | os.PathLike[str], vertices: np.ndarray, faces: Sequence[Sequence[int]]
) -> Mesh:
    """Returns the checked mesh of polygons."""
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise ValueError(f"{name}: vertices must be [V, 3], got {list(vertices.shape)}.")
    if not np.isfinite(vertices).all():
        raise ValueError(
            f"{name}: vertex {int(np.argmin(np.isfinite(vertices).all(1)))} is not finite."
        )
    try:
        return Mesh(vertices, triangulate(vertices, faces))
    except ValueError as error:
        raise ValueError(f"{name}: {error}.") from None

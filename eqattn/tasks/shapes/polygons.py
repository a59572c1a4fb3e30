"""Polygons in space, cut into triangles that cover what they enclose, once.

Triangles between corners of a polygon, as many as its corners but two, have an oriented area in
sum that is the polygon's. If none of them is turned the other way, they cover each place as often
as the polygon goes around it: exactly what it encloses, where it does not cross itself. All that is
to be checked of a cut are these signs.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

_TOLERANCE = 1e-9
"""Area that counts as none, of a square as long as the polygon."""


def triangulate(
    vertices: Float[np.ndarray, "V 3"], faces: Sequence[Sequence[int]]
) -> Int[np.ndarray, "F 3"]:
    """Returns the triangles of polygons, those of one after those of the other.

    A polygon is cut from its first corner to all others where that covers it, as in all that are
    convex, and else by clipping ears in its plane, the one of its mean normal. One that crosses
    itself there, flat or twisted, has no inside, and is cut from its first corner all the same.

    Example:
      >>> arrow = np.array([[0, 0, 0], [2, 1, 0], [0, 2, 0], [1.5, 1, 0]])
      >>> triangulate(arrow, [[0, 1, 2, 3]]).tolist()
      [[3, 0, 1], [3, 1, 2]]

    Args:
      vertices: Where the corners are.
      faces: The corners of each polygon, in order; those of fewer than three are left out.

    Raises:
      ValueError: If a face names a vertex that is not there.
    """
    corners = np.fromiter(itertools.chain.from_iterable(faces), np.int64)
    if corners.size and not 0 <= corners.min() <= corners.max() < len(vertices):
        wrong = corners.min() if corners.min() < 0 else corners.max()
        raise ValueError(f"a face names vertex {wrong}, and there are {len(vertices)}")
    sizes = np.fromiter(map(len, faces), np.int64)
    clipped: dict[int, list[tuple[int, int, int]]] = {}
    for size in np.unique(sizes[sizes > 3]):
        places = np.flatnonzero(sizes == size)
        polygons = vertices[np.array([faces[place] for place in places.tolist()])]
        for index in np.flatnonzero(~_fans_cover(polygons)):
            clipped[int(places[index])] = _ears(polygons[index])
    triangles: list[tuple[int, int, int]] = []
    for place, face in enumerate(faces):
        if ears := clipped.get(place):
            triangles.extend((face[a], face[b], face[c]) for a, b, c in ears)
        else:
            triangles.extend((face[0], b, c) for b, c in itertools.pairwise(face[1:]))
    return np.array(triangles, np.int64).reshape(-1, 3)


def _fans_cover(polygons: Float[np.ndarray, "F K 3"]) -> Bool[np.ndarray, "F"]:
    """Returns whether the triangles from the first corner are all turned the same way."""
    spokes = polygons[:, 1:] - polygons[:, :1]
    parts = np.cross(spokes[:, :-1], spokes[:, 1:])
    normal = parts.sum(axis=1)
    length, nothing = np.linalg.norm(normal, axis=-1), _nothing(spokes)
    along = np.einsum("fkc,fc->fk", parts, normal) / np.maximum(length, nothing)[:, None]
    is_line = np.linalg.norm(parts, axis=-1).sum(axis=1) <= nothing
    return is_line | ((along >= -nothing[:, None]).all(axis=1) & (length > nothing))


def _nothing(spokes: Float[np.ndarray, "*F K 3"]) -> Float[np.ndarray, "*F"]:
    """Returns the area that counts as none, above 0."""
    longest = np.sum(spokes**2, axis=-1).max(axis=-1)
    return np.asarray(np.maximum(_TOLERANCE * longest, np.finfo(float).tiny))


def _ears(polygon: Float[np.ndarray, "K 3"]) -> list[tuple[int, int, int]]:
    """Returns triangles of corners that are not turned the other way; none if that cannot be."""
    spokes = polygon - polygon[0]
    normal = np.cross(spokes, np.roll(spokes, -1, axis=0)).sum(axis=0)
    length, nothing = np.linalg.norm(normal), float(_nothing(spokes))
    if length <= nothing:
        return []
    normal /= length
    along = np.cross(normal, np.eye(3)[np.argmin(np.abs(normal))])
    along /= np.linalg.norm(along)
    flat = spokes @ np.stack([along, np.cross(normal, along)], axis=-1)

    def areas(a: int, b: int, others: list[int]) -> np.ndarray:
        (x, y), to = flat[b] - flat[a], flat[others] - flat[a]
        return x * to[:, 1] - y * to[:, 0]

    def around(place: int) -> tuple[int, int, int]:
        return left[place - 1], left[place], left[(place + 1) % len(left)]

    def is_flat(place: int) -> bool:
        a, b, c = around(place)
        return bool(abs(areas(a, b, [c])[0]) <= nothing)

    def is_ear(place: int) -> bool:
        a, b, c = around(place)
        # A corner on the line from a to c must stay, or what is left would touch itself there.
        is_inside = (areas(a, b, left) > nothing) & (areas(b, c, left) > nothing)
        is_inside &= areas(c, a, left) >= -nothing
        return bool(areas(a, b, [c])[0] > 0 and not is_inside.any())

    left, ears = list(range(len(polygon))), []
    while len(left) > 2:
        places = range(len(left))
        place = next(itertools.chain(filter(is_flat, places), filter(is_ear, places)), None)
        if place is None:
            return []
        ears.append(around(place))
        del left[place]
    return ears

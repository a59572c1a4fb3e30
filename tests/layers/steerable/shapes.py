"""Point sets that are hard to tell apart."""

import itertools

import numpy as np

GOLDEN = (1 + 5**0.5) / 2


def icosahedron():
    """Its vertices, with edges of length 2."""
    signs = itertools.product((-1, 1), repeat=2)
    rows = [(0, a, b * GOLDEN) for a, b in signs]
    return np.array([np.roll(row, shift) for row in rows for shift in range(3)], float)


def alike_by_distances():
    """Two sets of six vertices that no model of distances alone can tell apart.

    Each of the 12 points has squared distances 4, 4, 10.47, 10.47 and 14.47 to the others of its
    set, so that distances, and all that is made of neighbors that look alike, are the same; the
    triangles are not.
    """
    vertices, found = icosahedron(), {}
    for chosen in itertools.combinations(range(12), 6):
        points = vertices[list(chosen)]
        squares = np.sum((points[:, None] - points[None]) ** 2, axis=-1)
        rows = np.sort(squares, axis=1)[:, 1:]
        if np.allclose(rows, [4, 4, 10.4721, 10.4721, 14.4721], atol=1e-3):
            triangles = tuple(
                sorted(
                    tuple(sorted(np.round([squares[a, b], squares[b, c], squares[a, c]], 2)))
                    for a, b, c in itertools.combinations(range(6), 3)
                )
            )
            found.setdefault(triangles, points)
    first, second = found.values()
    return first, second


def handed():
    """A set of points that no rotation takes to its mirror image, and that image."""
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1.5, 0], [0, 0, 2.25], [1.2, 0.3, 0.4]], float)
    return points, points * [1, 1, -1]

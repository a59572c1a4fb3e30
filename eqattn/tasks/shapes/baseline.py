"""A random forest on features that no rotation changes: what the task "shapes" is compared with.

It sees distances only, and so neither the orientation of a shape nor its handedness.
"""

import importlib
from typing import Any

import numpy as np
from jaxtyping import Float

from eqattn.checks import check_sizes
from eqattn.tasks.shapes.data import Shapes, split

NUM_QUANTILES, NUM_LOCAL_QUANTILES = 33, 9
NUM_BINS = 48
NUM_NEIGHBORS = (8, 24)
_PAIRED = 256  # points of which all pairs are taken


def invariant_features(points: Float[np.ndarray, "M N 3"]) -> Float[np.ndarray, "M F"]:
    """Returns features of clouds of points that are invariant under E(3), exactly.

    Of a whole shape: 33 quantiles of the distances to the mean point, from the least to the
    greatest; the share of the pairs of points in each of 48 intervals of distance from 0 to 2; the
    square roots of the eigenvalues of the covariance, in increasing order. Of the neighborhoods of
    its points, the 8 and the 24 nearest with the point itself among them: 9 quantiles over the
    points of each such square root, of the least by the greatest of them, and of the distance to
    the farthest neighbor. Pairs and neighborhoods are those of the first 256 points.

    Args:
      points: Points of M shapes, in the unit ball; more than 24 of each.

    Raises:
      ValueError: If a shape has fewer points.
    """
    check_sizes({"points.shape[1]": points.shape[1]}, minimum=max(NUM_NEIGHBORS) + 1)
    return np.stack([_features(shape.astype(np.float64)) for shape in points])


def forest_accuracy(
    shapes: Shapes,
    *,
    fold: int = 0,
    seed: int = 0,
    num_trees: int = 500,
    features: Float[np.ndarray, "M F"] | None = None,
) -> float:
    """Returns the share of the test shapes of a fold that a random forest classifies rightly.

    It learns from the training and the validation shapes of `eqattn.tasks.shapes.data.split`.

    Args:
      shapes: All shapes of the data set.
      fold: Number of the fold.
      seed: Seed of the forest.
      num_trees: Trees of the forest.
      features: Features of all shapes, if they are at hand; see `invariant_features`.

    Raises:
      ModuleNotFoundError: If scikit-learn is not installed.
      ValueError: If there is no such fold, or no tree.
    """
    check_sizes({"num_trees": num_trees})
    parts = split(shapes, fold)
    try:
        ensemble: Any = importlib.import_module("sklearn.ensemble")
    except ImportError as error:
        raise ModuleNotFoundError(
            "the random forest needs scikit-learn, which is not installed: "
            "pip install scikit-learn."
        ) from error
    if features is None:
        features = invariant_features(shapes.points)
    learned = np.concatenate([parts["train"], parts["validation"]])
    forest = ensemble.RandomForestClassifier(num_trees, random_state=seed)
    forest.fit(features[learned], shapes.labels[learned])
    return float(forest.score(features[parts["test"]], shapes.labels[parts["test"]]))


def majority_accuracy(shapes: Shapes, *, fold: int = 0) -> float:
    """Returns the share of the test shapes of a fold that are of the commonest class elsewhere.

    Args:
      shapes: All shapes of the data set.
      fold: Number of the fold.

    Raises:
      ValueError: If there is no such fold.
    """
    parts = split(shapes, fold)
    learned = np.concatenate([parts["train"], parts["validation"]])
    commonest = np.bincount(shapes.labels[learned]).argmax()
    return float(np.mean(shapes.labels[parts["test"]] == commonest))


def _features(points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "F"]:
    centered = points - points.mean(axis=0)
    radii = np.linalg.norm(centered, axis=-1)
    points = centered[:_PAIRED]
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    pairs = distances[np.triu_indices(len(points), k=1)]
    shares = np.histogram(pairs, bins=NUM_BINS, range=(0.0, 2.0))[0] / len(pairs)
    found = [np.quantile(radii, np.linspace(0, 1, NUM_QUANTILES)), shares, _spreads(centered)]
    nearest = np.argsort(distances, axis=1, kind="stable")
    for size in NUM_NEIGHBORS:
        spreads = _spreads(points[nearest[:, :size]])
        flatness = spreads[:, 0] / np.maximum(spreads[:, 2], 1e-9)
        reach = np.sort(distances, axis=1)[:, size - 1]
        local = np.stack([*spreads.T, flatness, reach])
        found.append(np.quantile(local, np.linspace(0, 1, NUM_LOCAL_QUANTILES), axis=1).ravel())
    return np.concatenate(found)


def _spreads(points: Float[np.ndarray, "*B N 3"]) -> Float[np.ndarray, "*B 3"]:
    """Returns the square roots of the eigenvalues of the covariance of points."""
    centered = points - points.mean(axis=-2, keepdims=True)
    covariances = np.swapaxes(centered, -1, -2) @ centered / points.shape[-2]
    return np.sqrt(np.maximum(np.linalg.eigvalsh(covariances), 0.0))

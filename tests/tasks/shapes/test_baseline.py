import dataclasses
import sys

import numpy as np
import pytest

from eqattn.data.motions import RandomMotion
from eqattn.tasks.shapes.baseline import forest_accuracy, invariant_features, majority_accuracy
from eqattn.tasks.shapes.data import load


@pytest.fixture(scope="module")
def shapes():
    return load()


@pytest.fixture(scope="module")
def features(shapes):
    return invariant_features(shapes.points[:20])


def test_no_motion_changes_the_features(shapes, features):
    matrices, shifts = RandomMotion("SO(3)", 0.3).sample(np.random.RandomState(0), 20, 3)
    moved = np.einsum("bij,bnj->bni", matrices, shapes.points[:20].astype(float)) + shifts[:, None]
    # A distance that is moved over the edge of its interval changes a share by one pair.
    shares = slice(33, 81)
    again = invariant_features(moved)
    assert np.abs(again - features)[:, shares].max() < 10 / (256 * 255 / 2)
    kept = np.delete(np.arange(features.shape[1]), shares)
    np.testing.assert_allclose(again[:, kept], features[:, kept], atol=1e-6)
    mirrored = invariant_features(shapes.points[:20] * np.array([-1.0, 1, 1], np.float32))
    np.testing.assert_allclose(mirrored[:, kept], features[:, kept], atol=1e-6)


def test_another_shape_has_others(shapes, features):
    stretched = invariant_features(shapes.points[:20] * np.array([1.0, 1, 0.5], np.float32))
    assert (np.abs(stretched - features).max(axis=1) > 0.02).all()


def test_the_order_of_the_points_is_nothing(shapes, features):
    order = np.random.RandomState(0).permutation(256)
    again = invariant_features(shapes.points[:20, order])
    np.testing.assert_allclose(again, features, atol=1e-6)


def test_shares_and_quantiles(features):
    assert features.shape == (20, 33 + 48 + 3 + 2 * 5 * 9)
    np.testing.assert_allclose(features[:, 33:81].sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(features[:, 32], 1, atol=1e-4)  # the farthest point
    assert np.isfinite(features).all()


def test_a_cloud_on_a_line():
    points = np.zeros((1, 30, 3), np.float32)
    points[0, :, 0] = np.linspace(-1, 1, 30)
    features = invariant_features(points)
    assert np.isfinite(features).all()
    np.testing.assert_allclose(features[0, 81:83], 0, atol=1e-7)


def test_too_few_points(shapes):
    with pytest.raises(ValueError, match=r"points\.shape\[1\] must be at least 25, got 24"):
        invariant_features(shapes.points[:, :24])


def test_the_majority(shapes):
    accuracies = [majority_accuracy(shapes, fold=fold) for fold in range(5)]
    assert np.mean(accuracies) == pytest.approx(0.113, abs=5e-4)
    with pytest.raises(ValueError, match="fold must be from 0 to 4, got 5"):
        majority_accuracy(shapes, fold=5)


@pytest.mark.slow
def test_the_forest_tells_classes_apart(shapes):
    pytest.importorskip("sklearn.ensemble", reason="scikit-learn is not installed")
    given = {"fold": 2, "num_trees": 40, "features": invariant_features(shapes.points)}
    accuracy = forest_accuracy(shapes, **given)
    assert 0.45 < accuracy < 0.75
    assert forest_accuracy(shapes, **given) == accuracy
    # With the labels in another order there is nothing to be learned.
    labels = np.random.RandomState(0).permutation(shapes.labels)
    assert forest_accuracy(dataclasses.replace(shapes, labels=labels), **given) < 0.25


def test_the_forest_asks_for_scikit_learn(shapes, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(ModuleNotFoundError, match="needs scikit-learn, which is not installed"):
        forest_accuracy(shapes)
    with pytest.raises(ValueError, match="fold must be from 0 to 4, got 9"):
        forest_accuracy(shapes, fold=9)
    with pytest.raises(ValueError, match="num_trees must be at least 1, got 0"):
        forest_accuracy(shapes, num_trees=0)

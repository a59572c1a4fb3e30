import numpy as np
import pytest

from eqattn.data.labeled_batches import evaluation_batches, training_batches
from eqattn.tasks.constellations import data as constellations
from eqattn.tasks.constellations.data import (
    COLUMNS,
    MOTIONS,
    PATTERNS,
    ConstellationParameters,
    examples,
    generate,
)

CORNERS = np.array([4, 3, 5, 5])


@pytest.fixture(scope="module")
def held():
    return generate(4000)


def test_patterns_are_centered_and_of_one_size():
    assert list(PATTERNS) == ["square", "triangle", "pentagon", "L"]
    for name, corners in PATTERNS.items():
        sides = np.linalg.norm(np.diff(corners, axis=0), axis=1)
        np.testing.assert_allclose(sides, sides[0], rtol=1e-12)
        if name != "L":
            np.testing.assert_allclose(corners.mean(axis=0), 0, atol=1e-15)
            np.testing.assert_allclose(np.linalg.norm(corners, axis=1), 1, rtol=1e-12)


def test_shapes_and_types(held):
    assert held.points.shape == (4000, 34, 2)
    assert held.points.dtype == np.float32
    assert held.labels.dtype == np.int32
    np.testing.assert_array_equal(held.ids, np.arange(4000))
    np.testing.assert_array_equal(held.mask.sum(axis=1), held.labels @ CORNERS)
    # The corners that are there come first, and the rest is zero.
    np.testing.assert_array_equal(held.mask, np.sort(~held.mask, axis=1) == 0)
    np.testing.assert_array_equal(held.points[~held.mask], 0)


def test_patterns_are_dropped_half_of_the_time_but_not_all(held):
    counts = np.stack([np.mean(held.labels == number, axis=0) for number in range(3)])
    np.testing.assert_allclose(counts, np.array([[0.25], [0.5], [0.25]]) * np.ones(4), atol=0.03)
    assert held.labels.sum(axis=1).min() == 1
    # By binomial probabilities one pattern of eight is left in (8 + 1) / 256 of the cases.
    assert np.mean(held.labels.sum(axis=1) == 1) == pytest.approx(9 / 256, abs=0.012)
    rare = generate(500, parameters=ConstellationParameters(drop_probability=0.999))
    assert (rare.labels.sum(axis=1) == 1).mean() > 0.9
    assert (rare.labels.sum(axis=0) > 90).all()  # the one that stays is any of them


def test_what_is_there_fills_the_square(held):
    low = np.where(held.mask[..., None], held.points, np.inf).min(axis=(1, 2))
    high = np.where(held.mask[..., None], held.points, -np.inf).max(axis=(1, 2))
    np.testing.assert_allclose(low, -1, atol=1e-6)
    np.testing.assert_allclose(high, 1, atol=1e-6)


def clean(kind, number=300, **parameters):
    """Examples of one pattern of a kind, in random order of the corners."""
    parameters = {"noise": 0.0, "drop_probability": 0.999, **parameters}
    many = generate(8 * number, parameters=ConstellationParameters(**parameters))
    wanted = np.zeros(4, int)
    wanted[list(PATTERNS).index(kind)] = 1
    some = many[np.flatnonzero((many.labels == wanted).all(axis=1))]
    return some.points[:, : len(PATTERNS[kind])].astype(float)


@pytest.mark.parametrize("kind", PATTERNS)
def test_corners_are_those_of_the_pattern_up_to_motion_and_scale(kind):
    def distances(points):
        found = np.linalg.norm(points[..., :, None, :] - points[..., None, :, :], axis=-1)
        found = np.sort(found.reshape(*found.shape[:-2], -1))
        return found / found[..., -1:]

    points = clean(kind)
    assert len(points) > 150
    np.testing.assert_allclose(
        distances(points), np.tile(distances(PATTERNS[kind]), (len(points), 1)), atol=1e-4
    )


def angles_of(kind, **parameters):
    """By how much each example is turned, from the complex number that fits it best."""
    points = clean(kind, extent=0.0, **parameters)
    there = points[..., 0] + 1j * points[..., 1]
    there -= there.mean(axis=1, keepdims=True)
    corners = PATTERNS[kind] @ np.array([1, 1j])
    corners = corners - corners.mean()
    # Corners come shuffled: their order is found by trying what each turn would need.
    best = np.zeros(len(there))
    error = np.full(len(there), np.inf)
    for angle in np.linspace(-np.pi, np.pi, 721)[:-1]:
        turned = corners * np.exp(1j * angle)
        scale = np.abs(there).max(axis=1) / np.abs(corners).max()
        gap = np.abs(there[:, :, None] / scale[:, None, None] - turned).min(axis=2).max(axis=1)
        best = np.where(gap < error, angle, best)
        error = np.minimum(error, gap)
    assert error.max() < 0.02
    return best


def test_rotations_are_uniform_within_their_bounds():
    angles = angles_of("L") / np.pi  # an L has no symmetry, so its angle is known
    assert np.abs(angles).max() < 0.34
    counts, _ = np.histogram(angles, bins=4, range=(-0.33, 0.33))
    assert np.abs(counts / len(angles) - 0.25).max() < 0.1
    assert np.abs(angles_of("L", max_rotation=0.1)).max() < 0.11 * np.pi


def test_all_kinds_of_patterns_are_moved_alike(monkeypatch):
    """By U(0, 24)²: between two of a kind it is 0.521 of 24 on average, known from their size."""
    small = {kind: 0.01 * corners for kind, corners in PATTERNS.items()}  # and so none overlap
    monkeypatch.setattr(constellations, "PATTERNS", small)
    parameters = ConstellationParameters(noise=0.0, drop_probability=0.75)
    many = generate(20_000, parameters=parameters)
    for kind, corners in small.items():
        wanted = 2 * (np.array(list(small)) == kind)
        rows = np.flatnonzero((many.labels == wanted).all(axis=1))
        points = many.points[rows, : 2 * len(corners)].astype(float)
        distances = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
        sides = np.sort(distances, axis=-1)[..., 1].min(axis=1)
        between = distances.mean(axis=(1, 2)) * 2 / sides
        between *= np.linalg.norm(corners[1] - corners[0])
        error = between.std() / np.sqrt(len(rows))
        assert len(rows) > 150
        assert between.mean() == pytest.approx(0.5214 * 24, abs=5 * error)


def test_dropped_patterns_have_no_influence_on_the_scale(monkeypatch):
    """The same draws with one pattern's corners far away, which leaves examples without it."""
    before = generate(300)
    far = PATTERNS | {"L": PATTERNS["L"] + 1000.0}
    monkeypatch.setattr(constellations, "PATTERNS", far)
    after = generate(300)
    without = before.labels[:, 3] == 0
    np.testing.assert_array_equal(after.points[without], before.points[without])
    assert (np.abs(after.points - before.points).max(axis=(1, 2))[~without] > 1e-3).mean() > 0.9


def test_noise_is_added_to_every_corner():
    noisy = generate(200, parameters=ConstellationParameters(noise=0.1))
    quiet = generate(200, parameters=ConstellationParameters(noise=0.0))
    np.testing.assert_array_equal(noisy.labels, quiet.labels)
    moved = np.abs(noisy.points - quiet.points)[noisy.mask]
    assert 0 < np.median(moved) < 0.05


def test_an_example_depends_on_its_own_number_alone(held):
    for number in (1, 512, 513):
        fewer = generate(number)
        for name in ("ids", "points", "mask", "labels"):
            np.testing.assert_array_equal(getattr(fewer, name), getattr(held, name)[:number])


def test_splits_and_seeds_share_nothing(held):
    first = {points.tobytes() for points in held.points[:1000]}
    for other in (
        generate(1000, split="test"),
        generate(1000, split="validation"),
        generate(1000, seed=1),
    ):
        assert not first & {points.tobytes() for points in other.points}
    assert first & {points.tobytes() for points in generate(1000).points}


def test_examples_are_the_rows(held):
    for index, example in enumerate(examples(600)):
        assert example["id"] == index
        np.testing.assert_array_equal(example["points"], held.points[index][held.mask[index]])
        np.testing.assert_array_equal(example["labels"], held.labels[index])


def test_more_of_each_kind():
    more = generate(50, parameters=ConstellationParameters(repetitions=3))
    assert more.points.shape == (50, 51, 2)
    assert more.labels.max() == 3


def test_the_six_columns(held):
    assert len(set(COLUMNS)) == 6
    some = held[:5]
    for training, test in COLUMNS:
        moved = training_batches(some, batch_size=5, motion=MOTIONS[training])[0]
        at = np.argsort(moved["id"])
        assert moved["features"].shape == (5, 34, 1)
        assert moved["labels"].shape == (5, 4)
        np.testing.assert_array_equal(moved["features"][at, :, 0], some.mask)
        assert (moved["points"][at] == some.points).all() == (training == "none")
        tested = next(evaluation_batches(some, batch_size=5, motion=MOTIONS[test]))
        np.testing.assert_array_equal(tested["labels"], some.labels)
        shift = (tested["points"] - some.points)[:, :4]
        rigid = np.ptp(shift, axis=1).max() < 1e-6  # by the same shift everywhere
        assert rigid == (test != "SE2")
        assert (np.abs(shift).max() > 1e-3) == (test != "none")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_examples": 0}, "num_examples must be at least 1, got 0"),
        ({"num_examples": 1, "split": "all"}, r"split must be one of \(.*\), got 'all'"),
        ({"num_examples": 1, "seed": -1}, r"seed must be in \[0, 2\*\*32\), got -1"),
        ({"num_examples": 1, "seed": 2**32}, r"seed must be in \[0, 2\*\*32\), got 4294967296"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        generate(**arguments)
    with pytest.raises(ValueError, match=message):
        next(examples(**arguments))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"repetitions": 0}, "repetitions must be at least 1, got 0"),
        ({"drop_probability": 1.0}, r"drop_probability must be in \[0, 1\), got 1.0"),
        ({"drop_probability": -0.1}, r"drop_probability must be in \[0, 1\), got -0.1"),
        ({"max_rotation": -1.0}, "max_rotation must be finite and not negative, got -1.0"),
        ({"extent": np.inf}, "extent must be finite and not negative, got inf"),
        ({"noise": np.nan}, "noise must be finite and not negative, got nan"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        ConstellationParameters(**parameters)

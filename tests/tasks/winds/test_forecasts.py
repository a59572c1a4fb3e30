import numpy as np
import pytest

from eqattn.tasks.winds.forecasts import (
    SPLITS,
    climatology,
    damped_persistence,
    examples,
    fit_damping,
    forecasts,
    persistence,
    r_squared,
    rms,
)
from tests.tasks.winds.test_data import make_winds


@pytest.fixture(scope="module")
def record():
    return make_winds(72)


@pytest.fixture(scope="module")
def parts(record):
    return {part: forecasts(record, part) for part in SPLITS}


def test_an_example_asks_for_the_month_after_its_own(record, parts):
    assert {part: len(data) for part, data in parts.items()} == {
        "train": 35,
        "validation": 12,
        "test": 24,
    }
    asked = np.concatenate([data.ids for data in parts.values()])
    np.testing.assert_array_equal(asked, 12 * 1990 + np.arange(1, 72))
    for data in parts.values():
        at = data.ids - 12 * 1990
        np.testing.assert_array_equal(data.targets, record.winds[at])
        np.testing.assert_array_equal(data.winds, record.winds[at - 1])
        np.testing.assert_array_equal(data.months, record.months[at])


def test_no_split_knows_what_another_is_asked_for(record):
    """Whatever the winds of validation and test are, training and climatologies stay the same."""
    before = {part: forecasts(record, part) for part in SPLITS}
    changed = make_winds(72, seed=1)
    changed.winds[:36] = record.winds[:36]
    after = {part: forecasts(changed, part) for part in SPLITS}
    for name in ("winds", "climatology", "target_climatology", "targets"):
        np.testing.assert_array_equal(getattr(before["train"], name), getattr(after["train"], name))
    for part in ("validation", "test"):
        np.testing.assert_array_equal(
            before[part].target_climatology, after[part].target_climatology
        )
        np.testing.assert_array_equal(before[part].climatology, after[part].climatology)
        assert (before[part].targets != after[part].targets).any(axis=(1, 2)).all()
    assert not set(before["validation"].ids) & set(before["test"].ids)


def test_no_input_holds_what_is_asked_for():
    """A month of training may change without any change of the input of its example."""
    record, changed = make_winds(72), make_winds(72)
    changed.winds[14] += 100.0
    before, after = forecasts(record), forecasts(changed)
    row = 13  # the first example asks for month 1
    np.testing.assert_array_equal(before.ids[row], 12 * 1990 + 14)
    assert (before.targets[row] != after.targets[row]).all()
    for name in ("winds", "climatology", "target_climatology"):
        np.testing.assert_array_equal(getattr(before, name)[row], getattr(after, name)[row])
    # It is in the climatology of the same month of other years, and in the input of the next.
    assert (before.target_climatology[row + 12] != after.target_climatology[row + 12]).all()
    assert (before.winds[row + 1] != after.winds[row + 1]).all()
    np.testing.assert_array_equal(before.climatology[row + 1], after.climatology[row + 1])


def test_the_climatology_of_the_last_month_of_training_leaves_it_out_too(record, parts):
    np.testing.assert_allclose(
        parts["validation"].climatology[0], record.winds[[11, 23]].mean(0), rtol=1e-5, atol=1e-7
    )
    np.testing.assert_allclose(
        parts["validation"].climatology[1], record.winds[[0, 12, 24]].mean(0), rtol=1e-5, atol=1e-7
    )


def test_rows_are_chosen_and_points_shared(parts):
    data = parts["test"]
    few = data[np.array([3, 1])]
    assert len(few) == 2
    np.testing.assert_array_equal(few.ids, data.ids[[3, 1]])
    np.testing.assert_array_equal(few.targets, data.targets[[3, 1]])
    assert few.points is data.points
    assert few.areas is data.areas
    assert len(data[:0]) == 0


def test_examples_are_the_rows():
    for part, size in (("validation", 12), ("test", 24)):
        rows = list(examples("embedded", part, step=30.0))
        assert len(rows) == size
        assert rows[-1]["month"] == 12
        assert rows[-1]["year"] == (1990 if part == "validation" else 1992)
        assert rows[0]["id"] + size - 1 == rows[-1]["id"]
        shapes = {name: np.shape(value) for name, value in rows[3].items()}
        vectors = ("points", "wind", "climatology", "target_climatology", "target")
        scalars = dict.fromkeys(("id", "year", "month"), ())
        at_points = {"areas": (62,), "relief": (62, 2)}
        assert shapes == dict.fromkeys(vectors, (62, 3)) | scalars | at_points
        np.testing.assert_array_equal(rows[3]["wind"], rows[2]["target"])


def test_an_unknown_split(record):
    with pytest.raises(ValueError, match=r"part must be one of \('train', .*, got 'all'"):
        forecasts(record, "all")


def test_persistence_and_climatology(parts):
    data = parts["test"]
    np.testing.assert_array_equal(persistence(data), data.winds)
    np.testing.assert_array_equal(climatology(data), data.target_climatology)
    np.testing.assert_allclose(damped_persistence(data, 0.0), data.target_climatology)
    np.testing.assert_allclose(
        damped_persistence(data, 1.0) - data.winds,
        data.target_climatology - data.climatology,
        atol=1e-6,
    )


def test_the_damping_is_the_best_one(parts):
    data = parts["train"]
    best = fit_damping(data)
    scores = [
        rms(damped_persistence(data, damping) - data.targets, data.areas)
        for damping in (best - 0.05, best, best + 0.05)
    ]
    assert scores[1] < min(scores[0], scores[2])
    assert scores[1] <= rms(climatology(data) - data.targets, data.areas)
    with pytest.raises(ValueError, match="no wind of its 0 examples departs"):
        fit_damping(data[:0])


def test_departures_that_live_on_are_found():
    record = make_winds(72)
    for index in range(1, 72):
        record.winds[index] += np.float32(0.8) * record.winds[index - 1]
    data = forecasts(record)
    assert 0.4 < fit_damping(data) < 0.8
    forecast = damped_persistence(data, fit_damping(data))
    assert rms(forecast - data.targets, data.areas) < 0.8 * rms(
        climatology(data) - data.targets, data.areas
    )


def test_rms_weighs_by_area():
    areas = np.array([1.0, 3.0])
    errors = np.array([[[3.0, 4.0, 0.0], [0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0], [0.0, 0.0, 2.0]]])
    # Mean squares (25 · 1 + 0) / 4 and (0 + 4 · 3) / 4.
    assert rms(errors, areas) == pytest.approx(np.sqrt((6.25 + 3.0) / 2))
    assert rms(errors, 10 * areas) == rms(errors, areas)


def test_r_squared_is_the_part_of_the_variance_about_one_mean():
    random = np.random.RandomState(0)
    targets, areas = random.normal((1.0, 2.0, 3.0), size=(5, 7, 3)), random.uniform(size=7)
    mean = np.average(targets.mean(0), axis=0, weights=areas)
    everywhere = np.broadcast_to(mean, targets.shape)
    assert r_squared(targets, targets, areas) == 1.0
    assert r_squared(everywhere, targets, areas) == pytest.approx(0.0, abs=1e-12)
    halfway = 0.5 * (targets + everywhere)
    assert r_squared(halfway, targets, areas) == pytest.approx(0.75)
    assert r_squared(0 * targets, targets, areas) < -1.0

import hashlib
import json
import os

import numpy as np
import pytest

from eqattn.data.labeled_batches import evaluation_batches, training_batches
from eqattn.tasks.shapes import data as shapes
from eqattn.tasks.shapes import modelnet
from eqattn.tasks.shapes.data import EMBEDDED_PATH, PROTOCOLS, examples, load, split
from eqattn.tasks.shapes.meshes import to_unit_ball


@pytest.fixture(scope="module")
def embedded():
    return load()


def test_the_record_gives_source_licenses_date_and_classes(embedded):
    record = json.loads(EMBEDDED_PATH.with_suffix(".json").read_text(encoding="utf-8"))
    assert record["sha256"] == hashlib.sha256(EMBEDDED_PATH.read_bytes()).hexdigest()
    assert "sweethome3d-furniture" in record["source"]["package"]
    assert len(record["source"]["sha256"]) == 5
    assert record["license"].keys() == {"CC0-1.0", "CC-BY-3.0", "CC-BY-3.0-US"}
    assert sum(record["license"].values()) == len(embedded)
    assert record["made"].startswith("20")
    counts = np.bincount(embedded.labels).tolist()
    assert record["classes"] == dict(zip(embedded.class_names, counts, strict=True))


def test_every_shape_has_an_author_and_a_license(embedded):
    path = EMBEDDED_PATH.with_name("shapes_attribution.txt")
    record = json.loads(EMBEDDED_PATH.with_suffix(".json").read_text(encoding="utf-8"))
    text = path.read_text(encoding="utf-8")
    assert record["attribution"] == {
        "file": path.name,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    head, _, table = text.partition("id\tclass\tname\tmodel\tauthor\tlicense\tpage\n")
    rows = [line.split("\t") for line in table.splitlines()]
    assert [int(row[0]) for row in rows] == embedded.ids.tolist()
    assert [row[1] for row in rows] == [embedded.class_names[label] for label in embedded.labels]
    for row in rows:
        assert row[4]
        assert f"{row[5]}: https://creativecommons.org/" in head
    for name, page in record["license_pages"].items():
        assert f"{name}: {page}\n" in head


def test_their_number_and_size(embedded):
    assert EMBEDDED_PATH.stat().st_size < 0.7e6
    assert embedded.points.shape == (408, 256, 3)
    assert len(embedded.class_names) == 14
    assert np.bincount(embedded.labels).min() >= 13
    assert np.bincount(embedded.labels).max() / len(embedded) < 0.12


def test_points_are_in_the_unit_ball_about_their_mean(embedded):
    np.testing.assert_allclose(embedded.points.mean(axis=1), 0, atol=2e-5)
    radii = np.linalg.norm(embedded.points, axis=-1).max(axis=1)
    np.testing.assert_allclose(radii, 1, atol=5e-5)


def test_z_points_up(embedded):
    """Tables have most of their surface above the middle of their height, people stand or sit."""
    height = np.ptp(embedded.points[..., 2], axis=1)
    middle = (embedded.points[..., 2].max(axis=1) + embedded.points[..., 2].min(axis=1)) / 2
    above = np.mean(embedded.points[..., 2] > middle[:, None], axis=1)
    tables = embedded.labels == embedded.class_names.index("table")
    assert np.mean(above[tables] > 0.5) > 0.9
    for axis in (0, 1):  # along the other axes they are about as large on either side
        sideways = embedded.points[..., axis]
        center = (sideways.max(axis=1) + sideways.min(axis=1)) / 2
        share = np.mean(sideways > center[:, None], axis=1)
        assert abs(np.median(share[tables]) - 0.5) < 0.05
    people = embedded.labels == embedded.class_names.index("person")
    broad = np.ptp(embedded.points[..., :2], axis=1).max(axis=1)
    assert np.mean(height[people] > broad[people]) > 0.7


def test_folds_are_fixed_alike_in_classes_and_keep_groups_whole(embedded):
    assert embedded.num_folds == 5
    assert np.bincount(embedded.folds).tolist() == [82, 82, 82, 81, 81]
    for group in np.unique(embedded.groups):
        assert len(set(embedded.folds[embedded.groups == group])) == 1
        assert len(set(embedded.labels[embedded.groups == group])) == 1
    for label in range(14):
        counts = np.bincount(embedded.folds[embedded.labels == label], minlength=5)
        assert counts.min() >= 2
        assert np.ptp(counts) <= 3
    digest = hashlib.sha256(embedded.folds.astype(np.uint8).tobytes()).hexdigest()
    assert digest[:16] == "925b111a5ef13618"


def test_a_split_tests_a_fold_and_validates_on_a_tenth(embedded):
    for fold in range(5):
        parts = split(embedded, fold)
        assert {name: len(rows) // 10 for name, rows in parts.items()} == {
            "train": 28,
            "validation": 4,
            "test": 8,
        }
        np.testing.assert_array_equal(
            np.sort(np.concatenate(list(parts.values()))), np.arange(len(embedded))
        )
        np.testing.assert_array_equal(embedded.folds[parts["test"]], fold)
        groups = [set(embedded.groups[rows].tolist()) for rows in parts.values()]
        assert not groups[0] & groups[1]
        for rows in parts.values():
            assert len(set(embedded.labels[rows].tolist())) == 14


def test_examples_are_the_rows(embedded):
    for index, example in enumerate(examples()):
        assert example["id"] == embedded.ids[index]
        assert example["label"] == embedded.labels[index]
        assert example["group"] == embedded.groups[index]
        assert example["fold"] == embedded.folds[index]
        np.testing.assert_array_equal(example["points"], embedded.points[index])


def test_fewer_points_are_the_first_in_a_unit_ball_of_their_own(embedded):
    fewer = load(num_points=32).points
    np.testing.assert_allclose(fewer.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(fewer, axis=-1).max(axis=1), 1, atol=1e-6)
    for few, shape in zip(fewer, embedded.points, strict=True):
        np.testing.assert_allclose(few, to_unit_ball(shape[:32]), atol=1e-6)
    np.testing.assert_array_equal(load(num_points=256).points, embedded.points)
    with pytest.raises(ValueError, match=r"shapes\.npz holds 256 points a shape, not 257"):
        load(num_points=257)
    with pytest.raises(ValueError, match=r"shapes\.npz: points must be .* not all the same"):
        load(num_points=1)
    with pytest.raises(ValueError, match="num_points must be at least 1, got 0"):
        load(num_points=0)


def test_rows_are_chosen(embedded):
    some = embedded[np.array([5, 3])]
    np.testing.assert_array_equal(some.ids, [5, 3])
    np.testing.assert_array_equal(some.points, embedded.points[[5, 3]])
    assert some.class_names == embedded.class_names
    assert len(embedded[:7]) == 7


def test_protocols(embedded):
    some = embedded[:6]
    for name, (training, test) in PROTOCOLS.items():
        batch = training_batches(some, batch_size=6, motion=training)[0]
        heights = some.points[batch["id"], :, 2]
        upright = np.abs(batch["points"][..., 2] - heights).max() < 1e-6
        assert upright == name.startswith("z/")
        assert np.abs(batch["points"] - some.points[batch["id"]]).max() > 0.1
        batch = next(evaluation_batches(some, batch_size=6, motion=test))
        upright = np.abs(batch["points"][..., 2] - some.points[..., 2]).max() < 1e-6
        assert upright == name.endswith("/z")
        assert batch["features"].shape == (6, 256, 1)
        np.testing.assert_array_equal(batch["labels"], some.labels)


def test_an_unknown_fold(embedded):
    for fold in (-1, 5):
        with pytest.raises(ValueError, match=f"fold must be from 0 to 4, got {fold}"):
            split(embedded, fold)


def test_too_few_shapes_for_a_split(embedded):
    only = embedded[np.flatnonzero(embedded.folds == 0)]
    with pytest.raises(ValueError, match="fold 0 of these 82 leaves none for train"):
        split(only, 0)


@pytest.fixture
def tree(tmp_path):
    """A tree of OFF files: pyramids and their mirror images, three to learn from, one to test."""
    for name, apex in (("pyramid", 1), ("needle", 9)):
        for part, numbers in (("train", (1, 2, 3)), ("test", (4,))):
            folder = tmp_path / "data" / name / part
            folder.mkdir(parents=True)
            for number in numbers:
                (folder / f"{name}_{number:04}.off").write_text(
                    f"OFF\n4 2 0\n0 0 0\n{number} 0 0\n0 1 0\n0 0 {apex}\n3 0 1 2\n3 0 1 3\n"
                )
    return tmp_path / "data"


def test_a_tree_of_off_files(tree, tmp_path):
    held = load(tree, num_points=64, cache_dir=tmp_path / "cache")
    assert held.class_names == ("needle", "pyramid")
    assert held.points.shape == (8, 64, 3)
    assert held.points.dtype == np.float32
    np.testing.assert_array_equal(held.labels, [0, 0, 0, 1, 1, 1, 0, 1])
    np.testing.assert_array_equal(held.folds, [-1] * 6 + [0, 0])
    np.testing.assert_allclose(held.points.mean(axis=1), 0, atol=1e-6)
    assert np.ptp(held.points[0], axis=0).argmax() == 2  # z is up here as there
    assert load(tree, cache_dir=tmp_path).points.shape[1] == modelnet.DEFAULT_OFF_POINTS
    for read, defined in zip(held.points, examples(tree, num_points=64), strict=True):
        np.testing.assert_array_equal(read, defined["points"])


def test_the_test_of_modelnet_is_its_own(tree, tmp_path):
    more = load(tree, num_points=8, cache_dir=tmp_path)[np.array([0, 1, 2, 3, 4, 5] * 2 + [6, 7])]
    more = shapes.Shapes(
        ids=np.arange(14),
        points=more.points,
        labels=more.labels,
        groups=np.arange(14),
        folds=more.folds,
        class_names=more.class_names,
    )
    parts = split(more)
    assert {name: len(rows) for name, rows in parts.items()} == {
        "train": 11,
        "validation": 1,
        "test": 2,
    }
    with pytest.raises(ValueError, match="fold must be from 0 to 0, got 1"):
        split(more, 1)


def test_the_points_of_a_tree_are_cached(tree, tmp_path, monkeypatch, caplog):
    first = load(tree, num_points=16, cache_dir=tmp_path / "cache")
    (path,) = (tmp_path / "cache").iterdir()
    assert path.name == f"shapes-off-{modelnet.fingerprint(tree)}-16-v2.npz"
    with monkeypatch.context() as patched:
        patched.setattr(modelnet, "read_off", None)
        again = load(tree, num_points=16, cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(again.points, first.points)
    path.write_bytes(b"nothing")
    np.testing.assert_array_equal(
        load(tree, num_points=16, cache_dir=tmp_path / "cache").points, first.points
    )
    assert "making the cache again" in caplog.text
    np.savez(path, points=first.points)
    assert len(load(tree, num_points=16, cache_dir=tmp_path / "cache")) == 8
    more = tree / "needle" / "train" / "needle_0009.off"
    more.write_text((tree / "needle" / "train" / "needle_0001.off").read_text())
    assert len(load(tree, num_points=16, cache_dir=tmp_path / "cache")) == 9


def test_a_cache_that_cannot_be_written_is_no_error(tree, tmp_path, caplog):
    (tmp_path / "file").touch()
    assert len(load(tree, num_points=16, cache_dir=tmp_path / "file")) == 8
    assert "cannot write the cache" in caplog.text


def test_a_file_that_changed_is_sampled_again(tree, tmp_path):
    first = load(tree, num_points=16, cache_dir=tmp_path / "cache")
    path = min(tree.glob("*/train/*.off"))
    text, changed = path.read_text(), path.stat().st_mtime_ns + 1_000_000_000
    path.write_text(text.replace("1", "3", 1))
    os.utime(path, ns=(changed, changed))
    assert len(path.read_text()) == len(text)
    again = load(tree, num_points=16, cache_dir=tmp_path / "cache")
    assert (again.points != first.points).any()

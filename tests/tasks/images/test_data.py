import dataclasses
import gzip
import hashlib
import json
import struct

import numpy as np
import pytest

from eqattn.data.labeled_batches import LabeledClouds, evaluation_batches, training_batches
from eqattn.data.motions import RandomMotion
from eqattn.tasks.images.data import (
    EMBEDDED_PATH,
    SPLITS,
    ImageClouds,
    Images,
    examples,
    load,
    max_points,
    pixel_centers,
)


@pytest.fixture(scope="module")
def digits():
    return load()


def test_the_record_gives_source_license_and_date():
    record = json.loads(EMBEDDED_PATH.with_suffix(".json").read_text(encoding="utf-8"))
    assert record["sha256"] == hashlib.sha256(EMBEDDED_PATH.read_bytes()).hexdigest()
    assert record["source"]["package"] == "scikit-learn"
    assert record["data"]["license"] == "CC-BY-4.0"
    assert "10.24432/C50P49" in record["data"]["citation"]
    assert record["made"].startswith("20")
    assert EMBEDDED_PATH.stat().st_size < 60_000


def test_the_digits_and_their_splits():
    parts = {split: load(split=split) for split in SPLITS}
    assert {split: len(part) for split, part in parts.items()} == {
        "train": 1197,
        "validation": 200,
        "test": 400,
    }
    ids = np.concatenate([part.ids for part in parts.values()])
    np.testing.assert_array_equal(ids, np.arange(1797))
    for part in parts.values():
        assert part.pixels.shape[1:] == (8, 8)
        assert part.levels == part.pixels.max() == 16
        assert set(part.labels.tolist()) == set(range(10))
        assert np.ptp(np.bincount(part.labels)) < 10


def test_the_first_digit_is_the_zero_of_the_source(digits):
    assert digits.labels[0] == 0
    np.testing.assert_array_equal(digits.pixels[0, 0], [0, 0, 5, 13, 9, 1, 0, 0])
    np.testing.assert_array_equal(digits.pixels[0, 7], [0, 0, 6, 13, 10, 0, 0, 0])


def test_the_nearest_neighbor_recognizes_the_test(digits):
    def flat(images):
        return images.pixels.reshape(len(images), -1).astype(float)

    test = load(split="test")
    squares = np.sum(flat(digits) ** 2, axis=1)
    distances = squares - 2 * flat(test) @ flat(digits).T  # squared, up to a constant of each row
    accuracy = np.mean(digits.labels[distances.argmin(axis=1)] == test.labels)
    assert accuracy == pytest.approx(0.95, abs=1e-4)


def test_examples_are_the_rows():
    for split in SPLITS:
        held = load(split=split)
        for index, example in enumerate(examples(split=split)):
            assert example["id"] == held.ids[index]
            assert example["label"] == held.labels[index]
            np.testing.assert_array_equal(example["pixels"], held.pixels[index])


def write_idx(path, array):
    data = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    data += array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.fixture(params=["-idx{}-ubyte", ".idx{}-ubyte", "-idx{}-ubyte.gz"])
def folder(request, tmp_path):
    for part, number in (("train", 25), ("t10k", 4)):
        random = np.random.RandomState(number)
        pixels = random.randint(256, size=(number, 3, 5))
        write_idx(tmp_path / (f"{part}-images" + request.param.format(3)), pixels)
        labels = np.arange(number) % 10
        write_idx(tmp_path / (f"{part}-labels" + request.param.format(1)), labels)
    return tmp_path


def test_idx_files_in_a_folder(folder):
    parts = {split: load(folder, split=split) for split in SPLITS}
    assert {split: part.ids.tolist() for split, part in parts.items()} == {
        "train": list(range(23)),
        "validation": [23, 24],
        "test": [0, 1, 2, 3],
    }
    for part in parts.values():
        np.testing.assert_array_equal(part.labels, part.ids % 10)
        assert part.levels == 255
    pixels = np.random.RandomState(25).randint(256, size=(25, 3, 5))
    np.testing.assert_array_equal(parts["validation"].pixels, pixels[23:])


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder of images at .*elsewhere"):
        load(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"has no file train-images-idx3-ubyte or .*\.gz"):
        load(tmp_path)
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((2, 3, 3)))
    with pytest.raises(FileNotFoundError, match=r"has no file train-labels-idx1-ubyte or"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"has no file t10k-images-idx3-ubyte or"):
        load(tmp_path, split="test")


def test_wrong_files(tmp_path):
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((2, 3)))
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(3))
    with pytest.raises(ValueError, match=r"images-.* must hold images \[M, R, K\], got \[2, 3\]"):
        load(tmp_path)
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((3, 0, 3)))
    with pytest.raises(ValueError, match=r"images-.* must hold images .* got \[3, 0, 3\]"):
        load(tmp_path)
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((2, 3, 3)))
    with pytest.raises(ValueError, match=r"a label for each of 2 images, got \[3\]"):
        load(tmp_path)
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(2))
    with pytest.raises(ValueError, match="split 'validation' holds no images"):
        load(tmp_path, split="validation")


def test_an_unknown_split():
    with pytest.raises(ValueError, match=r"split must be one of .*, got 'all'"):
        load(split="all")


def test_pixel_centers():
    np.testing.assert_allclose(
        pixel_centers(2, 2), [[-0.5, 0.5], [0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]]
    )
    wide = pixel_centers(2, 4)
    np.testing.assert_allclose(np.unique(wide[:, 0]), [-0.75, -0.25, 0.25, 0.75])
    np.testing.assert_allclose(np.unique(wide[:, 1]), [-0.25, 0.25])  # pixels stay square
    np.testing.assert_allclose(pixel_centers(28, 28).mean(axis=0), 0, atol=1e-16)


IMAGE = np.array([[0, 8, 0], [4, 16, 1]], np.uint8)


def image_set(number=3):
    pixels = np.stack([np.roll(IMAGE, shift) for shift in range(number)])
    return Images(np.arange(number) + 40, pixels, np.arange(number) + 5, levels=16)


def test_all_pixels_are_points():
    clouds = ImageClouds(image_set(), num_points=6)
    assert isinstance(clouds, LabeledClouds)
    batch = clouds.gather(np.array([0, 2]))
    np.testing.assert_allclose(batch["points"], np.stack([pixel_centers(2, 3)] * 2), atol=1e-7)
    np.testing.assert_allclose(batch["features"][0, :, 0] * 16, IMAGE.ravel())
    assert batch["mask"].all()
    np.testing.assert_array_equal(batch["labels"], [5, 7])


def test_only_bright_pixels_are_points():
    batch = ImageClouds(image_set(), num_points=5, threshold=0.1).gather(np.array([0]))
    np.testing.assert_array_equal(batch["mask"], [[True] * 3 + [False] * 2])
    np.testing.assert_allclose(batch["features"][0, :, 0] * 16, [8, 4, 16, 0, 0])
    np.testing.assert_allclose(batch["points"][0, :3], pixel_centers(2, 3)[[1, 3, 4]], atol=1e-7)
    np.testing.assert_array_equal(batch["points"][0, 3:], 0)
    longer = ImageClouds(image_set(), num_points=9).gather(np.array([0, 1]))
    assert longer["points"].shape == (2, 9, 2)
    np.testing.assert_array_equal(longer["mask"].sum(axis=1), 6)


def test_an_image_without_points_is_refused():
    held = image_set()
    dark = dataclasses.replace(held, pixels=held.pixels * np.array([[[1]], [[0]], [[1]]], np.uint8))
    with pytest.raises(ValueError, match=r"image 41 has no pixel above the threshold 0\.0, so"):
        ImageClouds(dark, num_points=6, threshold=0.0)


def test_max_points(digits):
    assert max_points(image_set()) == 6
    assert max_points(image_set(), 0.0) == 4
    assert max_points(image_set(), 0.5) == 1
    assert max_points(digits, 0.0) < max_points(digits) == 64
    for threshold in (-0.1, 1.0):
        with pytest.raises(ValueError, match=r"threshold must be in \[0, 1\), got"):
            max_points(image_set(), threshold)
    with pytest.raises(ValueError, match="num_points=5 is less than the 6 points of an image"):
        ImageClouds(image_set(), num_points=5)


def test_a_turned_image_is_its_points_turned():
    clouds = ImageClouds(image_set(), num_points=6)
    motion = RandomMotion("SO(2)")
    still = next(evaluation_batches(clouds, batch_size=3, dtype=np.float64))
    turned = next(evaluation_batches(clouds, batch_size=3, motion=motion, dtype=np.float64))
    np.testing.assert_array_equal(turned["features"], still["features"])
    np.testing.assert_array_equal(turned["id"], [40, 41, 42])
    for before, after in zip(still["points"], turned["points"], strict=True):
        (x, y), (u, v) = before[0], after[0]
        angle = np.arctan2(v, u) - np.arctan2(y, x)
        matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        np.testing.assert_allclose(after, before @ matrix.T, atol=1e-12)
        assert np.abs(after - before).max() > 0.05
    batch = training_batches(clouds, batch_size=2, motion=motion)[7]
    assert batch["points"].shape == (2, 6, 2)


def test_a_quarter_turn_is_that_of_the_pixels():
    """Turning the points by 90° gives the cloud of the image that numpy turns: y points up."""
    images = Images(np.zeros(1, int), IMAGE[None], np.zeros(1, int), 16)
    turned = Images(np.zeros(1, int), np.rot90(IMAGE)[None].copy(), np.zeros(1, int), 16)
    one, other = (
        ImageClouds(some, num_points=6).gather(np.array([0])) for some in (images, turned)
    )
    points = one["points"][0] @ np.array([[0, 1], [-1, 0]])  # (x, y) becomes (-y, x)
    for point, value in zip(points, one["features"][0], strict=True):
        (at,) = np.flatnonzero(np.abs(other["points"][0] - point).max(axis=1) < 1e-6)
        assert other["features"][0, at] == value

import sys

import numpy as np
import pytest

from eqattn.tasks.shapes import modelnet
from eqattn.tasks.shapes.data import class_names, examples, load
from eqattn.tasks.shapes.meshes import to_unit_ball


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py", reason="h5py is not installed")


@pytest.fixture
def folder(tmp_path, h5py):
    """Two files to learn from and one to test, of shapes of any size anywhere."""
    (tmp_path / "shape_names.txt").write_text("airplane\nbathtub\n\nnight stand\n")
    random = np.random.default_rng(0)
    for number, name in enumerate(("train2", "train10", "test0")):
        points = 100 * number + random.normal(size=(2, 5, 3), scale=1 + number)
        with h5py.File(tmp_path / f"ply_data_{name}.h5", "w") as file:
            file["data"] = points
            file["label"] = np.array([[number], [2 - number]], np.uint8)
    return tmp_path


def test_h5_files(folder):
    held = load(folder)
    assert held.class_names == ("airplane", "bathtub", "night stand")
    assert held.points.dtype == np.float32
    np.testing.assert_array_equal(held.ids, np.arange(6))
    np.testing.assert_array_equal(held.labels, [0, 2, 1, 1, 2, 0])
    np.testing.assert_array_equal(held.folds, [-1, -1, -1, -1, 0, 0])
    np.testing.assert_array_equal(held.groups, np.arange(6))
    # File after file in the order of their numbers, and (x, y, z) with y up becomes (x, -z, y).
    random = np.random.default_rng(0)
    for number in range(3):
        for row, shape in enumerate(random.normal(size=(2, 5, 3), scale=1 + number)):
            x, y, z = to_unit_ball(shape).T
            found = held.points[2 * number + row]
            np.testing.assert_allclose(found, np.stack([x, -z, y], axis=-1), atol=1e-5)
    np.testing.assert_allclose(held.points.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(held.points, axis=-1).max(axis=1), 1, atol=1e-6)


def test_fewer_points(folder):
    fewer = load(folder, num_points=3).points
    np.testing.assert_allclose(fewer.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(fewer, axis=-1).max(axis=1), 1, atol=1e-6)
    for few, shape in zip(fewer, load(folder).points, strict=True):
        np.testing.assert_allclose(few, to_unit_ball(shape[:3]), atol=1e-5)
    with pytest.raises(ValueError, match=r"train2\.h5: points must be finite and not all the same"):
        load(folder, num_points=1)
    with pytest.raises(ValueError, match=r"train2\.h5 holds 5 points a shape, not 6"):
        load(folder, num_points=6)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"data": np.zeros((2, 5, 3))}, "cannot be read: it has no dataset 'label'"),
        ({"label": np.zeros(2, int)}, "cannot be read: it has no dataset 'data'"),
        (
            {"data": np.zeros((2, 5, 2)), "label": np.zeros(2, int)},
            r"'data' must be \[M, N, 3\] and 'label' \[M\], got \[2, 5, 2\] and \[2\]",
        ),
        ({"data": np.zeros((2, 5, 3)), "label": np.zeros(3, int)}, r"got \[2, 5, 3\] and \[3\]"),
        ({"data": np.full((1, 5, 3), np.nan), "label": np.zeros(1, int)}, "'data' is not finite"),
        ({"data": np.zeros((1, 5, 3)), "label": np.zeros(1, int)}, "points must be .* not all the"),
        ({"data": np.zeros((0, 5, 3)), "label": np.zeros(0, int)}, "holds no points"),
        (
            {"data": np.eye(3)[None], "label": np.array([0.6])},
            "got float64 and float64",
        ),
        ({"data": np.full((1, 5, 3), b"x"), "label": np.zeros(1, int)}, "'data' must be numbers"),
        (
            {"data": np.stack([np.eye(3), np.eye(3)]), "label": np.array([0, 3])},
            "labels are from 0 to 3, and shape_names.txt has 3 names",
        ),
    ],
)
def test_wrong_h5_files(folder, h5py, arrays, message):
    with h5py.File(folder / "ply_data_train2.h5", "w") as file:
        for name, array in arrays.items():
            file[name] = array
    with pytest.raises(ValueError, match=message) as caught:
        load(folder)
    assert "ply_data_train2.h5" in str(caught.value)


def test_files_of_several_numbers_of_points(folder, h5py):
    with h5py.File(folder / "ply_data_test0.h5", "w") as file:
        file["data"], file["label"] = np.random.default_rng(0).normal(size=(1, 7, 3)), np.array([0])
    message = r"test0\.h5 holds 7 points a shape and .*train2\.h5 5; say by num_points"
    with pytest.raises(ValueError, match=message):
        load(folder)
    assert load(folder, num_points=4).points.shape == (5, 4, 3)


def test_a_damaged_h5_file(folder):
    (folder / "ply_data_train2.h5").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"train2\.h5 cannot be read"):
        load(folder)


def test_a_missing_part(folder):
    (folder / "ply_data_test0.h5").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no file \*test\*\.h5"):
        load(folder)


@pytest.mark.parametrize("name", ["latest_train7.h5", "Attestation-TRAIN.h5", "7train.latest.h5"])
def test_parts_are_words_of_names(folder, name):
    (folder / "ply_data_train10.h5").rename(folder / name)
    np.testing.assert_array_equal(load(folder).folds, [-1, -1, -1, -1, 0, 0])


@pytest.mark.parametrize("name", ["train_test.h5", "latest.h5", "training0.h5", "validation.h5"])
def test_names_of_both_parts_or_none(folder, name):
    (folder / "ply_data_train10.h5").rename(folder / name)
    with pytest.raises(ValueError, match=f"{name}: the name must hold one of the words train and"):
        load(folder)


def test_missing_names(folder):
    (folder / "shape_names.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no shape_names\.txt"):
        load(folder)


def test_h5py_is_named_where_it_is_missing(tmp_path, monkeypatch):
    (tmp_path / "shape_names.txt").write_text("airplane\n")
    (tmp_path / "ply_data_train0.h5").touch()
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ModuleNotFoundError, match=r"h5py, which is not installed.*modelnet"):
        load(tmp_path)


def test_a_folder_without_shapes(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"neither \*\.h5 nor class/train"):
        load(tmp_path)
    for use in (load, class_names):
        with pytest.raises(FileNotFoundError, match=r"no folder of shapes at .*elsewhere"):
            use(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"no folder of shapes at .*elsewhere"):
        next(examples(tmp_path / "elsewhere"))


def test_an_off_file_is_named_in_its_errors(tmp_path):
    path = tmp_path / "flat" / "train" / "flat_0001.off"
    path.parent.mkdir(parents=True)
    path.write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n")
    with pytest.raises(ValueError, match=r"flat_0001\.off cannot be sampled: mesh has no area"):
        load(tmp_path)
    path.write_text("OFF\n")
    with pytest.raises(ValueError, match=r"flat_0001\.off: after 'OFF' come the numbers"):
        load(tmp_path)


MESH = "OFF3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"


def test_capital_letters_of_off_files(tmp_path):
    for name in ("a/train/1.OFF", "a/train/2.off", "a/test/1.Off"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(MESH)
    assert [example["fold"] for example in modelnet.examples(tmp_path, 8)] == [-1, -1, 0]


@pytest.mark.parametrize("name", ["a/train/more/1.off", "a/1.OFF", "1.off", "a/validation/1.off"])
def test_off_files_elsewhere(tmp_path, name):
    for place in ("a/train/0.off", name):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(MESH)
    for use in (load, class_names):
        with pytest.raises(ValueError, match=f"{name} is not where OFF files must be, class/train"):
            use(tmp_path)


def test_a_file_has_points_of_its_own(tmp_path):
    for name in ("a/train/1", "a/train/2", "a/test/1"):
        path = tmp_path / f"{name}.off"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(MESH)
    first = [example["points"] for example in modelnet.examples(tmp_path, 8)]
    assert (first[0] != first[1]).any()
    (tmp_path / "a" / "train" / "1.off").unlink()
    np.testing.assert_array_equal(next(modelnet.examples(tmp_path, 8))["points"], first[1])

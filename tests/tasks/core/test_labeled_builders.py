import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets", reason="tensorflow-datasets is not installed")

from eqattn.data.atoms import write_npz
from eqattn.tasks.constellations import data as constellations
from eqattn.tasks.constellations.builder import ConstellationsConfig
from eqattn.tasks.core.builders import data_sources
from eqattn.tasks.forces import data as forces
from eqattn.tasks.forces.builder import ForcesConfig
from eqattn.tasks.images import data as images
from eqattn.tasks.images.builder import ImagesConfig
from eqattn.tasks.shapes import data as shapes
from eqattn.tasks.shapes.builder import ShapesConfig
from tests.tasks.forces.test_cells import crystals


def assert_equal(read, defined):
    assert read.keys() == defined.keys()
    for name, value in defined.items():
        np.testing.assert_array_equal(read[name], value)
        if isinstance(value, np.ndarray):
            assert read[name].dtype == value.dtype


def test_shapes_are_read_back_exactly(tmp_path):
    sources = data_sources("embedded_fold3", data_dir=tmp_path, dataset="shapes")
    parts = shapes.split(shapes.load(), 3)
    defined = list(shapes.examples())
    assert {name: len(part) for name, part in sources.items()} == {
        name: len(rows) for name, rows in parts.items()
    }
    for name, part in sources.items():
        for read, row in zip(part, parts[name].tolist(), strict=True):
            assert_equal(read, defined[row])


def test_shapes_of_a_folder(tmp_path):
    for name in ("needle", "pyramid"):
        for part, number in (("train", 9), ("test", 1)):
            folder = tmp_path / name / part
            folder.mkdir(parents=True)
            for index in range(number):
                (folder / f"{index}.off").write_text(
                    f"OFF\n3 1 0\n0 0 0\n{index + 1} 0 0\n0 1 0\n3 0 1 2\n"
                )
    config = ShapesConfig(name="mine", source=str(tmp_path))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("EQATTN_DATA", str(tmp_path / "cache"))
        sources = data_sources(config, dataset="shapes")
    assert len(sources["test"]) == 2
    defined = {example["id"]: example for example in shapes.examples(tmp_path)}
    for part in sources.values():
        for read in part:
            assert_equal(read, defined[int(read["id"])])


def test_constellations_are_read_back_exactly(tmp_path):
    parameters = constellations.ConstellationParameters(noise=0.0)
    config = ConstellationsConfig(
        name="few", num_train=5, num_validation=2, num_test=3, seed=4, parameters=parameters
    )
    sources = data_sources(config, data_dir=tmp_path, dataset="constellations")
    assert [len(sources[split]) for split in constellations.SPLITS] == [5, 2, 3]
    for split, part in sources.items():
        defined = constellations.examples(len(part), split=split, seed=4, parameters=parameters)
        for read, example in zip(part, defined, strict=True):
            assert_equal(read, example)


def test_images_are_read_back_exactly(tmp_path):
    sources = data_sources(ImagesConfig(name="again"), data_dir=tmp_path, dataset="images")
    for split, part in sources.items():
        for read, example in zip(part, images.examples(split=split), strict=True):
            assert_equal(read, example)


def test_an_unknown_configuration(tmp_path):
    with pytest.raises(ValueError, match="config 'embedded' is unknown; known are paper"):
        data_sources(data_dir=tmp_path, dataset="constellations")


def by_id(parts):
    return {int(example["id"]): example for part in parts for example in part}


def test_configurations_with_forces_are_read_back_exactly(tmp_path):
    """Cells among them, and labels that are not known."""
    whole = crystals(12)
    whole.properties["energy"][3] = np.nan
    write_npz(tmp_path / "mine.npz", whole)
    config = ForcesConfig(name="mine", source=str(tmp_path / "mine.npz"))
    sources = data_sources(config, data_dir=tmp_path, dataset="forces")
    parts = forces.split(whole, config.source)
    assert {k: [int(x["id"]) for x in part] for k, part in sources.items()} == {
        name: sorted(part.tolist()) for name, part in parts.items()
    }
    read = by_id(sources.values())
    for defined in forces.examples(tmp_path / "mine.npz"):
        found = read[defined["id"]]
        for name in ("properties", "atom_properties"):
            assert_equal(found.pop(name), defined.pop(name))
        assert_equal(found, defined)
    assert any(found["cell"].any() for found in read.values())


def test_files_of_numbers_split_configurations(tmp_path):
    """Another folder where they change, though their names and the source stay."""
    write_npz(tmp_path / "mine.npz", crystals(6))
    config = ForcesConfig(
        name="mine", source=str(tmp_path / "mine.npz"), train_index=str(tmp_path / "train.txt")
    )
    for learned in ([4, 1, 0], [5, 3, 2]):
        (tmp_path / "train.txt").write_text("\n".join(map(str, learned)))
        sources = data_sources(config, data_dir=tmp_path / "tfds", dataset="forces")
        assert {*by_id([sources["train"], sources["validation"]])} == {*learned}
        assert {*by_id([sources["test"]])} == {*range(6)} - {*learned}


def test_the_embedded_frames_are_those_of_their_trajectories(tmp_path):
    sources = data_sources("ethanol", data_dir=tmp_path, dataset="forces")
    assert [len(sources[name]) for name in ("train", "validation", "test")] == [1_000, 200, 400]
    whole = forces.load("ethanol")
    found = sources["test"][0]
    assert found["properties"]["energy"] == whole[np.array([found["id"]])].properties["energy"][0]

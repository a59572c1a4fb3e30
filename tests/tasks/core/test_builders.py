import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from eqattn.data.atoms import write_npz
from eqattn.tasks.molecules import examples

pytest.importorskip("tensorflow_datasets", reason="tensorflow-datasets is not installed")

from eqattn.tasks.core import builders
from eqattn.tasks.molecules import builder as molecules_builder
from eqattn.tasks.molecules import load
from eqattn.tasks.springs import builder as springs_builder
from eqattn.tasks.springs import data as springs
from eqattn.tasks.winds import builder as wind_builder
from eqattn.tasks.winds import forecasts as wind_forecasts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture(scope="module")
def sources(folder):
    return builders.data_sources(data_dir=folder)


def test_the_embedded_examples_are_read_back_exactly(sources):
    assert {name: len(part) for name, part in sources.items()} == {
        "train": 2400,
        "validation": 300,
        "test": 300,
    }
    everything = (
        sources[name][index]
        for name in ("train", "validation", "test")
        for index in range(len(sources[name]))
    )
    for read, defined in zip(everything, examples(), strict=True):
        assert_equal_examples(read, defined)


def assert_equal_examples(read, defined):
    assert read.keys() == defined.keys()
    for name, value in defined.items():
        if isinstance(value, dict):
            assert_equal_examples(read[name], value)
        else:
            np.testing.assert_array_equal(read[name], value)
            assert np.asarray(read[name]).dtype == np.asarray(value).dtype


def test_all_that_a_file_says_is_read_back(tmp_path):
    """Also vectors, properties of atoms, and positions that float32 does not hold."""
    some, rng = load()[:10], np.random.default_rng(0)
    mine = dataclasses.replace(
        some,
        positions=some.positions + np.pi,
        properties={"dipole": rng.normal(size=(10, 3)), "id": np.arange(10.0)},
        atom_properties={"charge": rng.normal(size=len(some.numbers))},
    )
    write_npz(tmp_path / "mine.npz", mine)
    config = molecules_builder.MoleculesConfig(name="mine", source=str(tmp_path / "mine.npz"))
    sources = builders.data_sources(config, data_dir=tmp_path)
    read = {example["id"]: example for part in sources.values() for example in part}
    assert len(read) == 10
    for defined in examples(tmp_path / "mine.npz"):
        assert_equal_examples(read[defined["id"]], defined)


def test_a_second_call_reads_what_is_there(sources, folder, monkeypatch):
    def fail(*_):
        raise AssertionError("written again")

    monkeypatch.setattr(molecules_builder.MoleculesBuilder, "_split_generators", fail)
    again = builders.data_sources(data_dir=folder)
    np.testing.assert_array_equal(again["test"][7]["positions"], sources["test"][7]["positions"])


def test_a_file_of_your_own(tmp_path, monkeypatch):
    write_npz(tmp_path / "mine.npz", load()[100:120])
    config = molecules_builder.MoleculesConfig(name="mine", source=str(tmp_path / "mine.npz"))
    monkeypatch.setenv("EQATTN_DATA", str(tmp_path / "cache"))
    sources = builders.data_sources(config)
    (folder,) = (tmp_path / "cache" / "tfds" / "eqattn_molecules").glob("mine-*")
    assert folder.is_dir()
    read = {example["id"] for part in sources.values() for example in part}
    assert read == set(load().ids[100:120].tolist())


def test_a_name_stands_for_one_configuration_and_one_content(tmp_path):
    def num_read(source):
        config = molecules_builder.MoleculesConfig(name="mine", source=str(tmp_path / source))
        sources = builders.data_sources(config, data_dir=tmp_path / "tfds")
        return sum(len(part) for part in sources.values())

    for name, size in (("a.npz", 10), ("b.npz", 20)):
        write_npz(tmp_path / name, load()[:size])
        assert num_read(name) == size
    write_npz(tmp_path / "a.npz", load()[:15])
    assert num_read("a.npz") == 15


def test_the_folder_that_one_stands_in_is_no_source(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    config = springs_builder.SpringsBuilderConfig(
        name="few", num_train=1, num_validation=1, num_test=1
    )
    names = []
    for text in ("one", "two"):
        (tmp_path / "here" / "notes.txt").write_text(text)
        names.append(builders._with_own_folder(config).name)
    assert names[0] == names[1]


def test_nothing_is_said_on_stdout(tmp_path, capfd):
    write_npz(tmp_path / "mine.npz", load()[:3])
    config = molecules_builder.MoleculesConfig(name="mine", source=str(tmp_path / "mine.npz"))
    builders.data_sources(config, data_dir=tmp_path)
    assert capfd.readouterr().out == ""


def test_an_unknown_configuration(tmp_path):
    with pytest.raises(ValueError, match="config 'qm10' is unknown; known are embedded, qm9"):
        builders.data_sources("qm10", data_dir=tmp_path)


def test_springs_are_read_back_exactly(tmp_path):
    config = springs_builder.SpringsBuilderConfig(
        name="few", num_train=3, num_validation=1, num_test=2
    )
    sources = builders.data_sources(config, data_dir=tmp_path, dataset="springs")
    assert {name: len(part) for name, part in sources.items()} == {
        "train": 3,
        "validation": 1,
        "test": 2,
    }
    for split, part in sources.items():
        for read, defined in zip(part, springs.examples(len(part), split=split), strict=True):
            assert read.keys() == defined.keys()
            for name, value in defined.items():
                np.testing.assert_array_equal(read[name], value)


def test_winds_are_read_back_exactly(tmp_path):
    config = wind_builder.WindsBuilderConfig(name="coarse", step=30.0)
    sources = builders.data_sources(config, data_dir=tmp_path, dataset="winds")
    assert {name: len(part) for name, part in sources.items()} == {
        "train": 95,
        "validation": 12,
        "test": 24,
    }
    for part in ("validation", "test"):
        definition = wind_forecasts.examples(part=part, step=30.0)
        for read, defined in zip(sources[part], definition, strict=True):
            assert read.keys() == defined.keys()
            for name, value in defined.items():
                np.testing.assert_array_equal(read[name], value)
                assert np.asarray(read[name]).dtype == np.asarray(value).dtype


def test_an_unknown_data_set(tmp_path, no_type_checks):
    with pytest.raises(ValueError, match=r"dataset must be one of .*, got 'weather'"):
        builders.data_sources("demo", data_dir=tmp_path, dataset="weather")
    with pytest.raises(ValueError, match="config 'embedded' is unknown; known are demo, paper"):
        builders.data_sources(data_dir=tmp_path, dataset="springs")


def test_only_the_builders_import_tensorflow_datasets_and_nothing_tensorflow():
    program = (
        "import sys, eqattn.data; assert 'tensorflow_datasets' not in sys.modules;"
        "import eqattn.tasks.core.builders; assert 'tensorflow_datasets' in sys.modules;"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)

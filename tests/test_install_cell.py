"""The first cell of each notebook, which installs eqattn where it is absent: without a network."""

import importlib.machinery
import importlib.util
import subprocess
import sys
import tomllib
import types
from importlib import metadata

import nbformat
import pytest

from tests.pages import ROOT
from tools.notebooks import NOTEBOOKS

SOURCES = {
    name: next(c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code")
    for name, path in NOTEBOOKS.items()
}
SOURCE = next(iter(SOURCES.values()))
REQUIREMENTS = ["flax>=0.12", "jax>=0.10.1,!=0.10.2,<0.12", "jaxlib>=0.10.1,!=0.10.2,<0.12"]


def definitions():
    """What the cell defines before it looks for eqattn."""
    names = {}
    exec(SOURCE.partition("\nspec = ")[0], names)
    return types.SimpleNamespace(**names)


@pytest.fixture
def commands(monkeypatch):
    """The commands that are started, which do nothing."""
    started = []
    monkeypatch.setattr(subprocess, "run", lambda command, check: started.append(command))
    return started


@pytest.fixture
def absent(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


@pytest.fixture
def clone(tmp_path):
    """A clone, and the cell that names it."""
    lines = "\n".join(f'  "{line}",' for line in REQUIREMENTS)
    (tmp_path / "pyproject.toml").write_text(f"[project]\ndependencies = [\n{lines}\n]\n")
    assert SOURCE.count('Path("/content/eqattn")') == 1
    return tmp_path, SOURCE.replace("/content/eqattn", str(tmp_path))


def with_versions(monkeypatch, versions):
    distributions = [
        types.SimpleNamespace(metadata={"Name": name}, version=version)
        for name, version in {"numpy": "2.4.0", **versions}.items()
    ]
    monkeypatch.setattr(metadata, "distributions", lambda: distributions)


def test_it_is_the_same_in_all_notebooks():
    assert set(SOURCES.values()) == {SOURCE}


@pytest.mark.parametrize("version", ["0.10.1", "0.11.0", "0.11.9"])
def test_a_jax_within_the_bounds_is_kept(version):
    chosen, sentence = definitions().choose_jax(REQUIREMENTS, {"jax": version, "jaxlib": version})
    assert chosen == [f"jax=={version}", f"jaxlib=={version}"]
    assert "stay as they are" in sentence


@pytest.mark.parametrize(
    ("jax", "jaxlib"),
    [("0.7.2", "0.7.2"), ("0.10.2", "0.10.2"), ("0.12.0", "0.12.0"), ("0.10.1", "0.10.2")],
)
def test_another_jax_is_replaced_and_named(jax, jaxlib):
    chosen, sentence = definitions().choose_jax(REQUIREMENTS, {"jax": jax, "jaxlib": jaxlib})
    assert chosen == ["jax"]
    assert "does not work with" in sentence
    assert jaxlib in sentence
    assert "Restart the session" in sentence
    assert all(bound in sentence for bound in (">=0.10.1", "!=0.10.2", "<0.12"))


def test_a_missing_jax_is_named():
    chosen, sentence = definitions().choose_jax(REQUIREMENTS, {})
    assert (chosen, "jax is not installed" in sentence) == (["jax"], True)


def test_the_bounds_are_those_of_the_package():
    """The version that computes wrong results is excluded where the cell reads the bounds."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    choose = definitions().choose_jax
    for version, is_kept in (("0.10.1", True), ("0.10.2", False), ("0.9.0", False)):
        chosen, _ = choose(project["dependencies"], {"jax": version, "jaxlib": version})
        assert (chosen != ["jax"]) == is_kept


def test_it_does_nothing_where_eqattn_is_installed(commands, capsys):
    exec(SOURCE, {})
    assert capsys.readouterr().out == "eqattn is installed. Nothing to do.\n"
    assert commands == []


@pytest.mark.parametrize("is_kept", [True, False])
def test_it_installs_the_clone(is_kept, clone, commands, absent, monkeypatch, capsys):
    folder, source = clone
    version = "0.11.0" if is_kept else "0.10.2"
    with_versions(monkeypatch, {"jax": version, "jaxlib": version})
    exec(source, {})
    chosen = [f"jax=={version}", f"jaxlib=={version}"] if is_kept else ["jax"]
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    assert commands == [[*pip, str(folder), *chosen]]
    assert f"eqattn {'works' if is_kept else 'does not work'} with" in capsys.readouterr().out


def test_a_clone_that_is_not_there_is_named(commands, absent, tmp_path):
    source = SOURCE.replace("/content/eqattn", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match=r"eqattn is not installed, and .*gone is not a"):
        exec(source, {})
    assert commands == []


def test_the_folder_of_the_clone_is_no_installation(clone, commands, monkeypatch):
    """On Colab, /content is searched for packages, and the clone is found as /content/eqattn."""
    folder, source = clone
    (folder / "eqattn").mkdir()
    found = importlib.machinery.PathFinder.find_spec("eqattn", [str(folder)])
    assert found is not None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    with_versions(monkeypatch, {"jax": "0.11.0", "jaxlib": "0.11.0"})
    exec(source, {})
    assert len(commands) == 1

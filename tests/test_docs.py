"""The documentation is whole: names, links and files of its pages, and the task that one has.

Its examples run as doctests, its commands are parsed by ``test_readme.py``.
"""

import importlib
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from eqattn import __version__
from tests.pages import GUIDES, PAGES, ROOT
from tests.test_api import PUBLIC

DOCS = ROOT / "docs"
REFERENCE = "\n".join(page.read_text() for page in sorted((DOCS / "api").glob("*.rst")))
MAX_README_LINES = 160
MAX_PICTURE_BYTES = 60 * 1024
LINK = re.compile(r"\]\((?!https?:)([^)\s]+)\)")
NAMED_FILE = re.compile(
    r"`((?:\.ci|benchmarks|colabs|docs|eqattn|tests|tools)/[\w./]+|[A-Z]+\.(?:md|cff))`"
)


def name(page):
    return str(page.relative_to(ROOT))


def anchors(page):
    """The anchors of a page, as MyST and the sites of repositories make them of headings."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def broken_links(page):
    broken = []
    for link in LINK.findall(page.read_text()):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= MAX_README_LINES


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    assert broken_links(page) == []


def test_a_broken_link_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A b\n[x](gone.md) [x](#a-b) [x](#c) [x](page.md#d) [x](https://a.b/c)")
    assert broken_links(page) == ["gone.md", "#c", "page.md#d"]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_a_page_names_exist(page):
    made = {"docs/_build/html/index.html"}
    named = set(NAMED_FILE.findall(page.read_text())) - made
    assert [file for file in sorted(named) if not (ROOT / file).exists()] == []


def test_pages_are_in_the_contents():
    contents = (DOCS / "index.md").read_text().splitlines()
    listed = {page.stem for page in GUIDES} - {"index", "README"}
    assert {page for page in listed if page not in contents} == set()
    reference = (DOCS / "api" / "index.rst").read_text().split()
    pages = {page.stem for page in (DOCS / "api").glob("*.rst")} - {"index"}
    assert pages <= set(reference)


def test_pictures_are_small():
    pictures = list((DOCS / "figures").glob("*.png"))
    assert pictures
    assert [p.name for p in pictures if p.stat().st_size > MAX_PICTURE_BYTES] == []


def missing_names(reference):
    """Public names that the directives of a text do not cover.

    ``automodule`` covers the classes and functions of ``__all__`` that are there when a package is
    imported; data, and what is imported on demand, need directives of their own.
    """
    modules = set(re.findall(r"^\.\. automodule:: (\S+)$", reference, re.MULTILINE))
    alone = set(re.findall(r"^\.\. autofunction:: (\S+)$", reference, re.MULTILINE))
    data = re.findall(r"^\.\. py:data:: (\S+)\n +:module: (\S+)$", reference, re.MULTILINE)
    alone |= {f"{module}.{constant}" for constant, module in data}
    missing = [package for package in PUBLIC if package not in modules]
    for package, names in PUBLIC.items():
        found = vars(importlib.import_module(package))
        for public in names:
            thing, full = found.get(public), f"{package}.{public}"
            if inspect.ismodule(thing):
                is_covered = full in modules
            else:
                is_plain = inspect.isclass(thing) or inspect.isfunction(thing)
                is_covered = full in alone or (is_plain and package in modules)
            if not is_covered:
                missing.append(full)
    return missing


def test_every_public_name_is_in_the_reference():
    assert missing_names(REFERENCE) == []


def test_a_name_that_is_missing_is_noticed():
    without = REFERENCE.replace("automodule:: eqattn.laws\n", "automodule:: eqattn.law\n")
    assert {"eqattn.laws", "eqattn.laws.check_group"} <= set(missing_names(without))
    without = REFERENCE.replace("py:data:: TASKS\n", "py:data:: TASK\n")
    assert missing_names(without) == ["eqattn.tasks.TASKS"]


def test_the_citation_is_of_this_version():
    text = (ROOT / "CITATION.cff").read_text()
    assert re.findall(r"^version: (\S+)$", text, re.MULTILINE) == [__version__]
    assert re.findall(r"arXiv:(\S+)", text) == ["2012.10885"]


@pytest.mark.slow
def test_the_task_of_the_guide_is_trained(tmp_path):
    """The module of docs/own_task.md, as an installed package of its own."""
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "own_task.md").read_text(), re.DOTALL)
    (tmp_path / "spread_task.py").write_text(code)
    info = tmp_path / "spread_task-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: spread_task\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[eqattn.tasks]\nspread = spread_task:SpreadTask\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    command = [sys.executable, "-m", "eqattn", "train", "spread", "--out", str(tmp_path / "run")]
    trained = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert trained.returncode == 0, trained.stderr
    result = json.loads(trained.stdout.splitlines()[-1])
    assert result["value"] < 0.3 * result["baseline"]


@pytest.mark.slow
def test_the_site_is_built(tmp_path):
    """Without a warning; every public name has an entry in its index."""
    for needed in ("sphinx", "furo", "myst_nb"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed; `make docs` installs it")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    command += ["-d", str(tmp_path / "doctrees"), str(DOCS), str(tmp_path / "html")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    built = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    from sphinx.util.inventory import InventoryFile

    content = (tmp_path / "html" / "objects.inv").read_bytes()
    kinds = InventoryFile.loads(content, uri="").data.values()
    entries = {entry for kind in kinds for entry in kind}
    names = [f"{package}.{public}" for package, names in PUBLIC.items() for public in names]
    assert [n for n in names if n not in entries] == []
    page = (tmp_path / "html" / "api" / "eqattn.html").read_text()
    assert "eqattn.save" in page
    for file in Path(tmp_path / "html").rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|link|img)[^>]+(?:src|href)=\"(https?:[^\"]+)", file.read_text()
        )
        assert loaded == [], file

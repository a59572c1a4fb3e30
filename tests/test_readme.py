"""What README.md and docs/ say exists: files, targets, commands. Their examples are doctests."""

import re
import shlex
from pathlib import Path

import pytest

import eqattn.train
from eqattn import cli
from eqattn.certificate import certify
from eqattn.cli.checking import CheckArguments
from eqattn.cli.errors import BAD_INPUT
from eqattn.cli.parsing import parse
from eqattn.cli.program import COMMANDS
from tests import pages

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
TEXT = pages.read_all()
SHELL_LINES = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
]


def test_the_example_is_there():
    assert README.count(">>> ") >= 10


def test_links_lead_to_files():
    targets = [t for t in re.findall(r"\]\(([^)]+)\)", README) if not t.startswith("http")]
    assert len(targets) >= 4
    assert [t for t in targets if not (ROOT / t.partition("#")[0]).exists()] == []


def test_paths_in_backticks_exist():
    paths = re.findall(r"`((?:eqattn|tests|benchmarks|colabs)/[\w./]+)`", TEXT)
    assert paths
    assert [p for p in paths if not (ROOT / p).exists()] == []


def test_the_rooms_are_those_of_the_package():
    floors = (ROOT / "docs" / "house.md").read_text().partition("## Tasks")[0]
    rooms = re.findall(r"^\| *\d* *\| (`[^|]+`) \|", floors, re.MULTILINE)
    names = {name for room in rooms for name in re.findall(r"`([\w./]+)`", room)}
    assert [n for n in names if not (ROOT / "eqattn" / n).exists()] == []
    folders = {p.name + "/" for p in (ROOT / "eqattn").iterdir() if (p / "__init__.py").exists()}
    assert folders <= names


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"make ([a-z]+(?:-[a-z]+)*)\b(?=`|\s+#)", TEXT)
    assert {"demo", "test"} <= set(targets)
    assert [t for t in targets if not re.search(rf"^{t}:", makefile, re.MULTILINE)] == []


TRAINING = [s for s in SHELL_LINES if s.startswith("eqattn train")]


@pytest.mark.parametrize("line", TRAINING)
def test_training_commands_are_understood(line, monkeypatch, capsys):
    """Every option is parsed, and the configuration reaches training."""

    def stop(config, out, **_):
        raise ValueError(f"reached {config.task} {config.preset}")

    monkeypatch.setattr(eqattn.train, "train", stop)
    words = shlex.split(line)[1:]
    assert cli.main(words) == BAD_INPUT
    assert f"reached {words[1]} demo" in capsys.readouterr().err


def test_other_commands_are_understood(tmp_path, capsys, monkeypatch):
    """Every word is parsed, the file is there, and the folder, which is not, is looked for."""
    others = [shlex.split(s)[1:] for s in SHELL_LINES if s.startswith("eqattn")]
    others = [o for o in others if o[0] not in ("train", "check")]
    assert sorted({o[0] for o in others}) == [
        "evaluate", "export", "plot", "predict", "simulate", "tasks",
    ]  # fmt: skip
    others.sort(key=lambda o: o[0] != "tasks")
    assert all((ROOT / word).exists() for o in others for word in o if word.startswith("tests/"))
    assert cli.main(others[0]) == 0
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for command in others[1:]:
        assert cli.main([w.replace("tests/", f"{ROOT}/tests/") for w in command]) == BAD_INPUT
        assert f"{command[1]} does not exist" in capsys.readouterr().err


def test_checks_are_understood():
    """Their words are parsed and name what there is; measuring begins when results are read."""
    words = [shlex.split(s)[2:] for s in SHELL_LINES if s.startswith("eqattn check")]
    assert words
    for arguments in words:
        options = parse(CheckArguments, "check", arguments)
        certify(groups=options.group, fields=options.field, dtypes=options.dtype)


def test_commands_in_the_text_are_commands():
    found = re.findall(r"`eqattn ([a-z]+)[^`]*`", TEXT.replace("\n", " "))
    assert {"train"} <= set(found) <= set(COMMANDS)

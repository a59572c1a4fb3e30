"""What README.md says exists: files, make targets, commands. Its example runs as a doctest."""

import re
import shlex
from pathlib import Path

import pytest

import eqattn.train
from eqattn import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SHELL_LINES = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]


def test_the_example_is_there():
    assert README.count(">>> ") >= 10


def test_links_lead_to_files():
    targets = [t for t in re.findall(r"\]\(([^)]+)\)", README) if not t.startswith("http")]
    assert len(targets) >= 4
    assert [t for t in targets if not (ROOT / t).exists()] == []


def test_paths_in_backticks_exist():
    paths = re.findall(r"`((?:eqattn|tests|benchmarks|colabs)/[\w./]+)`", README)
    assert paths
    assert [p for p in paths if not (ROOT / p).exists()] == []


def test_the_rooms_are_those_of_the_package():
    rooms = re.findall(r"^\| *\d* *\| (`[^|]+`) \|", README, re.MULTILINE)
    names = {name for room in rooms for name in re.findall(r"`([\w./]+)`", room)}
    assert [n for n in names if not (ROOT / "eqattn" / n).exists()] == []
    folders = {p.name + "/" for p in (ROOT / "eqattn").iterdir() if (p / "__init__.py").exists()}
    assert folders <= names


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"make ([a-z]+(?:-[a-z]+)*)\b(?=`|\s+#)", README)
    assert {"demo", "test"} <= set(targets)
    assert [t for t in targets if not re.search(rf"^{t}:", makefile, re.MULTILINE)] == []


@pytest.mark.parametrize("line", [s for s in SHELL_LINES if s.startswith("eqattn train")])
def test_training_commands_are_understood(line, monkeypatch, capsys):
    """Every option is parsed, and the configuration reaches training."""

    def stop(config, out, **_):
        raise ValueError(f"reached {config.task} {config.preset}")

    monkeypatch.setattr(eqattn.train, "train", stop)
    assert cli.main(shlex.split(line)[1:]) == cli.BAD_INPUT
    assert f"reached {shlex.split(line)[2]}" in capsys.readouterr().err


def test_other_commands_are_understood(tmp_path, capsys):
    others = [shlex.split(s)[1:] for s in SHELL_LINES if re.match(r"eqattn (?!train)", s)]
    assert [o[0] for o in others] == ["tasks", "evaluate"]
    assert cli.main(others[0]) == 0
    folder = str(tmp_path / "absent")
    assert cli.main(["evaluate", folder, *others[1][2:]]) == cli.BAD_INPUT
    assert folder in capsys.readouterr().err

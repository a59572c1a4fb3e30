"""Tasks of other packages, by entry points; a dist-info folder stands for an installed one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from eqattn.cli import main
from eqattn.tasks.core.registry import ENTRY_POINTS

ROOT = Path(__file__).parents[3]
BROKEN = "raise RuntimeError('the moon is down')\n"
COMMANDS = """
import json, sys
from eqattn.cli import main
codes = []
for words in json.loads(sys.argv[1]):
    codes.append(main(words))
    print("done:", *words, file=sys.stderr, flush=True)
print(json.dumps(codes))
"""


def installed(site, package, source, entries):
    """Writes a package of one module, and what an installer writes beside it."""
    (site / package).mkdir(parents=True)
    (site / package / "__init__.py").write_text(source)
    info = site / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"[{ENTRY_POINTS}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def python(site, *words):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(site), str(ROOT)))}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, env=environment, cwd=site, capture_output=True, text=True)


@pytest.fixture
def site(tmp_path):
    """A package that adds a task, one with a broken task, and one that takes a name of ours."""
    site = tmp_path / "site"
    toy = (ROOT / "tests" / "train" / "toy.py").read_text()
    installed(site, "toy_package", toy, {"toy": "toy_package:ToyTask"})
    installed(site, "broken_package", BROKEN, {"broken": "broken_package:TASK"})
    installed(site, "no_task", "TASK = 3\n", {"three": "no_task:TASK", "molecules": "no_task:TASK"})
    return site


def test_a_task_of_another_package_is_listed_and_trained(site, capsys):
    run = site / "run"
    train = ["train", "toy", "--steps", "20", "--out", str(run)]
    commands = [["tasks"], train, ["evaluate", str(run)], ["train", "broken"]]
    done = python(site, "-c", COMMANDS, json.dumps(commands))
    assert done.returncode == 0, done.stderr
    tasks, result, again, codes = map(json.loads, done.stdout.splitlines())
    assert codes == [0, 0, 0, 2]
    listed, _, errors = done.stderr.partition("done: tasks")
    assert tasks["toy"] == {"presets": ["demo"], "targets": {"a": "m", "b": "m"}}
    assert "gap" in tasks["molecules"]["targets"], "names of the library win"
    (line,) = [line for line in listed.splitlines() if "broken" in line]
    assert "'broken' of broken_package cannot be loaded (RuntimeError: the moon is down)" in line
    (line,) = [line for line in listed.splitlines() if "three" in line]
    assert "'three' of no_task is no eqattn.tasks.Task" in line
    assert "broken" not in tasks
    assert "three" not in tasks
    assert (result["task"], result["target"], result["steps"]) == ("toy", "a", 20)
    assert again["value"] == result["value"]
    assert "task 'broken' of broken_package cannot be loaded" in errors
    # This process knows none of these packages.
    assert main(["evaluate", str(run)]) == 2
    assert "task 'toy' is unknown; known are" in capsys.readouterr().err


def test_only_the_task_that_is_named_is_loaded(site):
    code = (
        "import sys; from eqattn.tasks import TASKS, get_task; assert 'broken' in TASKS;"
        "assert get_task('points').name == 'points';"
        "loaded = {name for name in sys.modules if name.endswith('.task')};"
        "assert loaded == {'eqattn.tasks.points.task', 'eqattn.tasks.core.task'}, loaded;"
        "assert not {'toy_package', 'broken_package', 'no_task'} & sys.modules.keys()"
    )
    done = python(site, "-c", code)
    assert done.returncode == 0, done.stderr

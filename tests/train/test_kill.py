"""Runs that the operating system kills, with no chance to clean up, in processes of their own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eqattn.tasks.core import registry
from eqattn.train import evaluate
from eqattn.train.checkpoints import read_latest
from eqattn.train.run_folder import read_run_config
from tests.grids import some
from tests.train.test_resume import assert_same_end, rows_of

ROOT = Path(__file__).parents[2]
CHILD = """
import dataclasses, sys
from eqattn.config import RunConfig
from eqattn.tasks.core import registry
from eqattn.train import baseline, resume, train
from eqattn.train.run_folder import read_run_config
from tests.train.test_resume import CONFIG

def train_anew(path, of):
    saved = read_run_config(of)
    names = [field.name for field in dataclasses.fields(RunConfig)]
    train(RunConfig(**{name: getattr(saved, name) for name in names}), path)

fit = baseline.fit_to_seconds
baseline.fit_to_seconds = lambda config, _, number: fit(config, 0.2, number)  # to be done soon
path, command, toy = sys.argv[1:]
CONFIG = dataclasses.replace(CONFIG, steps=60)
registry.TASKS = {"toy": ("tests.train.toy", toy)}
if command == "train":
    train(CONFIG, path)
else:
    resume(path)
if command == "resume, then train it anew":
    train_anew(path + "-anew", of=path)
if command == "resume, then train the baseline anew":
    train_anew(path + "-anew", of=path + "/baseline")
"""


def start(path, command, toy="ToyTask"):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("JAX_ENABLE_X64", None)
    words = [sys.executable, "-c", CHILD, str(path), command, toy]
    return subprocess.Popen(words, env=environment, cwd=ROOT)


def kill_when(child, condition):
    """Kills the process, with no chance to clean up, as soon as the condition holds."""
    deadline = time.monotonic() + 120
    while child.poll() is None and time.monotonic() < deadline:
        if condition():
            child.send_signal(signal.SIGKILL)
            break
        time.sleep(2e-4)  # a save takes a hundred times as long
    return child.wait() == -signal.SIGKILL


def has(folder, pattern):
    def condition():
        try:
            return any(re.fullmatch(pattern, name) for name in os.listdir(folder))
        except FileNotFoundError:
            return False

    return condition


@pytest.mark.slow
def test_molecules_killed_during_a_save_end_as_if_nothing_had_happened(tmp_path):
    """The same, on the command line."""
    from tests.test_cli import TINY, save_molecules

    def command(*arguments):
        words = [sys.executable, "-m", "eqattn", "train", *map(str, arguments)]
        environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "true"}  # compiles sooner
        return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment)

    new = ["molecules", "--data", save_molecules(tmp_path / "small.npz"), *TINY]
    new += ["--steps=30", "--eval-every=5", "--model.lift=Haar(1)", "--options.augment-rotations"]
    new += ["--model.layer.coordinates=log", "--model.layer.location.num-radial=0"]
    whole, _ = command(*new, "--out", tmp_path / "whole").communicate()
    path = tmp_path / "run"
    during_save = has(path / "checkpoints", r"15\..*tmp.*")
    assert kill_when(command(*new, "--out", path), during_save)
    again, _ = command("--resume", path).communicate()
    expected, result = json.loads(whole), json.loads(again)
    assert result["value"] == pytest.approx(expected["value"], abs=1e-6)
    assert rows_of(path) == rows_of(tmp_path / "whole")


MOMENTS = [
    ("checkpoints", r"10\..*tmp.*"),  # half a checkpoint, and there is no other
    ("best", r"20\..*tmp.*"),  # the checkpoint is there, its best parameters are not
    ("checkpoints", r"40\..*tmp.*"),
    ("checkpoints", "50"),  # while the older ones are removed
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "moments", some([MOMENTS[2:3], MOMENTS], MOMENTS[2:3], ids=lambda m: m[-1][1])
)
def test_killed_again_and_again_during_saves_it_ends_as_if_nothing_had_happened(tmp_path, moments):
    # All in processes of their own, for this one computes with other settings.
    path = tmp_path / "run"
    for number, (folder, pattern) in enumerate(moments):
        child = start(path, "resume" if number else "train")
        assert kill_when(child, has(path / folder, pattern)), number
    assert start(path, "resume, then train it anew").wait() == 0
    assert_same_end(path, evaluate(tmp_path / "run-anew"))


@pytest.mark.slow
def test_killed_with_its_baseline_it_ends_as_if_nothing_had_happened(tmp_path, monkeypatch):
    path = tmp_path / "run"
    folder = path / "baseline"
    toy = "ToyTaskWithBaseline"
    # The model is at its end, and the baseline has begun, but has no checkpoint.
    assert kill_when(start(path, "train", toy), has(folder, "config.json"))
    assert read_latest(folder / "checkpoints") is None
    model_rows, _ = rows_of(path)
    # The baseline is in the middle of its training, during a save.
    config = read_run_config(folder)
    third = 3 * config.eval_every
    during_save = has(folder / "checkpoints", rf"{third}\..*tmp.*")
    assert kill_when(start(path, "resume", toy), during_save)
    before = read_latest(folder / "checkpoints")
    assert before is not None
    assert 0 < before.step < third < config.steps
    assert start(path, "resume, then train the baseline anew", toy).wait() == 0

    monkeypatch.setattr(registry, "TASKS", {"toy": ("tests.train.toy", toy)})
    assert read_run_config(folder) == config, "the steps that were fitted once stay"
    whole = evaluate(tmp_path / "run-anew")
    assert_same_end(folder, whole)
    rows, _ = rows_of(path)
    _, tested = rows.pop((60, "test_baseline"))
    assert rows == model_rows, "the model is not trained again"
    expected, _ = rows_of(whole.directory)
    assert tested == expected[config.steps, "test"][1]
    assert evaluate(path).baselines == {"nothing": 1.0, "slow": whole.scores[0].value}

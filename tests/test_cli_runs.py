"""Runs on the command line and what can end them, on a task that compiles in no time."""

import errno
import json
import resource
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import jax
import pytest

from eqattn.cli.ending import interrupt_again
from eqattn.interruption import Interrupted
from eqattn.train import TerminalReporter
from eqattn.train.checkpoints import CheckpointStore, read_latest
from eqattn.train.metrics import MetricsLog
from tests.full_disk import limited
from tests.grids import some
from tests.test_cli import run
from tests.train.toy import ToyTask


@pytest.fixture
def toy(monkeypatch):
    from eqattn.tasks.core import registry

    monkeypatch.setattr(
        registry, "TASKS", {**registry.TASKS, "toy": ("tests.train.toy", "ToyTask")}
    )
    monkeypatch.setattr(ToyTask, "bad_step", None)
    return ToyTask


def test_without_out_runs_go_to_runs(capsys, monkeypatch, tmp_path, toy):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "train", "toy", "--steps", "2")
    assert code == 0
    (path,) = (tmp_path / "runs").iterdir()
    assert path.name.startswith("toy-demo-20")
    assert path.name.endswith("Z")
    assert json.loads(out)["out"] == str(path)


@pytest.mark.parametrize(
    ("device", "own", "expected"),
    [("gpu", None, "compiled"), ("gpu", "own", "own"), ("cpu", None, None)],
)
def test_compiled_programs_are_kept_but_on_a_cpu(
    device, own, expected, capsys, monkeypatch, tmp_path, toy
):
    monkeypatch.setenv("EQATTN_DATA", str(tmp_path))
    own, expected = (None if name is None else str(tmp_path / name) for name in (own, expected))
    monkeypatch.setattr(jax, "default_backend", lambda: device)
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", own)
    settings = {}
    update = jax.config.update
    monkeypatch.setattr(jax.config, "update", settings.__setitem__)
    code, _, err = run(capsys, "train", "toy", "--steps", "2", "--out", tmp_path / "run")
    update("jax_compilation_cache_dir", before)
    assert code == 0, err
    assert settings.get("jax_compilation_cache_dir", own) == expected


def test_a_diverged_run_is_one_line_and_exit_code_1(capsys, monkeypatch, tmp_path, toy):
    monkeypatch.setattr(toy, "bad_step", 7)
    code, out, err = run(capsys, "train", "toy", "--out", tmp_path / "run")
    assert (code, out) == (1, "")
    last = err.splitlines()[-1]
    assert last.startswith("eqattn: error: the loss or its gradient is not finite at step 8")


def test_debug_adds_the_trace(capsys, monkeypatch, tmp_path, toy):
    def fail(self, config, standardization=None):
        raise KeyError("deep inside")

    monkeypatch.setattr(toy, "prepare", fail)
    for words in (["--debug", "train", "toy"], ["train", "toy", "--debug"]):
        code, out, err = run(capsys, *words, "--out", tmp_path / "run")
        assert (code, out) == (1, "")
        assert "Traceback" in err
        assert "in fail" in err
        assert err.splitlines()[-1].startswith("eqattn: error: internal error: KeyError: 'deep ins")


def test_resume_goes_on_with_what_is_in_the_folder(capsys, monkeypatch, tmp_path, toy):
    path = tmp_path / "run"
    monkeypatch.setattr(toy, "bad_step", 7)
    assert run(capsys, "train", "toy", "--steps", "9", "--out", path)[0] == 1
    monkeypatch.setattr(toy, "bad_step", None)
    for words in (["--resume", path], ["toy", "--resume", path], [f"--resume={path}"]):
        code, out, err = run(capsys, "train", *words)
        assert code == 0
        assert json.loads(out)["steps"] == 9
        assert "going on after step" in err
    assert run(capsys, "train", "toy", "--steps", "9", "--out", tmp_path / "whole")[0] == 0
    again = json.loads(run(capsys, "evaluate", tmp_path / "whole")[1])
    assert json.loads(out)["value"] == pytest.approx(again["value"], abs=1e-6)


@pytest.mark.parametrize("save", some([1, 2, 3], 1, 2))
def test_a_full_disk_is_exit_code_1_at_once(capsys, monkeypatch, tmp_path, toy, save):
    """At the first checkpoint, at the best parameters, and later; the run then goes on."""
    path, saves = tmp_path / "run", []
    write = CheckpointStore.save

    def save_to(self, checkpoint):
        saves.append(checkpoint.step)
        with limited(300 if len(saves) == save else resource.RLIM_INFINITY):
            write(self, checkpoint)

    monkeypatch.setattr(CheckpointStore, "save", save_to)
    code, out, err = run(capsys, "train", "toy", "--steps", 4, "--eval-every", 2, "--out", path)
    assert (code, out) == (1, "")
    assert len(saves) == save, "nothing was done after it"
    folder = path / ("best" if save == 2 else "checkpoints")
    last = err.splitlines()[-1]
    assert last.startswith(f"eqattn: error: {folder}")
    assert last.endswith(": File too large")
    assert run(capsys, "train", "--resume", path)[0] == 0
    assert not list(path.rglob("*tmp*"))


def test_a_full_disk_before_the_run_and_for_its_log(capsys, monkeypatch, tmp_path, toy):
    path = tmp_path / "run"
    words = ["train", "toy", "--steps", 4, "--eval-every", 2, "--out", path]
    with limited(100):
        code, _, err = run(capsys, *words)
    assert code == 1
    assert err.splitlines()[-1] == f"eqattn: error: {path / 'config.json'}: File too large"
    assert not list(path.iterdir())
    write = MetricsLog.write

    def write_little(self, **entries):
        with limited(20):
            write(self, **entries)

    with monkeypatch.context() as patch:
        patch.setattr(MetricsLog, "write", write_little)
        assert run(capsys, *words)[0] == 1
    assert run(capsys, "train", "--resume", path)[0] == 0
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert [row["split"] for row in rows].count("test") == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), 1),
        (PermissionError(errno.EACCES, "Permission denied", "/data/x"), 1),
        (OSError(errno.EIO, "Input/output error", "/data/x"), 1),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/data/x"), 2),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "/data/x"), 2),
    ],
)
def test_exit_codes_are_by_cause(capsys, monkeypatch, tmp_path, toy, error, code):
    def fail(self, config, standardization=None):
        raise error

    monkeypatch.setattr(toy, "prepare", fail)
    result, _, err = run(capsys, "train", "toy", "--out", tmp_path / "run")
    assert result == code
    assert err == f"eqattn: error: /data/x: {error.strerror}\n"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["TERM", "INT"]
)
def test_a_signal_ends_the_step_and_saves_it(capsys, tmp_path, toy, monkeypatch, number, code):
    report = TerminalReporter.update

    def update(self, update):
        report(self, update)
        signal.raise_signal(number)

    path = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(TerminalReporter, "update", update)
        result, out, err = run(capsys, "train", "toy", "--out", path)
    assert (result, out) == (code, "")
    assert f"interrupted; eqattn train --resume {path} goes on" in err.splitlines()[-1]
    assert [entry.name for entry in (path / "checkpoints").iterdir()] == ["10"]


def test_compiled_code_that_does_not_return_is_ended_at_once():
    """As a compilation that takes minutes: Python's own handler would wait for it."""
    code = """
import hashlib, os, signal, threading
from eqattn.cli.ending import ending_by_signals
with ending_by_signals():
    threading.Timer(0.1, os.kill, args=(os.getpid(), signal.SIGTERM)).start()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stderr) == (143, b"eqattn: error: interrupted.\n")


def test_a_result_that_cannot_be_printed_is_a_failure():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "eqattn", "--version"], stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == 1


def test_an_interrupted_run_says_how_to_go_on(capsys, monkeypatch, tmp_path, toy):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("eqattn.train.run.Run.validate", interrupt)
    code, out, err = run(capsys, "train", "toy", "--out", tmp_path / "run")
    assert (code, out) == (130, "")
    assert f"interrupted; eqattn train --resume {tmp_path / 'run'} goes on" in err


def test_an_interrupt_is_one_line(capsys, monkeypatch, tmp_path, toy):
    def interrupt(self, config, standardization=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(toy, "prepare", interrupt)
    code, out, err = run(capsys, "train", "toy", "--out", tmp_path / "run")
    assert (code, out) == (130, "")
    assert err == "eqattn: error: interrupted.\n"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError("9 GiB"), "not enough memory for this model, batch size or data (9 GiB)."),
        (RuntimeError("RESOURCE_EXHAUSTED: 9 GiB"), "not enough memory for this model"),
        (KeyError("a\nb"), "internal error: KeyError: "),
    ],
)
def test_what_nobody_expected_is_one_line_and_exit_code_1(
    capsys, monkeypatch, tmp_path, toy, error, message
):
    def fail(self, config, standardization=None):
        raise error

    monkeypatch.setattr(toy, "prepare", fail)
    code, out, err = run(capsys, "train", "toy", "--out", tmp_path / "run")
    assert (code, out) == (1, "")
    assert err.startswith(f"eqattn: error: {message}")
    assert err.count("\n") == 1


def test_a_program_that_is_interrupted_ends_with_exit_code_130(tmp_path):
    # Shells start background jobs with SIGINT ignored, and children would inherit it.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from eqattn.tasks.core import registry\n"
        "registry.TASKS = {'toy': ('tests.train.toy', 'ToyTask')}\n"
        "from eqattn.cli import run; run()"
    )
    path = tmp_path / "run"
    arguments = ["train", "toy", "--steps=1000000", "--eval-every=1000000", "--out", str(path)]
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE
    ) as child:
        metrics = path / "metrics.jsonl"
        while child.poll() is None and not (metrics.exists() and metrics.stat().st_size):
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=30)
    assert child.returncode == 130, err
    expected = f"interrupted; eqattn train --resume {path} goes on from the last checkpoint."
    assert err.decode().endswith(f"eqattn: error: {expected}\n")
    checkpoint = read_latest(path / "checkpoints")
    assert checkpoint is not None
    rows = metrics.read_bytes().splitlines()
    assert json.loads(rows[-1])["step"] <= checkpoint.step < json.loads(rows[-1])["step"] + 10


def test_an_interrupt_that_was_dropped_comes_again(monkeypatch):
    again, numbers = threading.Event(), []
    monkeypatch.setattr(
        "_thread.interrupt_main", lambda number: numbers.append(number) or again.set()
    )
    for error in (KeyboardInterrupt(), Interrupted(signal.SIGTERM)):
        again.clear()
        interrupt_again(SimpleNamespace(exc_type=type(error), exc_value=error))
        assert again.wait(10)
    assert numbers == [signal.SIGINT, signal.SIGTERM]


def test_other_errors_that_nobody_can_catch_are_shown(monkeypatch):
    shown = []
    monkeypatch.setattr(sys, "__unraisablehook__", lambda given: shown.append(given.exc_value))
    errors = [ValueError("mine"), RuntimeError("Event loop is closed")]  # the second is of a save
    for error in errors:
        interrupt_again(SimpleNamespace(exc_type=type(error), exc_value=error))
    assert shown == errors[:1]


def test_x64_computes_in_float64(capsys, tmp_path, toy):
    code, _, _ = run(capsys, "train", "toy", "--x64", "--out", tmp_path / "run", "--steps", 2)
    assert code == 0
    assert jax.config.read("jax_enable_x64")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["model"]["dtype"] == "float64"
    assert run(capsys, "evaluate", tmp_path / "run")[0] == 0

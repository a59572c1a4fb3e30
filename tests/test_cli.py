"""The command line from end to end, in this process, on a model and a data set that are tiny."""

import json
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from eqattn import data
from eqattn._version import __version__
from eqattn.cli import _first_paragraph, _interrupt_again, main
from tests.train.toy import ToyTask

TINY = [
    *("--model.dim=8", "--model.num-layers=1", "--model.num-heads=2", "--model.num-radial=2"),
    *("--model.location-dim=4", "--batch-size=4", "--buckets=64", "--steps=4", "--eval-every=2"),
]


def save_molecules(path, **changes):
    """Writes a file of the sixty smallest embedded molecules, with changes."""
    molecules = data.load()
    order = np.argsort(molecules.num_atoms, kind="stable")
    arrays = data.molecules.to_arrays(molecules[order[:60]])
    arrays |= {name: change(arrays[name]) for name, change in changes.items()}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli")
    save_molecules(path / "small.npz")
    return path


@pytest.fixture(scope="module")
def trained(workplace):
    """A run folder, and what its making wrote to stdout and stderr."""
    import contextlib
    import io

    out, err = io.StringIO(), io.StringIO()
    arguments = ["train", "molecules", "--data", str(workplace / "small.npz"), *TINY]
    arguments += ["--targets", "gap", "mu", "--out", str(workplace / "run")]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    assert code == 0, err.getvalue()
    return workplace / "run", out.getvalue(), err.getvalue()


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_train_prints_one_line_of_json(trained):
    path, out, err = trained
    assert out.count("\n") == 1
    result = json.loads(out)
    assert list(result)[:10] == [
        "task",
        "target",
        "metric",
        "value",
        "baseline",
        "unit",
        "params",
        "steps",
        "seconds",
        "out",
    ]
    assert (result["task"], result["target"], result["metric"]) == ("molecules", "gap", "mae")
    assert (result["unit"], result["steps"], result["out"]) == ("eV", 4, str(path))
    assert result["value"] > 0
    assert result["baseline"] > 0
    assert result["params"] > 500
    assert set(result["targets"]) == {"gap", "mu"}
    assert result["targets"]["gap"]["value"] == result["value"]
    assert result["targets"]["mu"]["unit"] == "D"
    assert "step 4/4" in err
    assert "validation: gap mae" in err


def test_the_run_folder_is_complete(trained):
    path, _, _ = trained
    config = json.loads((path / "config.json").read_text())
    assert config["format"] == 1
    assert config["model"]["dim"] == 8
    assert config["targets"] == ["gap", "mu"]
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["split"] == "test"


def test_evaluate_repeats_the_score(trained, capsys):
    path, out, _ = trained
    code, again, _ = run(capsys, "evaluate", path)
    assert code == 0
    before, after = json.loads(out), json.loads(again)
    for name in ("value", "baseline", "targets", "params", "out", "unit", "split"):
        assert after[name] == before[name], name


def test_evaluate_scores_any_split_with_any_number_of_lifts(trained, capsys):
    path, _, _ = trained
    code, out, _ = run(capsys, "evaluate", path, "--split", "validation", "--num-lifts", 2)
    assert code == 0
    assert json.loads(out)["split"] == "validation"


def test_without_out_runs_go_to_runs(workplace, capsys, monkeypatch, tmp_path, toy):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "train", "toy", "--steps", "2")
    assert code == 0
    (path,) = (tmp_path / "runs").iterdir()
    assert path.name.startswith("toy-demo-20")
    assert path.name.endswith("Z")
    assert json.loads(out)["out"] == str(path)


def test_tasks_lists_presets_targets_and_units(capsys):
    code, out, err = run(capsys, "tasks")
    assert code == 0
    assert json.loads(out)["molecules"]["targets"]["gap"] == "eV"
    for text in ("molecules", "demo", "paper", "gap [eV]", "cv [cal/(mol K)]"):
        assert text in err


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"eqattn {__version__}\n", "")


def test_help_of_every_command(capsys):
    assert "eqattn train TASK" in run(capsys, "--help")[1]
    for command, texts in {
        "train": ("--model.dim", "--optimizer.learning-rate", "--out", "--targets", "--x64"),
        "evaluate": ("DIR", "--split", "--num-lifts"),
        "tasks": ("usage",),
    }.items():
        code, out, err = run(capsys, command, "--help")
        assert (code, err) == (0, "")
        for text in texts:
            assert text in out, (command, text)


def test_help_of_train_shows_the_preset(capsys):
    _, out, _ = run(capsys, "train", "molecules", "--preset", "paper", "--help")
    assert "(default: 512)" in out
    _, out, _ = run(capsys, "train", "molecules", "--preset=demo", "--help")
    assert "(default: 512)" not in out


@pytest.fixture
def toy(monkeypatch):
    from eqattn.tasks import registry

    monkeypatch.setattr(
        registry, "TASKS", {**registry.TASKS, "toy": ("tests.train.toy", "ToyTask")}
    )
    monkeypatch.setattr(ToyTask, "bad_step", None)
    return ToyTask


def test_a_diverged_run_is_one_line_and_exit_code_1(capsys, monkeypatch, tmp_path, toy):
    monkeypatch.setattr(toy, "bad_step", 7)
    code, out, err = run(capsys, "train", "toy", "--out", tmp_path / "run")
    assert (code, out) == (1, "")
    last = err.splitlines()[-1]
    assert last.startswith("eqattn: error: the loss or its gradient is not finite at step 8")


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


@pytest.mark.parametrize(
    ("box", "paragraph"),
    [
        (
            "╭─ Error ─╮\n│ Unknown   │\n│ --option  │\n│ ───────── │\n│ rest │\n╰───╯",
            "Unknown --option",
        ),
        (
            "+- Error -+\n| Unknown   |\n| --option  |\n| --------- |\n| rest |\n+---+",
            "Unknown --option",
        ),
    ],
)
def test_boxes_of_both_styles_are_unpacked(box, paragraph):
    assert _first_paragraph(box) == paragraph


@pytest.mark.slow
def test_an_interrupted_run_ends_with_exit_code_130(tmp_path):
    # Shells start background jobs with SIGINT ignored, and children would inherit it.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from eqattn.cli import run; run()"
    )
    save_molecules(tmp_path / "small.npz")
    arguments = ["train", "molecules", "--data", str(tmp_path / "small.npz"), *TINY]
    arguments += ["--steps", "1000000", "--eval-every", "1000000", "--out", str(tmp_path / "run")]
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE
    ) as child:
        metrics = tmp_path / "run" / "metrics.jsonl"
        while child.poll() is None and not (metrics.exists() and metrics.stat().st_size):
            time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=30)
    assert child.returncode == 130, err
    assert err.endswith(b"eqattn: error: interrupted.\n")


def test_an_interrupt_that_was_dropped_comes_again(monkeypatch):
    again = threading.Event()
    monkeypatch.setattr("_thread.interrupt_main", again.set)
    _interrupt_again(SimpleNamespace(exc_type=KeyboardInterrupt))
    assert again.wait(10)


def test_x64_computes_in_float64(capsys, tmp_path, toy):
    code, _, _ = run(capsys, "train", "toy", "--x64", "--out", tmp_path / "run", "--steps", 2)
    assert code == 0
    assert jax.config.read("jax_enable_x64")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["model"]["dtype"] == "float64"
    assert run(capsys, "evaluate", tmp_path / "run")[0] == 0


FILE_MISTAKES = {
    "nan": {"positions": lambda a: np.where(a == a[3], np.nan, a).astype(np.float32)},
    "no_atoms": {"num_atoms": lambda a: np.concatenate([a[:-2], [a[-2] + a[-1], 0]])},
    "shapes": {"positions": lambda a: a[:, :2]},
    "short": {"targets": lambda a: a[:-1]},
    "element": {"numbers": lambda a: np.where(a == 6, 92, a)},
    "missing": {"numbers": lambda a: None},
}

BAD_INPUTS = [
    ([], "a command is missing; known are tasks, train, evaluate"),
    (["fly"], "unknown command 'fly'"),
    (["tasks", "--all"], "--all"),
    (["train"], "TASK is missing; known are molecules"),
    (["train", "--steps", "3"], "TASK is missing"),
    (["train", "weather"], "task 'weather' is unknown; known are molecules"),
    (["train", "molecules", "--preset", "huge"], "preset 'huge' is unknown"),
    (["train", "molecules", "--preset"], "--preset"),
    (["train", "molecules", "--preset", "demo", "--preset=paper"], "--preset must be given once"),
    (["train", "molecules", "--model.group", "T(2)"], "group must act on R^3"),
    (["train", "molecules", "--stepz", "3"], "--stepz"),
    (["train", "molecules", "--steps", "many"], "--steps"),
    (["train", "molecules", "--steps", "0"], "steps must be at least 1, got 0"),
    (["train", "molecules", "--batch-size", "-4"], "batch_size must be at least 1, got -4"),
    (["train", "molecules", "--eval-every", "0"], "eval_every must be at least 1"),
    (["train", "molecules", "--seed", "-1"], "seed must be in"),
    (["train", "molecules", "--num-lifts", "0"], "num_lifts must be at least 1"),
    (["train", "molecules", "--targets", "size"], "'size' is unknown; known are mu, alpha"),
    (["train", "molecules", "--targets", "gap", "gap"], "'gap' is given twice"),
    (["train", "molecules", "--targets"], "targets must be"),
    (["train", "molecules", "--split", "mine"], "split 'mine'"),
    (["train", "molecules", "--buckets", "x"], "--buckets"),
    (["train", "molecules", "--buckets", "0"], "buckets must be positive"),
    (["train", "molecules", "--data", "HERE/nowhere.npz"], "nowhere.npz"),
    (["train", "molecules", "--data", "HERE"], "HERE"),
    *(
        (["train", "molecules", "--data", f"HERE/{name}.npz"], f"{name}.npz")
        for name in FILE_MISTAKES
    ),
    (["train", "molecules", "--model.dim", "9"], "dim must be a multiple of num_heads"),
    (["train", "molecules", "--model.dim", "1.5"], "--model.dim"),
    (["train", "molecules", "--model.group", "E8"], "group 'E8' is unknown"),
    (["train", "molecules", "--model.coordinates", "log"], "coordinates must be 'invariants'"),
    (["train", "molecules", "--model.norm", "batch"], "--model.norm"),
    (["train", "molecules", "--model.output", "per_point"], "output must be 'invariant'"),
    (["train", "molecules", "--model.radial-cutoff", "0"], "above 0, got 0.0"),
    (["train", "molecules", "--optimizer.learning-rate", "-1"], "learning_rate must be"),
    (["train", "molecules", "--optimizer.ema-decay", "1"], "ema_decay must be in"),
    (["train", "molecules", "--out", "HERE/small.npz/run"], "is not a folder"),
    (["train", "molecules", "--out", "HERE/small.npz"], "exists already"),
    (["train", "molecules", "--out", "/proc/run"], "/proc/run"),
    (["evaluate"], "DIR"),
    (["evaluate", "HERE/nowhere"], "nowhere does not exist"),
    (["evaluate", "HERE"], "is not a run folder: it has no config.json"),
    (["evaluate", "HERE/newer"], "has format 2, newer than 1"),
    (["evaluate", "HERE/damaged"], "is not JSON"),
    (["evaluate", "HERE/null_model"], "null_model/config.json.model must be an object, got None"),
    (["evaluate", "HERE/list_model"], "list_model/config.json.model must be an object, got []"),
    (["evaluate", "HERE/huge"], "huge/config.json.optimizer.ema_decay must be a finite number"),
    (["evaluate", "HERE/deep"], "deep/config.json is not JSON"),
    (["evaluate", "HERE/long"], "long/config.json is not JSON"),
    (["evaluate", "RUN", "--split", "all"], "split 'all' is unknown"),
    (["evaluate", "RUN", "--num-lifts", "0"], "num_lifts must be at least 1"),
    (["evaluate", "RUN", "--num-lifts", "x"], "--num-lifts"),
    (["train", "molecules", "--out", "RUN"], "run folder RUN exists already"),
]


@pytest.fixture(scope="module")
def bad_workplace(workplace):
    for name, changes in FILE_MISTAKES.items():
        save_molecules(workplace / f"{name}.npz", **changes)
    texts = {
        "newer": '{"format": 2}',
        "damaged": "{",
        "null_model": '{"format": 1, "task": "molecules", "model": null}',
        "list_model": '{"format": 1, "task": "molecules", "model": []}',
        "huge": f'{{"format": 1, "task": "molecules", "optimizer": {{"ema_decay": {10**400}}}}}',
        "deep": "[" * 100_000,
        "long": '{"format": ' + "9" * 5000 + "}",
    }
    for name, text in texts.items():
        (workplace / name).mkdir()
        (workplace / name / "config.json").write_text(text)
    return workplace


@pytest.mark.parametrize(
    ("arguments", "message"), BAD_INPUTS, ids=[" ".join(a) for a, _ in BAD_INPUTS]
)
def test_bad_input_is_one_clear_line_and_exit_code_2(
    bad_workplace, trained, capsys, tmp_path, arguments, message
):
    def fill(text):
        return text.replace("HERE", str(bad_workplace)).replace("RUN", str(trained[0]))

    arguments = [fill(argument) for argument in arguments]
    if arguments[:1] == ["train"] and "--out" not in arguments:
        arguments += ["--out", str(tmp_path / "out")] if len(arguments) > 1 else []
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("eqattn: error: ")
    assert err.count("\n") == 1, err
    assert fill(message) in err
    assert not (tmp_path / "out").exists(), "bad input leaves nothing behind"


def test_python_m_eqattn_is_the_same_command():
    done = subprocess.run(
        [sys.executable, "-m", "eqattn", "fly"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("eqattn: error: unknown command 'fly'")


def test_help_does_not_import_what_is_slow():
    code = (
        "import sys\nfrom eqattn.cli import main\nmain(['--help'])\n"
        "slow = {'tensorflow_datasets', 'matplotlib', 'orbax', 'grain', 'diffrax'}\n"
        "print(sorted(slow & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[-1] == "[]"

"""The command line from end to end, in this process, on a model and a data set that are tiny."""

import csv
import dataclasses
import json
import logging
import shutil
import subprocess
import sys

import numpy as np
import pytest
from flax import nnx

from eqattn import save
from eqattn._version import __version__
from eqattn.attention import NearestNeighbors
from eqattn.cli import main
from eqattn.cli.output import logging_to_stderr
from eqattn.cli.parsing import first_paragraph
from eqattn.cli.program import COMMANDS
from eqattn.config import SavedConfig, Standardization
from eqattn.data.atoms import write_npz
from eqattn.groups import SE, E
from eqattn.layers import (
    Attention,
    AttentiveConvolution,
    Convolution,
    MLPLogits,
    RadialLocation,
    RawLocation,
)
from eqattn.lift import Haar, NoLift
from eqattn.models import (
    HamiltonianNetworkConfig,
    LieConvNetworkConfig,
    LieTransformerConfig,
    PotentialMLPConfig,
)
from eqattn.spaces import euclidean
from eqattn.tasks import get_preset
from eqattn.tasks import molecules as data
from eqattn.train.checkpoints import Checkpoint, CheckpointStore
from eqattn.train.config_json import to_json
from eqattn.train.named_leaves import to_named
from eqattn.train.run_folder import create_folder
from tests.grids import some

TINY = [
    *("--model.dim=8", "--model.num-layers=1", "--model.layer.num-heads=2"),
    *("--model.layer.location.num-radial=2", "--model.layer.location.dim=4"),
    *("--batch-size=4", "--options.buckets=64", "--steps=4", "--eval-every=2"),
]


def save_molecules(path, **changes):
    """Writes a file of the sixty smallest embedded molecules, with changes."""
    molecules = data.load()
    order = np.argsort(molecules.num_atoms, kind="stable")
    write_npz(path, molecules[order[:60]])
    arrays = dict(np.load(path))
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


@pytest.fixture(scope="module")
def springs_run(workplace):
    """A run folder of springs that was not trained: predictions need its best parameters only."""
    config = SavedConfig(
        task="springs",
        data="generated",
        targets=("springs",),
        model=HamiltonianNetworkConfig(
            potential=PotentialMLPConfig(dim=8, num_layers=1), center=False
        ),
        in_features=2,
        out_features=1,
        standardization=(Standardization("springs", "1", 0.0, 1.0),),
    )
    path = create_folder(workplace / "springs", to_json(config))
    model = config.model.build(2, 1, rngs=nnx.Rngs(0))
    with CheckpointStore(path / "best", keep=1) as store:
        store.save(Checkpoint(9, to_named(nnx.state(model, nnx.Param)), {}))
    return path


def save_springs(path, **changes):
    """Writes a file of the states of two systems, with changes."""
    random = np.random.RandomState(0)
    arrays = {
        "positions": random.normal(size=(2, 6, 2)),
        "momenta": random.normal(size=(2, 6, 2)),
        "masses": random.uniform(0.1, 3.1, (2, 6)),
        "spring_constants": random.uniform(0.0, 5.0, (2, 6)),
    }
    arrays |= {name: change(arrays.get(name)) for name, change in changes.items()}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


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
    assert config["format"] == 3
    assert config["model"]["class"] == "LieTransformerConfig"
    assert config["model"]["dim"] == 8
    assert config["model"]["space"] == "euclidean(SE(3))"
    assert "num_heads=2" in config["model"]["layer"]
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


@pytest.mark.parametrize("split", some(["train", "validation", "test"], "train", "validation"))
def test_evaluate_scores_any_split_with_any_number_of_lifts(trained, capsys, split):
    path, _, _ = trained
    code, out, _ = run(capsys, "evaluate", path, "--split", split, "--num-lifts", 2)
    assert code == 0
    result = json.loads(out)
    assert result["split"] == split
    assert result["targets"]["mu"]["value"] > 0


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
        "train": (
            "--model.dim",
            "--optimizer.learning-rate",
            "--out",
            "--resume",
            "--x64",
            "--model.lift",
        ),
        "evaluate": ("DIR", "--split", "--num-lifts"),
        "predict": ("DIR", "FILE", "--out", "--num-lifts"),
        "simulate": ("DIR", "FILE", "--temperature", "--steps", "--friction", "--x64"),
        "export": ("DIR", "--out", "--x64", "--lists"),
        "plot": ("DIR", "--out"),
        "tasks": ("usage",),
        "check": ("--group", "--space", "--field", "--dtype", "--json"),
    }.items():
        code, out, err = run(capsys, command, "--help")
        assert (code, err) == (0, "")
        for text in texts:
            assert text in out, (command, text)


def test_help_of_train_names_every_option_of_a_specification(capsys):
    _, out, _ = run(capsys, "train", "molecules", "--help")
    for flag in ("num-heads", "coordinates", "location.dim", "location.cutoff", "normalize"):
        assert f"--model.layer.{flag}" in out
    assert "--model.lift (default: NoLift())\n      one of Coset, " in out
    assert "--model.neighborhood (default: None)\n      one of Nearest" in out
    assert "RadiusNeighbors, None" in out
    _, out, _ = run(capsys, "train", "springs", "--help")
    assert "--model.potential.dim" in out
    assert "--model.potential.layer.num-heads" in out
    _, out, _ = run(capsys, "train", "molecules", "--model.layer", "Convolution()", "--help")
    assert "--model.layer.values.num-basis" in out
    assert "--model.layer.num-heads" not in out


@pytest.fixture
def configured(monkeypatch):
    """Returns the configuration that words of ``eqattn train`` stand for, without training."""
    seen = []

    def train(config, out, reporter):
        seen.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr("eqattn.train.train", train)

    def configure(*words):
        assert main(["train", *words]) == 130
        return seen.pop()

    return configure


def test_whole_texts_and_single_options_go_together_in_either_order(configured):
    words = ["--model.lift=Haar(2)", "--model.lift.num-samples=5"]
    for order in (words, words[::-1], ["--model.lift", "Haar(2)", *words[1].split("=")]):
        assert configured("molecules", *order).model.lift == Haar(5)
    words = ["--model.layer", "AttentiveConvolution(num_heads=2)", "--model.layer.values.dim", "9"]
    for order in (words, words[2:] + words[:2]):
        layer = configured("molecules", *order).model.layer
        assert layer == AttentiveConvolution(
            num_heads=2, values=dataclasses.replace(AttentiveConvolution().values, dim=9)
        )
    words = ["--model.layer.location=RadialLocation()", "--model.layer=Attention(num_heads=4)"]
    words += ["--model.layer.location.num-radial", "7"]
    for order in (words, words[2:] + words[1::-1]):
        layer = configured("molecules", *order).model.layer
        assert layer == Attention(num_heads=4, location=RadialLocation(num_radial=7))


@pytest.mark.parametrize(
    "words",
    [
        ["--model.layer.location=None", "--model.layer.combine=AddLogits()"],
        ["--model.space=euclidean(T(3))", "--model.lift=NoLift()"],
        ["--model.lift=NoLift()", "--model.layer.coordinates=invariants"],
    ],
    ids=lambda words: words[0],
)
def test_what_fits_together_only_may_be_given_in_any_order(configured, words):
    found = [configured("molecules", "--preset=paper", *order) for order in (words, words[::-1])]
    assert found[0] == found[1] != get_preset("molecules", "paper")


def test_single_options_keep_what_the_preset_says(configured):
    found = configured("molecules", "--model.layer.num-heads", "4", "--model.dim", "16").model
    before = get_preset("molecules", "demo").model
    layer = dataclasses.replace(before.layer, num_heads=4)
    assert found == dataclasses.replace(before, dim=16, layer=layer)
    assert configured("molecules", "--model.layer.location.dim=8").model.layer.location == (
        dataclasses.replace(before.layer.location, dim=8)
    )
    assert configured("molecules", "--model.layer.num_heads", "4").model.layer == layer


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--model.space", "euclidean(E(3))"], "space", euclidean(E(3))),
        (["--model.space=euclidean(SE(n=3))"], "space", euclidean(SE(3))),
        (["--model.neighborhood", "None"], "neighborhood", None),
        (["--model.neighborhood", "NearestNeighbors(6)"], "neighborhood", NearestNeighbors(6)),
        (["--model.lift", "Haar(num_samples=4)"], "lift", Haar(4)),
        (["--model.lift", " NoLift() "], "lift", NoLift()),
        (["--model.layer", "Convolution()"], "layer", Convolution()),
        (
            [
                "--model.layer",
                "Attention(location=None)",
                "--model.layer.location=RawLocation()",
                "--model.layer.combine=MLPLogits()",
            ],
            "layer",
            Attention(location=RawLocation(), combine=MLPLogits()),
        ),
        (
            ["--model.layer.location=None", "--model.layer.combine=AddLogits()"],
            "layer",
            Attention(location=None, normalize="mean", cutoff=5.0),
        ),
        (["--model.activation", "gelu"], "activation", "gelu"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_texts_are_what_python_would_make(configured, words, name, value):
    assert getattr(configured("molecules", *words).model, name) == value


def test_the_model_itself_may_be_another_class(configured):
    model = "LieConvNetworkConfig(dim=16, num_layers=2)"
    found = configured("molecules", "--model", model, "--model.bottleneck", "2").model
    assert found == LieConvNetworkConfig(dim=16, num_layers=2, bottleneck=2)


def test_models_inside_of_models_have_their_options(configured):
    words = ["--model.potential.dim", "16", "--model.potential.layer.num-heads=2"]
    found = configured("springs", *words)
    before = get_preset("springs", "demo").model.network
    layer = dataclasses.replace(before.layer, num_heads=2)
    assert found.model.network == dataclasses.replace(before, dim=16, layer=layer)
    words = ["--model.potential", "PotentialMLPConfig()", "--model.potential.dim=9"]
    found = configured("springs", *words, "--model.no-center")
    assert found.model == HamiltonianNetworkConfig(
        potential=PotentialMLPConfig(dim=9), center=False
    )


def test_help_of_train_shows_the_preset(capsys):
    _, out, _ = run(capsys, "train", "molecules", "--preset", "paper", "--help")
    assert "(default: 512)" in out
    _, out, _ = run(capsys, "train", "molecules", "--preset=demo", "--help")
    assert "(default: 512)" not in out


def test_predict_writes_a_table_in_physical_units(
    trained, workplace, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "predict", trained[0], workplace / "small.npz")
    assert code == 0
    result = json.loads(out)
    assert (result["task"], result["examples"], result["steps"]) == ("molecules", 60, 4)
    assert result["out"] == str(tmp_path / "small-predictions.csv")
    lines = (tmp_path / "small-predictions.csv").read_text().splitlines()
    assert lines[0] == "id,gap_eV,mu_D,gap_eV_true,mu_D_true,outside_training"
    assert lines[0].split(",") == result["columns"]
    assert len(lines) == 61
    out_file = tmp_path / "xyz.csv"
    (tmp_path / "water.xyz").write_text(WATER * 2)
    assert (
        run(capsys, "predict", trained[0], "water.xyz", "--out", out_file, "--num-lifts", 2)[0] == 0
    )
    header, first, second = out_file.read_text().splitlines()
    assert header == "id,gap_eV,mu_D,outside_training"
    assert first.split(",")[1] == second.split(",")[1]


def test_a_line_of_the_log_is_shown_once(capsys):
    """Also where an imported package has called ``logging.basicConfig``."""
    root = logging.getLogger()
    handler = logging.StreamHandler(sys.stderr)
    root.addHandler(handler)
    try:
        with logging_to_stderr(logging.INFO):
            logging.getLogger("eqattn").warning("once")
        assert capsys.readouterr().err == "once\n"
        logging.getLogger("eqattn").warning("by the root")
        assert capsys.readouterr().err == "by the root\n"
    finally:
        root.removeHandler(handler)


def test_predict_follows_springs(springs_run, tmp_path, capsys):
    save_springs(tmp_path / "two.npz", times=lambda _: np.array([2.0, 2.5, 2.6]))
    file = tmp_path / "two.csv"
    code, out, err = run(
        capsys, "predict", springs_run, tmp_path / "two.npz", "--out", file, "--num-lifts", 2
    )
    assert code == 0
    result = json.loads(out)
    assert (result["task"], result["examples"], result["steps"]) == ("springs", 2, 9)
    rows = list(csv.DictReader(file.open()))
    assert list(rows[0]) == result["columns"] == ["id", "time", "particle", "x", "y", "px", "py"]
    assert "has no record of what it was trained on" in err
    assert len(rows) == 2 * 3 * 6
    assert (rows[6]["id"], rows[6]["time"], rows[6]["particle"]) == ("0", "2.5", "0")
    wrong = tmp_path / "a.xyz"
    code, _, err = run(capsys, "predict", springs_run, tmp_path / "two.npz", "--out", wrong)
    assert code == 2
    assert "a.xyz: predictions of the task 'springs' are written as a table; choose a name" in err
    assert not wrong.exists()
    positions = np.load(tmp_path / "two.npz")["positions"]
    written = [[float(row["x"]), float(row["y"])] for row in rows[18:24]]
    np.testing.assert_allclose(written, positions[1], rtol=1e-6)


def test_plot_draws_png_files(trained, capsys, tmp_path):
    code, out, _ = run(capsys, "plot", trained[0], "--out", tmp_path / "plots")
    assert code == 0
    files = json.loads(out)["files"]
    assert files == [
        str(tmp_path / "plots" / f"{n}.png") for n in ("learning_curve", "predictions")
    ]
    code, _, err = run(capsys, "plot", trained[0], "--out", tmp_path / "plots")
    assert code == 2
    assert "learning_curve.png exists already" in err


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
    assert first_paragraph(box) == paragraph


WATER = "3\nwater\nO 0 0 0.119\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n"
BAD_XYZ = {
    "empty": ("", "empty.xyz is empty"),
    "blank": ("\n \n", "blank.xyz is empty"),
    "words": ("water\n", "words.xyz, line 1 (frame 0): the number of atoms is needed, got 'water'"),
    "zero": ("0\n\n", "zero.xyz, line 1 (frame 0): the number of atoms is '0'"),
    "cut": (WATER[:-24], "cut.xyz, line 1 (frame 0): 3 atoms are announced, and 2 lines are left"),
    "giant": ("9" * 30 + "\n\n", "the number of atoms is '999"),
    "ragged": (WATER.replace("O 0 0 0", "O 0 0"), "ragged.xyz, line 3 (frame 0): an element and"),
    "metal": (
        WATER + WATER.replace("O", "Fe"),
        "metal.xyz: molecule 1 holds the element Fe, which the run does not know",
    ),
    "nancoord": (WATER.replace("0.119", "nan"), "line 3 (frame 0): '0 0 nan' are not coordinates"),
    "inf": (WATER.replace("0.119", "1e40"), "line 3 (frame 0): '0 0 1e40' is not finite"),
    "letters": (WATER.replace("0.119", "up"), "line 3 (frame 0): '0 0 up' are not coordinates"),
    "columns": (WATER.replace("water", "Properties=mass:R:1"), "names no species:S:1 and pos:R:3"),
    "after": (WATER + "and more\n", "after.xyz, line 6 (frame 1): the number of atoms is needed"),
    "far": (WATER.replace("0.119", "1e30"), "molecule 0: the prediction is not finite"),
}

FILE_MISTAKES = {
    "nan": {"positions": lambda a: np.where(a == a[3], np.nan, a).astype(np.float32)},
    "no_atoms": {"num_atoms": lambda a: np.concatenate([a[:-2], [a[-2] + a[-1], 0]])},
    "shapes": {"positions": lambda a: a[:, :2]},
    "short": {"gap": lambda a: a[:-1]},
    "element": {"numbers": lambda a: np.where(a == 6, 119, a)},
    "missing": {"numbers": lambda a: None},
}

SPRING_MISTAKES = {
    "no_masses": ({"masses": lambda a: None}, "no_masses.npz has no array 'masses'; it needs"),
    "a_path": ({"positions": lambda a: a[:, None]}, "'positions' must be [M, N, 2] with M > 0"),
    "no_system": ({"positions": lambda a: a[:0]}, "'positions' must be [M, N, 2] with M > 0"),
    "few_masses": ({"masses": lambda a: a[:, :5]}, "'masses' must be [2, 6] for 2 systems of 6"),
    "nan_state": ({"momenta": lambda a: np.where(a == a[1, 2], np.nan, a)}, "at [1, 2, 0]"),
    "massless": ({"masses": lambda a: np.where(a == a[0, 3], 0, a)}, "got 0 for particle 3 of sys"),
    "back": ({"times": lambda _: np.array([0.0, 2, 1])}, "'times' must increase, got 1 after 2"),
    "long": ({"times": lambda _: np.array([0.0, 1e9])}, "times must not ask for more than 100,000"),
    "same_ids": ({"ids": lambda _: np.array([3, 3])}, "'ids' holds 3 more than once"),
    "words": ({"masses": lambda a: a.astype(str)}, "'masses' must hold numbers, got <U"),
    "light": ({"masses": lambda a: 1e-42 * a}, "system 0: the roll-out is not finite at time"),
    "many": (
        {name: lambda a: a[:, :5] for name in ("positions", "momenta", "masses")}
        | {"spring_constants": lambda a: a[:, :5]},
        "points must end in (6, 2), got shape (2, 5, 2)",
    ),
}

BAD_TEXTS = [
    (["--model.lift", "Haar(4)", "--model.lift=NoLift()"], "--model.lift must be given once"),
    (["--model.lift"], "--model.lift needs a value"),
    (["--model.lift="], "--model.lift needs a value"),
    (["--model.lift", "haar"], "--model.lift must be one of Coset, "),
    (
        ["--model.lift", "Har(4)"],
        "--model.lift: 'Har' is unknown, known are Coset, ",
    ),
    (["--model.lift", "Haar(samples=4)"], "Haar has no option 'samples', its options are num_samp"),
    (["--model.lift", "Haar(0)"], "num_samples must be at least 1, got 0"),
    (["--model.lift", "Haar(1, False, 3)"], "--model.lift: Haar: too many positional arguments"),
    (["--model.lift", "Attention()"], "--model.lift must be one of Coset, "),
    (["--model.lift", "Haar(open('x'))"], "--model.lift: 'open' is unknown"),
    (["--model.lift", "__import__('os')"], "--model.lift: '__import__' is unknown"),
    (["--model.lift", "Haar(1 + 1)"], "'1 + 1' is neither a value nor a call by name"),
    (["--model.lift", "None"], "--model.lift"),
    (["--model.layer", "Attention(heads=2)"], "Attention has no option 'heads', its options are"),
    (["--model.layer", "Attention(num_heads='a')"], "num_heads of Attention must be an integer"),
    (["--model.layer", "Convolution()", "--model.layer.num-heads", "2"], "--model.layer.num-head"),
    (["--model.layer.location", "MLPLocation(width=3)"], "MLPLocation has no option 'width'"),
    (["--model.layer.normalize", "max"], "--model.layer.normalize"),
    (
        ["--model.neighborhood", "NearestNeighbors()"],
        "missing a required argument: 'num_n",
    ),
    (["--model.neighborhood", "NearestNeighbors(9, 3)"], "candidates must be at least num_neighb"),
    (["--model.space", "euclidian(SE(3))"], "'euclidian' is unknown, known are "),
    (["--model.space", "euclidean(SE(4))"], "4"),
    (["--model.activation", "swoosh"], "activation must be one of"),
    (["--model", "Convolution()"], "--model must be one of "),
]

BAD_INPUTS = [
    ([], "a command is missing; known are tasks, train, evaluate"),
    (["fly"], "unknown command 'fly'"),
    (["tasks", "--all"], "--all"),
    (["train"], "TASK is missing; known are constellations"),
    (["train", "--steps", "3"], "TASK is missing"),
    (["train", "weather"], "task 'weather' is unknown; known are constellations"),
    (["train", "molecules", "--preset", "huge"], "preset 'huge' is unknown"),
    (["train", "molecules", "--preset"], "--preset"),
    (["train", "molecules", "--preset", "demo", "--preset=paper"], "--preset must be given once"),
    (
        ["train", "molecules", "--model.space", "euclidean(T(2))"],
        "space must be Euclidean of 3 dimensions for molecules",
    ),
    (["train", "molecules", "--stepz", "3"], "(see eqattn train molecules --help)"),
    (["train", "molecules", "--steps", "many"], "--steps"),
    (["train", "molecules", "--steps", "0"], "steps must be at least 1, got 0"),
    (["train", "molecules", "--batch-size", "-4"], "batch_size must be at least 1, got -4"),
    (["train", "molecules", "--eval-every", "0"], "eval_every must be at least 1"),
    (["train", "molecules", "--seed", "-1"], "seed must be in"),
    (["train", "molecules", "--num-lifts", "0"], "num_lifts must be at least 1"),
    (["train", "molecules", "--targets", "size"], "'size' is unknown; known are mu, alpha"),
    (["train", "molecules", "--targets", "gap", "gap"], "'gap' is given twice"),
    (["train", "molecules", "--targets"], "targets must be"),
    (["train", "molecules", "--options.split", "mine"], "split 'mine'"),
    (["train", "molecules", "--options.unit", "D"], "unit must be given for a file only, got D"),
    (["train", "molecules", "--preset", "sums", "--targets", "gap"], "'gap' is intensive"),
    (["train", "molecules", "--options.buckets", "x"], "--options.buckets"),
    (["train", "molecules", "--options.buckets", "0"], "buckets must be positive"),
    (["train", "molecules", "--data", "HERE/nowhere.npz"], "nowhere.npz"),
    (["train", "molecules", "--data", "HERE"], "HERE"),
    *(
        (["train", "molecules", "--data", f"HERE/{name}.npz"], f"{name}.npz")
        for name in FILE_MISTAKES
    ),
    (["train", "molecules", "--model.dim", "9"], "dim must be a multiple of num_heads"),
    (["train", "molecules", "--model.dim", "1.5"], "--model.dim"),
    (["train", "molecules", "--model.space", "euclidean(E8())"], "'E8' is unknown, did you mean E"),
    (["train", "molecules", "--model.space", "SE(3)"], "--model.space"),
    (
        ["train", "molecules", "--model.layer.coordinates", "log"],
        "coordinates must be 'invariants'",
    ),
    (["train", "molecules", "--model.norm", "batch"], "--model.norm"),
    (
        ["train", "molecules", "--model.lift.num-samples", "4"],
        "(see eqattn train molecules --help)",
    ),
    *((["train", "molecules", *words], message) for words, message in BAD_TEXTS),
    (
        ["train", "molecules", "--model.layer.location=None"],
        "combine=MultiplyLogits() needs a content and a location term, got content=Dot",
    ),
    (["train", "molecules", "--model.output", "per_point"], "it must have the output 'invariant'"),
    (["train", "molecules", "--model.layer.location.cutoff", "0"], "above 0, got 0.0"),
    (["train", "molecules", "--optimizer.learning-rate", "-1"], "learning_rate must be"),
    (["train", "molecules", "--optimizer.ema-decay", "1"], "ema_decay must be in"),
    (["train", "molecules", "--out", "HERE/small.npz/run"], "is not a folder"),
    (["train", "molecules", "--out", "HERE/small.npz"], "exists already"),
    (["train", "molecules", "--out", "/proc/run"], "/proc/run"),
    (["evaluate"], "DIR"),
    (["evaluate", "HERE/nowhere"], "nowhere does not exist"),
    (["evaluate", "HERE"], "is not a run folder: it has no config.json"),
    (["evaluate", "HERE/newer"], "has format 4, newer than 3"),
    (["evaluate", "HERE/damaged"], "is not JSON"),
    (
        ["evaluate", "HERE/null_model"],
        "null_model/config.json.model must be a ModelConfig, got None",
    ),
    (["evaluate", "HERE/list_model"], "list_model/config.json.model must be a ModelConfig, got []"),
    (["evaluate", "HERE/huge"], "huge/config.json.optimizer.ema_decay must be a finite number"),
    (["evaluate", "HERE/old_null_model"], "old_null_model/config.json: model must be an object"),
    (["evaluate", "HERE/old_group"], "old_group/config.json: model.group must be one of"),
    (["evaluate", "HERE/old_name"], "old_name/config.json: model.width is unknown"),
    (["evaluate", "HERE/old_value"], "old_value/config.json: model.lift must be one of haar,"),
    (["evaluate", "HERE/deep"], "deep/config.json is not JSON"),
    (["evaluate", "HERE/long"], "long/config.json is not JSON"),
    (["evaluate", "RUN", "--split", "all"], "split 'all' is unknown"),
    (["evaluate", "RUN", "--num-lifts", "0"], "num_lifts must be at least 1"),
    (["evaluate", "RUN", "--num-lifts", "x"], "--num-lifts"),
    (["train", "molecules", "--out", "RUN"], "run folder RUN exists already"),
    (["train", "molecules", "--x64", "--model.dtype", "bfloat16"], "contradict each other"),
    (["train", "--resume"], "--resume needs the folder of a run"),
    (["train", "--resume="], "--resume needs the folder of a run"),
    (["train", "--resume", "RUN", "--resume", "RUN"], "--resume must be given once"),
    (["train", "--resume", "RUN", "--steps", "9"], "takes no other option; got --steps 9"),
    (["train", "molecules", "--resume=RUN", "--seed=1"], "takes no other option; got --seed=1"),
    (
        ["train", "weather", "--resume", "RUN"],
        "RUN is a run of the task 'molecules', not 'weather'",
    ),
    (["train", "--resume", "HERE/nowhere"], "nowhere does not exist"),
    (["train", "--resume", "HERE"], "is not a run folder: it has no config.json"),
    (["train", "--resume", "HERE/small.npz"], "small.npz does not exist, or is not a folder"),
    (["train", "--resume", "HERE/newer"], "has format 4, newer than 3"),
    (["train", "--resume", "HERE/damaged"], "is not JSON"),
    (["train", "--resume", "HERE/model_only"], "is a saved model without a task"),
    (["train", "--resume", "HERE/other_model"], "other_model/checkpoints/4 is of another model"),
    (["train", "--resume", "HERE/wide_model"], "wide_model/checkpoints/4 is of another model: 'pa"),
    (["train", "--resume", "HERE/bad_save"], "bad_save/checkpoints/4 cannot be read: the checkp"),
    (["train", "--resume", "HERE/bad_log"], "bad_log/metrics.jsonl: line 1 is not JSON"),
    (["train", "--resume", "HERE/short"], "short/checkpoints/4 is of another run"),
    (["train", "--resume", "HERE/in_use"], "in_use is in use by another process"),
    (["train", "--resume", "HERE/lost_data"], "gone.npz"),
    (["evaluate", "HERE/other_model"], "other_model is of another model"),
    (["evaluate", "HERE/bad_save"], "bad_save/best/"),
    (["evaluate", "HERE/model_only"], "is a saved model without a task"),
    (["evaluate", "HERE/nothing_yet"], "nothing_yet has no saved parameters yet"),
    (["evaluate", "RUN", "extra"], "extra"),
    (["predict"], "DIR"),
    (["predict", "RUN"], "FILE"),
    (["predict", "RUN", "HERE/nowhere.xyz"], "nowhere.xyz does not exist"),
    (["predict", "RUN", "HERE"], "is not a file"),
    (["predict", "HERE", "HERE/water.xyz"], "is not a run folder"),
    (["predict", "HERE/newer", "HERE/water.xyz"], "has format 4"),
    (["predict", "HERE/model_only", "HERE/water.xyz"], "is a saved model without a task"),
    (["predict", "HERE/nothing_yet", "HERE/water.xyz"], "has no saved parameters yet"),
    (["predict", "RUN", "HERE/water.xyz", "--num-lifts", "0"], "num_lifts must be at least 1"),
    (["predict", "RUN", "HERE/water.xyz", "--out", "HERE/small.npz"], "small.npz exists already"),
    (["predict", "RUN", "HERE/water.xyz", "--out", "HERE/no/a.csv"], "HERE/no is not a folder"),
    (["predict", "RUN", "HERE/water.xyz", "--split", "test"], "--split"),
    (["predict", "RUN", "HERE/junk.xyz"], "junk.xyz is not an xyz file: it is not text"),
    (["predict", "RUN", "HERE/junk.npz"], "junk.npz cannot be read as an npz file"),
    *((["predict", "RUN", f"HERE/{name}.npz"], f"{name}.npz") for name in FILE_MISTAKES),
    *((["predict", "RUN", f"HERE/{name}.xyz"], message) for name, (_, message) in BAD_XYZ.items()),
    (["predict", "SPRINGS", "HERE/nowhere.npz"], "nowhere.npz does not exist"),
    (["predict", "SPRINGS", "HERE"], "is not a file"),
    (["predict", "SPRINGS", "HERE/junk.npz"], "junk.npz cannot be read as an npz file of springs"),
    (["predict", "SPRINGS", "HERE/small.npz"], "small.npz has no array 'momenta'"),
    *(
        (["predict", "SPRINGS", f"HERE/{name}.npz"], message)
        for name, (_, message) in SPRING_MISTAKES.items()
    ),
    (["simulate", "RUN"], "FILE"),
    (
        ["simulate", "RUN", "HERE/water.xyz", "--out", "HERE/a.xyz"],
        "is no run of the task 'forces'",
    ),
    (["simulate", "HERE", "HERE/water.xyz", "--out", "HERE/a.xyz"], "is not a run folder"),
    (["export"], "DIR"),
    (["export", "SPRINGS", "--out", "HERE/a.jax"], "of the task 'springs', which is not exported"),
    (["export", "RUN", "--out", "HERE/small.npz"], "small.npz exists already"),
    (["plot"], "DIR"),
    (["plot", "HERE/nowhere"], "nowhere does not exist"),
    (["plot", "HERE"], "is not a run folder"),
    (["plot", "HERE/newer"], "has format 4"),
    (["plot", "HERE/model_only"], "is a saved model without a task"),
    (["plot", "HERE/nothing_yet"], "nothing_yet has no metrics to plot yet"),
    (["plot", "HERE/bad_log"], "bad_log/metrics.jsonl: line 1 is not JSON"),
    (["plot", "RUN", "--out", "HERE/small.npz"], "small.npz"),
    (["plot", "RUN", "--dpi", "9"], "--dpi"),
    (["check", "--group", "SE(9)"], "group must be one of T(2), T(3)"),
    (["check", "--field", "vectr"], "vectr"),
    (["check", "--space", "S2", "--dtype", "float16"], "dtype must be one of float64, float32"),
    (["check", "--space", "S1", "--lift", "Grid(4)"], "nothing is left to measure"),
    (["check", "SE(3)"], "SE(3)"),
]


@pytest.fixture(scope="module")
def bad_workplace(workplace, trained, springs_run):
    (workplace / "water.xyz").write_text(WATER)
    for name, (text, _) in BAD_XYZ.items():
        (workplace / f"{name}.xyz").write_text(text)
    for name in ("junk.xyz", "junk.npz"):
        (workplace / name).write_bytes(bytes(range(256)))
    break_runs(workplace, trained[0])
    for name, changes in FILE_MISTAKES.items():
        save_molecules(workplace / f"{name}.npz", **changes)
    for name, (changes, _) in SPRING_MISTAKES.items():
        save_springs(workplace / f"{name}.npz", **changes)
    texts = {
        "newer": '{"format": 4}',
        "damaged": "{",
        "null_model": '{"format": 3, "task": "molecules", "model": null}',
        "list_model": '{"format": 3, "task": "molecules", "model": []}',
        "huge": f'{{"format": 3, "task": "molecules", "optimizer": {{"ema_decay": {10**400}}}}}',
        "old_null_model": '{"format": 1, "task": "molecules", "model": null}',
        "old_group": '{"format": 1, "task": "molecules", "model": {"group": "E8"}}',
        "old_name": '{"format": 1, "task": "molecules", "model": {"width": 8}}',
        "old_value": '{"format": 1, "task": "molecules", "model": {"lift": "some"}}',
        "deep": "[" * 100_000,
        "long": '{"format": ' + "9" * 5000 + "}",
    }
    for name, text in texts.items():
        (workplace / name).mkdir()
        (workplace / name / "config.json").write_text(text)
    from eqattn.train.lock import locked

    with locked(workplace / "in_use"):
        yield workplace


def break_runs(workplace, good):
    """Copies a run folder, and breaks something in each copy."""

    def copy(name, **changes):
        path = workplace / name
        shutil.copytree(good, path)
        content = json.loads((path / "config.json").read_text())
        for key, value in changes.items():
            content[key] = content[key] | value if isinstance(value, dict) else value
        (path / "config.json").write_text(json.dumps(content))
        return path

    copy("in_use")
    copy("short", steps=2)
    copy("other_model", model={"num_layers": 2})
    copy("wide_model", model={"dim": 16})
    copy("lost_data", data=str(workplace / "gone.npz"))
    (copy("bad_log") / "metrics.jsonl").write_text("{\n")
    path = copy("nothing_yet")
    for name in ("checkpoints", "best"):
        shutil.rmtree(path / name)
    (path / "metrics.jsonl").unlink()
    path = copy("bad_save")
    for manifest in path.glob("*/*/arrays/manifest.ocdbt"):
        manifest.unlink()
    config = LieTransformerConfig(dim=8, num_layers=1)
    save(config.build(15, 1, rngs=nnx.Rngs(0)), workplace / "model_only")


def test_there_are_many_bad_inputs_of_every_command():
    assert len(BAD_INPUTS) >= 100
    assert {arguments[0] for arguments, _ in BAD_INPUTS if arguments} == {*COMMANDS, "fly"}


SLOW_INPUTS = (
    "check --space S1 --lift Grid(4)",  # tests/certificate/test_rows.py has the error
    "train --resume HERE/other_model",  # wide_model is of another model too
    # What tests/tasks/molecules has of the readers; an example of each kind of file stays.
    *(f"predict RUN HERE/{name}.xyz" for name in BAD_XYZ if name not in ("ragged", "metal", "far")),
    *(f"predict RUN HERE/{name}.npz" for name in FILE_MISTAKES if name != "nan"),
)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            *(arguments, message),
            id=" ".join(arguments),
            marks=pytest.mark.slow if " ".join(arguments) in SLOW_INPUTS else (),
        )
        for arguments, message in BAD_INPUTS
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(
    bad_workplace, trained, springs_run, capsys, tmp_path, no_type_checks, arguments, message
):
    places = {"HERE": bad_workplace, "RUN": trained[0], "SPRINGS": springs_run}

    def fill(text):
        for word, path in places.items():
            text = text.replace(word, str(path))
        return text

    arguments = [fill(argument) for argument in arguments]
    is_new = arguments[:1] == ["train"] and "--resume" not in " ".join(arguments)
    if is_new and "--out" not in arguments:
        arguments += ["--out", str(tmp_path / "out")] if len(arguments) > 1 else []
    if arguments[:1] == ["predict"] and "--out" not in arguments:
        arguments += ["--out", str(tmp_path / "out")] if len(arguments) > 2 else []
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

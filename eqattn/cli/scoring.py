"""``eqattn evaluate``, ``eqattn predict`` and ``eqattn plot``: what can be done with a run."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from eqattn.cli.compilation import keep_compiled_programs
from eqattn.cli.errors import UsageError
from eqattn.cli.output import print_result
from eqattn.cli.parsing import parse

if TYPE_CHECKING:
    from eqattn.train import RunResult

__all__ = ["enable_x64", "evaluate", "plot", "predict", "prepare_precision", "summary"]

Folder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]


@dataclass(frozen=True)
class EvaluateArguments:
    """Score the best parameters of a run."""

    directory: Folder
    """Run folder."""
    split: str = "test"
    """Split to score: train, validation or test."""
    num_lifts: int | None = None
    """Lifts whose predictions are averaged, which differ where the lift draws samples; by default
    the run's own number."""


@dataclass(frozen=True)
class PredictArguments:
    """Predict the targets of new examples with the best parameters of a run."""

    directory: Folder
    """Run folder."""
    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """New examples; molecules and forces: .xyz (any number of frames), .npz, or what ASE reads;
    springs: .npz of positions, momenta, masses, spring_constants and, if you like, times."""
    out: Path | None = None
    """CSV file to write, which must not exist yet; by default <name of FILE>-predictions.csv. Of
    forces also .extxyz, .xyz or .npz: the configurations of FILE with energies and forces."""
    num_lifts: int | None = None
    """Lifts whose predictions are averaged; by default the run's own number."""


@dataclass(frozen=True)
class PlotArguments:
    """Draw the learning curve of a run, and what its task shows of the test split."""

    directory: Folder
    """Run folder."""
    out: Path | None = None
    """Folder for the PNG files, of which none may exist yet; by default DIR/plots, where they are
    drawn anew."""


def evaluate(arguments: list[str]) -> None:
    """Scores a run again, on any split."""
    parsed = parse(EvaluateArguments, "evaluate", arguments)

    from eqattn.train import evaluate

    content = prepare_precision(parsed.directory)
    keep_compiled_programs()
    result = evaluate(parsed.directory, split=parsed.split, num_lifts=parsed.num_lifts)
    print_result(summary(content["task"], parsed.split, result))


def predict(arguments: list[str]) -> None:
    """Predicts the targets of the examples in a file, and writes them as CSV."""
    parsed = parse(PredictArguments, "predict", arguments)
    out = parsed.out if parsed.out is not None else Path(f"{parsed.file.stem}-predictions.csv")

    from eqattn.data.atoms import write_configurations
    from eqattn.data.atoms.files import WRITTEN
    from eqattn.train import predict
    from eqattn.train.tables import check_new_file, write_csv

    check_new_file(out)
    content = prepare_precision(parsed.directory)
    keep_compiled_programs()
    table = predict(parsed.directory, parsed.file, num_lifts=parsed.num_lifts)
    if out.suffix.lower() not in WRITTEN:
        write_csv(out, table.columns)
    elif table.configurations is not None:
        write_configurations(out, table.configurations)
    else:
        raise UsageError(
            f"--out {out}: predictions of the task {content['task']!r} are written as a table; "
            "choose a name that ends in .csv."
        )
    print_result(
        {
            "task": content["task"],
            "examples": table.num_examples,
            "columns": list(table.columns),
            "steps": table.steps,
            "seconds": round(table.seconds, 3),
            "out": str(out.absolute()),
        }
    )


def plot(arguments: list[str]) -> None:
    """Draws a run."""
    parsed = parse(PlotArguments, "plot", arguments)

    from eqattn.plot import plot_run

    prepare_precision(parsed.directory)
    paths = plot_run(parsed.directory, parsed.out)
    print_result({"files": [str(path) for path in paths]})


def prepare_precision(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns what ``config.json`` holds, after switching float64 on where a run asks for it."""
    from eqattn.train.run_folder import read_config

    content = read_config(directory)
    if _is_float64(content.get("model")):
        enable_x64()
    return content


def _is_float64(model: Any) -> bool:
    """Whether a model, or the network inside it, computes in float64."""
    if not isinstance(model, dict):
        return False
    return model.get("dtype") == "float64" or any(map(_is_float64, model.values()))


def enable_x64() -> None:
    """Lets jax compute in float64."""
    import jax

    jax.config.update("jax_enable_x64", True)


def summary(task: Any, split: str, result: RunResult) -> dict[str, Any]:
    """Returns what the last line of stdout says; the top level is about the first target."""
    scores = [dataclasses.asdict(score) for score in result.scores]
    firsts = {score["target"]: score for score in reversed(scores)}
    return {
        "task": task,
        **dataclasses.asdict(result.scores[0]),
        "params": result.num_params,
        "steps": result.steps,
        "seconds": round(result.seconds, 3),
        "out": str(result.directory),
        "split": split,
        "targets": {
            name: {key: score[key] for key in ("metric", "value", "baseline", "unit")}
            for name, score in reversed(firsts.items())
        },
        "scores": scores,
        "baselines": dict(result.baselines),
        "unknown_labels": {split: dict(n) for split, n in result.unknown_labels.items()},
    }

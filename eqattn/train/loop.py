"""Training: from a configuration, or a folder of a run that was stopped, to one result.

A run that was killed goes on from its newest checkpoint, with the same parameters, the same keys
and the same data order, so that it ends as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from eqattn.checks import check_numbers, check_sizes
from eqattn.config import RunConfig, SavedConfig, TaskOptions, TrainingRange
from eqattn.files import fingerprint
from eqattn.interruption import Interruption
from eqattn.tasks import (
    BucketedProblem,
    ElementsProblem,
    HasBaseline,
    Problem,
    RangedProblem,
    ReferencedProblem,
    Score,
    get_task,
)
from eqattn.train import baseline
from eqattn.train.building import build_model
from eqattn.train.checkpoints import CheckpointStore, read_latest
from eqattn.train.config_json import from_json, to_json
from eqattn.train.evaluation import make_predictor, unknown_labels
from eqattn.train.lock import locked
from eqattn.train.metrics import MetricsLog, keep_metrics
from eqattn.train.named_leaves import from_named
from eqattn.train.progress import LogReporter, Reporter
from eqattn.train.run import Run
from eqattn.train.run_folder import (
    BEST_NAME,
    CHECKPOINTS_NAME,
    CONFIG_NAME,
    check_new_folder,
    create_folder,
    package_versions,
    read_run_config,
)
from eqattn.train.run_record import RunRecord
from eqattn.train.state import init_state, make_step

__all__ = ["RunResult", "resume", "train"]

KEEP_CHECKPOINTS = 2


@dataclass(frozen=True)
class RunResult:
    """What a run amounts to.

    Attributes:
      scores: Metrics of one split in physical units, the first target's first.
      num_params: Number of parameters of the model.
      steps: Training steps behind it.
      seconds: Wall time, compilation included.
      directory: The run folder.
      baselines: The first score of each baseline by name, for tasks that train one.
      unknown_labels: How many labels are not known, by split and target, where any is not; they
        have no part in losses and scores.
    """

    scores: tuple[Score, ...]
    num_params: int
    steps: int
    seconds: float
    directory: Path
    baselines: Mapping[str, float] = field(default_factory=dict)
    unknown_labels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def train(
    config: RunConfig,
    directory: str | os.PathLike[str],
    *,
    reporter: Reporter | None = None,
) -> RunResult:
    """Trains a model, writes the run folder, and scores the best parameters on the test split.

    Args:
      config: Configuration of the run.
      directory: The run folder; it must not exist yet, or be empty.
      reporter: Receives progress and is closed at the end; by default the logger "eqattn".

    Returns:
      The scores on the test split, and what they cost.

    Raises:
      FileExistsError: If the run folder exists already.
      OSError: If it, or the data, cannot be used.
      TypeError: If a value of the configuration is of a wrong type.
      ValueError: If the configuration or the data are wrong; the message says what.
      TrainingDivergedError: If the loss or a score stops being finite; the message names the
        step.
      Interrupted: If SIGTERM or SIGINT came, in the main thread. The step under way ended and a
        checkpoint was written, from which :func:`resume` goes on; a second signal, or one
        before the first step, raises at once.
    """
    began = time.monotonic()
    check_new_folder(directory)
    _check_config(config)
    config = dataclasses.replace(
        config, data=absolute_data(config), options=_with_absolute_paths(config.options)
    )
    problem = get_task(config.task).prepare(config)
    saved = SavedConfig(
        **{field.name: getattr(config, field.name) for field in dataclasses.fields(RunConfig)},
        in_features=problem.in_features,
        out_features=problem.out_features,
        standardization=problem.standardization,
        training_ranges=_training_ranges(problem),
        data_fingerprint=_data_fingerprint(config),
        elements=_elements(problem),
        references=_references(problem),
        unknown_labels=unknown_labels(problem),
        versions=package_versions(),
    )
    compiled = _Compiled(config, problem)  # what is wrong with it leaves no folder
    path = create_folder(directory, to_json(saved))
    with locked(path):
        return _finish(config, problem, compiled, path, reporter, began)


def resume(directory: str | os.PathLike[str], *, reporter: Reporter | None = None) -> RunResult:
    """Goes on with a run that was stopped, and ends it as :func:`train` would have.

    The run goes on from its newest checkpoint, or from the beginning if it has none yet; lines of
    ``metrics.jsonl`` that are newer are written again. A run that has taken all its steps is
    scored once more on the test split.

    Args:
      directory: The run folder.
      reporter: Receives progress and is closed at the end; by default the logger "eqattn".

    Returns:
      The scores on the test split; ``seconds`` counts what was done before.

    Raises:
      BlockingIOError: If another process is at work in the folder.
      OSError: If it is not a run folder, or it or the data cannot be used.
      TypeError: If an entry of its ``config.json`` is of a wrong type.
      ValueError: If it is damaged, of another model, or of a newer format, or the file or folder
        of its data was changed.
      TrainingDivergedError: If the loss or a score is not finite, perhaps again.
      Interrupted: As in :func:`train`.
    """
    began = time.monotonic()
    config = read_run_config(directory)
    path = Path(directory).expanduser().absolute()
    _check_config(config)
    check_data(config)
    with locked(path):
        checkpoint = read_latest(path / CHECKPOINTS_NAME)
        problem = get_task(config.task).prepare(config, standardization=config.standardization)
        compiled = _Compiled(config, problem)
        stand = None
        if checkpoint is not None:
            where = str(path / CHECKPOINTS_NAME / str(checkpoint.step))
            compiled.state = from_named(compiled.state, checkpoint.arrays, where)
            stand = from_json(RunRecord, checkpoint.record, where)
            _check_stand(stand, checkpoint.step, config, where)
        keep_metrics(path, lambda row: _is_before(row, stand))
        return _finish(config, problem, compiled, path, reporter, began, stand)


class _Compiled:
    """The fresh state of a run, and the two functions that are compiled for it.

    What is wrong with the optimizer, or between the model and the data, shows here; what is traced
    here need not be traced again.
    """

    def __init__(self, config: RunConfig, problem: Problem):
        sizes = problem.in_features, problem.out_features
        graphdef, params = nnx.split(build_model(config, *sizes), nnx.Param)
        self.num_params = sum(leaf.size for leaf in jax.tree.leaves(params))
        self.state = init_state(params, config)
        self.step_fn = make_step(graphdef, problem, config)
        self.predictor = make_predictor(graphdef, problem, config.num_lifts)
        step_fn, first = self.step_fn, problem.training_batches()[0]
        jax.eval_shape(lambda *args: step_fn(*args)[1], self.state, first)
        batch = next(iter(problem.evaluation_batches("validation")))
        jax.eval_shape(self.predictor, self.state.average, batch)


def _finish(
    config: RunConfig,
    problem: Problem,
    compiled: _Compiled,
    path: Path,
    reporter: Reporter | None,
    began: float,
    stand: RunRecord | None = None,
) -> RunResult:
    """Takes a run from where it stands, or from the beginning, to its end."""
    with contextlib.ExitStack() as stack:
        interruption = stack.enter_context(Interruption())
        reporter = stack.enter_context(contextlib.closing(reporter or LogReporter()))
        run = Run(
            config=config,
            problem=problem,
            step_fn=compiled.step_fn,
            predictor=compiled.predictor,
            state=compiled.state,
            path=path,
            reporter=reporter,
            log=stack.enter_context(contextlib.closing(MetricsLog(path))),
            checkpoints=stack.enter_context(
                CheckpointStore(path / CHECKPOINTS_NAME, keep=KEEP_CHECKPOINTS)
            ),
            best_store=stack.enter_context(CheckpointStore(path / BEST_NAME, keep=1)),
            interruption=interruption,
            began=began,
        )
        stack.callback(run.close)
        reporter.note(f"{path}: {compiled.num_params:,} parameters, {_sizes(problem)}")
        unknown = unknown_labels(problem)
        if unknown:
            reporter.note(f"labels that are not known: {_counts(unknown)}")
        if stand is not None:
            run.restore(stand)
        if isinstance(problem, BucketedProblem) and not run.has_ended:
            compiled.step_fn.compile_ahead(run.state, problem.batch_of_each_shape())
        while not run.has_ended or run.must_validate:
            if not run.must_validate:
                run.advance()
            run.validate()
            run.checkpoint()
            run.stop_if_asked()
        seconds = run.seconds
        scores = run.test()
        interruption.waits = False  # all is saved, and the baseline saves itself
        run.stop_if_asked()
        scores, baselines = _run_baseline(run, scores, seconds)
        return RunResult(
            scores, compiled.num_params, run.step, run.seconds, path, baselines, unknown
        )


def _run_baseline(
    run: Run, scores: tuple[Score, ...], seconds: float
) -> tuple[tuple[Score, ...], Mapping[str, float]]:
    """Trains the task's baseline for as long as the model, if it has one; scores beside it.

    One that was stopped goes on, like any run.
    """
    task = get_task(run.config.task)
    config = task.baseline(run.config) if isinstance(task, HasBaseline) else None
    if config is None:
        return scores, {}
    reporter = baseline.OpenReporter(run.reporter)
    folder = run.path / baseline.BASELINE_NAME
    if (folder / CONFIG_NAME).is_file():
        other = resume(folder, reporter=reporter)
    else:
        num_evaluations = math.ceil(run.config.steps / run.config.eval_every)
        config = baseline.fit_to_seconds(config, seconds, num_evaluations)
        reporter.note(f"{config.steps:,} steps in about {seconds:.0f} seconds")
        other = train(config, folder, reporter=reporter)
    run.log_baseline(other.scores)
    return baseline.beside(scores, other.scores), baseline.baselines_by_name(task, other.scores)


def _check_stand(stand: RunRecord, step: int, config: RunConfig, where: str) -> None:
    if stand.step != step or step > config.steps:
        raise ValueError(
            f"{where} is of another run: it has taken {stand.step} steps, and the configuration "
            f"asks for {config.steps}."
        )


def _is_before(row: Mapping[str, Any], stand: RunRecord | None) -> bool:
    """Returns whether a line of the log stays when a run goes on from where it stood."""
    limits = {"train": stand.step, "validation": stand.validated_step} if stand else {}
    return row["step"] <= limits.get(row.get("split", ""), -1)


def _check_config(config: RunConfig) -> None:
    names = ("batch_size", "accumulate", "steps", "eval_every", "num_lifts", "ensemble")
    check_sizes({name: getattr(config, name) for name in names})
    check_sizes({"patience": config.patience}, minimum=0)
    check_numbers({"checkpoint_every": config.checkpoint_every})
    config.model.check()
    if not 0 <= config.checkpoint_every < math.inf:
        raise ValueError(
            f"checkpoint_every must be finite and not negative, got {config.checkpoint_every}."
        )
    if not 0 <= config.seed < 2**31:
        raise ValueError(f"seed must be in [0, 2**31), got {config.seed}.")


def absolute_data(config: RunConfig) -> str:
    """Returns the path of a file or folder in full: the run can be evaluated from elsewhere."""
    data, path = config.data, Path(os.path.expanduser(config.data))
    is_named = data in get_task(config.task).data_names
    is_path = not is_named and (path.suffix == ".npz" or path.exists())
    return str(path.absolute()) if is_path else data


def _with_absolute_paths(options: TaskOptions) -> TaskOptions:
    """Options with their paths in full, likewise; their fields say which are paths."""
    fields = [field.name for field in dataclasses.fields(options) if field.metadata.get("is_path")]
    given = {name: path for name in fields if (path := getattr(options, name))}
    paths: dict[str, Any] = {
        name: str(Path(path).expanduser().absolute()) for name, path in given.items()
    }
    return dataclasses.replace(options, **paths)


def check_data(config: SavedConfig) -> None:
    """Raises a ValueError if the data of a run are not those that it began with.

    Its splits would be others: test examples of now may be training examples of then.

    Args:
      config: The configuration in the run folder.
    """
    if config.data_fingerprint and _data_fingerprint(config) != config.data_fingerprint:
        raise ValueError(
            f"data {config.data!r} was changed since the run began, so that its examples are not "
            "those that the run was trained and validated on."
        )


def _data_fingerprint(config: RunConfig) -> str:
    is_path = config.data not in get_task(config.task).data_names and Path(config.data).exists()
    return fingerprint(config.data) if is_path else ""


def _elements(problem: Problem) -> tuple[str, ...]:
    return tuple(problem.elements) if isinstance(problem, ElementsProblem) else ()


def _references(problem: Problem) -> dict[str, float]:
    return dict(problem.references) if isinstance(problem, ReferencedProblem) else {}


def _training_ranges(problem: Problem) -> tuple[TrainingRange, ...]:
    return problem.training_ranges() if isinstance(problem, RangedProblem) else ()


def _counts(unknown: Mapping[str, Mapping[str, int]]) -> str:
    return ", ".join(
        f"{count:,} of {target} ({split})"
        for split, counts in unknown.items()
        for target, count in counts.items()
    )


def _sizes(problem: Problem) -> str:
    return ", ".join(f"{size:,} {split}" for split, size in problem.num_examples.items())

"""The training loop: steps, evaluations, checkpoints, and one result.

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
import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn.config import RunConfig, SavedConfig
from eqattn.tasks import HasBaseline, Problem, Score, get_task, objective
from eqattn.train import baseline
from eqattn.train.checkpoints import Checkpoint, CheckpointStore, read_latest
from eqattn.train.config_json import from_json, to_json
from eqattn.train.evaluation import Predictor, make_predictor, score_split
from eqattn.train.lock import locked
from eqattn.train.metrics import MetricsLog, keep_metrics
from eqattn.train.named_leaves import from_named, to_named
from eqattn.train.progress import LogReporter, Reporter, Update
from eqattn.train.run_folder import (
    BEST_NAME,
    CHECKPOINTS_NAME,
    CONFIG_NAME,
    check_new_folder,
    create_folder,
    package_versions,
    read_run_config,
)
from eqattn.train.run_record import Best, RunRecord
from eqattn.train.state import NO_STEP, TrainState, TrainStep, init_state, make_step

__all__ = ["RunResult", "TrainingDivergedError", "resume", "train"]

FETCH_EVERY = 10
"""Steps between two looks at the loss; in between, the device queue is never waited for."""
PREFETCH = 4
"""Batches prepared ahead of the step that needs them."""
KEEP_CHECKPOINTS = 2
NAMED_DATA = ("embedded", "qm9", "generated")
"""Data that are meant by their name, even beside a file of the same name."""


class TrainingDivergedError(RuntimeError):
    """The loss, its gradient or a score is not finite any more; the last state is saved."""


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
    """

    scores: tuple[Score, ...]
    num_params: int
    steps: int
    seconds: float
    directory: Path
    baselines: Mapping[str, float] = field(default_factory=dict)


def train(
    config: RunConfig,
    directory: str | os.PathLike[str],
    *,
    reporter: Reporter | None = None,
) -> RunResult:
    """Trains a model, writes the run folder, and scores the best parameters on the test split.

    Args:
        config: The run.
        directory: The run folder; it must not exist yet, or be empty.
        reporter: Receives progress and is closed at the end; by default the logger "eqattn".

    Returns:
        The scores on the test split, and what they cost.

    Raises:
        FileExistsError: If the run folder exists already.
        OSError: If it, or the data, cannot be used.
        ValueError: If the configuration or the data are wrong; the message says what.
        TrainingDivergedError: If the loss or a score stops being finite; the message names the
            step.
    """
    began = time.monotonic()
    check_new_folder(directory)
    _check_config(config)
    config = dataclasses.replace(config, data=_absolute_data(config.data))
    problem = get_task(config.task).prepare(config)
    saved = SavedConfig(
        **{field.name: getattr(config, field.name) for field in dataclasses.fields(RunConfig)},
        in_features=problem.in_features,
        out_features=problem.out_features,
        standardization=problem.standardization,
        versions=package_versions(),
    )
    compiled = _Compiled(config, problem)  # what is wrong with it leaves no folder
    path = create_folder(directory, saved)
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
        ValueError: If it is damaged, of another model, or of a newer format.
        TrainingDivergedError: If the loss or a score is not finite, perhaps again.
    """
    began = time.monotonic()
    config = read_run_config(directory)
    path = Path(directory).expanduser().absolute()
    _check_config(config)
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
        task = get_task(config.task)
        model = task.build_model(
            config.model, problem.in_features, problem.out_features, config.seed
        )
        graphdef, params = nnx.split(model, nnx.Param)
        self.num_params = sum(leaf.size for leaf in jax.tree.leaves(params))
        self.state = init_state(params, config)
        self.step_fn = make_step(graphdef, problem, config)
        self.predictor = make_predictor(graphdef, problem, config.num_lifts)
        step_fn, first = self.step_fn, problem.training_batches()[0]
        jax.eval_shape(lambda *args: step_fn(*args)[1], self.state, first)
        jax.eval_shape(self.predictor, params, next(iter(problem.evaluation_batches("validation"))))


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
        reporter = stack.enter_context(contextlib.closing(reporter or LogReporter()))
        run = _Run(
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
            began=began,
        )
        stack.callback(run.close)
        reporter.note(f"{path}: {compiled.num_params:,} parameters, {_sizes(problem)}")
        if stand is not None:
            run.restore(stand)
        while run.step < config.steps or run.must_validate:
            if not run.must_validate:
                run.advance()
            run.validate()
            run.checkpoint()
        seconds = run.seconds
        scores = run.test()
        scores, baselines = _run_baseline(run, scores, seconds)
        return RunResult(scores, compiled.num_params, run.step, run.seconds, path, baselines)


def _run_baseline(
    run: _Run, scores: tuple[Score, ...], seconds: float
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
    for name in ("batch_size", "steps", "eval_every", "num_lifts"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} must be at least 1, got {getattr(config, name)}.")
    if not 0 <= config.seed < 2**31:
        raise ValueError(f"seed must be in [0, 2**31), got {config.seed}.")


def _absolute_data(data: str) -> str:
    """Returns the path of a file in full, so that the run can be evaluated from elsewhere."""
    path = Path(os.path.expanduser(data))
    is_file = data not in NAMED_DATA and (path.suffix == ".npz" or path.is_file())
    return str(path.absolute()) if is_file else data


def _by_target(scores: tuple[Score, ...]) -> dict[str, dict[str, float]]:
    metrics: dict[str, dict[str, float]] = {}
    for score in scores:
        metrics.setdefault(score.target, {})[score.metric] = score.value
    return metrics


def _sizes(problem: Problem) -> str:
    return ", ".join(f"{size:,} {split}" for split, size in problem.num_examples.items())


class _Run:
    """A run under way: what it holds open, and where it stands."""

    def __init__(
        self,
        *,
        config: RunConfig,
        problem: Problem,
        step_fn: TrainStep,
        predictor: Predictor,
        state: TrainState,
        path: Path,
        reporter: Reporter,
        log: MetricsLog,
        checkpoints: CheckpointStore,
        best_store: CheckpointStore,
        began: float,
    ):
        self.config, self.problem, self.path, self.began = config, problem, path, began
        self.reporter, self.log = reporter, log
        self.checkpoints, self.best_store = checkpoints, best_store
        self.state = state
        self.step = 0
        self.since = began  # of the last report
        self.learning_rate = 0.0
        self.validated_step = 0
        self.best: Best | None = None
        self.best_params: Mapping[str, np.ndarray] = {}
        self.step_fn, self.predictor = step_fn, predictor
        import grain  # slow to import, and only needed here

        options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=PREFETCH)
        self.batches = iter(problem.training_batches().to_iter_dataset(options))

    @property
    def seconds(self) -> float:
        """Wall time of the run so far."""
        return time.monotonic() - self.began

    @property
    def must_validate(self) -> bool:
        """Whether it stands at a validation that has not been made."""
        is_due = self.step % self.config.eval_every == 0 or self.step == self.config.steps
        return is_due and self.validated_step < self.step

    def restore(self, stand: RunRecord) -> None:
        """Goes back to where the run stood when its newest checkpoint was written."""
        self.step, self.validated_step = stand.step, stand.validated_step
        self.learning_rate = stand.learning_rate
        self.began -= stand.seconds
        self.batches.set_state(stand.data)
        self.reporter.note(f"going on after step {self.step} of {self.config.steps}")
        self.best_store.discard_after(stand.best.step if stand.best else 0)
        if stand.best is None:
            return
        held = read_latest(self.path / BEST_NAME)
        if held is not None and held.step == stand.best.step:
            self.best, self.best_params = stand.best, held.arrays
        elif stand.best.step == self.step:  # killed between the two saves
            self._keep_best(stand.best)
            self._save_best()
        else:
            self.reporter.note(
                f"{self.path / BEST_NAME} has lost the parameters of step {stand.best.step}; the "
                "best are chosen anew from here on"
            )

    def close(self) -> None:
        """Ends the thread that prepares batches, and waits for the step under way.

        Either would outlive an interrupt, and crash the interpreter on its way out.
        """
        self.batches.close()
        arrays = [a for a in jax.tree.leaves(self.state) if not a.is_deleted()]
        jax.block_until_ready(arrays)

    def advance(self) -> None:
        """Takes the steps to the next validation, looking at the loss now and then."""
        pending: list[Any] = []
        positions: list[Any] = []  # in the data, before each step
        self.since = time.monotonic()
        every = self.config.eval_every
        end = min((self.step // every + 1) * every, self.config.steps)
        while self.step < end:
            positions.append(self.batches.get_state())
            self.state, metrics = self.step_fn(self.state, next(self.batches))
            pending.append(metrics)
            self.step += 1
            if self.step % FETCH_EVERY == 0 or self.step == end:
                self._report(pending, positions)
                pending, positions = [], []

    def _report(self, pending: list[Any], positions: list[Any]) -> None:
        metrics, failed_step = jax.device_get((pending, self.state.failed_step))
        seconds, self.since = time.monotonic() - self.since, time.monotonic()
        loss = float(np.mean([m["loss"] for m in metrics]))
        self.learning_rate = float(metrics[-1]["lr"])
        gradient_norm = float(np.mean([m["gradient_norm"] for m in metrics]))
        self._log("train", loss, {"gradient_norm": gradient_norm})
        if failed_step != NO_STEP:
            first = self.step - len(pending)
            self.step = int(failed_step) - 1
            # To go on from here is to try the failed step once more, on the same batch.
            self.state = dataclasses.replace(
                self.state, failed_step=jnp.full((), NO_STEP, jnp.int32)
            )
            self.checkpoint(positions[self.step - first])
            self.checkpoints.wait()
            raise TrainingDivergedError(
                f"the loss or its gradient is not finite at step {failed_step}; the state after "
                f"step {self.step} is saved in {self.path / CHECKPOINTS_NAME}."
            )
        rate = len(pending) / max(seconds, 1e-9)
        examples = rate * self.config.batch_size
        self.reporter.update(Update(self.step, self.config.steps, loss, rate, examples))

    def validate(self) -> None:
        """Scores the averaged parameters, and keeps them if they are the best so far."""
        scores = self._score("validation", self.state.average)
        self.validated_step = self.step
        value = objective(scores)
        if self.best is None or value < self.best.objective:
            self._keep_best(Best(self.step, value, scores))

    def _keep_best(self, best: Best) -> None:
        self.best, self.best_params = best, to_named(self.state.average)

    def checkpoint(self, position: Any = None) -> None:
        """Saves everything that is needed to go on from here; ``position`` is that in the data.

        New best parameters follow once the checkpoint that announces them is committed, and the
        next one waits for them: ``best/`` holds what the newest checkpoint says, or that
        checkpoint does.
        """
        stand = RunRecord(
            step=self.step,
            data=self.batches.get_state() if position is None else position,
            validated_step=self.validated_step,
            best=self.best,
            learning_rate=self.learning_rate,
            seconds=self.seconds,
        )
        self.best_store.wait()
        self.checkpoints.save(Checkpoint(self.step, to_named(self.state), to_json(stand)))
        if self.best is not None and self.best.step == self.step:
            self.checkpoints.wait()
            self._save_best()

    def _save_best(self) -> None:
        if self.best is not None:
            record = to_json(self.best)
            self.best_store.save(Checkpoint(self.best.step, self.best_params, record))

    def test(self) -> tuple[Score, ...]:
        """Scores the best parameters on the test split; where they are lost, the last ones."""
        params = self.state.average
        if self.best is not None:
            params = from_named(params, self.best_params, str(self.path / BEST_NAME))
        return self._score("test", params)

    def log_baseline(self, scores: tuple[Score, ...]) -> None:
        """Writes the test scores of the trained baseline to the log of this run."""
        self._log("test_baseline", math.nan, _by_target(scores))

    def _score(self, split: str, params: Any) -> tuple[Score, ...]:
        scores, loss = score_split(self.predictor, params, self.problem, split)
        self._log(split, loss, _by_target(scores))
        text = ", ".join(
            f"{s.target} {s.metric} {s.value:.4g} {s.unit} (baseline {s.baseline:.4g})"
            for s in scores
        )
        self.reporter.note(f"step {self.step}  {split}: {text}")
        if not math.isfinite(objective(scores)):
            self.checkpoint()
            self.checkpoints.wait()
            raise TrainingDivergedError(
                f"the {split} score is not finite at step {self.step} ({text}); the state is "
                f"saved in {self.path / CHECKPOINTS_NAME}."
            )
        return scores

    def _log(self, split: str, loss: float, metrics: Mapping[str, Any]) -> None:
        self.log.write(
            step=self.step,
            split=split,
            loss=loss,
            metrics=metrics,
            lr=self.learning_rate,
            seconds=self.seconds,
        )

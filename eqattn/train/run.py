"""A run under way: steps, evaluations and checkpoints, one after the other."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.config import RunConfig
from eqattn.interruption import Interruption
from eqattn.tasks import Batch, Problem, Score, objective
from eqattn.train.checkpoints import Checkpoint, CheckpointStore, read_latest
from eqattn.train.config_json import to_json
from eqattn.train.evaluation import Predictor, score_split
from eqattn.train.metrics import MetricsLog
from eqattn.train.named_leaves import from_named, to_named
from eqattn.train.progress import Reporter, Update
from eqattn.train.run_folder import BEST_NAME, CHECKPOINTS_NAME
from eqattn.train.run_record import Best, RunRecord, StepRecord, has_lost_patience
from eqattn.train.state import NO_STEP, TrainState, TrainStep

__all__ = ["Run", "TrainingDivergedError"]

FETCH_EVERY = 10
"""Steps between two looks at the loss; in between, the device queue is never waited for."""
PREFETCH = 4
"""Batches prepared ahead of the step that needs them."""


class TrainingDivergedError(RuntimeError):
    """The loss, its gradient or a score is not finite any more; the last state is saved."""


class Run:
    """A run under way: what it holds open, and where it stands.

    Args:
      config: Configuration of the run.
      problem: Gives the batches and the metrics.
      step_fn: The jitted training step, see :func:`eqattn.train.state.make_step`.
      predictor: The jitted prediction, see :func:`eqattn.train.evaluation.make_predictor`.
      state: The state before the next step.
      path: The run folder, absolute.
      reporter: Receives progress; whoever opened it closes it, like the three below.
      log: Takes the lines of ``metrics.jsonl``.
      checkpoints: Takes everything needed to go on.
      best_store: Takes the best parameters.
      interruption: Says when somebody wants the run to stop.
      began: When the run began, by ``time.monotonic``.
    """

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
        interruption: Interruption,
        began: float,
    ):
        self.config, self.problem, self.path, self.began = config, problem, path, began
        self.reporter, self.log = reporter, log
        self.checkpoints, self.best_store = checkpoints, best_store
        self.interruption = interruption
        self.state = state
        self.step = 0
        self.saved_at = began  # the last checkpoint
        self.since, self.taken = began, 0  # the last report, and the steps of this process since
        self.pending: list[tuple[Any, float]] = []  # steps of which the device knows more
        self.positions: list[Any] = []  # in the data, before each of them
        self.window: list[StepRecord] = []  # steps since the last line of the log
        self.learning_rate = 0.0
        self.validated_step = 0
        self.best: Best | None = None
        self.best_params: Mapping[str, np.ndarray] = {}
        self.step_fn, self._predictor = step_fn, predictor
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

    @property
    def has_ended(self) -> bool:
        """Whether no step is left to take: all were, or validation has not got better for long."""
        is_over = has_lost_patience(self.config, self.validated_step, self.best)
        return is_over or self.step >= self.config.steps

    def restore(self, stand: RunRecord) -> None:
        """Goes back to where the run stood when its newest checkpoint was written."""
        self.step, self.validated_step = stand.step, stand.validated_step
        self.learning_rate, self.window = stand.learning_rate, list(stand.window)
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
        """Takes the steps to the next validation, looking at the loss now and then.

        Raises:
          Interrupted: After the step under way and a checkpoint, if a signal has come.
          TrainingDivergedError: If a loss or its gradient is not finite.
        """
        self.since, self.taken = time.monotonic(), 0
        every = self.config.eval_every
        end = min((self.step // every + 1) * every, self.config.steps)
        while self.step < end:
            self.positions.append(self.batches.get_state())
            batch = next(self.batches)
            self.state, metrics = self.step_fn(self.state, batch)
            self.pending.append((metrics, _num_rows(batch) / self.config.batch_size))
            self.step += 1
            self.interruption.waits = True  # from here on there is something to save
            if self.step % FETCH_EVERY == 0 or self.step == end:
                self._report()
            self.stop_if_asked()
            if 0 < 60 * self.config.checkpoint_every <= time.monotonic() - self.saved_at:
                self.checkpoint()

    def stop_if_asked(self) -> None:
        """Saves the run and raises Interrupted, if a signal has come; between steps or batches."""
        if self.interruption.requested is not None:
            self.checkpoint()
            self.interruption.check()

    def _fetch(self) -> None:
        """Waits for the steps that are pending; raises if one of them was not finite."""
        if not self.pending:
            return
        fetched, failed_step = jax.device_get((self.pending, self.state.failed_step))
        self.window += [
            StepRecord(float(metrics["loss"]), float(metrics["gradient_norm"]), float(share))
            for metrics, share in fetched
        ]
        self.learning_rate = float(fetched[-1][0]["lr"])
        self.taken += len(fetched)
        positions, self.pending, self.positions = self.positions, [], []
        if failed_step == NO_STEP:
            return
        self._log_window()
        taken = self.step - len(positions)
        self.step, begin = int(failed_step) - 1, self.step - len(self.window)
        del self.window[self.step - begin :]
        # To go on from here is to try the failed step once more, on the same batch.
        self.state = dataclasses.replace(self.state, failed_step=jnp.full((), NO_STEP, jnp.int32))
        self.checkpoint(positions[self.step - taken])
        raise TrainingDivergedError(
            f"the loss or its gradient is not finite at step {failed_step}; the state after "
            f"step {self.step} is saved in {self.path / CHECKPOINTS_NAME}."
        )

    def _report(self) -> None:
        self._fetch()
        loss, shares = self._log_window()
        seconds = max(time.monotonic() - self.since, 1e-9)
        examples = shares / len(self.window) * self.taken * self.config.batch_size
        rates = self.taken / seconds, examples / seconds
        self.since, self.taken, self.window = time.monotonic(), 0, []
        self.reporter.update(Update(self.step, self.config.steps, loss, *rates))

    def _log_window(self) -> tuple[float, float]:
        """Writes the line of the steps since the last one; returns the loss and their shares."""
        shares = float(np.sum([step.share for step in self.window]))
        loss = float(np.sum([step.loss for step in self.window])) / shares
        norm = float(np.mean([step.gradient_norm for step in self.window]))
        self._log("train", loss, {"gradient_norm": norm})
        return loss, shares

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

        New best parameters follow the checkpoint that announces them, before there is another
        one: ``best/`` holds what the newest checkpoint says, or that checkpoint does.
        """
        self._fetch()
        stand = RunRecord(
            step=self.step,
            data=self.batches.get_state() if position is None else position,
            validated_step=self.validated_step,
            best=self.best,
            learning_rate=self.learning_rate,
            seconds=self.seconds,
            window=tuple(self.window),
        )
        self.checkpoints.save(Checkpoint(self.step, to_named(self.state), to_json(stand)))
        if self.best is not None and self.best.step == self.step:
            self._save_best()
        self.saved_at = time.monotonic()

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
        scores, loss = score_split(self._predict, params, self.problem, split)
        self._log(split, loss, _by_target(scores))
        text = ", ".join(
            f"{s.target} {s.metric} {s.value:.4g} {s.unit} (baseline {s.baseline:.4g})"
            for s in scores
        )
        self.reporter.note(f"step {self.step}  {split}: {text}")
        if not math.isfinite(objective(scores)):
            self.checkpoint()
            raise TrainingDivergedError(
                f"the {split} score is not finite at step {self.step} ({text}); the state is "
                f"saved in {self.path / CHECKPOINTS_NAME}."
            )
        return scores

    def _predict(self, params: Any, batch: Batch) -> dict[str, jax.Array]:
        self.stop_if_asked()
        return self._predictor(params, batch)

    def _log(self, split: str, loss: float, metrics: Mapping[str, Any]) -> None:
        self.log.write(
            step=self.step,
            split=split,
            loss=loss,
            metrics=metrics,
            lr=self.learning_rate,
            seconds=self.seconds,
        )


def _num_rows(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def _by_target(scores: tuple[Score, ...]) -> dict[str, dict[str, float]]:
    metrics: dict[str, dict[str, float]] = {}
    for score in scores:
        metrics.setdefault(score.target, {})[score.metric] = score.value
    return metrics

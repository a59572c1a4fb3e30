"""Runs that are stopped at any moment, and go on to the same end; see also test_kill.py."""

import dataclasses
import json
import shutil
from pathlib import Path

import chex
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.models import PotentialMLPConfig
from eqattn.tasks import Score
from eqattn.train import TrainingDivergedError, evaluate, resume, save, train
from eqattn.train.checkpoints import read_latest
from eqattn.train.checksums import write_checksums
from eqattn.train.lock import locked
from eqattn.train.state import init_state
from tests.grids import some
from tests.train.toy import PRESET, ToyProblem

CONFIG = dataclasses.replace(PRESET, steps=40, eval_every=10)


class Stopper:
    """A reporter that interrupts the run at a step."""

    def __init__(self, step):
        self.step = step

    def update(self, update):
        if update.step >= self.step:
            raise KeyboardInterrupt

    def note(self, text):
        pass

    def close(self):
        pass


class Notes(Stopper):
    """A reporter that keeps the lines."""

    def __init__(self):
        super().__init__(10**9)
        self.lines = []

    def note(self, text):
        self.lines.append(text)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder and the result of a run that nothing stopped."""
    from eqattn.tasks.core import registry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "TASKS", {"toy": ("tests.train.toy", "ToyTask")})
        return train(CONFIG, tmp_path_factory.mktemp("whole") / "run")


def stop(path, step, config=CONFIG):
    with pytest.raises(KeyboardInterrupt):
        train(config, path, reporter=Stopper(step))
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Runs that were stopped, by their step: made once, and copied for each test."""
    return {}, tmp_path_factory.mktemp("stopped")


@pytest.fixture
def stopped(folders):
    made, parent = folders

    def copy(path, step):
        if step not in made:
            made[step] = stop(parent / str(step), step)
        return Path(shutil.copytree(made[step], path))

    return copy


def rows_of(path):
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return {(row["step"], row["split"]): (row["loss"], row["metrics"]) for row in rows}, len(rows)


def assert_same_end(path, whole):
    """Everything but the wall time is that of a run that nothing stopped."""
    (rows, number), (expected, _) = rows_of(path), rows_of(whole.directory)
    assert rows == expected
    assert number == len(rows), "each step appears once"
    for name in ("checkpoints", "best"):
        ours, theirs = read_latest(path / name), read_latest(whole.directory / name)
        assert ours is not None
        assert theirs is not None
        assert ours.step == theirs.step
        chex.assert_trees_all_equal(dict(ours.arrays), dict(theirs.arrays))
    assert not list(path.rglob("*tmp*"))
    assert evaluate(path).scores == whole.scores


@pytest.mark.parametrize("step", some([10, 30, 40], 30))
def test_an_interrupted_run_ends_as_if_nothing_had_happened(tmp_path, whole, stopped, step):
    path = stopped(tmp_path / "run", step)
    result = resume(path)
    assert result.scores == whole.scores
    assert (result.steps, result.num_params) == (40, 8)
    assert result.directory == path
    assert_same_end(path, whole)


def test_checkpoints_by_time_are_gone_on_from_within_a_window_of_the_log(tmp_path, whole):
    """One after each step; the run is stopped before that of step 20 is written."""
    config = dataclasses.replace(CONFIG, checkpoint_every=1e-9)
    path = stop(tmp_path / "run", 20, config)
    steps = sorted(int(entry.name) for entry in (path / "checkpoints").iterdir())
    assert steps == [18, 19]
    change_config(path, checkpoint_every=0.0)  # only those after evaluations, to be done soon
    assert resume(path).scores == whole.scores
    assert_same_end(path, whole)


def test_a_run_without_a_checkpoint_starts_again(tmp_path, whole, stopped):
    path = stopped(tmp_path / "run", 10)
    assert read_latest(path / "checkpoints") is None
    (path / "metrics.jsonl").write_text('{"step": 10, "spl')
    shutil.rmtree(path / "checkpoints")
    assert resume(path).scores == whole.scores
    assert_same_end(path, whole)


def test_a_finished_run_is_scored_once_more(tmp_path, whole):
    path = Path(shutil.copytree(whole.directory, tmp_path / "run"))
    notes = Notes()
    again = resume(path, reporter=notes)
    assert again.scores == whole.scores
    end = read_latest(path / "checkpoints")
    assert end is not None
    assert again.seconds > end.record["seconds"]
    assert "going on after step 40 of 40" in notes.lines
    assert_same_end(path, whole)


def test_lines_newer_than_the_checkpoint_are_written_again(tmp_path, whole, stopped):
    path = stopped(tmp_path / "run", 30)
    with (path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 30, "split": "train", "loss": 9}\n{"step": 40, "split": "tra')
    resume(path)
    assert_same_end(path, whole)


def test_best_parameters_that_were_not_committed_come_from_the_checkpoint(tmp_path, whole, stopped):
    path = stopped(tmp_path / "run", 30)
    checkpoint, best = read_latest(path / "checkpoints"), read_latest(path / "best")
    assert checkpoint is not None
    assert best is not None
    assert checkpoint.step == best.step == 20
    shutil.rmtree(path / "best" / "20")
    notes = Notes()
    assert resume(path, reporter=notes).scores == whole.scores
    assert not any("lost" in line for line in notes.lines)
    assert_same_end(path, whole)


def test_best_parameters_newer_than_the_checkpoint_are_found_again(tmp_path, whole, stopped):
    path = stopped(tmp_path / "run", 40)
    shutil.rmtree(path / "checkpoints" / "30")
    best = read_latest(path / "best")
    assert best is not None
    assert best.step == 30
    assert resume(path).scores == whole.scores
    assert_same_end(path, whole)


def test_lost_best_parameters_are_chosen_anew(tmp_path, monkeypatch):
    objectives = iter([1.0, 5.0, 3.0, 4.0])

    def score(self, split, predictions):
        return (Score("a", "mae", next(objectives) if split == "validation" else 2.0, 1.0, "m"),)

    monkeypatch.setattr(ToyProblem, "score", score)
    config = dataclasses.replace(PRESET, steps=40, eval_every=10)
    path = stop(tmp_path / "run", 30, config)  # the best is that of step 10
    shutil.rmtree(path / "best")
    notes = Notes()
    resume(path, reporter=notes)
    assert any("has lost the parameters of step 10" in line for line in notes.lines)
    best = read_latest(path / "best")
    assert best is not None
    assert best.step == 30


@pytest.mark.parametrize("bad_step", some([0, 25, 30], 25))
def test_a_run_that_stopped_at_nan_goes_on(tmp_path, whole, toy_task, monkeypatch, bad_step):
    path = tmp_path / "run"
    monkeypatch.setattr(toy_task, "bad_step", bad_step)
    for attempt in (lambda: train(CONFIG, path), lambda: resume(path)):
        with pytest.raises(TrainingDivergedError, match=f"not finite at step {bad_step + 1}"):
            attempt()
    monkeypatch.setattr(toy_task, "bad_step", None)
    result = resume(path)
    for score, expected in zip(result.scores, whole.scores, strict=True):
        assert score.value == pytest.approx(expected.value, abs=1e-6)
    (rows, number), (expected_rows, _) = rows_of(path), rows_of(whole.directory)
    assert rows.keys() == expected_rows.keys()
    assert number == len(rows)


@pytest.mark.parametrize("split", some(["validation", "test"], "test"))
def test_a_run_that_stopped_at_a_bad_score_goes_on(tmp_path, whole, monkeypatch, split):
    path = tmp_path / "run"
    good = ToyProblem.score

    def score(self, name, predictions):
        return (
            (Score("a", "mae", np.nan, 1.0, "m"),)
            if name == split
            else good(self, name, predictions)
        )

    monkeypatch.setattr(ToyProblem, "score", score)
    with pytest.raises(TrainingDivergedError, match=f"the {split} score is not finite"):
        train(CONFIG, path)
    monkeypatch.setattr(ToyProblem, "score", good)
    assert resume(path).scores == whole.scores
    assert_same_end(path, whole)


def test_a_run_in_use_is_refused(tmp_path, stopped):
    path = stopped(tmp_path / "run", 30)
    before = (path / "metrics.jsonl").read_bytes()
    with locked(path), pytest.raises(BlockingIOError, match="is in use by another process"):
        resume(path)
    assert (path / "metrics.jsonl").read_bytes() == before


def change_config(path, **changes):
    content = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(content | changes))


def test_a_checkpoint_of_another_model_is_one_clear_error(tmp_path, stopped, monkeypatch):
    path = stopped(tmp_path / "run", 30)
    before = (path / "metrics.jsonl").read_bytes()

    def with_more(params, config):
        state = init_state(params, config)
        return dataclasses.replace(state, params={"model": state.params, "more": jnp.ones(1)})

    monkeypatch.setattr("eqattn.train.loop.init_state", with_more)
    monkeypatch.setattr("eqattn.train.loop.make_step", lambda *_: lambda *_: (None, {}))
    with pytest.raises(ValueError, match=r"checkpoints.20 is of another model: it lacks"):
        resume(path)
    assert (path / "metrics.jsonl").read_bytes() == before


def test_a_checkpoint_beyond_the_run_is_one_clear_error(tmp_path, stopped):
    path = stopped(tmp_path / "run", 30)
    change_config(path, steps=10)
    with pytest.raises(ValueError, match=r"20 is of another run: it has taken 20 steps, .* for 10"):
        resume(path)


def test_a_damaged_record_is_one_clear_error(tmp_path, stopped):
    path = stopped(tmp_path / "run", 30)
    (record,) = (path / "checkpoints" / "20" / "record").glob("metadata")

    def rewrite(text):
        record.write_text(text)
        write_checksums(path / "checkpoints" / "20")

    rewrite(json.dumps(json.loads(record.read_text()) | {"step": "many"}))
    with pytest.raises(TypeError, match=r"checkpoints.20\.step must be an integer, got 'many'"):
        resume(path)
    rewrite("[]")
    with pytest.raises(ValueError, match="20 cannot be read: the checkpoint is damaged"):
        resume(path)
    rewrite('{"step": 20}')
    with pytest.raises(ValueError, match=r"checkpoints.20 lacks 'data'"):
        resume(path)


def test_a_saved_model_is_not_resumed(tmp_path):
    save(PotentialMLPConfig(dim=8).build(3, 1, rngs=nnx.Rngs(0)), tmp_path / "model")
    with pytest.raises(ValueError, match="is a saved model without a task; it belongs to no run"):
        resume(tmp_path / "model")

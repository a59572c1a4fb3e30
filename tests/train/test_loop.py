import dataclasses
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.config import RunConfig
from eqattn.tasks import Score
from eqattn.train import TrainingDivergedError, evaluate, load, resume, train
from eqattn.train.checkpoints import read_latest
from eqattn.train.loop import absolute_data
from eqattn.train.named_leaves import from_named, to_named
from eqattn.train.state import NO_STEP, init_state, make_step
from tests.grids import some
from tests.train.toy import PRESET, ToyConfig, ToyProblem, ToyTask


class Recorder:
    def __init__(self):
        self.updates, self.notes, self.closed = [], [], False

    def update(self, update):
        self.updates.append(update)

    def note(self, text):
        self.notes.append(text)

    def close(self):
        self.closed = True


def lines_of(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that nothing stopped, what it reported, and where it was asked for."""
    from eqattn.tasks.core import registry

    recorder, path = Recorder(), tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "TASKS", {"toy": ("tests.train.toy", "ToyTask")})
        return train(PRESET, path, reporter=recorder), recorder, path


def test_a_run_leaves_a_complete_folder(finished):
    result, recorder, asked = finished
    path = result.directory
    assert path == asked
    assert {p.name for p in path.iterdir()} == {
        "config.json",
        "metrics.jsonl",
        "checkpoints",
        "best",
    }
    assert result.steps == 40
    assert result.num_params == 8
    assert [score.target for score in result.scores] == ["a", "b"]
    assert result.seconds > 0
    assert recorder.closed
    assert [u.step for u in recorder.updates] == [10, 20, 30, 40]
    config = json.loads((path / "config.json").read_text())
    assert config["standardization"][0] == {
        "target": "a",
        "unit": "m",
        "mean": 0.0,
        "scale": 1.0,
        "references": {},
    }


def test_labels_that_are_not_known_are_counted(tmp_path, monkeypatch):
    counts = {"train": {"a": 1_200, "b": 3}, "test": {"b": 2}}
    monkeypatch.setattr(ToyProblem, "unknown_labels", counts, raising=False)
    recorder = Recorder()
    result = train(dataclasses.replace(PRESET, steps=2), tmp_path / "run", reporter=recorder)
    assert result.unknown_labels == counts
    assert evaluate(tmp_path / "run").unknown_labels == counts
    assert "labels that are not known: 1,200 of a (train), 3 of b (train), 2 of b (test)" in (
        recorder.notes
    )
    assert json.loads((tmp_path / "run" / "config.json").read_text())["unknown_labels"] == counts
    assert resume(tmp_path / "run").unknown_labels == counts


def test_steps_of_few_examples_count_for_as_much_less_in_the_log(tmp_path, monkeypatch):
    """Some batches have two of eight examples, and a quarter of the loss."""
    batches, loss = ToyProblem.training_batches, ToyProblem.loss

    def fewer(batch):
        few = 2 if np.signbit(batch["x"][0, 0]) else None
        return {name: array[:few] for name, array in batch.items()}

    monkeypatch.setattr(ToyProblem, "training_batches", lambda self: batches(self).map(fewer))
    monkeypatch.setattr(
        ToyProblem,
        "loss",
        lambda self, model, batch, key: (
            (0 * loss(self, model, batch, key)[0] + len(batch["x"]) ** 2 / 8),
            jnp.float32(len(batch["x"])),
        ),
    )
    recorder = Recorder()
    train(dataclasses.replace(PRESET, steps=20), tmp_path / "run", reporter=recorder)
    rows = [line for line in lines_of(tmp_path / "run") if line["split"] == "train"]
    assert [row["loss"] for row in rows] == pytest.approx([1.0, 1.0])
    rates = [u.examples_per_second / u.steps_per_second for u in recorder.updates]
    assert all(2 < rate < 8 for rate in rates)


def test_metrics_have_every_split(finished):
    lines = lines_of(finished[0].directory)
    assert [(line["split"], line["step"]) for line in lines] == [
        ("train", 10),
        ("train", 20),
        ("validation", 20),
        ("train", 30),
        ("train", 40),
        ("validation", 40),
        ("test", 40),
    ]
    for line in lines:
        assert set(line) == {"step", "split", "loss", "metrics", "lr", "seconds"}
    assert set(lines[-1]["metrics"]) == {"a", "b"}
    assert lines[-1]["loss"] == pytest.approx(
        np.mean([lines[-1]["metrics"][name]["mae"] for name in "ab"]), rel=1e-5
    )


def test_evaluate_repeats_the_test_score(finished):
    result, _, path = finished
    again = evaluate(path)
    assert again.scores == result.scores
    assert evaluate(path, split="validation").scores != result.scores
    with pytest.raises(ValueError, match="split 'all' is unknown; known are train, validation"):
        evaluate(path, split="all")
    with pytest.raises(ValueError, match="num_lifts must be at least 1, got 0"):
        evaluate(path, num_lifts=0)


def test_the_best_parameters_are_kept(tmp_path):
    # The first step has rate 0; what follows is far too large to recover from in this time.
    optimizer = dataclasses.replace(PRESET.optimizer, learning_rate=30.0, warmup_steps=1)
    config = dataclasses.replace(PRESET, eval_every=1, steps=12, optimizer=optimizer)
    result = train(config, tmp_path / "run")
    by_step = {
        line["step"]: np.mean([m["mae"] for m in line["metrics"].values()])
        for line in lines_of(tmp_path / "run")
        if line["split"] == "validation"
    }
    best = read_latest(tmp_path / "run" / "best")
    assert best is not None
    assert best.step == min(by_step, key=by_step.__getitem__) < 12, by_step
    assert best.record["objective"] == pytest.approx(by_step[best.step])
    again = evaluate(tmp_path / "run")
    assert again.scores == result.scores
    assert again.steps == best.step


def test_a_run_ends_where_validation_does_not_get_better(tmp_path):
    """After as many evaluations as it is to be patient for; nothing is left to go on with."""
    optimizer = dataclasses.replace(PRESET.optimizer, learning_rate=30.0, warmup_steps=1)
    config = dataclasses.replace(
        PRESET, eval_every=1, steps=40, optimizer=optimizer, patience=3, checkpoint_every=0.0
    )
    result = train(config, tmp_path / "run")
    best = read_latest(tmp_path / "run" / "best")
    assert best is not None
    assert result.steps == best.step + 3 < 40
    again = resume(tmp_path / "run")
    assert again.steps == result.steps
    assert again.scores == result.scores


@pytest.mark.parametrize("bad_step", some([0, 25], 25))
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, toy_task, monkeypatch, bad_step):
    monkeypatch.setattr(toy_task, "bad_step", bad_step)
    with pytest.raises(
        TrainingDivergedError, match=rf"not finite at step {bad_step + 1}; .*after step {bad_step}"
    ):
        train(PRESET, tmp_path / "run")
    checkpoint = read_latest(tmp_path / "run" / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.step == checkpoint.arrays["step"] == bad_step
    chex.assert_tree_all_finite(dict(checkpoint.arrays))
    assert lines_of(tmp_path / "run")[-1]["loss"] is None
    assert checkpoint.arrays["failed_step"] == NO_STEP
    assert checkpoint.record["data"] == {"next_index": bad_step}
    load(tmp_path / "run")  # the best so far, or the state that was saved


def test_an_existing_run_is_refused_before_anything_is_done(finished):
    _, _, path = finished
    before = (path / "metrics.jsonl").read_bytes()
    with pytest.raises(FileExistsError, match="run exists already"):
        train(PRESET, path)
    assert (path / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"eval_every": -1}, "eval_every must be at least 1, got -1"),
        ({"checkpoint_every": -1.0}, "checkpoint_every must be finite and not negative, got -1"),
        ({"num_lifts": 0}, "num_lifts must be at least 1, got 0"),
        ({"seed": -1}, r"seed must be in \[0, 2\*\*31\), got -1"),
        ({"task": "nothing"}, "task 'nothing' is unknown; known are constellations, .*toy"),
    ],
)
def test_a_wrong_configuration_leaves_no_folder(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        train(dataclasses.replace(PRESET, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_same_seed_gives_the_same_scores(tmp_path, finished):
    first = finished[0]
    assert train(PRESET, tmp_path / "b").scores == first.scores
    other = train(dataclasses.replace(PRESET, seed=1), tmp_path / "c")
    assert other.scores != first.scores


def test_a_checkpoint_holds_all_that_is_needed_to_go_on(tmp_path):
    """From the middle of one run, with the data's own position, to the end of another."""
    train(dataclasses.replace(PRESET, eval_every=15), tmp_path / "run")
    end = read_latest(tmp_path / "run" / "checkpoints")
    assert end is not None
    middle = read_step(tmp_path / "run" / "checkpoints", 30)
    task = ToyTask()
    problem = task.prepare(PRESET)
    graphdef, params = nnx.split(PRESET.model.build(3, 2, rngs=nnx.Rngs(5)), nnx.Param)
    state = from_named(init_state(params, PRESET), middle.arrays, "checkpoint")
    step = make_step(graphdef, problem, PRESET)
    batches = iter(problem.training_batches().to_iter_dataset())
    batches.set_state(middle.record["data"])
    for _ in range(30, 40):
        state, _ = step(state, next(batches))
    chex.assert_trees_all_equal(to_named(state), dict(end.arrays))


def read_step(directory, step):
    """Reads an older checkpoint, by hiding the newer ones."""
    for path in directory.iterdir():
        if int(path.name) > step:
            path.rename(directory.parent / f"hidden-{path.name}")
    checkpoint = read_latest(directory)
    assert checkpoint is not None
    assert checkpoint.step == step
    return checkpoint


def test_npz_paths_are_stored_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(dataclasses.replace(PRESET, data="some.npz", steps=1), "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["data"] == str(tmp_path / "some.npz")


def test_any_file_is_stored_absolute_and_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "molecules.dat").touch()
    (tmp_path / "qm9").touch()
    assert absolute_data(RunConfig(data="molecules.dat")) == str(tmp_path / "molecules.dat")
    assert absolute_data(RunConfig(data="~/molecules.dat")) == str(tmp_path / "molecules.dat")
    assert absolute_data(RunConfig(data="~/some.npz")) == str(tmp_path / "some.npz")
    assert absolute_data(RunConfig(data="qm9")) == "qm9"


def test_data_that_were_changed_are_refused(tmp_path):
    """Their split would be another: what is tested now may have been trained on then."""

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("one")
    config = dataclasses.replace(PRESET, data=str(tmp_path / "mine"))
    score = train(config, tmp_path / "run").scores
    (tmp_path / "mine" / ".hidden").write_text("of the desktop")
    assert evaluate(tmp_path / "run").scores == score
    (tmp_path / "mine" / "b.txt").write_text("two")
    for function in (evaluate, resume):
        with pytest.raises(ValueError, match=r"data '.*mine' was changed since the run began"):
            function(tmp_path / "run")


def test_a_model_that_does_not_fit_the_data_leaves_no_folder(tmp_path, monkeypatch):
    def build(self, in_features, out_features, *, rngs):
        return nnx.Linear(in_features + 1, out_features, rngs=rngs)

    monkeypatch.setattr(ToyConfig, "build", build)
    with pytest.raises(TypeError, match="dot_general"):
        train(PRESET, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_score_that_is_not_finite_stops_the_run(tmp_path, monkeypatch):
    def score(self, split, predictions):
        return (Score("a", "mae", float("nan"), 1.0, "m"),)

    monkeypatch.setattr(ToyProblem, "score", score)
    with pytest.raises(
        TrainingDivergedError, match="the validation score is not finite at step 20"
    ):
        train(PRESET, tmp_path / "run")
    checkpoint = read_latest(tmp_path / "run" / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.step == 20


def test_the_loop_does_not_wait_for_each_step(tmp_path, monkeypatch):
    fetched = []
    device_get = jax.device_get
    monkeypatch.setattr(jax, "device_get", lambda tree: fetched.append(1) or device_get(tree))
    train(PRESET, tmp_path / "run")
    assert len(fetched) == 4

"""A baseline beside the model, on the toy task."""

import dataclasses
import json
import shutil

import pytest

from eqattn.tasks import HasBaseline, Score
from eqattn.tasks.core import registry
from eqattn.train import evaluate, load, resume, train
from eqattn.train.baseline import OpenReporter, baseline_folder, beside, fit_to_seconds
from tests.train.test_loop import Recorder
from tests.train.toy import PRESET, ToyTaskWithBaseline


def know_the_baseline(patch):
    known = {"toy": ("tests.train.toy", "ToyTaskWithBaseline")}
    patch.setattr(registry, "TASKS", known)
    patch.setattr("eqattn.train.baseline.MEASURED_SECONDS", 0.05)
    assert isinstance(ToyTaskWithBaseline(), HasBaseline)


@pytest.fixture
def with_baseline(monkeypatch):
    know_the_baseline(monkeypatch)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with its baseline, and what it reported."""
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        know_the_baseline(patch)
        path = tmp_path_factory.mktemp("trained") / "run"
        return train(PRESET, path, reporter=recorder), recorder


def test_a_run_trains_its_baseline_and_scores_stand_beside_it(trained, with_baseline):
    result, recorder = trained
    path = result.directory
    folder = baseline_folder(path)
    assert folder == path / "baseline"
    other = evaluate(folder)
    assert [score.baseline for score in result.scores] == [score.value for score in other.scores]
    assert result.baselines == {"nothing": 1.0, "slow": other.scores[0].value}
    again = evaluate(path)
    assert again.scores == result.scores
    assert again.baselines == result.baselines
    lines = [json.loads(line) for line in (path / "metrics.jsonl").open()]
    assert lines[-1]["split"] == "test_baseline"
    assert lines[-1]["metrics"]["b"]["mae"] == other.scores[1].value
    assert recorder.closed
    assert any(note.startswith("baseline: ") for note in recorder.notes)
    load(folder)


@pytest.mark.slow
def test_a_run_that_stopped_before_its_baseline_began_goes_on(tmp_path, with_baseline, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("eqattn.train.baseline.fit_to_seconds", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(PRESET, tmp_path / "run")
    assert not (tmp_path / "run" / "baseline").exists()
    assert evaluate(tmp_path / "run").baselines == {}
    monkeypatch.setattr(
        "eqattn.train.baseline.fit_to_seconds",
        lambda config, *_: dataclasses.replace(config, steps=7, eval_every=7),
    )
    result = resume(tmp_path / "run")
    whole = train(PRESET, tmp_path / "whole")
    assert result.scores == whole.scores
    assert result.baselines == whole.baselines


def test_the_baseline_takes_about_as_long(tmp_path, with_baseline):
    config = fit_to_seconds(PRESET, seconds=0.5, num_evaluations=4)
    assert config.steps > 10
    assert config.eval_every == -(-config.steps // 4)
    assert dataclasses.replace(config, steps=40, eval_every=20) == PRESET
    assert fit_to_seconds(PRESET, seconds=0.0, num_evaluations=4).steps == 1


def test_a_baseline_that_is_not_finished_does_not_count(tmp_path, trained, with_baseline):
    shutil.copytree(trained[0].directory, tmp_path / "run")
    file = tmp_path / "run" / "baseline" / "config.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"steps": content["steps"] + 1}))
    assert baseline_folder(tmp_path / "run") is None
    result = evaluate(tmp_path / "run")
    assert [score.baseline for score in result.scores] == [1.0, 1.0]
    assert result.baselines == {}


def test_a_task_without_one_has_none(tmp_path):
    result = train(PRESET, tmp_path / "run")
    assert result.baselines == {}
    assert baseline_folder(tmp_path / "run") is None


def test_scores_beside_others():
    scores = (Score("a", "mae", 1.0, 9.0, "m"), Score("a", "max", 2.0, 9.0, "m"))
    others = (Score("a", "mae", 3.0, 9.0, "m"), Score("a", "max", 4.0, 9.0, "m"))
    assert [score.baseline for score in beside(scores, others)] == [3.0, 4.0]
    assert [score.baseline for score in beside(scores, others[1:])] == [9.0, 4.0]


def test_a_reporter_of_a_run_within_is_left_open():
    recorder = Recorder()
    OpenReporter(recorder).close()
    assert not recorder.closed

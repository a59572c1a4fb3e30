"""Runs that a signal stops in a step, a save or an evaluation, and that go on to the same end."""

import dataclasses
import functools
import signal
import threading

import pytest

from eqattn.train import Interrupted, loop, resume, train
from eqattn.train.checkpoints import CheckpointStore, read_latest
from eqattn.train.state import TrainStep
from tests.train.test_resume import assert_same_end
from tests.train.toy import PRESET

CONFIG = dataclasses.replace(PRESET, steps=30, eval_every=10)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder and the result of a run that nothing stopped."""
    from eqattn.tasks.core import registry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "TASKS", {"toy": ("tests.train.toy", "ToyTask")})
        return train(CONFIG, tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def signals(monkeypatch):
    """Has a signal come as one of the calls that a run makes begins; they are counted from 1."""

    def come(number, *, step=None, save=None, batch=None, times=1):
        # The first step and the first batch are only traced, before anything is written.
        wanted, calls = {"step": step, "save": save, "batch": batch}, {"step": -1, "batch": -1}

        def counted(name, function):
            def call(*args):
                calls[name] = calls.get(name, 0) + 1
                if calls[name] == wanted[name]:
                    for _ in range(times):
                        signal.raise_signal(number)
                return function(*args)

            return call

        make = loop.make_predictor
        monkeypatch.setattr(loop, "make_predictor", lambda *args: counted("batch", make(*args)))
        monkeypatch.setattr(TrainStep, "__call__", counted("step", TrainStep.__call__))
        monkeypatch.setattr(CheckpointStore, "save", counted("save", CheckpointStore.save))

    return come


slow = functools.partial(pytest.param, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("number", "moment", "saved"),
    [
        (signal.SIGTERM, {"step": 17}, 17),  # in the middle of what one line of the log tells
        slow(signal.SIGINT, {"step": 20}, 20),  # before a validation
        slow(signal.SIGTERM, {"save": 1}, 10),  # of the checkpoint
        (signal.SIGINT, {"save": 2}, 10),  # of the best parameters
        slow(signal.SIGTERM, {"batch": 3}, 20),  # the first of two of a validation
        slow(signal.SIGTERM, {"batch": 7}, 30),  # of the test
    ],
)
def test_it_is_saved_and_ends_as_if_nothing_had_happened(
    tmp_path, whole, signals, number, moment, saved
):
    path = tmp_path / "run"
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    signals(number, **moment)
    with pytest.raises(Interrupted) as raised:
        train(CONFIG, path)
    assert raised.value.signal == number
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == handlers
    checkpoint = read_latest(path / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.step == saved
    assert resume(path).scores == whole.scores
    assert_same_end(path, whole)


def test_a_second_signal_ends_it_at_once(tmp_path, whole, signals):
    path = tmp_path / "run"
    signals(signal.SIGTERM, step=17, times=2)
    with pytest.raises(Interrupted):
        train(CONFIG, path)
    checkpoint = read_latest(path / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.step == 10
    assert resume(path).scores == whole.scores
    assert_same_end(path, whole)


def test_before_the_first_step_it_ends_at_once(tmp_path, whole):
    class Early:
        def update(self, update):
            pass

        def note(self, text):
            if "parameters" in text:
                signal.raise_signal(signal.SIGTERM)

        def close(self):
            pass

    path = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(CONFIG, path, reporter=Early())
    assert read_latest(path / "checkpoints") is None
    assert resume(path).scores == whole.scores
    assert_same_end(path, whole)


def test_in_another_thread_signals_are_left_alone(tmp_path):
    before, seen = signal.getsignal(signal.SIGTERM), []

    class Look:
        def update(self, update):
            seen.append(signal.getsignal(signal.SIGTERM))

        def note(self, text):
            pass

        def close(self):
            pass

    short = dataclasses.replace(CONFIG, steps=10)
    thread = threading.Thread(
        target=train, args=(short, tmp_path / "run"), kwargs={"reporter": Look()}
    )
    thread.start()
    thread.join()
    assert seen == [before]

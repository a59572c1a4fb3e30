"""Signals that wait for a good moment, without a run."""

import signal
import threading

import pytest

from eqattn.interruption import Interrupted, Interruption, is_any_postponed


def test_the_first_signal_waits_and_the_second_does_not():
    with Interruption() as interruption:
        assert not is_any_postponed()
        with pytest.raises(Interrupted, match="stopped by SIGTERM") as raised:
            signal.raise_signal(signal.SIGTERM)  # nothing waits yet
        assert raised.value.signal is signal.SIGTERM
        interruption.waits = True
        assert is_any_postponed()
        interruption.check()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Interrupted, match="stopped by SIGINT"):
            interruption.check()
        with pytest.raises(Interrupted, match="stopped by SIGTERM"):
            signal.raise_signal(signal.SIGTERM)
    assert not is_any_postponed()


def test_handlers_are_put_back_whatever_happens():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def fail():
        with Interruption():
            assert signal.getsignal(signal.SIGTERM) not in before
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            interruption.waits = True
            signal.raise_signal(signal.SIGINT)
            interruption.check()
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_installs_nothing():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with Interruption() as interruption:
            interruption.waits = True
            seen.append(signal.getsignal(signal.SIGTERM))
            assert not is_any_postponed()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
    assert signal.getsignal(signal.SIGTERM) == before

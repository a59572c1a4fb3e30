"""How the program ends by a signal: at once, unless a training run is to end its step first."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from eqattn.cli.errors import SIGNALED
from eqattn.interruption import SIGNALS, Interrupted, is_any_postponed

__all__ = ["ending_by_signals", "interrupt_again"]

GRACE = 0.5
"""Seconds that the main thread has to end by itself, with its own last words."""


@contextlib.contextmanager
def ending_by_signals() -> Iterator[None]:
    """Ends the process by SIGTERM or SIGINT, even while compiled code keeps the main thread busy.

    Python runs handlers in the main thread only once that returns from what it calls, which a
    compilation does after minutes. So a thread of its own reads which signals have come, and ends
    the process if the main thread did not. It lets the first signal be where a run waits for the
    end of its step. To be used in the main thread of a program, not in a library.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    threading.Thread(target=_watch, args=(reader,), daemon=True).start()
    previous_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    previous = signal.getsignal(signal.SIGTERM)
    if previous is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous_fd)
        if previous is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, previous)
        os.close(writer)  # which ends the thread


def interrupt_again(unraisable: Any) -> None:
    """Repeats an interrupt that came inside a callback of the garbage collector, which drops it.

    What threads of orbax say about a save that has failed already is not worth a trace.

    Args:
      unraisable: What ``sys.unraisablehook`` is called with.
    """
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        number = getattr(unraisable.exc_value, "signal", signal.SIGINT)
        # After the callback is over.
        threading.Timer(0.05, _thread.interrupt_main, args=(number,)).start()
    elif str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number, "interrupted.")


def _watch(reader: int) -> None:
    is_first = True
    while received := os.read(reader, 1):
        number = received[0]
        if number not in SIGNALS:
            continue
        if not (is_first and is_any_postponed()):
            time.sleep(GRACE)
            os.write(2, b"eqattn: error: interrupted.\n")
            os._exit(SIGNALED + number)
        is_first = False
    os.close(reader)

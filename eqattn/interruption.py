"""Signals that ask a run to stop: the first one waits for a good moment, the second does not."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interrupted", "Interruption", "is_any_postponed"]

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(KeyboardInterrupt):
    """A signal ended what was under way.

    Like any KeyboardInterrupt it is no ``Exception``, so that it passes through handlers of errors.

    Args:
      number: Number of the signal.
      message: What to say; by default the name of the signal.

    Attributes:
      signal: The signal, ``signal.SIGTERM`` or ``signal.SIGINT``.
    """

    def __init__(self, number: int, message: str | None = None):
        self.signal = signal.Signals(number)
        super().__init__(f"stopped by {self.signal.name}" if message is None else message)


class Interruption:
    """Keeps SIGTERM and SIGINT until they are asked for; use it in a ``with`` statement.

    While :attr:`waits` is true, the first signal is only remembered, and whoever is at work asks
    for it with :meth:`check` where it can stop. Any other raises :class:`Interrupted` at once. The
    handlers that were there before are put back at the end. Outside the main thread, and for
    signals that are ignored, nothing is installed.

    Attributes:
      waits: Whether the first signal waits; not at first.
      requested: The signal that came, or None.
    """

    def __init__(self) -> None:
        self.waits = False
        self.requested: int | None = None
        self._previous: dict[int, Any] = {}

    def check(self) -> None:
        """Raises :class:`Interrupted` if a signal has come."""
        if self.requested is not None:
            raise Interrupted(self.requested)

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                previous = signal.getsignal(number)
                # None is a handler that is not of Python, and cannot be put back.
                if previous not in (None, signal.SIG_IGN):
                    self._previous[number] = previous
                    signal.signal(number, self._receive)
            _active.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self in _active:
            _active.remove(self)
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        self._previous.clear()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if not self.waits or self.requested is not None:
            raise Interrupted(number)
        self.requested = number


_active: list[Interruption] = []
"""Those of the main thread whose ``with`` statements are open, the innermost last."""


def is_any_postponed() -> bool:
    """Returns whether a first signal that comes now would wait."""
    return bool(_active) and _active[-1].waits

"""What ends a command: exit codes, and the errors that belong to none of the library's rooms."""

from __future__ import annotations

__all__ = ["BAD_INPUT", "RUN_FAILED", "SIGNALED", "RunFailedError", "UsageError"]

RUN_FAILED, BAD_INPUT = 1, 2
SIGNALED = 128
"""Plus the number of the signal, as shells say: 130 for SIGINT, 143 for SIGTERM."""


class UsageError(ValueError):
    """The command line cannot be understood."""


class RunFailedError(Exception):
    """The input was good, and the run failed all the same."""

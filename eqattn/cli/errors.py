"""What ends a command: exit codes, and the errors that belong to none of the library's rooms."""

from __future__ import annotations

__all__ = ["BAD_INPUT", "INTERRUPTED", "RUN_FAILED", "RunFailedError", "UsageError"]

RUN_FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


class UsageError(ValueError):
    """The command line cannot be understood."""


class RunFailedError(Exception):
    """The input was good, and the run failed all the same."""

"""From the process to a command, and from whatever goes wrong to one line and an exit code.

The last line of stdout is one JSON object, for programs; everything for people goes to stderr.
Exit codes: 0 done, 1 the run failed (the loss diverged, memory ran out, or something unexpected
went wrong inside), 2 bad input, 130 interrupted. ``--debug`` adds the trace. Packages that are
slow to import are imported by the commands that need them.
"""

from __future__ import annotations

import _thread
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from eqattn._version import __version__
from eqattn.cli.checking import check
from eqattn.cli.errors import BAD_INPUT, INTERRUPTED, RUN_FAILED, RunFailedError, UsageError
from eqattn.cli.output import logging_to_stderr
from eqattn.cli.scoring import evaluate, plot, predict
from eqattn.cli.training import tasks, train

__all__ = ["main", "run"]

logger = logging.getLogger("eqattn")

USAGE = """\
usage: eqattn COMMAND …

  eqattn tasks                                  what can be learned, with presets and targets
  eqattn train TASK [--preset P] [--out DIR] [--x.y VALUE …]
                                                train; the result is one JSON line on stdout
  eqattn train --resume DIR                     go on with a run that was stopped
  eqattn evaluate DIR [--split S] [--num-lifts N]
                                                score a run again, on any split
  eqattn predict DIR FILE [--out FILE.csv] [--num-lifts N]
                                                predict for the examples in a file
  eqattn plot DIR [--out FOLDER]                draw the learning curve and the predictions
  eqattn check [--family F] [--group G] [--space S] [--field F] [--dtype D] [--full] [--json]
                                                measure laws, and how equivariant layers are
  eqattn --version

`eqattn COMMAND --help` lists the options of a command (for train: of a task, at its preset).
With --debug, any command shows the trace of what went wrong.
"""

COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "tasks": tasks,
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "plot": plot,
    "check": check,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: Arguments after the program's name; by default those of the process.

    Returns:
        The exit code: 0 done, 1 the run failed, 2 bad input, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    is_debug = "--debug" in arguments
    with logging_to_stderr(logging.DEBUG if is_debug else logging.INFO):
        try:
            _dispatch([argument for argument in arguments if argument != "--debug"])
        except SystemExit:  # after the help of a command
            return 0
        except BaseException as error:  # a trace helps few at a terminal; they ask for it
            logger.debug("this went wrong:", exc_info=True)
            return _fail(error)
    return 0


def run() -> None:
    """Runs the command line as a program, and ends the process with its exit code."""
    sys.unraisablehook = _interrupt_again
    code = main()
    if code == INTERRUPTED:
        # Threads that were interrupted anywhere may crash the interpreter while it shuts down.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _interrupt_again(unraisable: Any) -> None:
    """Repeats an interrupt that came inside a callback of the garbage collector, which drops it."""
    if unraisable.exc_type is KeyboardInterrupt:
        threading.Timer(0.05, _thread.interrupt_main).start()  # after the callback is over
    else:
        sys.__unraisablehook__(unraisable)


def _dispatch(arguments: list[str]) -> None:
    command = arguments[0] if arguments else ""
    if command in ("-h", "--help"):
        print(USAGE, end="")
    elif command == "--version":
        print(f"eqattn {__version__}")
    elif command in COMMANDS:
        COMMANDS[command](arguments[1:])
    else:
        problem = f"unknown command {command!r}" if command else "a command is missing"
        raise UsageError(f"{problem}; known are {', '.join(COMMANDS)} (see eqattn --help).")


def _fail(error: BaseException) -> int:
    """Says in one line what went wrong, and returns the exit code."""
    message, code = str(error), RUN_FAILED
    if isinstance(error, KeyboardInterrupt):
        message, code = message or "interrupted.", INTERRUPTED
    elif isinstance(error, OSError) and error.strerror and error.filename:
        message, code = f"{error.filename}: {error.strerror}", BAD_INPUT
    elif isinstance(error, (ValueError, TypeError, OSError, ImportError, NotImplementedError)):
        code = BAD_INPUT
    elif isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in message:
        message = (
            f"not enough memory for this model, batch size or data ({message or 'host memory'})."
        )
    elif not isinstance(error, RunFailedError):
        message = f"internal error: {type(error).__name__}: {message} (--debug shows the trace)"
    print(f"eqattn: error: {' '.join(message.split())}", file=sys.stderr)
    return code

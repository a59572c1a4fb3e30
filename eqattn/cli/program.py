"""From the process to a command, and from whatever goes wrong to one line and an exit code.

The last line of stdout is one JSON object, for programs; everything for people goes to stderr.
Exit codes: 0 done, 1 the run failed (the loss diverged, memory or the disk is full, or something
unexpected went wrong inside), 2 bad input, 130 interrupted, 143 terminated. ``--debug`` adds the
trace. Packages that are slow to import are imported by the commands that need them.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence

from eqattn._version import __version__
from eqattn.cli.checking import check
from eqattn.cli.ending import ending_by_signals, interrupt_again
from eqattn.cli.errors import BAD_INPUT, RUN_FAILED, SIGNALED, RunFailedError, UsageError
from eqattn.cli.output import logging_to_stderr
from eqattn.cli.scoring import evaluate, plot, predict
from eqattn.cli.simulating import export, simulate
from eqattn.cli.training import tasks, train
from eqattn.files import is_fault_of_environment

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
  eqattn predict DIR FILE [--out FILE] [--num-lifts N]
                                                predict for the examples in a file
  eqattn simulate DIR FILE [--out FILE.extxyz] [--temperature K] [--steps N]
                                                let the atoms in a file move by a run's forces
  eqattn export DIR [--out FILE] [--x64]        write forces as one file that jax alone runs
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
    "simulate": simulate,
    "export": export,
    "plot": plot,
    "check": check,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
      argv: Arguments after the program's name; by default those of the process.

    Returns:
      The exit code: 0 done, 1 the run failed, 2 bad input, 130 interrupted, 143 terminated.
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
    sys.unraisablehook = interrupt_again
    with ending_by_signals():
        code = main()
        try:
            sys.stdout.flush()
        except OSError:  # what cannot be written now would be tried again at the end of Python
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = code or RUN_FAILED
        if code >= SIGNALED:
            # Threads that were interrupted anywhere may crash the interpreter while it shuts down.
            sys.stderr.flush()
            os._exit(code)
    sys.exit(code)


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
        message = message or "interrupted."
        code = SIGNALED + getattr(error, "signal", signal.SIGINT)
    elif isinstance(error, OSError) and error.strerror:
        message = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        code = RUN_FAILED if is_fault_of_environment(error) else BAD_INPUT
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

"""The command line: ``eqattn tasks``, ``train``, ``evaluate``, ``predict``, ``plot``."""

from eqattn.cli.program import main, run

__all__ = ["main", "run"]

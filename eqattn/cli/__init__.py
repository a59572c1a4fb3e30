"""The command line: ``eqattn tasks``, ``train``, ``predict``, ``simulate`` and others."""

from eqattn.cli.program import main, run

__all__ = ["main", "run"]

"""``python -m eqattn`` is the command ``eqattn``."""

from eqattn.cli import run

if __name__ == "__main__":
    run()

"""``python -m eqattn`` is the command ``eqattn``."""

import sys

from eqattn.cli import main

if __name__ == "__main__":
    sys.exit(main())

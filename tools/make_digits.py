"""Makes the handwritten digits that come with the package, from those in scikit-learn.

Run it where scikit-learn is installed: ``python -m tools.make_digits``. It writes
``digits.npz`` and the record ``digits.json`` beside this file.
"""

import argparse
import datetime
import hashlib
import importlib
import importlib.metadata
import json
from pathlib import Path
from typing import Any

import numpy as np

from eqattn.data.cache import save_arrays
from eqattn.tasks.images.data import EMBEDDED_PATH

PACKAGE = "scikit-learn"
NUM_IMAGES = 1_797


def make(folder: Path) -> Path:
    """Writes the npz file and its record into a folder and returns the path of the first.

    Args:
      folder: Where to write.

    Raises:
      ModuleNotFoundError: If scikit-learn is not installed.
      ValueError: If it does not hold 1,797 images.
    """
    datasets: Any = importlib.import_module("sklearn.datasets")
    digits = datasets.load_digits()
    if digits.images.shape != (NUM_IMAGES, 8, 8):
        raise ValueError(f"{PACKAGE} holds images of shape {list(digits.images.shape)}.")
    path = folder / EMBEDDED_PATH.name
    arrays = {"pixels": digits.images.astype(np.uint8), "labels": digits.target.astype(np.uint8)}
    save_arrays(path, arrays, use_compression=True)
    record = json.dumps(_record(path), indent=2, ensure_ascii=False)
    path.with_suffix(".json").write_text(record + "\n", encoding="utf-8")
    return path


def _record(path: Path) -> dict[str, object]:
    return {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "made": datetime.date.today().isoformat(),
        "made_by": "python -m tools.make_digits",
        "content": (
            f"the {NUM_IMAGES} images of the writer-independent test part of the Optical "
            "Recognition of Handwritten Digits data, in the order of the source"
        ),
        "source": {
            "package": PACKAGE,
            "version": importlib.metadata.version(PACKAGE),
            "homepage": "https://scikit-learn.org",
            "license": "BSD-3-Clause",
        },
        "data": {
            "citation": (
                "E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits. UCI Machine "
                "Learning Repository (1998), doi:10.24432/C50P49"
            ),
            "deposit": "https://archive.ics.uci.edu/dataset/80",
            "license": "CC-BY-4.0",
            "license_page": "https://creativecommons.org/licenses/by/4.0/",
            "license_checked": "as projects that distribute these files say of their deposit",
        },
        "changes": "kept as unsigned bytes, otherwise none",
        "arrays": {
            "pixels": f"[{NUM_IMAGES}, 8, 8] uint8, from 0 to 16",
            "labels": f"[{NUM_IMAGES}] uint8, from 0 to 9",
        },
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=EMBEDDED_PATH.parent, help="folder to write to")
    make(parser.parse_args().out)

"""Makes the 3,000 molecules that come with the package, from the extra ``qm9``.

Run it with the extra installed: ``python -m tools.make_qm9_subset``. It writes
``qm9_3000.npz`` and the record ``qm9_3000.json`` beside this file. The molecules are the first
3,000 of ``RandomState(0).permutation(130831)``, in that order; as the standard split of QM9
starts from the same permutation, all of them are from its training part.
"""

import argparse
import datetime
import hashlib
import importlib.metadata
import json
from pathlib import Path

import numpy as np

from eqattn.data.cache import save_arrays
from eqattn.tasks.molecules import qm9
from eqattn.tasks.molecules.data import EMBEDDED_PATH, load
from eqattn.tasks.molecules.targets import HARTREE_IN_EV, TARGETS

SEED = 0
NUM_MOLECULES = 3_000


def make(folder: Path) -> Path:
    """Writes the npz file and its record into a folder and returns the path of the first.

    Args:
      folder: Where to write.

    Raises:
      ModuleNotFoundError: If the extra ``qm9`` is not installed.
      ValueError: If its tables do not hold 130,831 molecules.
    """
    molecules = load("qm9")
    if len(molecules) != qm9.NUM_MOLECULES:
        raise ValueError(
            f"{qm9.PACKAGE} holds {len(molecules)} molecules, not {qm9.NUM_MOLECULES}."
        )
    order = np.random.RandomState(SEED).permutation(len(molecules))
    path = folder / EMBEDDED_PATH.name
    chosen = molecules[order[:NUM_MOLECULES]]
    arrays = {
        "ids": chosen.ids,
        "num_atoms": chosen.num_atoms,
        "numbers": chosen.numbers,
        "positions": chosen.positions.astype(np.float32),  # as the tables are read
        "targets": np.stack([chosen.properties[name] for name in TARGETS], axis=1),
    }
    save_arrays(path, arrays, use_compression=True)
    record = json.dumps(_record(path), indent=2, ensure_ascii=False)
    path.with_suffix(".json").write_text(record + "\n", encoding="utf-8")
    return path


def _record(path: Path) -> dict[str, object]:
    license_text = importlib.metadata.distribution(qm9.PACKAGE).read_text("LICENSE")
    return {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "made": datetime.date.today().isoformat(),
        "made_by": "python -m tools.make_qm9_subset",
        "content": (
            f"{NUM_MOLECULES} of the {qm9.NUM_MOLECULES} molecules of QM9, drawn by "
            f"numpy.random.RandomState({SEED}).permutation({qm9.NUM_MOLECULES})"
            f"[:{NUM_MOLECULES}], in that order; the first 2400 are for training, the next 300 "
            "for validation, the last 300 for the test"
        ),
        "source": {
            "package": qm9.PACKAGE,
            "version": qm9.package_version(),
            "homepage": "https://github.com/raghurama123/qm9pack",
            "license": "MIT",
            "license_text": license_text,
        },
        "data": {
            "citation": (
                "R. Ramakrishnan, P. O. Dral, M. Rupp, O. A. von Lilienfeld: Quantum chemistry "
                "structures and properties of 134 kilo molecules. Scientific Data 1, 140022 "
                "(2014), doi:10.1038/sdata.2014.22"
            ),
            "deposit": "https://doi.org/10.6084/m9.figshare.c.978904.v5",
            "license": "CC0-1.0",
            "license_checked": (
                "as the catalog OpenBioML/chemnlp records it for this deposit "
                "(data/tabular/qm9/meta.yaml); qm9pack gives the same data under MIT"
            ),
            "method": "B3LYP/6-31G(2df,p)",
        },
        "changes": (
            "columns chosen, positions rounded to float32, energies converted with "
            f"1 hartree = {HARTREE_IN_EV} eV, free atoms subtracted from u0, u, h and g"
        ),
        "arrays": {
            "ids": "original number of the molecule, from 1 to 133885; [3000] int64",
            "num_atoms": "atoms of each molecule; [3000] int32",
            "numbers": "atomic numbers, one molecule after the other; uint8",
            "positions": "ångström; float32",
            "targets": "[3000, 12] float64, in the order and units below",
        },
        "units": {target.name: target.unit for target in TARGETS.values()},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=EMBEDDED_PATH.parent, help="folder to write to")
    make(parser.parse_args().out)

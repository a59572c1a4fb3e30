import numpy as np
import pytest

from eqattn import data


@pytest.fixture(scope="session")
def small_npz(tmp_path_factory):
    """A file of the sixty smallest embedded molecules."""
    molecules = data.load()
    order = np.argsort(molecules.num_atoms, kind="stable")
    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(path, **data.molecules.to_arrays(molecules[order[:60]]))
    return path

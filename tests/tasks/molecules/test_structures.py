"""New molecules, from any file."""

import numpy as np
import pytest

from eqattn.tasks.molecules import load, read_structures
from eqattn.tasks.molecules.data import to_arrays

WATER = "3\nwater\nO 0 0 0.119\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n"


def test_npz_files_need_no_targets(tmp_path):
    arrays = to_arrays(load()[:5])
    np.savez(tmp_path / "with.npz", **arrays)
    np.testing.assert_array_equal(read_structures(tmp_path / "with.npz").targets, arrays["targets"])
    del arrays["targets"]
    np.savez(tmp_path / "without.npz", **arrays)
    molecules = read_structures(tmp_path / "without.npz")
    np.testing.assert_array_equal(molecules.ids, arrays["ids"])
    assert np.isnan(molecules.targets).all()
    del arrays["numbers"]
    np.savez(tmp_path / "less.npz", **arrays)
    with pytest.raises(ValueError, match=r"has no array 'numbers'; it needs \('num_atoms', 'numb"):
        read_structures(tmp_path / "less.npz")


def test_periodic_cells_are_warned_of(tmp_path, caplog):
    path = tmp_path / "a.xyz"
    path.write_text(WATER)
    read_structures(path)
    assert caplog.text == ""
    path.write_text(WATER.replace("water", 'Lattice="9 0 0 0 9 0 0 0 9"'))
    read_structures(path)
    assert "periodic cells, which are not seen" in caplog.text

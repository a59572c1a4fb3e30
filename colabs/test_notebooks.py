"""Every notebook runs and states what is stored. ``make notebooks`` runs this; ``make test`` not."""

import nbformat
import pytest

from tools.notebook_outputs import differences, problems
from tools.notebooks import NOTEBOOKS, run, scrubbed

# Roundings grow in training, and differ between machines. The tolerances are some five times of
# what was seen where jax 0.11 took the place of 0.10, or 1e-6 was added to the initial parameters.
TRAINED = {
    "quickstart": {"training": 0.1, "trained-invariance": 1.0},
    "dynamics": {"training": 1.0, "roll-outs": 1.0},
}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_states_what_is_stored(name):
    """In a kernel of its own, in an empty folder."""
    stored = nbformat.read(NOTEBOOKS[name], as_version=4)
    tolerances = TRAINED.get(name, {})
    assert tolerances.keys() <= {cell.id for cell in stored.cells}
    fresh = scrubbed(run(stored))
    assert problems(fresh) == []
    assert differences(stored, fresh, tolerances) == []

"""Every notebook runs and states what is stored: what ``make notebooks`` tests."""

import nbformat
import pytest

from tools.notebook_outputs import differences, problems
from tools.notebooks import NOTEBOOKS, run, scrubbed

# Training lets roundings grow, and they differ between machines. Where jax 0.11 took the place of
# 0.10, or the initial parameters changed by 1e-6 of themselves, the error of the quickstart changed
# by 2 %, and errors of the transformer in dynamics became smaller by a factor of up to 2.3. Twice
# that in either direction is allowed: the errors may differ by 10 %, and by a factor of 5. The
# notebooks assert what they conclude.
TRAINED = {
    "quickstart": {"training": 0.1},
    "dynamics": {"training": 4.0, "roll-outs": 4.0},
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

"""Every notebook runs and states what is stored: what ``make notebooks`` tests."""

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat import v4

from tools.notebook_outputs import differences, pixels, problems
from tools.notebooks import NOTEBOOKS, ROOT, run, scrubbed

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


def notebook_of(*sources):
    """Returns a notebook of these cells after a run."""
    cells = [v4.new_code_cell(source, id=f"cell-{i}") for i, source in enumerate(sources)]
    return run(v4.new_notebook(cells=cells))


def test_a_run_depends_on_nothing_but_the_checkout(monkeypatch):
    """Neither variables nor files of whoever runs it; warnings, paths and sizes come out."""
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    monkeypatch.setenv("XLA_FLAGS", "--no_such_flag")
    environment = "import os; print(os.listdir(), [n for n in os.environ if n[:4] in {names}])"
    package = "import importlib.util; print(importlib.util.find_spec('eqattn').origin)"
    picture = (
        "from matplotlib import pyplot as plt\n"
        "plt.subplots(figsize=(3, 2))[1].set_title('longer than the figure is wide' * 3)\n"
        "plt.show()"
    )
    warning = "import warnings; warnings.warn('mind this', stacklevel=1)"
    notebook = notebook_of(environment.format(names=["JAX_", "XLA_"]), package, picture, warning)
    texts = [cell.outputs[0].get("text") for cell in notebook.cells]
    assert texts[0] == "[] ['JAX_PLATFORMS']\n"
    assert texts[1] == f"{ROOT / 'eqattn' / '__init__.py'}\n"
    assert notebook.cells[2].outputs[0].data["text/plain"] == "<Figure size 300x200 with 1 Axes>"
    assert pixels(notebook.cells[2].outputs[0].data["image/png"]) == (300, 200)
    found = problems(scrubbed(notebook))
    assert [problem.split(":")[0] for problem in found] == [
        "cell cell-1 shows an absolute path",
        "cell cell-3 shows stderr",
        "cell cell-3 shows an absolute path",
    ]


def test_a_cell_that_fails_stops_the_run():
    """So that a wrong statement cannot be stored."""
    with pytest.raises(CellExecutionError, match="assert 1 > 2"):
        notebook_of("assert 1 > 2")
